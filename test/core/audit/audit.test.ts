// The audit log as administrators see it: all rows over archive and log, in order, followed, proven; rotation loses none.

import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { isoTime, parseWith } from '../../../src/protocol/wire.ts'
import { AuditRowBody } from '../../../src/protocol/wire-policy.ts'
import { createAuditLog, MOVED_AT_ONCE } from '../../../src/core/audit/audit.ts'
import { createAuditArchive } from '../../../src/core/audit/audit-archive.ts'
import type { Link, StoredRow } from '../../../src/core/audit/audit-chain.ts'
import { openAudit } from '../../../src/core/audit/audit-store.ts'
import { openEncrypted } from '../../../src/core/store/sqlite.ts'
import { makeState, silentLog, STORE_KEY } from '../store/samples.ts'
import { codeOf, createFakeClock, createFakeLog, failureOf } from '../../support/fakes.ts'

const build = (
  t: ExecutionContext,
  options: { rows?: number; keptRows?: number; rowsPerFile?: number; state?: string; maxBytes?: number } = {},
) => {
  const { rows = 0, keptRows = 10, rowsPerFile = 25 } = options
  const state = options.state ?? makeState(t)
  const clock = { ...createFakeClock(), sleep: async (_ms: number) => {} }
  const disk: { maxBytes: number; freeBytes: number | undefined } = {
    maxBytes: options.maxBytes ?? Number.POSITIVE_INFINITY,
    freeBytes: Number.POSITIVE_INFINITY,
  }
  const log = createFakeLog()
  const auditStore = openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog })
  const folder = join(state, 'audit')
  const open = () => createAuditArchive({ folder, databaseKey: auditStore.databaseKey(), rowsPerFile })
  const archive = open()
  const auditLog = createAuditLog({
    auditStore,
    archive,
    clock,
    log,
    keptRows,
    maxBytes: () => disk.maxBytes,
    freeBytes: () => disk.freeBytes,
    record: event => void auditLog.store.append({ ...event, atMs: 0 }),
  })
  const append = (count: number): void => {
    const events = Array.from({ length: count }, (_, n) => ({ event: 'token.grant', atMs: n, scope: `scope ${n}` }))
    auditLog.store.appendAll(events)
  }
  append(rows)
  t.teardown(() => {
    auditLog.close()
    auditStore.close()
  })
  const files = () => {
    const [log1 = ''] = readdirSync(folder)
    return readdirSync(join(folder, log1))
      .filter(name => name.endsWith('.db'))
      .map(name => join(folder, log1, name))
  }
  return { state, clock, disk, log, auditStore, archive, auditLog, append, files, folder }
}
const numbers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

test('what is more than the log holds moves to the archive, and all of it is read as one', async t => {
  const { auditLog, append, auditStore, files } = build(t, { rows: 60 })
  const before = auditLog.read({ after: 0, limit: 1_000 })
  await auditLog.rotate()
  t.is(auditStore.anchor().sequence, 50)
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
  await auditLog.rotate()
  append(40)
  await auditLog.rotate()
  t.true(files().length > 1, 'a full file is followed by another')
  t.deepEqual(
    auditLog.read({ after: 0, limit: 1_000 }).map(row => row.sequence),
    numbers(1, 140),
  )
  t.like(await auditLog.verify(), { intact: true, first: 1, last: 140, last_hash: auditStore.head().hash })
  for (const file of files()) t.is(statSync(file).mode & 0o777, 0o600)
})

test('it rotates by itself, and what cannot be moved stays and is told', async t => {
  const { auditLog, clock, auditStore, folder, log } = build(t, { rows: 30 })
  await clock.advance(60_000)
  await auditLog.rotate()
  t.is(auditStore.anchor().sequence, 20)
  t.true(log.lines.some(line => line.level === 'info'))
  auditLog.close()
  rmSync(folder, { recursive: true })
  t.like(await auditLog.verify(), {
    intact: false,
    first: 21,
    last: 30,
    problem: 'rows 1 to 20 of the audit log are missing, and no row says that they were dropped',
  })
})

