// Limits: allowances are a burst, then so many a second, of two levels at once or of neither; and not too much runs at once.

import test from 'ava'
import { type Allowance, fullLevel, inParallel, take } from '../../src/service/limits.ts'
import { settle } from '../support/fakes.ts'

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

test('each item is worked on once, so many at a time, and all have ended on return', async t => {
  let running = 0
  let most = 0
  const done: number[] = []
  await inParallel([1, 2, 3, 4, 5, 6, 7], 3, async item => {
    running += 1
    most = Math.max(most, running)
    await settle()
    done.push(item)
    running -= 1
  })
  t.deepEqual(
    done.toSorted((a, b) => a - b),
    [1, 2, 3, 4, 5, 6, 7],
  )
  t.deepEqual([most, running], [3, 0])
  await inParallel([], 3, async () => t.fail())
})

test('an error of one is thrown when all others are through', async t => {
  const done: number[] = []
  const work = inParallel([1, 2, 3, 4, 5], 2, async item => {
    if (item === 1) throw new Error('the first')
    await settle()
    done.push(item)
  })
  await t.throwsAsync(work, { message: 'the first' })
  t.deepEqual(done, [2, 3, 4, 5])
})
