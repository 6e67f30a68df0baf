// The election over an etcd in memory: one leader, known by its lease and not by what it believes. And the lock: who waits for it, for how long, and what they are told.

import test from 'ava'
import { createElection, type Held } from '../../../src/core/cluster/election.ts'
import type { Entry, Lease } from '../../../src/core/cluster/etcd.ts'
import { createKeyring } from '../../../src/core/cluster/sealing.ts'
import { createCodecs, KEYS } from '../../../src/core/cluster/values.ts'
import { createFakeEtcd, type FakeClient, type FakeEtcd } from '../../support/fake-etcd.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { createFakeClock, createFakeLog, type FakeClock, failureOf } from '../../support/fakes.ts'
import { recordOf, twoNodes } from '../../support/link-rig.ts'

const codecs = createCodecs(
  createKeyring({ cluster: 'test', secrets: [Buffer.from('a secret for all of them to know')] }),
)

type Election = ReturnType<typeof createElection>
type Candidate = {
  readonly election: Election
  readonly client: FakeClient
  readonly lease: Lease
  readonly log: ReturnType<typeof createFakeLog>
  /** Whether it led, each time that it was told to look. */
  readonly looks: readonly boolean[]
  mayLead: boolean
}

const createCandidate = async (etcd: FakeEtcd, node: string): Promise<Candidate> => {
  const client = etcd.client()
  const lease = await client.lease(5)
  const looks: boolean[] = []
  const candidate = { client, lease, looks, log: createFakeLog(), mayLead: true }
  const { log } = candidate
  const election: Election = createElection(
    { etcd: client, codecs, node, lease: () => lease, clock: createFakeClock(), log },
    { mayLead: () => candidate.mayLead, onChange: () => void looks.push(election.leads()) },
  )
  client.watch('', {
    fromRevision: 0n,
    onChange(changes) {
      for (const change of changes) {
        const key = change.kind === 'put' ? change.entry.key : change.key
        if (key === KEYS.leader) election.observe(change.kind === 'put' ? change.entry : undefined)
      }
    },
    onResync() {},
  })
  return Object.assign(candidate, { election })
}

const setUp = async (): Promise<{ clock: FakeClock; etcd: FakeEtcd; a: Candidate; b: Candidate }> => {
  const clock = createFakeClock()
  const etcd = createFakeEtcd(clock)
  const [a, b] = [await createCandidate(etcd, 'a'), await createCandidate(etcd, 'b')]
  return { clock, etcd, a, b }
}

const leading = (...all: Candidate[]): boolean[] => all.map(({ election }) => election.leads())

test('of two that stand at once one leads, and both know who', async t => {
  const { clock, a, b } = await setUp()
  await Promise.all([a.election.stand(), b.election.stand()])
  await clock.advance(0)
  t.deepEqual(leading(a, b), [true, false])
  t.deepEqual([a.election.leader(), b.election.leader()], ['a', 'a'])
})

test('a leader that was stopped does not believe itself, and its fence holds nothing', async t => {
  const { clock, etcd, a, b } = await setUp()
  await a.election.stand()
  const fence = a.election.fence()
  t.truthy(fence)
  a.client.pause()
  await clock.advance(6_000)
  t.deepEqual(leading(a, b), [false, true], 'before it has heard of anything')
  t.is(a.election.fence(), undefined)
  if (!fence) return
  const late = await etcd.client().commit([fence], [{ kind: 'put', key: 'tokens/late', value: Buffer.from('x') }])
  t.false(late.committed)
})

test('leadership that was won, and whose answer never came, is known by the watch', async t => {
  const { clock, a } = await setUp()
  const gate = Promise.withResolvers<void>()
  const { commit } = a.client
  a.client.commit = async (conditions, writes) => {
    await commit(conditions, writes)
    await gate.promise
    return commit(conditions, writes)
  }
  void a.election.stand()
  await clock.advance(10)
  t.deepEqual(leading(a), [true])
  gate.resolve()
  await clock.advance(10)
  t.deepEqual(leading(a), [true], 'the answer that comes late changes nothing')
})

