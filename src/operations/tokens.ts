// The tokens at hand: one per holder and scope, minted once, refreshed ahead, kept when GitHub does not answer.

import { asFailure, Failure } from '../domain/errors.ts'
import type { Grant } from '../domain/policy.ts'
import {
  assertGranted,
  canonicalScope,
  describePermissions,
  type Scope,
  type ScopeKey,
  scopeKey,
} from '../domain/scope.ts'
import { isoTime } from '../domain/wire.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { Store } from '../store/database.ts'
import type { StoredToken } from '../store/token-store.ts'
import type { AppLink } from './app-link.ts'
import type { Events } from './events.ts'
import type { Journey } from './journey.ts'
import { inParallel } from './pool.ts'
import { hashToken, type Trail } from './trail.ts'

export type TokenWish = {
  /** How long the token must last at least, in milliseconds. */
  readonly minTtlMs?: number
  /** GitHub's hash of a token that was refused in use. */
  readonly rejected?: string
}

export type Tokens = {
  /** The caller was authorized for `grant` before. Throws what GitHub, or the way there, answers where no token is at hand. */
  obtain(grant: Grant, wish?: TokenWish): Promise<StoredToken>
  /** Mints ahead what is in use and due. Never throws; `force`: also what is not due. */
  refresh(options?: { force?: boolean }): Promise<readonly RefreshOutcome[]>
  /** All tokens that GitHub may still accept, to be revoked. */
  live(): readonly StoredToken[]
  /** Forgets everything, on disk too. */
  drop(): void
  counts(): { live: number; oldestExpiresAtMs?: number; lastMintedAtMs?: number }
}

export type RefreshOutcome = { readonly scope: string; readonly failure?: Failure }

export type RefreshSettings = { readonly beforeExpiryMs: number; readonly settleMs: number }

type Held = {
  readonly key: ScopeKey
  readonly profile: string
  readonly scope: Scope
  current?: StoredToken
  next?: StoredToken
  minting?: Promise<StoredToken>
  /** By the monotonic clock. */
  askedAtMs: number
  failures: number
  failure?: Failure
  /** By the monotonic clock: no mint is tried before. */
  retryAtMs: number
  forcedAtMs: number
  /** 0 to 1: spreads the mints of scopes that were asked for together. */
  readonly jitter: number
}

/** A token with less life than this is handed out only when no other can be had. */
const FLOOR_MS = 60_000
/** A scope is in use when it was asked for within this time. */
const IN_USE_MS = 10 * 60_000
const FORCED_MINT_EVERY_MS = 5 * 60_000
/** Refreshing ahead leaves this much of an installation's quota to those who wait for an answer. */
const QUOTA_RESERVE = 100
const CONCURRENT_MINTS = 8
const MAX_HELD = 50_000

