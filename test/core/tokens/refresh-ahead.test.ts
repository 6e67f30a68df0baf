// Refresh ahead: what was handed out is minted before its time; what GitHub refused is not asked for again; a used-up quota ends the pass.

import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Grant, Policy } from '../../../src/protocol/profile.ts'
import { summarizeScope } from '../../../src/protocol/scope.ts'
import { MINTS } from '../../../src/core/peers/rate-limit.ts'
import type { Membership } from '../../../src/core/connection/membership.ts'
import { failureOf } from '../../support/fakes.ts'
import { callerOf, connectedRig, peerOf } from '../../support/operations-rig.ts'
import { QUIET_SEAT } from '../../support/quiet-membership.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

const POLICY: Policy = {
  profiles: [
    {
      name: 'any',
      installation: 'octo-org',
      repositories: ['*'],
      permissions: { contents: 'read' },
      allow: { users: [{ name: 'u1000', id: 1000 }], groups: [], units: [] },
    },
  ],
}

/** The token with which the daemon looks at the installation. */
const ownScope = (installation: number): string => `installation ${installation}, all repositories, metadata: read`

/** So many scopes were handed out to user 1000 and are due. */
const rigWithDue = async (count: number) => {
  const rig = await connectedRig({ policy: POLICY })
  const held = rig.world.installations.get(rig.installation.id)
  if (held) held.repositories = Array.from({ length: count + 1 }, (_, id) => ({ id: id + 1, name: `r${id}` }))
  const caller = callerOf(peerOf(1000))
  const askAll = async () => {
    for (let n = 0; n < count; n += 1) await rig.issuer.answer({ repositories: [`r${n}`] }, caller)
  }
  await askAll()
  await rig.clock.advance(21 * MINUTE)
  await askAll()
  rig.world.calls.length = 0
  rig.told.length = 0
  rig.log.lines.length = 0
  return { ...rig, caller, askAll }
}

test('a refusal for the quota ends the pass of that installation, with one event and one line for all of its scopes', async t => {
  const { tokens, world, told, app, rig } = await rigWithDue(60)
  const elsewhere = world.install(app.id, { type: 'organization', login: 'hexa' })
  await rig.drift.check()
  const grant: Grant = { profile: 'other', scope: { installation: elsewhere.id, permissions: { contents: 'read' } } }
  await tokens.obtain(grant)
  told.length = 0
  world.refuse('mint', 'quota', { times: 1_000, retryAfterSeconds: 600 })
  const before = world.count('mint')
  const outcomes = await tokens.refresh()
  t.true(world.count('mint') - before <= 8, 'those that were under way at once')
  t.is(outcomes.length, 1)
  t.is(outcomes[0]?.failure?.code, 'quota')
  t.regex(outcomes[0]?.failure?.message ?? '', /59 more scopes wait/)
  t.is(told.filter(({ event }) => event === 'refresh-failed').length, 1)
  const after = world.count('mint')
  t.is((await tokens.refresh())[0]?.failure?.code, 'quota')
  t.is(world.count('mint'), after, 'and while it rests nobody asks')
})

test('scopes that fail alike are one event', async t => {
  const { tokens, world, told } = await rigWithDue(20)
  world.refuse('mint', 'timeout', { times: 20 })
  t.is((await tokens.refresh()).length, 20)
  const events = told.filter(({ event }) => event === 'refresh-failed')
  t.is(events.length, 1)
  t.regex(events[0]?.detail ?? '', /^timeout: .*19 more scopes/)
})

test('what came of a refresh is told in the order of the tokens, whichever answer came first', async t => {
  const { tokens, world } = await rigWithDue(3)
  const letGo = world.hold('mint')
  const pass = tokens.refresh()
  while (world.count('mint') < 3) await setImmediate()
  await setImmediate()
  letGo()
  t.deepEqual(
    (await pass).map(({ scope }) => /r\d/.exec(scope)?.[0]),
    ['r0', 'r1', 'r2'],
  )
})

test('only what was handed out is refreshed ahead', async t => {
  const { tokens, world, issuer, clock, installation } = await connectedRig({ policy: POLICY })
  const dead = callerOf(peerOf(1000))
  world.refuse('mint', 'timeout')
  await failureOf(issuer.answer({ repositories: ['api'] }, dead))
  await clock.advance(2 * MINUTE)
  t.deepEqual(await tokens.refresh(), [], 'a mint that failed has nobody who holds its token')
  const grant: Grant = { profile: 'any', scope: { installation: installation.id, repositories: ['tpyo'] } }
  t.is((await failureOf(tokens.obtain(grant))).code, 'repository-not-accessible')
  t.is(world.count('mint'), 2)
  t.deepEqual(
    (await tokens.refresh({ force: true })).map(({ scope }) => scope),
    [ownScope(installation.id)],
    'nor does an administrator order it',
  )
})