test('who may not lead does not stand, and who resigns makes room at once', async t => {
  const { clock, a, b } = await setUp()
  b.mayLead = false
  await a.election.stand()
  a.mayLead = false
  await a.election.resign()
  await clock.advance(10)
  t.deepEqual(leading(a, b), [false, false])
  b.mayLead = true
  await b.election.stand()
  t.deepEqual(leading(a, b), [false, true])
})

test('an entry that somebody else put there makes nobody a leader', async t => {
  const { clock, etcd, a, b } = await setUp()
  etcd.put(KEYS.leader, Buffer.from('{"node":"a"}'))
  await clock.advance(10)
  t.deepEqual(leading(a, b), [false, false])
  t.is(a.election.leader(), undefined)
  const [forged] = etcd.entries().filter(({ key }): boolean => key === KEYS.leader)
  const stolen: Entry = {
    key: 'members/a',
    value: codecs.holder.write('members/a', { node: 'a', what: 'leader' }),
    createRevision: 9n,
    modRevision: 9n,
    lease: a.lease.id,
  }
  a.election.observe({ ...stolen, key: KEYS.leader })
  t.truthy(forged)
  t.false(a.election.leads(), 'a value of another key is none of this one')
})

test('a leader that resigns too late does not take leadership of the next one away', async t => {
  const { clock, etcd, a, b } = await setUp()
  await a.election.stand()
  a.client.pause()
  const late = a.election.resign()
  await clock.advance(6_000)
  t.deepEqual(leading(a, b), [false, true])
  const leadership = () => etcd.entries().find(({ key }) => key === KEYS.leader)?.createRevision
  const won = leadership()
  a.client.resume()
  await late
  await clock.advance(10)
  t.deepEqual(leading(a, b), [false, true])
  t.is(leadership(), won, 'it was not taken away for a moment either')
})

test('leadership of a former process of the same node is not that of the next one', async t => {
  const { clock, etcd, a } = await setUp()
  const former = await etcd.client().lease(5)
  const value = codecs.holder.write(KEYS.leader, { node: 'a', what: 'leader' })
  await etcd.client().commit([], [{ kind: 'put', key: KEYS.leader, value, lease: former.id }])
  await clock.advance(10)
  t.is(a.election.leader(), 'a')
  t.false(a.election.leads())
  t.is(a.election.fence(), undefined)
})

test('a node that could not stand for leader stands again', async t => {
  const { clock, a } = await setUp()
  a.client.cut()
  await a.election.stand()
  t.deepEqual(leading(a), [false])
  t.is(a.log.lines[0]?.message, 'standing for leader failed')
  a.client.heal()
  await a.election.stand()
  await clock.advance(0)
  t.deepEqual(leading(a), [true])
})

test('a leader that resigns does not lead from that moment on, whatever becomes of its word; the log tells both', async t => {
  const { clock, etcd, a } = await setUp()
  await a.election.stand()
  await clock.advance(0)
  a.client.cut()
  a.mayLead = false
  const resigned = a.election.resign()
  t.deepEqual([a.election.leads(), a.election.fence(), a.looks.at(-1)], [false, undefined, false])
  await t.notThrowsAsync(resigned)
  t.true(
    etcd.entries().some(({ key }) => key === KEYS.leader),
    'it ends with the lease',
  )
  t.deepEqual(
    a.log.lines.filter(({ level }) => level === 'info'),
    [{ level: 'info', message: 'this node leads the cluster', fields: { leader: 'a' } }],
  )
})

test('a leader whose leadership was taken away knows and says so', async t => {
  const { clock, etcd, a, b } = await setUp()
  await a.election.stand()
  a.mayLead = false
  etcd.delete(KEYS.leader)
  await clock.advance(0)
  t.deepEqual(leading(a, b), [false, true])
  t.is(a.looks.at(-1), false)
  t.deepEqual(
    a.log.lines.map(({ message, fields }) => [message, fields]),
    [
      ['this node leads the cluster', { leader: 'a' }],
      ['this node does not lead the cluster any more', { leader: 'none' }],
    ],
  )
})

