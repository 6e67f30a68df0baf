// A session with etcd: one lease, given back whenever the session ends, also where it was granted too late.

import test from 'ava'
import type { Etcd, Lease } from '../../src/cluster/etcd-types.ts'
import { createSession } from '../../src/cluster/session.ts'
import { createFakeEtcd } from '../support/fake-etcd.ts'
import { createFakeClock, createFakeLog } from '../support/fakes.ts'

const setUp = (change: (etcd: Etcd) => Etcd = etcd => etcd) => {
  const clock = createFakeClock()
  const etcd = createFakeEtcd(clock)
  const client = etcd.client()
  const touches: boolean[] = []
  const session = createSession({
    etcd: change(client),
    clock,
    log: createFakeLog(),
    ttlSeconds: 5,
    onList() {},
    onLease() {},
    onChange() {},
    onTouch: inTouch => void touches.push(inTouch),
  })
  return { clock, etcd, client, session, touches }
}

test('a session that ends gives its lease back', async t => {
  const { session } = setUp()
  await session.start()
  const lease = session.lease()
  t.true(session.inTouch())
  t.true(lease?.isHeld())
  await session.stop()
  t.false(lease?.isHeld())
  t.false(session.inTouch())
  t.is(session.lease(), undefined)
})

test('a lease that is granted after the end of its session is given back, and none is held', async t => {
  const asked = Promise.withResolvers<void>()
  const granted = Promise.withResolvers<void>()
  let lease: Lease | undefined
  const { session } = setUp(client => ({
    ...client,
    async lease(ttlSeconds) {
      asked.resolve()
      await granted.promise
      return (lease = await client.lease(ttlSeconds))
    },
  }))
  const started = session.start()
  await asked.promise
  await session.stop()
  granted.resolve()
  await started
  t.truthy(lease)
  t.false(lease?.isHeld())
  t.is(session.lease(), undefined)
  t.false(session.inTouch())
})
