// Who has how many connections: shares that hold whatever comes, and who has to make room.

import fc from 'fast-check'
import test from 'ava'
import { createConnections, type Limits, type Place } from '../../../src/core/api/sockets.ts'
import type { Holder } from '../../../src/core/peers/holder.ts'

const LIMITS: Limits = { all: 12, ofHolder: 4, ofUid: 6 }

const root = (unit: string): Holder => ({ name: `uid 0 in ${unit}` })
const HOLDERS: readonly Holder[] = [
  root('a.service'),
  root('b.service'),
  root('c.service'),
  { name: 'user 1000', uid: 1000 },
  { name: 'uid 33 in a.service', uid: 33 },
  { name: 'uid 33 in b.service', uid: 33 },
  { name: 'uid 33 in c.service', uid: 33 },
]

type Known = {
  readonly holder: Holder
  place: Place
  usedAt: number
  answering: { writableEnded: boolean } | undefined
}

/** A server with a client's view of it: who is connected, in which order each was used, and who was closed. */
const createServer = (limits = LIMITS) => {
  const connections = createConnections(limits)
  const open = new Set<Known>()
  let now = 0
  const enter = (holder: Holder): { one: Known; closed: Known[] } => {
    const closed: Known[] = []
    const one: Known = { holder, usedAt: ++now, answering: undefined, place: undefined as never }
    one.place = connections.enter({ destroy: () => (closed.push(one), toClose.push(one)) }, holder)
    const victims = toClose.splice(0)
    open.add(one)
    for (const victim of victims) open.delete(victim)
    return { one, closed: victims }
  }
  const toClose: Known[] = []
  const use = (one: Known): void => {
    one.usedAt = ++now
    one.answering = { writableEnded: false }
    one.place.use(one.answering)
  }
  const count = (match: (holder: Holder) => boolean): number => [...open].filter(({ holder }) => match(holder)).length
  return { connections, open, enter, use, count }
}

const isBusy = ({ answering }: Known): boolean => answering !== undefined && !answering.writableEnded
const idlest = (among: readonly Known[]): Known | undefined =>
  among.toSorted((a, b) => Number(isBusy(a)) - Number(isBusy(b)) || a.usedAt - b.usedAt)[0]

test('no holder and no uid has more than its share, a newcomer is served, and the idlest makes room', t => {
  const step = fc.record({ act: fc.constantFrom('enter', 'enter', 'enter', 'use', 'answer', 'leave'), at: fc.nat() })
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), steps => {
      const server = createServer()
      for (const { act, at } of steps) {
        const list = [...server.open]
        const known = list[at % Math.max(1, list.length)]
        if (act === 'enter') {
          const holder = HOLDERS[at % HOLDERS.length] ?? root('a.service')
          const before = { own: server.count(({ name }) => name === holder.name), all: list.length }
          const ofUid = holder.uid === undefined ? 0 : server.count(({ uid }) => uid === holder.uid)
          const { one, closed } = server.enter(holder)
          const mustClose = before.own >= 4 || ofUid >= 6 || before.all >= 12
          if (!server.open.has(one) || closed.length !== Number(mustClose)) return false
          const [victim] = closed
          if (!victim) continue
          const peers = list.filter(each => each.holder.name === victim.holder.name)
          if (idlest(peers) !== victim) return false
          if (before.own >= 4 && victim.holder.name !== holder.name) return false
          if (before.own < 4 && ofUid >= 6 && victim.holder.uid !== holder.uid) return false
          if (before.own < 4 && ofUid < 6) {
            const weight = ({ name, uid }: Holder): number =>
              list.filter(each => (uid === undefined ? each.holder.name === name : each.holder.uid === uid)).length
            if (list.some(each => weight(each.holder) > weight(victim.holder))) return false
          }
        } else if (known && act === 'use') server.use(known)
        else if (known && act === 'answer' && known.answering) known.answering.writableEnded = true
        else if (known && act === 'leave') {
          known.place.leave()
          known.place.leave()
          server.open.delete(known)
        }
        if (server.connections.size !== server.open.size || server.open.size > LIMITS.all) return false
        if (HOLDERS.some(({ name }) => server.count(holder => holder.name === name) > LIMITS.ofHolder)) return false
        if (server.count(({ uid }) => uid === 33) > LIMITS.ofUid) return false
      }
      return true
    }),
  )
  t.pass()
})

test('whoever is idle makes room for whoever is busy, and the one used last goes last', t => {
  const server = createServer({ all: 3, ofHolder: 3, ofUid: 3 })
  const first = server.enter(root('a.service')).one
  const second = server.enter(root('a.service')).one
  const third = server.enter(root('a.service')).one
  server.use(first)
  server.use(second)
  if (second.answering) second.answering.writableEnded = true
  t.deepEqual(server.enter(root('b.service')).closed, [third], 'it never asked')
  t.deepEqual(server.enter(root('c.service')).closed, [second], 'it has its answer')
  t.true(server.open.has(first), 'it waits for its answer')
})

test('a holder that fills the server pushes out nobody but itself', t => {
  const server = createServer()
  const quiet = HOLDERS.slice(0, 3).map(holder => server.enter(holder).one)
  for (let n = 0; n < 1_000; n += 1)
    for (const holder of HOLDERS.slice(3))
      for (const victim of server.enter(holder).closed) t.false(quiet.includes(victim))
  t.true(quiet.every(one => server.open.has(one)))
})