test('a kill between archive and removal leaves each row once', async t => {
  const { auditLog, auditStore, archive } = build(t, { rows: 30 })
  const killed = new Error('killed')
  const moveOut = (rows: readonly StoredRow[], from: Link): void => {
    archive.append(rows, from)
    throw killed
  }
  t.is(
    codeOf(() => auditStore.rotate({ keep: 10, limit: 20, moveOut })),
    'internal',
  )
  t.deepEqual(
    auditLog.read({ after: 0, limit: 100 }).map(row => row.sequence),
    numbers(1, 30),
  )
  t.like(await auditLog.verify(), { intact: true, first: 1, last: 30 })
  await auditLog.rotate()
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
    const { auditLog, auditStore, archive, files } = build(t, { rows: 30 })
    await auditLog.rotate()
    archive.close()
    const [file = ''] = files()
    const db = openEncrypted(file, auditStore.databaseKey())
    db.exec(sql)
    db.close()
    const verdict = await auditLog.verify()
    t.false(verdict.intact, sql)
    t.regex(verdict.problem ?? '', problem)
  }
})

test('many who ask at once share one time that the chain is followed, and whoever asks meanwhile hears of what changed since', async t => {
  const { auditLog, auditStore, state } = build(t, { rows: 30, keptRows: 1_000 })
  let times = 0
  const { check } = auditStore
  auditStore.check = (from, ...rest) => {
    times += Number(from.sequence === 0)
    return check(from, ...rest)
  }
  const first = auditLog.verify()
  await Promise.resolve()
  const db = openEncrypted(join(state, 'audit.db'), auditStore.databaseKey())
  db.exec("UPDATE events SET body = replace(body, 'grant', 'deny') WHERE sequence = 12")
  db.close()
  const others = await Promise.all(Array.from({ length: 40 }, () => auditLog.verify()))
  t.true((await first).intact)
  t.true(others.every(({ intact }) => !intact))
  t.is(times, 2)
})

