// Who is charged for what: a user cannot split into several holders, and system units do not share one.

import test from 'ava'
import { createHolderTurns, holderOf } from '../../../src/core/peers/holder.ts'
import { parseUserSlice } from '../../../src/core/peers/peer.ts'
import fc from 'fast-check'

const peer = { pid: 1, uid: 1000, gid: 1000, groups: [] }

test('all login sessions and subordinate uids of one user are one holder', t => {
  const sessions = [
    { ...peer, unit: 'session-3.scope', userSlice: 1000 },
    { ...peer, unit: 'user@1000.service', userSlice: 1000 },
    { ...peer, uid: 165_537, unit: 'session-4.scope', userSlice: 1000 },
  ]
  t.deepEqual([...new Set(sessions.map(one => holderOf(one).name))], ['user 1000'])
  t.is(holderOf(sessions[2] ?? peer).uid, 1000)
})

test('elsewhere the holder is uid and outermost unit, and units of one uid share a second limit but for those of uid 0', t => {
  t.deepEqual(holderOf({ ...peer, uid: 33, unit: 'apache2.service' }), { name: 'uid 33 in apache2.service', uid: 33 })
  t.deepEqual(holderOf({ ...peer, uid: 0, unit: 'cron.service' }), { name: 'uid 0 in cron.service' })
  t.deepEqual(holderOf({ ...peer, uid: 0, unit: 'session-1.scope', userSlice: 0 }), { name: 'user 0' })
  t.deepEqual(holderOf(peer), { name: 'uid 1000', uid: 1000 })
  t.is(holderOf(peer), holderOf(peer), 'reckoned once for a peer')
  t.deepEqual(holderOf({ ...peer, uid: 0 }), { name: 'uid 0' })
})

test('the slice of a user counts only where the system manager made it', t => {
  t.is(parseUserSlice('0::/user.slice/user-1000.slice/session-3.scope\n'), 1000)
  t.is(parseUserSlice('12:cpu:/x\n1:name=systemd:/user.slice/user-7.slice/user@7.service/app.slice/a.service\n'), 7)
  t.is(parseUserSlice('0::/system.slice/user-1000.slice/x.service\n'), undefined)
  t.is(parseUserSlice('0::/system.slice/a.service/user.slice/user-5.slice\n'), undefined)
  t.is(parseUserSlice('0::/user.slice/user-99999999999.slice/x\n'), undefined)
  t.is(parseUserSlice(''), undefined)
})

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
