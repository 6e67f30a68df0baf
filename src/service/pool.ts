// Several calls at once, but not too many.

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