test('a file of the archive that went from the middle is found, and one that went from the end', async t => {
  for (const which of [1, -1]) {
    const { auditLog, append, archive, files } = build(t, { rows: 60 })
    for (const _ of numbers(1, 3)) {
      await auditLog.rotate()
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

test('a row that was changed before it was moved does not get into the archive', async t => {
  const { auditLog, auditStore, state, log } = build(t, { rows: 30 })
  const db = openEncrypted(join(state, 'audit.db'), auditStore.databaseKey())
  db.exec("UPDATE events SET body = replace(body, 'grant', 'deny') WHERE sequence = 7")
  db.close()
  await auditLog.rotate()
  t.is(auditStore.anchor().sequence, 0)
  t.true(log.lines.some(line => line.level === 'error'))
})

test('rows that come while the chain is followed, and a rotation, disturb nothing', async t => {
  const built = build(t, { rows: 600, keptRows: 300 })
  let steps = 0
  built.clock.sleep = async ms => {
    if (ms > 0) return
    steps += 1
    built.append(20)
    await built.auditLog.rotate()
    if (steps > 50) throw new Error('it does not end')
    if (steps === 3) built.append = () => {}
  }
  t.like(await built.auditLog.verify(), { intact: true, first: 1 })
})

test('a log that was begun anew leaves the archive of the former one alone', async t => {
  const first = build(t, { rows: 30 })
  await first.auditLog.rotate()
  first.auditLog.close()
  first.auditStore.close()
  rmSync(join(first.state, 'audit.db'))
  rmSync(join(first.state, 'audit.key'))
  const second = build(t, { state: first.state, rows: 30 })
  await second.auditLog.rotate()
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
  const { auditLog, auditStore } = build(t, { rows: 3 })
  auditStore.close()
  t.is(
    codeOf(() => auditLog.read({ limit: 1 })),
    'internal',
  )
})

test('a rotation moves a few rows a turn, and others run in between', async t => {
  const { auditLog, auditStore, clock, append } = build(t, { rows: 10 * MOVED_AT_ONCE, keptRows: 0 })
  const left: number[] = []
  let ofOthers = 0
  clock.sleep = async () => {
    left.push(auditStore.head().sequence - auditStore.anchor().sequence)
    ofOthers += 1
    if (ofOthers <= 3) append(1)
  }
  await Promise.all([auditLog.rotate(), auditLog.rotate()])
  const moved = left.map((rows, at) => (left[at - 1] ?? 10 * MOVED_AT_ONCE) - rows)
  t.true(Math.max(...moved) <= MOVED_AT_ONCE)
  t.is(left.at(-1), 0)
  t.like(await auditLog.verify(), { intact: true, first: 1, last: 10 * MOVED_AT_ONCE + 3 })
})

test('a log that is closed while it rotates ends the rotation, and the next one continues', async t => {
  const { auditLog, auditStore, clock } = build(t, { rows: 5 * MOVED_AT_ONCE, keptRows: 0 })
  clock.sleep = async () => auditLog.close()
  await auditLog.rotate()
  t.is(auditStore.anchor().sequence, MOVED_AT_ONCE)
  t.like(await auditLog.verify(), { intact: true, first: 1, last: 5 * MOVED_AT_ONCE })
})

/** Rotated so often that the archive has several files. */
const withArchive = async (t: ExecutionContext) => {
  const built = build(t, { rows: 20 })
  for (const _ of numbers(1, 5)) {
    built.append(40)
    await built.auditLog.rotate()
  }
  t.true(built.files().length >= 4)
  return built
}

test('beyond its limit the oldest files go, and the log says which rows they were', async t => {
  const { auditLog, archive, auditStore, disk, files } = await withArchive(t)
  const before = files().length
  const { db, wal } = auditStore.bytes()
  disk.maxBytes = db + wal + archive.bytes() - 1
  await auditLog.rotate()
  t.true(files().length < before)
  const verdict = await auditLog.verify()
  t.like(verdict, { intact: true, last: auditStore.head().sequence })
  const row = auditLog.read({ after: 0, limit: 1_000 }).findLast(({ event }) => event === 'audit.dropped')
  t.regex(row?.detail ?? '', new RegExp(`^rows \\d+ to ${verdict.first - 1}, the last one with hash [0-9a-f]{64}$`))
  disk.maxBytes = 0
  await auditLog.rotate()
  t.is(files().length, 1, 'the one that is being written stays')
  t.like(await auditLog.verify(), { intact: true, last: auditStore.head().sequence })
})

test('a row that says it and a file that is there still are no contradiction: the kill came in between', async t => {
  const { auditLog, archive, disk, files } = await withArchive(t)
  const before = files().length
  const { drop } = archive
  archive.drop = () => {
    throw new Error('killed')
  }
  disk.maxBytes = 0
  await auditLog.rotate()
  t.is(files().length, before)
  t.like(await auditLog.verify(), { intact: true, first: 1 })
  archive.drop = drop
  await auditLog.rotate()
  t.is(files().length, 1)
  t.true((await auditLog.verify()).intact)
})

test('rows that cannot be recorded as dropped are not dropped', async t => {
  const { auditLog, auditStore, disk, files, log, state } = await withArchive(t)
  const before = files()
  const db = openEncrypted(join(state, 'audit.db'), auditStore.databaseKey())
  db.exec("CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT raise(ABORT, 'refused'); END")
  db.close()
  disk.maxBytes = 0
  await auditLog.rotate()
  t.deepEqual(files(), before)
  t.true(log.lines.some(line => line.level === 'error'))
})

test('a file that somebody removed is no drop: not before the first drop, and not after it', async t => {
  for (const drops of [false, true]) {
    const { auditLog, archive, auditStore, disk, files } = await withArchive(t)
    if (drops) {
      const { db, wal } = auditStore.bytes()
      disk.maxBytes = db + wal + archive.bytes() - 1
      await auditLog.rotate()
    }
    t.true((await auditLog.verify()).intact)
    archive.close()
    rmSync(files()[0] ?? '')
    const verdict = await auditLog.verify()
    t.false(verdict.intact)
    t.regex(
      verdict.problem ?? '',
      /^rows 1 to \d+ of the audit log are missing, and no row says that they were dropped$/,
    )
  }
})

test('a drop while the chain is followed disturbs nothing', async t => {
  const { auditLog, clock, disk } = await withArchive(t)
  clock.sleep = async () => {
    clock.sleep = async () => {}
    disk.maxBytes = 0
    await auditLog.rotate()
  }
  t.true((await auditLog.verify()).intact)
})

test('on a disk that is nearly full the archive makes room, but keeps a quarter of what it may have', async t => {
  const { auditLog, archive, auditStore, disk, files } = await withArchive(t)
  const { db, wal } = auditStore.bytes()
  const all = db + wal + archive.bytes()
  disk.freeBytes = 1024 * 1024
  disk.maxBytes = 4 * all
  const before = files().length
  await auditLog.rotate()
  t.is(files().length, before, 'a quarter is kept')
  disk.maxBytes = 2 * all
  await auditLog.rotate()
  t.true(files().length < before)
  t.true((await auditLog.verify()).intact)
})

test('a log of large rows keeps fewer of them beside the archive', async t => {
  const { auditLog, auditStore, archive, disk } = build(t, { rows: 400, keptRows: 300 })
  archive.bytes = () => 0
  auditStore.bytes = () => ({ db: 1_000, wal: 0 })
  for (const [maxBytes, kept] of [
    [4_000, 300],
    [2_000, 150],
    [1_000, 75],
  ] as const) {
    disk.maxBytes = maxBytes
    await auditLog.rotate()
    t.is(auditStore.head().sequence - auditStore.anchor().sequence, kept)
  }
})

test('a row is told with all that it holds, and with nothing that it does not', t => {
  const { auditLog } = build(t)
  const some = { event: 'token.grant', profile: 'ci', scope: 'web', detail: 'some', count: 3 }
  auditLog.store.append({ ...some, atMs: 5, peer: { pid: 1, uid: 2, unit: 'a.service' }, hashedToken: 'abc=' })
  const { hash: first } = auditLog.store.head()
  auditLog.store.append({ event: 'token.deny', atMs: 6, peer: { pid: 1, uid: 0 } })
  const { hash: second } = auditLog.store.head()
  auditLog.store.append({ event: 'tokens.revoke', atMs: 7 })
  const { hash: third } = auditLog.store.head()
  const rows = auditLog.read({ after: 0, limit: 10 })
  t.deepEqual(rows, [
    { sequence: 1, at: isoTime(5), ...some, pid: 1, uid: 2, unit: 'a.service', hashed_token: 'abc=', hash: first },
    { sequence: 2, at: isoTime(6), event: 'token.deny', pid: 1, uid: 0, hash: second },
    { sequence: 3, at: isoTime(7), event: 'tokens.revoke', hash: third },
  ])
  for (const row of rows) t.notThrows(() => parseWith(AuditRowBody, row))
})

test('whoever follows is told of a row however it was written', async t => {
  const { auditLog } = build(t)
  const told: string[] = []
  auditLog.follow(({ sequence, event }) => void told.push(`${sequence} ${event}`))
  auditLog.store.append({ event: 'one', atMs: 1 })
  await auditLog.store.appendSoon([{ event: 'soon', atMs: 2 }]).durable
  auditLog.store.appendAll([{ event: 'of all', atMs: 3 }])
  t.deepEqual(told, ['1 one', '2 soon', '3 of all'])
})

test('the verdict on an empty log is that it is intact; a log that cannot be read has none', async t => {
  const { auditLog, auditStore, append } = build(t)
  t.deepEqual(await auditLog.verify(), { intact: true, first: 0, last: 0, last_hash: auditStore.head().hash })
  append(3)
  t.like(await auditLog.verify(), { first: 1, last: 3 })
  auditStore.close()
  t.is((await failureOf(auditLog.verify())).code, 'internal')
})

test('what moves and what is dropped is in the journal with its numbers, and a closed log has no timer', async t => {
  const { auditLog, append, disk, log, archive, auditStore, clock } = build(t, { rows: 60 })
  await auditLog.rotate()
  await auditLog.rotate()
  t.deepEqual(log.lines, [
    { level: 'info', message: 'old rows of the audit log were moved to the archive', fields: { rows: 50 } },
  ])
  append(60)
  await auditLog.rotate()
  const oldest = archive.findOldest()
  const { db, wal } = auditStore.bytes()
  disk.maxBytes = db + wal + archive.bytes() - 1
  disk.freeBytes = undefined
  await auditLog.rotate()
  const { first, last } = oldest ?? {}
  t.deepEqual(
    log.lines.find(({ message }) => message === 'the oldest rows of the audit log were dropped'),
    {
      level: 'info',
      message: 'the oldest rows of the audit log were dropped',
      fields: { first, last: last?.sequence },
    },
  )
  t.not(archive.findOldest()?.first, first)
  t.truthy(archive.findOldest(), 'where the free space cannot be told it is not taken for none')
  auditLog.close()
  t.is(clock.waiting(), 0)
})
