// The connection as it is kept: state, installations, private keys and generation, changed in one transaction.

import type { Connection, Installation } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import { MAX_GENERATION, storedConnection, storedInstallations, storedTime } from './record-shapes.ts'
import { Secret } from '../../protocol/secret.ts'
import { decode, encode, type OnRepaired } from './record.ts'
import { type Database, guard } from './sqlite.ts'

/** A private key of the App as PEM (PKCS#8). The first of a record signs; the others are fallbacks. */
export type StoredKey = { readonly fingerprint: string; readonly pem: Secret; readonly addedAtMs: number }

export type ConnectionRecord = {
  /** Counts what the administrator changed: enable, disable, restore, adopt, keys. */
  readonly generation: number
  readonly connection: Connection
  readonly installations: readonly Installation[]
  readonly keys: readonly StoredKey[]
}

export type ConnectionChange = Partial<Omit<ConnectionRecord, 'generation'>> & {
  readonly newGeneration?: boolean
  /** The generation becomes higher than this one, too: what was restored must not look older than where it came from. */
  readonly above?: number
  /** Exactly this one: the record is the cluster's. */
  readonly generation?: number
}

/** For a new store: facts that hold from the same moment on. */
export type StoreChange = ConnectionChange & { readonly facts?: Readonly<Record<string, unknown>> }

export type ConnectionStore = {
  /** From memory: cheap. */
  read(): ConnectionRecord
  /** Durable on return. What is left out stays. */
  write(change: ConnectionChange): ConnectionRecord
}

/** Reads the record once. Throws `store-corrupt` where it is malformed; `write` throws what the disk says, and then nothing was changed. */
export const createConnectionStore = (db: Database, onRepaired?: OnRepaired): ConnectionStore => {
  let record = guard(db.name, () => load(db, onRepaired))
  return {
    read: () => record,
    write(change) {
      const next = merge(record, change)
      const save = db.transaction(() => {
        saveConnection(db, next)
        // What the next start would find is what is answered from now on.
        return load(db)
      })
      record = guard(db.name, () => save.immediate())
      return record
    },
  }
}

export const merge = (record: ConnectionRecord, change: ConnectionChange): ConnectionRecord => ({
  generation: Math.min(
    change.generation ?? Math.max(record.generation, change.above ?? 0) + (change.newGeneration ? 1 : 0),
    MAX_GENERATION,
  ),
  connection: change.connection ?? record.connection,
  installations: change.installations ?? record.installations,
  keys: change.keys ?? record.keys,
})

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

const load = (db: Database, onRepaired: OnRepaired = () => {}): ConnectionRecord => {
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
  const keys = db
    .prepare<[], KeyRow>('SELECT fingerprint, pem, added_at_ms AS addedAtMs FROM keys ORDER BY position')
    .all()
  return {
    generation,
    connection: decode(storedConnection, get('connection'), { what: 'the connection', onRepaired }),
    installations: decode(storedInstallations, get('installations'), { what: 'the list of installations', onRepaired }),
    keys: keys.map(({ fingerprint, pem, addedAtMs: told }) => {
      const addedAtMs = storedTime(told)
      if (addedAtMs !== told) onRepaired(`addedAtMs of the key ${fingerprint}`)
      return { fingerprint, pem: new Secret(pem), addedAtMs }
    }),
  }
}

type KeyRow = { fingerprint: string; pem: string; addedAtMs: number }
