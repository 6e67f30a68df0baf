// The tokens of this node: one per holder and scope, minted once, refreshed ahead, kept when GitHub does not answer.

import { asFailure, type Code, type Failure } from '../../protocol/errors.ts'
import type { Grant, Peer } from '../../protocol/profile.ts'
import { hashToken, sameHash } from '../audit/audit-writer.ts'
import type { RateLimit } from '../peers/rate-limit.ts'
import type { StoredToken } from '../store/records.ts'
import { createMintQuota } from './mint-limits.ts'
import { createMinting, FOR_GOOD, type TokenDeps } from './minting.ts'
import { createRefreshAhead, IN_USE_MS, type RefreshSettings } from './refresh-ahead.ts'
import { createTokenCache, FLOOR_MS } from './token-cache.ts'
import { type CacheLimits, type Entry, UNCLAIMED } from './token-shares.ts'

/** What a caller may ask for beside its scope. */
export type TokenOptions = {
  /** How long the token must last at least, in milliseconds. */
  readonly minTtlMs?: number
  /** GitHub's hash of a token that was refused in use. */
  readonly rejected?: string
}

/** How often the options may cost a scope a mint, or a question to GitHub. */
const FORCED_EVERY_MS = 5 * 60_000
/** A question about a token that GitHub did not answer is asked again after this time. */
const UNANSWERED_MS = 30_000
/** So often at most one scope whose token has ended asks before its pause is over, for all of them. */
const PROBE_MS = 2_000
/** GitHub, or the way to it, is out of reach: no fault of a scope, a key or a setting, and it may be over at any moment. */
const OUTAGE = new Set<Code>(['unreachable', 'timeout', 'dns', 'proxy-unreachable', 'github-outage'])

export type Tokens = ReturnType<typeof createTokens>

