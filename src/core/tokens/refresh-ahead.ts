// Refresh ahead: which tokens are due at a tick, minted before anybody has to wait for one; what is not used is forgotten.

import type { MintOptions } from '../store/generations.ts'
import { asFailure, type Code, Failure } from '../../protocol/errors.ts'
import type { Grant } from '../../protocol/profile.ts'
import { summarizeScope } from '../../protocol/scope.ts'
import type { Clock } from '../../service/clock.ts'
import type { StoredToken } from '../store/token-store.ts'
import type { Events } from '../audit/events.ts'
import type { ConnectionState } from '../connection/connection-state.ts'
import type { MintCause } from './mint-tally.ts'
import { inParallel } from '../../service/pool.ts'
import type { RateLimit } from '../peers/rate-limit.ts'
import type { Restraint } from './restraint.ts'
import type { Membership } from '../connection/membership.ts'
import { type Held, profileOf } from './token-entry.ts'
import type { TokenCache } from './token-cache.ts'

export type RefreshAhead = {
  /** Mints ahead what is in use and due. Never throws; `force`: also what is not due. */
  refresh(options?: { force?: boolean }): Promise<readonly RefreshOutcome[]>
  /** Of scopes in use on another node: mints those that are due here. Never throws. */
  refreshFor(grants: readonly Grant[]): Promise<void>
}

/** Where the quota ended the pass, one outcome stands for all scopes of the installation that were left. */
export type RefreshOutcome = { readonly scope: string; readonly failure?: Failure }

export type RefreshSettings = { readonly beforeExpiryMs: number; readonly settleMs: number }

/** A scope is in use when it was asked for within this time. */
export const IN_USE_MS = 10 * 60_000
/** What is wrong with the scope itself: GitHub is asked again only when somebody asks for it. */
export const FOR_GOOD: ReadonlySet<Code> = new Set<Code>(['permission-not-granted', 'repository-not-accessible'])
/** Refreshing ahead leaves this much of an installation's quota to those who wait for an answer. */
const QUOTA_RESERVE = 100
const CONCURRENT_MINTS = 8

