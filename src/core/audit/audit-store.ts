// The audit log: a hash chain in a database of its own, which outlives disable and restore.

import { randomBytes } from 'node:crypto'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { syncFolder, writeDurably } from '../../service/files.ts'
import type { Log } from '../../service/log.ts'
import { sizesOf } from '../../service/sizes.ts'
import {
  type AuditEvent,
  type AuditRow,
  AUDIT_MIGRATIONS,
  chainEvent,
  followRows,
  type Link,
  openRows,
  readRow,
  type StoredRow,
} from './audit-chain.ts'
import { makePrivateFolder, shred } from '../store/folders.ts'
import { KEY_BYTES, settleWrapped, wrapDatabaseKey } from '../store/keys.ts'
import {
  closingOnError,
  commitSoon,
  createDatabase,
  type Database,
  findFullDisk,
  guard,
  openDatabase,
} from '../store/sqlite.ts'

export type { AuditEvent, AuditRow, Link } from './audit-chain.ts'

export type AuditStore = ReturnType<typeof createAuditStore>

export type AuditOptions = {
  /** `state/audit.db`; its wrapped key stands beside it as `audit.key`. */
  readonly path: string
  readonly storeKey: Buffer
  /** For `unlock`: the database key from the recovery key. It is wrapped anew by the store key. */
  readonly databaseKey?: Buffer
  readonly log: Log
}

/**
 * Opens the log, or begins it where neither file stands. Where only one of the two is left, someone removed the other: `store-corrupt`.
 * Throws `wrong-store-key`, `store-newer`, `disk-full`, `io` besides.
 */
export const openAudit = (options: AuditOptions): AuditStore =>
  guard(options.path, () => {
    const databaseKey = options.databaseKey ?? readKey(options)
    const db = openDatabase(options.path, databaseKey.toString('hex'), AUDIT_MIGRATIONS)
    return closingOnError(db, () => {
      if (options.databaseKey !== undefined) {
        // Only now that it has opened the log.
        writeDurably(keyPath(options.path), wrapDatabaseKey(options.storeKey, databaseKey), 0o600)
      }
      return createAuditStore(db, databaseKey)
    })
  })

