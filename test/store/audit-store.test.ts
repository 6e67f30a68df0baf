// The audit log: durable, chained, and no row of it changed, removed or moved without being found.

import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import * as fc from 'fast-check'
import { canonicalJson } from '../../src/domain/canonical-json.ts'
import { readRow, type StoredRow } from '../../src/store/audit-chain.ts'
import { type AuditEvent, type AuditRow, type AuditStore, openAudit } from '../../src/store/audit-store.ts'
import { type Database, openEncrypted } from '../../src/store/sqlite.ts'
import { anyText, anyTimeMs } from './arbitraries.ts'
import { codeOf, digestsUnder, failureOf, makeState, silentLog, STORE_KEY } from './samples.ts'

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
