// A lease as its node sees it: held for no longer than etcd holds it, whatever becomes of clocks, members and answers.

import test from 'ava'
import { openLease } from '../../../src/core/cluster/etcd.ts'
import type { Members } from '../../../src/core/cluster/etcd-members.ts'
import { createFakeClock, createFakeLog, type FakeClock } from '../../support/fakes.ts'

const TTL_SECONDS = 5
const SECOND = 1_000

type Options = {
  readonly granted?: number
  /** Before the grant is answered. */
  readonly slowGrant?: (clock: FakeClock) => Promise<void>
  readonly revoke?: () => Promise<unknown>
}

/** etcd whose answers to keepalives come when the test says so. */
const setUp = async ({ granted = TTL_SECONDS, slowGrant, revoke }: Options = {}) => {
  const clock = createFakeClock()
  const log = createFakeLog()
  const asked: ((ttl?: number) => void)[] = []
  const times: (number | undefined)[] = []
  const revoked: unknown[] = []
  let refusing = false
  const call = async (method: string, request: () => object, mostMs?: number): Promise<unknown> => {
    if (method === 'leaseGrant') {
      await slowGrant?.(clock)
      return { id: 7n, ttl: BigInt(granted) }
    }
    if (method === 'leaseRevoke') {
      revoked.push(request())
      return revoke?.()
    }
    times.push(mostMs)
    if (refusing) throw new Error('no member answers')
    return new Promise(resolve => asked.push((ttl = granted) => resolve({ id: 7n, ttl: BigInt(ttl) })))
  }
  let ended = 0
  const members = { call: call as Members['call'] }
  const lease = await openLease({ members, clock, log }, TTL_SECONDS, () => void ended++)
  let lost = 0
  lease.onLost(() => void lost++)
  await clock.advance(0)
  return {
    clock,
    log,
    lease,
    asked,
    times,
    revoked,
    refuse: (now: boolean) => void (refusing = now),
    lost: () => lost,
    ended: () => ended,
  }
}

test('a lease that is confirmed goes on', async t => {
  const { clock, lease, asked } = await setUp()
  for (let seconds = 0; seconds < 30; seconds++) {
    await clock.advance(SECOND)
    asked.at(-1)?.()
    t.true(lease.isHeld())
  }
  t.is(asked.length, 30)
})

test('a confirmation counts from when it was asked for: etcd counts from no later', async t => {
  const { clock, lease, asked, lost, revoked } = await setUp()
  await clock.advance(SECOND)
  await clock.advance(900)
  asked[0]?.()
  await clock.advance(TTL_SECONDS * SECOND - 901)
  t.true(lease.isHeld())
  await clock.advance(1)
  t.false(lease.isHeld())
  t.is(lost(), 1)
  t.deepEqual(revoked, [{ id: 7n }])
})

test('a machine that slept for longer than the lease lasts has lost it, before it has heard so', async t => {
  const { clock, lease, asked } = await setUp()
  await clock.advance(SECOND)
  asked[0]?.()
  await clock.advance(0)
  clock.sleepMachine(TTL_SECONDS * SECOND)
  t.false(lease.isHeld())
})

test('a lease that etcd does not know any more is lost at once', async t => {
  const { lease, asked, lost, ended, log, clock } = await setUp()
  await clock.advance(SECOND)
  asked[0]?.(0)
  await clock.advance(0)
  t.false(lease.isHeld())
  t.deepEqual([lost(), ended()], [1, 1])
  const fields = { lease: '7', why: 'etcd does not know it any more' }
  t.deepEqual(log.lines, [{ level: 'warn', message: 'the lease in etcd is lost', fields }])
  let late = 0
  lease.onLost(() => void late++)
  t.is(late, 1, 'who comes later is told at once')
  await clock.advance(60 * SECOND)
  t.deepEqual([lost(), ended()], [1, 1])
})

test('a lease that is given back is not held, and nobody is told that it was lost', async t => {
  const { clock, lease, lost, revoked, ended, asked } = await setUp({
    revoke: () => Promise.reject(new Error('no member answers')),
  })
  await clock.advance(SECOND)
  await lease.revoke()
  t.false(lease.isHeld())
  await lease.revoke()
  asked[0]?.(0)
  await clock.advance(60 * SECOND)
  let told = 0
  lease.onLost(() => void told++)
  t.deepEqual([lost(), told, ended(), clock.waiting()], [0, 0, 1, 0])
  t.deepEqual([asked.length, revoked], [1, [{ id: 7n }]])
})

test('a lease that is closed is left to run out: nothing more is sent, and it is held no longer', async t => {
  const { clock, lease, lost, revoked, asked, ended } = await setUp()
  await clock.advance(SECOND)
  lease.close()
  lease.close()
  t.false(lease.isHeld())
  await clock.advance(60 * SECOND)
  t.deepEqual([lost(), ended(), asked.length, clock.waiting()], [0, 1, 1, 0])
  t.deepEqual(revoked, [])
})

test('a lease lasts as long as etcd granted it, from when it was asked for', async t => {
  const { clock, lease } = await setUp({ granted: 3, slowGrant: of => of.advance(SECOND) })
  await clock.advance(2 * SECOND - 1)
  t.true(lease.isHeld())
  await clock.advance(1)
  t.false(lease.isHeld())
})

test('where no member answers, each second one more keepalive is on its way, with time for three members, until the lease is over', async t => {
  const { clock, lease, asked, times, lost, log } = await setUp({
    revoke: () => Promise.reject(new Error('no member answers')),
  })
  await clock.advance(TTL_SECONDS * SECOND - 1)
  t.true(lease.isHeld())
  t.is(asked.length, 4)
  t.deepEqual(new Set(times), new Set([3 * SECOND]))
  await clock.advance(1)
  t.is(lost(), 1)
  t.deepEqual(log.lines[0]?.fields, { lease: '7', why: 'no keepalive was confirmed in time' })
})

test('a late answer confirms no more than when it was asked for, and takes nothing back that a later one confirmed', async t => {
  const { clock, lease, asked, refuse } = await setUp()
  await clock.advance(2 * SECOND)
  refuse(true)
  asked[1]?.()
  await clock.advance(0)
  asked[0]?.()
  await clock.advance(TTL_SECONDS * SECOND - 1)
  t.true(lease.isHeld())
  await clock.advance(1)
  t.false(lease.isHeld())
})

test('a keepalive that fails is followed by the next one', async t => {
  const { clock, lease, asked, refuse } = await setUp()
  refuse(true)
  await clock.advance(3 * SECOND)
  t.is(asked.length, 0)
  refuse(false)
  await clock.advance(SECOND)
  asked.at(-1)?.()
  await clock.advance((TTL_SECONDS - 1) * SECOND)
  t.true(lease.isHeld())
})
