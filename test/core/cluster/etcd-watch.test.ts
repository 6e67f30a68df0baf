// A watch among members that are not equally far: the members are fakes, as a real one cannot be told to lag.

import { EventEmitter } from 'node:events'
import test from 'ava'
import { createKeys, openWatch } from '../../../src/core/cluster/etcd.ts'
import type { WatchStream } from '../../../src/core/cluster/etcd-members.ts'
import type { Reply } from '../../../src/core/cluster/etcd-messages.ts'
import { createFakeClock, createFakeLog } from '../../support/fakes.ts'

const keys = createKeys('test')
type Header = Reply<'watch'>['header']
const QUIET = { created: false, canceled: false, compactRevision: 0n, cancelReason: '', events: [] } as const

/** Members in turn, each with what it says of itself when a watch is created there; and what the watch then told. */
const watchOn = async (members: readonly Partial<Header>[], fromRevision: bigint) => {
  const asked: number[] = []
  let resyncs = 0
  const watch = async (): Promise<WatchStream> => {
    const at = asked.length % members.length
    asked.push(at)
    const header = { clusterId: 1n, raftTerm: 5n, revision: 0n, ...members[at] }
    const stream = new EventEmitter()
    const write = () => stream.emit('data', { ...QUIET, header, created: true })
    return Object.assign(stream, { write, cancel() {} }) as unknown as WatchStream
  }
  const clock = createFakeClock()
  const turns = { watch, count: members.length, forget: () => undefined }
  openWatch({ members: turns, keys, clock, log: createFakeLog(), heartbeatMs: 60_000 }, '', {
    fromRevision,
    onChange: () => undefined,
    onResync: () => (resyncs += 1),
  })
  await clock.advance(30_000)
  return { asked, resyncs }
}

test('a member that is a moment behind is left for the next one, without a new list', async t => {
  const { asked, resyncs } = await watchOn([{ revision: 6n }, { revision: 7n }, { revision: 8n }], 9n)
  t.deepEqual(asked, [0, 1, 2])
  t.is(resyncs, 0)
})

test('where all members are behind, etcd was restored: a new list is asked for', async t => {
  const { asked, resyncs } = await watchOn([{ revision: 6n }, { revision: 7n }, { revision: 7n }], 9n)
  t.deepEqual(asked, [0, 1, 2, 0])
  t.is(resyncs, 1)
})

for (const [name, other] of [
  ['an earlier term', { raftTerm: 4n, revision: 9n }],
  ['another cluster', { clusterId: 2n, revision: 9n }],
] as const) {
  test(`a member that tells of ${name} is of another history: a new list is asked for at once`, async t => {
    const { asked, resyncs } = await watchOn([{ revision: 7n }, other], 9n)
    t.deepEqual(asked, [0, 1])
    t.is(resyncs, 1)
  })
}

/** A watch on members that say what the test has them say. */
const follow = async ({ refuses = () => false }: { refuses?: (times: number) => boolean } = {}) => {
  const clock = createFakeClock()
  const streams: { readonly emitter: EventEmitter; readonly wrote: unknown[]; ended: boolean }[] = []
  const changes: string[] = []
  const log: string[] = []
  let opened = 0
  let gate: Promise<void> | undefined
  const open = async (): Promise<WatchStream> => {
    opened += 1
    if (refuses(opened)) throw new Error('no member answers')
    await gate
    const stream = { emitter: new EventEmitter(), wrote: [] as unknown[], ended: false }
    streams.push(stream)
    return Object.assign(stream.emitter, {
      write: (request: unknown) => void stream.wrote.push(request),
      cancel: () => void (stream.ended = true),
    }) as unknown as WatchStream
  }
  const handling = { onChange: (() => undefined) as (key: string) => void }
  const watch = openWatch(
    {
      members: { watch: open, count: 3, forget: () => void log.push('forgotten') },
      keys,
      clock,
      log: createFakeLog(),
      heartbeatMs: 1_000,
    },
    'tokens/',
    {
      fromRevision: 5n,
      onChange(told, revision) {
        const text = `${revision}: ${told.map(change => (change.kind === 'put' ? change.entry.key : change.key)).join()}`
        changes.push(text)
        handling.onChange(text)
      },
      onResync: () => void log.push('resync'),
    },
  )
  await clock.advance(0)
  const say = (response: Readonly<Record<string, unknown>>, at = streams.length - 1): void =>
    void streams[at]?.emitter.emit('data', {
      ...QUIET,
      header: { clusterId: 1n, raftTerm: 5n, revision: 9n },
      ...response,
    })
  const hold = (until: Promise<void>): void => void (gate = until)
  return { clock, streams, changes, log, watch, say, handling, hold, opened: () => opened }
}

