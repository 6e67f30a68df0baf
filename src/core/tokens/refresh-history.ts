// How refreshing went in the last seven days, hour by hour: a small fact in the store, so that it outlives a restart.

import { asFailure } from '../../protocol/errors.ts'
import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { FactStore } from '../store/fact-store.ts'
import type { Events } from '../audit/events.ts'

export type RefreshHour = { readonly startMs: number; readonly refreshed: number; readonly failed: number }

export type RefreshHistory = {
  /** Oldest first; hours in which nothing happened are left out. */
  hours(): readonly RefreshHour[]
  /** Writes what was counted since the last time. */
  close(): void
}

const HISTORY = 'connection.refresh-history'
const HOUR_MS = 60 * 60_000
const KEPT_MS = 7 * 24 * HOUR_MS
/** What a kill takes with it at most. */
const WRITE_MS = 60_000

export const createRefreshHistory = (deps: {
  facts: FactStore
  events: Pick<Events, 'subscribe'>
  clock: Pick<Clock, 'now' | 'after'>
  log: Log
}): RefreshHistory => {
  const { facts, clock, log } = deps
  let hours = readHours(facts.find(HISTORY))
  let writing: Timer | undefined

  const write = (): void => {
    writing?.cancel()
    writing = undefined
    try {
      facts.put(HISTORY, hours)
    } catch (error) {
      log.warn('the history of refreshes cannot be written', { error: asFailure(error) })
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
    hours: () => hours.filter(({ startMs }) => startMs > clock.now() - KEPT_MS),
    close() {
      unsubscribe()
      if (writing) write()
    },
  }
}

/** Of an older or newer version, perhaps: what is no hour is left out. */
const readHours = (found: unknown): RefreshHour[] => (Array.isArray(found) ? found.filter(isHour) : [])

const isHour = (value: unknown): value is RefreshHour =>
  typeof value === 'object' &&
  value !== null &&
  ['startMs', 'refreshed', 'failed'].every(name => Number.isSafeInteger(Reflect.get(value, name)))
