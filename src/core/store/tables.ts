// The tables of a store: the connection with its keys, the tokens, and facts; each change is one transaction.

import { Failure } from '../../protocol/errors.ts'
import { type ScopeKey, shareNames } from '../../protocol/scope.ts'
import {
  type ConnectionRecord,
  decode,
  encode,
  grantedSchema,
  isTokenLife,
  MAX_GENERATION,
  type OnRepaired,
  parseJson,
  scopeSchema,
  slotSchema,
  storedConnection,
  storedInstallations,
  storedKey,
  storedTime,
  type StoredToken,
  tokenSchema,
} from './records.ts'
import { commitSoon, type Database, guard, type Migration } from './sqlite.ts'

export const STORE_MIGRATIONS: readonly Migration[] = [
  db =>
    db.exec(`
      CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
      CREATE TABLE keys (
        position INTEGER PRIMARY KEY,
        fingerprint TEXT NOT NULL UNIQUE,
        pem TEXT NOT NULL,
        added_at_ms REAL NOT NULL
      ) STRICT;
      CREATE TABLE tokens (
        key TEXT NOT NULL,
        slot TEXT NOT NULL CHECK (slot IN ('current', 'next')),
        profile TEXT NOT NULL,
        scope TEXT NOT NULL,
        token TEXT NOT NULL,
        granted TEXT NOT NULL,
        minted_at_ms REAL NOT NULL,
        expires_at_ms REAL NOT NULL,
        PRIMARY KEY (key, slot)
      ) STRICT;
      CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    `),
]

export type ConnectionChange = Partial<Omit<ConnectionRecord, 'generation'>> & {
  readonly newGeneration?: boolean
  /** The generation becomes higher than this one, too: what was restored must not look older than where it came from. */
  readonly above?: number
  /** Exactly this one: the record is the cluster's. */
  readonly generation?: number
}

/** For a new store: facts that hold from the same moment on. */
export type StoreChange = ConnectionChange & { readonly facts?: Readonly<Record<string, unknown>> }

export const merge = (record: ConnectionRecord, change: ConnectionChange): ConnectionRecord => ({
  generation: Math.min(
    change.generation ?? Math.max(record.generation, change.above ?? 0) + (change.newGeneration ? 1 : 0),
    MAX_GENERATION,
  ),
  connection: change.connection ?? record.connection,
  installations: change.installations ?? record.installations,
  keys: change.keys ?? record.keys,
})

/** Durable on return, of what the next start would find. Throws what the disk says, and then nothing was changed. */
export const writeConnection = (db: Database, record: ConnectionRecord): ConnectionRecord => {
  const save = db.transaction(() => {
    saveConnection(db, record)
    return readConnection(db)
  })
  return guard(db.name, () => save.immediate())
}

/** Part of a transaction of the caller's. */
export const saveConnection = (db: Database, record: ConnectionRecord): void => {
  const put = db.prepare<[string, string]>('INSERT OR REPLACE INTO meta VALUES (?, ?)')
  put.run('generation', String(record.generation))
  put.run('connection', encode(storedConnection, record.connection, 'the connection'))
  put.run('installations', encode(storedInstallations, record.installations, 'the list of installations'))
  db.prepare('DELETE FROM keys').run()
  const add = db.prepare<[number, string, string, number]>('INSERT INTO keys VALUES (?, ?, ?, ?)')
  for (const [position, key] of record.keys.entries()) {
    add.run(position, key.fingerprint, key.pem.reveal(), storedTime(key.addedAtMs))
  }
}

/** Throws `store-corrupt` where it is malformed. */
export const readConnection = (db: Database, onRepaired: OnRepaired = () => {}): ConnectionRecord => {
  const find = db.prepare<[string], string>('SELECT value FROM meta WHERE name = ?').pluck()
  const get = (name: string): string => {
    const value = find.get(name)
    if (value === undefined) throw new Failure('store-corrupt', `${name} is missing in ${db.name}`)
    return value
  }
  const generation = Number(get('generation'))
  if (!Number.isInteger(generation) || generation < 0 || generation > MAX_GENERATION) {
    throw new Failure('store-corrupt', `the generation in ${db.name} is malformed`)
  }
  const [connection, installations] = ['the connection', 'the list of installations']
  const keys = db.prepare<[], { fingerprint: string }>(
    'SELECT fingerprint, pem, added_at_ms AS addedAtMs FROM keys ORDER BY position',
  )
  return {
    generation,
    connection: decode(storedConnection, parseJson(get('connection'), connection), { what: connection, onRepaired }),
    installations: decode(storedInstallations, parseJson(get('installations'), installations), {
      what: installations,
      onRepaired,
    }),
    keys: keys.all().map(key => decode(storedKey, key, { what: `the key ${key.fingerprint}`, onRepaired })),
  }
}

