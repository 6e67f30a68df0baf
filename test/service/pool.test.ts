// Several calls at once: never more than the limit, each item once, and an error is told when the others are through.

import test from 'ava'
import { inParallel } from '../../src/service/pool.ts'
import { settle } from '../support/fakes.ts'

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
