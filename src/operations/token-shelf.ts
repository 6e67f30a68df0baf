// The tokens at hand: one entry per holder and scope, in memory and, where it can be written, on the disk.

import type { Installation } from '../domain/connection.ts'
import { asFailure, Failure } from '../domain/errors.ts'
import type { Grant } from '../domain/policy.ts'
import { canonicalScope, type Scope, type ScopeKey, scopeKey } from '../domain/scope.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { Log } from '../platform/log.ts'
import type { Store } from '../store/database.ts'
import type { StoredToken } from '../store/token-store.ts'
import { hashToken } from './trail.ts'

export type Held = {
  readonly key: ScopeKey
  readonly profile: string
  readonly scope: Scope
  current?: StoredToken
  next?: StoredToken
  minting?: Promise<StoredToken>
  /** GitHub may have narrowed what it was minted for. */
  doubtful?: true
  /** By the monotonic clock. */
  askedAtMs: number
  failures: number
  failure?: Failure
  /** The installations as they were known when it failed: what was refused may be granted since they changed. */
  failedUnder?: readonly Installation[]
  /** By the monotonic clock: no mint is tried before. */
  retryAtMs: number
  forcedAtMs: number
  /** 0 to 1: spreads the mints of scopes that were asked for together. */
  readonly jitter: number
}

export type ShelfCounts = {
  readonly live: number
  readonly oldestExpiresAtMs?: number
  readonly oldestMintedAtMs?: number
  readonly newestMintedAtMs?: number
  readonly inUseExpiresAtMs?: number
  /** GitHub is asked for so many at this moment. */
  readonly minting: number
}

export type TokenShelf = {
  /** The entry of a grant, made where there is none. Throws `rate-limited` where there are too many. */
  hold(grant: Grant): Held
  all(): Iterable<Held>
  /** Milliseconds of life by GitHub's clock; none without a token. */
  remaining(token: Pick<StoredToken, 'expiresAtMs'> | undefined): number
  put(held: Held, token: StoredToken): void
  /** The settled `next` takes the place of `current`; a `current` at its end gives way at once. */
  promote(held: Held): void
  /** Takes the token out of whichever slot it is in by now; tells whether it was in one. */
  discard(held: Held, token: StoredToken): boolean
  /** What is held of the installation is minted anew before it is handed out. */
  doubt(installation: number): void
  forget(held: Held): void
  live(): readonly StoredToken[]
  /** Of the live tokens, by GitHub's clock. In use: `askedAtMs` is `sinceMs` or later. */
  counts(sinceMs: number): ShelfCounts
  drop(): void
  /** Takes over the tokens of a restored bundle. */
  take(tokens: readonly StoredToken[]): void
  /** Takes over tokens of another node, where they last longer than those at hand; gives those. */
  receive(tokens: readonly Omit<StoredToken, 'slot'>[]): readonly StoredToken[]
}

/** A token with less life than this is handed out only when no other can be had. */
export const FLOOR_MS = 60_000
const MAX_HELD = 50_000
const SLOTS = ['current', 'next'] as const

/** Of two that end at once, the one that all nodes have is the one. */
const isSame = (a: Pick<StoredToken, 'token' | 'expiresAtMs'>, b: typeof a): boolean =>
  a.expiresAtMs === b.expiresAtMs && hashToken(a.token) === hashToken(b.token)

export const createTokenShelf = (deps: {
  store: Store
  githubClock: GitHubClock
  log: Log
  settings: () => { readonly settleMs: number }
  random: () => number
}): TokenShelf => {
  const { store, githubClock } = deps
  const all = new Map<ScopeKey, Held>()

  const remaining: TokenShelf['remaining'] = token => (token ? token.expiresAtMs - githubClock.now() : 0)

  /** Memory decides: a disk that takes nothing costs a mint after the next start, and no answer now. */
  const persist = (write: () => void): void => {
    try {
      write()
    } catch (error) {
      deps.log.error('tokens cannot be written; they are held in memory', { error: asFailure(error) })
    }
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

  const hold = (grant: Grant): Held => {
    const key = keyOf(grant)
    const known = all.get(key)
    if (known) return known
    if (all.size >= MAX_HELD)
      throw new Failure('rate-limited', 'too many different scopes are held', { retryAfterSeconds: 60 })
    const held: Held = {
      key,
      profile: grant.profile,
      scope: canonicalScope(grant.scope),
      askedAtMs: Number.NEGATIVE_INFINITY,
      failures: 0,
      retryAtMs: Number.NEGATIVE_INFINITY,
      forcedAtMs: Number.NEGATIVE_INFINITY,
      jitter: deps.random(),
    }
    all.set(key, held)
    return held
  }

  for (const token of store.tokens.all()) {
    if (remaining(token) <= 0) persist(() => store.tokens.remove(token.key, token.slot))
    else hold({ profile: token.profile, scope: token.scope })[token.slot] = token
  }

  return {
    hold,
    all: () => all.values(),
    remaining,
    put(held, token) {
      held[token.slot] = token
      persist(() => store.tokens.put(token))
    },
    promote(held) {
      const { next } = held
      if (!next) return
      const settled = githubClock.now() - next.mintedAtMs >= deps.settings().settleMs
      if (!settled && remaining(held.current) > FLOOR_MS) return
      held.current = { ...next, slot: 'current' }
      delete held.next
      persist(() => store.tokens.promote(held.key))
    },
    discard(held, token) {
      const slot = SLOTS.find(one => held[one]?.token === token.token)
      if (!slot) return false
      delete held[slot]
      persist(() => store.tokens.remove(held.key, slot))
      return true
    },
    doubt(installation) {
      for (const held of all.values()) if (held.scope.installation === installation) held.doubtful = true
    },
    forget(held) {
      all.delete(held.key)
      if (held.current ?? held.next) persist(() => store.tokens.remove(held.key))
    },
    live() {
      const nowMs = githubClock.now()
      const tokens: StoredToken[] = []
      for (const held of all.values()) {
        for (const slot of SLOTS) {
          const token = held[slot]
          if (token && token.expiresAtMs > nowMs) tokens.push(token)
        }
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
        ...(live > 0 && { oldestExpiresAtMs: expiry, oldestMintedAtMs: oldest, newestMintedAtMs: newest }),
        ...(Number.isFinite(inUse) && { inUseExpiresAtMs: inUse }),
      }
    },
    drop() {
      all.clear()
      store.tokens.clear()
    },
    take(tokens) {
      const good = tokens.filter(token => remaining(token) > 0)
      for (const token of good) hold({ profile: token.profile, scope: token.scope })[token.slot] = token
      persist(() => store.tokens.putAll(good))
    },
    receive(tokens) {
      const taken: StoredToken[] = []
      for (const token of tokens) {
        if (remaining(token) <= 0 || all.size >= MAX_HELD) continue
        const held = hold({ profile: token.profile, scope: token.scope })
        const newest = held.next ?? held.current
        if (newest && (newest.expiresAtMs > token.expiresAtMs || isSame(newest, token))) continue
        const slot = remaining(held.current) > FLOOR_MS ? 'next' : 'current'
        const stored = { ...token, slot } as const
        held[slot] = stored
        held.failures = 0
        held.retryAtMs = Number.NEGATIVE_INFINITY
        delete held.failure
        delete held.doubtful
        taken.push(stored)
      }
      if (taken.length > 0) persist(() => store.tokens.putAll(taken))
      return taken
    },
  }
}
