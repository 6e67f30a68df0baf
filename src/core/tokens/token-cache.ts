// The cache of tokens: one entry per profile and scope, in memory and, where it can be written, on the disk; bounded by shares.

import { asFailure, Failure } from '../../protocol/errors.ts'
import { holderOf } from '../peers/holder.ts'
import type { Grant, Peer } from '../../protocol/profile.ts'
import { type ScopeKey, scopeKey } from '../../protocol/scope.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Store } from '../store/database.ts'
import type { StoredToken } from '../store/token-store.ts'
import { type Held, newEntry, weigh, weighToken } from './token-entry.ts'
import { CACHE_LIMITS, type CacheLimits, createShares, type Usage } from './token-shares.ts'
import { hashToken } from '../audit/audit-writer.ts'

export type CacheCounts = {
  readonly live: number
  readonly oldestExpiresAtMs?: number
  readonly oldestMintedAtMs?: number
  readonly newestMintedAtMs?: number
  readonly inUseExpiresAtMs?: number
  /** GitHub is asked for so many at this moment. */
  readonly minting: number
  /** Entries with and without a token, the bytes that they are charged for, and how many had to make room since the start. */
  readonly cache: { readonly entries: number; readonly bytes: number; readonly evicted: number }
}

export type TokenCache = {
  /** Makes no entry. */
  find(grant: Grant): Held | undefined
  /**
   * The entry of a grant, made where there is none: for a mint that is allowed and begins now. When the cache is full others go
   * (`Shares`), or it throws `rate-limited`. `by`: the process that asks; none for the daemon itself, administrators and other nodes.
   */
  open(grant: Grant, by?: Peer): Held
  /** An entry that nobody here had asked for is charged to the first who does. */
  claim(held: Held, by: Peer): void
  all(): Iterable<Held>
  /** Milliseconds of life by GitHub's clock; none without a token. */
  remaining(token: Pick<StoredToken, 'expiresAtMs'> | undefined): number
  /** Into the slot where it belongs: beside a token that still lasts, else in its place. Returns it as it is held. */
  put(held: Held, token: Omit<StoredToken, 'slot'>): StoredToken
  fail(held: Held, failure: Failure): void
  /** The settled `next` takes the place of `current`; a `current` at its end gives way at once. */
  promote(held: Held): void
  /** Takes the token out of whichever slot it is in by now; tells whether it was in one. */
  discard(held: Held, token: StoredToken): boolean
  /** What is held of the installation is minted anew before it is handed out. */
  doubt(installation: number): void
  forget(held: Held): void
  live(): readonly StoredToken[]
  /** Of the live tokens, by GitHub's clock. In use: `askedAtMs` is `sinceMs` or later. */
  counts(sinceMs: number): CacheCounts
  /** How much room is taken, by accounted bytes. */
  usage(): Usage
  findPeer(holder: string): Peer | undefined
  /** Throws where the disk refuses; memory is empty then all the same. */
  drop(): void
  /** Writes at once what waits to be written; for a stop. */
  flush(): void
  /** Takes over the tokens of a restored bundle. */
  take(tokens: readonly StoredToken[]): void
  /** Takes over tokens of another node, where they last longer than those at hand; gives those. */
  receive(tokens: readonly Omit<StoredToken, 'slot'>[]): readonly StoredToken[]
}

/** A token with less life than this is handed out only when no other can be had. */
export const FLOOR_MS = 60_000
const SLOTS = ['current', 'next'] as const
/** No answer waits for the disk: many mints share one write. A kill meanwhile costs these tokens, which end within the hour. */
const SAVE_MS = 30
/** Entries in one write, and in one turn of the event loop. */
const SAVED_AT_ONCE = 100

/** Of two that end at once, the one that all nodes have is the one. */
const isSame = (a: Pick<StoredToken, 'token' | 'expiresAtMs'>, b: typeof a): boolean =>
  a.expiresAtMs === b.expiresAtMs && hashToken(a.token) === hashToken(b.token)

const tokensOf = (held: Held | undefined): StoredToken[] =>
  SLOTS.map(slot => held?.[slot]).filter(token => token !== undefined)

