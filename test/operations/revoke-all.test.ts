// `revoke --all`: no token of before is served or good any more, whatever fails in between, and new ones are to be had.

import test from 'ava'
import { Secret } from '../../src/domain/secret.ts'
import { createClusterRig } from '../support/cluster-rig.ts'
import { Failure } from '../../src/domain/errors.ts'
import { failureOf, settle } from '../support/fakes.ts'
import { connectedRig, createRig } from '../support/operations-rig.ts'

const scene = async () => {
  const made = await connectedRig()
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
  const { generation } = rig.journey.read()
  t.deepEqual(
    await rig.revokeAll.begin(),
    { revoked: 3, remaining: 0, failed: [] },
    'that of the proof of the connection, too',
  )
  t.is(alive(), 0)
  t.is(rig.kind(), 'connected')
  t.is(rig.journey.read().generation, generation + 1)
  t.is(rig.journey.read().installations[0]?.id, installation.id)
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
    const { generation } = rig.journey.read()
    rig.killAfterWrites(writes)
    // A call of a dead process is never answered.
    rig.revokeAll.begin().catch(() => undefined)
    await settle()
    await clock.advance(0)
    const again = createRig(premises)
    again.heartbeat.start()
    await clock.advance(0)
    await settle()
    const began = again.journey.read().generation > generation
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
