// Isolation: when this node heard of its cluster last, restarts included, and when that is too long ago to go on by itself.

import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { FactStore } from '../store/fact-store.ts'

export type Isolation = {
  /** The cluster was heard of just now. */
  note(): void
  /** Out of touch from here on; durable. */
  begin(): void
  /** When the cluster was heard of last, by GitHub's clock. */
  lastContactMs(): number | undefined
  /** A node that was cut off for so long, or never in touch, serves nothing: what it holds may have been taken from all others. */
  isOver(): boolean
}

const LIMIT_MS = 24 * 60 * 60_000
/** GitHub's clock is learned, and may be set back so far by what it says. */
const AHEAD_MS = 5 * 60_000
/** The disk is told no more often. */
const WRITE_EVERY_MS = 60_000
const CONTACT = 'cluster.contact'

export const createIsolation = (deps: {
  facts: FactStore
  clock: Pick<Clock, 'monotonic'>
  /** GitHub's clock, which is not set back with this machine's. */
  now: () => number
  log: Log
}): Isolation => {
  const { facts, clock, now } = deps
  const found = facts.find(CONTACT)
  let contactMs = typeof found === 'number' ? found : undefined
  let writtenMs = contactMs
  /** By another process, under a clock that may have been wrong. */
  let isOfBefore = true
  /** In this process time passes whatever the clocks are set to. */
  let contactMonotonicMs = clock.monotonic()

  const write = (): void => {
    if (contactMs === undefined || contactMs === writtenMs) return
    try {
      facts.put(CONTACT, contactMs)
      writtenMs = contactMs
    } catch (error) {
      // A restart would count from the time before: too strict, and never too lax.
      deps.log.warn('when the cluster was heard of last could not be written', { error })
    }
  }

  return {
    note() {
      contactMs = now()
      isOfBefore = false
      contactMonotonicMs = clock.monotonic()
      if (writtenMs === undefined || Math.abs(contactMs - writtenMs) >= WRITE_EVERY_MS) write()
    },
    begin: write,
    lastContactMs: () => contactMs,
    isOver: () =>
      contactMs === undefined ||
      // Written while the clock was ahead: how long ago that is nobody knows.
      (isOfBefore && contactMs - now() > AHEAD_MS) ||
      now() - contactMs >= LIMIT_MS ||
      clock.monotonic() - contactMonotonicMs >= LIMIT_MS,
  }
}
