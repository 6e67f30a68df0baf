// Room in the cache of tokens: each holder is charged for its entries, and the largest holder makes room for a newcomer.

import type { Peer } from '../../protocol/profile.ts'

export type CacheLimits = { readonly entries: number; readonly bytes: number }

/** 50,000 scopes in use fit with tokens of 600 characters; the tick looks at each entry, so their number has a limit of its own. */
export const CACHE_LIMITS: CacheLimits = { entries: 60_000, bytes: 112 * 2 ** 20 }

/** Entries of admin.sock and of the daemon itself. */
export const ADMINISTRATORS = 'administrators'
/** Entries that no local process has asked for yet: loaded at the start, restored, or of other nodes. */
export const UNCLAIMED = 'unclaimed'

/** Other holders take nothing of this part of the cache from administrators. */
const RESERVED = 1 / 8
/** One holder's entries without a token take at most this part. They only remember what GitHub refused. */
const REFUSED = 1 / 32

/** What the shares know of an entry; they alone write it. */
export type Charged = {
  readonly profile: string
  holder: string
  weight: number
  /** When it was last asked for, as far as its place in the order tells. */
  placedAtMs: number
  readonly askedAtMs: number
  readonly current?: unknown
  readonly next?: unknown
  readonly minting?: unknown
}

export type Shares<E extends Charged> = {
  /** Charges `by` for a new entry, or for one of another holder. */
  charge(entry: E, by: { readonly holder: string; readonly peer?: Peer | undefined }): void
  /** Its weight is another one, or it gained or lost its token. */
  update(entry: E, weight: number): void
  remove(entry: E): void
  clear(): void
  isWithin(): boolean
  hasRoomFor(weight: number): boolean
  /**
   * What has to go while there is too much: of the largest holder, entries without a token first, then those of its largest profile
   * that were not asked for the longest time. Never `kept`, one that is being minted, or one of a smaller holder than that of `kept`.
   */
  findExcess(kept: E): E | undefined
  /** One of the processes of a holder. */
  findPeer(holder: string): Peer | undefined
  usage(): Usage
}

export type Usage = {
  readonly entries: number
  readonly bytes: number
  readonly byHolder: ReadonlyMap<string, { readonly entries: number; readonly bytes: number }>
}

type Part<E> = { bytes: number; readonly entries: Set<E> }
/** Entries with a token by profile; those without one apart. */
type Share<E> = {
  bytes: number
  count: number
  peer?: Peer | undefined
  readonly refused: Part<E>
  readonly profiles: Map<string, Part<E>>
}

export const createShares = <E extends Charged>(limits: CacheLimits): Shares<E> => {
  const shares = new Map<string, Share<E>>()
  let bytes = 0
  let count = 0

  const partOf = (share: Share<E>, entry: E): Part<E> => {
    if (!entry.current && !entry.next) return share.refused
    const known = share.profiles.get(entry.profile)
    if (known) return known
    const part = { bytes: 0, entries: new Set<E>() }
    share.profiles.set(entry.profile, part)
    return part
  }

  const place = (share: Share<E>, entry: E): void => {
    const part = partOf(share, entry)
    part.entries.add(entry)
    part.bytes += entry.weight
    share.bytes += entry.weight
    share.count += 1
    bytes += entry.weight
    count += 1
  }

  const takeOut = (entry: E): void => {
    const share = shares.get(entry.holder)
    if (!share) return
    const withToken = share.profiles.get(entry.profile)
    const part = withToken?.entries.delete(entry) ? withToken : share.refused
    if (part === share.refused && !part.entries.delete(entry)) return
    part.bytes -= entry.weight
    share.bytes -= entry.weight
    share.count -= 1
    bytes -= entry.weight
    count -= 1
    if (part !== share.refused && part.entries.size === 0) share.profiles.delete(entry.profile)
    if (share.count === 0) shares.delete(entry.holder)
  }

  const isWithin = (): boolean => bytes <= limits.bytes && count <= limits.entries

  /** Whether the others may take of it. */
  const isOpen = (holder: string, share: Share<E>): boolean =>
    holder !== ADMINISTRATORS || share.bytes > limits.bytes * RESERVED

  const findIn = (share: Share<E>, kept: E): E | undefined => {
    const parts = [share.refused, ...[...share.profiles.values()].toSorted((a, b) => b.bytes - a.bytes)]
    for (const part of parts) {
      const found = findIdle(part.entries, kept)
      if (found) return found
    }
    return undefined
  }

  return {
    charge(entry, { holder, peer }) {
      takeOut(entry)
      entry.holder = holder
      const share = shares.get(holder) ?? newShare<E>()
      shares.set(holder, share)
      share.peer = peer ?? share.peer
      place(share, entry)
    },
    update(entry, weight) {
      const share = shares.get(entry.holder)
      if (!share) return
      takeOut(entry)
      entry.weight = weight
      shares.set(entry.holder, share)
      place(share, entry)
    },
    remove: takeOut,
    clear() {
      shares.clear()
      bytes = 0
      count = 0
    },
    isWithin,
    hasRoomFor: weight => bytes + weight <= limits.bytes && count < limits.entries,
    findExcess(kept) {
      const own = shares.get(kept.holder)
      const refused = own && own.refused.bytes > limits.bytes * REFUSED && findIdle(own.refused.entries, kept)
      if (refused) return refused
      if (isWithin()) return undefined
      const least = own && isOpen(kept.holder, own) ? own.bytes : 0
      const largest = [...shares]
        .filter(([holder, share]) => share.bytes >= least && isOpen(holder, share))
        .toSorted(([, a], [, b]) => b.bytes - a.bytes)
      for (const [, share] of largest) {
        const found = findIn(share, kept)
        if (found) return found
      }
      return undefined
    },
    findPeer: holder => shares.get(holder)?.peer,
    usage: () => ({
      entries: count,
      bytes,
      byHolder: new Map([...shares].map(([holder, share]) => [holder, { entries: share.count, bytes: share.bytes }])),
    }),
  }
}

/**
 * The first that was not asked for since it was placed; those that were are placed again, at the end. Asking costs no reordering
 * this way, and where all were asked for, the one that was so the longest time ago goes.
 */
const findIdle = <E extends Charged>(entries: Set<E>, kept: E): E | undefined => {
  let left = entries.size
  let busy: E | undefined
  for (const entry of entries) {
    if (left-- === 0) break
    if (entry === kept || entry.minting) continue
    if (entry.askedAtMs <= entry.placedAtMs) return entry
    if (!busy || entry.askedAtMs < busy.askedAtMs) busy = entry
    entry.placedAtMs = entry.askedAtMs
    entries.delete(entry)
    entries.add(entry)
  }
  return busy
}

const newShare = <E>(): Share<E> => ({
  bytes: 0,
  count: 0,
  refused: { bytes: 0, entries: new Set() },
  profiles: new Map(),
})
