// Drift: looks at what GitHub says of App and installations, and applies what follows from it (drift-rules.ts) to store, log and tokens.

import type { Installation } from '../../protocol/connection.ts'
import { asFailure, type Code, Failure } from '../../protocol/errors.ts'
import { ADMIN_PROFILE } from '../../protocol/profile.ts'
import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Events } from '../audit/events.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'
import type { Store } from '../store/database.ts'
import type { Tokens } from '../tokens/tokens.ts'
import type { AppLink } from './app-link.ts'
import type { ConnectionState } from './connection-state.ts'
import {
  type DriftEvent,
  type DriftState,
  hasSelection,
  isListDue,
  isWatched,
  NOTHING_OBSERVED,
  type Observation,
  observe,
  SOON_APART_MS,
  TROUBLE_OF,
} from './drift-rules.ts'

export type Drift = ReturnType<typeof createDrift>

/** Said by a call for a token, these are reasons to look sooner than the next beat does. */
const TELLING = new Set<Code>([
  'key-rejected',
  'app-not-found',
  'suspended',
  'permission-not-granted',
  'repository-not-accessible',
])
const LOOKS_APART_MS = 10_000
/** The App itself changes seldom. */
const APP_EVERY_MS = 15 * 60_000

export const createDrift = (deps: {
  store: Pick<Store, 'facts'>
  connectionState: ConnectionState
  link: AppLink
  tokens: Tokens
  audit: Pick<AuditWriter, 'owe'>
  events: Pick<Events, 'emit'>
  clock: Clock
  log: Log
}) => {
  const { connectionState, link, tokens, clock, log } = deps
  const { facts } = deps.store
  const { connection: first, installations: known } = connectionState.read()
  let state: DriftState = { ...NOTHING_OBSERVED, connection: first, installations: known }
  let looking: Promise<boolean> | undefined
  let lookedAtMs = Number.NEGATIVE_INFINITY
  let askedAtMs = Number.NEGATIVE_INFINITY
  let appSeenAtMs = Number.NEGATIVE_INFINITY
  let asking = 0
  let confirmation: Timer | undefined
  let soon: Timer | undefined

  /** Durable before it is remembered and told: where the disk refuses, the next look finds the same again. */
  const apply = (observation: Observation): { readonly changed: boolean; readonly events: readonly DriftEvent[] } => {
    const { connection, installations } = connectionState.read()
    const now = { monotonicMs: clock.monotonic(), wallMs: clock.now() }
    const [next, events] = observe({ ...state, connection, installations }, observation, now)
    const changed = next.installations !== installations
    if (changed || next.connection !== connection) {
      connectionState.transition(next.connection, changed ? { installations: next.installations } : {})
    }
    for (const event of events) perform(event)
    state = next
    return { changed, events }
  }

  const perform = (event: DriftEvent): void => {
    switch (event.kind) {
      case 'change':
        deps.audit.owe({ event: event.event, detail: event.detail })
        deps.events.emit({ event: 'change', state: connectionState.read().connection.kind, detail: event.detail })
        return
      case 'narrowed':
        return tokens.doubt(event.installation)
      case 'selection':
        return facts.put(selectionOf(event.installation), event.names)
      case 'look-again':
        // One timer, however many calls failed.
        confirmation?.cancel()
        confirmation = clock.after(event.afterMs, () => void check())
        return
      case 'try-token':
        return
      default:
        return event satisfies never
    }
  }

  /** Allow list and policies are not asked for the list of installations: only a token in use proves that the way is open again. */
  const proveWay = async (found: readonly Installation[]): Promise<void> => {
    for (const { id, suspendedAtMs } of found) {
      if (suspendedAtMs !== undefined) continue
      const { token } = await link.mint({ installation: id, permissions: { metadata: 'read' } })
      try {
        await link.accepts(token)
      } finally {
        await link.revoke(token).catch((error: unknown) => log.debug('a token could not be revoked', { error }))
      }
    }
  }

  /** A list without an entry is believed where each installation that was known is gone by its own address, too. */
  const assertGone = async (): Promise<void> => {
    for (const { id } of connectionState.read().installations) {
      const found = await link.getInstallation(id).catch((error: unknown) => {
        if (error instanceof Failure && error.code === 'installation-not-found') return undefined
        throw error
      })
      if (found) throw new Failure('github-unexpected', `GitHub lists no installation, and has ${id}`)
    }
  }

  const findSelection = (installation: number): string[] | undefined => {
    const fact = facts.find(selectionOf(installation))
    return Array.isArray(fact) ? fact.map(String) : undefined
  }

  /** Lists the repositories that an installation was given, on a hint of GitHub's, for an administrator, and once in a while. Never throws. */
  const lookAtRepositories = async (of: Installation, force: boolean): Promise<void> => {
    const hintMs = link.findChangedMs(of.id)
    try {
      if (of.repositorySelection === 'all' && findSelection(of.id)) facts.put(selectionOf(of.id), null)
      if (!hasSelection(of) || !(force || isListDue(state, of, hintMs, clock.monotonic()))) return
      const scope = { installation: of.id, permissions: { metadata: 'read' } } as const
      const { token } = await tokens.obtain({ profile: ADMIN_PROFILE, scope })
      const { items, isWhole } = await link.listRepositories(token)
      // One that cannot be read is not gone.
      if (!isWhole) throw new Failure('github-unexpected', 'a repository of the list cannot be read')
      const names = items.map(({ name }) => name).toSorted()
      // Read last: another look may have told the same meanwhile.
      apply({ kind: 'repositories', of, names, before: findSelection(of.id), hintMs })
    } catch (error) {
      log.debug('the repositories of an installation could not be listed', { error: asFailure(error) })
    }
  }

  const look = async (force: boolean, isMeant: () => boolean): Promise<boolean> => {
    const found = await link.listInstallations()
    if (connectionState.read().connection.kind === 'blocked') await proveWay(found)
    if (found.length === 0) await assertGone()
    const changed = await connectionState.serially(
      async () => isMeant() && apply({ kind: 'installations', found, force }).changed,
    )
    if (force || clock.monotonic() - appSeenAtMs >= APP_EVERY_MS) {
      const app = await link.getApp()
      await connectionState.serially(async () => {
        if (!isMeant()) return
        appSeenAtMs = clock.monotonic()
        apply({ kind: 'app', app })
      })
    }
    if (isMeant()) for (const one of found) await lookAtRepositories(one, force)
    return changed
  }

  const refused = async (failure: Failure, isMeant: () => boolean): Promise<void> => {
    // The state stays, so that nothing under way is waited for.
    if (!TROUBLE_OF[failure.code]) {
      if (isMeant()) apply({ kind: 'refusal', failure })
      return
    }
    const note = (observation: Observation) =>
      connectionState.serially(async () => (isMeant() ? apply(observation).events : []))
    const events = await note({ kind: 'refusal', failure })
    if (events.some(({ kind }) => kind === 'try-token')) {
      await note({ kind: 'token', failure, isAccepted: await isTokenAccepted() })
    }
  }

  /** Undefined where it cannot be asked. Where there is no token, none is accepted. */
  const isTokenAccepted = async (): Promise<boolean | undefined> => {
    const token = tokens.live()[0]?.token
    try {
      return token !== undefined && (await link.accepts(token))
    } catch (error) {
      log.debug('a token proves nothing of the App', { error: asFailure(error) })
      return undefined
    }
  }

  const ask = async (force = false): Promise<boolean> => {
    const { generation, connection } = connectionState.read()
    if (!isWatched(connection) || (findRest() !== undefined && !force)) return false
    // What GitHub says of one connection is nothing to another, restored or imported meanwhile.
    const isMeant = (): boolean => {
      const now = connectionState.read()
      return isWatched(now.connection) && now.generation === generation
    }
    askedAtMs = clock.monotonic()
    asking += 1
    try {
      return await look(force, isMeant)
    } catch (error) {
      const failure = asFailure(error)
      log.debug('GitHub could not be asked how things stand', { error: failure })
      await refused(failure, isMeant)
      return false
    } finally {
      asking -= 1
    }
  }

  /**
   * Asks GitHub for the installations and settles the state. Never throws: a timer calls this, and a full disk must not end the daemon.
   * `force`: an administrator asks, so that a time for which GitHub wants to be left alone, and a state that came and went, do not count.
   */
  const check = async ({ force = false } = {}): Promise<void> => {
    try {
      await ask(force)
    } catch (error) {
      log.error('what GitHub says of the App could not be taken in', { error: asFailure(error) })
    }
  }

  /** Until when, by the wall clock, GitHub wants no calls of the App, as a rate limit said. */
  const findRest = (): number | undefined => {
    const leftMs = (state.restUntilMs ?? 0) - clock.monotonic()
    return leftMs > 0 ? clock.now() + leftMs : undefined
  }

  link.onOutcome(failure => {
    if (!failure) return
    if (TROUBLE_OF[failure.code] === 'blocked') {
      connectionState
        .serially(async () => void apply({ kind: 'refusal', failure }))
        .catch((error: unknown) => log.error('a state could not be noted', { error: asFailure(error) }))
    } else if (TELLING.has(failure.code) && asking === 0) {
      if (failure.code === 'permission-not-granted') appSeenAtMs = Number.NEGATIVE_INFINITY
      soon ??= clock.after(Math.max(0, askedAtMs + SOON_APART_MS - clock.monotonic()), () => {
        soon = undefined
        void check()
      })
    }
  })

  return {
    check,
    /** Looks the installations up once more, after a 404 at mint; tells whether they changed. All who ask at once share a look, and looks are apart. */
    lookAgain(): Promise<boolean> {
      if (looking) return looking
      if (clock.monotonic() - lookedAtMs < LOOKS_APART_MS) return Promise.resolve(false)
      lookedAtMs = clock.monotonic()
      looking = ask().finally(() => {
        looking = undefined
      })
      return looking
    },
    /** How often the trouble came and went, where it is kept as the state for that. */
    findFlapping(): number | undefined {
      const isKept = isWatched(connectionState.read().connection) && state.calmSinceMs !== undefined
      return isKept ? state.enteredAtMs.length : undefined
    },
    findRest,
  }
}

/** A fact of the connection: it goes with it. */
const selectionOf = (installation: number): string => `connection.repositories.${installation}`
