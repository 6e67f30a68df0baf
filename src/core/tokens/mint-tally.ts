// Counts mints: by what caused them, by why they failed, and how many requests wait for one.

import type { Code } from '../../protocol/errors.ts'

/**
 * What a token was minted for: somebody asked and none was at hand; its time came; a longer life was asked for, or an administrator
 * ordered it; GitHub refused the former one; to see whether GitHub gives one.
 */
export const MINT_CAUSES = ['demand', 'refresh', 'forced', 'rejected', 'proof'] as const
export type MintCause = (typeof MINT_CAUSES)[number]

/** Counted from zero on: whoever watches a counter sees its first step only if it was there before. */
const WATCHED = [
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

/** From the start of the daemon on. */
export type MintCounts = {
  readonly minted: Readonly<Record<MintCause, number>>
  readonly failed: ReadonlyMap<Code, number>
  /** Requests that wait at this moment. */
  readonly waiting: number
}

export const createMintTally = () => {
  const minted: Record<MintCause, number> = { demand: 0, refresh: 0, forced: 0, rejected: 0, proof: 0 }
  const failed = new Map<Code, number>(WATCHED.map(code => [code, 0]))
  let waiting = 0
  return {
    succeeded: (cause: MintCause): void => void (minted[cause] += 1),
    failed: (code: Code): void => void failed.set(code, (failed.get(code) ?? 0) + 1),
    async wait<T>(mint: Promise<T>): Promise<T> {
      waiting += 1
      try {
        return await mint
      } finally {
        waiting -= 1
      }
    },
    read: (): MintCounts => ({ minted: { ...minted }, failed: new Map(failed), waiting }),
  }
}
