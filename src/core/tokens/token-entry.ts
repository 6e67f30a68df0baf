// An entry of the cache: what is held for one profile and scope, and how much memory it takes.

import type { Installation } from '../../protocol/connection.ts'
import type { Failure } from '../../protocol/errors.ts'
import { holderOf } from '../peers/holder.ts'
import { ADMIN_PROFILE, type Grant, type Peer } from '../../protocol/profile.ts'
import { canonicalScope, type Scope, type ScopeKey } from '../../protocol/scope.ts'
import type { StoredToken } from '../store/token-store.ts'
import { ADMINISTRATORS, type Charged, UNCLAIMED } from './token-shares.ts'

export type Held = Charged & {
  readonly key: ScopeKey
  readonly scope: Scope
  current?: StoredToken
  next?: StoredToken
  minting?: Promise<StoredToken>
  /** GitHub may have narrowed what it was minted for. */
  doubtful?: true
  /** A token of it was given to somebody: only then it is refreshed ahead. */
  handedOut?: true
  /** By the monotonic clock. */
  askedAtMs: number
  failures: number
  failure?: Failure
  /** The installations as they were known when it failed: what was refused may be granted since they changed. */
  failedUnder?: readonly Installation[]
  /** By the monotonic clock: no mint is tried before. */
  retryAtMs: number
  forcedAtMs: number
  /** 0 to 1: spreads the mints of scopes that were asked for together. */
  readonly jitter: number
}

/** `isCanonical`: the scope of the grant is in its one spelling already. */
export const newEntry = (
  key: ScopeKey,
  grant: Grant,
  { by, jitter, isCanonical = false }: { by?: Peer | undefined; jitter: number; isCanonical?: boolean },
): Held => ({
  key,
  profile: grant.profile,
  scope: isCanonical ? grant.scope : canonicalScope(grant.scope),
  holder: grant.profile === ADMIN_PROFILE ? ADMINISTRATORS : by ? holderOf(by).name : UNCLAIMED,
  weight: 0,
  placedAtMs: Number.NEGATIVE_INFINITY,
  askedAtMs: Number.NEGATIVE_INFINITY,
  failures: 0,
  retryAtMs: Number.NEGATIVE_INFINITY,
  forcedAtMs: Number.NEGATIVE_INFINITY,
  jitter,
})

/** Measured: an entry, and each token in it, without their texts; what a name takes beyond its characters. */
const ENTRY_BYTES = 700
const TOKEN_BYTES = 500
const NAME_BYTES = 40

/** About the bytes of memory that an entry takes, so that it is charged for long names as well as for many scopes. */
export const weigh = ({ key, scope, current, next, failure }: Held): number =>
  ENTRY_BYTES +
  // The key, and the same texts once more in the scope.
  2 * key.length +
  NAME_BYTES * (scope.repositories?.length ?? 0) +
  weighToken(current) +
  weighToken(next) +
  (failure ? TOKEN_BYTES + failure.message.length : 0)

export const weighToken = (token: Omit<StoredToken, 'slot'> | undefined): number => {
  if (!token) return 0
  let bytes = TOKEN_BYTES + token.token.length
  for (const name of token.granted.repositories ?? []) bytes += NAME_BYTES + name.length
  return bytes
}

export const profileOf = ({ profile }: Pick<StoredToken, 'profile'>): { profile?: string } =>
  profile === ADMIN_PROFILE ? {} : { profile }
