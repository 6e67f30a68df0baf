// The heartbeat: what hangs on its beats, when one is tried again, and that a stop ends all of it.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { createHeartbeat } from '../../../src/core/tokens/refresh.ts'
import { failureOf } from '../../support/fakes.ts'
import { connectedRig } from '../../support/operations-rig.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND

/** Over the parts of a connected rig, some of them replaced. */
const beating = async (more: Partial<Parameters<typeof createHeartbeat>[0]> = {}) => {
  const all = await connectedRig()
  return { ...all, heartbeat: createHeartbeat({ ...all.rig, schedule: () => '*/5 * * * *', ...more }) }
}

test('what was restored is proven again half a minute later until it is, and each beat is told at its end', async t => {
  let [proofs, beats] = [0, 0]
  const { heartbeat, clock, log } = await beating({
    async prove() {
      proofs += 1
      if (proofs < 3) throw new Failure('unreachable', 'no route')
    },
    onBeat: () => void (beats += 1),
  })
  heartbeat.start()
  await clock.advance(29 * SECOND)
  t.deepEqual([proofs, beats], [1, 1])
  await clock.advance(31 * SECOND)
  t.deepEqual([proofs, beats], [3, 3])
  await clock.advance(2 * MINUTE)
  t.is(beats, 3)
  t.is(
    log.lines.filter(({ level, message }) => level === 'warn' && message === 'what was restored is not proven yet')
      .length,
    2,
  )
})

test('tokens that are left to be revoked bring the next beat forward', async t => {
  let resumed = 0
  const { heartbeat, clock } = await beating({
    revokeAll: {
      resume: async () => void (resumed += 1),
      findRemaining: () => (resumed < 2 ? { tokens: 1, endsAtMs: 0, failure: undefined } : undefined),
    },
  })
  heartbeat.start()
  await clock.advance(31 * SECOND)
  t.is(resumed, 2)
  await clock.advance(2 * MINUTE)
  t.is(resumed, 2)
})

test('a node that does not lead refreshes its tokens, and leaves the App to the one that does', async t => {
  const { heartbeat, clock, world, tokens, installation } = await beating({ leads: () => false })
  const grant = { profile: 'ci', scope: { installation: installation.id } }
  await tokens.obtain(grant)
  heartbeat.start()
  await clock.advance(18 * MINUTE)
  await tokens.obtain(grant)
  const minted = world.count('mint')
  await clock.advance(7 * MINUTE)
  t.is(world.count('mint'), minted + 1)
  t.is(world.count('listInstallations'), 0)
})

test('before the start and after the stop nothing makes it beat, not even a beat that failed', async t => {
  const { heartbeat, clock, world } = await beating({ prove: () => Promise.reject(new Failure('dns', 'no address')) })
  heartbeat.soon()
  await clock.advance(MINUTE)
  t.is(world.calls.length, 0)
  heartbeat.start()
  await clock.advance(0)
  t.is(world.count('listInstallations'), 1)
  const answer = world.hold('listInstallations')
  heartbeat.soon()
  await clock.advance(0)
  heartbeat.soon()
  heartbeat.stop()
  answer()
  heartbeat.soon()
  clock.setWallBy(10 * MINUTE)
  await clock.advance(10 * MINUTE)
  t.is(world.count('listInstallations'), 2)
})

test('a beat that ends early is logged, and the next one comes at its tick', async t => {
  const { heartbeat, clock, disk, rig, log } = await beating({
    host: () => ({ machineId: 'machine-2', hostname: 'clone.example.com' }),
  })
  disk.storeFailure = new Failure('disk-full', 'no space')
  heartbeat.start()
  await clock.advance(0)
  t.is(rig.kind(), 'connected')
  t.true(log.lines.some(({ level, message }) => level === 'error' && message === 'a refresh ended early'))
  delete disk.storeFailure
  await clock.advance(5 * MINUTE)
  t.is(rig.kind(), 'quarantined')
  t.like(rig.connectionState.read().connection, {
    evidence: 'enabled on ghe.example.com, this is clone.example.com',
    host: { machineId: 'machine-1', hostname: 'ghe.example.com' },
  })
})

test('on another machine of the same cluster nothing is quarantined', async t => {
  const { heartbeat, clock, rig } = await beating({
    host: () => ({ machineId: 'machine-2', hostname: 'other.example.com' }),
    isHome: ({ hostname }) => hostname === 'ghe.example.com',
  })
  heartbeat.start()
  await clock.advance(0)
  t.is(rig.kind(), 'connected')
})

test('a clock that jumps is logged with by how much', async t => {
  const { heartbeat, clock, log } = await beating()
  heartbeat.start()
  await clock.advance(0)
  clock.setWallBy(90_400)
  t.deepEqual(log.lines.find(({ message }) => message.startsWith('the clock jumped'))?.fields, { seconds: 90 })
})

test('a refresh that asked GitHub for nothing is no success while GitHub refuses the App', async t => {
  const { heartbeat, tokens, world, rig, installation } = await beating()
  world.suspend(installation.id, true)
  tokens.drop()
  const failure = await failureOf(heartbeat.force())
  t.is(failure.code, 'suspended')
  t.regex(failure.message, /^The installation is suspended/)
  t.regex(failure.next, /unsuspend/)
  world.suspend(installation.id, false)
  t.deepEqual(await heartbeat.force(), { refreshed: 0, failed: [] })
  t.is(rig.kind(), 'connected', 'that it is over was found out first')
})
