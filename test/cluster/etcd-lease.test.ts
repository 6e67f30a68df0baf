// A lease as its node sees it: held for no longer than etcd holds it, whatever becomes of clocks, streams and answers.

import test from 'ava'
import { type KeepAliveStream, openLease } from '../../src/cluster/etcd-lease.ts'
import { createFakeClock, createFakeLog } from '../support/fakes.ts'

const TTL_SECONDS = 5
const SECOND = 1_000

/** etcd whose answers to keepalives come when the test says so. */
const setUp = async () => {
  const clock = createFakeClock()
  const asked: ((TTL?: string) => void)[] = []
  const revoked: string[] = []
  const open = async (): Promise<KeepAliveStream> => {
    let hear: (response: { TTL: string }) => void = () => {}
    return {
      on(event: string, listener: (response: never) => void) {
        if (event === 'data') hear = listener as typeof hear
      },
      write: () => void asked.push((TTL = String(TTL_SECONDS)) => hear({ TTL })),
      end() {},
      cancel() {},
    }
  }
  const deps = {
    grant: async () => ({ ID: '7', TTL: String(TTL_SECONDS) }),
    revoke: async (id: string) => revoked.push(id),
    open,
    clock,
    log: createFakeLog(),
  }
  let ended = 0
  const lease = await openLease(deps, TTL_SECONDS, () => void ended++)
  let lost = 0
  lease.onLost(() => void lost++)
  await clock.advance(0)
  return { clock, lease, asked, revoked, lost: () => lost, ended: () => ended }
}

test('a lease that is confirmed goes on', async t => {
  const { clock, lease, asked } = await setUp()
  for (let seconds = 0; seconds < 30; seconds++) {
    asked.at(-1)?.()
    await clock.advance(SECOND)
    t.true(lease.isHeld())
  }
})

test('a confirmation counts from when it was asked for: etcd counts from no later', async t => {
  const { clock, lease, asked, lost, revoked } = await setUp()
  await clock.advance(900)
  asked[0]?.()
  await clock.advance(TTL_SECONDS * SECOND - 901)
  t.true(lease.isHeld())
  await clock.advance(1)
  t.false(lease.isHeld())
  t.is(lost(), 1)
  t.deepEqual(revoked, ['7'])
})

test('a machine that slept for longer than the lease lasts has lost it, before it has heard so', async t => {
  const { clock, lease, asked } = await setUp()
  asked[0]?.()
  clock.sleepMachine(TTL_SECONDS * SECOND)
  t.false(lease.isHeld())
})

test('a lease that etcd does not know any more is lost at once', async t => {
  const { lease, asked, lost, ended } = await setUp()
  asked[0]?.('0')
  t.false(lease.isHeld())
  t.deepEqual([lost(), ended()], [1, 1])
})

test('a lease that is given back is not held, and nobody is told that it was lost', async t => {
  const { clock, lease, lost, revoked } = await setUp()
  await lease.revoke()
  t.false(lease.isHeld())
  await clock.advance(60 * SECOND)
  t.is(lost(), 0)
  t.deepEqual(revoked, ['7'])
})
