// The audit log: a hash chain in a database of its own, which outlives disable and restore.

import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { asFailure, Failure } from '../domain/errors.ts'
import { syncFolder, writeDurably } from '../platform/files.ts'
import type { Log } from '../platform/log.ts'
import {
  type AuditEvent,
  type AuditRow,
  assertFollows,
  chainEvent,
  type Link,
  readRow,
  type StoredRow,
} from './audit-chain.ts'
import { makePrivateFolder, shred } from './folders.ts'
import { KEY_BYTES, unwrapDatabaseKey, wrapDatabaseKey } from './key.ts'
import { assertNotNewer, AUDIT_MIGRATIONS, migrate } from './schema.ts'
import { checkPages, createEncrypted, type Database, guard, openEncrypted } from './sqlite.ts'

export type { AuditEvent, AuditRow, Link } from './audit-chain.ts'

export type AuditStore = {
  /** Durable on return. Throws `audit-unavailable`. */
  append(event: AuditEvent): AuditRow
  /** Rows with a higher sequence than `after`, oldest first. */
  list(options: { after?: number; limit: number }): readonly AuditRow[]
  /**
   * Throws `store-corrupt` naming the first row that was changed, removed or reordered. Returns the number of rows and the last hash.
   * A tail that was cut off shows only where the journal's copies are compared with the rows.
   */
  verify(): { rows: number; lastHash: string }
  /** The same for at most `limit` rows behind `from`: returns the place of the last one, and `from` where there are no more. */
  check(from: Link, limit: number): Link
  /** The last row's place in the chain; sequence 0 where there was none yet. */
  head(): Link
  /** The place before the first row that stands here: of the last one that was moved out, or sequence 0. */
  anchor(): Link
  /**
   * Keeps the newest `keep` rows. The others are handed to `moveOut`, oldest first, with the place before them, then removed; the
   * chain goes on from the last of them. Where `moveOut` throws, the rows it was given stay; after a kill it may be given rows again.
   * Returns how many were removed.
   */
  rotate(options: { keep: number; moveOut: (rows: readonly AuditRow[], from: Link) => void }): number
  /** The database key in hexadecimal: for the recovery key, by which alone the log is read where the store key is lost. */
  databaseKey(): string
  close(): void
}

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
    const db = openEncrypted(options.path, databaseKey.toString('hex'))
    try {
      assertNotNewer(db, AUDIT_MIGRATIONS)
      checkPages(db)
      migrate(db, AUDIT_MIGRATIONS)
      if (options.databaseKey !== undefined) {
        // Only now that it has opened the log.
        writeDurably(keyPath(options.path), wrapDatabaseKey(options.storeKey, databaseKey), 0o600)
      }
      return createAuditStore(db, databaseKey)
    } catch (error) {
      db.close()
      throw error
    }
  })

const createAuditStore = (db: Database, databaseKey: Buffer): AuditStore => {
  const last = db.prepare<[], Link>('SELECT sequence, hash FROM events ORDER BY sequence DESC LIMIT 1')
  const anchor = db.prepare<[], Link>('SELECT sequence, hash FROM anchor')
  const after = db.prepare<[number, number], StoredRow>(
    'SELECT sequence, body, hash FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?',
  )
  const all = db.prepare<[], StoredRow>('SELECT sequence, body, hash FROM events ORDER BY sequence')
  const insert = db.prepare<StoredRow>('INSERT INTO events VALUES (@sequence, @body, @hash)')
  const removeTo = db.prepare<[number]>('DELETE FROM events WHERE sequence <= ?')
  const moveAnchor = db.prepare<[number, string]>('UPDATE anchor SET sequence = ?, hash = ?')

  const getAnchor = (): Link => {
    const link = anchor.get()
    if (link === undefined) throw new Failure('store-corrupt', 'the anchor of the audit log is missing')
    return link
  }
  const head = (): Link => last.get() ?? getAnchor()
  // The head is read within the transaction, so that two writers cannot fork the chain.
  const append = db.transaction((event: AuditEvent): StoredRow => {
    const row = chainEvent(event, head())
    insert.run(row)
    return row
  })
  const removeRows = db.transaction((link: Link): number => {
    const { changes } = removeTo.run(link.sequence)
    moveAnchor.run(link.sequence, link.hash)
    return changes
  })

  return {
    append(event) {
      try {
        return readRow(guard(db.name, () => append.immediate(event)))
      } catch (error) {
        throw new Failure('audit-unavailable', `${db.name} cannot be written: ${asFailure(error).message}`, {
          cause: error,
        })
      }
    },
    list: ({ after: sequence = 0, limit }) => guard(db.name, () => after.all(sequence, limit).map(readRow)),
    verify: () =>
      guard(db.name, () => {
        let previous = getAnchor()
        let rows = 0
        for (const row of all.iterate()) {
          assertFollows(row, previous)
          previous = row
          rows += 1
        }
        return { rows, lastHash: previous.hash }
      }),
    check: (from, limit) =>
      guard(db.name, () => {
        let at = from
        for (const row of after.all(from.sequence, limit)) {
          assertFollows(row, at)
          at = { sequence: row.sequence, hash: row.hash }
        }
        return at
      }),
    head: () => guard(db.name, head),
    anchor: () => guard(db.name, getAnchor),
    rotate: ({ keep, moveOut }) =>
      guard(db.name, () => {
        const limit = head().sequence - keep
        let removed = 0
        for (;;) {
          const from = getAnchor()
          const rows = after.all(from.sequence, Math.max(0, Math.min(BATCH, limit - from.sequence)))
          const end = rows.at(-1)
          if (end === undefined) return removed
          moveOut(rows.map(readRow), from)
          removed += removeRows.immediate(end)
        }
      }),
    databaseKey: () => databaseKey.toString('hex'),
    close: () => void db.close(),
  }
}

const BATCH = 1_000

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
  const databaseKey = unwrapDatabaseKey(storeKey, readFileSync(paths.key), paths.key)
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
    const db = createEncrypted(paths.unfinished, databaseKey.toString('hex'))
    try {
      migrate(db, AUDIT_MIGRATIONS)
    } finally {
      db.close()
    }
    writeDurably(paths.key, wrapDatabaseKey(options.storeKey, databaseKey), 0o600)
  } catch (error) {
    if (!existsSync(paths.key)) shred(paths.unfinished)
    throw error
  }
}
