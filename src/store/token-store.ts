// The tokens at hand, so that a restart costs GitHub nothing.

import type { Granted, Scope, ScopeKey } from '../domain/scope.ts'
import type { Secret } from '../domain/secret.ts'

export type StoredToken = {
  readonly key: ScopeKey
  /** `next` was minted ahead and is handed out once it has settled. */
  readonly slot: 'current' | 'next'
  readonly profile: string
  readonly scope: Scope
  readonly token: Secret
  readonly granted: Granted
  readonly mintedAtMs: number
  /** By GitHub's clock. */
  readonly expiresAtMs: number
}

export type TokenStore = {
  all(): readonly StoredToken[]
  /** Durable on return; replaces the one in the same slot. */
  put(token: StoredToken): void
  /** `next` becomes `current`. */
  promote(key: ScopeKey): void
  remove(key: ScopeKey, slot?: StoredToken['slot']): void
  clear(): void
}
