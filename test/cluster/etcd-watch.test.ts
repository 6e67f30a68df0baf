// A watch among members that are not equally far: the members are fakes, as a real one cannot be told to lag.

import { EventEmitter } from 'node:events'
import test from 'ava'
import { type Header, openWatch, type WatchStream } from '../../src/cluster/etcd-watch.ts'
import { createKeys, namespaceOf } from '../../src/cluster/etcd-requests.ts'
import { createFakeClock, createFakeLog } from '../support/fakes.ts'

const keys = createKeys(namespaceOf('test'))

/** Members in turn, each with what it says of itself when a watch is created there; and what the watch then told. */
const watchOn = async (members: readonly Partial<Header>[], fromRevision: bigint) => {
  const asked: number[] = []
  let resyncs = 0
  const open = async (): Promise<WatchStream> => {
    const at = asked.length % members.length
    asked.push(at)
    const header = { cluster_id: '1', raft_term: '5', revision: '0', ...members[at] }
    const stream = new EventEmitter()
    return Object.assign(stream, {
      write: () =>
        void stream.emit('data', {
          header,
          created: true,
          canceled: false,
          compact_revision: '0',
          cancel_reason: '',
          events: [],
        }),
      end: () => undefined,
      cancel: () => undefined,
    })
  }
  const clock = createFakeClock()
  const deps = { open, members: members.length, forget: () => undefined, keys, clock, log: createFakeLog() }
  openWatch({ ...deps, heartbeatMs: 60_000 }, '', {
    fromRevision,
    onChange: () => undefined,
    onResync: () => (resyncs += 1),
  })
  await clock.advance(30_000)
  return { asked, resyncs }
}

test('a member that is a moment behind is left for the next one, without a new list', async t => {
  const { asked, resyncs } = await watchOn([{ revision: '6' }, { revision: '7' }, { revision: '8' }], 9n)
  t.deepEqual(asked, [0, 1, 2])
  t.is(resyncs, 0)
})

test('where all members are behind, etcd was restored: a new list is asked for', async t => {
  const { asked, resyncs } = await watchOn([{ revision: '6' }, { revision: '7' }, { revision: '7' }], 9n)
  t.deepEqual(asked, [0, 1, 2, 0])
  t.is(resyncs, 1)
})

for (const [name, other] of [
  ['an earlier term', { raft_term: '4', revision: '9' }],
  ['another cluster', { cluster_id: '2', revision: '9' }],
] as const) {
  test(`a member that tells of ${name} is of another history: a new list is asked for at once`, async t => {
    const { asked, resyncs } = await watchOn([{ revision: '7' }, other], 9n)
    t.deepEqual(asked, [0, 1])
    t.is(resyncs, 1)
  })
}
