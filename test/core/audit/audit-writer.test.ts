// The audit log: the first grant of a process is durable before the answer, repeats are counted, what cannot be written denies, floods are bounded.

import test from 'ava'
import { asFailure, Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { ROWS } from '../../../src/core/audit/seen-grants.ts'
import { createAuditWriter, type GrantRecord, hashToken } from '../../../src/core/audit/audit-writer.ts'
import type { AuditEvent } from '../../../src/core/audit/audit-store.ts'
import { createFakeClock, createFakeLog, failureOf, emptyDisk, openMemoryAudit } from '../../support/fakes.ts'
import { peerOf } from '../../support/operations-rig.ts'

const MINUTE = 60_000

const build = () => {
  const clock = createFakeClock()
  const disk = emptyDisk()
  const log = createFakeLog()
  const audit = createAuditWriter({ auditStore: openMemoryAudit(disk), clock, log })
  const rows = () => disk.audit.map(({ event, count, scope, detail, peer }) => ({ event, count, scope, detail, peer }))
  return { clock, disk, log, audit, rows }
}

const TOKEN = new Secret('ghs_token-1')
const connection = {}
const grant = (more: Partial<GrantRecord> = {}): GrantRecord => ({
  connection,
  peer: peerOf(1000, { unit: 'ci.service', startTicks: 700 }),
  profile: 'ci',
  scope: 'web',
  token: TOKEN,
  ...more,
})

test('the first grant of a process and scope is in the log on return, and repeats are one row a minute', async t => {
  const { clock, disk, audit } = build()
  await audit.granted(grant())
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
  for (let n = 0; n < 500; n += 1) await audit.granted(grant())
  t.is(disk.audit.length, 1)
  await clock.advance(MINUTE)
  t.is(disk.audit.length, 2)
  t.is(disk.audit[1]?.count, 500)
  await clock.advance(10 * MINUTE)
  t.is(disk.audit.length, 2, 'what did not happen is not written')
})

test('another scope, another token, another process are grants of their own', async t => {
  const { disk, audit } = build()
  const { peer } = grant()
  await audit.granted(grant())
  await audit.granted(grant({ scope: 'api' }))
  await audit.granted(grant({ token: new Secret('ghs_token-2') }))
  await audit.granted(grant({ connection: {}, peer: { ...peer, pid: 11 } }))
  await audit.granted(grant({ connection: {}, peer: { ...peer, startTicks: 701 } }))
  await audit.granted(grant({ connection: {}, peer: { ...peer, unit: 'cron.service' } }))
  await audit.granted(grant({ connection: {}, peer: { ...peer, uid: 1001 } }))
  await audit.granted(grant({ profile: 'other' }))
  t.is(disk.audit.length, 8)
  t.true(disk.audit.every(row => row.count === undefined))
})

test('over one connection, whatever of a grant is another than the last time makes it one of its own', async t => {
  const { disk, audit } = build()
  for (const more of [{}, { token: new Secret('ghs_token-2') }, { scope: 'api' }, { profile: 'other' }]) {
    // The usual one before each.
    await audit.granted(grant())
    await audit.granted(grant(more))
  }
  t.deepEqual(
    disk.audit.map(({ profile, scope, hashedToken }) => [profile, scope, hashedToken]),
    [
      ['ci', 'web', hashToken(TOKEN)],
      ['ci', 'web', hashToken(new Secret('ghs_token-2'))],
      ['ci', 'api', hashToken(TOKEN)],
      ['other', 'web', hashToken(TOKEN)],
    ],
  )
})

test('a new connection of a known process is a repeat, without a row or a line of its own', async t => {
  const { clock, disk, audit, log } = build()
  for (let n = 0; n < 500; n += 1) await audit.granted(grant({ connection: {}, peer: { ...grant().peer } }))
  t.is(disk.audit.length, 1)
  t.is(log.lines.length, 1)
  await clock.advance(MINUTE)
  t.is(disk.audit.length, 2)
  t.like(disk.audit[1], { count: 499, peer: { pid: 10, uid: 1000, unit: 'ci.service' } })
})

test('two tokens of one scope in turn are two rows, not one for each request', async t => {
  const { disk, audit } = build()
  const other = new Secret('ghs_token-2')
  for (let n = 0; n < 100; n += 1) await audit.granted(grant({ connection: {}, token: n % 2 ? other : TOKEN }))
  t.is(disk.audit.length, 2)
})

test('where the kernel hides the process, each connection has a row of its own', async t => {
  const { disk, audit } = build()
  for (const peer of [peerOf(1000), peerOf(1000, { pid: 0, startTicks: 700 })]) {
    const [one, two] = [{}, {}]
    const before = disk.audit.length
    for (const each of [one, one, two, one, two]) await audit.granted(grant({ connection: each, peer }))
    t.is(disk.audit.length, before + 2)
  }
})

/** The code with which it rejects; undefined where it does not. */
const refusal = async (granted: void | Promise<void>) => {
  try {
    await granted
    return undefined
  } catch (error) {
    return asFailure(error).code
  }
}

const processes = (count: number, uid = 1000, from = 1): GrantRecord[] =>
  Array.from({ length: count }, (_, n) =>
    grant({ connection: {}, peer: peerOf(uid, { pid: from + n, startTicks: n }) }),
  )

test('20,000 processes have a row each; a holder that goes on without end shares one, durable before the answer', async t => {
  const { clock, disk, audit } = build()
  for (const one of processes(ROWS.burst)) await audit.granted(one)
  t.is(disk.audit.length, ROWS.burst)
  for (const one of processes(5_000, 1000, 100_000)) await audit.granted(one)
  t.is(disk.audit.length, ROWS.burst + 1)
  t.like(disk.audit.at(-1), {
    event: 'token.grant',
    detail: 'this process and others of uid 1000',
    hashedToken: hashToken(TOKEN),
  })
  await audit.granted(
    grant({ connection: {}, token: new Secret('ghs_token-2'), peer: peerOf(1000, { pid: 7, startTicks: 9 }) }),
  )
  t.is(disk.audit.length, ROWS.burst + 2, 'another token is another row')
  await audit.granted(grant({ peer: peerOf(33, { pid: 9, startTicks: 1 }) }))
  t.is(disk.audit.at(-1)?.detail, undefined, 'another holder has rows of its own')
  await clock.advance(MINUTE)
  t.is(
    disk.audit.find(row => row.count === 4_999)?.detail,
    'this process and others of uid 1000',
    'each grant is counted',
  )
  const before = disk.audit.length
  for (const one of processes(2 * ROWS.perMinute, 1000, 200_000)) await audit.granted(one)
  const rows = disk.audit.length - before
  t.true(rows <= ROWS.perMinute + 1, `${rows} rows in the next minute`)
})

test('a shared row that cannot be written denies', async t => {
  const { disk, audit } = build()
  for (const one of processes(ROWS.burst)) await audit.granted(one)
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  const [one, two] = processes(2, 1000, 100_000)
  for (const each of [one, two]) {
    t.is(await refusal(each && audit.granted(each)), 'audit-unavailable')
  }
})

test('what is forgotten of a holder with many processes costs a row more, and takes nothing from others', async t => {
  const { disk, audit } = build()
  const other = grant({ peer: peerOf(33, { pid: 9, startTicks: 1 }) })
  await audit.granted(other)
  const [first = other, ...rest] = processes(25_000)
  for (const one of [first, ...rest]) await audit.granted(one)
  const before = disk.audit.length
  await audit.granted({ ...other, connection: {} })
  t.is(disk.audit.length, before, 'the other holder is still known')
  await audit.granted(first)
  t.is(disk.audit.length, before + 1, 'its connection does not hide that the process was forgotten')
})

test('many counted rows are written a few at a time, and others run in between', async t => {
  const { clock, disk, log } = build()
  const batches: number[] = []
  const memory = openMemoryAudit(disk)
  const auditStore = {
    ...memory,
    appendSoon: (events: readonly AuditEvent[]) => (batches.push(events.length), memory.appendSoon(events)),
  }
  const audit = createAuditWriter({ auditStore, clock, log })
  const all = processes(1_000)
  for (const one of [...all, ...all]) await audit.granted(one)
  batches.length = 0
  let turns = 0
  const others = clock.every(5, () => void (turns += 1))
  await clock.advance(MINUTE + 1_000)
  others.cancel()
  t.is(
    batches.reduce((sum, rows) => sum + rows, 0),
    1_000,
  )
  t.true(Math.max(...batches) <= 100)
  t.true(turns > batches.length)
  await audit.granted(all[0] ?? grant())
  audit.flush()
  t.is(disk.audit.at(-1)?.count, 1)
})

test('what is owed while the log cannot be written is bounded, and the number of what was lost is a row', async t => {
  const { clock, disk, audit } = build()
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  for (let n = 0; n < 1_500; n += 1) audit.owe({ event: 'admin.request', detail: String(n) })
  delete disk.auditFailure
  await clock.advance(MINUTE)
  t.is(disk.audit.filter(row => row.event === 'admin.request').length, 1_000)
  t.like(disk.audit.at(-1), { event: 'audit.lost', count: 500 })
})

const countingWrites = () => {
  const clock = createFakeClock()
  const disk = emptyDisk()
  const log = createFakeLog()
  const memory = openMemoryAudit(disk)
  const writes: number[] = []
  const appendAll: typeof memory.appendAll = events => {
    writes.push(events.length)
    return memory.appendAll(events)
  }
  const appendSoon: typeof memory.appendSoon = events => ({ rows: appendAll(events), durable: Promise.resolve() })
  const audit = createAuditWriter({ auditStore: { ...memory, appendAll, appendSoon }, clock, log })
  return { clock, disk, log, audit, writes, events: () => disk.audit.map(({ event }) => event) }
}
const MINTED = { event: 'dotcom_connection.token_updated', scope: 'web' }

test('what is noted is in the log before the next grant, in the same write', async t => {
  const { clock, audit, writes, events } = countingWrites()
  audit.note(MINTED)
  t.deepEqual(writes, [], 'no answer waits for it')
  await audit.granted(grant())
  t.deepEqual(writes, [2])
  t.deepEqual(events(), ['dotcom_connection.token_updated', 'token.grant'])
  await clock.advance(1_000)
  t.deepEqual(writes, [2], 'once')
})

test('what is noted is written within a second where nothing follows, many in one write, and at a stop', async t => {
  const { clock, disk, audit, writes, events } = countingWrites()
  const notedAtMs = clock.now()
  for (let n = 0; n < 50; n += 1) audit.note(MINTED)
  await clock.advance(1_000)
  t.deepEqual(writes, [50])
  t.is(disk.audit[0]?.atMs, notedAtMs)
  audit.note(MINTED)
  await clock.advance(1_000)
  t.deepEqual(writes, [50, 1], 'each time anew')
  audit.note(MINTED)
  audit.flush()
  t.is(events().length, 52)
})

test('a grant that cannot be written with what was noted is refused, and what was noted is in the log later, once', async t => {
  const { clock, disk, audit, events } = countingWrites()
  audit.note(MINTED)
  disk.auditRowsLeft = 1
  t.is(await refusal(audit.granted(grant())), 'audit-unavailable')
  t.deepEqual(events(), [], 'both or neither')
  delete disk.auditRowsLeft
  await clock.advance(MINUTE)
  t.deepEqual(events(), ['dotcom_connection.token_updated'])
})

test('the row of a grant has the whole scope, its line in the journal the beginning', async t => {
  const { disk, log, audit } = countingWrites()
  const scope = 'name '.repeat(5_000)
  await audit.granted(grant({ scope }))
  t.is(disk.audit[0]?.scope, scope)
  const logged = String(log.lines[0]?.fields?.['scope'])
  t.true(logged.length < 1_100 && logged.endsWith('(25000 characters)'), logged.slice(-100))
})

test('first grants that come together share a write, and each waits for it; a repeat of one waits as well', async t => {
  const { disk, audit, writes } = countingWrites()
  const some = processes(150)
  const [first = grant()] = some
  const answered: string[] = []
  const all = some.map(one => Promise.resolve(audit.granted(one)).then(() => answered.push('first')))
  const again = Promise.resolve(audit.granted(first)).then(() => answered.push('repeat'))
  t.deepEqual([writes, answered], [[], []], 'nothing is answered yet')
  await Promise.all([...all, again])
  t.deepEqual(writes, [100, 50])
  t.is(disk.audit.length, 150)
  t.is(audit.granted(first), undefined, 'what the log holds is answered at once')
})

test('a grant is answered when the disk has its row, and what comes meanwhile shares the next write', async t => {
  const { disk } = build()
  const memory = openMemoryAudit(disk)
  const syncs: PromiseWithResolvers<void>[] = []
  const appendSoon: typeof memory.appendSoon = events => {
    const sync = Promise.withResolvers<void>()
    syncs.push(sync)
    return { rows: memory.appendAll(events), durable: sync.promise }
  }
  const audit = createAuditWriter({
    auditStore: { ...memory, appendSoon },
    clock: createFakeClock(),
    log: createFakeLog(),
  })
  const turn = (): Promise<void> => new Promise(resolve => void setImmediate(resolve))
  const answered: number[] = []
  const ask = (one: GrantRecord, n: number) => Promise.resolve(audit.granted(one)).then(() => void answered.push(n))
  const [one = grant(), two = grant(), three = grant()] = processes(3)
  const first = ask(one, 1)
  await turn()
  const repeat = ask(one, 1)
  const others = [ask(two, 2), ask(three, 3)]
  await turn()
  t.deepEqual([answered, disk.audit.length, syncs.length], [[], 1, 1], 'one write at a time')
  syncs[0]?.resolve()
  await Promise.all([first, repeat])
  await turn()
  t.deepEqual([answered, disk.audit.length, syncs.length], [[1, 1], 3, 2])
  syncs[1]?.reject(new Failure('audit-unavailable', 'the disk is gone'))
  for (const other of others) t.is((await failureOf(other)).code, 'audit-unavailable')
  t.is(audit.findTrouble()?.code, 'audit-unavailable')
})

test('grants that were to share a write that failed are refused together, and none of them is in the log', async t => {
  const { disk, audit } = build()
  disk.auditRowsLeft = 2
  const refusals = await Promise.all(processes(3).map(one => refusal(audit.granted(one))))
  t.deepEqual(refusals, ['audit-unavailable', 'audit-unavailable', 'audit-unavailable'])
  t.deepEqual(disk.audit, [])
  delete disk.auditRowsLeft
  for (const one of processes(3)) await audit.granted(one)
  t.is(disk.audit.length, 3, 'none was taken for a repeat')
})

test('a stop writes the grants that wait for their row', async t => {
  const { disk, audit } = build()
  const granted = processes(3).map(async one => audit.granted(one))
  audit.flush()
  t.is(disk.audit.length, 3)
  await Promise.all(granted)
})

test('a grant that cannot be written throws, and the next one is a first again', async t => {
  const { disk, audit } = build()
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  t.is(await refusal(audit.granted(grant())), 'audit-unavailable')
  t.is(await refusal(audit.granted(grant())), 'audit-unavailable', 'it was not taken for a repeat')
  t.is(audit.findTrouble()?.code, 'audit-unavailable', 'status can say so')
  delete disk.auditFailure
  await audit.granted(grant())
  t.is(disk.audit.length, 1)
  t.is(audit.findTrouble(), undefined)
})

test('a full disk is trouble before a write fails; a write that failed is trouble until one succeeds, whatever space is left', t => {
  const { disk, audit } = build()
  const full = new Failure('disk-full', 'no space is left for audit.db')
  disk.full = full
  t.is(audit.findTrouble(), full)
  disk.auditFailure = new Failure('audit-unavailable', 'audit.db cannot be written', { cause: full })
  t.throws(() => audit.record({ event: 'some' }), { code: 'audit-unavailable' })
  t.is(audit.findTrouble(), disk.auditFailure)
  delete disk.full
  t.is(audit.findTrouble(), disk.auditFailure)
  delete disk.auditFailure
  audit.record({ event: 'some' })
  t.is(audit.findTrouble(), undefined)
})

test('counted repeats outlive a log that could not be written for a while', async t => {
  const { clock, disk, audit, log } = build()
  await audit.granted(grant())
  await audit.granted(grant())
  await audit.granted(grant({ scope: 'api' }))
  await audit.granted(grant({ scope: 'api' }))
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  await clock.advance(MINUTE)
  t.true(log.lines.some(line => line.level === 'error'))
  delete disk.auditFailure
  await clock.advance(5 * MINUTE)
  const counted = disk.audit.filter(row => row.count !== undefined)
  t.deepEqual(Object.fromEntries(counted.map(row => [row.scope, row.count])), { api: 1, web: 1 })
})

test('the repeats are written at a stop', async t => {
  const { disk, audit } = build()
  await audit.granted(grant())
  await audit.granted(grant())
  audit.flush()
  t.is(disk.audit.at(-1)?.count, 1)
})

test('a flood of denials is a few rows, each first one with its peer', async t => {
  const { clock, disk, audit, rows } = build()
  for (let n = 0; n < 5_000; n += 1) await audit.denied({ peer: peerOf(1000), detail: 'no profile' })
  t.is(disk.audit.length, 1)
  t.like(rows()[0], { event: 'token.deny', peer: { pid: 10, uid: 1000 } })
  for (let uid = 0; uid < 5_000; uid += 1) await audit.denied({ peer: peerOf(uid), detail: 'no profile' })
  t.true(disk.audit.length <= 256)
  await clock.advance(MINUTE)
  t.true(disk.audit.length <= 2 * 257)
  const denials = disk.audit.reduce((sum, row) => sum + (row.count ?? 1), 0)
  t.is(denials, 10_000, 'each is counted once')
})

test('one caller who asks for ever other scopes takes no rows from the others, and each of his denials counts', async t => {
  const { clock, disk, audit, rows } = build()
  for (let n = 0; n < 1_000; n += 1)
    await audit.denied({ peer: peerOf(1000), detail: 'no profile', wanted: `repository ${n}` })
  t.is(disk.audit.length, 16)
  t.like(rows()[15], { scope: 'repository 15' })
  await audit.denied({ peer: peerOf(666), detail: 'no profile', wanted: 'web' })
  t.like(disk.audit.at(-1), { peer: { pid: 10, uid: 666 }, scope: 'web' })
  await clock.advance(MINUTE)
  t.like(rows().at(-1), { peer: { pid: 10, uid: 1000 }, count: 984, detail: 'further denials of this caller' })
  await audit.denied({ peer: peerOf(1000), detail: 'no profile', wanted: 'repository 1' })
  t.like(rows().at(-1), { scope: 'repository 1', count: undefined }, 'a new minute')
})

test('many counted grants do not hide who was denied', async t => {
  const { disk, audit } = build()
  for (let n = 0; n < 1_000; n += 1) {
    await audit.granted(grant({ scope: `repository ${n}` }))
    await audit.granted(grant({ scope: `repository ${n}` }))
  }
  const before = disk.audit.length
  await audit.denied({ peer: peerOf(666), detail: 'no profile' })
  t.is(disk.audit.length, before + 1)
  t.like(disk.audit.at(-1), { event: 'token.deny', peer: { pid: 10, uid: 666 } })
})

test('no token stands in any row or line', async t => {
  const { clock, disk, audit, log } = build()
  await audit.granted(grant())
  await audit.granted(grant())
  await audit.denied({ peer: peerOf(1), detail: 'no profile' })
  await clock.advance(MINUTE)
  t.false(JSON.stringify(disk.audit).includes('ghs_'))
  t.false(JSON.stringify(log.lines).includes('ghs_'))
  t.true(
    log.lines.every(line => line.fields?.['hash'] !== undefined),
    'each copy in the journal bears its hash',
  )
})
