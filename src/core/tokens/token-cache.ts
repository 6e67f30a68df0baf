// The cache of tokens: one entry per profile and scope, in memory and, where it can be written, on the disk; bounded by shares.

import { asFailure, Failure } from '../../protocol/errors.ts'
import type { Grant, Peer } from '../../protocol/profile.ts'
import { type ScopeKey, scopeKey } from '../../protocol/scope.ts'
import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import { hashToken } from '../audit/audit-writer.ts'
import type { GitHubClock } from '../github/clock.ts'
import { holderOf } from '../peers/holder.ts'
import type { Store } from '../store/database.ts'
import type { StoredToken } from '../store/records.ts'
import {
  CACHE_LIMITS,
  type CacheLimits,
  createShares,
  type Entry,
  newEntry,
  weigh,
  weighToken,
} from './token-shares.ts'

export type TokenCache = ReturnType<typeof createTokenCache>

/** As it is minted: its slot is found by the cache. */
export type NewToken = Omit<StoredToken, 'slot'>

/** A token with less life than this is handed out only when no other is available. */
export const FLOOR_MS = 60_000
const SLOTS = ['current', 'next'] as const
/** No answer waits for the disk: many mints share one write. A kill meanwhile costs these tokens, which end within the hour. */
const SAVE_MS = 30
/** Entries in one write, and in one turn of the event loop. */
const SAVED_AT_ONCE = 100

