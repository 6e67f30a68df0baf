// A lease as its node sees it: held for no longer than etcd holds it, whatever becomes of clocks, streams and answers.

import { EventEmitter } from 'node:events'
import test from 'ava'
import { type KeepAliveStream, openLease } from '../../../src/core/cluster/etcd-lease.ts'
import { createFakeClock, createFakeLog, type FakeClock } from '../../support/fakes.ts'

const TTL_SECONDS = 5
const SECOND = 1_000

type Options = {
  readonly granted?: string
  /** Before the grant is answered. */
  readonly slowGrant?: (clock: FakeClock) => Promise<void>
  readonly revoke?: () => Promise<unknown>
  /** Before a stream is there. */
  readonly slowOpen?: Promise<void>
}

/** A stream to a member: what it does, and what became of it. */
type Stream = { hear(TTL: string): void; fail(): void; finish(): void; ended: boolean }

/** etcd whose answers to keepalives come when the test says so. */
const setUp = async ({ granted = String(TTL_SECONDS), slowGrant, revoke, slowOpen }: Options = {}) => {
  const clock = createFakeClock()
  const log = createFakeLog()
  const asked: ((TTL?: string) => void)[] = []
  const revoked: string[] = []
  const streams: Stream[] = []
  let refusing = false
  const open = async (): Promise<KeepAliveStream> => {
    if (refusing) throw new Error('no member answers')
    await slowOpen
    const emitter = new EventEmitter()
    const stream: Stream = {
      hear: TTL => void emitter.emit('data', { TTL }),
      fail: () => void emitter.emit('error', new Error('broken')),
      finish: () => void emitter.emit('end'),
      ended: false,
    }
    streams.push(stream)
    return Object.assign(emitter, {
      write: () => void asked.push((TTL = granted) => stream.hear(TTL)),
      end: () => void (stream.ended = true),
      cancel() {},
    })
  }
  const deps = {
    async grant() {
      await slowGrant?.(clock)
      return { ID: '7', TTL: granted }
    },
    revoke: async (id: string) => {
      revoked.push(id)
      return revoke?.()
    },
    open,
    clock,
    log,
  }
  let ended = 0
  const lease = await openLease(deps, TTL_SECONDS, () => void ended++)
  let lost = 0
  lease.onLost(() => void lost++)
  await clock.advance(0)
  return {
    clock,
    log,
    lease,
    asked,
    revoked,
    streams,
    refuse: (now: boolean) => void (refusing = now),
    lost: () => lost,
    ended: () => ended,
  }
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
  const { lease, asked, lost, ended, log, clock } = await setUp()
  asked[0]?.('0')
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
  const { clock, lease, lost, revoked, ended, streams } = await setUp({
    revoke: () => Promise.reject(new Error('no member answers')),
  })
  await lease.revoke()
  t.false(lease.isHeld())
  await lease.revoke()
  await clock.advance(60 * SECOND)
  let told = 0
  lease.onLost(() => void told++)
  t.deepEqual([lost(), told, ended(), clock.waiting()], [0, 0, 1, 0])
  t.deepEqual(revoked, ['7'])
  t.true(streams.every(stream => stream.ended))
})

test('a lease that is closed is left to run out: nothing more is sent, and it is held no longer', async t => {
  const { clock, lease, lost, revoked, asked, ended } = await setUp()
  lease.close()
  lease.close()
  t.false(lease.isHeld())
  await clock.advance(60 * SECOND)
  t.deepEqual([lost(), ended(), asked.length, clock.waiting()], [0, 1, 1, 0])
  t.deepEqual(revoked, [])
})

test('a lease lasts as long as etcd granted it, from when it was asked for', async t => {
  const { clock, lease } = await setUp({ granted: '3', slowGrant: of => of.advance(SECOND) })
  await clock.advance(2 * SECOND - 1)
  t.true(lease.isHeld())
  await clock.advance(1)
  t.false(lease.isHeld())
})

test('a member that says nothing is left for the next one, three times at least before the lease is over', async t => {
  const { clock, lease, streams, asked, lost, log } = await setUp({
    revoke: () => Promise.reject(new Error('no member answers')),
  })
  await clock.advance(TTL_SECONDS * SECOND - 1)
  t.true(lease.isHeld())
  t.true(streams.length >= 3)
  t.is(asked.length, streams.length)
  t.deepEqual(
    streams.map(({ ended }) => ended),
    streams.map((_, at) => at < streams.length - 1),
  )
  await clock.advance(1)
  t.is(lost(), 1)
  t.deepEqual(log.lines[0]?.fields, { lease: '7', why: 'no keepalive was confirmed in time' })
  t.true(streams.every(({ ended }) => ended))
})

test('while a member answers, the keepalives stay with it', async t => {
  const { clock, streams, asked } = await setUp()
  for (let seconds = 0; seconds < 20; seconds++) {
    asked.at(-1)?.()
    await clock.advance(SECOND)
  }
  t.is(streams.length, 1)
  t.true(asked.length > 15)
})

test('the late answer of a member that was left confirms nothing', async t => {
  const { clock, lease, streams } = await setUp()
  await clock.advance(SECOND)
  t.is(streams.length, 2)
  streams[0]?.hear(String(TTL_SECONDS))
  streams[0]?.hear('0')
  t.true(lease.isHeld())
  await clock.advance((TTL_SECONDS - 1) * SECOND)
  t.false(lease.isHeld())
})

for (const way of ['fail', 'finish'] as const) {
  test(`a stream that ${way === 'fail' ? 'breaks' : 'ends'} is replaced with the next keepalive, also where none can be opened for now`, async t => {
    const { clock, lease, streams, asked, refuse } = await setUp()
    asked[0]?.()
    streams[0]?.[way]()
    refuse(true)
    await clock.advance(2 * SECOND)
    t.is(streams.length, 1)
    refuse(false)
    await clock.advance(SECOND)
    t.is(streams.length, 2)
    streams[0]?.[way]()
    asked.at(-1)?.()
    await clock.advance((TTL_SECONDS - 1) * SECOND)
    t.true(lease.isHeld(), 'the end of the former stream is not that of the next one')
  })
}

test('a stream that is opened after the end of the lease is ended, and nothing is sent on it', async t => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const { clock, lease, streams, asked } = await setUp({ slowOpen: promise })
  await lease.revoke()
  resolve()
  await clock.advance(0)
  t.deepEqual([streams.length, streams[0]?.ended, asked.length], [1, true, 0])
})
