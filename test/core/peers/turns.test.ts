// Turns of holders: nobody waits for what another holder asked for, beyond a few requests.

import test from 'ava'
import fc from 'fast-check'
import { createHolderTurns } from '../../../src/core/peers/turns.ts'

const turn = (): Promise<void> => new Promise(resolve => void setImmediate(resolve))

test('a holder has a few tasks at once, and the others in later turns, in their order', async t => {
  const turns = createHolderTurns()
  const done: number[] = []
  for (let n = 0; n < 10; n += 1) turns.take('flooder', () => void done.push(n))
  const atOnce = done.length
  t.true(atOnce >= 1 && atOnce < 10)
  turns.take('other', () => void done.push(100))
  t.is(done.at(-1), 100, 'who has asked for nothing yet is served at once')
  while (done.length < 11) await turn()
  t.deepEqual(
    done.filter(n => n < 100),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  )
})

test('a task that costs more leaves fewer to its turn', async t => {
  const turns = createHolderTurns()
  let cheap = 0
  let dear = 0
  for (let n = 0; n < 10; n += 1) {
    turns.take('cheap', () => void (cheap += 1))
    turns.take('dear', () => void (dear += 1), 4)
  }
  t.is(dear, 1)
  t.true(cheap > dear)
  await turn()
  t.is(dear, 2)
})

test('what costs more than a turn has is paid for in the turns after it, by its holder alone', async t => {
  const turns = createHolderTurns()
  let dear = 0
  let cheap = 0
  turns.take('dear', () => void (dear += 1), 12)
  turns.take('dear', () => void (dear += 1))
  for (let n = 1; n <= 2; n += 1) {
    await turn()
    turns.take('cheap', () => void (cheap += 1))
    t.deepEqual([dear, cheap], [1, n])
  }
  await turn()
  t.is(dear, 2)
})

test('whatever is asked when, each task runs once, in the order of its holder, and no turn has more than a share of it', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.nat(3)), { maxLength: 60 }), async asked => {
      const turns = createHolderTurns()
      const ran: Record<string, number[]> = { a: [], b: [], c: [] }
      const wanted: Record<string, number[]> = { a: [], b: [], c: [] }
      for (const [n, [holder, pauses]] of asked.entries()) {
        wanted[holder]?.push(n)
        const before = ran[holder]?.length ?? 0
        turns.take(holder, () => void ran[holder]?.push(n))
        t.true((ran[holder]?.length ?? 0) - before <= 1)
        for (let pause = 0; pause < pauses; pause += 1) {
          const counts = Object.values(ran).map(list => list.length)
          await turn()
          for (const [at, list] of Object.values(ran).entries()) t.true(list.length - (counts[at] ?? 0) <= 4)
        }
      }
      for (let waited = 0; waited < 60; waited += 1) await turn()
      t.deepEqual(ran, wanted)
    }),
    { numRuns: 60 },
  )
})
