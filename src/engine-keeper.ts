// Keeps the engine, or the reason why there is none: a store that cannot be opened is a state of the daemon, and no end of it.

import { Failure } from './domain/errors.ts'
import type { Secret } from './domain/secret.ts'
import { isoTime } from './domain/wire.ts'
import { type Engine, type EngineDeps, openEngine } from './engine.ts'
import type { Timer } from './platform/clock.ts'
import { VERSION } from './platform/version.ts'
import { unlockByRecoveryKey } from './unlock.ts'

/** Holds the engine, or the reason why there is none yet, and tries again with each tick of the schedule. */
export const keepEngine = (deps: EngineDeps) => {
  const { clock, log } = deps
  let engine: Engine | undefined
  let closed = new Failure('locked', 'the store is not open yet')
  let closedAtMs = clock.now()
  let retry: Timer | undefined
  let started = false

  const open = (): void => {
    try {
      engine = openEngine(deps)
      if (started) engine.heartbeat.start()
      retry?.cancel()
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      if (error.message !== closed.message) log.error('the store stays closed', { error, next: error.entry.next })
      if (error.code !== closed.code) closedAtMs = clock.now()
      closed = error
    }
  }
  const opened = (): Engine => {
    if (engine) return engine
    throw closed
  }
  const lockedStatus = () => ({
    state: 'locked',
    since: isoTime(closedAtMs),
    meaning: `${closed.entry.title}: ${closed.message}.`,
    next: closed.entry.next,
    version: VERSION,
  })

  return {
    open,
    /** With a recovery key: a store whose key was lost, or a sealed bundle that waits. */
    async unlock(identities: readonly Secret[]): Promise<void> {
      if (engine) return void (await engine.operations.snapshots.unlock(identities))
      await unlockByRecoveryKey(deps, identities)
      open()
      opened()
    },
    engine: opened,
    operations: () => opened().operations,
    state: () => (engine ? engine.operations.status.brief() : lockedStatus()).state,
    status: (caller: { socket: 'token' | 'admin' }) => {
      if (!engine) return lockedStatus()
      return caller.socket === 'admin' ? engine.operations.status.whole() : engine.operations.status.brief()
    },
    /** Throws where a store that is open does not answer. */
    probe: () => engine?.probe(),
    /** One sentence for `systemctl status`. */
    headline: () => (engine ? engine.operations.status.brief() : lockedStatus()).meaning,
    start() {
      started = true
      engine?.heartbeat.start()
      if (!engine) retry = clock.every(RETRY_OPEN_MS, open)
    },
    /** After a reload; a store that is still closed is tried at once. */
    reschedule() {
      if (!engine) return open()
      engine.heartbeat.stop()
      engine.heartbeat.start()
    },
    close() {
      retry?.cancel()
      engine?.close()
    },
  }
}

/** A disk that was full, or a key that was brought back, is noticed within this time. */
const RETRY_OPEN_MS = 15_000
