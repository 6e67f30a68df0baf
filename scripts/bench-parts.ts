// What the rows of the benchmark share, and what stands in for what a row does not measure.

import { randomBytes } from 'node:crypto'
import { scopeKey } from '../src/protocol/scope.ts'
import { Secret } from '../src/protocol/secret.ts'
import type { createTokens } from '../src/core/tokens/tokens.ts'
import type { Log } from '../src/service/log.ts'
import type { Store } from '../src/core/store/database.ts'
import type { StoredToken } from '../src/core/store/records.ts'

/** `ratio` and `budget` as they are shown. */
export type Row = { name: string; floor: string; ours: string; ratio: string; budget: string; within: boolean }

export const TURNS = 5
/** `SCOPES=50000 ./scripts/bench scopes`: the largest number with a budget. */
export const SCOPES = Number(process.env['SCOPES'] ?? 10_000)
export const INSTALLATIONS = 20

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

const nothing = (): void => undefined
export const quietLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/** Tokens of the longer of GitHub's two formats, each for one repository. */
export function* tokensOf(options: { scopes: number; installations: number; nowMs: number }): Generator<StoredToken> {
  const { scopes, installations, nowMs } = options
  for (let at = 0; at < scopes; at++) {
    const scope = {
      installation: 1000 + (at % installations),
      repositories: [`repository-${at}`],
      permissions: { contents: 'read' },
    } as const
    yield {
      key: scopeKey('bench', scope),
      slot: 'current',
      profile: 'bench',
      scope,
      token: new Secret(`ghs_${randomBytes(390).toString('base64url')}`),
      granted: { repositories: scope.repositories, permissions: { contents: 'read', metadata: 'read' } },
      mintedAtMs: nowMs,
      expiresAtMs: nowMs + 3_600_000,
    }
  }
}

const never = (): never => {
  throw new Error('the benchmark asks GitHub for nothing')
}

/** What `createTokens` needs where nothing is due: a clock that stands, and no way out. */
export const stillClock = (store: Store): Parameters<typeof createTokens>[0] => {
  const nowMs = Date.now()
  return {
    store,
    link: {
      convertManifest: never,
      findPagesUrl: never,
      getAppAs: never,
      getApp: never,
      listInstallations: never,
      getInstallation: never,
      mint: never,
      revoke: never,
      accepts: never,
      listRepositories: never,
      uninstall: never,
      peekRepositories: never,
      hasRepository: never,
      findRepository: never,
      findQuota: () => undefined,
      findChangedMs: () => undefined,
      keyState: () => 'unknown',
      findTrouble: () => undefined,
      onOutcome: nothing,
      onRecovery: nothing,
    },
    connectionState: {
      read: () => store.connection.read(),
      requireServing: never,
      transition: never,
      shred: never,
      explain: never,
      exclusively: task => task(),
      serially: task => task(),
    },
    audit: {
      record: nothing,
      owe: nothing,
      note: nothing,
      granted: nothing,
      denied: nothing,
      flush: nothing,
      findTrouble: () => undefined,
    },
    events: { emit: nothing, subscribe: () => nothing, end: nothing },
    clock: {
      now: () => nowMs,
      monotonic: () => 0,
      after: () => ({ cancel: nothing }),
      every: () => ({ cancel: nothing }),
      schedule: () => ({ cancel: nothing }),
      onJump: () => ({ cancel: nothing }),
      sleep: async () => undefined,
    },
    githubClock: { now: () => nowMs, offsetMs: () => 0, findTold: () => undefined, learn: nothing },
    log: quietLog,
    settings: () => ({ beforeExpiryMs: 2_400_000, settleMs: 30_000 }),
    random: () => 0,
    takeMint: nothing,
  }
}
