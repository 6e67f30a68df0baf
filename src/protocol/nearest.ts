// Guesses what a misspelt word was meant to be.

/** The candidate that is fewest typing errors away, up to one for each three letters and three in all; undefined where none is so near. */
export const nearest = (word: string, candidates: readonly string[]): string | undefined => {
  let best: string | undefined
  let least = Math.min(3, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const count = distance(word.toLowerCase(), candidate.toLowerCase())
    if (count < least) [best, least] = [candidate, count]
  }
  return best
}

/** Letters left out, added, replaced or swapped with their neighbour (optimal string alignment). */
const distance = (a: string, b: string): number => {
  if (Math.abs(a.length - b.length) > 3) return Infinity
  let [before, last]: [number[], number[]] = [[], Array.from({ length: b.length + 1 }, (_, at) => at)]
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const differs = a[row - 1] === b[column - 1] ? 0 : 1
      const best = Math.min((last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, (last[column - 1] ?? 0) + differs)
      const isSwap = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      current.push(isSwap ? Math.min(best, (before[column - 2] ?? 0) + 1) : best)
    }
    ;[before, last] = [last, current]
  }
  return last[b.length] ?? 0
}
