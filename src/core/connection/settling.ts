// Settling: a trouble that comes and goes is kept as the state until GitHub has said for a while that it is over.

export type Settling = {
  /** A trouble was entered. */
  entered(): void
  /** GitHub says that it goes on. */
  goesOn(): void
  /** GitHub says that it is over; tells whether to believe it. `force`: at once. */
  mayLeave(force: boolean): boolean
  /** How often it came and went, where it is kept for that; undefined else. */
  findFlapping(): number | undefined
}

/** So many times within the window are flapping. */
const TIMES = 3
const WINDOW_MS = 30 * 60_000
const CALM_MS = 10 * 60_000

export const createSettling = (monotonic: () => number): Settling => {
  let entries: number[] = []
  let calmSinceMs: number | undefined
  const entered = (): void => {
    const now = monotonic()
    entries = [...entries.filter(atMs => now - atMs < WINDOW_MS), now]
    calmSinceMs = undefined
  }
  return {
    entered,
    goesOn() {
      // It was said to be over, and came again while the state was kept.
      if (calmSinceMs !== undefined) entered()
    },
    mayLeave(force) {
      calmSinceMs ??= monotonic()
      const often = entries.filter(atMs => monotonic() - atMs < WINDOW_MS).length >= TIMES
      const left = force || !often || monotonic() - calmSinceMs >= CALM_MS
      if (left) calmSinceMs = undefined
      return left
    },
    findFlapping: () => (calmSinceMs === undefined ? undefined : entries.length),
  }
}