export const createTokenCache = (deps: {
  store: Store
  clock: Pick<Clock, 'after'>
  githubClock: Pick<GitHubClock, 'now'>
  log: Log
  settings: () => { readonly settleMs: number }
  random: () => number
  limits?: CacheLimits
}) => {
  const { store, githubClock } = deps
  const all = new Map<ScopeKey, Entry>()
  const shares = createShares(deps.limits ?? CACHE_LIMITS)
  let evicted = 0

  /** Milliseconds of life by GitHub's clock; none without a token. */
  const remaining = (token: Pick<StoredToken, 'expiresAtMs'> | undefined): number =>
    token ? token.expiresAtMs - githubClock.now() : 0

  /** Memory decides: a disk that takes nothing costs a mint after the next start, and no answer now. */
  const noteUnwritten = (error: unknown): void =>
    deps.log.error('tokens cannot be written; they are held in memory', { error: asFailure(error) })

  /** Entries whose rows on the disk are not yet what memory holds, and the store that they belong to. */
  const changed = new Set<ScopeKey>()
  let changedIn = store.number()
  let timer: Timer | undefined

  const save = (limit: number): void => {
    const keys = [...changed.values().take(limit)]
    for (const key of keys) changed.delete(key)
    // Another store has other credentials, and begins without tokens.
    if (keys.length === 0 || store.number() !== changedIn) return changed.clear()
    const tokens = keys.flatMap(key => tokensOf(all.get(key)))
    try {
      store.tokens.write(tokens, keys).catch(noteUnwritten)
    } catch (error) {
      noteUnwritten(error)
    }
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

  const find = (grant: Grant): Entry | undefined => all.get(keyOf(grant))

  const add = (entry: Entry, peer?: Peer): Entry => {
    all.set(entry.key, entry)
    shares.charge(entry, { peer })
    return entry
  }

  const makeRoom = (kept: Entry): void => {
    for (let excess = shares.findExcess(kept); excess; excess = shares.findExcess(kept)) {
      evicted += 1
      forget(excess)
    }
  }

  const forget = (entry: Entry): void => {
    all.delete(entry.key)
    shares.remove(entry)
    if (entry.current ?? entry.next) saveSoon(entry.key)
  }

  /** For a token that nobody waits for: no other entry goes for it. Undefined where it has ended, or there is no room. */
  const findOrAdd = (token: NewToken): Entry | undefined => {
    if (remaining(token) <= 0) return undefined
    // Tens of thousands come at a start: what they have already is not made again.
    const key = scopeKey(token.profile, token.scope)
    const known = all.get(key)
    if (known) return known
    const isOurs = token.key === key
    const entry = newEntry(isOurs ? token.key : key, token, { jitter: deps.random(), isCanonical: isOurs })
    return shares.hasRoomFor(weigh(entry) + weighToken(token)) ? add(entry) : undefined
  }

  /** Beside a token that still lasts, else in its place. */
  const fit = (entry: Entry, token: NewToken): StoredToken =>
    fitInto(entry, token, remaining(entry.current) > FLOOR_MS ? 'next' : 'current')

  /** A token that takes the place of `current` is newer than any `next`, which would take its place later. */
  const setIn = (entry: Entry, token: StoredToken): void => {
    if (token.slot === 'current') delete entry.next
    entry[token.slot] = token
    saveSoon(entry.key)
    entry.failures = 0
    entry.retryAtMs = Number.NEGATIVE_INFINITY
    delete entry.failure
    delete entry.doubtful
    shares.charge(entry)
    makeRoom(entry)
  }

  const load = (token: StoredToken): boolean => {
    const entry = findOrAdd(token)
    if (!entry) return false
    entry[token.slot] = fitInto(entry, token, token.slot)
    shares.charge(entry)
    return true
  }

  for (const token of store.tokens.all()) if (!load(token)) saveSoon(token.key)

  return {
    /** Makes no entry. */
    find,
    /**
     * The entry of a grant, made where there is none: for a mint that is allowed and begins now. When the cache is full others go, or
     * it throws `rate-limited`. `by`: the process that asks; none for the daemon itself, administrators and other nodes.
     */
    open(grant: Grant, by?: Peer): Entry {
      const known = find(grant)
      if (known) return known
      const entry = add(newEntry(keyOf(grant), grant, { by, jitter: deps.random() }), by)
      makeRoom(entry)
      if (shares.isWithin()) return entry
      forget(entry)
      throw new Failure('rate-limited', 'too many different scopes are asked for at once', { retryAfterSeconds: 60 })
    },
    /** An entry that nobody here had asked for is charged to the first who does. */
    claim: (entry: Entry, by: Peer): void => shares.charge(entry, { holder: holderOf(by).name, peer: by }),
    all: () => all.values(),
    remaining,
    /** Returns the token as it is held. One whose entry was dropped while it was minted goes to those who wait, and is not held. */
    put(entry: Entry, token: NewToken): StoredToken {
      const stored = fit(entry, token)
      if (all.get(entry.key) !== entry) return stored
      setIn(entry, stored)
      return stored
    },
    fail(entry: Entry, failure: Failure): void {
      // Its cause would keep the whole answer of GitHub's in memory.
      const { code, message, retryAfterSeconds } = failure
      entry.failure = new Failure(code, message, retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
      if (all.get(entry.key) !== entry) return
      shares.charge(entry)
      makeRoom(entry)
    },
    /** The settled `next` takes the place of `current`; a `current` at its end gives way at once. */
    promote(entry: Entry): void {
      const { next } = entry
      if (!next) return
      const settled = githubClock.now() - next.mintedAtMs >= deps.settings().settleMs
      if (!settled && remaining(entry.current) > FLOOR_MS) return
      entry.current = { ...next, slot: 'current' }
      delete entry.next
      shares.charge(entry)
      saveSoon(entry.key)
    },
    /** Takes the token out of whichever slot it is in by now; tells whether it was in one. */
    discard(entry: Entry, token: StoredToken): boolean {
      const slot = SLOTS.find(one => entry[one]?.token === token.token)
      if (!slot || all.get(entry.key) !== entry) return false
      delete entry[slot]
      shares.charge(entry)
      saveSoon(entry.key)
      return true
    },
    /** The tokens of the installation may reach less than they say: each is minted again before it is handed out. */
    doubt(installation: number): void {
      for (const entry of all.values()) if (entry.scope.installation === installation) entry.doubtful = true
    },
    forget,
    /** All tokens that GitHub may still accept. */
    live(): readonly StoredToken[] {
      const nowMs = githubClock.now()
      const tokens: StoredToken[] = []
      for (const entry of all.values()) {
        for (const token of tokensOf(entry)) if (token.expiresAtMs > nowMs) tokens.push(token)
      }
      return tokens
    },
    /** The newest live token of each entry, but where the last to ask did so before `sinceMs`. Of what came from the disk or another node nobody knows. */
    newest(sinceMs: number): readonly StoredToken[] {
      return [...all.values()].flatMap(({ askedAtMs, current, next }) => {
        const isIdle = askedAtMs < sinceMs && askedAtMs !== Number.NEGATIVE_INFINITY
        const newest = next ?? current
        return !isIdle && newest && remaining(newest) > 0 ? [newest] : []
      })
    },
    /**
     * Of the live tokens, by GitHub's clock; `minting`: for so many GitHub is asked at this moment; `cache`: entries with and without a
     * token, the bytes that they are charged for, and how many had to make room since the start. In use: asked for since `sinceMs`.
     */
    counts(sinceMs: number) {
      let [live, minting] = [0, 0]
      let [expiry, inUse, oldest] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
      let newest = 0
      for (const entry of all.values()) {
        if (entry.minting) minting += 1
        const best = entry.next ?? entry.current
        if (!best || remaining(best) <= 0) continue
        live += 1
        expiry = Math.min(expiry, best.expiresAtMs)
        oldest = Math.min(oldest, best.mintedAtMs)
        newest = Math.max(newest, best.mintedAtMs)
        if (entry.askedAtMs >= sinceMs) inUse = Math.min(inUse, best.expiresAtMs)
      }
      const { entries, bytes } = shares.usage()
      return {
        live,
        minting,
        cache: { entries, bytes, evicted },
        ...(live > 0 && { oldestExpiresAtMs: expiry, oldestMintedAtMs: oldest, newestMintedAtMs: newest }),
        ...(Number.isFinite(inUse) && { inUseExpiresAtMs: inUse }),
      }
    },
    usage: shares.usage,
    findPeer: shares.findPeer,
    /** Forgets everything. Throws where the disk refuses; memory is empty then all the same. */
    drop(): void {
      all.clear()
      shares.clear()
      changed.clear()
      store.tokens.clear()
    },
    /** Writes at once what waits to be written; for a stop. */
    flush,
    /** Takes over the tokens of a restored bundle. */
    take(tokens: readonly StoredToken[]): void {
      for (const token of tokens) if (load(token)) saveSoon(scopeKey(token.profile, token.scope))
      flush()
    },
    /** Takes over tokens of another node, where they last longer than those here; gives those. */
    receive(tokens: readonly NewToken[]): readonly StoredToken[] {
      return tokens.flatMap(token => {
        const entry = findOrAdd(token)
        const newest = entry?.next ?? entry?.current
        if (!entry || (newest && (newest.expiresAtMs > token.expiresAtMs || isSame(newest, token)))) return []
        const stored = fit(entry, token)
        setIn(entry, stored)
        return [stored]
      })
    },
  }
}

/** Of two that end at once, the one that all nodes have is the one. */
const isSame = (a: NewToken, b: NewToken): boolean =>
  a.expiresAtMs === b.expiresAtMs && hashToken(a.token) === hashToken(b.token)

const tokensOf = (entry: Entry | undefined): StoredToken[] =>
  SLOTS.map(slot => entry?.[slot]).filter(token => token !== undefined)

/** Key and scope are those of the entry: the same texts once more would double its memory. */
const fitInto = ({ key, scope }: Entry, token: NewToken | StoredToken, slot: StoredToken['slot']): StoredToken =>
  'slot' in token && token.slot === slot && token.scope === scope ? token : { ...token, key, scope, slot }
