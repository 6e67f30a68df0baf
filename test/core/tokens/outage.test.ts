// Thirty-five minutes without GitHub, from any moment on: whoever asks for a token has one throughout.

import test from 'ava'
import * as fc from 'fast-check'
import { Failure } from '../../../src/protocol/errors.ts'
import { connectedRig } from '../../support/operations-rig.ts'

const MINUTE = 60_000

test('with the default settings every scope in use is served through 35 minutes without GitHub, whenever they begin', async t => {
  let outages = 0
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 65 * 60 }),
      fc.array(fc.record({ firstS: fc.integer({ min: 0, max: 600 }), everyS: fc.integer({ min: 30, max: 540 }) }), {
        minLength: 1,
        maxLength: 3,
      }),
      fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
      async (beginS, clients, jitters) => {
        const { tokens, heartbeat, world, clock, installation } = await connectedRig({
          random: () => jitters.next().value ?? 0,
        })
        heartbeat.start()
        const refused: string[] = []
        for (const [at, { firstS, everyS }] of clients.entries()) {
          const grant = {
            profile: `client ${at}`,
            scope: { installation: installation.id, repositories: [at % 2 ? 'web' : 'api'] },
          }
          const ask = async (): Promise<void> => {
            try {
              const { token } = await tokens.obtain(grant)
              if (!world.isAlive(token.reveal())) refused.push('a token that is over')
            } catch (error) {
              refused.push(String(error))
            }
          }
          clock.after(firstS * 1_000, () => {
            void ask()
            clock.every(everyS * 1_000, () => void ask())
          })
        }
        // All have asked once before the outage begins.
        await clock.advance(601_000 + beginS * 1_000)
        world.outage = new Failure('unreachable', 'no route to host')
        outages += 1
        await clock.advance(35 * MINUTE - 3_000)
        world.outage = undefined
        await clock.advance(2 * MINUTE)
        return refused.length === 0
      },
    ),
    { numRuns: 40 },
  )
  t.true(outages >= 40)
})

test('the worst phase: the outage begins a moment before the tick that would have refreshed', async t => {
  for (const lagS of [1, 5, 30]) {
    const { tokens, heartbeat, world, clock, installation } = await connectedRig({ random: () => 0 })
    const grant = { profile: 'ci', scope: { installation: installation.id } }
    heartbeat.start()
    // Minted so that at a tick exactly 40 minutes are left, which is not less than 40.
    await tokens.obtain(grant)
    clock.every(MINUTE, () => void tokens.obtain(grant).catch(() => {}))
    await clock.advance(25 * MINUTE - lagS * 1_000)
    world.outage = new Failure('unreachable', 'no route to host')
    await clock.advance(35 * MINUTE - 3_000)
    t.true(world.isAlive((await tokens.obtain(grant)).token.reveal()), `${lagS} s before the tick`)
  }
})

test('after an outage everything in use is fresh again within a minute, and nothing beats without end', async t => {
  const { tokens, heartbeat, world, clock, installation } = await connectedRig()
  const grant = { profile: 'ci', scope: { installation: installation.id } }
  heartbeat.start()
  await tokens.obtain(grant)
  clock.every(MINUTE, () => void tokens.obtain(grant).catch(() => {}))
  await clock.advance(20 * MINUTE)
  world.outage = new Failure('unreachable', 'no route to host')
  await clock.advance(70 * MINUTE)
  t.is(tokens.live().length, 0)
  const before = world.calls.length
  await clock.advance(5 * MINUTE)
  t.true(world.calls.length - before < 60, `${world.calls.length - before} calls in five minutes of outage`)
  world.outage = undefined
  await clock.advance(MINUTE)
  t.true(world.isAlive((await tokens.obtain(grant)).token.reveal()))
})

test('of many scopes whose tokens ended in the outage one asks in two seconds, and all are there again when it is answered', async t => {
  const { tokens, heartbeat, world, clock, installation } = await connectedRig()
  const grants = ['a', 'b', 'c', 'd', 'e'].map(profile => ({ profile, scope: { installation: installation.id } }))
  heartbeat.start()
  for (const grant of grants) await tokens.obtain(grant)
  for (const grant of grants) clock.every(1_000, () => void tokens.obtain(grant).catch(() => {}))
  world.outage = new Failure('unreachable', 'no route to host')
  await clock.advance(75 * MINUTE)
  const before = world.calls.length
  await clock.advance(MINUTE)
  const calls = world.calls.length - before
  t.true(calls >= 25 && calls <= 45, `${calls} calls in a minute of outage`)
  world.outage = undefined
  await clock.advance(4_000)
  for (const grant of grants) t.true(world.isAlive((await tokens.obtain(grant)).token.reveal()), grant.profile)
})

for (const code of ['proxy-authentication', 'key-rejected', 'scope-mismatch', 'clock-skew'] as const) {
  test(`${code} is no outage: a scope whose token ended waits out its pause`, async t => {
    const { tokens, heartbeat, world, clock, installation } = await connectedRig()
    const grant = { profile: 'ci', scope: { installation: installation.id } }
    heartbeat.start()
    await tokens.obtain(grant)
    clock.every(1_000, () => void tokens.obtain(grant).catch(() => {}))
    world.outage = new Failure(code, 'for the test')
    await clock.advance(75 * MINUTE)
    const before = world.calls.length
    await clock.advance(5 * MINUTE)
    t.true(world.calls.length - before <= 40, `${world.calls.length - before} calls in five minutes`)
  })
}

test('a token that ended in the outage is there again two seconds after it, and GitHub is asked no oftener', async t => {
  const { tokens, heartbeat, world, clock, installation } = await connectedRig()
  const grant = { profile: 'ci', scope: { installation: installation.id } }
  heartbeat.start()
  await tokens.obtain(grant)
  clock.every(MINUTE, () => void tokens.obtain(grant).catch(() => {}))
  world.outage = new Failure('unreachable', 'no route to host')
  await clock.advance(65 * MINUTE)
  await t.throwsAsync(tokens.obtain(grant), { code: 'unreachable' })
  const before = world.calls.length
  await t.throwsAsync(tokens.obtain(grant), { code: 'unreachable' })
  await clock.advance(1_900)
  await t.throwsAsync(tokens.obtain(grant), { code: 'unreachable' })
  t.true(world.calls.length - before <= 1, `${world.calls.length - before}`)
  world.outage = undefined
  await clock.advance(2_000)
  t.true(world.isAlive((await tokens.obtain(grant)).token.reveal()))
})
