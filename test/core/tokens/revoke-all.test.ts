// `revoke --all`: no token of before is served or good any more, whatever fails in between, and new ones are to be had.

import test from 'ava'
import { Secret } from '../../../src/protocol/secret.ts'
import { createClusterRig } from '../../support/cluster-rig.ts'
import { type Code, Failure } from '../../../src/protocol/errors.ts'
import type { Membership } from '../../../src/core/connection/membership.ts'
import { isRevocation } from '../../../src/core/tokens/revoke-all.ts'
import { isoTime } from '../../../src/protocol/wire.ts'
import { failureOf, settle } from '../../support/fakes.ts'
import { connectedRig, createRig } from '../../support/operations-rig.ts'
import { QUIET_SEAT } from '../../support/quiet-membership.ts'

const scene = async (membership: () => Membership | undefined = () => undefined) => {
  const made = await connectedRig({ membership })
  const grant = (permissions: Record<string, 'read' | 'write'>) => ({
    profile: 'p',
    scope: { installation: made.installation.id, permissions },
  })
  const read = grant({ contents: 'read' })
  const write = grant({ contents: 'write' })
  const held = [await made.tokens.obtain(read), await made.tokens.obtain(write)].map(({ token }) => token.reveal())
  await made.clock.advance(60_000)
  made.disk.audit.length = 0
  return { ...made, grant, read, write, held, alive: () => held.filter(token => made.world.isAlive(token)).length }
}

test('every token is revoked, the connection stays, and the next request mints', async t => {
  const { rig, read, held, alive, disk, told, installation } = await scene()
  const { generation } = rig.connectionState.read()
  t.deepEqual(
    await rig.revokeAll.begin(),
    { revoked: 3, remaining: 0, failed: [] },
    'that of the proof of the connection, too',
  )
  t.is(alive(), 0)
  t.is(rig.kind(), 'connected')
  t.is(rig.connectionState.read().generation, generation + 1)
  t.is(rig.connectionState.read().installations[0]?.id, installation.id)
  const { token } = await rig.tokens.obtain(read)
  t.false(held.includes(token.reveal()))
  t.deepEqual(
    disk.audit.map(({ event }) => event).slice(0, 2),
    ['tokens.revoke', 'tokens.revoked'],
    'what is done is in the log before and after',
  )
  t.true(told.some(({ event, detail }) => event === 'change' && detail === 'all tokens are void'))
  t.true(told.some(({ event, detail }) => event === 'step' && detail === '3 revoked, 0 to go'))
  t.deepEqual(await rig.revokeAll.begin(), { revoked: 1, remaining: 0, failed: [] }, 'as often as is wanted')
})

test('a mint that is under way gives nobody a token', async t => {
  const { rig, grant, world, disk } = await scene()
  const before = new Set(world.tokens.keys())
  const minting = rig.tokens.obtain(grant({ issues: 'read' }))
  const refused = failureOf(minting)
  await rig.revokeAll.begin()
  t.is((await refused).code, 'not-connected')
  t.deepEqual(
    [...world.tokens.values()].filter(({ text }) => !before.has(text)).map(({ revoked }) => revoked),
    [true],
  )
  rig.tokens.flush()
  t.is(disk.tokens.size, 0)
})

test('what GitHub does not revoke is said, is served no more, and is tried again, over a restart too', async t => {
  const { rig, premises, read, held, alive, world, clock } = await scene()
  world.outage = new Failure('unreachable', 'no route')
  const told = await rig.revokeAll.begin()
  t.like(told, { revoked: 0, remaining: 3 })
  t.deepEqual([...new Set(told.failed.map(({ code }) => code))], ['unreachable'])
  t.true(told.remaining_end_at !== undefined)
  const warning = rig.status.whole().warnings.find(({ code }) => code === 'tokens-unrevoked')
  t.regex(warning?.detail ?? '', /^Revoked tokens that GitHub still accepts: 3, until \S+ at most: .*no route\.$/)
  t.is(rig.tokens.find(read), undefined, 'what leaked is served to nobody')
  t.is(alive(), 2)
  rig.kill()
  world.outage = undefined
  const again = createRig(premises)
  t.is(again.tokens.find(read), undefined)
  again.heartbeat.start()
  await clock.advance(0)
  t.is(alive(), 0)
  t.is(again.revokeAll.findRemaining(), undefined)
  t.false(held.includes((await again.tokens.obtain(read)).token.reveal()))
})

