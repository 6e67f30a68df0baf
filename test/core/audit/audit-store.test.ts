// The audit log: durable, chained, and no row of it changed, removed or moved without being found.

import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import * as fc from 'fast-check'
import { canonicalJson } from '../../../src/protocol/canonical-json.ts'
import { type Link, readRow, type StoredRow } from '../../../src/core/audit/audit-chain.ts'
import { AUDIT_MIGRATIONS } from '../../../src/core/audit/audit-chain.ts'
import { type AuditEvent, type AuditRow, type AuditStore, openAudit } from '../../../src/core/audit/audit-store.ts'
import { type Database, openEncrypted } from '../../../src/core/store/sqlite.ts'
import { anyText, anyTimeMs } from '../store/arbitraries.ts'
import { createFakeLog } from '../../support/fakes.ts'
import {
  codeOf,
  digestsUnder,
  failureOf,
  makeState,
  modeOf,
  openFilesBelow,
  silentLog,
  STORE_KEY,
} from '../store/samples.ts'

const open = (state: string, more: { storeKey?: Buffer; databaseKey?: Buffer } = {}): AuditStore =>
  openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog, ...more })

const anyEvent: fc.Arbitrary<AuditEvent> = fc.record(
  {
    event: anyText,
    atMs: anyTimeMs,
    peer: fc.record(
      { pid: fc.nat(), uid: fc.nat(), unit: anyText },
      { requiredKeys: ['pid', 'uid'], noNullPrototype: true },
    ),
    profile: anyText,
    scope: anyText,
    hashedToken: anyText,
    detail: anyText,
    count: fc.nat(),
  },
  { requiredKeys: ['event', 'atMs'], noNullPrototype: true },
)

/** A log of `count` rows, and a second connection to its file for tampering. */
const makeLog = (state: string, count: number): { audit: AuditStore; db: Database } => {
  const audit = open(state)
  for (let i = 1; i <= count; i++) audit.append({ event: 'token.grant', atMs: i, scope: `scope ${i}` })
  return { audit, db: openEncrypted(join(state, 'audit.db'), audit.databaseKey()) }
}

test('any event is the same after a restart, and the chain holds', t => {
  const state = makeState(t)
  let rows = 0
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 5 }), events => {
      const audit = open(state)
      const appended = events.map(event => audit.append(event))
      audit.close()
      const again = open(state)
      const read = again.list({ after: rows, limit: 10 })
      rows += events.length
      t.deepEqual(read, appended)
      t.deepEqual(
        read,
        events.map((event, index) => ({
          ...event,
          sequence: rows - events.length + index + 1,
          hash: appended[index]!.hash,
        })),
      )
      t.deepEqual(again.verify(), { rows, lastHash: again.head().hash })
      t.is(again.head().sequence, rows)
      again.close()
    }),
    { numRuns: 30 },
  )
})

test('an empty log verifies, and its head is nothing', t => {
  const audit = open(makeState(t))
  t.deepEqual(audit.head(), { sequence: 0, hash: '0'.repeat(64) })
  t.deepEqual(audit.verify(), { rows: 0, lastHash: '0'.repeat(64) })
  t.deepEqual(audit.list({ limit: 10 }), [])
  audit.close()
})

test('rows are listed oldest first, after a sequence, up to a limit', t => {
  const { audit, db } = makeLog(makeState(t), 7)
  const sequences = (options: { after?: number; limit: number }) => audit.list(options).map(row => row.sequence)
  t.deepEqual(sequences({ limit: 3 }), [1, 2, 3])
  t.deepEqual(sequences({ after: 5, limit: 3 }), [6, 7])
  t.deepEqual(sequences({ after: 7, limit: 3 }), [])
  db.close()
  audit.close()
})

