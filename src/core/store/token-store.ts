// The tokens at hand, so that a restart costs GitHub nothing.

import { Failure } from '../../protocol/errors.ts'
import { grantedSchema, isTokenLife, scopeSchema } from './record-shapes.ts'
import { type Granted, type Scope, type ScopeKey, shareNames } from '../../protocol/scope.ts'
import { Secret } from '../../protocol/secret.ts'
import { decode, encode } from './record.ts'
import { commitSoon, type Database, guard } from './sqlite.ts'

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
  /** A row that is malformed is removed, and told: another token can be minted. */
  all(): readonly StoredToken[]
  /**
   * In one transaction: first all rows of the keys `gone` go, then each token takes its slot. Throws where that fails; durable when the
   * promise resolves.
   */
  write(tokens: readonly StoredToken[], gone?: readonly ScopeKey[]): Promise<void>
  clear(): void
}

export const createTokenStore = (
  db: Database,
  onRemoved: (place: { key: string; error: Failure }) => void = () => {},
): TokenStore => {
  const select = db.prepare<[], Row>('SELECT * FROM tokens')
  const insert = db.prepare<Row>(
    `INSERT OR REPLACE INTO tokens
     VALUES (@key, @slot, @profile, @scope, @token, @granted, @minted_at_ms, @expires_at_ms)`,
  )
  const removeBoth = db.prepare<[string]>('DELETE FROM tokens WHERE key = ?')
  const removeOne = db.prepare<[string, string]>('DELETE FROM tokens WHERE key = ? AND slot = ?')
  const clear = db.prepare('DELETE FROM tokens')

  const readAll = (): StoredToken[] => {
    const tokens: StoredToken[] = []
    const malformed: { key: ScopeKey; slot: StoredToken['slot']; error: Failure }[] = []
    // Row by row: all rows of 50,000 tokens at once would double the memory of a start.
    for (const row of select.iterate()) {
      try {
        tokens.push(fromRow(row))
      } catch (error) {
        if (!(error instanceof Failure)) throw error
        malformed.push({ key: row.key, slot: row.slot, error })
      }
    }
    for (const { key, slot, error } of malformed) {
      if (!db.readonly) removeOne.run(key, slot)
      onRemoved({ key, error })
    }
    return tokens
  }
  const replaceRows = db.transaction((tokens: readonly StoredToken[], gone: readonly ScopeKey[]): void => {
    for (const key of gone) removeBoth.run(key)
    for (const token of tokens) insert.run(toRow(token))
  })
  return {
    all: () => guard(db.name, readAll),
    write: (tokens, gone = []) => commitSoon(db, () => replaceRows(tokens, gone)).durable,
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

const fromRow = (row: Row): StoredToken => {
  const times = { mintedAtMs: row.minted_at_ms, expiresAtMs: row.expires_at_ms }
  if (!isTokenLife(times)) throw new Failure('store-corrupt', 'the times of a token are out of bounds')
  const scope = decode(scopeSchema, row.scope, { what: 'the scope of a token' })
  return {
    key: row.key,
    slot: row.slot,
    profile: row.profile,
    scope,
    token: new Secret(row.token),
    granted: shareNames(scope, decode(grantedSchema, row.granted, { what: 'the grant of a token' })),
    ...times,
  }
}
