// The numbered stores: SQLCipher files under a wrapped key, swapped by rename, never opened by older code, never made over another.

import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { asFailure, Failure } from '../../protocol/errors.ts'
import type { ScopeKey } from '../../protocol/scope.ts'
import { writeDurably } from '../../service/files.ts'
import type { Log } from '../../service/log.ts'
import {
  beginFolder,
  findCurrent,
  finishFolder,
  listNumbers,
  makePrivateFolder,
  numberedFolder,
  pointCurrent,
  removeLeftovers,
  shred,
} from './folders.ts'
import { KEY_BYTES, readWrapped, settleWrapped, WITHOUT_RECOVERY_KEY, wrapDatabaseKey } from './keys.ts'
import { type ConnectionRecord, parseJson, type StoredToken } from './records.ts'
import {
  assertNotNewer,
  checkPages,
  closingOnError,
  createDatabase,
  type Database,
  guard,
  openDatabase,
  openEncrypted,
} from './sqlite.ts'
import {
  assertFacts,
  clearTokens,
  type ConnectionChange,
  findFact,
  merge,
  passFactsOn,
  putFact,
  readConnection,
  readTokens,
  saveConnection,
  STORE_MIGRATIONS,
  type StoreChange,
  writeConnection,
  writeTokens,
} from './tables.ts'

export type StoreOptions = {
  /** `state/store`. Made where it is absent. */
  readonly folder: string
  readonly storeKey: Buffer
  /** For `unlock`: the database key from the recovery key, where the store key does not open it. `replace` then wraps by the new store key. */
  readonly databaseKey?: Buffer
  readonly log: Log
}

export type Store = ReturnType<typeof openStore>
export type FactStore = Store['facts']

/**
 * Opens the current store, or makes the first one where there is none at all. After a kill at any moment it finds the last acknowledged
 * content. Throws `wrong-store-key`, `store-corrupt`, `store-newer`, `disk-full`, `state-in-use`, `io`; then nothing was changed.
 */
export const openStore = (options: StoreOptions) =>
  guard(options.folder, () => {
    const { folder, log } = options
    makePrivateFolder(folder)
    let opened = openCurrent(options)
    removeLeftovers(folder, { current: opened.number, log })
    return {
      connection: {
        /** From memory: cheap. */
        read: (): ConnectionRecord => opened.record,
        /** Durable on return. What is left out stays. Throws what the disk says, and then nothing was changed. */
        write: (change: ConnectionChange): ConnectionRecord =>
          (opened.record = writeConnection(opened.db, merge(opened.record, change))),
      },
      tokens: {
        all: () => readTokens(opened.db, place => log.warn('a stored token was malformed and was removed', place)),
        /** Those of the keys `gone` go first, then each token takes its slot, all or none. Durable when the promise resolves; throws, too. */
        write: (tokens: readonly StoredToken[], gone?: readonly ScopeKey[]) => writeTokens(opened.db, tokens, gone),
        clear: () => clearTokens(opened.db),
      },
      /** Small ones that outlive a restart and belong to no table, each with one owner: the learned clock offset, refresh history. */
      facts: {
        find: (name: string) => findFact(opened.db, name),
        /** JSON values only. Durable on return. */
        put: (name: string, value: unknown) => putFact(opened.db, name, value),
      },
      /** Which numbered folder is current. */
      number: () => opened.number,
      /**
       * Writes a store with a new database key that holds `change` (and the generation, which continues), makes it current by one rename, then
       * drops the old one's key and files. Facts stay but for those of the connection (`connection.*`); tokens go. The same `Store` object
       * speaks to the new one afterwards. What fails leaves the old one.
       */
      replace(change: StoreChange): void {
        const former = opened
        opened = guard(folder, () => succeed(options, { former, change }))
        former.db.close()
        removeLeftovers(folder, { current: opened.number, log })
      },
      /** Reads each page of the file. Throws `store-corrupt`, `io`. */
      check: () => checkPages(opened.db, ASKED_LIMIT_BYTES),
      /** The database key in hexadecimal, for `ghconnect store-key`. */
      databaseKey: () => opened.databaseKey.toString('hex'),
      /** `key.age`, the database key as wrapped to the recovery keys, stands beside the store and is shredded with it. */
      hasRecoveryWrap: () => existsSync(recoveryWrapPath(folder, opened.number)),
      putRecoveryWrap: (wrap: Uint8Array) =>
        guard(folder, () => writeDurably(recoveryWrapPath(folder, opened.number), wrap, 0o600)),
      close: () => void opened.db.close(),
    }
  })