test('a copy of the state on another machine revokes nothing of what was still to be revoked', async t => {
  const { rig, premises, world, clock } = await scene()
  world.outage = new Failure('unreachable', 'no route')
  await rig.revokeAll.begin()
  rig.kill()
  world.outage = undefined
  world.calls.length = 0
  const copy = createRig(premises, { host: { machineId: 'other', hostname: 'other' } })
  copy.heartbeat.start()
  await clock.advance(6 * 60_000)
  t.is(copy.kind(), 'quarantined')
  t.deepEqual(world.calls, [])
})

test('killed at any write, either nothing was done or all tokens of before end', async t => {
  for (let writes = 1; ; writes++) {
    const { rig, premises, read, held, alive, clock, disk } = await scene()
    const { generation } = rig.connectionState.read()
    rig.killAfterWrites(writes)
    // A call of a dead process is never answered.
    rig.revokeAll.begin().catch(() => undefined)
    await settle()
    await clock.advance(0)
    const again = createRig(premises)
    again.heartbeat.start()
    await clock.advance(0)
    await settle()
    const began = again.connectionState.read().generation > generation
    if (began) {
      t.is(alive(), 0, `after ${writes} writes`)
      t.false(held.includes((await again.tokens.obtain(read)).token.reveal()))
    } else {
      // Not told as done: whoever asked asks again.
      await again.revokeAll.begin()
      t.is(alive(), 0, `after ${writes} writes, asked again`)
    }
    t.true(disk.audit.some(({ event }) => event === 'tokens.revoke'))
    if (!rig.isDead()) {
      t.true(writes > 3)
      return
    }
  }
})

test('what the audit log cannot hold is not begun; a machine that is not connected has nothing to revoke', async t => {
  const { rig, alive, disk, read } = await scene()
  disk.auditFailure = new Failure('disk-full', 'full')
  await failureOf(rig.revokeAll.begin())
  t.is(alive(), 2)
  t.not(rig.tokens.find(read), undefined)
  delete disk.auditFailure
  await rig.disable.begin({ local: true, wait: false })
  t.is((await failureOf(rig.revokeAll.begin())).code, 'not-connected')
})

test('in a cluster no node serves what it held, and a node that was cut off revokes what it minted meanwhile', async t => {
  const rig = await createClusterRig()
  const nodes = [rig.createMachine('a'), rig.createMachine('b'), rig.createMachine('c')] as const
  const [a, b, c] = nodes
  for (const node of nodes) await node.start()
  await a.get().rig.importApp({ appId: rig.app.id, pem: new Secret(rig.pem) })
  await rig.clock.advance(0)
  for (const node of nodes) await node.join()
  await rig.clock.advance(1_000)
  const shared = (await b.token()).token.reveal()
  c.get().client.cut()
  await rig.clock.advance(61 * 60_000)
  const fresh = (await a.token()).token.reveal()
  const own = (await c.token({ contents: 'write' })).token.reveal()
  t.is((await b.token()).token.reveal(), fresh)
  await rig.clock.advance(60_000)

  const asked = b.get().rig.revokeAll.begin()
  await rig.clock.advance(1_000)
  t.like(await asked, { remaining: 0, failed: [] })
  t.false(rig.world.isAlive(shared))
  t.false(rig.world.isAlive(fresh))
  for (const node of [a, b]) t.false([shared, fresh].includes((await node.token()).token.reveal()), node.name)
  t.true(rig.world.isAlive(own), 'nobody else knows it')

  c.get().client.heal()
  await rig.clock.advance(30_000)
  t.false(rig.world.isAlive(own))
  t.is((await c.token()).token.reveal(), (await a.token()).token.reveal())
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['connected', 'connected', 'connected'],
  )
})

