// The harness of the cluster's tests itself: what is pulled apart is apart, and comes together again.

import { once } from 'node:events'
import test from 'ava'
import { startEtcd } from '../support/etcd.ts'
import { createSwitchboard } from '../support/switchboard.ts'

test('a pulled cable isolates a member of etcd, and a healed one joins it again', async t => {
  const board = createSwitchboard(5)
  t.teardown(() => board.remove())
  const [operator, node, ...places] = board.sites
  if (!operator || !node) throw new Error('no sites')
  const etcd = await startEtcd({ size: 3, tls: true, places, operator })
  t.teardown(() => etcd.close())
  const reaches = (): boolean[] => places.map(place => node.reaches(place.address, 2379))
  t.deepEqual(reaches(), [true, true, true])

  const leader = await etcd.leader()
  places[leader]?.cut()
  t.false(node.reaches(places[leader]?.address ?? '', 2379))
  await etcd.settled(...[0, 1, 2].filter(each => each !== leader))
  const others = etcd.endpoints.filter((_, each) => each !== leader).join(',')
  t.regex(await etcd.ctl('put', 'a', '1', '--endpoints', others), /OK/)

  board.healAll()
  await etcd.settled()
  t.deepEqual(reaches(), [true, true, true])
  // Which of them leads now is Raft's own affair: the old leader may have been elected again.
  t.true((await etcd.leader()) >= 0)
  t.regex(await etcd.ctl('get', 'a', '--endpoints', etcd.endpoints[leader] ?? ''), /1/)
})

test('a site can be parted from another one alone', t => {
  const board = createSwitchboard(3)
  t.teardown(() => board.remove())
  const [a, b, c] = board.sites
  if (!a || !b || !c) throw new Error('no sites')
  const pings = (from: typeof a, to: typeof a): boolean => {
    try {
      // The refusal of a closed port is an answer; silence is none.
      from.run('timeout', '1', 'bash', '-c', `exec 3<>/dev/tcp/${to.address}/9`)
      return true
    } catch (error) {
      return error instanceof Error && /refused/.test(error.message)
    }
  }
  t.true(pings(a, b))
  a.part(b)
  t.deepEqual([pings(a, b), pings(b, a), pings(a, c), pings(c, b)], [false, false, true, true])
  board.healAll()
  t.true(pings(b, a))
  c.cut()
  t.deepEqual([pings(a, b), pings(a, c), pings(c, b)], [true, false, false])
  c.heal()
  t.true(pings(a, c))
})

test('a port of a site leads to the test', async t => {
  const board = createSwitchboard(2)
  t.teardown(() => board.remove())
  const [site, other] = board.sites
  if (!site || !other) throw new Error('no sites')
  const served = await site.serve(8471, socket => socket.end('hello\n'))
  t.teardown(() => served.close())
  t.true(site.reaches('127.0.0.1', 8471))
  t.false(other.reaches('127.0.0.1', 8471))
  const { spawn } = await import('node:child_process')
  const [program = '', ...words] = site.enter(['bash', '-c', 'cat </dev/tcp/127.0.0.1/8471'])
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await once(child, 'close')
  t.is(said, 'hello\n')
})
