// Random numbers that a seed repeats: fast, and good enough to choose what is sent. Not for secrets.

export type Seeded = {
  /** A whole number from 0 up to and without `below`. */
  int(below: number): number
  pick<T>(list: readonly T[]): T
  /** True once in so many. */
  once(inSoMany: number): boolean
  /** Characters of a-z. */
  letters(length: number): string
}

/** The same seed gives the same numbers (mulberry32). */
export const createSeeded = (seed: number): Seeded => {
  let state = seed >>> 0
  const int = (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
  return {
    int,
    pick: list => {
      const chosen = list[int(list.length)]
      if (chosen === undefined) throw new Error('nothing to pick from')
      return chosen
    },
    once: inSoMany => int(inSoMany) === 0,
    letters: length => String.fromCharCode(...Array.from({ length }, () => 97 + int(26))),
  }
}