export const createRefreshAhead = (deps: {
  cache: TokenCache
  restraint: Restraint
  connectionState: Pick<ConnectionState, 'read'>
  clock: Pick<Clock, 'monotonic'>
  events: Events
  settings: () => RefreshSettings
  takeMint: RateLimit['takeMint']
  mint: (held: Held, cause: MintCause, wish: MintOptions) => Promise<StoredToken>
  membership?: () => Membership | undefined
}): RefreshAhead => {
  const { cache, restraint, clock } = deps
  const { remaining } = cache

  /** Only what was handed out: what was refused, or is on its way to its first caller, is nobody's need. */
  const isDue = (held: Held, force: boolean): boolean => {
    const { current, next, failure } = held
    if (held.minting || (!current && !next && failure && FOR_GOOD.has(failure.code))) return false
    if (force) return held.handedOut || current !== undefined || next !== undefined
    if (next || !held.handedOut) return false
    const { beforeExpiryMs } = deps.settings()
    const inUse = clock.monotonic() - held.askedAtMs < IN_USE_MS
    // Jitter brings a mint forward by up to a tenth: never later than promised.
    return inUse && held.retryAtMs <= clock.monotonic() && remaining(current) < beforeExpiryMs * (1 + held.jitter / 10)
  }

  const isForgotten = (held: Held): boolean =>
    remaining(held.current) <= 0 && !held.next && !held.minting && clock.monotonic() - held.askedAtMs >= IN_USE_MS

  /** While the quota is plentiful it costs nobody's allowance. Then each holder has what it could have had by asking. */
  const isAffordable = (held: Held | undefined): boolean => {
    const peer = held && cache.findPeer(held.holder)
    if (!held || !peer || restraint.isPlentiful(held.scope.installation)) return true
    try {
      deps.takeMint(peer)
      return true
    } catch {
      return false
    }
  }

  /** Undefined: it waits for a later pass. */
  const refreshOne = async (grant: Grant, cause: MintCause): Promise<Attempt | undefined> => {
    try {
      restraint.assertMayMint(grant.scope.installation, cause === 'forced' ? -1 : QUOTA_RESERVE)
      if (cause === 'refresh' && !isAffordable(cache.find(grant))) return undefined
      const held = cache.open(grant)
      held.handedOut = true
      await deps.mint(held, cause, cause === 'forced' ? { renew: true } : {})
      return { grant }
    } catch (error) {
      return { grant, failure: asFailure(error) }
    }
  }

  const refreshAll = async (due: readonly Grant[], cause: MintCause): Promise<RefreshOutcome[]> => {
    const attempts: Attempt[] = []
    /** Installations whose quota is used up, with the number of scopes that wait for more. */
    const waiting = new Map<number, number>()
    await inParallel(due, CONCURRENT_MINTS, async grant => {
      const { installation } = grant.scope
      const attempt = await refreshOne(grant, cause)
      if (!attempt) return
      // After the first refusal the restraint lets no other through to GitHub.
      const others = attempt.failure?.code === 'quota' ? (waiting.get(installation) ?? -1) + 1 : undefined
      if (others !== undefined) waiting.set(installation, others)
      if (!others) attempts.push(attempt)
    })
    // In the order of the tokens, whichever answer came first.
    const at = new Map(due.map((grant, index) => [grant, index]))
    attempts.sort((a, b) => (at.get(a.grant) ?? 0) - (at.get(b.grant) ?? 0))
    const whole = attempts.map(attempt => withOthers(attempt, waiting))
    tell(whole)
    return whole.map(({ grant, failure }) => ({ scope: summarizeScope(grant.scope), ...(failure && { failure }) }))
  }

  /** One event, and one line in the journal, for all scopes of an installation that failed alike. */
  const tell = (attempts: readonly Attempt[]): void => {
    const failed = attempts.flatMap(({ grant, failure }) => (failure ? [{ grant, failure }] : []))
    const alike = Map.groupBy(failed, ({ grant, failure }) => `${grant.scope.installation} ${failure.code}`)
    for (const [first, ...others] of alike.values()) {
      if (!first) continue
      const { code, message } = first.failure
      const more = others.length > 0 ? ` (and ${others.length} more scopes of this installation)` : ''
      deps.events.emit({
        event: 'refresh-failed',
        ...profileOf(first.grant),
        scope: summarizeScope(first.grant.scope),
        detail: `${code}: ${message}${more}`,
      })
    }
  }

  return {
    async refresh({ force = false } = {}) {
      const due: Held[] = []
      const { installations } = deps.connectionState.read()
      if (force) restraint.forgive()
      for (const held of cache.all()) {
        // Where the App is installed elsewhere by now, what was for the former installation has ended with it.
        const isElsewhere = installations.length > 0 && !installations.some(({ id }) => id === held.scope.installation)
        cache.promote(held)
        if (isElsewhere) cache.forget(held)
        else if (isDue(held, force)) due.push(held)
        else if (isForgotten(held)) cache.forget(held)
      }
      const membership = deps.membership?.()
      if (membership && !force && !membership.refreshesAhead()) {
        membership.wantAhead(due.map(({ profile, scope }) => ({ profile, scope })))
        return []
      }
      return refreshAll(due, force ? 'forced' : 'refresh')
    },
    async refreshFor(grants) {
      const due = grants.filter(grant => {
        const held = cache.find(grant)
        if (!held) return true
        held.askedAtMs = clock.monotonic()
        held.handedOut = true
        return isDue(held, false)
      })
      await refreshAll(due, 'refresh')
    },
  }
}

type Attempt = { readonly grant: Grant; readonly failure?: Failure }

const withOthers = (attempt: Attempt, waiting: ReadonlyMap<number, number>): Attempt => {
  const { grant, failure } = attempt
  const others = failure?.code === 'quota' ? (waiting.get(grant.scope.installation) ?? 0) : 0
  if (!failure || others === 0) return attempt
  const options = failure.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: failure.retryAfterSeconds }
  return { grant, failure: new Failure('quota', `${failure.message} (${others} more scopes wait)`, options) }
}
