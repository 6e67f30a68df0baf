// Primary rate limits: so many requests an hour for each holder, and the headers that say how many are left.

import type { World } from './world.ts'

const HOUR_MS = 3_600_000
const ANONYMOUS = 60

export type Quota = { limit: number; used: number; remaining: number; resetAtS: number }
export type Quotas = {
  /** Counts one request; `refused` says that there was none left for it. */
  take(holder: string, nowMs: number): Quota & { refused: boolean }
  look(holder: string, nowMs: number): Quota
  clear(): void
}

/** The holder of requests without credentials. Shown, never refused: here all callers share one address. */
export const ANYONE = 'anyone'

export const createQuotas = (world: World): Quotas => {
  const windows = new Map<string, { startedAtMs: number; used: number }>()
  const windowOf = (holder: string, nowMs: number): { startedAtMs: number; used: number } => {
    const known = windows.get(holder)
    if (known && nowMs >= known.startedAtMs && nowMs < known.startedAtMs + HOUR_MS) return known
    const fresh = { startedAtMs: nowMs, used: 0 }
    windows.set(holder, fresh)
    return fresh
  }
  const look = (holder: string, nowMs: number): Quota => {
    const limit = holder === ANYONE ? ANONYMOUS : world.settings.hourlyQuota
    const { startedAtMs, used } = windowOf(holder, nowMs)
    const shown = Math.min(used, holder === ANYONE ? limit - 1 : limit)
    return { limit, used: shown, remaining: limit - shown, resetAtS: Math.ceil((startedAtMs + HOUR_MS) / 1000) }
  }
  return {
    look,
    take: (holder, nowMs) => {
      const refused = look(holder, nowMs).remaining === 0
      if (!refused) windowOf(holder, nowMs).used += 1
      return { ...look(holder, nowMs), refused }
    },
    clear: () => {
      windows.clear()
    },
  }
}