/** A row that is malformed is removed where the database can be written, and told: another token can be minted. */
export const readTokens = (
  db: Database,
  onRemoved: (place: { key: string; error: Failure }) => void = () => {},
): readonly StoredToken[] =>
  guard(db.name, () => {
    const removeOne = db.prepare<[string, string]>('DELETE FROM tokens WHERE key = ? AND slot = ?')
    const tokens: StoredToken[] = []
    const malformed: { key: ScopeKey; slot: string; error: Failure }[] = []
    // Row by row: all rows of 50,000 tokens at once would double the memory of a start.
    for (const row of db.prepare<[], TokenRow>('SELECT * FROM tokens').iterate()) {
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
  })

/**
 * In one transaction: first all rows of the keys `gone` go, then each token takes its slot. Throws where that fails; durable when the
 * promise resolves.
 */
export const writeTokens = (
  db: Database,
  tokens: readonly StoredToken[],
  gone: readonly ScopeKey[] = [],
): Promise<void> => {
  const replaceRows = db.transaction(() => {
    const removeBoth = db.prepare<[string]>('DELETE FROM tokens WHERE key = ?')
    const insert = db.prepare<TokenRow>(
      `INSERT OR REPLACE INTO tokens
       VALUES (@key, @slot, @profile, @scope, @token, @granted, @minted_at_ms, @expires_at_ms)`,
    )
    for (const key of gone) removeBoth.run(key)
    for (const token of tokens) insert.run(toRow(token))
  })
  return commitSoon(db, replaceRows).durable
}

export const clearTokens = (db: Database): void => void guard(db.name, () => db.prepare('DELETE FROM tokens').run())

type TokenRow = {
  key: ScopeKey
  slot: string
  profile: string
  scope: string
  token: string
  granted: string
  minted_at_ms: number
  expires_at_ms: number
}

const toRow = (token: StoredToken): TokenRow => ({
  key: token.key,
  slot: token.slot,
  profile: token.profile,
  scope: encode(scopeSchema, token.scope, 'the scope of a token'),
  token: token.token.reveal(),
  granted: encode(grantedSchema, token.granted, 'the grant of a token'),
  minted_at_ms: token.mintedAtMs,
  expires_at_ms: token.expiresAtMs,
})

const rowSchema = tokenSchema.extend({ slot: slotSchema }).refine(isTokenLife, { path: ['expiresAtMs'] })

const fromRow = ({ key, slot, profile, scope, token, granted, ...times }: TokenRow): StoredToken => {
  const raw = {
    slot,
    profile,
    scope: parseJson(scope, 'the scope of a token'),
    token,
    granted: parseJson(granted, 'the grant of a token'),
    mintedAtMs: times.minted_at_ms,
    expiresAtMs: times.expires_at_ms,
  }
  const read = decode(rowSchema, raw, { what: 'a token' })
  return { key, ...read, granted: shareNames(read.scope, read.granted) }
}

/** Throws `store-corrupt` where a fact cannot be read: found at the start, and not when it is asked for. */
export const assertFacts = (db: Database): void => {
  const bad = guard(db.name, () =>
    db.prepare<[], string>('SELECT name FROM facts WHERE NOT json_valid(value) LIMIT 1').pluck().get(),
  )
  if (bad !== undefined) throw new Failure('store-corrupt', `the fact ${bad} in the store is no JSON`)
}

export const findFact = (db: Database, name: string): unknown => {
  const select = db.prepare<[string], string>('SELECT value FROM facts WHERE name = ?').pluck()
  const text = guard(db.name, () => select.get(name))
  return text === undefined ? undefined : parseJson(text, `the fact ${name}`)
}

export const putFact = (db: Database, name: string, value: unknown): void => {
  const text = encodeFact(name, value)
  guard(db.name, () => db.prepare<[string, string]>('INSERT OR REPLACE INTO facts VALUES (?, ?)').run(name, text))
}

const encodeFact = (name: string, value: unknown): string => {
  const text = JSON.stringify(value)
  if (text === undefined) throw new Failure('internal', `the fact ${name} is no JSON value`)
  return text
}

/** Facts of this prefix belong to one connection and end with it. */
const CONNECTION_PREFIX = 'connection.'

/** Part of a transaction of the caller's, on `to`: the lasting ones, then those that are new. */
export const passFactsOn = (from: Database, to: Database, fresh: Readonly<Record<string, unknown>>): void => {
  const insert = to.prepare<[string, string]>('INSERT INTO facts VALUES (?, ?)')
  for (const { name, value } of from.prepare<[], { name: string; value: string }>('SELECT * FROM facts').all()) {
    if (!name.startsWith(CONNECTION_PREFIX) && !Object.hasOwn(fresh, name)) insert.run(name, value)
  }
  for (const [name, value] of Object.entries(fresh)) insert.run(name, encodeFact(name, value))
}
