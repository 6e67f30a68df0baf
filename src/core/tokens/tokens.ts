// The tokens at hand: one per holder and scope, minted once, refreshed ahead, kept when GitHub does not answer.

import type { MintOptions } from '../store/generations.ts'
import { asFailure, type Failure } from '../../protocol/errors.ts'
import type { Grant, Peer } from '../../protocol/profile.ts'
import { describeScope, summarizeScope } from '../../protocol/scope.ts'
import { isoTime } from '../../protocol/wire.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Store } from '../store/database.ts'
import type { StoredToken } from '../store/token-store.ts'
import type { AppLink } from '../connection/app-link.ts'
import type { Events } from '../audit/events.ts'
import type { ConnectionState } from '../connection/connection-state.ts'
import { createMintTally, type MintCause, type MintCounts } from './mint-tally.ts'
import { createMintTurns } from './mint-turns.ts'
import { createMinting } from './minting.ts'
import type { RateLimit } from '../peers/rate-limit.ts'
import { createRefreshAhead, FOR_GOOD, IN_USE_MS, type RefreshAhead, type RefreshSettings } from './refresh-ahead.ts'
import { backoffMs, createRestraint, type Rest } from './restraint.ts'
import type { Membership } from '../connection/membership.ts'
import { type CacheLimits, UNCLAIMED, type Usage } from './token-shares.ts'
import { type Held, profileOf } from './token-entry.ts'
import { createTokenCache, FLOOR_MS, type CacheCounts } from './token-cache.ts'
import { createWishes, type TokenOptions } from './token-wishes.ts'
import { hashToken, type AuditWriter } from '../audit/audit-writer.ts'

export type Tokens = RefreshAhead & {
  /** What is at hand and good enough, without asking GitHub. The caller was authorized for `grant` before. */
  find(grant: Grant, wish?: Pick<TokenOptions, 'minTtlMs'>, by?: Peer): StoredToken | undefined
  /**
   * The caller was authorized for `grant` before. `by`: the process on token.sock that asks; where GitHub has to be asked, its
   * allowance is taken and its holder is charged for the entry. Throws `rate-limited`, `quota`, and what GitHub, or the way there,
   * answers where no token is cached.
   */
  obtain(grant: Grant, wish?: TokenOptions, by?: Peer): Promise<StoredToken>
  /** Mints anew, whatever is at hand. Throws what GitHub, or the way there, answers. */
  renew(grant: Grant): Promise<StoredToken>
  /** All tokens that GitHub may still accept, to be revoked. */
  live(): readonly StoredToken[]
  /** Forgets everything, on disk too. */
  drop(): void
  /** Writes at once what waits to be written; for a stop. */
  flush(): void
  /** Takes over the tokens of a restored bundle. */
  take(tokens: readonly StoredToken[]): void
  /** The tokens of the installation may reach less than they say: each is minted anew before it is handed out again. */
  doubt(installation: number): void
  /** Installations that are asked for nothing for now, as GitHub said. */
  rests(): readonly Rest[]
  /** Takes over tokens that another node minted, where they last longer than those at hand. */
  receive(tokens: readonly Omit<StoredToken, 'slot'>[], options?: { quiet?: boolean }): void
  counts(): TokenCounts
  /** How much of the cache is used, and by whom. */
  usage(): Usage
}

/** Times of tokens are by GitHub's clock. */
export type TokenCounts = CacheCounts & MintCounts & { readonly lastMintedAtMs?: number }

