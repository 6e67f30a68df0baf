// The lock of the cluster: who waits for it, for how long, and what they are told.

import test from 'ava'
import type { Held } from '../../../src/core/cluster/election.ts'
import { KEYS } from '../../../src/core/cluster/values.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { failureOf } from '../../support/fakes.ts'
import { recordOf, twoNodes } from '../../support/link-rig.ts'

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