test('a scope that was refused for good is refreshed by no tick and by no refresh, also where it was handed out before', async t => {
  const { tokens, world, clock, installation, disk } = await connectedRig()
  const grant: Grant = { profile: 'ci', scope: { installation: installation.id, repositories: ['web', 'api'] } }
  await tokens.obtain(grant)
  await clock.advance(21 * MINUTE)
  await tokens.obtain(grant)
  await tokens.refresh()
  tokens.flush()
  t.is([...disk.tokens.values()].filter(({ profile }) => profile === 'ci').length, 2, 'the old one and its successor')
  world.change(installation.id, {}, ['web'])
  await clock.advance(1_000)
  const outcomes = await tokens.refresh({ force: true })
  t.true(outcomes.some(({ failure }) => failure?.code === 'repository-not-accessible'))
  tokens.flush()
  t.deepEqual(
    [...disk.tokens.values()].filter(({ profile }) => profile === 'ci'),
    [],
    'neither of its tokens is kept',
  )
  const mints = world.count('mint')
  await clock.advance(6 * MINUTE)
  await tokens.refresh()
  t.deepEqual(await tokens.refresh({ force: true }), [{ scope: ownScope(installation.id) }])
  t.is(world.count('mint'), mints + 1, 'GitHub is not asked for it again')
  t.is((await failureOf(tokens.obtain(grant))).code, 'repository-not-accessible')
  t.is(world.count('mint'), mints + 2, 'but for somebody who asks')
  await clock.advance(11 * MINUTE)
  await tokens.refresh()
  t.false([...tokens.usage().byHolder.keys()].includes('unclaimed'), 'and it is forgotten')
})

test('with less than half of the quota left, refreshing ahead takes the allowance of its holder', async t => {
  const { tokens, world, issuer, caller, clock } = await rigWithDue(40)
  world.quota = { limit: 5_000, remaining: 2_000, resetAtMs: world.nowMs() + HOUR }
  // The user's allowance is used up.
  const held = [...world.installations.values()][0]
  if (held) held.repositories = Array.from({ length: 2_000 }, (_, id) => ({ id: id + 1, name: `r${id}` }))
  for (let n = 41; n < 41 + MINTS.burst; n += 1) await issuer.answer({ repositories: [`r${n}`] }, caller)
  const mints = world.count('mint')
  t.deepEqual(await tokens.refresh(), [], 'those that wait are no failure')
  t.is(world.count('mint'), mints)
  await clock.advance(10_000)
  await tokens.refresh()
  t.is(world.count('mint'), mints + 10, 'one a second')
  world.quota = { ...world.quota, remaining: 4_000 }
  await tokens.refresh()
  t.is(world.count('mint'), mints + 40, 'while there is plenty it costs nobody anything')
})

test('jitter brings a mint forward, never back', async t => {
  for (const { random, atMinutes } of [
    { random: 0, atMinutes: 20 },
    { random: 1, atMinutes: 16 },
  ]) {
    const { tokens, clock, installation } = await connectedRig({ random: () => random })
    const grant: Grant = { profile: 'ci', scope: { installation: installation.id, permissions: { contents: 'read' } } }
    await tokens.obtain(grant)
    await clock.advance((atMinutes - 1) * MINUTE)
    await tokens.obtain(grant)
    t.deepEqual(await tokens.refresh(), [], `jitter ${random}: not yet`)
    await clock.advance(MINUTE + 1_000)
    t.is((await tokens.refresh()).length, 1, `jitter ${random}: now`)
  }
})

test('a promotion is on the disk: after a restart the settled token is the current one', async t => {
  const { tokens, clock, disk, installation } = await connectedRig()
  const grant: Grant = { profile: 'ci', scope: { installation: installation.id, permissions: { contents: 'read' } } }
  await tokens.obtain(grant)
  await clock.advance(21 * MINUTE)
  await tokens.obtain(grant)
  await tokens.refresh()
  await clock.advance(30_000)
  const settled = (await tokens.obtain(grant)).token.reveal()
  tokens.flush()
  const stored = [...disk.tokens.values()].filter(({ profile }) => profile === 'ci')
  t.deepEqual(
    stored.map(({ slot, token }) => [slot, token.reveal()]),
    [['current', settled]],
  )
})

const ofRead = (installation: number, profile = 'ci'): Grant => ({
  profile,
  scope: { installation, permissions: { contents: 'read' } },
})

