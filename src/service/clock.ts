// Time: the wall clock, the monotonic clock, timers and the cron, in one object, so that tests can own it.

import { createRequire } from 'node:module'
import type cron from 'node-cron'

export type Timer = { cancel(): void }

export type Clock = {
  /** Milliseconds since the epoch by this machine's wall clock, which may jump. */
  now(): number
  /** Milliseconds from an arbitrary origin; never goes back, and stands still while the machine sleeps. */
  monotonic(): number
  /** Runs `task` once, after `ms`. Does not keep the process alive. A task that throws is a bug: catch inside. */
  after(ms: number, task: () => void): Timer
  /** Runs `task` again and again, `ms` apart. Does not keep the process alive. */
  every(ms: number, task: () => void): Timer
  /** Runs `task` at each match of a cron expression (5 or 6 fields, local time), late rather than not at all. Throws on a malformed one. */
  schedule(expression: string, task: () => void): Timer
  /** Calls back with the milliseconds by which wall and monotonic clock came apart: a set clock, or a machine that slept. */
  onJump(callback: (ms: number) => void): Timer
  /** Resolves after `ms`, or at once when the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

const JUMP_CHECK_MS = 5_000
/** NTP slews far less than this between two checks. */
const JUMP_MS = 3_000

export const isCronExpression = (expression: string): boolean => library().validate(expression)

/** Loaded with its first use: a start is ready before it needs a schedule. */
const library = (): typeof cron => require('node-cron')
const require = createRequire(import.meta.url)

export const createClock = (): Clock => {
  const after = (ms: number, task: () => void): Timer => {
    const handle = setTimeout(task, Math.min(ms, MAX_TIMEOUT_MS)).unref()
    return { cancel: () => clearTimeout(handle) }
  }
  const every = (ms: number, task: () => void): Timer => {
    const handle = setInterval(task, ms).unref()
    return { cancel: () => clearInterval(handle) }
  }
  const onJump: Clock['onJump'] = callback => {
    let difference = Date.now() - performance.now()
    return every(JUMP_CHECK_MS, () => {
      const current = Date.now() - performance.now()
      const jump = current - difference
      difference = current
      if (Math.abs(jump) > JUMP_MS) callback(jump)
    })
  }
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after,
    every,
    schedule(expression, task) {
      // A match that a busy machine or a sleep made late runs late: by itself node-cron leaves out what is a second late.
      const arm = () =>
        library().schedule(expression, task, { missedExecutionTolerance: MAX_TIMEOUT_MS, suppressMissedWarning: true })
      let job = arm()
      // It waits for the match that it reckoned: after a clock that was set back that is too far away.
      const jumps = onJump(() => {
        void job.destroy()
        job = arm()
      })
      return {
        cancel() {
          jumps.cancel()
          void job.destroy()
        },
      }
    },
    onJump,
    sleep(ms, signal) {
      const { promise, resolve } = Promise.withResolvers<void>()
      if (signal?.aborted) return Promise.resolve()
      const end = (): void => {
        timer.cancel()
        // A signal outlives the sleeps of a loop: each would leave its listener.
        signal?.removeEventListener('abort', end)
        resolve()
      }
      const timer = after(ms, end)
      signal?.addEventListener('abort', end)
      return promise
    },
  }
}

/** The longest delay that setTimeout takes; longer ones would fire at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1
