// Entries of the cache and the room that they take: each holder is charged for its own, and the largest one makes room for a newcomer.

import type { Installation } from '../../protocol/connection.ts'
import type { Failure } from '../../protocol/errors.ts'
import { ADMIN_PROFILE, type Grant, type Peer } from '../../protocol/profile.ts'
import { canonicalScope, type Scope, type ScopeKey } from '../../protocol/scope.ts'
import { holderOf } from '../peers/holder.ts'
import type { StoredToken } from '../store/records.ts'

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

/** Of one profile and scope. All times but those of tokens are by the monotonic clock. */
export type Entry = {
  readonly key: ScopeKey
  readonly profile: string
  readonly scope: Scope
  current?: StoredToken
  next?: StoredToken
  minting?: Promise<StoredToken>
  /** GitHub may have narrowed what it was minted for. */
  doubtful?: true
  /** A token of it was given to somebody: only then it is refreshed ahead. */
  handedOut?: true
  askedAtMs: number
  failures: number
  failure?: Failure
  /** The installations as they were known when it failed: what was refused may be granted since they changed. */
  failedUnder?: readonly Installation[]
  /** No mint is tried before. */
  retryAtMs: number
  forcedAtMs: number
  /** 0 to 1: spreads the mints of scopes that were asked for together. */
  readonly jitter: number
  /** Who is charged, for how many bytes, and `askedAtMs` as far as its place in the order tells: the shares alone write these. */
  holder: string
  weight: number
  placedAtMs: number
}

/** `isCanonical`: the scope of the grant is in its one spelling already. */
export const newEntry = (
  key: ScopeKey,
  grant: Grant,
  { by, jitter, isCanonical = false }: { by?: Peer | undefined; jitter: number; isCanonical?: boolean },
): Entry => ({
  key,
  profile: grant.profile,
  scope: isCanonical ? grant.scope : canonicalScope(grant.scope),
  askedAtMs: Number.NEGATIVE_INFINITY,
  failures: 0,
  retryAtMs: Number.NEGATIVE_INFINITY,
  forcedAtMs: Number.NEGATIVE_INFINITY,
  jitter,
  holder: grant.profile === ADMIN_PROFILE ? ADMINISTRATORS : by ? holderOf(by).name : UNCLAIMED,
  weight: 0,
  placedAtMs: Number.NEGATIVE_INFINITY,
})

/** Measured: an entry, and each token in it, without their texts; what a name takes beyond its characters. */
const ENTRY_BYTES = 700
const TOKEN_BYTES = 500
const NAME_BYTES = 40

/** About the bytes of memory that an entry takes, so that it is charged for long names as well as for many scopes. */
export const weigh = ({ key, scope, current, next, failure }: Entry): number =>
  ENTRY_BYTES +
  // The key, and the same texts once more in the scope.
  2 * key.length +
  NAME_BYTES * (scope.repositories?.length ?? 0) +
  weighToken(current) +
  weighToken(next) +
  (failure ? TOKEN_BYTES + failure.message.length : 0)

export const weighToken = (token: Omit<StoredToken, 'slot'> | undefined): number => {
  if (!token) return 0
  let bytes = TOKEN_BYTES + token.token.length
  for (const name of token.granted.repositories ?? []) bytes += NAME_BYTES + name.length
  return bytes
}

type Part = { bytes: number; readonly entries: Set<Entry> }
/** Entries with a token by profile; those without one apart. `peer`: one of the holder's processes. */
type Share = {
  bytes: number
  count: number
  peer?: Peer | undefined
  readonly refused: Part
  readonly profiles: Map<string, Part>
}

const newPart = (): Part => ({ bytes: 0, entries: new Set() })

export const createShares = (limits: CacheLimits) => {
  const shares = new Map<string, Share>()
  let bytes = 0
  let count = 0

  const partFor = (share: Share, entry: Entry): Part => {
    if (!entry.current && !entry.next) return share.refused
    const part = share.profiles.get(entry.profile) ?? newPart()
    share.profiles.set(entry.profile, part)
    return part
  }

  const add = (share: Share, part: Part, { weight, sign }: { weight: number; sign: 1 | -1 }): void => {
    part.bytes += sign * weight
    share.bytes += sign * weight
    share.count += sign
    bytes += sign * weight
    count += sign
  }

  const remove = (entry: Entry): void => {
    const share = shares.get(entry.holder)
    if (!share) return
    const withToken = share.profiles.get(entry.profile)
    const part = withToken?.entries.delete(entry) ? withToken : share.refused
    if (part === share.refused && !part.entries.delete(entry)) return
    add(share, part, { weight: entry.weight, sign: -1 })
    if (part !== share.refused && part.entries.size === 0) share.profiles.delete(entry.profile)
    if (share.count === 0) shares.delete(entry.holder)
  }

  const isWithin = (): boolean => bytes <= limits.bytes && count <= limits.entries

  /** Whether the others may take of it. */
  const isOpen = (holder: string, share: Share): boolean =>
    holder !== ADMINISTRATORS || share.bytes > limits.bytes * RESERVED

  const findIn = (share: Share, kept: Entry): Entry | undefined => {
    const parts = [share.refused, ...[...share.profiles.values()].toSorted((a, b) => b.bytes - a.bytes)]
    for (const part of parts) {
      const found = findIdle(part.entries, kept)
      if (found) return found
    }
    return undefined
  }

  return {
    /** For a new entry, for one that weighs something else by now or gained or lost its token, and for one of another holder. */
    charge(entry: Entry, { holder = entry.holder, peer }: { holder?: string; peer?: Peer | undefined } = {}): void {
      const share: Share = shares.get(holder) ?? { bytes: 0, count: 0, refused: newPart(), profiles: new Map() }
      remove(entry)
      entry.holder = holder
      entry.weight = weigh(entry)
      share.peer = peer ?? share.peer
      shares.set(holder, share)
      const part = partFor(share, entry)
      part.entries.add(entry)
      add(share, part, { weight: entry.weight, sign: 1 })
    },
    remove,
    clear(): void {
      shares.clear()
      bytes = 0
      count = 0
    },
    isWithin,
    hasRoomFor: (weight: number): boolean => bytes + weight <= limits.bytes && count < limits.entries,
    /**
     * What has to go while there is too much: of the largest holder, entries without a token first, then those of its largest profile
     * that were not asked for the longest time. Never `kept`, one that is being minted, or one of a smaller holder than that of `kept`.
     */
    findExcess(kept: Entry): Entry | undefined {
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
    findPeer: (holder: string): Peer | undefined => shares.get(holder)?.peer,
    /** How much room is taken, by accounted bytes. */
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
const findIdle = (entries: Set<Entry>, kept: Entry): Entry | undefined => {
  let left = entries.size
  let busy: Entry | undefined
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
