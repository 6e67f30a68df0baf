// Drift: what GitHub says of the App, turned into states that are entered on evidence and left unaided, and changes that are told.

import { installationChanges, followAccount, followOwner, appChanges, narrowed } from './changes.ts'
import {
  type App,
  type Installation,
  isLive,
  isTrouble,
  type Live,
  mayServe,
  type Trouble,
} from '../../protocol/connection.ts'
import { asFailure, type Code, Failure } from '../../protocol/errors.ts'
import { foldName } from '../../protocol/scope.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { AppLink } from './app-link.ts'
import type { ChangeNotifier } from './change-notifier.ts'
import type { ConnectionState } from './connection-state.ts'
import type { Selections } from './selections.ts'
import { createSettling } from './settling.ts'
import { CONFIRM_MS, createSuspicion } from './suspicion.ts'

export type Drift = {
  /**
   * Asks GitHub for the installations and settles the state. Never throws. `force`: an administrator asks, so that a time for which GitHub
   * wants to be left alone, and a state that came and went, do not count.
   */
  check(options?: { force?: boolean }): Promise<void>
  /** Looks the installations up once more, after a 404 at mint; tells whether they changed. All who ask at once share a look, and looks are apart. */
  lookAgain(): Promise<boolean>
  /** How often the trouble of now came and went, where it is kept as the state for that. */
  findFlapping(): number | undefined
  /** Until when, by the wall clock, GitHub wants no calls of the App, as a rate limit said. */
  findRest(): number | undefined
}

/** What a failure of GitHub's own means for the connection, where it means anything. */
const TROUBLE_OF: Partial<Record<Code, Trouble>> = {
  'key-rejected': 'key-rejected',
  'app-not-found': 'app-deleted',
  'ip-blocked': 'blocked',
  'account-policy': 'blocked',
}
/** Said by a call for a token, these are reasons to look sooner than the next beat does. */
const TELLING = new Set<Code>([
  'key-rejected',
  'app-not-found',
  'suspended',
  'permission-not-granted',
  'repository-not-accessible',
])
/** GitHub's words that the App is gone count after this time where no token can prove it. */
const UNPROVEN_MS = 5 * 60_000
const LOOKS_APART_MS = 10_000
const SOON_APART_MS = 60_000
/** The App itself changes seldom. */
const APP_EVERY_MS = 15 * 60_000

