// The tokens at hand: one per holder and scope, minted once, refreshed ahead, kept when GitHub does not answer.

import type { MintWish } from '../domain/cluster.ts'
import { asFailure, type Code, type Failure } from '../domain/errors.ts'
import { ADMIN_PROFILE, type Grant } from '../domain/policy.ts'
import { describeScope } from '../domain/scope.ts'
import { isoTime } from '../domain/wire.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { Store } from '../store/database.ts'
import type { StoredToken } from '../store/token-store.ts'
import type { AppLink } from './app-link.ts'
import type { Events } from './events.ts'
import type { Journey } from './journey.ts'
import { createMintTally, type MintCause, type MintCounts } from './mint-tally.ts'
import { createMinting } from './minting.ts'
import { inParallel } from './pool.ts'
import { backoffMs, createRestraint, type Rest } from './restraint.ts'
import type { Seat } from './seat.ts'
import { createTokenShelf, FLOOR_MS, type Held, type ShelfCounts } from './token-shelf.ts'
import { createWishes, type TokenWish } from './token-wishes.ts'
import { hashToken, type Trail } from './trail.ts'

export type Tokens = {
  /** What is at hand and good enough, without asking GitHub. The caller was authorized for `grant` before. */
  find(grant: Grant, wish?: Pick<TokenWish, 'minTtlMs'>): StoredToken | undefined
  /** The caller was authorized for `grant` before. Throws what GitHub, or the way there, answers where no token is at hand. */
  obtain(grant: Grant, wish?: TokenWish): Promise<StoredToken>
  /** Mints anew, whatever is at hand. Throws what GitHub, or the way there, answers. */
  renew(grant: Grant): Promise<StoredToken>
  /** Mints ahead what is in use and due. Never throws; `force`: also what is not due. */
  refresh(options?: { force?: boolean }): Promise<readonly RefreshOutcome[]>
  /** Of scopes in use on another node: mints those that are due here. Never throws. */
  refreshFor(grants: readonly Grant[]): Promise<void>
  /** All tokens that GitHub may still accept, to be revoked. */
  live(): readonly StoredToken[]
  /** Forgets everything, on disk too. */
  drop(): void
  /** Takes over the tokens of a restored bundle. */
  take(tokens: readonly StoredToken[]): void
  /** The tokens of the installation may reach less than they say: each is minted anew before it is handed out again. */
  doubt(installation: number): void
  /** Installations that are asked for nothing for now, as GitHub said. */
  rests(): readonly Rest[]
  /** Takes over tokens that another node minted, where they last longer than those at hand. */
  receive(tokens: readonly Omit<StoredToken, 'slot'>[], options?: { quiet?: boolean }): void
  counts(): TokenCounts
}

/** Times of tokens are by GitHub's clock. */
export type TokenCounts = ShelfCounts & MintCounts & { readonly lastMintedAtMs?: number }

export type RefreshOutcome = { readonly scope: string; readonly failure?: Failure }

export type RefreshSettings = { readonly beforeExpiryMs: number; readonly settleMs: number }

