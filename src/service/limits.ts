// Limits: how often something is done (an allowance), how much at once, and how long an answer may take.

import { asFailure, Failure } from '../protocol/errors.ts'

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

/** Runs `task` over all items, at most `limit` at a time. An error ends the one worker that met it; it is thrown when the others are through. */
export const inParallel = async <T>(
  items: Iterable<T>,
  limit: number,
  task: (item: T) => Promise<void>,
): Promise<void> => {
  const work = items[Symbol.iterator]()
  const worker = async (): Promise<void> => {
    for (let next = work.next(); !next.done; next = work.next()) await task(next.value)
  }
  const ends = await Promise.allSettled(Array.from({ length: limit }, worker))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

/** What was asked, and how it ended. */
export type Asked<T> = { readonly tookMs: number } & (
  | { readonly value: T; readonly failure?: undefined }
  | { readonly failure: Failure }
)

/** How a question ended, by `untilMs` of the monotonic clock at the latest. Never rejects; a later result is discarded. */
export const within = async <T>(
  question: Promise<T>,
  {
    clock,
    untilMs,
    what,
  }: {
    clock: { monotonic(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> }
    untilMs: number
    what: string
  },
): Promise<Asked<T>> => {
  const beganMs = clock.monotonic()
  const tookMs = (): number => clock.monotonic() - beganMs
  const answered = new AbortController()
  const late = clock.sleep(Math.max(0, untilMs - beganMs), answered.signal).then((): Asked<T> => {
    const failure = new Failure('timeout', `${what} did not answer in ${Math.round(tookMs() / 100) / 10} s`)
    return { failure, tookMs: tookMs() }
  })
  const answer = question.then(
    (value): Asked<T> => ({ value, tookMs: tookMs() }),
    (error: unknown): Asked<T> => ({ failure: asFailure(error), tookMs: tookMs() }),
  )
  try {
    return await Promise.race([answer, late])
  } finally {
    answered.abort()
  }
}