/** Where somebody asks for it, a pause of a fifth of a second is allowed. */
const ASKED_LIMIT_BYTES = 64 * 1024 * 1024

const recoveryWrapPath = (folder: string, number: number): string => join(numberedFolder(folder, number), 'key.age')

/** Undefined where no store was ever made. */
const findCurrentNumber = (folder: string): number | undefined => (existsSync(folder) ? findCurrent(folder) : undefined)

/** For `unlock`: the current store's `key.age`; undefined where there is no store, or no recovery key was made for it. */
export const findRecoveryWrap = (folder: string): Buffer | undefined =>
  guard(folder, () => {
    const number = findCurrentNumber(folder)
    if (number === undefined) return undefined
    const path = recoveryWrapPath(folder, number)
    return existsSync(path) ? readFileSync(path) : undefined
  })

export type StoreContent = {
  readonly record: ConnectionRecord
  readonly tokens: readonly StoredToken[]
  findFact(name: string): unknown
}

/**
 * One consistent state of the current store, read without changing it: while a daemon writes, hangs, or is not there.
 * Undefined where no store was ever made. Throws as `openStore`.
 */
export const readStore = (options: { folder: string; storeKey: Buffer }): StoreContent | undefined =>
  guard(options.folder, () => {
    const number = findCurrentNumber(options.folder)
    if (number === undefined) return undefined
    const databaseKey = readKeyOf(options, number)
    const path = join(numberedFolder(options.folder, number), 'store.db')
    const db = openEncrypted(path, databaseKey.toString('hex'), { readonly: true })
    try {
      assertNotNewer(db, STORE_MIGRATIONS)
      const read = db.transaction(() => ({
        record: readConnection(db),
        tokens: readTokens(db),
        facts: new Map(
          db
            .prepare<[], { name: string; value: string }>('SELECT * FROM facts')
            .all()
            .map(({ name, value }) => [name, parseJson(value, `the fact ${name}`)]),
        ),
      }))
      const { record, tokens, facts } = read()
      return { record, tokens, findFact: name => facts.get(name) }
    } finally {
      db.close()
    }
  })

/** For `store-key` and to try a store key: undefined where no store was ever made. Throws `wrong-store-key`, `store-corrupt`. */
export const readDatabaseKey = (options: { folder: string; storeKey: Buffer }): Buffer | undefined =>
  guard(options.folder, () => {
    const number = findCurrentNumber(options.folder)
    if (number === undefined) return undefined
    return readKeyOf(options, number)
  })

const readKeyOf = ({ folder, storeKey }: { folder: string; storeKey: Buffer }, number: number): Buffer =>
  unwrapFile(readWrapped, storeKey, join(numberedFolder(folder, number), 'key'))

type Opened = ReturnType<typeof openNumber>

const openCurrent = (options: StoreOptions): Opened => {
  const { folder, log } = options
  const current = findCurrent(folder)
  if (current !== undefined) return openNumber(options, current)
  const numbers = listNumbers(folder)
  if (numbers.length > 0) return adopt(options, numbers)
  build(options, { number: 1, seed: seedFirst })
  pointCurrent(folder, 1)
  log.info('made a store', { folder: numberedFolder(folder, 1) })
  return openNumber(options, 1)
}

