// One mint from beginning to end: asked of the cluster's leader or of GitHub, compared with what was asked for, cached, audited, told.

import { isSameApp } from '../../protocol/connection.ts'
import { asFailure, type Code, Failure } from '../../protocol/errors.ts'
import { ADMIN_PROFILE } from '../../protocol/profile.ts'
import { assertGranted, describeScope, shareNames, summarizeScope } from '../../protocol/scope.ts'
import { isoTime } from '../../protocol/wire.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import { type AuditWriter, hashToken } from '../audit/audit-writer.ts'
import type { Events } from '../audit/events.ts'
import type { AppLink } from '../connection/app-link.ts'
import type { ConnectionState } from '../connection/connection-state.ts'
import type { Membership, MintOptions } from '../connection/membership.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { Store } from '../store/database.ts'
import { storedTokenTimes } from '../store/records.ts'
import type { StoredToken } from '../store/records.ts'
import { backoffMs, createMintTurns, type MintQuota } from './mint-limits.ts'
import type { NewToken, TokenCache } from './token-cache.ts'
import type { Entry } from './token-shares.ts'

/** What the files of this room work with. */
export type TokenDeps = {
  store: Store
  link: AppLink
  connectionState: ConnectionState
  audit: AuditWriter
  events: Events
  clock: Clock
  githubClock: GitHubClock
  log: Log
  membership?: () => Membership | undefined
}

/**
 * What a token was minted for: somebody asked and none was cached; its time came; a longer life was asked for, or an administrator
 * ordered it; GitHub refused the previous one; to see whether GitHub gives one.
 */
export type MintCause = 'demand' | 'refresh' | 'forced' | 'rejected' | 'proof'

/** What is wrong with the scope itself: GitHub is asked again only when somebody asks for it. */
export const FOR_GOOD: ReadonlySet<Code> = new Set<Code>(['permission-not-granted', 'repository-not-accessible'])

/** Counted from zero on: whoever watches a counter sees its first step only if it was there before. */
export const COUNTED_FAILURES = [
  'permission-not-granted',
  'repository-not-accessible',
  'scope-mismatch',
  'suspended',
  'ip-blocked',
  'account-policy',
  'installation-not-found',
  'app-not-found',
  'key-rejected',
  'quota',
] as const satisfies readonly Code[]

