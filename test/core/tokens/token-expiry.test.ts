// Expiry: what has ended is never served, whatever was done to this machine's clock.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Grant } from '../../../src/protocol/profile.ts'
import type { Scope } from '../../../src/protocol/scope.ts'
import { failureOf } from '../../support/fakes.ts'
import { connectedRig } from '../../support/operations-rig.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

const grantFor = (installation: number, more: Partial<Scope> = {}): Grant => ({
  profile: 'ci',
  scope: { installation, permissions: { contents: 'read' }, ...more },
})

test('an expired token is never served, even when nothing else can be had', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  world.outage = new Failure('unreachable', 'no route')
  await clock.advance(HOUR - 2_000)
  t.is((await tokens.obtain(grant)).token.reveal(), old.token.reveal(), 'a second of life is better than nothing')
  await clock.advance(3_000)
  t.is((await failureOf(tokens.obtain(grant))).code, 'unreachable')
  t.deepEqual(tokens.live(), [])
})

test('a wall clock that is set back makes no token young again, one that is set ahead none old for long', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  clock.setWallBy(-HOUR)
  await clock.advance(30 * MINUTE)
  t.is((await tokens.obtain(grant)).token.reveal(), old.token.reveal())
  await clock.advance(30 * MINUTE)
  world.outage = new Failure('unreachable', 'no route')
  t.is((await failureOf(tokens.obtain(grant))).code, 'unreachable')
  world.outage = undefined
  await clock.advance(MINUTE)
  const fresh = await tokens.obtain(grant)
  t.true(world.isAlive(fresh.token.reveal()))
  clock.setWallBy(3 * HOUR)
  t.true(world.isAlive((await tokens.obtain(grant)).token.reveal()))
  const mints = world.count('mint')
  for (let n = 0; n < 10; n += 1) t.true(world.isAlive((await tokens.obtain(grant)).token.reveal()))
  t.is(world.count('mint'), mints, 'the offset was learned')
})

test('a machine that slept serves nothing that ended meanwhile', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const old = await tokens.obtain(grantFor(installation.id))
  clock.sleepMachine(2 * HOUR)
  const fresh = await tokens.obtain(grantFor(installation.id))
  t.not(fresh.token.reveal(), old.token.reveal())
  t.true(world.isAlive(fresh.token.reveal()))
})
