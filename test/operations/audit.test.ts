// The audit log as administrators see it: all rows over archive and log, in order, followed, proven; rotation loses none.

import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createAuditLog } from '../../src/operations/audit.ts'
import { createAuditArchive } from '../../src/store/audit-archive.ts'
import { openAudit } from '../../src/store/audit-store.ts'
import { openEncrypted } from '../../src/store/sqlite.ts'
import { makeState, silentLog, STORE_KEY } from '../store/samples.ts'
import { codeOf, createFakeClock, createFakeLog } from '../support/fakes.ts'

const build = (
  t: ExecutionContext,
  options: { rows?: number; keptRows?: number; rowsPerFile?: number; state?: string } = {},
) => {
  const { rows = 0, keptRows = 10, rowsPerFile = 25 } = options
  const state = options.state ?? makeState(t)
  const clock = { ...createFakeClock(), sleep: async () => {} }
  const log = createFakeLog()
  const audit = openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog })
  const folder = join(state, 'audit')
  const open = () => createAuditArchive({ folder, databaseKey: audit.databaseKey(), rowsPerFile })
  const archive = open()
  const auditLog = createAuditLog({ audit, archive, clock, log, keptRows })
  const append = (count: number): void => {
    for (let n = 0; n < count; n += 1) auditLog.store.append({ event: 'token.grant', atMs: n, scope: `scope ${n}` })
  }
  append(rows)
  t.teardown(() => {
    auditLog.close()
    audit.close()
  })
  const files = () => {
    const [log1 = ''] = readdirSync(folder)
    return readdirSync(join(folder, log1))
      .filter(name => name.endsWith('.db'))
      .map(name => join(folder, log1, name))
  }
  return { state, clock, log, audit, archive, auditLog, append, files, folder }
}
const numbers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

test('what is more than the log holds moves to the archive, and all of it is read as one', async t => {
  const { auditLog, append, audit, files } = build(t, { rows: 60 })
  const before = auditLog.read({ after: 0, limit: 1_000 })
  auditLog.rotate()
  t.is(audit.anchor().sequence, 50)
  t.deepEqual(auditLog.read({ after: 0, limit: 1_000 }), before)
  t.deepEqual(
    auditLog.read({ after: 47, limit: 6 }).map(row => row.sequence),
    numbers(48, 53),
  )
  t.deepEqual(
    auditLog.read({ limit: 15 }).map(row => row.sequence),
    numbers(46, 60),
  )
  append(40)
  auditLog.rotate()
  append(40)
  auditLog.rotate()
  t.true(files().length > 1, 'a full file is followed by another')
  t.deepEqual(
    auditLog.read({ after: 0, limit: 1_000 }).map(row => row.sequence),
    numbers(1, 140),
  )
  t.like(await auditLog.verify(), { intact: true, first: 1, last: 140, last_hash: audit.head().hash })
  for (const file of files()) t.is(statSync(file).mode & 0o777, 0o600)
})

test('it rotates by itself, and what cannot be moved stays and is told', async t => {
  const { auditLog, clock, audit, folder, log } = build(t, { rows: 30 })
  await clock.advance(10 * 60_000)
  t.is(audit.anchor().sequence, 20)
  t.true(log.lines.some(line => line.level === 'info'))
  auditLog.close()
  rmSync(folder, { recursive: true })
  t.like(
    await auditLog.verify(),
    { intact: true, first: 21, last: 30 },
    'what was removed from the archive is not held',
  )
})

test('a kill between archive and removal leaves each row once', async t => {
  const { auditLog, audit, archive } = build(t, { rows: 30 })
  const moved = audit.list({ limit: 20 })
  archive.append(moved, audit.anchor())
  t.deepEqual(
    auditLog.read({ after: 0, limit: 100 }).map(row => row.sequence),
    numbers(1, 30),
  )
  t.like(await auditLog.verify(), { intact: true, first: 1, last: 30 })
  auditLog.rotate()
  t.deepEqual(
    auditLog.read({ after: 0, limit: 100 }).map(row => row.sequence),
    numbers(1, 30),
  )
  t.like(await auditLog.verify(), { intact: true, first: 1, last: 30 })
})

