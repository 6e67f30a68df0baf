// etcd is away for three hours, and time passes: each node serves on; when it is back there is one leader and one connection.

import test from 'ava'
import { type Cluster, type ClusterNode, startCluster } from '../support/cluster.ts'
import { createTimeMachine } from '../support/time-machine.ts'

const MINUTE = 60_000
const time = createTimeMachine()
let cluster: Cluster
test.before(async () => {
  cluster = await startCluster({ time })
})
test.after.always(async () => {
  await cluster?.close()
  time.close()
})

/** A job on that node: has a token, and GitHub takes it. */
const work = async (node: ClusterNode): Promise<string> => {
  const { status, body, text } = await node.token('web')
  if (status !== 200) throw new Error(`node ${node.at}: ${status} ${text}\n${node.log().slice(-3_000)}`)
  const used = await cluster.use(String(body['token']), 'web')
  if (used !== 200)
    throw new Error(`node ${node.at}: GitHub says ${used} to a token until ${String(body['expires_at'])}`)
  return String(body['token'])
}

const workEverywhere = async (): Promise<Set<string>> => new Set(await Promise.all(cluster.nodes.map(work)))

const sum = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((a, b) => a + b, 0)

/** So much, in steps that are shorter than the time within which a scope in use is asked for again. */
const pass = async (minutes: number): Promise<void> => {
  for (let passed = 0; passed < minutes; passed += 5) {
    time.advance(5 * MINUTE)
    await workEverywhere()
  }
}

test.serial('in an hour GitHub mints one token each 20 minutes, for all nodes together', async t => {
  t.is((await workEverywhere()).size, 1)
  const since = await cluster.sequence()
  for (let third = 1; third <= 3; third++) {
    await pass(20)
    for (;;) {
      const tokens = await workEverywhere()
      const minted = sum(await cluster.mints(since))
      if (tokens.size === 1 && minted >= third) break
      await new Promise(pause => setTimeout(pause, 50))
    }
    t.is(sum(await cluster.mints(since)), third)
  }
})

test.serial('etcd down for three hours: every node serves; on return one leader, no lost update', async t => {
  const before = await cluster.leader()
  t.truthy(before)
  const generation = (await before.call('GET', '/v1/status')).body['generation']
  for (const member of cluster.etcd.members) await member.kill()
  const since = await cluster.sequence()
  await pass(180)
  const minted = sum(await cluster.mints(since))
  // Cut off, each mints for itself, and no sooner than it must.
  t.true(minted <= cluster.nodes.length * 4, `${minted} mints`)
  const refused = await before.call('DELETE', '/v1/connection')
  t.is(refused.status, 503)

  await Promise.all(cluster.etcd.members.map(member => member.start()))
  const leader = await cluster.leader()
  t.truthy(leader)
  // Each brings what it minted; the newest goes round, and is handed out after it settled.
  let minutes = 0
  while ((await workEverywhere()).size > 1) {
    minutes += 1
    if (minutes > 5) throw new Error('the nodes do not come to one token')
    time.advance(MINUTE)
    await new Promise(pause => setTimeout(pause, 500))
  }
  t.log(`one token after ${minutes} minutes`)
  for (const node of cluster.nodes) {
    const { body } = await node.call('GET', '/v1/status')
    t.is(body['generation'], generation)
    t.is(body['state'], 'connected')
  }
  const again = await cluster.sequence()
  await workEverywhere()
  t.is(sum(await cluster.mints(again)), 0, 'nothing is minted twice')
})

test.serial('a node that is cut off for a day serves nothing; the others do', async t => {
  const [cut, ...rest] = cluster.nodes
  if (!cut) throw new Error('no node')
  cut.site.cut()
  for (let hours = 0; hours < 24; hours++) {
    time.advance(60 * MINUTE)
    await Promise.all(rest.map(work))
  }
  time.advance(10 * MINUTE)
  const { status, text } = await cut.token('web')
  t.is(status, 503)
  t.regex(text, /isolated/)
  await Promise.all(rest.map(work))
  cut.site.heal()
  for (;;) {
    if ((await cut.token('web')).status === 200) break
    await new Promise(pause => setTimeout(pause, 100))
  }
  await workEverywhere()
  t.pass()
})
