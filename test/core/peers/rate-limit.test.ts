// The rate limit: a peer has its share when others ask, all of it when nobody does, and no say over GitHub's quota.

import test from 'ava'
import {
  ANSWERS,
  BYTES,
  CONNECTIONS,
  createRateLimit,
  MINTS,
  OF_UID,
  PROBES,
} from '../../../src/core/peers/rate-limit.ts'
import { createFakeClock, thrownBy } from '../../support/fakes.ts'
import { peerOf } from '../../support/operations-rig.ts'

const SECOND = 1_000
const build = () => {
  const clock = createFakeClock()
  return { clock, ...createRateLimit({ clock }) }
}
/** As many accounts are kept. */
const MOST = 4_096
/** One account each. */
const serviceOf = (n: number) => peerOf(0, { unit: `number-${n}.service` })
/** How many of so many connections were refused. */
const count = (times: number, open: () => unknown): number =>
  Array.from({ length: times }, open).filter(refusal => refusal !== undefined).length
const many = (times: number, work: () => void): number => {
  let refused = 0
  for (let n = 0; n < times; n += 1) if (thrownBy(work)) refused += 1
  return refused
}

test('a flood is cut down to its share as soon as somebody else asks', t => {
  const { takeAnswer } = build()
  const flood = peerOf(1000, { unit: 'flood.service' })
  t.is(
    many(10 * ANSWERS.burst, () => takeAnswer(flood)),
    0,
    'nobody else wants it',
  )
  takeAnswer(peerOf(1001))
  const failure = thrownBy(() => takeAnswer(flood))
  t.is(failure?.code, 'rate-limited')
  t.true((failure?.retryAfterSeconds ?? 0) >= 1)
  t.is(
    many(100, () => takeAnswer(peerOf(1001))),
    0,
    'the other one is not hit',
  )
})

test('its share comes back with time, and is one for all connections of a user and unit', async t => {
  const { clock, takeAnswer } = build()
  const connection = () => peerOf(1000, { unit: 'ci.service', pid: Math.ceil(Math.random() * 1e6) })
  const other = peerOf(1000, { unit: 'other.service' })
  takeAnswer(other)
  t.is(
    many(2 * ANSWERS.burst, () => takeAnswer(connection())),
    ANSWERS.burst,
  )
  await clock.advance(SECOND / 2)
  takeAnswer(other)
  t.is(
    many(ANSWERS.perSecond, () => takeAnswer(connection())),
    ANSWERS.perSecond / 2,
  )
  await clock.advance(2 * SECOND)
  t.is(
    many(2 * ANSWERS.burst, () => takeAnswer(connection())),
    0,
    'nobody asks any more',
  )
})

test('a flood of connections is cut down to its share where others ask, and gets it back with time', async t => {
  const { clock, takeConnection, takeAnswer } = build()
  const flood = peerOf(1000, { unit: 'flood.service' })
  t.is(
    count(2 * CONNECTIONS.burst, () => takeConnection(flood)),
    0,
    'nobody else wants it',
  )
  takeAnswer(peerOf(1001))
  const failure = takeConnection(flood)
  t.is(failure?.code, 'rate-limited')
  t.regex(failure?.message ?? '', /2000 connections at once, or 100 a second/)
  t.is(takeConnection(peerOf(1001)), undefined, 'the other one is not hit')
  t.is(
    thrownBy(() => takeAnswer(flood)),
    undefined,
    'on those that it has it is answered',
  )
  await clock.advance(SECOND / 2)
  takeAnswer(peerOf(1001))
  t.is(
    count(CONNECTIONS.perSecond, () => takeConnection(flood)),
    CONNECTIONS.perSecond / 2,
  )
})

test('another connection of a process that was refused is refused for a moment without a closer look, that of another is not', async t => {
  const { clock, takeConnection, findRefusal } = build()
  const again = (pid: number, uid: number): string | undefined => findRefusal(() => ({ pid, uid }))?.code
  const flood = { ...peerOf(1000), pid: 7 }
  const inOtherNamespace = { ...peerOf(1002), pid: 0 }
  for (const peer of [flood, inOtherNamespace]) {
    takeConnection(peerOf(1001))
    t.is(again(peer.pid, peer.uid), undefined)
    t.is(
      count(CONNECTIONS.burst + 1, () => takeConnection(peer)),
      1,
    )
  }
  t.is(again(7, 1000), 'rate-limited')
  t.is(again(7, 0), undefined, 'the same process as another user')
  t.is(again(8, 1000), undefined)
  t.is(again(0, 1002), undefined)
  await clock.advance(SECOND / 4)
  t.is(again(7, 1000), undefined)
})

test('who is refused because other units of its uid used up what they share is looked at each time', t => {
  const { takeConnection, findRefusal } = build()
  takeConnection(peerOf(1001))
  let n = 0
  count(OF_UID * CONNECTIONS.burst, () => takeConnection(peerOf(1000, { unit: `unit-${n++ % 16}.service` })))
  const peer = { ...peerOf(1000, { unit: 'one-more.service' }), pid: 7 }
  t.is(takeConnection(peer)?.code, 'rate-limited')
  t.is(
    findRefusal(() => peer),
    undefined,
  )
})

