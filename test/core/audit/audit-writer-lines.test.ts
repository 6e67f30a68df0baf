// The audit log beside its rows: lines of the journal, what becomes of counts where a write fails, and what a stop still writes.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createAuditWriter, type GrantRecord, hashToken } from '../../../src/core/audit/audit-writer.ts'
import { createFakeClock, createFakeLog, emptyDisk, failureOf, openMemoryAudit } from '../../support/fakes.ts'
import { peerOf } from '../../support/operations-rig.ts'

const MINUTE = 60_000
const TOKEN = new Secret('ghs_token-1')

const build = () => {
  const clock = createFakeClock()
  const disk = emptyDisk()
  const log = createFakeLog()
  return { clock, disk, log, audit: createAuditWriter({ auditStore: openMemoryAudit(disk), clock, log }) }
}
const grant = (more: Partial<GrantRecord> = {}): GrantRecord => ({
  connection: {},
  peer: peerOf(1000, { unit: 'ci.service', startTicks: 700 }),
  profile: 'ci',
  scope: 'web',
  token: TOKEN,
  ...more,
})

test('each row is a line of the journal as well, its caller under names of their own', async t => {
  const { clock, disk, log, audit } = build()
  await audit.granted(grant())
  audit.record({ event: 'tokens.revoke', detail: 'all' })
  const [first, second] = disk.audit
  const atMs = clock.now()
  t.deepEqual(log.lines, [
    {
      level: 'info',
      message: 'audit token.grant',
      fields: {
        event: 'token.grant',
        atMs,
        profile: 'ci',
        scope: 'web',
        hashedToken: hashToken(TOKEN),
        pid: 10,
        uid: 1000,
        unit: 'ci.service',
        sequence: 1,
        hash: first?.hash,
      },
    },
    {
      level: 'info',
      message: 'audit tokens.revoke',
      fields: { event: 'tokens.revoke', atMs, detail: 'all', sequence: 2, hash: second?.hash },
    },
  ])
})

test('a repeat of a grant whose row cannot be written is refused with it, and leaves no count', async t => {
  const { clock, disk, audit } = build()
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  const all = [audit.granted(grant()), audit.granted(grant())]
  for (const one of all) t.is((await failureOf(one)).code, 'audit-unavailable')
  delete disk.auditFailure
  await clock.advance(2 * MINUTE)
  t.deepEqual(disk.audit, [])
  await audit.granted(grant())
  t.is(disk.audit.length, 1)
})

test('a denial whose row cannot be written is not counted as one that the log has', async t => {
  const { clock, disk, audit } = build()
  const denial = { peer: peerOf(1000), detail: 'no profile', wanted: 'web' }
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  for (const _ of [1, 2]) t.is((await failureOf(audit.denied(denial))).code, 'audit-unavailable')
  delete disk.auditFailure
  await audit.denied(denial)
  t.like(disk.audit, [{ event: 'token.deny', detail: 'no profile', scope: 'web' }])
  await clock.advance(2 * MINUTE)
  t.is(disk.audit.length, 1, 'nothing is left to count')
})

test('a stop writes all that was counted, however much it is', async t => {
  const { disk, audit } = build()
  for (let pid = 1; pid <= 250; pid += 1) {
    const one = grant({ peer: peerOf(1000, { pid, startTicks: 1 }) })
    await audit.granted(one)
    await audit.granted(one)
  }
  const denial = { peer: peerOf(666), detail: 'no profile' }
  for (const _ of [1, 2, 3]) await audit.denied(denial)
  audit.flush()
  t.is(disk.audit.filter(({ event, count }) => event === 'token.grant' && count === 1).length, 250)
  t.like(disk.audit.at(-1), { event: 'token.deny', count: 2, peer: { uid: 666 } })
})

test('a row says when its event was, and not when the log could be written again', async t => {
  const { clock, disk, audit, log } = build()
  const atMs = clock.now()
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  audit.owe({ event: 'connection.suspended', detail: 'by its owner' })
  t.like(log.lines, [{ level: 'error', fields: { error: { code: 'audit-unavailable' } } }])
  delete disk.auditFailure
  await clock.advance(30_000)
  audit.record({ event: 'tokens.revoke' })
  t.deepEqual(
    disk.audit.map(({ event, atMs: at }) => [event, at]),
    [
      ['connection.suspended', atMs],
      ['tokens.revoke', clock.now()],
    ],
  )
})