export const createTokenCache = (deps: {
  store: Store
  clock: Pick<Clock, 'after'>
  githubClock: GitHubClock
  log: Log
  settings: () => { readonly settleMs: number }
  random: () => number
  limits?: CacheLimits
}): TokenCache => {
  const { store, githubClock } = deps
  const all = new Map<ScopeKey, Held>()
  const shares = createShares<Held>(deps.limits ?? CACHE_LIMITS)
  let evicted = 0

  const remaining: TokenCache['remaining'] = token => (token ? token.expiresAtMs - githubClock.now() : 0)

  /** Memory decides: a disk that takes nothing costs a mint after the next start, and no answer now. */
  const noteUnwritten = (error: unknown): void =>
    deps.log.error('tokens cannot be written; they are held in memory', { error: asFailure(error) })
  const persist = (write: () => Promise<void>): void => {
    try {
      write().catch(noteUnwritten)
    } catch (error) {
      noteUnwritten(error)
    }
  }

  /** Entries whose rows on the disk are not yet what memory holds, and the store that they belong to. */
  const changed = new Set<ScopeKey>()
  let changedIn = store.number()
  let timer: Timer | undefined

  const save = (limit: number): void => {
    const keys = [...changed.values().take(limit)]
    for (const key of keys) changed.delete(key)
    // Another store has other credentials, and begins without tokens.
    if (keys.length === 0 || store.number() !== changedIn) return changed.clear()
    persist(() =>
      store.tokens.write(
        keys.flatMap(key => tokensOf(all.get(key))),
        keys,
      ),
    )
  }

  const saveInTurns = (): void => {
    timer = undefined
    save(SAVED_AT_ONCE)
    if (changed.size > 0) timer = deps.clock.after(SAVE_MS, saveInTurns)
  }

  const saveSoon = (key: ScopeKey): void => {
    if (store.number() !== changedIn) changed.clear()
    changedIn = store.number()
    changed.add(key)
    timer ??= deps.clock.after(SAVE_MS, saveInTurns)
  }

  const flush = (): void => {
    timer?.cancel()
    timer = undefined
    save(changed.size)
  }

  /** A grant is not changed once it is made, so its key is worked out once. */
  const keys = new WeakMap<Grant, ScopeKey>()
  const keyOf = (grant: Grant): ScopeKey => {
    const known = keys.get(grant)
    if (known !== undefined) return known
    const key = scopeKey(grant.profile, grant.scope)
    keys.set(grant, key)
    return key
  }

  const find = (grant: Grant): Held | undefined => all.get(keyOf(grant))

  const add = (held: Held, by?: Peer): Held => {
    held.weight = weigh(held)
    all.set(held.key, held)
    shares.charge(held, { holder: held.holder, peer: by })
    return held
  }

  const open: TokenCache['open'] = (grant, by) => {
    const held = find(grant)
    if (held) return held
    const made = add(newEntry(keyOf(grant), grant, { by, jitter: deps.random() }), by)
    makeRoom(made)
    if (shares.isWithin()) return made
    forget(made)
    throw new Failure('rate-limited', 'too many different scopes are asked for at once', { retryAfterSeconds: 60 })
  }

  const makeRoom = (kept: Held): void => {
    for (let excess = shares.findExcess(kept); excess; excess = shares.findExcess(kept)) {
      evicted += 1
      forget(excess)
    }
  }

  const update = (held: Held): void => shares.update(held, weigh(held))

  const forget = (held: Held): void => {
    all.delete(held.key)
    shares.remove(held)
    if (held.current ?? held.next) saveSoon(held.key)
  }

  /** For a token that nobody waits for: no other entry goes for it. Undefined where there is no room. */
  const findOrAdd = (token: Omit<StoredToken, 'slot'>): Held | undefined => {
    // Tens of thousands come at a start: what they have already is not made again.
    const key = scopeKey(token.profile, token.scope)
    const known = all.get(key)
    if (known) return known
    const isOurs = token.key === key
    const held = newEntry(isOurs ? token.key : key, token, { jitter: deps.random(), isCanonical: isOurs })
    return shares.hasRoomFor(weigh(held) + weighToken(token)) ? add(held) : undefined
  }

  const slotFor = (held: Held): StoredToken['slot'] => (remaining(held.current) > FLOOR_MS ? 'next' : 'current')

  /** Key and scope are those of the entry: the same texts once more would double its memory. */
  const fitted = (
    { key, scope }: Held,
    token: Omit<StoredToken, 'slot'> | StoredToken,
    slot: StoredToken['slot'],
  ): StoredToken =>
    'slot' in token && token.slot === slot && token.scope === scope ? token : { ...token, key, scope, slot }

  /** A token that takes the place of `current` is newer than any `next`, which would take its place later. */
  const setIn = (held: Held, token: StoredToken): void => {
    if (token.slot === 'current') delete held.next
    held[token.slot] = token
    saveSoon(held.key)
    held.failures = 0
    held.retryAtMs = Number.NEGATIVE_INFINITY
    delete held.failure
    delete held.doubtful
    update(held)
  }

  const load = (token: StoredToken): Held | undefined => {
    const held = remaining(token) > 0 ? findOrAdd(token) : undefined
    if (!held) return undefined
    held[token.slot] = fitted(held, token, token.slot)
    update(held)
    return held
  }

  for (const token of store.tokens.all()) if (!load(token)) saveSoon(token.key)

  return {
    find,
    open,
    claim: (held, by) => shares.charge(held, { holder: holderOf(by).name, peer: by }),
    all: () => all.values(),
    remaining,
    put(held, token) {
      const stored = fitted(held, token, slotFor(held))
      // Dropped while it was minted: who waits for it gets it, and it is not held.
      if (all.get(held.key) !== held) return stored
      setIn(held, stored)
      makeRoom(held)
      return stored
    },
    fail(held, failure) {
      // Its cause would keep the whole answer of GitHub's in memory.
      const { code, message, retryAfterSeconds } = failure
      held.failure = new Failure(code, message, retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
      if (all.get(held.key) !== held) return
      update(held)
      makeRoom(held)
    },
    promote(held) {
      const { next } = held
      if (!next) return
      const settled = githubClock.now() - next.mintedAtMs >= deps.settings().settleMs
      if (!settled && remaining(held.current) > FLOOR_MS) return
      held.current = { ...next, slot: 'current' }
      delete held.next
      update(held)
      saveSoon(held.key)
    },
    discard(held, token) {
      const slot = SLOTS.find(one => held[one]?.token === token.token)
      if (!slot || all.get(held.key) !== held) return false
      delete held[slot]
      update(held)
      saveSoon(held.key)
      return true
    },
    doubt(installation) {
      for (const held of all.values()) if (held.scope.installation === installation) held.doubtful = true
    },
    forget,
    live() {
      const nowMs = githubClock.now()
      const tokens: StoredToken[] = []
      for (const held of all.values()) {
        for (const token of tokensOf(held)) if (token.expiresAtMs > nowMs) tokens.push(token)
      }
      return tokens
    },
    counts(sinceMs) {
      let [live, minting] = [0, 0]
      let [expiry, inUse, oldest] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
      let newest = 0
      for (const held of all.values()) {
        if (held.minting) minting += 1
        const best = held.next ?? held.current
        if (!best || remaining(best) <= 0) continue
        live += 1
        expiry = Math.min(expiry, best.expiresAtMs)
        oldest = Math.min(oldest, best.mintedAtMs)
        newest = Math.max(newest, best.mintedAtMs)
        if (held.askedAtMs >= sinceMs) inUse = Math.min(inUse, best.expiresAtMs)
      }
      return {
        live,
        minting,
        cache: { entries: shares.usage().entries, bytes: shares.usage().bytes, evicted },
        ...(live > 0 && { oldestExpiresAtMs: expiry, oldestMintedAtMs: oldest, newestMintedAtMs: newest }),
        ...(Number.isFinite(inUse) && { inUseExpiresAtMs: inUse }),
      }
    },
    usage: shares.usage,
    findPeer: shares.findPeer,
    drop() {
      all.clear()
      shares.clear()
      changed.clear()
      store.tokens.clear()
    },
    take(tokens) {
      for (const token of tokens) {
        const held = load(token)
        if (held) saveSoon(held.key)
      }
      flush()
    },
    flush,
    receive(tokens) {
      const taken: StoredToken[] = []
      for (const token of tokens) {
        const held = remaining(token) > 0 ? findOrAdd(token) : undefined
        if (!held) continue
        const newest = held.next ?? held.current
        if (newest && (newest.expiresAtMs > token.expiresAtMs || isSame(newest, token))) continue
        const stored = fitted(held, token, slotFor(held))
        setIn(held, stored)
        makeRoom(held)
        taken.push(stored)
      }
      return taken
    },
  }
}
