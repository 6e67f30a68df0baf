// Disable: serving stops at once, GitHub's side is taken down step by step, then the key is shredded.

import { appSettingsUrl, type Connection, type DisableStep, isLive } from '../../protocol/connection.ts'
import { asFailure, type Code } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { AppLink } from './app-link.ts'
import type { Events } from '../audit/events.ts'
import { type ConnectionState, established } from './connection-state.ts'
import { inParallel } from '../../service/limits.ts'
import type { Tokens } from '../tokens/tokens.ts'

export type DisableOptions = {
  /** GitHub is not called: for what cannot be reached, or must not be disturbed (a clone). */
  readonly local: boolean
  /** Until the owner has deleted the App, at most 24 hours; else the key is shredded at once. */
  readonly wait: boolean
}

export type Disable = ReturnType<typeof createDisable>

type Disconnecting = Extract<Connection, { kind: 'disconnecting' }>

/** The key is shredded after this time even if GitHub never confirmed that the App is gone. */
const DEADLINE_MS = 24 * 60 * 60_000
const CONCURRENT_CALLS = 8
const POLL_MS = 3_000
/** While somebody may sit before the settings page; later it is looked at with each refresh. */
const EAGER_MS = 30 * 60_000
/** One 404 is never taken for a deletion: so many in a row, POLL_MS apart, are. */
const CONFIRMATIONS = 3
/** Sooner ones are no further evidence. */
const APART_MS = POLL_MS - 500
/** GitHub lets the token itself do nothing, this neither; uninstalling the App, which comes next, ends it. */
const ENDED_BY_UNINSTALL = new Set<Code>(['suspended', 'ip-blocked', 'account-policy', 'forbidden'])

export const createDisable = (deps: {
  connectionState: ConnectionState
  link: AppLink
  tokens: Tokens
  events: Events
  clock: Clock
  log: Log
  /** Forgets a sealed bundle that waits for its identity: it goes with the connection. */
  dropWaiting?: () => void
}) => {
  const { connectionState, link, tokens, events, clock, log } = deps
  let absences = 0
  let absentAtMs = Number.NEGATIVE_INFINITY
  let waiting = false

  const finish = (remark: string): void => {
    // In this order: where the disk refuses, nothing was changed, and the tokens are served on.
    connectionState.shred({ kind: 'disconnected', sinceMs: clock.now(), remark })
    deps.dropWaiting?.()
    tokens.drop()
    log.info(remark)
  }

  const revokeAll = async (): Promise<void> => {
    await inParallel(tokens.live(), CONCURRENT_CALLS, async ({ token }) => {
      try {
        await link.revoke(token)
      } catch (error) {
        const failure = asFailure(error)
        if (!ENDED_BY_UNINSTALL.has(failure.code)) throw failure
        log.warn('a token could not be revoked; it ends with the installation', { error: failure })
      }
    })
    tokens.drop()
  }

  const uninstallAll = async (): Promise<void> => {
    for (const { id } of connectionState.read().installations) await link.uninstall(id)
  }

  const isAppGone = async (): Promise<boolean> => {
    try {
      await link.getApp()
      absences = 0
    } catch (error) {
      const { code } = asFailure(error)
      const now = clock.monotonic()
      if (code === 'app-not-found') {
        if (now - absentAtMs < APART_MS) return false
        absences += 1
        absentAtMs = now
      } else if (code === 'key-rejected')
        log.warn('the key was deleted on GitHub; whether the App is gone cannot be asked any more')
    }
    return absences >= CONFIRMATIONS
  }

  const toStep = (connection: Disconnecting, step: DisableStep): Disconnecting => {
    const next = { ...connection, step }
    connectionState.transition(next)
    events.emit({ event: 'step', state: 'disconnecting', detail: STEPS[connection.step].done })
    return next
  }

  /** Throws where GitHub cannot be asked; what was done stays done. */
  const advance = async (connection: Disconnecting): Promise<void> => {
    let now = connection
    if (now.step === 'revoke') {
      await revokeAll()
      now = toStep(now, 'uninstall')
    }
    if (now.step === 'uninstall') {
      await uninstallAll()
      now = toStep(now, 'delete-app')
    }
    if (await isAppGone()) finish(`Disabled; the App ${now.app.name} is gone from GitHub.`)
    else watch(now)
  }

  const watch = (connection: Disconnecting): void => {
    if (waiting || clock.now() - connection.sinceMs > EAGER_MS) return
    waiting = true
    clock.after(POLL_MS, () => {
      waiting = false
      void resume()
    })
  }

  const goOn = async (): Promise<void> => {
    const { connection } = connectionState.read()
    if (connection.kind !== 'disconnecting') return
    try {
      await advance(connection)
    } catch (error) {
      log.warn('disabling goes on when GitHub answers', { step: connection.step, error: asFailure(error) })
      watch(connection)
    }
    const left = connectionState.read().connection
    if (left.kind === 'disconnecting' && clock.now() >= left.deadlineMs) finish(remainder(left))
  }

  /** Goes on with a disable that is under way: after a kill, at each refresh, and while somebody waits. */
  const resume = (): Promise<void> =>
    connectionState.read().connection.kind === 'disconnecting' ? connectionState.exclusively(goOn) : Promise.resolve()

  const beginNow = async ({ local, wait }: DisableOptions): Promise<Connection> => {
    const { connection } = connectionState.read()
    // A clone must never touch its original's App, so from quarantine every disable is a local one.
    if (!isLive(connection) || local || connection.kind === 'quarantined') {
      if (connection.kind === 'disconnected') deps.dropWaiting?.()
      else {
        finish(
          isLive(connection)
            ? `Disabled on this machine only. The App ${connection.app.name} remains: ${appSettingsUrl(connection.app)}`
            : remainderOfEnable(connection),
        )
      }
      return connectionState.read().connection
    }
    if (connection.kind !== 'disconnecting') {
      const sinceMs = clock.now()
      const deadlineMs = sinceMs + DEADLINE_MS
      absences = 0
      connectionState.transition({
        ...established(connection),
        kind: 'disconnecting',
        sinceMs,
        step: 'revoke',
        deadlineMs,
      })
    }
    await goOn()
    const left = connectionState.read().connection
    if (!wait && left.kind === 'disconnecting') finish(remainder(left))
    return connectionState.read().connection
  }

  return {
    /** Resolves when GitHub's side is down but for what only the App's owner can do; idempotent. */
    begin: (options: DisableOptions): Promise<Connection> =>
      connectionState.exclusively(() => beginNow(options), { cutOff: options.local ? 'leave' : 'refuse' }),
    resume,
  }
}

const STEPS: Readonly<Record<DisableStep, { readonly done: string; readonly left: string }>> = {
  revoke: {
    done: 'tokens revoked',
    left: 'its tokens, which end within the hour, its installations and the App may remain',
  },
  uninstall: { done: 'App uninstalled', left: 'its installations and the App may remain' },
  'delete-app': { done: 'App deleted', left: 'the App may remain' },
}

const remainder = (connection: Disconnecting): string =>
  `Disabled; ${STEPS[connection.step].left} on GitHub. Delete it under ${appSettingsUrl(connection.app)}/advanced`

/** Where GitHub was asked for a key, there may be an App whose key nobody has. */
const remainderOfEnable = (connection: Connection): string =>
  connection.kind === 'key-lost' || (connection.kind === 'awaiting-app' && connection.conversion)
    ? `Enabling was given up. If GitHub made an App for ${connection.account.login}, it remains, and its owner has to delete it.`
    : 'Enabling was given up.'
