// The archive of the audit log: files one after the other in its chain, of which none is written past a gap or dropped while it is written.

import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createAuditArchive } from '../../src/store/audit-archive.ts'
import { chainEvent, type Link, type StoredRow } from '../../src/store/audit-chain.ts'
import { codeOf, makeState } from './samples.ts'

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

const setUp = (t: ExecutionContext, rowsPerFile: number) => {
  const databaseKey = 'a1'.repeat(32)
  const archive = createAuditArchive({ folder: join(makeState(t), 'audit'), databaseKey, rowsPerFile })
  t.teardown(() => archive.close())
  return archive
}

test('a page has as many rows as are asked for, over the ends of files', t => {
  const archive = setUp(t, 3)
  const rows = rowsBehind(BEGINNING, 10)
  let from = BEGINNING
  for (const row of rows) {
    archive.append([row], from)
    from = row
  }
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
