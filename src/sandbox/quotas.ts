// Primary rate limits: so many requests an hour for each holder, and the headers that say how many are left.

import type { Installation } from './records.ts'
import type { World } from './world.ts'

const HOUR_MS = 3_600_000
const ANONYMOUS = 60
const FREE_REPOSITORIES = 20
const MORE_EACH = 50
const AT_MOST = 12_500

export type Quota = { limit: number; used: number; remaining: number; resetAtS: number }

/** Whose quota it is; an installation's grows with its repositories. */
export type Holder = { key: string; installation?: Installation }

/** The holder of requests without credentials. Shown, never refused: here all callers share one address. */
export const ANYONE: Holder = { key: 'anyone' }

export type Quotas = {
  /** Counts one request. */
  take(holder: Holder, nowMs: number): Quota
  look(holder: Holder, nowMs: number): Quota
  clear(): void
}

export const createQuotas = (world: World): Quotas => {
  const windows = new Map<string, { startedAtMs: number; used: number }>()
  const windowOf = ({ key }: Holder, nowMs: number): { startedAtMs: number; used: number } => {
    const known = windows.get(key)
    if (known && nowMs >= known.startedAtMs && nowMs < known.startedAtMs + HOUR_MS) return known
    const fresh = { startedAtMs: nowMs, used: 0 }
    windows.set(key, fresh)
    return fresh
  }
  const limitOf = (holder: Holder): number => {
    if (holder === ANYONE) return ANONYMOUS
    const base = world.settings.hourlyQuota
    if (!holder.installation) return base
    const extra = Math.max(0, world.repositoriesOf(holder.installation).length - FREE_REPOSITORIES)
    return Math.min(base + extra * MORE_EACH, Math.max(base, AT_MOST))
  }
  const look = (holder: Holder, nowMs: number): Quota => {
    const limit = limitOf(holder)
    const { startedAtMs, used } = windowOf(holder, nowMs)
    const shown = Math.min(used, holder === ANYONE ? limit - 1 : limit)
    return { limit, used: shown, remaining: limit - shown, resetAtS: Math.ceil((startedAtMs + HOUR_MS) / 1000) }
  }
  return {
    look,
    take: (holder, nowMs) => {
      windowOf(holder, nowMs).used += 1
      return look(holder, nowMs)
    },
    clear: () => {
      windows.clear()
    },
  }
}