test('rotation hands the old rows over and keeps the chain', t => {
  const state = makeState(t)
  const { audit, db } = makeLog(state, 20)
  const before = audit.list({ limit: 100 })
  const moved: AuditRow[] = []
  const moveOut = (rows: readonly StoredRow[]): void => void moved.push(...rows.map(readRow))
  t.is(audit.rotate({ keep: 6, limit: 10, moveOut }), 10, 'no more than were asked for')
  t.is(audit.rotate({ keep: 6, limit: 10, moveOut }), 4)
  t.deepEqual([...moved, ...audit.list({ limit: 100 })], before)
  t.is(audit.verify().rows, 6)
  t.is(audit.rotate({ keep: 6, limit: 10, moveOut: () => t.fail() }), 0)
  t.is(audit.append({ event: 'later', atMs: 30 }).sequence, 21)
  // The first row after the anchor is guarded as any other.
  db.prepare('DELETE FROM events WHERE sequence = 15').run()
  t.regex(failureOf(() => audit.verify())?.message ?? '', /row 15 .* is missing/)
  t.is(audit.rotate({ keep: 0, limit: 10, moveOut: () => undefined }), 6)
  t.is(audit.head().sequence, 21)
  t.is(audit.append({ event: 'later', atMs: 31 }).sequence, 22)
  db.close()
  audit.close()
  const again = open(state)
  t.is(again.verify().rows, 1)
  again.close()
})

const refuseRows = (): never => {
  throw new Error('no room')
}

test('rows that could not be moved out stay', t => {
  const { audit, db } = makeLog(makeState(t), 5)
  t.is(
    codeOf(() => audit.rotate({ keep: 2, limit: 10, moveOut: refuseRows })),
    'internal',
  )
  t.is(audit.verify().rows, 5)
  db.close()
  audit.close()
})

test('what cannot be written is audit-unavailable, and the chain goes on after it', t => {
  const { audit, db } = makeLog(makeState(t), 2)
  db.exec(`CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT raise(ABORT, 'refused'); END`)
  t.is(
    codeOf(() => audit.append({ event: 'lost', atMs: 1 })),
    'audit-unavailable',
  )
  db.exec('DROP TRIGGER refuse')
  t.is(audit.append({ event: 'kept', atMs: 2 }).sequence, 3)
  audit.close()
  t.is(
    codeOf(() => audit.append({ event: 'closed', atMs: 1 })),
    'audit-unavailable',
  )
  db.close()
})

test('rows whose way to the disk fails are audit-unavailable, although they were written', async t => {
  const state = makeState(t)
  const audit = open(state)
  t.teardown(() => audit.close())
  const soon = () => audit.appendSoon([{ event: 'token.grant', atMs: 1 }])
  await t.notThrowsAsync(soon().durable)
  // What waits for the disk opens the log by its name, which now leads nowhere.
  const wal = join(state, 'audit.db-wal')
  renameSync(wal, `${wal}.aside`)
  symlinkSync(wal, wal)
  const { durable } = soon()
  await t.throwsAsync(durable, { code: 'audit-unavailable' })
  rmSync(wal)
  renameSync(`${wal}.aside`, wal)
  await t.notThrowsAsync(soon().durable)
  t.is(audit.verify().rows, 3)
})

test('two connections to one log cannot fork the chain', t => {
  const state = makeState(t)
  const [a, b] = [open(state), open(state)]
  for (let i = 0; i < 10; i++) (i % 3 === 0 ? a : b).append({ event: 'e', atMs: i })
  t.is(a.verify().rows, 10)
  a.close()
  b.close()
})

test('a wrong store key opens nothing; a log or a key that is gone is no new beginning', t => {
  const state = makeState(t)
  makeLog(state, 3).audit.close()
  const good = makeState(t)
  cpSync(state, good, { recursive: true })
  const before = digestsUnder(state)
  t.is(
    codeOf(() => open(state, { storeKey: randomBytes(32) })),
    'wrong-store-key',
  )
  t.deepEqual(digestsUnder(state), before)
  for (const name of ['audit.db', 'audit.key']) {
    rmSync(join(state, name))
    t.is(
      codeOf(() => open(state)),
      'store-corrupt',
      name,
    )
    t.false(existsSync(join(state, name)))
    cpSync(join(good, name), join(state, name))
  }
  const audit = open(state)
  t.is(audit.verify().rows, 3)
  audit.close()
})

