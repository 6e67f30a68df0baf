// The heartbeat: at once, at each tick, after a jump of the clock, sooner after a failure, and never twice at a time.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { createHeartbeat } from '../../../src/core/tokens/refresh.ts'
import { parseWith, RefreshAnswer, Status } from '../../../src/protocol/wire.ts'
import { failureOf } from '../../support/fakes.ts'
import { connectedRig, createPremises, createRig } from '../../support/operations-rig.ts'

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

/** A heartbeat as the engine's, with what else hangs on its beats. */
const beating = async (more: Partial<Parameters<typeof createHeartbeat>[0]>) => {
  const made = await connectedRig()
  const heartbeat = createHeartbeat({ ...made.rig, schedule: () => '*/5 * * * *', ...more })
  return { ...made, heartbeat }
}

test('what was restored is proven with the beats, and where that fails again half a minute later', async t => {
  let proofs = 0
  let beats = 0
  let failure: Failure | undefined = new Failure('unreachable', 'no route')
  const { heartbeat, clock, log } = await beating({
    async prove() {
      proofs += 1
      if (failure) throw failure
    },
    onBeat: () => void (beats += 1),
  })
  heartbeat.start()
  await clock.advance(30 * SECOND - 1)
  t.deepEqual([proofs, beats], [1, 1])
  const line = log.lines.find(({ message }) => message === 'what was restored is not proven yet')
  t.like(line, { level: 'warn', fields: { error: { code: 'unreachable' } } })
  failure = undefined
  await clock.advance(1)
  t.deepEqual([proofs, beats], [2, 2])
  await clock.advance(MINUTE)
  t.deepEqual([proofs, beats], [2, 2], 'it was proven')
  await clock.advance(4 * MINUTE)
  t.deepEqual([proofs, beats], [3, 3], 'with each tick')
})

test('a beat that ends with an error is in the log, and the next one comes', async t => {
  let beats = 0
  const { heartbeat, clock, log } = await beating({
    onBeat() {
      beats += 1
      throw new Failure('io', 'read-only file system')
    },
  })
  heartbeat.start()
  await clock.advance(0)
  t.like(
    log.lines.find(({ level }) => level === 'error'),
    { message: 'a refresh ended early', fields: { error: { code: 'io' } } },
  )
  await clock.advance(5 * MINUTE)
  t.is(beats, 2)
})

test('a heart that does not beat asks nobody, whatever changed; a stop takes what was to be tried again along', async t => {
  const { heartbeat, world, clock, tokens, installation } = await connectedRig({
    refresh: { beforeExpiryMs: 59 * MINUTE },
  })
  heartbeat.soon()
  await clock.advance(MINUTE)
  t.deepEqual(world.calls, [])
  await tokens.obtain({ profile: 'ci', scope: { installation: installation.id } })
  await clock.advance(2 * MINUTE)
  world.refuse('mint', 'timeout')
  heartbeat.start()
  await clock.advance(0)
  t.true(world.count('mint') > 1)
  heartbeat.stop()
  world.calls.length = 0
  heartbeat.soon()
  await clock.advance(10 * MINUTE)
  clock.setWallBy(10 * MINUTE)
  await clock.advance(0)
  t.deepEqual(world.calls, [])
})

test('a jump of the clock is in the journal with its seconds', async t => {
  const { heartbeat, clock, log } = await connectedRig()
  heartbeat.start()
  await clock.advance(0)
  clock.setWallBy(-10 * MINUTE)
  await clock.advance(0)
  t.like(
    log.lines.find(({ message }) => message.startsWith('the clock jumped')),
    { level: 'warn', fields: { seconds: -600 } },
  )
})

test('an administrator who orders a refresh hears what keeps GitHub from it, and what is over by now', async t => {
  const { heartbeat, tokens, world, rig, installation } = await connectedRig()
  const grant = { profile: 'ci', scope: { installation: installation.id } }
  await tokens.obtain(grant)
  world.suspend(installation.id, true)
  await rig.drift.check({ force: true })
  t.is(rig.kind(), 'suspended')
  const { failed } = await heartbeat.force()
  t.deepEqual(failed[0], {
    scope: `installation ${installation.id}, all repositories, metadata: read`,
    code: 'suspended',
    detail: 'has been suspended',
  })
  tokens.drop()
  t.is((await failureOf(heartbeat.force())).code, 'suspended', 'where there is nothing to refresh')
  world.suspend(installation.id, false)
  t.deepEqual(await heartbeat.force(), { refreshed: 0, failed: [] })
  t.is(rig.kind(), 'connected')
})

test('a node that does not lead asks nothing of App and installations, and mints what is due', async t => {
  let leads = false
  const { heartbeat, world, clock, tokens, installation } = await beating({ leads: () => leads })
  await tokens.obtain({ profile: 'ci', scope: { installation: installation.id } })
  await clock.advance(21 * MINUTE)
  await tokens.obtain({ profile: 'ci', scope: { installation: installation.id } })
  world.calls.length = 0
  heartbeat.start()
  await clock.advance(0)
  t.deepEqual(world.calls, ['mint'])
  leads = true
  await clock.advance(5 * MINUTE)
  t.is(world.count('listInstallations'), 1)
})