test('leadership that is written anew stays what it was, leased and of the same birth; a former leader writes none', async t => {
  const { clock, etcd, a, b } = await setUp()
  await a.election.stand()
  await clock.advance(0)
  const leadership = () => etcd.entries().find(({ key }) => key === KEYS.leader)
  const before = leadership()
  await a.election.renew()
  await b.election.renew()
  await clock.advance(0)
  const after = leadership()
  t.true(before && after && after.modRevision > before.modRevision)
  t.deepEqual([after?.lease, after?.createRevision], [a.lease.id, before?.createRevision])
  t.deepEqual(leading(a, b), [true, false])
  a.client.cut()
  await t.notThrowsAsync(a.election.renew())
  a.client.heal()

  const gate = Promise.withResolvers<void>()
  a.client.delayCommits(gate.promise)
  const late = a.election.renew()
  a.mayLead = false
  etcd.delete(KEYS.leader)
  await clock.advance(0)
  const won = leadership()
  gate.resolve()
  await late
  await clock.advance(0)
  t.deepEqual(leading(a, b), [false, true])
  t.deepEqual(leadership(), won)
})

test('who waits for the lock for 15 seconds is told which node holds it, and for what', async t => {
  const { clock, a, b } = await twoNodes()
  await a.link.lock('a change')
  let failure: Failure | undefined
  void failureOf(b.link.lock('another one')).then(found => (failure = found))
  await clock.advance(14_999)
  t.is(failure, undefined)
  await clock.advance(1)
  t.deepEqual([failure?.code, failure?.message], ['cluster-conflict', 'another change is under way at a: a change'])
})

for (const [name, isTold, waitMs] of [
  ['at once', true, 0],
  ['with the next look, where the watch says nothing', false, 1_000],
] as const) {
  test(`a lock that is given back is taken ${name}, and no timer stays`, async t => {
    const { clock, a, b } = await twoNodes()
    const held = await a.link.lock('a change')
    const timers = clock.waiting()
    if (!isTold) b.client.delayWatches(new Promise<never>(() => {}))
    let taken: Held | undefined
    void b.link.lock('another one').then(next => (taken = next))
    await clock.advance(0)
    await held.release()
    await clock.advance(waitMs)
    t.is(clock.waiting(), timers)
    t.true(taken && (await b.link.putRecord(recordOf(1), taken)))
  })
}

test('a lock that was taken, and whose answer never came, is held by the node that asked for it', async t => {
  const { clock, b } = await twoNodes()
  const { commit } = b.client
  b.client.commit = async (conditions, writes) => {
    await commit(conditions, writes)
    throw new Failure('cluster-unreachable', 'no answer')
  }
  t.is((await failureOf(b.link.lock('a change'))).code, 'cluster-unreachable')
  b.client.commit = commit
  let held: Held | undefined
  void b.link.lock('a change').then(taken => (held = taken))
  await clock.advance(0)
  t.true(held && (await b.link.putRecord(recordOf(1), held)))
})

test('a lock that cannot be given back ends with the lease, and whoever gives it back goes on', async t => {
  const { clock, a, b } = await twoNodes()
  const held = await a.link.lock('a change')
  a.client.cut()
  await t.notThrowsAsync(held.release())
  let taken: Held | undefined
  void b.link.lock('another one').then(next => (taken = next))
  await clock.advance(6_000)
  t.truthy(taken)
})

test('who has lost the lock with its lease does not take it away from the node that holds it now', async t => {
  const { clock, a, b, entryOf } = await twoNodes()
  const held = await a.link.lock('a change')
  a.client.pause()
  await clock.advance(6_000)
  const next = await b.link.lock('another one')
  const entry = entryOf(KEYS.lock)
  a.client.resume()
  await held.release()
  await clock.advance(0)
  t.truthy(entry)
  t.deepEqual(entryOf(KEYS.lock), entry)
  t.true(await b.link.putRecord(recordOf(1), next))
})