test('a beginning that was killed is finished by the next start', t => {
  const state = makeState(t)
  open(state).close()
  // Killed after the key, before the rename.
  renameSync(join(state, 'audit.db'), join(state, 'audit.db.new'))
  open(state).close()
  t.false(existsSync(join(state, 'audit.db.new')))
  // Killed before the key.
  renameSync(join(state, 'audit.db'), join(state, 'audit.db.new'))
  rmSync(join(state, 'audit.key'))
  const audit = open(state)
  audit.append({ event: 'first', atMs: 1 })
  t.is(audit.verify().rows, 1)
  audit.close()
})

test('the database key opens a log whose store key is lost, and wraps it anew', t => {
  const state = makeState(t)
  const { audit, db } = makeLog(state, 3)
  const databaseKey = Buffer.from(audit.databaseKey(), 'hex')
  db.close()
  audit.close()
  const storeKey = randomBytes(32)
  t.is(
    codeOf(() => open(state, { storeKey, databaseKey: randomBytes(32) })),
    'store-corrupt',
  )
  open(state).close()
  open(state, { storeKey, databaseKey }).close()
  const again = open(state, { storeKey })
  t.is(again.verify().rows, 3)
  again.close()
})

test('canonical JSON does not depend on the order in which an object was made', t => {
  fc.assert(
    fc.property(fc.jsonValue(), value => {
      const turned = (inner: unknown): unknown =>
        Array.isArray(inner)
          ? inner.map(turned)
          : typeof inner === 'object' && inner !== null
            ? Object.fromEntries(
                Object.entries(inner)
                  .toReversed()
                  .map(([k, v]) => [k, turned(v)]),
              )
            : inner
      t.is(canonicalJson(turned(value)), canonicalJson(value))
      t.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)))
    }),
  )
})

test('rows are checked a page at a time from any place, and each is shown', t => {
  const { audit, db } = makeLog(makeState(t), 7)
  const seen: number[] = []
  const see = ({ sequence }: AuditRow): void => void seen.push(sequence)
  const third = audit.check(audit.anchor(), 3, see)
  t.is(third.sequence, 3)
  t.is(audit.list({ after: 2, limit: 1 })[0]?.hash, third.hash)
  t.deepEqual(audit.check(third, 100, see), audit.head())
  t.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7])
  t.deepEqual(audit.check(audit.head(), 3, see), audit.head(), 'behind the last one there is none')
  t.is(seen.length, 7)
  const other = { ...third, hash: 'ab'.repeat(32) }
  t.regex(failureOf(() => audit.check(other, 1))?.message ?? '', /row 4 .* does not follow the row before it/)
  db.prepare('DELETE FROM events WHERE sequence = 5').run()
  t.regex(failureOf(() => audit.check(third, 100, see))?.message ?? '', /row 5 .* is missing/)
  t.is(audit.check(third, 1).sequence, 4, 'no more rows are looked at than were asked for')
  db.close()
  audit.close()
})

test('the place before the first row moves with what was moved out, and outlives a restart', t => {
  const state = makeState(t)
  const { audit, db } = makeLog(state, 5)
  db.close()
  t.deepEqual(audit.anchor(), { sequence: 0, hash: '0'.repeat(64) })
  t.is(audit.rotate({ keep: 100, limit: 10, moveOut: () => t.fail() }), 0, 'fewer rows than are kept')
  const places: Link[] = []
  const moveOut = (_rows: readonly StoredRow[], from: Link): void => void places.push(from)
  audit.rotate({ keep: 3, limit: 10, moveOut })
  audit.rotate({ keep: 2, limit: 10, moveOut })
  t.deepEqual(
    places.map(({ sequence }) => sequence),
    [0, 2],
  )
  const anchor = audit.anchor()
  t.is(anchor.sequence, 3)
  audit.close()
  const again = open(state)
  t.deepEqual(again.anchor(), anchor)
  t.is(again.check(anchor, 10).sequence, 5)
  again.close()
})

