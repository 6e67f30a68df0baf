// Who is charged, and what each may hold at once: connections, requests, mints, entries, streams and audit rows are counted by holder.

import type { Peer } from '../../protocol/profile.ts'

/**
 * A user makes login sessions and subordinate uids at will, so below `user-N.slice` the holder is user N, whatever uid the
 * process shows. Elsewhere it is the uid and the outermost unit, which only the system's manager gives.
 */
export type Holder = {
  /** The key of every count, and readable in a log line: `user 1000`, `uid 33 in apache2.service`. */
  readonly name: string
  /** A second limit over all units of one uid: undefined for uid 0, whose system units do not share one. */
  readonly uid?: number
}

const known = new WeakMap<Peer, Holder>()

/** The same object for the same peer object; two peers of one holder have the same `name`. */
export const holderOf = (peer: Peer): Holder => {
  const found = known.get(peer)
  if (found) return found
  const holder = make(peer)
  known.set(peer, holder)
  return holder
}

const make = ({ uid, unit, userSlice }: Peer): Holder => {
  if (userSlice !== undefined) return { name: `user ${userSlice}`, ...(userSlice !== 0 && { uid: userSlice }) }
  const name = unit === undefined ? `uid ${uid}` : `uid ${uid} in ${unit}`
  return { name, ...(uid !== 0 && { uid }) }
}

/** `assured`: what every holder may have, whatever others do. */
export type BudgetLimits = { readonly all: number; readonly ofHolder: number; readonly assured?: number }

/** What one request or stream holds of a budget. */
export type Account = {
  /** False: there is no room for so much, and nothing was taken. */
  take(amount: number): boolean
  /** Gives back all that was taken. Idempotent. */
  release(): void
}
export type Budget = (peer: Peer) => Account

/** How much of something may be held at once, by each holder and by all together. */
export const createBudget = (limits: BudgetLimits & { costOf?(amount: number): number }): Budget => {
  const { assured = 0, costOf = amount => amount } = limits
  const held = new Map<Holder['name'], number>()
  let all = 0
  return peer => {
    const { name } = holderOf(peer)
    let taken = 0
    return {
      take(amount) {
        const cost = costOf(amount)
        const own = (held.get(name) ?? 0) + cost
        if (own > assured && (own > limits.ofHolder || all + cost > limits.all)) return false
        held.set(name, own)
        all += cost
        taken += cost
        return true
      },
      release() {
        const left = (held.get(name) ?? 0) - taken
        if (left > 0) held.set(name, left)
        else held.delete(name)
        all -= taken
        taken = 0
      },
    }
  }
}

/** Some 300 us. A turn costs 10 us itself, so a holder that is alone loses little. What costs more is paid for in the turns after it. */
const SHARE = 4

type Share = { used: number; readonly waiting: { task: () => void; cost: number }[] }

export type HolderTurns = ReturnType<typeof createHolderTurns>

/**
 * Who is served when; one for all servers. In each turn of the event loop no holder has more than a few requests: a caller that asks
 * over a thousand connections waits behind its own requests.
 */
export const createHolderTurns = () => {
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
    /**
     * Runs the task at once where the holder has its share of this turn left, else in a later one, after what the holder asked for before.
     * `cost`: 1 for a token in the cache. The task never throws.
     */
    take(holder: string, task: () => void, cost = 1): void {
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
