// A session with etcd: one lease, given back whenever the session ends, also where it was granted too late.

import test from 'ava'
import type { Etcd, Lease } from '../../../src/core/cluster/etcd.ts'
import { createSession } from '../../../src/core/cluster/session.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { createFakeEtcd } from '../../support/fake-etcd.ts'
import { createFakeClock, createFakeLog } from '../../support/fakes.ts'

const setUp = (alter: (etcd: Etcd) => Etcd = same => same) => {
  const clock = createFakeClock()
  const etcd = createFakeEtcd(clock)
  const client = etcd.client()
  const touches: boolean[] = []
  /** What the session told, in order. */
  const told: string[] = []
  const session = createSession({
    etcd: alter(client),
    clock,
    log: createFakeLog(),
    ttlSeconds: 5,
    onList: entries => void told.push(`list of ${entries.length}`),
    onLease: () => void told.push('lease'),
    onChange: change => void told.push(`${change.kind} ${change.kind === 'put' ? change.entry.key : change.key}`),
    onTouch: inTouch => void touches.push(inTouch),
  })
  return { clock, etcd, client, session, touches, told }
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

test('what stands there is told before the lease, then each change once, however often all is listed anew', async t => {
  const { clock, etcd, client, session, told } = setUp()
  const { watch } = client
  const froms: bigint[] = []
  client.watch = (prefix, handlers) => {
    froms.push(handlers.fromRevision)
    return watch(prefix, handlers)
  }
  const { revision } = etcd.put('a', Buffer.from('1'))
  await session.start()
  t.deepEqual(told, ['list of 1', 'lease'])
  t.deepEqual(froms, [revision + 1n], 'nothing between the two is lost')
  session.resync()
  await clock.advance(0)
  etcd.put('b', Buffer.from('1'))
  etcd.delete('a')
  t.deepEqual(told.slice(2), ['list of 1', 'lease', 'put b', 'delete a'])
})

test('however often a new list is asked for while one is on its way, one more comes after it', async t => {
  const { clock, client, session, told } = setUp()
  await session.start()
  const { list } = client
  const gate = Promise.withResolvers<void>()
  client.list = async prefix => {
    await gate.promise
    return list(prefix)
  }
  told.length = 0
  for (let times = 0; times < 3; times++) session.resync()
  t.false(session.inTouch(), 'what is known may be old')
  gate.resolve()
  await clock.advance(0)
  t.deepEqual(told, ['list of 0', 'lease', 'list of 0', 'lease'])
  t.true(session.inTouch())
})

test('a session that cannot begin says why, and tries again each second until it does', async t => {
  const { clock, client, session, touches, told } = setUp()
  const { list } = client
  let tries = 0
  client.list = () => {
    tries += 1
    return Promise.reject(new Failure('cluster-refused', 'etcd: permission denied'))
  }
  await session.start()
  await clock.advance(2_999)
  t.is(tries, 3)
  t.false(session.inTouch())
  t.is(session.findTrouble()?.code, 'cluster-refused')
  client.list = list
  await clock.advance(1)
  t.true(session.inTouch())
  t.is(session.findTrouble(), undefined)
  t.deepEqual(touches, [false, true])
  await clock.advance(60_000)
  t.deepEqual(told, ['list of 0', 'lease'], 'and no more after that')
})

test('a lease that is lost is replaced, and the former one is given back: it may be renewed yet', async t => {
  const revoked: string[] = []
  const { clock, client, session, touches } = setUp(own => ({
    ...own,
    isReachable: own.isReachable,
    async lease(ttlSeconds) {
      const lease = await own.lease(ttlSeconds)
      const revoke = (): Promise<void> => {
        revoked.push(lease.id)
        return lease.revoke()
      }
      return { ...lease, revoke }
    },
  }))
  await session.start()
  const former = session.lease()
  client.cut()
  await clock.advance(7_000)
  t.false(session.inTouch())
  client.heal()
  await clock.advance(5_000)
  t.true(session.inTouch())
  t.not(session.lease()?.id, former?.id)
  t.deepEqual(revoked, [former?.id])
  t.deepEqual(touches, [false, true, false, true])
})

test('after etcd was out of reach for a moment all is listed anew, and the lease is the same', async t => {
  const { clock, client, session, touches, told } = setUp()
  await session.start()
  const lease = session.lease()
  client.cut()
  t.false(session.inTouch())
  client.heal()
  await clock.advance(0)
  t.is(session.lease(), lease)
  t.deepEqual(touches, [false, true, false, true])
  t.deepEqual(told, ['list of 0', 'lease', 'list of 0', 'lease'])
})

test('a session that was stopped does nothing more, and tells of touch anew when it is started again', async t => {
  const { clock, etcd, client, session, touches, told } = setUp()
  await session.start()
  await session.stop()
  etcd.put('a', Buffer.from('1'))
  client.cut()
  client.heal()
  await clock.advance(60_000)
  t.deepEqual(
    [touches, told],
    [
      [false, true],
      ['list of 0', 'lease'],
    ],
  )
  await session.start()
  t.true(session.inTouch())
  t.deepEqual(touches, [false, true, true])
})