export const createTokens = (deps: {
  store: Store
  link: AppLink
  connectionState: ConnectionState
  audit: AuditWriter
  events: Events
  clock: Clock
  githubClock: GitHubClock
  log: Log
  settings: () => RefreshSettings
  random: () => number
  takeMint: RateLimit['takeMint']
  membership?: () => Membership | undefined
  limits?: CacheLimits
}): Tokens => {
  const { link, connectionState, clock } = deps
  const cache = createTokenCache(deps)
  const { remaining } = cache
  const restraint = createRestraint(deps)
  const wishes = createWishes({ ...deps, cache })
  const mintHere = createMinting(deps)
  const turns = createMintTurns()
  const tally = createMintTally()
  let lastMintedAtMs: number | undefined

  const mint = (held: Held, cause: MintCause, wish: MintOptions = {}): Promise<StoredToken> => {
    held.minting ??= mintNow(held, cause, wish).finally(() => delete held.minting)
    return held.minting
  }

  const mintNow = async (held: Held, cause: MintCause, wish: MintOptions): Promise<StoredToken> => {
    try {
      connectionState.requireServing()
      const { profile, scope } = held
      const membership = deps.membership?.()
      const given = membership && (await heeding(held, membership.mint({ profile, scope }, wish)))
      if (given) {
        connectionState.requireServing()
        receive([given])
        // What the leader does not doubt is good enough here.
        delete held.doubtful
        return given
      }
      const stored = keep(held, await turns.take(held.holder, () => mintAllowed(held, cause)))
      tally.succeeded(cause)
      return stored
    } catch (error) {
      throw noteFailure(held, asFailure(error))
    }
  }

  /** What was allowed before it waited for its turn may not be so any more. */
  const mintAllowed = async (held: Held, cause: MintCause): Promise<Omit<StoredToken, 'slot'>> => {
    connectionState.requireServing()
    // A rest that began meanwhile; how much quota an order or a proof may use was decided before.
    if (cause === 'demand') restraint.assertMayMint(held.scope.installation, 0)
    return heeding(held, mintHere(held))
  }

  /** A rate limit holds from the moment that it is heard of: the next mint begins before this one is through. */
  const heeding = async <T>({ scope }: Held, answer: Promise<T>): Promise<T> => {
    try {
      return await answer
    } catch (error) {
      restraint.note(scope.installation, asFailure(error))
      throw error
    }
  }

  const keep = (held: Held, minted: Omit<StoredToken, 'slot'>): StoredToken => {
    const token = cache.put(held, minted)
    lastMintedAtMs = clock.now()
    // GitHub has made it. The grant is the row that must be in the log before the answer, and takes this one along.
    deps.audit.note({
      event: 'dotcom_connection.token_updated',
      profile: held.profile,
      scope: describeScope(held.scope),
      hashedToken: hashToken(token.token),
    })
    tell(token)
    deps.membership?.()?.minted(token)
    return token
  }

  const tell = (token: Omit<StoredToken, 'slot'>): void =>
    deps.events.emit({
      event: 'token-refreshed',
      ...profileOf(token),
      scope: summarizeScope(token.scope),
      expires_at: isoTime(token.expiresAtMs),
    })

  const receive: Tokens['receive'] = (tokens, { quiet = false } = {}) => {
    for (const token of cache.receive(tokens)) {
      lastMintedAtMs = Math.max(lastMintedAtMs ?? 0, token.mintedAtMs)
      if (!quiet) tell(token)
    }
  }

  const noteFailure = (held: Held, failure: Failure): Failure => {
    held.failures += 1
    tally.failed(failure.code)
    held.failedUnder = connectionState.read().installations
    held.retryAtMs = clock.monotonic() + backoffMs(failure, held.failures)
    // GitHub says that there is no such scope: a token of it reaches less than it says.
    if (FOR_GOOD.has(failure.code)) for (const token of [held.current, held.next]) if (token) cache.discard(held, token)
    cache.fail(held, failure)
    return failure
  }

  /** What the scope was refused for its permissions or repositories says nothing once these have changed. */
  const mayBeGranted = ({ failedUnder }: Held, { code }: Failure): boolean =>
    FOR_GOOD.has(code) && failedUnder !== connectionState.read().installations

  const ask = (held: Held, by?: Peer): Held => {
    held.askedAtMs = clock.monotonic()
    if (by && held.holder === UNCLAIMED) cache.claim(held, by)
    return held
  }

  const handOut = <T extends StoredToken | undefined>(held: Held, token: T): T => {
    if (token) held.handedOut = true
    return token
  }

  const atHand = (held: Held, { minTtlMs = 0 }: Pick<TokenOptions, 'minTtlMs'>): StoredToken | undefined => {
    if (held.doubtful) return undefined
    cache.promote(held)
    const { current, next } = held
    if (current && remaining(current) >= Math.max(minTtlMs, FLOOR_MS)) return handOut(held, current)
    return handOut(held, next && remaining(next) >= minTtlMs ? next : undefined)
  }

  /** Another token for one that GitHub refuses. */
  const replaceRejected = async (held: Held, rejected: string, by?: Peer): Promise<void> => {
    const dropped = await wishes.dropRejected(held, rejected, () => by && deps.takeMint(by))
    if (dropped) await mint(held, 'rejected', { rejected })
  }

  /** The order: GitHub may be asked, then the caller's allowance, and only then there is an entry. */
  const mintFor = (grant: Grant, wish: TokenOptions, by?: Peer): Promise<StoredToken> => {
    const known = cache.find(grant)
    restraint.assertMayMint(grant.scope.installation, 0)
    if (known?.minting) return known.minting
    const failure = known?.failure
    if (failure && known.retryAtMs > clock.monotonic() && !mayBeGranted(known, failure)) throw failure
    if (by) deps.takeMint(by)
    const held = known ?? ask(cache.open(grant, by))
    return mint(held, remaining(held.current) > FLOOR_MS ? 'forced' : 'demand', wish)
  }

  const ahead = createRefreshAhead({ ...deps, cache, restraint, mint })

  // What stood in the way is gone: nobody waits for the end of a rest that it caused.
  link.onRecovery(() => {
    for (const held of cache.all()) held.retryAtMs = Number.NEGATIVE_INFINITY
  })

  return {
    find(grant, wish = {}, by) {
      connectionState.requireServing()
      const held = cache.find(grant)
      return held && atHand(ask(held, by), wish)
    },
    async obtain(grant, wish = {}, by) {
      connectionState.requireServing()
      const first = cache.find(grant)
      if (first && wish.rejected !== undefined) await replaceRejected(first, wish.rejected, by)
      const known = cache.find(grant)
      const good = known && atHand(ask(known, by), wish)
      if (good) return good
      const doubtful = known?.doubtful
      const current = known?.current
      // Who comes while one is minted waits for it, which costs nothing more.
      if (current && remaining(current) > FLOOR_MS && !known.minting && !doubtful && !wishes.mayForce(known))
        return handOut(known, current)
      try {
        const minted = await tally.wait(mintFor(grant, wish, by))
        const held = cache.find(grant)
        if (!held) return minted
        return handOut(held, doubtful ? (atHand(held, wish) ?? minted) : minted)
      } catch (error) {
        // What is still good for a moment is better than nothing, and says itself how long.
        if (known?.current && remaining(known.current) > 0) return handOut(known, known.current)
        throw error
      }
    },
    async renew(grant) {
      connectionState.requireServing()
      return mint(cache.open(grant), 'proof', { renew: true })
    },
    refresh: ahead.refresh,
    refreshFor: ahead.refreshFor,
    doubt: cache.doubt,
    rests: restraint.rests,
    live: cache.live,
    drop: cache.drop,
    flush: cache.flush,
    take: cache.take,
    receive,
    counts: () => ({
      ...cache.counts(clock.monotonic() - IN_USE_MS),
      ...(lastMintedAtMs !== undefined && { lastMintedAtMs }),
      ...tally.read(),
    }),
    usage: cache.usage,
  }
}