export const createTokens = (
  deps: TokenDeps & {
    settings: () => RefreshSettings
    random: () => number
    takeMint: RateLimit['takeMint']
    limits?: CacheLimits
  },
) => {
  const { link, connectionState, clock } = deps
  const cache = createTokenCache(deps)
  const { remaining } = cache
  const quota = createMintQuota(deps)
  const minting = createMinting({ ...deps, cache, quota })
  const ahead = createRefreshAhead({ ...deps, cache, quota, mint: minting.mint })
  let probedAtMs = Number.NEGATIVE_INFINITY

  // What stood in the way is gone: nobody waits for the end of a pause that it caused.
  link.onRecovery(() => {
    for (const entry of cache.all()) entry.retryAtMs = Number.NEGATIVE_INFINITY
  })

  const ask = (entry: Entry, by?: Peer): Entry => {
    entry.askedAtMs = clock.monotonic()
    if (by && entry.holder === UNCLAIMED) cache.claim(entry, by)
    return entry
  }

  const handOut = <T extends StoredToken | undefined>(entry: Entry, token: T): T => {
    if (token) entry.handedOut = true
    return token
  }

  const findGood = (entry: Entry, { minTtlMs = 0 }: TokenOptions): StoredToken | undefined => {
    if (entry.doubtful) return undefined
    cache.promote(entry)
    const { current, next } = entry
    if (current && remaining(current) >= Math.max(minTtlMs, FLOOR_MS)) return handOut(entry, current)
    return handOut(entry, next && remaining(next) >= minTtlMs ? next : undefined)
  }

  const mayForce = (entry: Entry): boolean => clock.monotonic() - entry.forcedAtMs >= FORCED_EVERY_MS

  /** Another token for one of that hash, where GitHub refuses it, too. */
  const replaceRejected = async (entry: Entry, rejected: string, by?: Peer): Promise<void> => {
    const refused = [entry.current, entry.next].find(token => token && sameHash(hashToken(token.token), rejected))
    if (!refused || !mayForce(entry)) return
    if (by) deps.takeMint(by)
    entry.forcedAtMs = clock.monotonic()
    if ((await isAccepted(entry, refused)) || !cache.discard(entry, refused)) return
    cache.promote(entry)
    if (entry.current === undefined) await minting.mint(entry, 'rejected', { rejected })
  }

  /** What GitHub does not say to be refused is served still; where it says nothing, it is asked again soon. */
  const isAccepted = async (entry: Entry, { token }: StoredToken): Promise<boolean> => {
    try {
      return await link.accepts(token)
    } catch (error) {
      deps.log.warn('GitHub could not be asked whether it refuses a token', { error: asFailure(error) })
      entry.forcedAtMs = clock.monotonic() - FORCED_EVERY_MS + UNANSWERED_MS
      return true
    }
  }

  /** What the scope was refused for its permissions or repositories says nothing once these have changed. */
  const mayBeGranted = ({ failedUnder }: Entry, { code }: Failure): boolean =>
    FOR_GOOD.has(code) && failedUnder !== connectionState.read().installations

  /** Where nothing is left to serve, one asks early whether the outage is over: an answer ends the pause of all. */
  const mayProbe = ({ current }: Entry, { code, retryAfterSeconds }: Failure): boolean =>
    OUTAGE.has(code) &&
    retryAfterSeconds === undefined &&
    current !== undefined &&
    remaining(current) <= 0 &&
    clock.monotonic() - probedAtMs >= PROBE_MS

  /** The order: GitHub may be asked, then the caller's allowance, and only then there is an entry. */
  const mintFor = (grant: Grant, options: TokenOptions, by?: Peer): Promise<StoredToken> => {
    const known = cache.find(grant)
    quota.assertMayMint(grant.scope.installation, 0)
    if (known?.minting) return known.minting
    const failure = known?.failure
    if (failure && known.retryAtMs > clock.monotonic() && !mayBeGranted(known, failure)) {
      if (!mayProbe(known, failure)) throw failure
      probedAtMs = clock.monotonic()
    }
    if (by) deps.takeMint(by)
    const entry = known ?? ask(cache.open(grant, by))
    return minting.mint(entry, remaining(entry.current) > FLOOR_MS ? 'forced' : 'demand', options)
  }

  return {
    /** What is cached and good enough, without asking GitHub. The caller was authorized for `grant` before. */
    find(grant: Grant, options: TokenOptions = {}, by?: Peer): StoredToken | undefined {
      connectionState.requireServing()
      const entry = cache.find(grant)
      return entry && findGood(ask(entry, by), options)
    },
    /**
     * The caller was authorized for `grant` before. `by`: the process on token.sock that asks; where GitHub has to be asked, its
     * allowance is taken and its holder is charged for the entry. Throws `rate-limited`, `quota`, and what GitHub, or the way there,
     * answers where no token is cached.
     */
    async obtain(grant: Grant, options: TokenOptions = {}, by?: Peer): Promise<StoredToken> {
      connectionState.requireServing()
      const first = cache.find(grant)
      if (first && options.rejected !== undefined) await replaceRejected(first, options.rejected, by)
      const known = cache.find(grant)
      const good = known && findGood(ask(known, by), options)
      if (good) return good
      const doubtful = known?.doubtful
      const current = known?.current
      // Who comes while one is minted waits for it, which costs nothing more.
      if (current && remaining(current) > FLOOR_MS && !known.minting && !doubtful) {
        if (!mayForce(known)) return handOut(known, current)
        known.forcedAtMs = clock.monotonic()
      }
      try {
        const minted = await minting.wait(mintFor(grant, options, by))
        const entry = cache.find(grant)
        if (!entry) return minted
        return handOut(entry, doubtful ? (findGood(entry, options) ?? minted) : minted)
      } catch (error) {
        // What is still good for a moment is better than nothing, and says itself how long.
        if (known?.current && remaining(known.current) > 0) return handOut(known, known.current)
        throw error
      }
    },
    /** Mints again, whatever is cached. Throws what GitHub, or the way there, answers. */
    async renew(grant: Grant): Promise<StoredToken> {
      connectionState.requireServing()
      return minting.mint(cache.open(grant), 'proof', { renew: true })
    },
    refresh: ahead.refresh,
    refreshFor: ahead.refreshFor,
    receive: minting.receive,
    waits: quota.waits,
    live: cache.live,
    /** For a bundle: the newest token of each scope in use. What else is asked for after a restore is minted then. */
    inUse: () => cache.newest(clock.monotonic() - IN_USE_MS),
    drop: cache.drop,
    flush: cache.flush,
    take: cache.take,
    doubt: cache.doubt,
    usage: cache.usage,
    /** Times of tokens are by GitHub's clock. */
    counts: () => ({ ...cache.counts(clock.monotonic() - IN_USE_MS), ...minting.counts() }),
  }
}
