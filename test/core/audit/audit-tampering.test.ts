// What someone with the key of the database does to the rows of the audit log, and how verify finds it.

import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import * as fc from 'fast-check'
import { assertFollows, chainEvent, readRow } from '../../../src/core/audit/audit-chain.ts'
import { type AuditStore, openAudit } from '../../../src/core/audit/audit-store.ts'
import { type Database, openEncrypted } from '../../../src/core/store/sqlite.ts'
import { codeOf, failureOf, makeState, randomFrom, silentLog, STORE_KEY } from '../store/samples.ts'

const open = (state: string): AuditStore =>
  openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog })

/** A log of `count` rows, and a second connection to its file for tampering. */
const makeLog = (state: string, count: number): { audit: AuditStore; db: Database } => {
  const audit = open(state)
  for (let i = 1; i <= count; i++) audit.append({ event: 'token.grant', atMs: i, scope: `scope ${i}` })
  return { audit, db: openEncrypted(join(state, 'audit.db'), audit.databaseKey()) }
}

type Stored = { sequence: number; body: string; hash: string }

/** What someone with the key of the database may do to the rows. */
const tampering: fc.Arbitrary<{ name: string; apply: (rows: Stored[], at: number) => Stored[] }> = fc.constantFrom(
  {
    name: 'a changed body',
    apply: (rows, at) => rows.with(at, { ...rows[at]!, body: rows[at]!.body.replace('grant', 'deny') }),
  },
  { name: 'a changed hash', apply: (rows, at) => rows.with(at, { ...rows[at]!, hash: 'ab'.repeat(32) }) },
  {
    name: 'a changed body with its right hash',
    apply: (rows, at) => rows.with(at, rehash({ ...rows[at]!, body: rows[at]!.body.replace('grant', 'deny') })),
  },
  { name: 'a removed row', apply: (rows, at) => rows.toSpliced(at, 1) },
  {
    name: 'a removed row, with those after it moved up',
    apply: (rows, at) => rows.toSpliced(at, 1).map((row, index) => ({ ...row, sequence: index + 1 })),
  },
  {
    name: 'two rows that changed places',
    apply: (rows, at) =>
      rows.with(at, { ...rows[at + 1]!, sequence: at + 1 }).with(at + 1, { ...rows[at]!, sequence: at + 2 }),
  },
  {
    name: 'a row that stands in for another',
    apply: (rows, at) => rows.with(at, { ...rows[at + 1]!, sequence: at + 1 }),
  },
  { name: 'a body that is no JSON', apply: (rows, at) => rows.with(at, rehash({ ...rows[at]!, body: '{' })) },
)

const rehash = (row: Stored): Stored => ({ ...row, hash: createHash('sha256').update(row.body).digest('hex') })

test('verify finds whatever was done to a row, and names it', t => {
  const state = makeState(t)
  const count = 12
  const { audit, db } = makeLog(state, count)
  const good = db.prepare<[], Stored>('SELECT * FROM events ORDER BY sequence').all()
  const put = db.prepare<Stored>('INSERT INTO events VALUES (@sequence, @body, @hash)')
  const store = db.transaction((rows: readonly Stored[]) => {
    db.prepare('DELETE FROM events').run()
    for (const row of rows) put.run(row)
  })
  fc.assert(
    // Not the last row: without what follows it, its change with a right hash shows only in the journal's copy.
    fc.property(tampering, fc.nat(count - 2), ({ name, apply }, at) => {
      store(apply(good, at))
      const failure = failureOf(() => audit.verify())
      t.is(failure?.code, 'store-corrupt', `${name} at ${at + 1}`)
      t.regex(failure?.message ?? '', new RegExp(`row (${at + 1}|${at + 2}) `), name)
      store(good)
      t.is(audit.verify().rows, count)
    }),
    { numRuns: 120 },
  )
  db.close()
  audit.close()
})

test('a cut tail is no fault of the chain, and shows against a copy of the head', t => {
  const { audit, db } = makeLog(makeState(t), 5)
  const journal = audit.head()
  db.prepare('DELETE FROM events WHERE sequence > 3').run()
  t.is(audit.verify().rows, 3)
  t.true(audit.head().sequence < journal.sequence)
  // Going on does not bring the hash of the journal back.
  audit.append({ event: 'x', atMs: 9 })
  const at5 = audit.append({ event: 'token.grant', atMs: 5, scope: 'scope 5' })
  t.is(at5.sequence, journal.sequence)
  t.not(at5.hash, journal.hash)
  db.close()
  audit.close()
})

test('a flipped bit in the log or its key is found at the next start', t => {
  const state = makeState(t)
  const { audit, db } = makeLog(state, 40)
  db.close()
  audit.close()
  const random = randomFrom(7)
  for (const name of ['audit.db', 'audit.key']) {
    const good = readFileSync(join(state, name))
    for (let round = 0; round < 40; round++) {
      const flipped = Buffer.from(good)
      const at = Math.floor(random() * good.length)
      flipped[at]! ^= 1 << Math.floor(random() * 8)
      writeFileSync(join(state, name), flipped)
      t.is(
        codeOf(() => open(state)),
        'store-corrupt',
        `${name} at ${at}`,
      )
    }
    writeFileSync(join(state, name), good)
  }
  const again = open(state)
  t.is(again.verify().rows, 40)
  again.close()
})

test('a row that bears the number of another place is found, though it follows the one before it', t => {
  const beginning = { sequence: 0, hash: '0'.repeat(64) }
  const first = chainEvent({ event: 'token.grant', atMs: 1 }, beginning)
  const second = chainEvent({ event: 'token.grant', atMs: 2 }, first)
  t.notThrows(() => assertFollows(second, first))
  const elsewhere = chainEvent({ event: 'token.grant', atMs: 2 }, { ...first, sequence: 8 })
  t.throws(() => assertFollows({ ...elsewhere, sequence: 2 }, first), { code: 'store-corrupt', message: /row 2 / })
})

test('a row is hashed as its canonical JSON with its number and the hash before it, so that anybody can check it', t => {
  const previous = { sequence: 6, hash: 'ab'.repeat(32) }
  const row = chainEvent({ event: 'token.grant', atMs: 5, peer: { uid: 7, pid: 8 }, count: 2 }, previous)
  const body = `{"atMs":5,"count":2,"event":"token.grant","peer":{"pid":8,"uid":7},"previous":"${previous.hash}","sequence":7}`
  t.deepEqual(row, { sequence: 7, body, hash: createHash('sha256').update(body).digest('hex') })
  t.deepEqual(assertFollows(row, previous), readRow(row))
  t.deepEqual(readRow(row), {
    event: 'token.grant',
    atMs: 5,
    peer: { uid: 7, pid: 8 },
    count: 2,
    sequence: 7,
    hash: row.hash,
  })
  for (const [changed, how] of [
    [{ ...row, sequence: 8 }, 'row 7 of the audit log is missing'],
    [{ ...row, sequence: 6 }, 'row 7 of the audit log stands twice'],
    [{ ...row, body: body.replace('grant', 'deny') }, 'row 7 of the audit log was changed'],
    [rehash({ ...row, body: body.replace('"count"', '"further"') }), 'row 7 of the audit log is malformed'],
  ] as const)
    t.is(failureOf(() => assertFollows(changed, previous))?.message, how)
})