test('what remains is told by its reason, its number and its end, in answer, log and journal, and stays over a kill', async t => {
  const { rig, premises, grant, clock, disk, log, world } = await scene()
  const last = await rig.tokens.obtain(grant({ issues: 'read' }))
  world.outage = new Failure('timeout', 'slow')
  const failed = { code: 'timeout', detail: 'slow', tokens: 4 }
  const end = isoTime(last.expiresAtMs)
  t.deepEqual(await rig.revokeAll.begin(), { revoked: 0, remaining: 4, failed: [failed], remaining_end_at: end })
  t.like(rig.revokeAll.findRemaining(), { tokens: 4, endsAtMs: last.expiresAtMs, failure: { code: 'timeout' } })
  const details = disk.audit.filter(({ event }) => event.startsWith('tokens.')).map(({ detail }) => detail)
  t.deepEqual(details, ['all of Octo-Org: 4 and what is under way', '0, 4 remain'])
  t.like(
    log.lines.findLast(({ level }) => level === 'warn'),
    { message: 'tokens could not be revoked yet', fields: { tokens: 4, error: { code: 'timeout' } } },
  )
  world.outage = undefined
  world.refuse('revoke', 'timeout')
  await rig.revokeAll.resume()
  rig.kill()
  const again = createRig(premises)
  t.is(again.revokeAll.findRemaining()?.tokens, 1, 'those that were revoked in the meantime are not held any more')
  await again.revokeAll.resume()
  t.is(again.revokeAll.findRemaining(), undefined)
  await clock.advance(0)
})

test('where the way to GitHub is shut, not each of many tokens is tried', async t => {
  const { rig, world, installation } = await scene()
  for (let n = 0; n < 20; n += 1) {
    await rig.tokens.obtain({ profile: `p${n}`, scope: { installation: installation.id } })
  }
  world.outage = new Failure('unreachable', 'no route')
  const { remaining, failed } = await rig.revokeAll.begin()
  t.is(remaining, 23)
  t.is(world.count('revoke'), 8, 'those that were under way at once')
  t.is(failed[0]?.tokens, 8)
  world.outage = undefined
  world.refuse('revoke', 'bad-credentials')
  t.is((await rig.revokeAll.begin()).remaining, 1, 'what says something of one token alone ends nothing')
})

test('a token that ended by itself is revoked no more, and no warning is left of it', async t => {
  const { rig, premises, world, clock } = await scene()
  world.outage = new Failure('unreachable', 'no route')
  await rig.revokeAll.begin()
  await clock.advance(61 * 60_000)
  t.is(rig.revokeAll.findRemaining(), undefined)
  world.outage = undefined
  world.calls.length = 0
  await rig.revokeAll.resume()
  t.deepEqual(world.calls, [])
  t.deepEqual(await rig.revokeAll.begin(), { revoked: 0, remaining: 0, failed: [] })
  t.is(createRig(premises).revokeAll.findRemaining(), undefined)
})

test('an answer is there within a minute, whatever GitHub takes; what is under way goes on', async t => {
  const { rig, world, clock } = await scene()
  const answer = world.hold('revoke')
  let told: unknown
  const begun = rig.revokeAll.begin().then(value => (told = value))
  await clock.advance(59_999)
  t.is(told, undefined)
  await clock.advance(1)
  await begun
  t.like(told, { revoked: 2, remaining: 1, failed: [] })
  answer()
  await settle()
  t.is(rig.revokeAll.findRemaining(), undefined)
  const waiting = clock.waiting()
  await rig.revokeAll.begin()
  t.is(clock.waiting(), waiting, 'nothing waits for a minute after an answer that came in time')
})