export const createMinting = (deps: TokenDeps & { cache: TokenCache; quota: MintQuota }) => {
  const { store, link, connectionState, clock, cache, quota } = deps
  const takeTurn = createMintTurns()
  const minted: Record<MintCause, number> = { demand: 0, refresh: 0, forced: 0, rejected: 0, proof: 0 }
  const failed = new Map<Code, number>(COUNTED_FAILURES.map(code => [code, 0]))
  let waiting = 0
  let lastMintedAtMs: number | undefined

  const mintNow = async (entry: Entry, cause: MintCause, options: MintOptions): Promise<StoredToken> => {
    try {
      connectionState.requireServing()
      const { profile, scope } = entry
      const membership = deps.membership?.()
      const given = membership && (await heeding(entry, membership.mint({ profile, scope }, options)))
      if (given) {
        connectionState.requireServing()
        receive([given])
        // What the leader does not doubt is good enough here.
        delete entry.doubtful
        return given
      }
      const stored = keep(entry, await takeTurn(entry.holder, () => mintAllowed(entry, cause)))
      minted[cause] += 1
      return stored
    } catch (error) {
      throw noteFailure(entry, asFailure(error))
    }
  }

  /** What was allowed before it waited for its turn may not be so any more. */
  const mintAllowed = async (entry: Entry, cause: MintCause): Promise<NewToken> => {
    connectionState.requireServing()
    // A limit that GitHub named meanwhile; how much quota an order or a proof may use was decided before.
    if (cause === 'demand') quota.assertMayMint(entry.scope.installation, 0)
    return heeding(entry, askGitHub(entry))
  }

  /** A rate limit holds from the moment that it is heard of: the next mint begins before this one is through. */
  const heeding = async <T>({ scope }: Entry, answer: Promise<T>): Promise<T> => {
    try {
      return await answer
    } catch (error) {
      quota.note(scope.installation, asFailure(error))
      throw error
    }
  }

  /** What is not what was asked for, or comes too late, is revoked, and nobody gets it. */
  const askGitHub = async ({ key, profile, scope }: Entry): Promise<NewToken> => {
    const began = connectionState.read()
    const number = store.number()
    const { token, granted, expiresAtMs } = await link.mint(scope)
    try {
      assertGranted(scope, granted)
      connectionState.requireServing()
      // New keys are a new generation of the same connection: its tokens are as good as before.
      if (store.number() !== number || !isSameApp(began.connection, connectionState.read().connection))
        throw new Failure('not-connected', 'the connection was changed meanwhile')
    } catch (error) {
      await link
        .revoke(token)
        .catch(reason => deps.log.warn('a token could not be revoked', { error: asFailure(reason) }))
      throw error
    }
    const times = storedTokenTimes({ mintedAtMs: deps.githubClock.now(), expiresAtMs })
    return { key, profile, scope, token, granted: shareNames(scope, granted), ...times }
  }

  const keep = (entry: Entry, token: NewToken): StoredToken => {
    const stored = cache.put(entry, token)
    lastMintedAtMs = clock.now()
    // GitHub has made it. The grant is the row that must be in the log before the answer, and takes this one along.
    deps.audit.note({
      event: 'dotcom_connection.token_updated',
      profile: entry.profile,
      scope: describeScope(entry.scope),
      hashedToken: hashToken(stored.token),
    })
    tell(stored)
    deps.membership?.()?.minted(stored)
    return stored
  }

  const tell = ({ profile, scope, expiresAtMs }: StoredToken): void =>
    deps.events.emit({
      event: 'token-refreshed',
      ...(profile !== ADMIN_PROFILE && { profile }),
      scope: summarizeScope(scope),
      expires_at: isoTime(expiresAtMs),
    })

  /** Takes over tokens that another node minted, where they last longer than those here. */
  const receive = (tokens: readonly NewToken[], { quiet = false } = {}): void => {
    for (const token of cache.receive(tokens)) {
      lastMintedAtMs = Math.max(lastMintedAtMs ?? 0, token.mintedAtMs)
      if (!quiet) tell(token)
    }
  }

  const noteFailure = (entry: Entry, failure: Failure): Failure => {
    failed.set(failure.code, (failed.get(failure.code) ?? 0) + 1)
    entry.failures += 1
    entry.failedUnder = connectionState.read().installations
    entry.retryAtMs = clock.monotonic() + backoffMs(failure, entry.failures)
    // GitHub says that there is no such scope: a token of it reaches less than it says.
    if (FOR_GOOD.has(failure.code))
      for (const token of [entry.current, entry.next]) if (token) cache.discard(entry, token)
    cache.fail(entry, failure)
    return failure
  }

  return {
    /** Single flight for an entry. Throws what GitHub, or the way there, answers; `scope-mismatch`, `not-connected`. */
    mint(entry: Entry, cause: MintCause, options: MintOptions = {}): Promise<StoredToken> {
      entry.minting ??= mintNow(entry, cause, options).finally(() => delete entry.minting)
      return entry.minting
    },
    receive,
    /** A request that waits for a mint is counted as long as it does. */
    async wait<T>(mint: Promise<T>): Promise<T> {
      waiting += 1
      try {
        return await mint
      } finally {
        waiting -= 1
      }
    },
    /** From the start of the daemon on; `waiting`: requests at this moment. */
    counts: () => ({
      ...(lastMintedAtMs !== undefined && { lastMintedAtMs }),
      minted: { ...minted } as Readonly<typeof minted>,
      failed: new Map(failed) as ReadonlyMap<Code, number>,
      waiting,
    }),
  }
}
