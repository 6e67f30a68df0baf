// Drift: states are entered on evidence, never on one refusal, and left by themselves.

import test from 'ava'
import { Failure } from '../../src/domain/errors.ts'
import { failureOf } from '../support/fakes.ts'
import { connectedRig, createRig, ORG } from '../support/operations-rig.ts'

const MINUTE = 60_000

test('suspended and unsuspended, uninstalled and installed again: each is noticed at the next look', async t => {
  const { drift, world, rig, app, installation, told } = await connectedRig()
  world.suspend(installation.id, true)
  await drift.check()
  t.is(rig.kind(), 'suspended')
  world.suspend(installation.id, false)
  await drift.check()
  t.is(rig.kind(), 'connected')
  world.uninstall(installation.id)
  await drift.check()
  t.is(rig.kind(), 'uninstalled')
  const again = world.install(app.id, ORG)
  await drift.check()
  t.is(rig.kind(), 'connected')
  t.deepEqual(
    rig.journey.read().installations.map(({ id }) => id),
    [again.id],
  )
  t.deepEqual(
    told
      .filter(event => event.event === 'state')
      .map(event => event.state)
      .slice(-4),
    ['suspended', 'connected', 'uninstalled', 'connected'],
  )
})

test('while some installation works, the connection does', async t => {
  const { drift, world, rig, app, installation } = await connectedRig()
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  world.suspend(other.id, true)
  await drift.check()
  t.is(rig.kind(), 'connected')
  world.suspend(installation.id, true)
  await drift.check()
  t.is(rig.kind(), 'suspended')
})

for (const [code, state] of [
  ['app-not-found', 'app-deleted'],
  ['key-rejected', 'key-rejected'],
] as const) {
  test(`one ${code} changes nothing, a burst neither, repeats over half a minute do; recovery needs one good answer`, async t => {
    const { drift, world, rig, clock } = await connectedRig()
    world.refuse('listInstallations', code)
    await drift.check()
    t.is(rig.kind(), 'connected')
    await clock.advance(10 * MINUTE)
    t.is(rig.kind(), 'connected', 'the second look found it well')
    world.refuse('listInstallations', code, { times: 10 })
    for (let n = 0; n < 10; n += 1) await drift.check()
    t.is(rig.kind(), 'connected', 'ten in a moment are one')
    world.refuse('listInstallations', code, { times: 1_000 })
    await clock.advance(2 * MINUTE)
    t.is(rig.kind(), state)
    const calls = world.calls.length
    await clock.advance(10 * MINUTE)
    t.true(world.calls.length - calls < 5, 'once known, it is not asked without end')
  })
}

test('what was refused for a while comes back by itself, after a restart too', async t => {
  const { drift, world, rig, clock, premises } = await connectedRig()
  world.refuse('listInstallations', 'key-rejected', { times: 3 })
  await drift.check()
  await clock.advance(MINUTE)
  t.is(rig.kind(), 'key-rejected')
  rig.kill()
  const second = createRig(premises)
  t.is(second.kind(), 'key-rejected')
  second.heartbeat.start()
  await clock.advance(0)
  t.is(second.kind(), 'connected')
})

test('an outage, a proxy or a portal is no state', async t => {
  const { drift, world, rig, clock } = await connectedRig()
  for (const code of ['unreachable', 'proxy-refused', 'portal', 'github-outage', 'timeout', 'clock-skew'] as const) {
    world.refuse('listInstallations', code, { times: 10 })
    for (let n = 0; n < 10; n += 1) {
      await drift.check()
      await clock.advance(MINUTE)
    }
    t.is(rig.kind(), 'connected', code)
    t.is(rig.link.findTrouble()?.failure.code, code)
    t.true(rig.status.whole().warnings.some(warning => warning.code === code))
  }
})

test('an IP allow list that shows at the mint alone is a state, left when a token can be had again', async t => {
  const { tokens, heartbeat, world, rig, clock, installation } = await connectedRig()
  heartbeat.start()
  await clock.advance(0)
  world.blocked.add(ORG.login)
  const grant = { profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }
  t.is((await failureOf(tokens.obtain(grant))).code, 'ip-blocked')
  await clock.advance(0)
  t.is(rig.kind(), 'blocked')
  await clock.advance(12 * MINUTE)
  t.is(rig.kind(), 'blocked', 'the list of installations is not under the allow list')
  world.blocked.clear()
  await clock.advance(6 * MINUTE)
  t.is(rig.kind(), 'connected')
})

test('a full disk while a state is noted is logged and ends nothing', async t => {
  const { drift, world, rig, clock, disk, installation, log } = await connectedRig()
  disk.storeFailure = new Failure('disk-full', 'no space')
  world.suspend(installation.id, true)
  await t.notThrowsAsync(drift.check())
  world.refuse('listInstallations', 'key-rejected', { times: 1_000 })
  await drift.check()
  // The timers that confirm it run into the full disk: an unhandled rejection would end this test.
  await clock.advance(5 * MINUTE)
  t.is(rig.kind(), 'connected')
  t.true(log.lines.some(line => line.level === 'error'))
  delete disk.storeFailure
  await drift.check()
  t.is(rig.kind(), 'key-rejected')
})

test('in states that GitHub does not decide, it is not asked', async t => {
  const { drift, world, journey, clock } = await connectedRig()
  const { connection } = journey.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  journey.to({ ...connection, kind: 'disconnecting', step: 'delete-app', deadlineMs: clock.now() + MINUTE })
  await drift.check()
  t.is(world.calls.length, 0)
})
