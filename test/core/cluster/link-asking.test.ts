// Asking the leader: who is told what, how long anybody waits, and what is left in etcd when one of the two dies.

import test from 'ava'
import { type Ask, KEYS } from '../../../src/core/cluster/values.ts'
import { failureOf } from '../../support/fakes.ts'
import { HOUR, type LinkNode, SCOPE, tokenOf, twoNodes } from '../../support/link-rig.ts'

const GRANT = { profile: 'p', scope: SCOPE } as const
const WISH = { kind: 'token', grant: GRANT, wish: { minTtlMs: 60_000, rejected: 'hash', renew: true } } as const
const AHEAD = { kind: 'ahead', grants: [GRANT] } as const

const lastOf = ({ asked }: LinkNode): Ask => {
  const ask = asked.at(-1)
  if (!ask) throw new Error('it was not asked')
  return ask
}

test('a question says who asks, when and what; it hangs on the lease of the asker, and its answer goes with it', async t => {
  const { clock, a, b, entryOf, keysOf } = await twoNodes()
  await clock.advance(1_234)
  void b.link.ask(WISH)
  await clock.advance(0)
  const { id, ...said } = lastOf(a)
  t.deepEqual(said, { from: 'b', atMs: clock.now(), want: WISH })
  t.is(entryOf(KEYS.asks + id)?.lease, entryOf(`${KEYS.members}b`)?.lease)
  await a.link.answer(lastOf(a), { kind: 'working' })
  t.is(entryOf(KEYS.answers + id)?.lease, entryOf(`${KEYS.members}a`)?.lease)
  b.client.close()
  await clock.advance(6_000)
  t.deepEqual([keysOf(KEYS.asks), keysOf(KEYS.answers)], [[], []])
})

test('an answer that is quicker than the word of etcd about the question is heard', async t => {
  const { clock, a, b } = await twoNodes()
  const { commit } = b.client
  const word = Promise.withResolvers<void>()
  b.client.commit = async (conditions, writes) => {
    const done = await commit(conditions, writes)
    await word.promise
    return done
  }
  const answered = b.link.ask(WISH)
  await clock.advance(0)
  await a.link.answer(lastOf(a), { kind: 'token', token: tokenOf('ghs_1', clock.now() + HOUR).token })
  await clock.advance(0)
  word.resolve()
  await clock.advance(3_000)
  t.is((await answered)?.kind, 'token')
})

test('the leader has 3 seconds to say that it is at it, and 35 for the rest; no timer stays', async t => {
  const { clock, a, b } = await twoNodes()
  const timers = clock.waiting()
  const heard = b.link.ask(WISH)
  await clock.advance(2_999)
  await a.link.answer(lastOf(a), { kind: 'working' })
  await clock.advance(34_999)
  await a.link.answer(lastOf(a), { kind: 'failure', code: 'quota', detail: 'used up', retryAfterSeconds: 7 })
  await clock.advance(0)
  t.deepEqual(await heard, { kind: 'failure', code: 'quota', detail: 'used up', retryAfterSeconds: 7 })
  t.is(clock.waiting(), timers)

  const given = b.link.ask(WISH)
  await clock.advance(0)
  await a.link.answer(lastOf(a), { kind: 'working' })
  await clock.advance(35_000)
  t.is(await given, undefined)
})

test('where etcd cannot be reached, who asks or tells is told so at once, and nothing waits on', async t => {
  const { clock, b } = await twoNodes()
  b.client.cut()
  const timers = clock.waiting()
  t.is((await failureOf(b.link.ask(WISH))).code, 'cluster-unreachable')
  t.is((await failureOf(b.link.tell(AHEAD))).code, 'cluster-unreachable')
  await clock.advance(0)
  t.is(clock.waiting(), timers)
  t.true(b.log.lines.some(({ message }) => message === 'what was said ends with its lease'))
})

test('what needs no answer ends with its being done, and who does not lead answers nothing', async t => {
  const { clock, a, b, keysOf } = await twoNodes()
  await b.link.tell(AHEAD)
  await clock.advance(0)
  const ask = lastOf(a)
  t.deepEqual([ask.from, ask.want], ['b', AHEAD])
  t.deepEqual(a.link.asks(), [ask])
  await b.link.answer(ask, { kind: 'working' })
  t.deepEqual(keysOf(KEYS.answers), [])
  await a.link.done(ask)
  await clock.advance(0)
  t.deepEqual([keysOf(KEYS.asks), a.link.asks()], [[], []])
})
