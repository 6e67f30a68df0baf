// The harness of the cluster's tests itself: what is pulled apart is apart, and comes together again.

import { once } from 'node:events'
import test from 'ava'
import { startEtcd } from '../support/etcd.ts'
import { createSwitchboard } from '../support/switchboard.ts'

test('a pulled cable isolates a member of etcd, and a healed one joins it again', async t => {
  const view = createSwitchboard(5)
  t.teardown(() => view.remove())
  const [operator, node, ...places] = view.sites
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

  view.healAll()
  await etcd.settled()
  t.deepEqual(reaches(), [true, true, true])
  // Which of them leads now is Raft's own affair: the old leader may have been elected again.
  t.true((await etcd.leader()) >= 0)
  t.regex(await etcd.ctl('get', 'a', '--endpoints', etcd.endpoints[leader] ?? ''), /1/)
})

test('a site can be parted from another one alone', t => {
  const view = createSwitchboard(3)
  t.teardown(() => view.remove())
  const [a, b, c] = view.sites
  if (!a || !b || !c) throw new Error('no sites')
  // The refusal of a closed port is an answer; silence is none. A slow machine may take its time for an answer.
  const answers = (from: typeof a, to: typeof a, seconds = 8): boolean => {
    try {
      from.run('timeout', String(seconds), 'bash', '-c', `exec 3<>/dev/tcp/${to.address}/9`)
      return true
    } catch (error) {
      return error instanceof Error && /refused/.test(error.message)
    }
  }
  const isSilent = (from: typeof a, to: typeof a): boolean => !answers(from, to, 1)
  t.true(answers(a, b))
  a.part(b)
  t.deepEqual([isSilent(a, b), isSilent(b, a), answers(a, c), answers(c, b)], [true, true, true, true])
  view.healAll()
  t.true(answers(b, a))
  c.cut()
  t.deepEqual([answers(a, b), isSilent(a, c), isSilent(c, b)], [true, true, true])
  c.heal()
  t.true(answers(a, c))
})

test('a port of a site leads to the test', async t => {
  const view = createSwitchboard(2)
  t.teardown(() => view.remove())
  const [site, other] = view.sites
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