const eventOf = (key: string, revision: bigint) => ({
  type: 0n,
  kv: {
    key: Buffer.from(`ghconnect/test/${key}`),
    value: Buffer.from('x'),
    createRevision: revision,
    modRevision: revision,
    lease: 0n,
  },
})
const startOf = ({ wrote }: { readonly wrote: readonly unknown[] }): unknown => {
  const [request] = wrote as readonly { create?: { startRevision: bigint } }[]
  return request?.create?.startRevision
}

test('a watch begins at its revision, and goes on behind the last one that it told', async t => {
  const { clock, streams, changes, say } = await follow()
  t.deepEqual(streams[0]?.wrote, [{ create: { ...keys.rangeOf('tokens/'), startRevision: 5n } }])
  say({ created: true })
  say({ events: [eventOf('tokens/a', 6n), eventOf('tokens/b', 6n), eventOf('tokens/a', 8n)] })
  t.deepEqual(changes, ['6: tokens/a,tokens/b', '8: tokens/a'])
  streams[0]?.emitter.emit('end')
  await clock.advance(0)
  t.is(streams.length, 2, 'at once')
  t.is(streams[1] && startOf(streams[1]), 9n)
  t.true(streams[0]?.ended)
  say({ events: [eventOf('tokens/late', 10n)] }, 0)
  t.is(changes.length, 2, 'the former member is not heard any more')
  streams[0]?.emitter.emit('error', new Error('cancelled'))
  await clock.advance(0)
  t.is(streams.length, 2)
})

test('a handler that ends the watch is told nothing more, not even of what came with the same answer', async t => {
  const { clock, changes, say, watch, handling, streams } = await follow()
  handling.onChange = () => watch.close()
  say({ events: [eventOf('tokens/a', 6n), eventOf('tokens/a', 7n)] })
  await clock.advance(60_000)
  t.deepEqual(changes, ['6: tokens/a'])
  t.true(streams[0]?.ended)
  t.deepEqual([streams.length, clock.waiting()], [1, 0])
})

test('a member that says nothing twice is left; one that shows that it is there is not', async t => {
  const { clock, streams, say } = await follow()
  say({ created: true })
  for (let seconds = 0; seconds < 10; seconds++) {
    await clock.advance(1_000)
    say({})
  }
  t.is(streams.length, 1)
  t.deepEqual(streams[0]?.wrote.at(-1), { progress: {} })
  await clock.advance(4_000)
  t.is(streams.length, 2)
  t.true(streams[0]?.ended)
})

test('where no member answers, a try comes each 200 ms and not more often; a first answer ends that', async t => {
  const { clock, opened, streams, say } = await follow({ refuses: times => times <= 20 })
  await clock.advance(1_000)
  t.true(opened() >= 5 && opened() <= 7, `${opened()} tries in a second`)
  await clock.advance(3_000)
  t.is(streams.length, 1)
  say({ created: true })
  streams[0]?.emitter.emit('error', new Error('broken'))
  await clock.advance(0)
  t.is(streams.length, 2, 'at once')
})

test('a watch that the member cancels is made anew, and the token of the user too; one before a compaction is over', async t => {
  const { clock, log, say, streams } = await follow()
  say({ canceled: true, cancelReason: 'etcdserver: permission denied' })
  await clock.advance(0)
  t.deepEqual(log, ['forgotten'])
  t.is(streams.length, 2)
  say({ canceled: true, compactRevision: 7n })
  await clock.advance(60_000)
  t.deepEqual(log, ['forgotten', 'resync'])
  t.is(streams.length, 2)
  t.true(streams.every(({ ended }) => ended))
})

test('a stream that is there only after the end of the watch is ended', async t => {
  const { clock, streams, watch, hold } = await follow()
  const { promise, resolve } = Promise.withResolvers<void>()
  hold(promise)
  streams[0]?.emitter.emit('end')
  watch.close()
  resolve()
  await clock.advance(60_000)
  t.deepEqual(
    streams.map(({ ended }) => ended),
    [true, true],
  )
  t.is(clock.waiting(), 0)
})
