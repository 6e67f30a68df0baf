// The archive of the audit log: files one after the other in its chain, of which none is written past a gap or dropped while it is written.

import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type ArchiveOptions, type AuditArchive, createAuditArchive } from '../../../src/core/audit/audit-archive.ts'
import { chainEvent, type Link, type StoredRow } from '../../../src/core/audit/audit-chain.ts'
import { AUDIT_MIGRATIONS } from '../../../src/core/audit/audit-chain.ts'
import { openEncrypted } from '../../../src/core/store/sqlite.ts'
import { codeOf, makeState, modeOf, openFilesBelow } from '../store/samples.ts'

const BEGINNING: Link = { sequence: 0, hash: '0'.repeat(64) }
const rowsBehind = (from: Link, count: number): StoredRow[] => {
  const rows: StoredRow[] = []
  for (let at = from; rows.length < count; ) {
    const row = chainEvent({ event: 'token.grant', atMs: at.sequence }, at)
    rows.push(row)
    at = row
  }
  return rows
}

const databaseKey = 'a1'.repeat(32)

const setUp = (t: ExecutionContext, rowsPerFile: number) => inFolder(t, { rowsPerFile }).archive

/** The same, with the folder in which its files are once there is one. */
const inFolder = (t: ExecutionContext, options: Partial<ArchiveOptions>) => {
  const state = makeState(t)
  const folder = join(state, 'audit')
  const archive = createAuditArchive({ folder, databaseKey, ...options })
  t.teardown(() => archive.close())
  const filesIn = (): string => join(folder, readdirSync(folder)[0] ?? '')
  return { state, folder, archive, filesIn }
}
const FIRST = '000000000001.db'
const databasesIn = (folder: string): string[] => readdirSync(folder).filter(name => name.endsWith('.db'))

/** One after the other, from the beginning. */
const appendEach = (archive: AuditArchive, rows: readonly StoredRow[]): void => {
  let from = BEGINNING
  for (const row of rows) {
    archive.append([row], from)
    from = row
  }
}

test('a page has as many rows as are asked for, over the ends of files', t => {
  const archive = setUp(t, 3)
  const rows = rowsBehind(BEGINNING, 10)
  appendEach(archive, rows)
  for (let limit = 1; limit <= 12; limit++)
    for (let after = 0; after < 10; after++)
      t.deepEqual(
        archive.list({ after, limit }).map(({ sequence }) => sequence),
        rows.map(({ sequence }) => sequence).slice(after, after + limit),
        `${limit} after ${after}`,
      )
})

test('rows behind a gap begin a file of their own, so that what is before it can go alone', t => {
  const archive = setUp(t, 100)
  const rows = rowsBehind(BEGINNING, 9)
  archive.append(rows.slice(0, 3), BEGINNING)
  t.is(archive.findOldest(), undefined, 'the only file is still written')
  const [, , , , fifth] = rows
  if (!fifth) throw new Error('no fifth row')
  archive.append(rows.slice(5), fifth)
  t.is(
    codeOf(() => archive.check(BEGINNING, 3) && archive.check(rows[2] ?? BEGINNING, 3)),
    'store-corrupt',
    'the gap is told',
  )
  const oldest = archive.findOldest()
  t.like(oldest, { first: 1, last: { sequence: 3 } })
  if (oldest) archive.drop(oldest)
  t.deepEqual(archive.anchor(), { sequence: fifth.sequence, hash: fifth.hash })
  t.is(archive.check(fifth, 10).sequence, 9)
  t.is(archive.findOldest(), undefined)
})

test('rows that are there already are passed over, and what does not follow is refused', t => {
  const archive = setUp(t, 4)
  const rows = rowsBehind(BEGINNING, 6)
  archive.append(rows.slice(0, 3), BEGINNING)
  archive.append(rows, BEGINNING)
  archive.append(rows, BEGINNING)
  t.is(archive.check(BEGINNING, 100).sequence, 6)
  t.is(
    codeOf(() => archive.append(rows.slice(4), rows[2] ?? BEGINNING)),
    'store-corrupt',
  )
})