export const createDrift = (deps: {
  connectionState: ConnectionState
  link: AppLink
  selections: Selections
  changeNotifier: ChangeNotifier
  clock: Clock
  log: Log
  /** A token that GitHub should take, if there is one. */
  findToken: () => Secret | undefined
  /** Tokens of the installation may reach less than they say. */
  onNarrowed: (installation: number) => void
}): Drift => {
  const { connectionState, link, changeNotifier, clock, log } = deps
  const suspicion = createSuspicion(() => clock.monotonic())
  const settling = createSettling(() => clock.monotonic())
  let looking: Promise<boolean> | undefined
  let lookedAtMs = Number.NEGATIVE_INFINITY
  let askedAtMs = Number.NEGATIVE_INFINITY
  let appSeenAtMs = Number.NEGATIVE_INFINITY
  let restUntilMs = Number.NEGATIVE_INFINITY
  let asking = 0
  let confirmation: Timer | undefined
  let soon: Timer | undefined

  const enter = (trouble: Trouble, evidence: string): void => {
    const { connection } = connectionState.read()
    if (!isLive(connection) || !(connection.kind === 'connected' || isTrouble(connection.kind))) return
    settling.goesOn()
    if (connection.kind === trouble) return
    settling.entered()
    connectionState.transition({ ...established(connection), kind: trouble, sinceMs: clock.now(), evidence })
  }

  const settle = (found: readonly Installation[], force: boolean): void => {
    const { connection } = connectionState.read()
    if (!isLive(connection)) return
    const { account } = connection
    const mine = found.filter(
      i => account.type === 'enterprise' || foldName(i.account.login) === foldName(account.login),
    )
    const relevant = mine.length > 0 ? mine : found
    if (relevant.length === 0) return enter('uninstalled', 'GitHub lists no installation of the App')
    if (relevant.every(i => i.suspendedAtMs !== undefined)) {
      return enter('suspended', `GitHub says so for ${relevant.map(i => i.account.login).join(', ')}`)
    }
    if (!isTrouble(connection.kind)) return
    // A state in which nothing is served is never kept for the sake of calm.
    if (!settling.mayLeave(force || !mayServe(connection))) return
    connectionState.transition({ ...established(connection), kind: 'connected', sinceMs: clock.now() })
  }

  const learn = (found: readonly Installation[], force: boolean): boolean => {
    suspicion.clear()
    const { installations, connection } = connectionState.read()
    const changed = JSON.stringify(installations) !== JSON.stringify(found)
    if (changed && isLive(connection)) {
      const account = followAccount(connection.account, installations, found)
      connectionState.transition({ ...connection, account }, { installations: found })
      changeNotifier.tell(installationChanges(installations, found))
      for (const id of narrowed(installations, found)) deps.onNarrowed(id)
    }
    settle(found, force)
    return changed
  }

  const learnApp = (app: App): void => {
    const { connection, installations } = connectionState.read()
    if (!isLive(connection)) return
    appSeenAtMs = clock.monotonic()
    if (JSON.stringify(connection.app) === JSON.stringify(app)) return
    const changes = appChanges(connection.app, app)
    connectionState.transition({ ...connection, app, account: followOwner(connection, app, installations) })
    changeNotifier.tell(changes)
  }

  const watched = (): boolean => {
    const { kind } = connectionState.read().connection
    return kind === 'connected' || isTrouble(kind)
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

  /** An App that is gone took its tokens along: while GitHub takes one, it is not. */
  const isProven = async (code: Code): Promise<boolean> => {
    const token = code === 'app-not-found' ? deps.findToken() : undefined
    if (!token) return true
    try {
      if (!(await link.accepts(token))) return true
      suspicion.clear()
      return false
    } catch (error) {
      log.debug('a token proves nothing of the App', { error: asFailure(error) })
      return suspicion.lastsMs() >= UNPROVEN_MS
    }
  }

  const suspect = async (failure: Failure, isMeant: () => boolean): Promise<void> => {
    const trouble = TROUBLE_OF[failure.code]
    if (!trouble || !isMeant()) return
    // A policy names itself; the others need repeats.
    const believed = trouble === 'blocked' || (suspicion.note(failure.code) && (await isProven(failure.code)))
    if (believed) return connectionState.serially(async () => void (isMeant() && enter(trouble, failure.message)))
    // One timer, however many calls failed.
    confirmation?.cancel()
    const waitMs = suspicion.lastsMs() < UNPROVEN_MS ? CONFIRM_MS / 2 + 1_000 : SOON_APART_MS
    confirmation = clock.after(waitMs, () => void check())
  }

  const look = async (force: boolean, isMeant: () => boolean): Promise<boolean> => {
    const found = await link.listInstallations()
    if (connectionState.read().connection.kind === 'blocked') await proveWay(found)
    if (found.length === 0) await assertGone()
    const changed = await connectionState.serially(async () => isMeant() && learn(found, force))
    if (force || clock.monotonic() - appSeenAtMs >= APP_EVERY_MS) {
      const app = await link.getApp()
      await connectionState.serially(async () => void (isMeant() && learnApp(app)))
    }
    if (!isMeant()) return changed
    const changes = await deps.selections.look(found, { force })
    changeNotifier.tell(changes)
    for (const { installation } of changes.filter(one => one.removed.length > 0)) deps.onNarrowed(installation)
    return changed
  }

  const ask = async (force = false): Promise<boolean> => {
    if (!watched() || (clock.monotonic() < restUntilMs && !force)) return false
    const { generation } = connectionState.read()
    // What GitHub says of one connection is nothing to another, restored or imported meanwhile.
    const isMeant = (): boolean => watched() && connectionState.read().generation === generation
    askedAtMs = clock.monotonic()
    asking += 1
    try {
      const changed = await look(force, isMeant)
      restUntilMs = Number.NEGATIVE_INFINITY
      return changed
    } catch (error) {
      const failure = asFailure(error)
      log.debug('GitHub could not be asked how things stand', { error: failure })
      if (failure.code === 'quota') restUntilMs = clock.monotonic() + (failure.retryAfterSeconds ?? 60) * 1_000
      await suspect(failure, isMeant)
      return false
    } finally {
      asking -= 1
    }
  }

  /** A timer calls this: what goes wrong here, such as a full disk, must not end the daemon. */
  const check = async ({ force = false } = {}): Promise<void> => {
    try {
      await ask(force)
    } catch (error) {
      log.error('what GitHub says of the App could not be taken in', { error: asFailure(error) })
    }
  }

  const lookAgain = (): Promise<boolean> => {
    if (looking) return looking
    if (clock.monotonic() - lookedAtMs < LOOKS_APART_MS) return Promise.resolve(false)
    lookedAtMs = clock.monotonic()
    looking = ask().finally(() => {
      looking = undefined
    })
    return looking
  }

  link.onOutcome(failure => {
    if (!failure) return
    if (TROUBLE_OF[failure.code] === 'blocked') {
      connectionState
        .serially(async () => enter('blocked', failure.message))
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
    lookAgain,
    findFlapping: () => (watched() ? settling.findFlapping() : undefined),
    findRest() {
      const leftMs = restUntilMs - clock.monotonic()
      return leftMs > 0 ? clock.now() + leftMs : undefined
    },
  }
}

const established = ({ app, account, host, enabledAtMs }: Live) => ({ app, account, host, enabledAtMs })
