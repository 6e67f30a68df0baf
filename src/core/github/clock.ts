// GitHub's clock, learned from the Date of its answers, so that this machine's clock may be wrong.

import type { Clock } from '../../service/clock.ts'

export type GitHubClock = ReturnType<typeof createGitHubClock>

/** HTTP dates have whole seconds, so smaller differences say nothing. */
const RESOLUTION_MS = 1_500

export const createGitHubClock = (deps: {
  clock: Clock
  /** What was learned before the last stop. */
  offsetMs: number
  /** It was later than this already, as an answer before the last stop said: a clock that was set back meanwhile does not count. */
  leastMs?: number | undefined
  /** Called when the offset changes by more than the resolution. */
  onChange: (offsetMs: number) => void
}) => {
  const { clock } = deps
  let offset = deps.offsetMs
  /** The last answer: what it said, and when by the monotonic clock, which no one can set back. */
  let anchor = deps.leastMs === undefined ? undefined : { githubMs: deps.leastMs, monotonicMs: clock.monotonic() }
  let learned = false

  return {
    /** Milliseconds since the epoch by GitHub's clock, as well as it is known; errs late, so that no token seems younger than it is. */
    now(): number {
      const byWall = clock.now() + offset
      // A wall clock that was set back must not make tokens young again; a machine that slept has a late monotonic clock.
      return anchor ? Math.max(byWall, anchor.githubMs + (clock.monotonic() - anchor.monotonicMs)) : byWall
    },
    /** The time by GitHub's own answers, where one came since the start: to be kept as `leastMs`. */
    findTold: (): number | undefined =>
      learned && anchor ? anchor.githubMs + (clock.monotonic() - anchor.monotonicMs) : undefined,
    /** GitHub's clock minus this machine's, in milliseconds; 0 until the first answer. */
    offsetMs: (): number => offset,
    /** Takes the `Date` of a genuine answer to a request sent at `sentAtMs` by this machine's clock. */
    learn(date: string, sentAtMs: number): void {
      const githubMs = Date.parse(date)
      if (Number.isNaN(githubMs)) return
      const receivedAtMs = clock.now()
      const took = receivedAtMs - sentAtMs
      if (took < 0 || took > SLOW_ANSWER_MS) return
      const difference = githubMs + 500 - (sentAtMs + took / 2)
      const settled = Math.abs(difference) <= RESOLUTION_MS + took / 2 ? 0 : difference
      learned = true
      anchor = { githubMs: receivedAtMs + settled, monotonicMs: clock.monotonic() }
      if (Math.abs(settled - offset) <= RESOLUTION_MS) return
      offset = settled
      deps.onChange(offset)
    },
  }
}

/** The clock may have been set, or the machine slept, while such an answer was under way. */
const SLOW_ANSWER_MS = 30_000
