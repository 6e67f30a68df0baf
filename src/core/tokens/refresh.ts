// The heartbeat: at each tick of the cron, what is due is minted and what waits goes on; and how that went in the last seven days.

import { type Host, isTrouble } from '../../protocol/connection.ts'
import { asFailure } from '../../protocol/errors.ts'
import { failureOfState } from '../../protocol/connection.ts'
import type { RefreshAnswer } from '../../protocol/wire.ts'
import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Disable } from '../connection/disable.ts'
import type { Drift } from '../connection/drift.ts'
import type { Enable } from '../connection/enable.ts'
import { type ConnectionState, quarantineIfMoved } from '../connection/connection-state.ts'
import type { FactStore } from '../store/database.ts'
import type { Events } from '../audit/events.ts'
import type { RevokeAll } from './revoke-all.ts'
import type { Tokens } from './tokens.ts'

export type Heartbeat = ReturnType<typeof createHeartbeat>

/** After a failed refresh the next beat comes sooner than the cron's. */
const RETRY_MS = 30_000

export const createHeartbeat = (deps: {
  connectionState: ConnectionState
  tokens: Tokens
  enable: Enable
  disable: Disable
  revokeAll: Pick<RevokeAll, 'resume' | 'findRemaining'>
  drift: Drift
  /** Whether it is for this node to go on with what is under way, and to ask GitHub what became of the App. */
  leads?: () => boolean
  /** Proves what was restored, once. */
  prove?: () => Promise<void>
  clock: Clock
  log: Log
  host: () => Host
  isHome?: (host: Host) => boolean
  schedule: () => string
  /** At the end of each beat: what outlives a restart is put down. */
  onBeat?: () => void
}) => {
  const { connectionState, tokens, clock, log } = deps
  const timers: Timer[] = []
  let retry: Timer | undefined
  let beating = false
  let again = false

  const beat = async (): Promise<void> => {
    if (beating) {
      // What began before may hang on what was fixed since.
      again = true
      return
    }
    beating = true
    try {
      await connectionState.serially(async () => quarantineIfMoved(deps))
      await deps.revokeAll.resume()
      if (deps.leads?.() ?? true) {
        await deps.enable.resume()
        await deps.disable.resume()
        await deps.drift.check()
      }
      const isProven = await prove()
      const outcomes = await tokens.refresh()
      const isLeft = deps.revokeAll.findRemaining() !== undefined
      if (!isProven || isLeft || outcomes.some(outcome => outcome.failure)) retrySoon()
      deps.onBeat?.()
    } catch (error) {
      log.error('a refresh ended early', { error: asFailure(error) })
    } finally {
      beating = false
      if (again && timers.length > 0) {
        again = false
        void beat()
      }
    }
  }

  const prove = async (): Promise<boolean> => {
    try {
      await deps.prove?.()
      return true
    } catch (error) {
      log.warn('what was restored is not proven yet', { error: asFailure(error) })
      return false
    }
  }

  const retrySoon = (): void => {
    // It was stopped during the beat.
    if (timers.length === 0) return
    retry?.cancel()
    retry = clock.after(RETRY_MS, () => void beat())
  }

  return {
    /** Begins to beat; the first beat is at once. Throws on a malformed schedule. */
    start(): void {
      timers.push(clock.schedule(deps.schedule(), () => void beat()))
      timers.push(
        clock.onJump(ms => {
          log.warn('the clock jumped, or the machine slept; tokens are looked at anew', {
            seconds: Math.round(ms / 1000),
          })
          void beat()
        }),
      )
      void beat()
    },
    /** What an administrator asks for: mints again for every scope that is held, due or not. */
    async force(): Promise<RefreshAnswer> {
      // What was gone from GitHub may be back: that is found out first.
      await deps.drift.check({ force: true })
      connectionState.requireServing()
      const outcomes = await tokens.refresh({ force: true })
      // Nothing was asked of GitHub, which must not look as if GitHub had agreed.
      const { kind } = connectionState.read().connection
      const trouble =
        outcomes.length === 0 && isTrouble(kind) && failureOfState({ state: kind, ...connectionState.explain() })
      if (trouble) throw trouble
      return {
        refreshed: outcomes.filter(outcome => !outcome.failure).length,
        failed: outcomes.flatMap(({ scope, failure }) =>
          failure ? [{ scope, code: failure.code, detail: failure.message }] : [],
        ),
      }
    },
    /** Beats now, where it beats at all: something changed that GitHub should be asked about. */
    soon(): void {
      if (timers.length > 0) void beat()
    },
    stop(): void {
      for (const timer of timers.splice(0)) timer.cancel()
      retry?.cancel()
    },
  }
}

export type RefreshHour = { readonly startMs: number; readonly refreshed: number; readonly failed: number }
export type RefreshHistory = ReturnType<typeof createRefreshHistory>

const HISTORY = 'connection.refresh-history'
const HOUR_MS = 60 * 60_000
const KEPT_MS = 7 * 24 * HOUR_MS
/** What a kill takes with it at most. */
const WRITE_MS = 60_000

/** Counted by the hour: a small fact in the store, so that it outlives a restart. */
export const createRefreshHistory = (deps: {
  facts: FactStore
  events: Pick<Events, 'subscribe'>
  clock: Pick<Clock, 'now' | 'after'>
  log: Log
}) => {
  const { facts, clock } = deps
  const stored = facts.find(HISTORY)
  // Of an older or newer version, perhaps: what is no hour is left out.
  let hours: readonly RefreshHour[] = Array.isArray(stored) ? stored.filter(isHour) : []
  let writing: Timer | undefined

  const write = (): void => {
    writing?.cancel()
    writing = undefined
    try {
      facts.put(HISTORY, hours)
    } catch (error) {
      deps.log.warn('the history of refreshes cannot be written', { error: asFailure(error) })
    }
  }

  const count = (what: 'refreshed' | 'failed'): void => {
    const now = clock.now()
    const startMs = now - (now % HOUR_MS)
    const hour = hours.find(known => known.startMs === startMs) ?? { startMs, refreshed: 0, failed: 0 }
    hours = [...hours.filter(known => known !== hour), { ...hour, [what]: hour[what] + 1 }]
      .filter(known => known.startMs > now - KEPT_MS && known.startMs <= now)
      .toSorted((a, b) => a.startMs - b.startMs)
    writing ??= clock.after(WRITE_MS, write)
  }

  const unsubscribe = deps.events.subscribe(({ event, state }) => {
    if (event === 'token-refreshed') count('refreshed')
    else if (event === 'refresh-failed') count('failed')
    // The fact went with the connection.
    else if (event === 'state' && state === 'disconnected') hours = []
  })

  return {
    /** Oldest first; hours in which nothing happened are left out. */
    hours: (): readonly RefreshHour[] => hours.filter(({ startMs }) => startMs > clock.now() - KEPT_MS),
    /** Writes what was counted since the last time. */
    close(): void {
      unsubscribe()
      if (writing) write()
    },
  }
}

const isHour = (value: unknown): value is RefreshHour =>
  typeof value === 'object' &&
  value !== null &&
  ['startMs', 'refreshed', 'failed'].every(name => Number.isSafeInteger(Reflect.get(value, name)))