test('a copy that is quarantined and a connection that goes away void nothing', async t => {
  const { rig, premises } = await scene()
  const { generation, connection } = rig.connectionState.read()
  if (connection.kind !== 'connected') throw new Error(connection.kind)
  rig.kill()
  const copy = createRig(premises, { host: { machineId: 'other', hostname: 'other' } })
  const refused = async (code: Code): Promise<void> => {
    t.is((await failureOf(copy.revokeAll.begin())).code, code)
    t.is(copy.connectionState.read().generation, generation)
  }
  copy.connectionState.transition({ ...connection, kind: 'quarantined', evidence: 'enabled elsewhere' })
  await refused('quarantined')
  copy.connectionState.transition({
    ...connection,
    kind: 'disconnecting',
    step: 'revoke',
    deadlineMs: Number.MAX_SAFE_INTEGER,
  })
  await refused('not-connected')
})

test('also under a clock that was set back, tokens of before are of another enablement', async t => {
  const { rig, clock } = await scene()
  const before = rig.connectionState.read().connection
  clock.setWallBy(-24 * 60 * 60_000)
  await rig.revokeAll.begin()
  const after = rig.connectionState.read().connection
  t.true(isRevocation(before, after))
  t.false(isRevocation(after, before))
  t.false(isRevocation(before, { ...after, sinceMs: after.sinceMs + 1 }), 'an enable or an import')
  t.false(isRevocation(before, { kind: 'disconnected', sinceMs: 1 }))
})

test('what was still to be revoked goes with the connection', async t => {
  const { rig, premises, world } = await scene()
  world.outage = new Failure('unreachable', 'no route')
  await rig.revokeAll.begin()
  await rig.disable.begin({ local: true, wait: false })
  t.is(rig.kind(), 'disconnected')
  await rig.revokeAll.resume()
  t.is(rig.revokeAll.findRemaining(), undefined)
  t.is(createRig(premises).revokeAll.findRemaining(), undefined)
})

test('what another node revoked is not revoked again by one that joins, which revokes what it alone holds', async t => {
  const { rig, world, read, write, held } = await scene()
  const known = rig.tokens.live().find(({ token }) => token.reveal() === held[0])
  if (!known) throw new Error('no token')
  rig.revokeAll.join([known])
  t.deepEqual([rig.tokens.find(read), rig.tokens.find(write)], [undefined, undefined])
  await settle()
  t.deepEqual(
    held.map(token => world.isAlive(token)),
    [true, false],
  )
  t.is(world.count('revoke'), 2)
})

test('the tokens of other nodes are revoked with those here, also where another change of the cluster was first', async t => {
  let membership: Membership | undefined
  const { rig, grant, world, alive } = await scene(() => membership)
  const before = rig.connectionState.read().generation
  const elsewhere = [
    await rig.tokens.obtain(grant({ issues: 'read' })),
    await rig.tokens.obtain(grant({ issues: 'write' })),
  ]
  const own = rig.tokens.live().filter(({ token }) => !elsewhere.some(other => other.token === token))
  rig.tokens.drop()
  rig.tokens.receive(own)
  const generations: number[] = []
  membership = {
    ...QUIET_SEAT,
    async change(task) {
      await task()
      throw new Failure('cluster-conflict', 'a disable was first')
    },
    // The second is heard of meanwhile.
    tokensTo(generation) {
      generations.push(generation)
      return elsewhere.slice(0, generations.length)
    },
  }
  t.is((await failureOf(rig.revokeAll.begin())).code, 'cluster-conflict')
  t.is(alive(), 0)
  t.deepEqual(
    elsewhere.map(({ token }) => world.isAlive(token.reveal())),
    [false, false],
  )
  t.deepEqual(generations, [before, before])
})

