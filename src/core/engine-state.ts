// The engine, or the reason why there is none: a store that cannot be opened is a state of the daemon, and does not end it.

import { asFailure, Failure } from '../protocol/errors.ts'
import type { Secret } from '../protocol/secret.ts'
import { NOTHING_TO_DO } from '../protocol/connection.ts'
import { isoTime, type PublicStatus } from '../protocol/wire.ts'
import { type Context, type Engine, openEngine } from './engine.ts'
import type { Timer } from '../service/clock.ts'
import type { Restored, RestoreOptions } from './snapshot/snapshots.ts'
import type { StatusReport } from './status.ts'
import { VERSION } from '../service/process.ts'
import { setAsideClosed, unlockByRecoveryKey } from './snapshot/closed-store.ts'
import { storeKeyOf } from './store/machine-key.ts'

/** Holds the engine, or the reason why there is none yet, and tries again with each tick of the schedule. */
export const createEngineState = (context: Context) => {
  const { clock, log } = context
  let engine: Engine | undefined
  let closed = new Failure('locked', 'the store is not open yet')
  let closedAtMs = clock.now()
  let retry: Timer | undefined
  let started = false

  let unlocking: Promise<unknown> = Promise.resolve()

  const open = (): void => {
    if (engine) return
    try {
      engine = openEngine(context)
      if (started) void beginBeating(engine)
      retry?.cancel()
    } catch (error) {
      // Whatever it is: a daemon that ends here would be started again and again, and could not be asked why.
      const failure = asFailure(error)
      if (failure.message !== closed.message) log.error('the store stays closed', { error, next: failure.next })
      if (failure.code !== closed.code) closedAtMs = clock.now()
      closed = failure
    }
  }
  /** A node of a cluster does nothing by itself before it knows what holds there. */
  const beginBeating = async (opened: Engine): Promise<void> => {
    await opened.inStep()
    if (opened === engine) opened.heartbeat.start()
  }
  const opened = (): Engine => {
    if (engine) return engine
    throw closed
  }
  const lockedStatus = () => ({
    state: 'locked',
    since: isoTime(closedAtMs),
    meaning: `${closed.entry.title}: ${closed.message}.`,
    next: closed.next,
    version: VERSION,
  })

  /** Never throws: at the start, and in what systemd is told, nothing fails for want of a sentence. */
  const describe = (report: (status: StatusReport) => PublicStatus): PublicStatus => {
    if (!engine) return lockedStatus()
    try {
      return report(engine.status)
    } catch (error) {
      log.error('the state cannot be described', { error })
      const meaning = 'The state cannot be described.'
      return { ...lockedStatus(), state: 'unknown', meaning, next: 'The journal says why.' }
    }
  }
  /** State, meaning and next step, for an administrator. */
  const standing = (): PublicStatus => describe(status => status.standing())

  /** What opens a closed store, or replaces it, is done by one at a time. */
  const exclusively = <T>(task: () => Promise<T>): Promise<T> => {
    const run = unlocking.then(task, task)
    unlocking = run.catch(() => undefined)
    return run
  }

  const place = () => ({ config: context.config(), storeKey: storeKeyOf(context.config(), context.env), log })

  return {
    open,
    /** With a recovery key: a store whose key was lost, or a sealed bundle that waits. */
    unlock: (identities: readonly Secret[]): Promise<void> =>
      exclusively(async () => {
        if (engine) {
          await engine.snapshots.unlock(identities)
          return
        }
        await unlockByRecoveryKey(identities, place())
        open()
        opened()
      }),
    /** Over a store that is damaged, or whose key is lost for good, too: that one is set aside. */
    restore: (bundle: Uint8Array, options: RestoreOptions): Promise<Restored> =>
      exclusively(async () => {
        if (!engine) {
          await setAsideClosed(closed, { bundle, options }, { ...place(), clock })
          open()
        }
        return opened().snapshots.restore(bundle, options)
      }),
    engine: opened,
    kind: () => describe(status => status.brief()).state,
    status: (caller: { socket: 'token' | 'admin' }) => {
      if (!engine) return lockedStatus()
      return caller.socket === 'admin' ? engine.status.whole() : engine.status.brief()
    },
    /** Throws where a store that is open does not answer. */
    probe: () => engine?.probe(),
    /** Resolves when a node of a cluster may serve. At once without a store, or without a cluster. */
    inStep: () => engine?.inStep() ?? Promise.resolve(),
    rest: () => engine?.rest() ?? Promise.resolve(),
    standing,
    /** What `systemctl status` shows. */
    headline: () => {
      const { meaning, next } = standing()
      return next === NOTHING_TO_DO ? meaning : `${meaning} ${next}`
    },
    start() {
      started = true
      if (engine) void beginBeating(engine)
      else retry = clock.every(RETRY_OPEN_MS, open)
    },
    /** After a reload; a store that is still closed is tried at once. */
    reschedule() {
      if (!engine) return open()
      engine.heartbeat.stop()
      engine.heartbeat.start()
    },
    close() {
      retry?.cancel()
      const closing = engine
      engine = undefined
      closing?.close()
    },
  }
}

export type EngineState = ReturnType<typeof createEngineState>

/** A disk that was full, or a key that was brought back, is noticed within this time. */
const RETRY_OPEN_MS = 15_000
