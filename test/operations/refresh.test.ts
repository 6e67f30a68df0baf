// The heartbeat: at once, at each tick, after a jump of the clock, sooner after a failure, and never twice at a time.

import test from 'ava'
import { Failure } from '../../src/domain/errors.ts'
import { parseWith, RefreshAnswer, Status } from '../../src/domain/wire.ts'
import { failureOf } from '../support/fakes.ts'
import { connectedRig, createPremises, createRig } from '../support/operations-rig.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND

test('it beats at once and at each tick, and stops when told to', async t => {
  const { heartbeat, world, clock } = await connectedRig()
  heartbeat.start()
  await clock.advance(0)
  t.is(world.count('listInstallations'), 1)
  await clock.advance(15 * MINUTE)
  t.is(world.count('listInstallations'), 4)
  heartbeat.stop()
  await clock.advance(15 * MINUTE)
  t.is(world.count('listInstallations'), 4)
})

test('a set clock and a machine that slept are looked at within the moment', async t => {
  const { heartbeat, tokens, world, clock, installation } = await connectedRig()
  const grant = { profile: 'ci', scope: { installation: installation.id } }
  heartbeat.start()
  await tokens.obtain(grant)
  await clock.advance(MINUTE)
  const mints = world.count('mint')
  clock.sleepMachine(3 * 60 * MINUTE)
  await clock.advance(0)
  t.true(world.count('mint') > mints, 'what was in use is fresh before anybody asks')
  t.true(world.isAlive((await tokens.obtain(grant)).token.reveal()))
})

test('a beat that hangs is not joined by another', async t => {
  const { heartbeat, world, clock } = await connectedRig()
  world.withhold('listInstallations')
  heartbeat.start()
  await clock.advance(0)
  clock.setWallBy(10 * MINUTE)
  clock.setWallBy(-10 * MINUTE)
  await clock.advance(SECOND)
  t.is(world.count('listInstallations'), 1)
  await clock.advance(10 * MINUTE)
  t.true(world.count('listInstallations') > 1, 'after the deadline it beats on')
})

test('what asks for a beat during another one is answered by one more, as soon as that has ended', async t => {
  const { heartbeat, world, clock } = await connectedRig()
  const answer = world.hold('listInstallations')
  heartbeat.start()
  await clock.advance(0)
  // Something was changed that the one under way may not have seen any more.
  heartbeat.soon()
  heartbeat.soon()
  await clock.advance(0)
  t.is(world.count('listInstallations'), 1)
  answer()
  await clock.advance(0)
  t.is(world.count('listInstallations'), 2)
})

test('a refresh that failed is tried again soon, and not only at the next tick', async t => {
  const { heartbeat, tokens, world, clock, installation } = await connectedRig({
    refresh: { beforeExpiryMs: 59 * MINUTE },
  })
  heartbeat.start()
  await tokens.obtain({ profile: 'ci', scope: { installation: installation.id } })
  world.refuse('mint', 'github-outage')
  await clock.advance(5 * MINUTE)
  const mints = world.count('mint')
  await clock.advance(31 * SECOND)
  t.is(world.count('mint'), mints + 1)
  await clock.advance(MINUTE)
  t.is(world.count('mint'), mints + 1, 'it succeeded')
})

test('what an administrator asks for mints every scope that is held, and tells what failed', async t => {
  const { heartbeat, tokens, world, installation } = await connectedRig()
  const scope = { installation: installation.id }
  await tokens.obtain({ profile: 'ci', scope })
  await tokens.obtain({ profile: 'ci', scope: { ...scope, repositories: ['web'] } })
  const held = tokens.counts().live
  const before = world.count('mint')
  t.deepEqual(parseWith(RefreshAnswer, await heartbeat.force()), { refreshed: held, failed: [] })
  t.is(world.count('mint') - before, held)
  world.refuse('mint', 'permission-not-granted')
  const { refreshed, failed } = await heartbeat.force()
  t.is(refreshed, held - 1)
  t.is(failed[0]?.code, 'permission-not-granted')
  t.false(JSON.stringify(failed).includes('ghs_'))
})

test('without a connection there is nothing to refresh, and the heart beats on', async t => {
  const premises = createPremises()
  const rig = createRig(premises)
  t.is((await failureOf(rig.heartbeat.force())).code, 'not-connected')
  rig.heartbeat.start()
  await premises.clock.advance(30 * MINUTE)
  t.deepEqual(premises.world.calls, [])
  t.is(rig.kind(), 'disconnected')
})

test('status tells of tokens, of the way to GitHub and of the clock', async t => {
  const { status, tokens, world, rig, clock, installation } = await connectedRig()
  await tokens.obtain({ profile: 'ci', scope: { installation: installation.id } })
  const whole = parseWith(Status, status.whole())
  t.is(whole.state, 'connected')
  t.is(whole.tokens.live, tokens.counts().live)
  t.is(whole.last_failure, undefined)
  t.deepEqual(status.reasonsNotReady(), [])
  world.outage = new Failure('proxy-authentication', 'squid says 407')
  await rig.drift.check()
  t.is(status.whole().last_failure?.code, 'proxy-authentication')
  t.deepEqual(status.reasonsNotReady(), [], 'there are tokens to serve')
  await clock.advance(61 * MINUTE)
  t.regex(status.reasonsNotReady()[0] ?? '', /^proxy-authentication/)
  world.outage = undefined
  clock.setWallBy(-10 * MINUTE)
  await rig.drift.check()
  const clockWarning = status.whole().warnings.find(warning => warning.code === 'clock')
  t.regex(clockWarning?.detail ?? '', /(599|600|601) s behind/)
  await clock.advance(366 * 24 * 60 * MINUTE)
  t.true(status.whole().warnings.some(warning => warning.code === 'key-old'))
})