/** A scope is in use when it was asked for within this time. */
const IN_USE_MS = 10 * 60_000
/** Refreshing ahead leaves this much of an installation's quota to those who wait for an answer. */
const QUOTA_RESERVE = 100
const CONCURRENT_MINTS = 8
/** What is wrong with the scope itself: not asked for ahead, as long as nobody got a token for it. */
const FOR_GOOD = new Set<Code>(['permission-not-granted', 'repository-not-accessible'])

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
  seat?: () => Seat | undefined
}): Tokens => {
  const { link, journey, clock } = deps
  const shelf = createTokenShelf(deps)
  const { remaining } = shelf
  const restraint = createRestraint(deps)
  const wishes = createWishes({ ...deps, shelf })
  const mintHere = createMinting(deps)
  const tally = createMintTally()
  let lastMintedAtMs: number | undefined

  const mint = (held: Held, cause: MintCause, wish: MintWish = {}): Promise<StoredToken> => {
    held.minting ??= mintNow(held, cause, wish).finally(() => delete held.minting)
    return held.minting
  }

  const mintNow = async (held: Held, cause: MintCause, wish: MintWish): Promise<StoredToken> => {
    try {
      journey.requireServing()
      const { profile, scope } = held
      const seat = deps.seat?.()
      const given = seat && (await seat.mint({ profile, scope }, wish))
      if (given) {
        journey.requireServing()
        receive([given])
        // What the leader does not doubt is good enough here.
        delete held.doubtful
        return given
      }
      const minted = await mintHere(held)
      const stored = { ...minted, slot: remaining(held.current) > FLOOR_MS ? 'next' : 'current' } as const
      keep(held, stored)
      tally.succeeded(cause)
      return stored
    } catch (error) {
      throw noteFailure(held, asFailure(error))
    }
  }

  const keep = (held: Held, token: StoredToken): void => {
    shelf.put(held, token)
    held.failures = 0
    delete held.doubtful
    held.retryAtMs = Number.NEGATIVE_INFINITY
    delete held.failure
    lastMintedAtMs = clock.now()
    try {
      deps.trail.record({
        event: 'dotcom_connection.token_updated',
        profile: held.profile,
        scope: describeScope(held.scope),
        hashedToken: hashToken(token.token),
      })
    } catch (error) {
      // The grant is what must be in the log before it is answered; that denies by itself.
      deps.log.error('a new token is not in the audit log', { error: asFailure(error) })
    }
    tell(token)
    deps.seat?.()?.minted(token)
  }

  const tell = (token: Omit<StoredToken, 'slot'>): void =>
    deps.events.emit({
      event: 'token-refreshed',
      ...profileOf(token),
      scope: describeScope(token.scope),
      expires_at: isoTime(token.expiresAtMs),
    })

  const receive: Tokens['receive'] = (tokens, { quiet = false } = {}) => {
    for (const token of shelf.receive(tokens)) {
      lastMintedAtMs = Math.max(lastMintedAtMs ?? 0, token.mintedAtMs)
      if (!quiet) tell(token)
    }
  }

  const noteFailure = (held: Held, failure: Failure): Failure => {
    held.failures += 1
    tally.failed(failure.code)
    held.failure = failure
    held.failedUnder = journey.read().installations
    held.retryAtMs = clock.monotonic() + backoffMs(failure, held.failures)
    restraint.note(held.scope.installation, failure)
    // GitHub says that there is no such scope: a token of it reaches less than it says.
    if (FOR_GOOD.has(failure.code)) for (const token of [held.current, held.next]) if (token) shelf.discard(held, token)
    return failure
  }

  /** What the scope was refused for its permissions or repositories says nothing once these have changed. */
  const mayBeGranted = ({ failedUnder }: Held, { code }: Failure): boolean =>
    FOR_GOOD.has(code) && failedUnder !== journey.read().installations

  const isDue = (held: Held, force: boolean): boolean => {
    if (held.minting) return false
    if (force) return true
    if (held.next || (!held.current && held.failure && FOR_GOOD.has(held.failure.code))) return false
    const { beforeExpiryMs } = deps.settings()
    const inUse = clock.monotonic() - held.askedAtMs < IN_USE_MS
    // Jitter brings a mint forward by up to a tenth: never later than promised.
    return (
      inUse && held.retryAtMs <= clock.monotonic() && remaining(held.current) < beforeExpiryMs * (1 + held.jitter / 10)
    )
  }

  const isForgotten = (held: Held): boolean =>
    remaining(held.current) <= 0 && !held.next && !held.minting && clock.monotonic() - held.askedAtMs >= IN_USE_MS

  const refreshOne = async (held: Held, cause: MintCause): Promise<RefreshOutcome> => {
    const scope = describeScope(held.scope)
    try {
      restraint.assertMayMint(held.scope.installation, cause === 'forced' ? -1 : QUOTA_RESERVE)
      await mint(held, cause, cause === 'forced' ? { renew: true } : {})
      return { scope }
    } catch (error) {
      const failure = asFailure(error)
      deps.events.emit({
        event: 'refresh-failed',
        ...profileOf(held),
        scope,
        detail: `${failure.code}: ${failure.message}`,
      })
      return { scope, failure }
    }
  }

  const refreshAll = async (due: readonly Held[], cause: MintCause): Promise<RefreshOutcome[]> => {
    const outcomes: RefreshOutcome[] = []
    await inParallel(due, CONCURRENT_MINTS, async held => void outcomes.push(await refreshOne(held, cause)))
    return outcomes
  }

  const ask = (grant: Grant): Held => {
    const held = shelf.hold(grant)
    held.askedAtMs = clock.monotonic()
    return held
  }

  const atHand = (held: Held, { minTtlMs = 0 }: Pick<TokenWish, 'minTtlMs'>): StoredToken | undefined => {
    if (held.doubtful) return undefined
    shelf.promote(held)
    const { current, next } = held
    if (current && remaining(current) >= Math.max(minTtlMs, FLOOR_MS)) return current
    return next && remaining(next) >= minTtlMs ? next : undefined
  }

  // What stood in the way is gone: nobody waits for the end of a rest that it caused.
  link.onRecovery(() => {
    for (const held of shelf.all()) held.retryAtMs = Number.NEGATIVE_INFINITY
  })

  return {
    find(grant, wish = {}) {
      journey.requireServing()
      return atHand(ask(grant), wish)
    },
    async obtain(grant, wish = {}) {
      journey.requireServing()
      const held = ask(grant)
      if (wish.rejected !== undefined) {
        if (await wishes.dropRejected(held, wish.rejected)) await mint(held, 'rejected', { rejected: wish.rejected })
      }
      const good = atHand(held, wish)
      if (good) return good
      const { current, failure, doubtful } = held
      // Who comes while one is minted waits for it, which costs nothing more.
      if (current && remaining(current) > FLOOR_MS && !held.minting && !doubtful && !wishes.mayForce(held))
        return current
      try {
        restraint.assertMayMint(held.scope.installation, 0)
        if (failure && held.retryAtMs > clock.monotonic() && !mayBeGranted(held, failure)) throw failure
        const minted = await tally.wait(mint(held, remaining(current) > FLOOR_MS ? 'forced' : 'demand', wish))
        return doubtful ? (atHand(held, wish) ?? minted) : minted
      } catch (error) {
        // What is still good for a moment is better than nothing, and says itself how long.
        if (held.current && remaining(held.current) > 0) return held.current
        throw error
      }
    },
    async renew(grant) {
      journey.requireServing()
      return mint(shelf.hold(grant), 'proof', { renew: true })
    },
    async refresh({ force = false } = {}) {
      const due: Held[] = []
      const { installations } = journey.read()
      if (force) restraint.forgive()
      for (const held of shelf.all()) {
        // Where the App is installed elsewhere by now, what was for the former installation has ended with it.
        const isElsewhere = installations.length > 0 && !installations.some(({ id }) => id === held.scope.installation)
        shelf.promote(held)
        if (isElsewhere) shelf.forget(held)
        else if (isDue(held, force)) due.push(held)
        else if (isForgotten(held)) shelf.forget(held)
      }
      const seat = deps.seat?.()
      if (seat && !force && !seat.refreshesAhead()) {
        seat.wantAhead(due.map(({ profile, scope }) => ({ profile, scope })))
        return []
      }
      return refreshAll(due, force ? 'forced' : 'refresh')
    },
    async refreshFor(grants) {
      const due = grants.map(ask).filter(held => isDue(held, false))
      await refreshAll(due, 'refresh')
    },
    doubt: shelf.doubt,
    rests: restraint.rests,
    live: shelf.live,
    drop: shelf.drop,
    take: shelf.take,
    receive,
    counts: () => ({
      ...shelf.counts(clock.monotonic() - IN_USE_MS),
      ...(lastMintedAtMs !== undefined && { lastMintedAtMs }),
      ...tally.read(),
    }),
  }
}

const profileOf = ({ profile }: Pick<StoredToken, 'profile'>): { profile?: string } =>
  profile === ADMIN_PROFILE ? {} : { profile }
