// An allowance: a burst, and so many a second after it. Times are milliseconds of a monotonic clock.

export type Allowance = { readonly perSecond: number; readonly burst: number }

/** Who is refused for asking too often waits for it: in a loop, one asks four times a second on each connection. */
export const SLOWED_MS = 250

export type Level = { left: number; atMs: number; readonly allowance: Allowance }

export const fullLevel = (allowance: Allowance, atMs: number): Level => ({ left: allowance.burst, atMs, allowance })

/** Takes so much from both, or nothing from either; gives the level that has none left. What is more than it has is owed. */
export const take = (own: Level, shared: Level | undefined, nowMs: number, cost = 1): Level | undefined => {
  fill(own, nowMs)
  if (shared) fill(shared, nowMs)
  if (own.left < 1) return own
  if (shared && shared.left < 1) return shared
  own.left -= cost
  if (shared) shared.left -= cost
  return undefined
}

/** Takes `cost` even if that leaves a debt, and returns the milliseconds until the debt is paid. A caller that waits that long each time keeps to the allowance. */
export const owe = (level: Level, nowMs: number, cost: number): number => {
  fill(level, nowMs)
  level.left -= cost
  return Math.max(0, (-level.left / level.allowance.perSecond) * 1000)
}

/** Adds what came back since it was looked at last. */
export const fill = (level: Level, nowMs: number): void => {
  const { perSecond, burst } = level.allowance
  level.left = Math.min(burst, level.left + ((nowMs - level.atMs) / 1000) * perSecond)
  level.atMs = nowMs
}
