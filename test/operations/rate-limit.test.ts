// The rate limit: a peer has its share when others ask, all of it when nobody does, and no say over GitHub's quota.

import test from 'ava'
import { ANSWERS, createRateLimit, MINTS } from '../../src/operations/rate-limit.ts'
import { createFakeClock, thrownBy } from '../support/fakes.ts'
import { peerOf } from '../support/operations-rig.ts'

const SECOND = 1_000
const build = () => {
  const clock = createFakeClock()
  return { clock, ...createRateLimit({ clock }) }
}
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
