// The tokens at hand, so that a restart costs GitHub nothing.

import { grantedSchema, scopeSchema } from '../domain/record.ts'
import type { Granted, Scope, ScopeKey } from '../domain/scope.ts'
import { Secret } from '../domain/secret.ts'
import { decode, encode } from './record.ts'
import { type Database, guard } from './sqlite.ts'

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
  /** Many, in one transaction. */
  putAll(tokens: readonly StoredToken[]): void
  /** `next` becomes `current`. */
  promote(key: ScopeKey): void
  remove(key: ScopeKey, slot?: StoredToken['slot']): void
  clear(): void
}

export const createTokenStore = (db: Database): TokenStore => {
  const select = db.prepare<[], Row>('SELECT * FROM tokens')
  const insert = db.prepare<Row>(
    `INSERT OR REPLACE INTO tokens
     VALUES (@key, @slot, @profile, @scope, @token, @granted, @minted_at_ms, @expires_at_ms)`,
  )
  // Where there is no `next`, `current` stays.
  const promote = db.prepare<[string]>(`UPDATE OR REPLACE tokens SET slot = 'current' WHERE key = ? AND slot = 'next'`)
  const removeBoth = db.prepare<[string]>('DELETE FROM tokens WHERE key = ?')
  const removeOne = db.prepare<[string, string]>('DELETE FROM tokens WHERE key = ? AND slot = ?')
  const clear = db.prepare('DELETE FROM tokens')
  return {
    all: () => guard(db.name, () => select.all().map(fromRow)),
    put: token => void guard(db.name, () => insert.run(toRow(token))),
    putAll: tokens =>
      guard(db.name, () =>
        db.transaction(() => {
          for (const token of tokens) insert.run(toRow(token))
        })(),
      ),
    promote: key => void guard(db.name, () => promote.run(key)),
    remove: (key, slot) =>
      void guard(db.name, () => (slot === undefined ? removeBoth.run(key) : removeOne.run(key, slot))),
    clear: () => void guard(db.name, () => clear.run()),
  }
}

type Row = {
  key: ScopeKey
  slot: StoredToken['slot']
  profile: string
  scope: string
  token: string
  granted: string
  minted_at_ms: number
  expires_at_ms: number
}

const toRow = (token: StoredToken): Row => ({
  key: token.key,
  slot: token.slot,
  profile: token.profile,
  scope: encode(scopeSchema, token.scope, 'the scope of a token'),
  token: token.token.reveal(),
  granted: encode(grantedSchema, token.granted, 'the grant of a token'),
  minted_at_ms: token.mintedAtMs,
  expires_at_ms: token.expiresAtMs,
})

const fromRow = (row: Row): StoredToken => ({
  key: row.key,
  slot: row.slot,
  profile: row.profile,
  scope: decode(scopeSchema, row.scope, 'the scope of a token'),
  token: new Secret(row.token),
  granted: decode(grantedSchema, row.granted, 'the grant of a token'),
  mintedAtMs: row.minted_at_ms,
  expiresAtMs: row.expires_at_ms,
})
