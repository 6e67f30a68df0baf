// Who is served when: in each turn of the event loop no holder has more than a few requests. A caller that asks over a thousand
// connections waits behind its own requests.

export type HolderTurns = {
  /**
   * Runs the task at once where the holder has its share of this turn left, else in a later one, after what the holder asked for before.
   * `cost`: 1 for a token in the cache. The task never throws.
   */
  take(holder: string, task: () => void, cost?: number): void
}

/** Some 300 us. A turn costs 10 us itself, so a holder that is alone loses little. What costs more is paid for in the turns after it. */
const SHARE = 4

type Share = { used: number; readonly waiting: { task: () => void; cost: number }[] }

/** One for all servers. */
export const createHolderTurns = (): HolderTurns => {
  /** Of those who were served in this turn, or wait for a later one. */
  const shares = new Map<string, Share>()
  let begun = false

  const begin = (): void => {
    if (begun) return
    begun = true
    setImmediate(nextTurn)
  }
  const nextTurn = (): void => {
    begun = false
    for (const [holder, share] of shares) {
      share.used = Math.max(0, share.used - SHARE)
      if (share.used === 0 && share.waiting.length === 0) shares.delete(holder)
    }
    if (shares.size === 0) return
    begin()
    for (const share of shares.values()) serve(share)
  }
  const serve = (share: Share): void => {
    while (share.used < SHARE) {
      const next = share.waiting.shift()
      if (!next) return
      share.used += next.cost
      next.task()
    }
  }

  return {
    take(holder, task, cost = 1) {
      const share = shares.get(holder) ?? { used: 0, waiting: [] }
      shares.set(holder, share)
      begin()
      if (share.used >= SHARE || share.waiting.length > 0) share.waiting.push({ task, cost })
      else {
        share.used += cost
        task()
      }
    },
  }
}