test('whatever is changed, removed or put elsewhere is found, in the archive too', async t => {
  const changes: readonly [string, RegExp][] = [
    ["UPDATE events SET body = replace(body, 'grant', 'deny') WHERE sequence = 12", /row 12 .* was changed/],
    ['DELETE FROM events WHERE sequence = 12', /row 12 .* is missing/],
    ['DELETE FROM events WHERE sequence >= 20', /row 20 .* is missing/],
    ['UPDATE events SET sequence = -sequence WHERE sequence IN (12)', /row 12 .* is missing/],
    ["UPDATE anchor SET hash = 'ab'", /row 1 .* does not follow/],
  ]
  for (const [sql, problem] of changes) {
    const { auditLog, audit, archive, files } = build(t, { rows: 30 })
    auditLog.rotate()
    archive.close()
    const [file = ''] = files()
    const db = openEncrypted(file, audit.databaseKey())
    db.exec(sql)
    db.close()
    const verdict = await auditLog.verify()
    t.false(verdict.intact, sql)
    t.regex(verdict.problem ?? '', problem)
  }
})

test('a file of the archive that went from the middle is found, and one that went from the end', async t => {
  for (const which of [1, -1]) {
    const { auditLog, append, archive, files } = build(t, { rows: 60 })
    for (const _ of numbers(1, 3)) {
      auditLog.rotate()
      append(40)
    }
    archive.close()
    t.true(files().length >= 3)
    rmSync(files().toSorted().at(which) ?? '')
    const verdict = await auditLog.verify()
    t.false(verdict.intact)
    t.regex(verdict.problem ?? '', /row \d+ of the audit log is missing/)
  }
})

test('a row that was changed before it was moved does not get into the archive', t => {
  const { auditLog, audit, state, log } = build(t, { rows: 30 })
  const db = openEncrypted(join(state, 'audit.db'), audit.databaseKey())
  db.exec("UPDATE events SET body = replace(body, 'grant', 'deny') WHERE sequence = 7")
  db.close()
  auditLog.rotate()
  t.is(audit.anchor().sequence, 0)
  t.true(log.lines.some(line => line.level === 'error'))
})

test('rows that come while the chain is followed, and a rotation, disturb nothing', async t => {
  const built = build(t, { rows: 600, keptRows: 300 })
  let steps = 0
  built.clock.sleep = async () => {
    steps += 1
    built.append(20)
    built.auditLog.rotate()
    if (steps > 50) throw new Error('it does not end')
    if (steps === 3) built.append = () => {}
  }
  t.like(await built.auditLog.verify(), { intact: true, first: 1 })
})

test('a log that was begun anew leaves the archive of the former one alone', t => {
  const first = build(t, { rows: 30 })
  first.auditLog.rotate()
  first.auditLog.close()
  first.audit.close()
  rmSync(join(first.state, 'audit.db'))
  rmSync(join(first.state, 'audit.key'))
  const second = build(t, { state: first.state, rows: 30 })
  second.auditLog.rotate()
  t.deepEqual(
    second.auditLog.read({ after: 0, limit: 100 }).map(row => row.sequence),
    numbers(1, 30),
  )
  t.is(readdirSync(first.folder).length, 2)
})

test('whoever follows is told of each row, until he or the log ends', t => {
  const { auditLog, append } = build(t)
  const told: number[] = []
  let ended = 0
  const stop = auditLog.follow(row => void told.push(row.sequence))
  auditLog.follow(
    () => {},
    () => void (ended += 1),
  )
  append(3)
  stop()
  append(1)
  t.deepEqual(told, [1, 2, 3])
  auditLog.close()
  t.is(ended, 1)
})

test('reading from a log that is closed is an error, and no empty answer', t => {
  const { auditLog, audit } = build(t, { rows: 3 })
  audit.close()
  t.is(
    codeOf(() => auditLog.read({ limit: 1 })),
    'internal',
  )
})
