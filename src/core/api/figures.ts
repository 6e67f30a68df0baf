// Figures of the daemon at this moment, for whoever watches it: gathered when somebody looks, and only then.

import type { Account } from '../../protocol/connection.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { FactStore } from '../store/database.ts'
import type { AppLink } from '../connection/app-link.ts'
import type { CallTally, Quota } from '../github/calls.ts'
import { LAST_EXPORT } from '../store/records.ts'
import type { ConnectionState } from '../connection/connection-state.ts'
import type { Tokens } from '../tokens/tokens.ts'

/** In bytes. */
export type Sizes = {
  readonly store: { readonly db: number; readonly wal: number }
  readonly audit: { readonly db: number; readonly wal: number; readonly archive: number; readonly most: number }
}

/** Times of tokens are by this machine's clock, and not by GitHub's. */
export type FigureReadings = ReturnType<Tokens['counts']> & {
  readonly calls: ReturnType<CallTally['read']>
  readonly quotas: readonly { readonly installation: number; readonly account: Account; readonly quota: Quota }[]
  readonly sizes: Sizes
  readonly lastExportAtMs: number
}

export type Figures = () => FigureReadings

export const createFigures =
  (deps: {
    tokens: Pick<Tokens, 'counts'>
    calls: CallTally
    link: Pick<AppLink, 'findQuota'>
    connectionState: Pick<ConnectionState, 'read'>
    githubClock: Pick<GitHubClock, 'offsetMs'>
    facts: Pick<FactStore, 'find'>
    sizes: () => Sizes
  }): Figures =>
  () => {
    const offset = deps.githubClock.offsetMs()
    const counts = deps.tokens.counts()
    const quotas = deps.connectionState.read().installations.flatMap(({ id, account }) => {
      const quota = deps.link.findQuota(id)
      return quota ? [{ installation: id, account, quota }] : []
    })
    const { oldestMintedAtMs, newestMintedAtMs, oldestExpiresAtMs, inUseExpiresAtMs } = counts
    return {
      ...counts,
      ...(oldestMintedAtMs !== undefined && { oldestMintedAtMs: oldestMintedAtMs - offset }),
      ...(newestMintedAtMs !== undefined && { newestMintedAtMs: newestMintedAtMs - offset }),
      ...(oldestExpiresAtMs !== undefined && { oldestExpiresAtMs: oldestExpiresAtMs - offset }),
      ...(inUseExpiresAtMs !== undefined && { inUseExpiresAtMs: inUseExpiresAtMs - offset }),
      calls: deps.calls.read(),
      quotas,
      sizes: deps.sizes(),
      lastExportAtMs: exportTime(deps.facts.find(LAST_EXPORT)),
    }
  }

/** 0 where there was none. */
const exportTime = (fact: unknown): number =>
  typeof fact === 'object' && fact !== null && 'atMs' in fact && typeof fact.atMs === 'number' ? fact.atMs : 0
