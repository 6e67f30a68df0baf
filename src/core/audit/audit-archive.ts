// Where rows of the audit log go when there are many: files like the log itself, under its key, one after the other in its chain.

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { syncFolder } from '../../service/files.ts'
import { sizeBelow, sizesOf } from '../../service/sizes.ts'
import {
  type AuditRow,
  AUDIT_MIGRATIONS,
  assertFollows,
  type Drop,
  followRows,
  type Link,
  openRows,
  readRow,
  type StoredRow,
} from './audit-chain.ts'
import { makePrivateFolder } from '../store/folders.ts'
import { assertNotNewer, closingOnError, createDatabase, type Database, guard, openEncrypted } from '../store/sqlite.ts'

export type AuditArchive = ReturnType<typeof createAuditArchive>

export type ArchiveOptions = {
  /** `state/audit`: in it a folder for each log, in that files named by their first row, so that they sort. */
  readonly folder: string
  readonly databaseKey: string
  /** A file that has as many rows is full, */
  readonly rowsPerFile?: number
  /** and so is one that has as many bytes. */
  readonly bytesPerFile?: () => number
}

/** About 40 MB. */
const ROWS_PER_FILE = 100_000

export const createAuditArchive = (options: ArchiveOptions) => {
  const { databaseKey, rowsPerFile = ROWS_PER_FILE, bytesPerFile = () => Number.POSITIVE_INFINITY } = options
  const folder = join(options.folder, nameOfLog(databaseKey))
  let open: { first: number; file: ArchiveFile } | undefined

  const firsts = (): number[] =>
    existsSync(folder)
      ? readdirSync(folder)
          .flatMap(name => FILE.exec(name)?.[1] ?? [])
          .map(Number)
          .toSorted((a, b) => a - b)
      : []
  const pathOf = (first: number): string => join(folder, `${String(first).padStart(12, '0')}.db`)
  const fileAt = (first: number): ArchiveFile => {
    if (open?.first === first) return open.file
    open?.file.close()
    open = undefined
    const file = openFile(openEncrypted(pathOf(first), databaseKey))
    open = { first, file }
    return file
  }
  const begin = (from: Link): ArchiveFile => {
    makePrivateFolder(options.folder)
    makePrivateFolder(folder)
    // A file is not on the disk before the folders that lead to it are.
    for (const made of [options.folder, folder]) syncFolder(dirname(made))
    const path = pathOf(from.sequence + 1)
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(`${path}.new${suffix}`, { force: true })
    createDatabase(`${path}.new`, databaseKey, {
      migrations: AUDIT_MIGRATIONS,
      seed: db => void db.prepare('UPDATE anchor SET sequence = ?, hash = ?').run(from.sequence, from.hash),
    })
    renameSync(`${path}.new`, path)
    syncFolder(folder)
    return fileAt(from.sequence + 1)
  }
  const isFull = (file: ArchiveFile): boolean =>
    file.head().sequence - file.anchor().sequence >= rowsPerFile || file.bytes() >= bytesPerFile()
  /** The file that holds the row behind a place, or the first one after it. */
  const findBehind = (sequence: number): ArchiveFile | undefined => {
    const all = firsts()
    const holding = all.findLast(first => first <= sequence + 1)
    if (holding !== undefined && fileAt(holding).head().sequence > sequence) return fileAt(holding)
    const next = all.find(first => first > sequence + 1)
    return next === undefined ? undefined : fileAt(next)
  }

  return {
    /**
     * Durable on return. `from` is the place before the first row; rows that are here already are passed over. Throws `store-corrupt`
     * where one does not follow the row before it.
     */
    append(rows: readonly StoredRow[], from: Link): void {
      const last = firsts().at(-1)
      let file = last === undefined ? undefined : fileAt(last)
      const held = file?.head().sequence ?? 0
      const fresh: StoredRow[] = []
      let [before, at] = [from, from]
      for (const row of rows) {
        assertFollows(row, at)
        at = row
        if (row.sequence > held) fresh.push(row)
        else before = row
      }
      if (fresh.length === 0) return
      if (!file || file.head().hash !== before.hash || isFull(file)) file = begin(before)
      file.add(fresh)
    },
    /** As of the log; what was removed from the archive is left out. */
    list({ after, limit }: { after: number; limit: number }): readonly AuditRow[] {
      const found: AuditRow[] = []
      for (let at = after; found.length < limit; ) {
        const rows = findBehind(at)?.after(at, limit - found.length) ?? []
        const last = rows.at(-1)
        if (!last) break
        found.push(...rows.map(readRow))
        at = last.sequence
      }
      return found
    },
    /** The place before the first row that is held; undefined where none is. */
    anchor(): Link | undefined {
      const [first] = firsts()
      return first === undefined ? undefined : fileAt(first).anchor()
    },
    /** As of the log: throws `store-corrupt`, also where a file in the middle is gone. */
    check: (from: Link, limit: number, see?: (row: AuditRow) => void): Link =>
      followRows(findBehind(from.sequence)?.after(from.sequence, limit) ?? [], from, see),
    /** The rows of the oldest file; undefined while it is the only one, which is still written. */
    findOldest(): Drop | undefined {
      const [first, ...others] = firsts()
      return first === undefined || others.length === 0 ? undefined : { first, last: fileAt(first).head() }
    },
    /** Removes that file. */
    drop({ first }: Drop): void {
      if (open?.first === first) {
        open.file.close()
        open = undefined
      }
      for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(pathOf(first) + suffix, { force: true })
      syncFolder(folder)
    },
    /** On the disk. */
    bytes: () => sizeBelow(folder),
    close(): void {
      open?.file.close()
      open = undefined
    },
  }
}

/** A log that was begun anew has a key of its own, and cannot read what was kept of the one before it. */
const nameOfLog = (databaseKey: string): string =>
  createHash('sha256').update(`archive ${databaseKey}`).digest('hex').slice(0, 16)

const FILE = /^(\d{12})\.db$/

type ArchiveFile = ReturnType<typeof openFile>

const openFile = (db: Database) =>
  closingOnError(db, () => {
    assertNotNewer(db, AUDIT_MIGRATIONS)
    const rows = openRows(db)
    const add = db.transaction((fresh: readonly StoredRow[]) => fresh.forEach(rows.insert))
    return {
      ...rows,
      bytes: () => sizesOf(db.name).db,
      add: (fresh: readonly StoredRow[]): void => guard(db.name, () => add.immediate(fresh)),
      close: () => void db.close(),
    }
  })
