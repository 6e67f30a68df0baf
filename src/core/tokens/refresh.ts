// The heartbeat: at each tick of the cron, what is due is minted and what waits goes on.

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
import type { RevokeAll } from './revoke-all.ts'
import type { Tokens } from './tokens.ts'

export type Heartbeat = {
  /** Begins to beat; the first beat is at once. Throws on a malformed schedule. */
  start(): void
  /** What an administrator asks for: mints anew for every scope that is held, due or not. */
  force(): Promise<RefreshAnswer>
  /** Beats now, where it beats at all: something changed that GitHub should be asked about. */
  soon(): void
  stop(): void
}

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
}): Heartbeat => {
  const { connectionState, tokens, clock, log } = deps
  const timers: Timer[] = []
  let retry: Timer | undefined
  let beating = false
  let again = false

  const beat = async (): Promise<void> => {
    if (beating) {
      // What began before may hang on what was mended since.
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
    start() {
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
    async force() {
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
    soon() {
      if (timers.length > 0) void beat()
    },
    stop() {
      for (const timer of timers.splice(0)) timer.cancel()
      retry?.cancel()
    },
  }
}