test('what the cluster refuses before anything is void changes nothing', async t => {
  let membership: Membership | undefined
  const { rig, read, alive } = await scene(() => membership)
  membership = {
    ...QUIET_SEAT,
    async change() {
      throw new Failure('cluster-unreachable', 'no etcd')
    },
  }
  t.is((await failureOf(rig.revokeAll.begin())).code, 'cluster-unreachable')
  t.is(alive(), 2)
  t.truthy(rig.tokens.find(read))
  t.false(rig.disk.audit.some(({ event }) => event.startsWith('tokens.')))
})

const FULL = new Failure('disk-full', 'no space is left')

test('where it cannot be stored nothing is revoked, then or later, and the tokens are served on', async t => {
  const { rig, premises, read, write, alive, world, disk } = await scene()
  const { generation } = rig.connectionState.read()
  world.calls.length = 0
  const assertServed = (where: string): void => {
    t.is(rig.connectionState.read().generation, generation, where)
    t.deepEqual(world.calls, [], where)
    t.is(alive(), 2, where)
    t.truthy(rig.tokens.find(read) && rig.tokens.find(write), where)
    t.is(rig.revokeAll.findRemaining(), undefined, where)
  }
  disk.storeFailure = FULL
  t.is((await failureOf(rig.revokeAll.begin())).code, 'disk-full')
  assertServed('the list of what is to be revoked')
  delete disk.storeFailure
  const { connection } = rig.store
  const store = connection.write
  const refuse = (): never => {
    throw FULL
  }
  Object.assign(connection, { write: refuse })
  t.is((await failureOf(rig.revokeAll.begin())).code, 'disk-full')
  assertServed('the new enablement')
  t.is(createRig(premises).revokeAll.findRemaining(), undefined, 'nor after a restart')
  await rig.revokeAll.resume()
  assertServed('a heartbeat later')
  Object.assign(connection, { write: store })
  t.deepEqual(await rig.revokeAll.begin(), { revoked: 3, remaining: 0, failed: [] })
  t.is(createRig(premises).revokeAll.findRemaining(), undefined)
})

test('what was to be revoked before is revoked, and nothing else, where more cannot be stored', async t => {
  const { rig, world, read, alive, disk } = await scene()
  world.outage = new Failure('unreachable', 'no route')
  t.is((await rig.revokeAll.begin()).remaining, 3)
  world.outage = undefined
  const fresh = (await rig.tokens.obtain(read)).token.reveal()
  disk.storeFailure = FULL
  t.is((await failureOf(rig.revokeAll.begin())).code, 'disk-full')
  t.is(alive(), 0)
  t.true(world.isAlive(fresh))
  t.is(rig.tokens.find(read)?.token.reveal(), fresh)
})

test('a node that joins serves nothing of before, also where what it is to revoke cannot be stored', async t => {
  const { rig, read, write, alive, disk } = await scene()
  disk.storeFailure = FULL
  t.throws(() => rig.revokeAll.join([]), { code: 'disk-full' })
  t.deepEqual([rig.tokens.find(read), rig.tokens.find(write)], [undefined, undefined])
  delete disk.storeFailure
  await rig.revokeAll.resume()
  t.is(alive(), 0)
})

test('a full disk ends no heartbeat that goes on with a revocation, and is in the log', async t => {
  const { rig, premises, read, alive, disk } = await scene()
  rig.killAfterWrites(1)
  rig.revokeAll.begin().catch(() => undefined)
  await settle()
  const again = createRig(premises)
  const complaints = (): number =>
    again.log.lines.filter(({ message }) => message === 'tokens that were revoked could not be removed').length
  disk.storeFailure = FULL
  await t.notThrowsAsync(again.revokeAll.resume())
  t.is(complaints(), 1)
  t.is(alive(), 2)
  t.is(again.tokens.find(read), undefined)
  delete disk.storeFailure
  await again.disable.begin({ local: true, wait: false })
  disk.storeFailure = FULL
  await t.notThrowsAsync(again.revokeAll.resume())
  t.is(complaints(), 2, 'what went with the connection')
  t.is(again.revokeAll.findRemaining(), undefined)
})
