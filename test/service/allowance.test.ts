// Allowances: a burst, then so many a second, of two levels at once or of neither.

import test from 'ava'
import { type Allowance, fullLevel, take } from '../../src/service/allowance.ts'

const ALLOWANCE: Allowance = { perSecond: 2, burst: 5 }
/** How many of so many were had. */
const taken = (times: number, one: () => unknown): number =>
  Array.from({ length: times }, one).filter(empty => empty === undefined).length

test('a burst is there at once, comes back by time, and is never more than a burst', t => {
  const level = fullLevel(ALLOWANCE, 0)
  t.is(
    taken(9, () => take(level, undefined, 0)),
    5,
  )
  t.is(take(level, undefined, 250), level, 'less than one came back')
  t.is(take(level, undefined, 500), undefined)
  t.is(
    taken(9, () => take(level, undefined, 3_600_000)),
    5,
  )
})

test('what one of two levels has not is taken from neither, and the one that has none left is told', t => {
  const [own, shared] = [fullLevel(ALLOWANCE, 0), fullLevel({ perSecond: 1, burst: 3 }, 0)]
  t.is(
    taken(9, () => take(own, shared, 0)),
    3,
  )
  t.is(take(own, shared, 0), shared)
  t.is(own.left, 2)
  t.is(
    taken(2, () => take(own, undefined, 0)),
    2,
  )
  shared.left = 3
  t.is(take(own, shared, 0), own)
  t.is(shared.left, 3)
  t.is(
    taken(9, () => take(own, shared, 2_000)),
    3,
    'both come back, neither beyond its burst',
  )
})

test('what costs more than is left is had, and owed', t => {
  const [own, shared] = [fullLevel(ALLOWANCE, 0), fullLevel(ALLOWANCE, 0)]
  t.is(take(own, shared, 0, 7), undefined)
  t.deepEqual([own.left, shared.left], [-2, -2])
  t.is(take(own, shared, 1_250), own)
  t.is(take(own, shared, 1_500), undefined)
})
