// Refresh ahead: which tokens are due at a tick, minted before anybody has to wait for one; what is not used is forgotten.

import { asFailure, Failure } from '../../protocol/errors.ts'
import { ADMIN_PROFILE, type Grant } from '../../protocol/profile.ts'
import { summarizeScope } from '../../protocol/scope.ts'
import { inParallel } from '../../service/limits.ts'
import type { MintOptions } from '../connection/membership.ts'
import type { RateLimit } from '../peers/rate-limit.ts'
import type { StoredToken } from '../store/records.ts'
import type { MintQuota } from './mint-limits.ts'
import { FOR_GOOD, type MintCause, type TokenDeps } from './minting.ts'
import type { TokenCache } from './token-cache.ts'
import type { Entry } from './token-shares.ts'

/** Where the quota ended the pass, one outcome stands for all scopes of the installation that were left. */
export type RefreshOutcome = { readonly scope: string; readonly failure?: Failure }

export type RefreshSettings = { readonly beforeExpiryMs: number; readonly settleMs: number }

/** A scope is in use when it was asked for within this time. */
export const IN_USE_MS = 10 * 60_000
/** Refreshing ahead leaves this much of an installation's quota to those who wait for an answer. */
const QUOTA_RESERVE = 100
const CONCURRENT_MINTS = 8

export const createRefreshAhead = (
  deps: Pick<TokenDeps, 'connectionState' | 'clock' | 'events' | 'membership'> & {
    cache: TokenCache
    quota: MintQuota
    settings: () => RefreshSettings
    takeMint: RateLimit['takeMint']
    mint: (entry: Entry, cause: MintCause, options: MintOptions) => Promise<StoredToken>
  },
) => {
  const { cache, quota, clock } = deps
  const { remaining } = cache

  /** Only what was handed out: what was refused, or is on its way to its first caller, is nobody's need. */
  const isDue = (entry: Entry, force: boolean): boolean => {
    const { current, next, failure } = entry
    if (entry.minting || (!current && !next && failure && FOR_GOOD.has(failure.code))) return false
    if (force) return entry.handedOut || current !== undefined || next !== undefined
    if (next || !entry.handedOut) return false
    const { beforeExpiryMs } = deps.settings()
    const inUse = clock.monotonic() - entry.askedAtMs < IN_USE_MS
    // Jitter brings a mint forward by up to a tenth: never later than promised.
    return (
      inUse && entry.retryAtMs <= clock.monotonic() && remaining(current) < beforeExpiryMs * (1 + entry.jitter / 10)
    )
  }

  const isForgotten = (entry: Entry): boolean =>
    remaining(entry.current) <= 0 && !entry.next && !entry.minting && clock.monotonic() - entry.askedAtMs >= IN_USE_MS

  /** While the quota is plentiful it costs nobody's allowance. Then each holder has what it could have had by asking. */
  const isAffordable = (entry: Entry | undefined): boolean => {
    const peer = entry && cache.findPeer(entry.holder)
    if (!entry || !peer || quota.isPlentiful(entry.scope.installation)) return true
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
      quota.assertMayMint(grant.scope.installation, cause === 'forced' ? -1 : QUOTA_RESERVE)
      if (cause === 'refresh' && !isAffordable(cache.find(grant))) return undefined
      const entry = cache.open(grant)
      entry.handedOut = true
      await deps.mint(entry, cause, cause === 'forced' ? { renew: true } : {})
      return { grant }
    } catch (error) {
      return { grant, failure: asFailure(error) }
    }
  }

  const refreshAll = async (due: readonly Grant[], cause: MintCause): Promise<RefreshOutcome[]> => {
    /** In the order of the tokens, whichever answer came first. */
    const attempts: Attempt[] = []
    /** Installations whose quota is used up, with the number of scopes that wait for more. */
    const waiting = new Map<number, number>()
    await inParallel(due.entries(), CONCURRENT_MINTS, async ([at, grant]) => {
      const { installation } = grant.scope
      const attempt = await refreshOne(grant, cause)
      if (!attempt) return
      // After the first refusal no other scope of the installation gets through to GitHub.
      const others = attempt.failure?.code === 'quota' ? (waiting.get(installation) ?? -1) + 1 : undefined
      if (others !== undefined) waiting.set(installation, others)
      if (!others) attempts[at] = attempt
    })
    const whole = Object.values(attempts).map(attempt => withOthers(attempt, waiting))
    tell(whole)
    return whole.map(({ grant, failure }) => ({ scope: summarizeScope(grant.scope), ...(failure && { failure }) }))
  }

  /** One event, and one line in the journal, for all scopes of an installation that failed alike. */
  const tell = (attempts: readonly Attempt[]): void => {
    const failed = attempts.flatMap(({ grant, failure }) => (failure ? [{ grant, failure }] : []))
    const alike = Map.groupBy(failed, ({ grant, failure }) => `${grant.scope.installation} ${failure.code}`)
    for (const [first, ...others] of alike.values()) {
      if (!first) continue
      const { profile, scope } = first.grant
      const { code, message } = first.failure
      const more = others.length > 0 ? ` (and ${others.length} more scopes of this installation)` : ''
      deps.events.emit({
        event: 'refresh-failed',
        ...(profile !== ADMIN_PROFILE && { profile }),
        scope: summarizeScope(scope),
        detail: `${code}: ${message}${more}`,
      })
    }
  }

  return {
    /** Mints ahead what is in use and due. Never throws; `force`: also what is not due. */
    async refresh({ force = false } = {}): Promise<readonly RefreshOutcome[]> {
      const due: Entry[] = []
      const { installations } = deps.connectionState.read()
      if (force) quota.forgive()
      for (const entry of cache.all()) {
        // Where the App is installed elsewhere by now, what was for the previous installation has ended with it.
        const isElsewhere = installations.length > 0 && !installations.some(({ id }) => id === entry.scope.installation)
        cache.promote(entry)
        if (isElsewhere) cache.forget(entry)
        else if (isDue(entry, force)) due.push(entry)
        else if (isForgotten(entry)) cache.forget(entry)
      }
      const membership = deps.membership?.()
      if (membership && !force && !membership.refreshesAhead()) {
        membership.wantAhead(due.map(({ profile, scope }) => ({ profile, scope })))
        return []
      }
      return refreshAll(due, force ? 'forced' : 'refresh')
    },
    /** Of scopes in use on another node: mints those that are due here. Never throws. */
    async refreshFor(grants: readonly Grant[]): Promise<void> {
      const due = grants.filter(grant => {
        const entry = cache.find(grant)
        if (!entry) return true
        entry.askedAtMs = clock.monotonic()
        entry.handedOut = true
        return isDue(entry, false)
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