export const createTokens = (deps: {
  store: Store
  link: AppLink
  journey: Journey
  trail: Trail
  events: Events
  clock: Clock
  githubClock: GitHubClock
  log: Log
  settings: () => RefreshSettings
  random: () => number
}): Tokens => {
  const { store, link, journey, clock, githubClock } = deps
  const all = new Map<ScopeKey, Held>()
  let lastMintedAtMs: number | undefined

  const remaining = (token: StoredToken | undefined): number => (token ? token.expiresAtMs - githubClock.now() : 0)

  const hold = (grant: Grant): Held => {
    const key = scopeKey(grant.profile, grant.scope)
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
    if (remaining(token) <= 0) {
      store.tokens.remove(token.key, token.slot)
      continue
    }
    hold({ profile: token.profile, scope: token.scope })[token.slot] = token
  }

  /** The settled `next` takes the place of `current`; an expired `current` gives way at once. */
  const promote = (held: Held): void => {
    const { next } = held
    if (!next) return
    const settled = githubClock.now() - next.mintedAtMs >= deps.settings().settleMs
    if (!settled && remaining(held.current) > FLOOR_MS) return
    store.tokens.promote(held.key)
    held.current = { ...next, slot: 'current' }
    delete held.next
  }

  const mint = (held: Held): Promise<StoredToken> => {
    held.minting ??= mintNow(held).finally(() => delete held.minting)
    return held.minting
  }

  const mintNow = async (held: Held): Promise<StoredToken> => {
    const { generation } = journey.read()
    try {
      journey.requireServing()
      const minted = await link.mint(held.scope)
      try {
        assertGranted(held.scope, minted.granted)
        journey.requireServing()
        if (journey.read().generation !== generation)
          throw new Failure('not-connected', 'the connection was changed meanwhile')
      } catch (error) {
        await link
          .revoke(minted.token)
          .catch(reason => deps.log.warn('a token could not be revoked', { error: asFailure(reason) }))
        throw error
      }
      const slot = remaining(held.current) > FLOOR_MS ? 'next' : 'current'
      const { token, granted, expiresAtMs } = minted
      const { key, profile, scope } = held
      const stored: StoredToken = {
        key,
        slot,
        profile,
        scope,
        token,
        granted,
        mintedAtMs: githubClock.now(),
        expiresAtMs,
      }
      keep(held, stored)
      return stored
    } catch (error) {
      throw noteFailure(held, asFailure(error))
    }
  }

  /** In memory first: when the disk is full a good token is served all the same. */
  const keep = (held: Held, token: StoredToken): void => {
    held[token.slot] = token
    held.failures = 0
    held.retryAtMs = Number.NEGATIVE_INFINITY
    delete held.failure
    lastMintedAtMs = clock.now()
    try {
      store.tokens.put(token)
      deps.trail.record({
        event: 'dotcom_connection.token_updated',
        profile: held.profile,
        scope: describeScope(held.scope),
        hashedToken: hashToken(token.token),
      })
    } catch (error) {
      deps.log.error('a new token could not be written; it is held in memory', { error: asFailure(error) })
    }
    deps.events.emit({
      event: 'token-refreshed',
      scope: describeScope(held.scope),
      expires_at: isoTime(token.expiresAtMs),
    })
  }

  const noteFailure = (held: Held, failure: Failure): Failure => {
    held.failures += 1
    held.failure = failure
    held.retryAtMs = clock.monotonic() + backoffMs(failure, held.failures)
    return failure
  }

  const assertQuota = (held: Held, reserve: number): void => {
    const quota = link.findQuota(held.scope.installation)
    if (!quota || quota.remaining > reserve || quota.resetAtMs <= githubClock.now()) return
    const seconds = Math.ceil((quota.resetAtMs - githubClock.now()) / 1000)
    throw new Failure('quota', `${quota.remaining} of ${quota.limit} requests are left for ${seconds} s`, {
      retryAfterSeconds: seconds,
    })
  }

  /** Whether the caller's wish is worth a token before its time: at most one in 5 minutes for a scope. */
  const mayForce = (held: Held): boolean => {
    if (clock.monotonic() - held.forcedAtMs < FORCED_MINT_EVERY_MS) return false
    held.forcedAtMs = clock.monotonic()
    return true
  }

  const replaceRejected = async (held: Held, rejected: string): Promise<void> => {
    const refused = [held.current, held.next].find(token => token && sameHash(hashToken(token.token), rejected))
    if (!refused || !mayForce(held) || (await link.accepts(refused.token))) return
    if (held[refused.slot]?.token !== refused.token) return
    delete held[refused.slot]
    store.tokens.remove(held.key, refused.slot)
    promote(held)
    if (!held.current) await mint(held)
  }

  const isDue = (held: Held, force: boolean): boolean => {
    if (held.minting) return false
    if (force) return true
    if (held.next) return false
    const { beforeExpiryMs } = deps.settings()
    const inUse = clock.monotonic() - held.askedAtMs < IN_USE_MS
    // Jitter brings a mint forward by up to a tenth: never later than promised.
    return (
      inUse && held.retryAtMs <= clock.monotonic() && remaining(held.current) < beforeExpiryMs * (1 + held.jitter / 10)
    )
  }

  const isForgotten = (held: Held): boolean =>
    remaining(held.current) <= 0 && !held.next && !held.minting && clock.monotonic() - held.askedAtMs >= IN_USE_MS

  const refreshOne = async (held: Held): Promise<RefreshOutcome> => {
    const scope = describeScope(held.scope)
    try {
      assertQuota(held, QUOTA_RESERVE)
      await mint(held)
      return { scope }
    } catch (error) {
      const failure = asFailure(error)
      deps.events.emit({ event: 'refresh-failed', scope, detail: `${failure.code}: ${failure.message}` })
      return { scope, failure }
    }
  }

  return {
    async obtain(grant, wish = {}) {
      journey.requireServing()
      const held = hold(grant)
      held.askedAtMs = clock.monotonic()
      if (wish.rejected !== undefined) await replaceRejected(held, wish.rejected)
      promote(held)
      const { current, next, failure } = held
      if (current && remaining(current) >= Math.max(wish.minTtlMs ?? 0, FLOOR_MS)) return current
      if (next && remaining(next) >= (wish.minTtlMs ?? 0)) return next
      if (current && remaining(current) > FLOOR_MS && !mayForce(held)) return current
      try {
        if (failure && held.retryAtMs > clock.monotonic()) throw failure
        assertQuota(held, 0)
        return await mint(held)
      } catch (error) {
        // What is still good for a moment is better than nothing, and says itself how long.
        if (current && remaining(current) > 0) return current
        throw error
      }
    },
    async refresh({ force = false } = {}) {
      const due: Held[] = []
      for (const held of all.values()) {
        promote(held)
        if (isDue(held, force)) due.push(held)
        else if (isForgotten(held)) {
          all.delete(held.key)
          if (held.current) store.tokens.remove(held.key)
        }
      }
      const outcomes: RefreshOutcome[] = []
      await inParallel(due, CONCURRENT_MINTS, async held => void outcomes.push(await refreshOne(held)))
      return outcomes
    },
    live: () =>
      [...all.values()]
        .flatMap(({ current, next }) => [current, next].filter(token => token !== undefined))
        .filter(token => remaining(token) > 0),
    drop() {
      all.clear()
      store.tokens.clear()
    },
    counts() {
      let live = 0
      let oldest = Number.POSITIVE_INFINITY
      for (const { current, next } of all.values()) {
        const best = next ?? current
        if (!best || remaining(best) <= 0) continue
        live += 1
        oldest = Math.min(oldest, best.expiresAtMs)
      }
      return {
        live,
        ...(live > 0 && { oldestExpiresAtMs: oldest }),
        ...(lastMintedAtMs !== undefined && { lastMintedAtMs }),
      }
    },
  }
}

/** How long a scope rests after a failure: as GitHub says, else 1 s doubling to a minute. */
const backoffMs = (failure: Failure, failures: number): number =>
  failure.retryAfterSeconds === undefined
    ? Math.min(60_000, 1_000 * 2 ** (failures - 1))
    : failure.retryAfterSeconds * 1_000

/** The base64 of callers may be the URL's alphabet and without padding. */
const sameHash = (ours: string, theirs: string): boolean =>
  ours.replace(/=+$/, '') === theirs.replace(/=+$/, '').replaceAll('-', '+').replaceAll('_', '/')

/** A scope for a person. */
export const describeScope = (scope: Scope): string =>
  `installation ${scope.installation}, ${scope.repositories?.join(' ') ?? 'all repositories'}, ${describePermissions(scope.permissions)}`