test('of many refused processes the last thousand are known', t => {
  const { takeConnection, findRefusal } = build()
  takeConnection(peerOf(1001))
  count(CONNECTIONS.burst, () => takeConnection(peerOf(1000)))
  for (let pid = 1; pid <= 1_100; pid += 1) takeConnection({ ...peerOf(1000), pid })
  const known = [1, 76, 77, 1_100].map(pid => findRefusal(() => ({ pid, uid: 1000 }))?.code)
  t.deepEqual(known, [undefined, undefined, 'rate-limited', 'rate-limited'])
})

test("processes that ended before they were attested share connections, and take nobody else's", t => {
  const { takeConnection } = build()
  takeConnection(peerOf(1001))
  t.is(
    count(CONNECTIONS.burst + 10, () => takeConnection(undefined)),
    10,
  )
  t.is(takeConnection(peerOf(1001)), undefined)
})

test('units of one uid have twice the connections of one of them', t => {
  const { takeConnection } = build()
  takeConnection(peerOf(1001))
  let n = 0
  t.is(
    count(OF_UID * CONNECTIONS.burst + 10, () => takeConnection(peerOf(1000, { unit: `unit-${n++ % 16}.service` }))),
    10,
  )
})

test("login sessions and subordinate uids of a user share what is one user's", t => {
  const { takeAnswer, takeMint } = build()
  let n = 0
  const session = () => peerOf(100_000 + n, { unit: `session-${n++}.scope`, userSlice: 1000 })
  takeAnswer(peerOf(1001))
  t.is(
    many(ANSWERS.burst + 10, () => takeAnswer(session())),
    10,
  )
  t.is(
    many(MINTS.burst + 10, () => takeMint(session())),
    10,
  )
})

test('a uid gains nothing by more and more units; units of root have a share each', t => {
  const { takeAnswer, takeMint } = build()
  const unit = (uid: number, n: number) => peerOf(uid, { unit: `unit-${n % 16}.service` })
  takeAnswer(peerOf(1001))
  let n = 0
  t.is(
    many(OF_UID * ANSWERS.burst + 10, () => takeAnswer(unit(1000, n++))),
    10,
  )
  t.is(
    many(MINTS.burst + 10, () => takeMint(unit(1000, n++))),
    10,
  )
  t.is(
    many(4 * MINTS.burst, () => takeMint(unit(0, n++))),
    0,
  )
})

test('what one level refuses is not taken from the other', async t => {
  const { clock, takeMint } = build()
  const one = peerOf(1000, { unit: 'one.service' })
  const two = peerOf(1000, { unit: 'two.service' })
  t.is(
    many(MINTS.burst, () => takeMint(one)),
    0,
  )
  t.is(
    many(300, () => takeMint(two)),
    300,
    'the uid has none left',
  )
  await clock.advance(10 * SECOND)
  t.is(
    many(20, () => takeMint(two)),
    20 - 10 * MINTS.perSecond,
  )
})

test("looks at the daemon's health have a share of their own", async t => {
  const { clock, takeProbe } = build()
  const refused = (times: number): number => Array.from({ length: times }, () => takeProbe()).filter(ok => !ok).length
  t.is(refused(PROBES.burst + 10), 10)
  await clock.advance(SECOND)
  t.is(refused(PROBES.perSecond + 10), 10)
})

test('new tokens have a limit of their own, whoever else asks', async t => {
  const { clock, takeMint, takeAnswer } = build()
  const peer = peerOf(1000)
  t.is(
    many(MINTS.burst + 10, () => takeMint(peer)),
    10,
  )
  t.is(thrownBy(() => takeMint(peer))?.code, 'rate-limited')
  t.notThrows(() => takeMint(peerOf(1001)))
  t.notThrows(() => takeAnswer(peer), 'what is at hand is served')
  await clock.advance(60 * SECOND)
  t.is(
    many(100, () => takeMint(peer)),
    100 - 60 * MINTS.perSecond,
  )
})

test('callers without number leave no more than a bounded memory, and keep their limits', t => {
  const { takeAnswer } = build()
  for (let uid = 0; uid < 10_000; uid += 1) takeAnswer(peerOf(uid))
  const flood = peerOf(9_999)
  t.true(many(2 * ANSWERS.burst, () => (takeAnswer(flood), takeAnswer(peerOf(9_998)))) > 0)
})

test('callers without number do not give back what one has used up', t => {
  const { takeAnswer, takeMint } = build()
  t.is(
    many(MINTS.burst, () => takeMint(peerOf(1))),
    0,
  )
  for (let uid = 2; uid < 10_000; uid += 1) takeAnswer(peerOf(uid))
  t.is(thrownBy(() => takeMint(peerOf(1)))?.code, 'rate-limited')
})

