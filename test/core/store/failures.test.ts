// What SQLite and the disk say, named: one code for each, with the path; and how each connection is set before anything goes wrong.

import fs, { readFileSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { default as Sqlite } from 'better-sqlite3'
import test from 'ava'
import type { Code } from '../../../src/protocol/errors.ts'
import { checkPages, createEncrypted, findFullDisk, guard, openEncrypted } from '../../../src/core/store/sqlite.ts'
import { codeOf, failureOf, makeState, modeOf, openFilesBelow } from './samples.ts'

const KEY = 'a1'.repeat(32)

const NAMES: readonly [says: string, code: Code, message: RegExp][] = [
  ['SQLITE_NOTADB', 'store-corrupt', /^a page of PATH fails its check$/],
  ['SQLITE_CORRUPT', 'store-corrupt', /^a page of PATH fails its check$/],
  ['SQLITE_CORRUPT_VTAB', 'store-corrupt', /^a page of PATH fails its check$/],
  ['SQLITE_IOERR_SHORT_READ', 'store-corrupt', /^PATH is cut short$/],
  ['SQLITE_FULL', 'disk-full', /^no space is left for PATH$/],
  ['SQLITE_BUSY', 'state-in-use', /^another process is writing to PATH$/],
  ['SQLITE_BUSY_SNAPSHOT', 'state-in-use', /^another process is writing to PATH$/],
  ['SQLITE_LOCKED', 'state-in-use', /^another process is writing to PATH$/],
  ['SQLITE_PROTOCOL', 'state-in-use', /^another process is writing to PATH$/],
  ['SQLITE_IOERR_FSYNC', 'io', /^PATH: words of SQLite$/],
  ['SQLITE_READONLY_DBMOVED', 'io', /^PATH: words of SQLite$/],
  ['SQLITE_CANTOPEN', 'io', /^PATH: words of SQLite$/],
  ['SQLITE_PERM', 'io', /^PATH: words of SQLite$/],
  ['SQLITE_NOLFS', 'io', /^PATH: words of SQLite$/],
  ['SQLITE_CONSTRAINT_UNIQUE', 'internal', /^unexpected error$/],
]

test('each error of SQLite has its code, names the file and keeps what SQLite said', t => {
  const path = join(makeState(t), 'x.db')
  for (const [says, code, message] of NAMES) {
    const cause = new Sqlite.SqliteError('words of SQLite', says)
    const failure = failureOf(() =>
      guard(path, () => {
        throw cause
      }),
    )
    t.is(failure?.code, code, says)
    t.regex(failure?.message.replace(path, 'PATH') ?? '', message, says)
    t.is(failure?.cause, cause, says)
  }
  const full = failureOf(() =>
    guard(path, () => {
      throw new Sqlite.SqliteError('full', 'SQLITE_FULL')
    }),
  )
  t.true(full?.next.includes(`\`df -h ${join(path, '..')}\``), 'the file system to look at is named')
  t.is(
    guard(path, () => 7),
    7,
  )
})

/** As if the file system had so many free blocks of that size. */
const withFreeBlocks = <T>(blocks: { bavail: number; bsize: number }, work: () => T): T => {
  const { statfsSync } = fs
  Object.assign(fs, { statfsSync: () => blocks })
  syncBuiltinESMExports()
  try {
    return work()
  } finally {
    Object.assign(fs, { statfsSync })
    syncBuiltinESMExports()
  }
}

test('a disk is full where fewer than 64 KiB are left, however large its blocks are; then a failed write is for want of space', t => {
  const path = join(makeState(t), 'x.db')
  const failWriting = () =>
    guard(path, () => {
      throw new Sqlite.SqliteError('words of SQLite', 'SQLITE_IOERR_WRITE')
    })
  for (const [bavail, bsize, isFull] of [
    [0, 4096, true],
    [15, 4096, true],
    [16, 4096, false],
    // 200 MB
    [51_200, 4096, false],
    [65_535, 1, true],
    [1, 65_536, false],
  ] as const)
    withFreeBlocks({ bavail, bsize }, () => {
      const place = `${bavail} blocks of ${bsize}`
      t.is(codeOf(failWriting), isFull ? 'disk-full' : 'io', place)
      t.is(findFullDisk(path)?.code, isFull ? 'disk-full' : undefined, place)
    })
})

test('a new database is made over nothing that stands there, and it is for its owner alone', t => {
  const path = join(makeState(t), 'x.db')
  writeFileSync(path, 'something else')
  t.is(
    codeOf(() => createEncrypted(path, KEY)),
    'io',
  )
  t.is(readFileSync(path, 'utf8'), 'something else')
  const umask = process.umask(0)
  t.teardown(() => void process.umask(umask))
  createEncrypted(`${path}.other`, KEY).close()
  process.umask(umask)
  t.is(modeOf(`${path}.other`), '600')
})

test('a database without a table is a damaged one, and what could not be opened is not held open', t => {
  const folder = makeState(t)
  const path = join(folder, 'x.db')
  createEncrypted(path, KEY).close()
  for (const open of [openEncrypted]) {
    t.regex(failureOf(() => open(path, KEY))?.message ?? '', /x\.db holds no tables$/)
    t.is(
      codeOf(() => open(path, 'b2'.repeat(32))),
      'store-corrupt',
    )
    t.is(
      codeOf(() => open(path, KEY.toUpperCase())),
      'internal',
    )
  }
  t.deepEqual(openFilesBelow(folder), [])
})

test('rows that break the schema are found, though each page is whole', t => {
  const path = join(makeState(t), 'x.db')
  const made = createEncrypted(path, KEY)
  made.exec('CREATE TABLE x (y); INSERT INTO x VALUES (NULL)')
  t.notThrows(() => checkPages(made))
  made.unsafeMode(true)
  made.exec(`PRAGMA writable_schema = on; UPDATE sqlite_master SET sql = 'CREATE TABLE x (y NOT NULL)'`)
  made.close()
  const db = openEncrypted(path, KEY)
  const failure = failureOf(() => checkPages(db))
  db.close()
  t.is(failure?.code, 'store-corrupt')
  t.regex(failure?.message ?? '', /x\.db: NULL value in x\.y$/)
})

test('each connection waits five seconds for another one that writes, and who reads trusts nothing of the schema either', t => {
  const path = join(makeState(t), 'x.db')
  const made = createEncrypted(path, KEY)
  made.exec('CREATE TABLE x (y)')
  const reading = openEncrypted(path, KEY, { readonly: true })
  for (const db of [made, openEncrypted(path, KEY), reading]) {
    t.is(db.pragma('busy_timeout', { simple: true }), 5_000)
    t.is(db.pragma('trusted_schema', { simple: true }), 0)
    db.close()
  }
})
