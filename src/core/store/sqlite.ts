// The encrypted SQLite files: pragmas in their order, files born unreadable to others, errors named. Owns better-sqlite3.

import { closeSync, openSync, statfsSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { default as Sqlite } from 'better-sqlite3'
import { asFailure, Failure } from '../../protocol/errors.ts'

export type Database = Sqlite.Database

// better-sqlite3 asks Node's report which libc this is; by default the report looks up the name of each network address, too.
Object.assign(process.report, { excludeNetwork: true })

/** Makes a new file (0600 from its birth) and opens it. Throws where something stands there already. */
export const createEncrypted = (path: string, keyHex: string): Database =>
  guard(path, () => {
    closeSync(openSync(path, 'wx', 0o600))
    const db = unlock(new Sqlite(path, { fileMustExist: true }), keyHex)
    return closingOnError(db, () => {
      // No page is ever free, so that the check at open reads each of them. Has no effect once the file has a page.
      db.pragma('auto_vacuum=FULL')
      return configure(db)
    })
  })

/** Makes a new file with its tables and with what `seed` puts into them, and closes it. Throws as `createEncrypted`. */
export const createDatabase = (
  path: string,
  keyHex: string,
  { migrations, seed = () => {} }: { migrations: readonly Migration[]; seed?: (db: Database) => void },
): void => {
  const db = createEncrypted(path, keyHex)
  try {
    migrate(db, migrations)
    db.transaction(() => seed(db)).immediate()
  } finally {
    db.close()
  }
}

/**
 * Opens a file that exists and holds a schema; the caller closes it. The key is known to be the right one (it was unwrapped by AES-GCM), so
 * a first page that fails its check means damage. `readonly`, for exports: sees one state of the content, changes nothing.
 * Throws `store-corrupt`, `disk-full`, `state-in-use`, `io`.
 */
export const openEncrypted = (path: string, keyHex: string, { readonly = false } = {}): Database =>
  guard(path, () => {
    // SQLite takes an empty file for a new database; here it is a damaged one.
    const size = statSync(path, { throwIfNoEntry: false })?.size
    if (size === undefined) throw new Failure('store-corrupt', `${path} is gone`)
    if (size === 0) throw new Failure('store-corrupt', `${path} is empty`)
    const db = unlock(new Sqlite(path, { fileMustExist: true, readonly }), keyHex)
    return closingOnError(db, () => {
      // Reads the first page, which proves key and salt.
      const tables = db.prepare<[], number>('SELECT count(*) FROM sqlite_master').pluck().get()
      if (tables === 0) throw new Failure('store-corrupt', `${path} holds no tables`)
      return configure(db)
    })
  })

/** The same, checked and brought to the last version. Throws `store-newer` besides. */
export const openDatabase = (path: string, keyHex: string, migrations: readonly Migration[]): Database => {
  const db = openEncrypted(path, keyHex)
  return closingOnError(db, () => {
    assertNotNewer(db, migrations)
    checkPages(db)
    migrate(db, migrations)
    return db
  })
}

/** A step makes version n+1 of version n, counted in SQLite's user_version. Steps that were released are never changed. */
export type Migration = (db: Database) => void

/** Throws `store-newer` where a newer program wrote the file; nothing was written then. */
export const assertNotNewer = (db: Database, migrations: readonly Migration[]): void => {
  const version = versionOf(db)
  if (version > migrations.length) {
    throw new Failure(
      'store-newer',
      `${db.name} has schema ${version}, and this program knows schemas up to ${migrations.length}`,
    )
  }
}

/** Brings the file to the last version, each step in one transaction: a step that fails leaves the version before it. */
export const migrate = (db: Database, migrations: readonly Migration[]): void => {
  assertNotNewer(db, migrations)
  for (const [index, step] of migrations.entries()) {
    if (index < versionOf(db)) continue
    db.transaction(() => {
      step(db)
      db.pragma(`user_version=${index + 1}`)
    }).immediate()
  }
}

const versionOf = (db: Database): number => Number(db.pragma('user_version', { simple: true }))

/**
 * Reads all pages, and so checks the HMAC of each. Throws `store-corrupt`. Above `CHECK_LIMIT_BYTES` it does nothing: SQLite
 * checks each page anyway when it reads it, and start-up must not wait for pages that nobody asks for.
 */
export const checkPages = (db: Database, limitBytes: number = CHECK_LIMIT_BYTES): void =>
  guard(db.name, () => {
    if (statSync(db.name).size > limitBytes) return
    const answer = db.pragma('quick_check(1)', { simple: true })
    if (answer !== 'ok') throw new Failure('store-corrupt', `${db.name}: ${String(answer).replaceAll('\n', ' ')}`)
  })

/** Takes about 25 ms; 10,000 tokens are within it. */
export const CHECK_LIMIT_BYTES = 8 * 1024 * 1024

/** Runs `work`, and names what it throws. Errors of the disk and of SQLite become Failures. */
export const guard = <T>(path: string, work: () => T): T => {
  try {
    return work()
  } catch (error) {
    throw toFailure(path, error)
  }
}

/** Merges the write-ahead log a tenth as much at a time, ten times as often: no write holds the event loop for long. */
export const keepLogShort = (db: Database): void => void db.pragma('wal_autocheckpoint=100')

/**
 * Runs `write`, one transaction, and leaves the wait for the disk to a thread: the event loop goes on. `durable` resolves when the commit
 * is on the disk, and rejects with `disk-full` or `io` where it may not be. Every other commit waits itself, and takes these along.
 */
export const commitSoon = <T>(db: Database, write: () => T): { result: T; durable: Promise<void> } => {
  db.pragma('synchronous=NORMAL')
  try {
    return { result: guard(db.name, write), durable: syncLog(db.name) }
  } finally {
    db.pragma('synchronous=FULL')
  }
}

/** The log is one file as long as the database is open; no lock hangs on it, so that opening it once more ends none. */
const syncLog = async (path: string): Promise<void> => {
  try {
    const log = await open(`${path}-wal`)
    try {
      await log.datasync()
    } finally {
      await log.close()
    }
  } catch (error) {
    // The database was closed meanwhile, which merges the log, synced, before it removes it.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
    throw toFailure(path, error)
  }
}

const BUSY_MS = 5_000
const HEX_KEY = /^[0-9a-f]{64}$/

const unlock = (db: Database, keyHex: string): Database =>
  closingOnError(db, () => {
    if (!HEX_KEY.test(keyHex)) throw new Failure('internal', 'a database key has 64 hexadecimal digits')
    db.pragma(`cipher='sqlcipher'`)
    // Without it bytes 16-23 of the file stay clear, and no stock sqlcipher reads it.
    db.pragma('legacy=4')
    db.pragma(`key="x'${keyHex}'"`)
    return db
  })

const configure = (db: Database): Database => {
  db.pragma('trusted_schema=off')
  db.pragma(`busy_timeout=${BUSY_MS}`)
  if (db.readonly) return db
  db.pragma('journal_mode=WAL')
  db.pragma('synchronous=FULL')
  // SQLite is built with 16 MB for each file; what is read again is little.
  db.pragma('cache_size=-2000')
  db.pragma('temp_store=2')
  db.pragma('foreign_keys=on')
  // What is removed (a retired key, an expired token) is overwritten, even though it is encrypted.
  db.pragma('secure_delete=on')
  return db
}

/** Runs `work`, and closes the database where it throws. */
export const closingOnError = <T>(db: Database, work: () => T): T => {
  try {
    return work()
  } catch (error) {
    db.close()
    throw error
  }
}

const toFailure = (path: string, error: unknown): Failure => {
  if (!(error instanceof Sqlite.SqliteError)) return asFailure(error)
  const { code } = error
  if (code === 'SQLITE_NOTADB' || code.startsWith('SQLITE_CORRUPT')) {
    return new Failure('store-corrupt', `a page of ${path} fails its check`, { cause: error })
  }
  // Before the disk is looked at: it may be full as well.
  if (code === 'SQLITE_IOERR_SHORT_READ') {
    return new Failure('store-corrupt', `${path} is cut short`, { cause: error })
  }
  if (code === 'SQLITE_FULL' || (code.startsWith('SQLITE_IOERR') && isFull(path))) {
    return noSpace(path, error)
  }
  if (/^SQLITE_(BUSY|LOCKED|PROTOCOL)/.test(code)) {
    return new Failure('state-in-use', `another process is writing to ${path}`, { cause: error })
  }
  if (/^SQLITE_(IOERR|READONLY|CANTOPEN|PERM|NOLFS)/.test(code)) {
    return new Failure('io', `${path}: ${error.message}`, { cause: error })
  }
  return asFailure(error)
}

/** The file system of this file is as good as full. */
export const findFullDisk = (path: string): Failure | undefined => (isFull(path) ? noSpace(path) : undefined)

const noSpace = (path: string, cause?: unknown): Failure =>
  new Failure('disk-full', `no space is left for ${path}`, {
    next: `Free some space: \`df -h ${dirname(path)}\` shows the file system. Nothing was changed. A store that could not be opened is tried again every 15 seconds.`,
    ...(cause !== undefined && { cause }),
  })

/** SQLite says SQLITE_FULL of ENOSPC when it writes, but SQLITE_IOERR where a quota ends or the -shm file cannot grow. */
const isFull = (path: string): boolean => {
  try {
    const { bavail, bsize } = statfsSync(dirname(path))
    return bavail * bsize < 64 * 1024
  } catch {
    return false
  }
}