const createAuditStore = (db: Database, databaseKey: Buffer) => {
  const { anchor, head, after, insert } = openRows(db)
  const removeTo = db.prepare<[number]>('DELETE FROM events WHERE sequence <= ?')
  const moveAnchor = db.prepare<[number, string]>('UPDATE anchor SET sequence = ?, hash = ?')

  // The head is read within the transaction, so that two writers cannot fork the chain.
  const insertAll = db.transaction((events: readonly AuditEvent[]): StoredRow[] => {
    let at = head()
    return events.map(event => {
      const row = chainEvent(event, at)
      insert(row)
      at = row
      return row
    })
  })
  const unavailable = (error: unknown): Failure => {
    const { code, message, next } = asFailure(error)
    return new Failure('audit-unavailable', `${db.name} cannot be written: ${message}`, {
      cause: error,
      next: code === 'disk-full' ? next : undefined,
    })
  }
  const appendAll = (events: readonly AuditEvent[]): readonly AuditRow[] => {
    try {
      return guard(db.name, () => insertAll.immediate(events)).map(readRow)
    } catch (error) {
      throw unavailable(error)
    }
  }
  const removeRows = db.transaction((link: Link): number => {
    const { changes } = removeTo.run(link.sequence)
    moveAnchor.run(link.sequence, link.hash)
    return changes
  })

  return {
    /** Durable on return. Throws `audit-unavailable`. */
    append(event: AuditEvent): AuditRow {
      const [row] = appendAll([event])
      if (row === undefined) throw new Failure('internal', 'a row was appended, and there is none')
      return row
    },
    /** All of them or none, in one write to the disk. */
    appendAll,
    /** The same, and the event loop does not wait: they are durable when `durable` resolves. It rejects with `audit-unavailable`, too. */
    appendSoon(events: readonly AuditEvent[]): { rows: readonly AuditRow[]; durable: Promise<void> } {
      try {
        const { result, durable } = commitSoon(db, () => insertAll.immediate(events))
        return { rows: result.map(readRow), durable: durable.catch(error => Promise.reject(unavailable(error))) }
      } catch (error) {
        throw unavailable(error)
      }
    },
    /** `disk-full` where no space is left for it. */
    findFullDisk: () => findFullDisk(db.name),
    /** Rows with a higher sequence than `after`, oldest first. */
    list: ({ after: sequence = 0, limit }: { after?: number; limit: number }): readonly AuditRow[] =>
      after(sequence, limit).map(readRow),
    /**
     * Throws `store-corrupt` naming the first row that was changed, removed or reordered. Returns the number of rows and the last hash.
     * A tail that was cut off shows only where the journal's copies are compared with the rows.
     */
    verify: (): { rows: number; lastHash: string } => {
      const from = anchor()
      const { sequence, hash } = followRows(after(from.sequence, ALL), from)
      return { rows: sequence - from.sequence, lastHash: hash }
    },
    /**
     * The same for at most `limit` rows behind `from`: returns the place of the last one, and `from` where there are no more. `see` is
     * called with each.
     */
    check: (from: Link, limit: number, see?: (row: AuditRow) => void): Link =>
      followRows(after(from.sequence, limit), from, see),
    /** The last row's place in the chain; sequence 0 where there was none yet. */
    head,
    /** The place before the first row that stands here: of the last one that was moved out, or sequence 0. */
    anchor,
    /**
     * Hands the oldest rows, `limit` at most and none of the newest `keep`, to `moveOut` with the place before them, then removes them; the
     * chain continues from the last of them. Where `moveOut` throws, the rows stay; after a kill it may be given rows again.
     * Returns how many were removed: 0 where none is left to move.
     */
    rotate: ({ keep, limit, moveOut }: Rotation): number =>
      guard(db.name, () => {
        const from = anchor()
        const rows = after(from.sequence, Math.max(0, Math.min(limit, head().sequence - keep - from.sequence)))
        const end = rows.at(-1)
        if (end === undefined) return 0
        moveOut(rows, from)
        return removeRows.immediate(end)
      }),
    /** On the disk. */
    bytes: (): { readonly db: number; readonly wal: number } => sizesOf(db.name),
    /** The database key in hexadecimal: for the recovery key, by which alone the log is read where the store key is lost. */
    databaseKey: () => databaseKey.toString('hex'),
    close: () => void db.close(),
  }
}

/** SQLite's word for no limit. */
const ALL = -1

type Rotation = { keep: number; limit: number; moveOut: (rows: readonly StoredRow[], from: Link) => void }

const keyPath = (path: string): string => path.replace(/(\.db)?$/, '.key')

/** The key of the log. Begins the log where there is none. */
const readKey = (options: AuditOptions): Buffer => {
  const { path, storeKey, log } = options
  const paths = { key: keyPath(path), unfinished: `${path}.new` }
  if (!existsSync(paths.key)) {
    if (existsSync(path))
      throw new Failure('store-corrupt', `${paths.key} is gone, and ${path} cannot be read without it`)
    begin(options, paths)
    log.info('began an audit log', { path })
  }
  const databaseKey = settleWrapped(storeKey, paths.key)
  if (!existsSync(path)) {
    if (!existsSync(paths.unfinished)) throw new Failure('store-corrupt', `${path} is gone, and ${paths.key} is not`)
    renameSync(paths.unfinished, path)
    syncFolder(dirname(path))
  }
  return databaseKey
}

/** The database is whole beside its place before its key stands; with the key the log has begun, and any start finishes it. */
const begin = (options: AuditOptions, paths: { key: string; unfinished: string }): void => {
  makePrivateFolder(dirname(options.path))
  const databaseKey = randomBytes(KEY_BYTES)
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(paths.unfinished + suffix, { force: true })
  try {
    createDatabase(paths.unfinished, databaseKey.toString('hex'), { migrations: AUDIT_MIGRATIONS })
    writeDurably(paths.key, wrapDatabaseKey(options.storeKey, databaseKey), 0o600)
  } catch (error) {
    if (!existsSync(paths.key)) shred(paths.unfinished)
    throw error
  }
}