test('where there are too many holders, one that has its share back is forgotten before one that has spent of it', async t => {
  const { clock, takeMint } = build()
  const idle = serviceOf(1)
  t.is(
    many(MINTS.burst, () => takeMint(idle)),
    0,
  )
  await clock.advance((MINTS.burst / MINTS.perSecond) * SECOND)
  const busy = serviceOf(2)
  takeMint(busy)
  for (let n = 3; n <= MOST + 1; n += 1) takeMint(serviceOf(n))
  t.is(
    many(MINTS.burst, () => takeMint(busy)),
    1,
    'what it spent is remembered',
  )
})

test('a holder that was forgotten has one share again, on the connections that it had and on new ones', async t => {
  const { clock, takeMint } = build()
  const connected = serviceOf(1)
  takeMint(connected)
  await clock.advance(SECOND / MINTS.perSecond)
  for (let n = 2; n <= MOST + 1; n += 1) takeMint(serviceOf(n))
  t.is(
    many(MINTS.burst, () => takeMint(connected)),
    0,
  )
  t.is(
    many(10, () => takeMint(serviceOf(1))),
    10,
  )
})

test('a newcomer among too many holders is counted from its first request on', t => {
  const { takeMint } = build()
  // Each of those that are kept has spent more than a newcomer.
  for (let n = 1; n <= MOST; n += 1) for (const _ of [1, 2]) takeMint(serviceOf(n))
  const newcomer = peerOf(1000, { unit: 'new.service' })
  t.is(
    many(MINTS.burst + 10, () => takeMint(newcomer)),
    10,
  )
})

test('a request that costs more takes as much, and what is owed makes the wait longer', async t => {
  const { clock, takeAnswer } = build()
  const dear = peerOf(1000)
  takeAnswer(peerOf(1001))
  t.is(
    many(30, () => takeAnswer(dear, 100)),
    30 - ANSWERS.burst / 100,
  )
  const one = peerOf(1002)
  takeAnswer(one, ANSWERS.burst + 9 * ANSWERS.perSecond)
  t.is(thrownBy(() => takeAnswer(one))?.retryAfterSeconds, 10)
  await clock.advance(9 * SECOND)
  takeAnswer(dear)
  t.is(thrownBy(() => takeAnswer(one))?.code, 'rate-limited', 'all of it has to come back first')
  await clock.advance(SECOND / 2)
  takeAnswer(dear)
  t.is(
    thrownBy(() => takeAnswer(one)),
    undefined,
  )
})

test('bodies wait for nothing while nobody else asks, and keep to so many bytes a second as soon as one does', async t => {
  const { clock, takeBytes, takeAnswer } = build()
  const large = peerOf(1000)
  t.is(takeBytes(large, 10 * BYTES.burst), 0)
  takeAnswer(peerOf(1001))
  t.is(takeBytes(large, BYTES.burst), 0, 'what nobody else wanted was not counted')
  t.is(takeBytes(large, BYTES.perSecond / 2), SECOND / 2)
  t.is(takeBytes(large, BYTES.perSecond / 2), SECOND, 'behind the piece before')
  await clock.advance(SECOND)
  takeAnswer(peerOf(1001))
  t.is(takeBytes(large, BYTES.perSecond / 4), SECOND / 4)
  t.is(takeBytes(peerOf(1001), BYTES.burst), 0, 'the other one has its own')
})

test('units of one uid have twice the bytes of one of them', t => {
  const { takeBytes, takeAnswer } = build()
  takeAnswer(peerOf(1001))
  const take = (unit: string) => takeBytes(peerOf(1000, { unit }), BYTES.burst)
  t.deepEqual(['a.service', 'b.service', 'c.service'].map(take), [0, 0, (SECOND * BYTES.burst) / (2 * BYTES.perSecond)])
})

test('who streams is one of those who ask', t => {
  const { takeBytes, takeAnswer } = build()
  const flood = peerOf(1000)
  many(2 * ANSWERS.burst, () => takeAnswer(flood))
  takeBytes(peerOf(1001), 1)
  t.is(thrownBy(() => takeAnswer(flood))?.code, 'rate-limited')
})

test('a refused connection is told the limit that it met: that of its unit, or that of all units of its uid', t => {
  const { takeConnection } = build()
  takeConnection(peerOf(1001))
  const unit = (n: number) => peerOf(1000, { unit: `unit-${n}.service` })
  t.is(
    count(CONNECTIONS.burst + 1, () => takeConnection(unit(1))),
    1,
  )
  t.is(
    count(CONNECTIONS.burst, () => takeConnection(unit(2))),
    0,
  )
  t.regex(takeConnection(unit(1))?.message ?? '', /^more than 2000 connections at once, or 100 a second/)
  t.regex(takeConnection(unit(3))?.message ?? '', /^more than 4000 connections at once, or 200 a second/)
  t.is(takeConnection(unit(1)), takeConnection(unit(1)), 'a flood of refusals is one object')
})
