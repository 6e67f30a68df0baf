// The trail: the first grant is durable before the answer, repeats are counted, what cannot be written denies, floods are bounded.

import test from 'ava'
import { Failure } from '../../src/domain/errors.ts'
import { Secret } from '../../src/domain/secret.ts'
import { createTrail, type GrantRecord, hashToken } from '../../src/operations/trail.ts'
import { codeOf, createFakeClock, createFakeLog, emptyDisk, openMemoryAudit } from '../support/fakes.ts'
import { peerOf } from '../support/operations-rig.ts'

const MINUTE = 60_000

const build = () => {
  const clock = createFakeClock()
  const disk = emptyDisk()
  const log = createFakeLog()
  const trail = createTrail({ audit: openMemoryAudit(disk), clock, log })
  const rows = () => disk.audit.map(({ event, count, scope, detail, peer }) => ({ event, count, scope, detail, peer }))
  return { clock, disk, log, trail, rows }
}

const connection = {}
const grant = (more: Partial<GrantRecord> = {}): GrantRecord => ({
  connection,
  peer: peerOf(1000, { unit: 'ci.service' }),
  profile: 'ci',
  scope: 'web',
  token: new Secret('ghs_token-1'),
  ...more,
})

test('the first grant of a connection and scope is in the log on return, and repeats are one row a minute', async t => {
  const { clock, disk, trail } = build()
  trail.granted(grant())
  t.is(disk.audit.length, 1)
  const [first] = disk.audit
  t.like(first, {
    event: 'token.grant',
    profile: 'ci',
    scope: 'web',
    hashedToken: hashToken(new Secret('ghs_token-1')),
    peer: { pid: 10, uid: 1000, unit: 'ci.service' },
    atMs: clock.now(),
  })
  for (let n = 0; n < 500; n += 1) trail.granted(grant())
  t.is(disk.audit.length, 1)
  await clock.advance(MINUTE)
  t.is(disk.audit.length, 2)
  t.is(disk.audit[1]?.count, 500)
  await clock.advance(10 * MINUTE)
  t.is(disk.audit.length, 2, 'what did not happen is not written')
})

test('another scope, another token, another connection are grants of their own', t => {
  const { disk, trail } = build()
  trail.granted(grant())
  trail.granted(grant({ scope: 'api' }))
  trail.granted(grant({ token: new Secret('ghs_token-2') }))
  trail.granted(grant({ connection: {} }))
  trail.granted(grant({ profile: 'other' }))
  t.is(disk.audit.length, 5)
  t.true(disk.audit.every(row => row.count === undefined))
})

test('a grant that cannot be written throws, and the next one is a first again', t => {
  const { disk, trail } = build()
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  t.is(
    codeOf(() => trail.granted(grant())),
    'audit-unavailable',
  )
  t.is(
    codeOf(() => trail.granted(grant())),
    'audit-unavailable',
    'it was not taken for a repeat',
  )
  t.is(trail.findTrouble()?.code, 'audit-unavailable', 'status can say so')
  delete disk.auditFailure
  trail.granted(grant())
  t.is(disk.audit.length, 1)
  t.is(trail.findTrouble(), undefined)
})

test('counted repeats outlive a log that could not be written for a while', async t => {
  const { clock, disk, trail, log } = build()
  trail.granted(grant())
  trail.granted(grant())
  trail.granted(grant({ scope: 'api' }))
  trail.granted(grant({ scope: 'api' }))
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  await clock.advance(MINUTE)
  t.true(log.lines.some(line => line.level === 'error'))
  delete disk.auditFailure
  await clock.advance(5 * MINUTE)
  const counted = disk.audit.filter(row => row.count !== undefined)
  t.deepEqual(Object.fromEntries(counted.map(row => [row.scope, row.count])), { api: 1, web: 1 })
})

test('the repeats are written at a stop', t => {
  const { disk, trail } = build()
  trail.granted(grant())
  trail.granted(grant())
  trail.flush()
  t.is(disk.audit.at(-1)?.count, 1)
})

test('a flood of denials is a few rows, each first one with its peer', async t => {
  const { clock, disk, trail, rows } = build()
  for (let n = 0; n < 5_000; n += 1) trail.denied({ peer: peerOf(1000), detail: 'no profile' })
  t.is(disk.audit.length, 1)
  t.like(rows()[0], { event: 'token.deny', peer: { pid: 10, uid: 1000 } })
  for (let uid = 0; uid < 5_000; uid += 1) trail.denied({ peer: peerOf(uid), detail: 'no profile' })
  t.true(disk.audit.length <= 256)
  await clock.advance(MINUTE)
  t.true(disk.audit.length <= 2 * 257)
  const denials = disk.audit.reduce((sum, row) => sum + (row.count ?? 1), 0)
  t.is(denials, 10_000, 'each is counted once')
})

test('one caller who asks for ever other scopes takes no rows from the others, and each of his denials counts', async t => {
  const { clock, disk, trail, rows } = build()
  for (let n = 0; n < 1_000; n += 1)
    trail.denied({ peer: peerOf(1000), detail: 'no profile', wanted: `repository ${n}` })
  t.is(disk.audit.length, 16)
  t.like(rows()[15], { scope: 'repository 15' })
  trail.denied({ peer: peerOf(666), detail: 'no profile', wanted: 'web' })
  t.like(disk.audit.at(-1), { peer: { pid: 10, uid: 666 }, scope: 'web' })
  await clock.advance(MINUTE)
  t.like(rows().at(-1), { peer: { pid: 10, uid: 1000 }, count: 984, detail: 'further denials of this caller' })
  trail.denied({ peer: peerOf(1000), detail: 'no profile', wanted: 'repository 1' })
  t.like(rows().at(-1), { scope: 'repository 1', count: undefined }, 'a new minute')
})

test('many counted grants do not hide who was denied', t => {
  const { disk, trail } = build()
  for (let n = 0; n < 1_000; n += 1) {
    trail.granted(grant({ scope: `repository ${n}` }))
    trail.granted(grant({ scope: `repository ${n}` }))
  }
  const before = disk.audit.length
  trail.denied({ peer: peerOf(666), detail: 'no profile' })
  t.is(disk.audit.length, before + 1)
  t.like(disk.audit.at(-1), { event: 'token.deny', peer: { pid: 10, uid: 666 } })
})

test('no token stands in any row or line', async t => {
  const { clock, disk, trail, log } = build()
  trail.granted(grant())
  trail.granted(grant())
  trail.denied({ peer: peerOf(1), detail: 'no profile' })
  await clock.advance(MINUTE)
  t.false(JSON.stringify(disk.audit).includes('ghs_'))
  t.false(JSON.stringify(log.lines).includes('ghs_'))
  t.true(
    log.lines.every(line => line.fields?.['hash'] !== undefined),
    'each copy in the journal bears its hash',
  )
})