test('of several events all are written or none, one behind the other', async t => {
  const { audit, db } = makeLog(makeState(t), 1)
  const three = ['one', 'two', 'three'].map((event, at) => ({ event, atMs: at }))
  db.exec(`CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.sequence = 3 BEGIN SELECT raise(ABORT, 'no'); END`)
  for (const append of [() => audit.appendAll(three), () => audit.appendSoon(three)])
    t.is(codeOf(append), 'audit-unavailable')
  t.is(audit.head().sequence, 1)
  db.exec('DROP TRIGGER refuse')
  db.close()
  const rows = audit.appendAll(three)
  const { rows: more, durable } = audit.appendSoon(three)
  await durable
  t.deepEqual(
    [...rows, ...more].map(({ event, sequence }) => [event, sequence]),
    [
      ['one', 2],
      ['two', 3],
      ['three', 4],
      ['one', 5],
      ['two', 6],
      ['three', 7],
    ],
  )
  t.deepEqual(audit.appendAll([]), [])
  t.deepEqual(audit.list({ after: 1, limit: 100 }), [...rows, ...more])
  t.is(audit.verify().rows, 7)
  audit.close()
})

test('what the log says of a write that failed names the file and what was wrong', t => {
  const state = makeState(t)
  const { audit, db } = makeLog(state, 1)
  db.exec(`CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT raise(ABORT, 'no'); END`)
  const failures = [
    failureOf(() => audit.append({ event: 'x', atMs: 1 })),
    failureOf(() => audit.appendSoon([{ event: 'x', atMs: 1 }])),
  ]
  for (const failure of failures) {
    t.is(failure?.message, `${join(state, 'audit.db')} cannot be written: unexpected error`)
    t.is<string | undefined, string | undefined>(failure?.next, failure?.entry.next)
    t.truthy(failure?.cause)
  }
  db.close()
  audit.close()
})

test('a log of a newer schema is left alone, and a log without its anchor is damaged', t => {
  const state = makeState(t)
  const { audit, db } = makeLog(state, 2)
  db.prepare('DELETE FROM events').run()
  db.prepare('DELETE FROM anchor').run()
  for (const work of [() => audit.anchor(), () => audit.head(), () => audit.verify()])
    t.regex(failureOf(work)?.message ?? '', /the anchor of the audit log is missing/)
  db.pragma(`user_version=${AUDIT_MIGRATIONS.length + 1}`)
  db.close()
  audit.close()
  const before = digestsUnder(state)
  t.is(
    codeOf(() => open(state)),
    'store-newer',
  )
  t.deepEqual(digestsUnder(state), before)
  t.deepEqual(openFilesBelow(state), [])
})

test('the log is begun once and that is told; its files are for their owner alone, also under a new store key', t => {
  const state = makeState(t)
  const log = createFakeLog()
  const path = join(state, 'audit.db')
  const umask = process.umask(0)
  t.teardown(() => void process.umask(umask))
  const first = openAudit({ path, storeKey: STORE_KEY, log })
  const databaseKey = Buffer.from(first.databaseKey(), 'hex')
  first.close()
  openAudit({ path, storeKey: randomBytes(32), databaseKey, log }).close()
  process.umask(umask)
  t.deepEqual(log.lines, [{ level: 'info', message: 'began an audit log', fields: { path } }])
  for (const name of ['audit.db', 'audit.key']) t.is(modeOf(join(state, name)), '600', name)
})

test('the write-ahead log stays short, so that no write has much to merge', t => {
  const { audit, db } = makeLog(makeState(t), 1)
  db.close()
  const detail = 'x'.repeat(20_000)
  for (let times = 0; times < 80; times++) void audit.appendSoon([{ event: 'large', atMs: times, detail }])
  const { db: size, wal } = audit.bytes()
  t.true(size > 400_000, `${size} bytes were merged`)
  t.true(wal > 0 && wal < 800_000, `the write-ahead log has ${wal} bytes`)
  audit.close()
})
