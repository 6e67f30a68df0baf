// Durations counted in buckets: plain numbers, so that a request that takes microseconds can be counted.

export type Tally = {
  /** Upper bounds in seconds, rising; one more bucket holds what is above. */
  readonly bounds: readonly number[]
  /** Of each bucket by itself. */
  readonly counts: readonly number[]
  readonly sum: number
}

export type Histogram = {
  observe(seconds: number): void
  read(): Tally
}

/** From a token that is at hand to a call by way of a slow proxy. */
export const LATENCY_BOUNDS = [0.000_25, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

export const createHistogram = (bounds: readonly number[] = LATENCY_BOUNDS): Histogram => {
  const counts = Array.from({ length: bounds.length + 1 }, () => 0)
  let sum = 0
  return {
    observe(seconds) {
      let at = 0
      // The quickest are the most, and are found first.
      while (at < bounds.length && seconds > (bounds[at] ?? 0)) at += 1
      counts[at] = (counts[at] ?? 0) + 1
      sum += seconds
    },
    read: () => ({ bounds, counts: [...counts], sum }),
  }
}