test('a file that has as many bytes as it may is full, and the next rows begin another one', t => {
  let most = Number.POSITIVE_INFINITY
  const { archive, filesIn } = inFolder(t, { bytesPerFile: () => most })
  const rows = rowsBehind(BEGINNING, 3)
  const [first, second] = rows
  if (!first || !second) throw new Error('no rows')
  archive.append([first], BEGINNING)
  archive.append([second], first)
  most = 4_096
  archive.append(rows.slice(2), second)
  t.deepEqual(databasesIn(filesIn()).toSorted(), [FIRST, '000000000003.db'])
  const seen: number[] = []
  let at: Link = BEGINNING
  for (let next = archive.check(at, 10, row => void seen.push(row.sequence)); next !== at; ) {
    at = next
    next = archive.check(at, 10, row => void seen.push(row.sequence))
  }
  t.deepEqual(seen, [1, 2, 3])
})

test('each file takes as many rows as it may, the first one and those behind it', t => {
  const { archive, filesIn } = inFolder(t, { rowsPerFile: 3 })
  appendEach(archive, rowsBehind(BEGINNING, 10))
  t.deepEqual(databasesIn(filesIn()).toSorted(), [FIRST, '000000000004.db', '000000000007.db', '000000000010.db'])
})

test('the bytes of an archive are those of its own files: what is kept of a former log does not count', t => {
  const { folder, archive } = inFolder(t, {})
  archive.append(rowsBehind(BEGINNING, 3), BEGINNING)
  const former = archive.bytes()
  const anew = createAuditArchive({ folder, databaseKey: 'b2'.repeat(32) })
  t.teardown(() => anew.close())
  t.is(anew.bytes(), 0)
  anew.append(rowsBehind(BEGINNING, 3), BEGINNING)
  t.is(anew.bytes(), former, 'as many as the same rows took before')
  t.is(archive.bytes(), former)
})

test('what a kill left of a file is made anew, and all is for its owner alone', t => {
  const { folder, archive, filesIn } = inFolder(t, { rowsPerFile: 1 })
  const [first, second] = rowsBehind(BEGINNING, 2)
  if (!first || !second) throw new Error('no rows')
  t.is(archive.anchor(), undefined)
  t.is(archive.bytes(), 0)
  t.deepEqual(archive.list({ after: 0, limit: 10 }), [])
  archive.append([], BEGINNING)
  archive.append([first], BEGINNING)
  for (const suffix of ['', '-wal', '-journal'])
    writeFileSync(join(filesIn(), `000000000002.db.new${suffix}`), 'half of it')
  writeFileSync(join(filesIn(), 'notes.db'), '')
  archive.append([second], first)
  archive.close()
  t.deepEqual(readdirSync(filesIn()).toSorted(), [FIRST, '000000000002.db', 'notes.db'])
  for (const path of [folder, filesIn()]) t.is(modeOf(path), '700', path)
  t.is(modeOf(join(filesIn(), FIRST)), '600')
  t.is(archive.check(BEGINNING, 10).sequence, 1)
  t.is(archive.check(first, 10).sequence, 2)
})

test('one file is open at a time, and one that is dropped leaves nothing', t => {
  const { state, archive, filesIn } = inFolder(t, { rowsPerFile: 1 })
  appendEach(archive, rowsBehind(BEGINNING, 3))
  const held = () => new Set(openFilesBelow(state).map(name => name.replace(/(?:-wal|-shm)$/, '')))
  archive.list({ after: 0, limit: 10 })
  t.is(held().size, 1)
  const before = archive.bytes()
  const oldest = archive.findOldest()
  t.like(oldest, { first: 1, last: { sequence: 1 } })
  if (oldest) archive.drop(oldest)
  t.deepEqual([...held()], [], 'it was the one that was looked at last')
  t.true(archive.bytes() < before)
  t.deepEqual(
    readdirSync(filesIn()).filter(name => name.startsWith('000000000001')),
    [],
  )
  t.is(archive.anchor()?.sequence, 1)
  archive.close()
  t.deepEqual([...held()], [])
})

test('a file of a newer schema is left alone and not held open, and one without its anchor is damaged', t => {
  const { state, archive, filesIn } = inFolder(t, {})
  const rows = rowsBehind(BEGINNING, 2)
  archive.append(rows, BEGINNING)
  const db = openEncrypted(join(filesIn(), FIRST), databaseKey)
  db.prepare('DELETE FROM anchor').run()
  t.is(
    codeOf(() => archive.anchor()),
    'store-corrupt',
  )
  archive.close()
  db.pragma(`user_version=${AUDIT_MIGRATIONS.length + 1}`)
  db.close()
  t.is(
    codeOf(() => archive.list({ after: 0, limit: 1 })),
    'store-newer',
  )
  t.deepEqual(openFilesBelow(state), [])
})