const openNumber = (options: StoreOptions, number: number) => {
  const { log } = options
  const folder = numberedFolder(options.folder, number)
  if (!existsSync(folder)) throw new Failure('store-corrupt', `${folder} is gone, and \`current\` names it`)
  const databaseKey = options.databaseKey ?? unwrapFile(settleWrapped, options.storeKey, join(folder, 'key'))
  const db = openDatabase(join(folder, 'store.db'), databaseKey.toString('hex'), STORE_MIGRATIONS)
  return closingOnError(db, () => {
    const record = guard(db.name, () =>
      readConnection(db, what => log.warn('a stored value was out of its bounds and was repaired', { what })),
    )
    assertFacts(db)
    return { number, db, databaseKey, record }
  })
}

/** `read`: `readWrapped` or `settleWrapped`. */
const unwrapFile = (read: typeof readWrapped, storeKey: Buffer, path: string): Buffer => {
  try {
    return read(storeKey, path)
  } catch (error) {
    const { code, message } = asFailure(error)
    if (code !== 'wrong-store-key' || existsSync(join(dirname(path), 'key.age'))) throw error
    throw new Failure(code, message, { cause: error, next: WITHOUT_RECOVERY_KEY })
  }
}

/** The first start was killed before `current` was made, or someone removed it: the only store that opens is the one. */
const adopt = (options: StoreOptions, numbers: readonly number[]): Opened => {
  const opened: Opened[] = []
  const failures: Failure[] = []
  for (const number of numbers) {
    try {
      opened.push(guard(options.folder, () => openNumber(options, number)))
    } catch (error) {
      if (error instanceof Failure) failures.push(error)
      else throw error
    }
  }
  const [one, ...more] = opened
  if (one !== undefined && more.length === 0) {
    pointCurrent(options.folder, one.number)
    options.log.warn('`current` was missing; the only store that opens is current now', { number: one.number })
    return one
  }
  for (const { db } of opened) db.close()
  const [failure] = failures
  if (one === undefined && failure !== undefined && failures.every(({ code }) => code === failure.code)) throw failure
  const found =
    one === undefined ? `none of ${numbers.join(', ')} opens` : `each of ${opened.map(o => o.number).join(', ')} opens`
  throw new Failure(
    'store-corrupt',
    `${options.folder} has no \`current\`, and ${found}; name the right one: \`ln -s NUMBER ${join(options.folder, 'current')}\``,
    { cause: failure },
  )
}

/** The next number is whole, opened and read before one rename makes it current; until then the former one stands untouched. */
const succeed = (options: StoreOptions, from: { former: Opened; change: StoreChange }): Opened => {
  const { former, change } = from
  const number = former.number + 1
  const record = merge(former.record, change)
  const databaseKey = build(options, {
    number,
    seed: db => {
      saveConnection(db, record)
      passFactsOn(former.db, db, change.facts ?? {})
    },
  })
  let next: Opened | undefined
  try {
    next = openNumber({ ...options, databaseKey }, number)
    pointCurrent(options.folder, number)
    return next
  } catch (error) {
    next?.db.close()
    if (findCurrent(options.folder) !== number) shred(numberedFolder(options.folder, number))
    throw error
  }
}

/** Returns the new database key. Leaves nothing behind where it fails. */
const build = (options: StoreOptions, next: { number: number; seed: (db: Database) => void }): Buffer => {
  const { folder, storeKey } = options
  const { number, seed } = next
  const databaseKey = randomBytes(KEY_BYTES)
  const path = beginFolder(folder, number)
  try {
    writeDurably(join(path, 'key'), wrapDatabaseKey(storeKey, databaseKey), 0o600)
    createDatabase(join(path, 'store.db'), databaseKey.toString('hex'), { migrations: STORE_MIGRATIONS, seed })
    finishFolder(folder, number)
    return databaseKey
  } catch (error) {
    shred(path)
    throw error
  }
}

const seedFirst = (db: Database): void =>
  saveConnection(db, {
    generation: 0,
    // The moment in which its file was born: the store has no clock of its own.
    connection: { kind: 'disconnected', sinceMs: Math.floor(statSync(db.name).mtimeMs) },
    installations: [],
    keys: [],
  })