test('a scope is in use for ten minutes after it was asked for, and no longer', async t => {
  const { tokens, clock, installation } = await connectedRig()
  const [former, latter] = [ofRead(installation.id, 'former'), ofRead(installation.id, 'latter')]
  for (const grant of [former, latter]) await tokens.obtain(grant)
  await clock.advance(11 * MINUTE)
  await tokens.obtain(former)
  await clock.advance(1_000)
  await tokens.obtain(latter)
  await clock.advance(10 * MINUTE - 1_000)
  t.is((await tokens.refresh()).length, 1)
  await tokens.obtain(former)
  t.is((await tokens.refresh()).length, 1)
})

test('a tick does not have a scope forget how long GitHub said that it rests', async t => {
  const { tokens, world, installation } = await connectedRig()
  world.refuse('mint', 'github-outage', { retryAfterSeconds: 300 })
  t.is((await failureOf(tokens.obtain(ofRead(installation.id)))).code, 'github-outage')
  await tokens.refresh()
  t.is((await failureOf(tokens.obtain(ofRead(installation.id)))).code, 'github-outage')
  t.is(world.count('mint'), 1)
})

test('what is in use on another node is minted here when it is due, and is in use here, too', async t => {
  const { tokens, clock, world, installation } = await connectedRig()
  const grant = ofRead(installation.id)
  await tokens.refreshFor([grant])
  t.truthy(tokens.find(grant))
  await tokens.refreshFor([grant])
  t.is(world.count('mint'), 1, 'it is not due')
  await clock.advance(12 * MINUTE)
  await tokens.refreshFor([grant])
  await clock.advance(9 * MINUTE)
  t.deepEqual(await tokens.refresh(), [{ scope: summarizeScope(grant.scope) }])
})

test('a refresh that failed is an event of each installation, with profile and scope', async t => {
  const { tokens, world, app, clock, told, drift, installation } = await connectedRig()
  const elsewhere = world.install(app.id, { type: 'organization', login: 'hexa' })
  await drift.check()
  const grants = [ofRead(installation.id), ofRead(elsewhere.id, 'other')]
  const askAll = async () => {
    for (const grant of grants) await tokens.obtain(grant)
  }
  await askAll()
  await clock.advance(21 * MINUTE)
  await askAll()
  world.outage = new Failure('unreachable', 'no route')
  await tokens.refresh()
  t.like(
    told.filter(({ event }) => event === 'refresh-failed'),
    grants.map(({ profile, scope }) => ({ profile, scope: summarizeScope(scope), detail: 'unreachable: no route' })),
  )
})

test('an administrator has GitHub asked in spite of a rest and of a quota that is used up', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  await tokens.obtain(ofRead(installation.id))
  world.refuse('mint', 'quota', { retryAfterSeconds: 600 })
  t.is((await failureOf(tokens.obtain(ofRead(installation.id, 'other')))).code, 'quota')
  t.is(tokens.waits().length, 1)
  world.quota = { limit: 5_000, remaining: 0, resetAtMs: clock.trueNow() + HOUR }
  const mints = world.count('mint')
  const outcomes = await tokens.refresh({ force: true })
  t.true(outcomes.length > 0)
  t.deepEqual(
    outcomes.filter(({ failure }) => failure),
    [],
  )
  t.is(world.count('mint'), mints + outcomes.length)
  t.deepEqual(tokens.waits(), [])
})

test('while no installation is known, what is held is not taken for that of a former one', async t => {
  const { tokens, connectionState, installation } = await connectedRig()
  const { token } = await tokens.obtain(ofRead(installation.id))
  connectionState.transition(connectionState.read().connection, { installations: [] })
  await tokens.refresh()
  t.is(tokens.find(ofRead(installation.id))?.token, token)
})

test('a node that does not mint ahead tells the cluster what is due, and mints what an administrator orders', async t => {
  const wanted: Grant[][] = []
  const membership: Membership = { ...QUIET_SEAT, wantAhead: grants => void wanted.push([...grants]) }
  let inCluster = false
  const { tokens, clock, world, installation } = await connectedRig({
    membership: () => (inCluster ? membership : undefined),
  })
  const grant = ofRead(installation.id)
  await tokens.obtain(grant)
  inCluster = true
  await clock.advance(21 * MINUTE)
  await tokens.obtain(grant)
  const mints = world.count('mint')
  t.deepEqual(await tokens.refresh(), [])
  t.deepEqual(wanted, [[grant]])
  t.is(world.count('mint'), mints)
  const forced = await tokens.refresh({ force: true })
  t.is(world.count('mint'), mints + forced.length)
  t.is(wanted.length, 1)
})
