// What a caller may wish beyond its scope: a token before its time, and another one for a token that GitHub refused.

import { asFailure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { StoredToken } from '../store/token-store.ts'
import type { AppLink } from '../connection/app-link.ts'
import type { Held } from './token-entry.ts'
import type { TokenCache } from './token-cache.ts'
import { hashToken, sameHash } from '../audit/audit-writer.ts'

export type TokenOptions = {
  /** How long the token must last at least, in milliseconds. */
  readonly minTtlMs?: number
  /** GitHub's hash of a token that was refused in use. */
  readonly rejected?: string
}

export type Wishes = {
  /** Whether the caller's wish is worth a token before its time: at most one in 5 minutes for a scope. */
  mayForce(held: Held): boolean
  /**
   * Drops the token of that hash where GitHub refuses it, too; tells whether another one has to be minted. `allow` throws where
   * GitHub may not be asked for this caller.
   */
  dropRejected(held: Held, rejected: string, allow: () => void): Promise<boolean>
}

const FORCED_MINT_EVERY_MS = 5 * 60_000
/** A question about a token that GitHub did not answer is asked again after this time. */
const UNANSWERED_MS = 30_000

export const createWishes = (deps: {
  link: Pick<AppLink, 'accepts'>
  cache: TokenCache
  clock: Pick<Clock, 'monotonic'>
  log: Log
}): Wishes => {
  const { cache, clock } = deps

  const isDue = (held: Held): boolean => clock.monotonic() - held.forcedAtMs >= FORCED_MINT_EVERY_MS
  const mayForce = (held: Held): boolean => {
    if (!isDue(held)) return false
    held.forcedAtMs = clock.monotonic()
    return true
  }

  /** What GitHub does not say to be refused is served still; where it says nothing, it is asked again soon. */
  const isAccepted = async (held: Held, { token }: StoredToken): Promise<boolean> => {
    try {
      return await deps.link.accepts(token)
    } catch (error) {
      deps.log.warn('GitHub could not be asked whether it refuses a token', { error: asFailure(error) })
      held.forcedAtMs = clock.monotonic() - FORCED_MINT_EVERY_MS + UNANSWERED_MS
      return true
    }
  }

  return {
    mayForce,
    async dropRejected(held, rejected, allow) {
      const refused = [held.current, held.next].find(token => token && sameHash(hashToken(token.token), rejected))
      if (!refused || !isDue(held)) return false
      allow()
      mayForce(held)
      if (await isAccepted(held, refused)) return false
      if (!cache.discard(held, refused)) return false
      cache.promote(held)
      return held.current === undefined
    },
  }
}
