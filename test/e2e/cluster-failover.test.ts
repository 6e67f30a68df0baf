// The leader is killed, stopped, cut off: another one leads within two leases, and no caller notices.

import test from 'ava'
import { z } from 'zod'
import { LINK_TIMES } from '../../src/core/cluster/link.ts'
import { type Cluster, type ClusterNode, REPOSITORIES, startCluster } from '../support/cluster.ts'

const pause = (): Promise<void> => new Promise(done => void setTimeout(done, 20))

const LEASE_MS = LINK_TIMES.ttlSeconds * 1_000
let cluster: Cluster
test.before(async () => {
  cluster = await startCluster({ toml: '[refresh]\nsettle = "1s"\n' })
})
test.after.always(() => cluster?.close())

/** Asks each of the nodes again and again until it is told to end; gives what went wrong. */
const keepAsking = (nodes: readonly ClusterNode[]) => {
  const failures: string[] = []
  const tokens = new Set<string>()
  let count = 0
  const over = new AbortController()
  const asking = nodes.map(async node => {
    for (let i = 0; !over.signal.aborted; i++) {
      const repository = REPOSITORIES[i % REPOSITORIES.length] ?? 'web'
      const { status, body, text } = await node.token(repository)
      count += 1
      if (status === 200) tokens.add(String(body['token']))
      else failures.push(`node ${node.at}: ${status} ${text}`)
      await pause()
    }
  })
  return {
    async end() {
      over.abort()
      await Promise.all(asking)
      return { failures, tokens, count }
    },
  }
}

const others = (node: ClusterNode): ClusterNode[] => cluster.nodes.filter(each => each !== node)

const untilFollowing = async (node: ClusterNode): Promise<void> => {
  for (;;) {
    const { body } = await node.call('GET', '/v1/status').catch(() => ({ body: {} as Record<string, unknown> }))
    if (body['role'] === 'follower') return
    await pause()
  }
}

test.serial('a token asked for on any node is there on all, and GitHub made it once', async t => {
  const since = await cluster.sequence()
  const asked = cluster.nodes.flatMap(node =>
    REPOSITORIES.map(async name => ({ name, answer: await node.token(name) })),
  )
  const answers = await Promise.all(asked)
  for (const { answer } of answers) t.is(answer.status, 200, answer.text)
  for (const name of REPOSITORIES) {
    const tokens = new Set(answers.filter(each => each.name === name).map(({ answer }) => answer.body['token']))
    t.is(tokens.size, 1, name)
    for (const token of tokens) t.is(await cluster.use(String(token), name), 200)
  }
  const mints = await cluster.mints(since)
  t.deepEqual([...mints.values()], [1, 1, 1])
})

const ways: Readonly<
  Record<string, { strike(node: ClusterNode): unknown; relent(node: ClusterNode): Promise<void>; serves: boolean }>
> = {
  'kill -9': { strike: node => node.kill('SIGKILL'), relent: node => node.start(), serves: false },
  SIGSTOP: { strike: node => node.pause(), relent: async node => node.resume(), serves: false },
  'a partition': { strike: node => node.site.cut(), relent: async node => node.site.heal(), serves: true },
}

for (const [name, { strike, relent, serves }] of Object.entries(ways)) {
  test.serial(`${name} of the leader: another one within two leases, no read fails, nothing is minted`, async t => {
    const leader = await cluster.leader()
    const readers = keepAsking(serves ? cluster.nodes : others(leader))
    const since = await cluster.sequence()
    const began = performance.now()
    await strike(leader)
    const next = await cluster.leader(others(leader))
    const tookMs = performance.now() - began
    t.log(`${name}: ${Math.round(tookMs)} ms`)
    t.true(tookMs <= 2 * LEASE_MS, `${tookMs} ms`)
    t.not(next, leader)
    await relent(leader)
    await untilFollowing(leader)
    const { failures, count } = await readers.end()
    t.deepEqual(failures, [])
    t.true(count > 50)
    t.deepEqual([...(await cluster.mints(since)).values()], [])
    t.is(await cluster.leader(), next)
  })
}

test.serial('a leader that was stopped in the middle of a mint writes nothing when it goes on', async t => {
  const leader = await cluster.leader()
  const since = await cluster.sequence()
  const before = await tokenKeys()
  await cluster.control('POST', 'faults', { kind: 'slow', ms: 1_500, path: '/app/installations', count: 1 })
  const late = leader.token('infra')
  // The fault is used up when the request has come.
  while (JSON.stringify(await cluster.control('GET', 'faults')) !== '[]') await pause()
  leader.pause()
  const next = await cluster.leader(others(leader))
  // The scope is asked for elsewhere: the new leader mints it, once.
  const answers = await Promise.all(others(leader).map(node => node.token('infra')))
  const tokens = new Set(answers.map(({ status, body }) => (status === 200 ? body['token'] : status)))
  t.is(tokens.size, 1)
  const [token] = tokens
  leader.resume()
  await late
  await untilFollowing(leader)
  t.is(await cluster.leader(), next)
  // What it minted late is good, and its own: the cluster's was written once, by the one who led.
  t.is(await writesOf(before), 1)
  for (;;) {
    const all = await Promise.all(cluster.nodes.map(async node => (await node.token('infra')).body['token']))
    if (new Set(all).size === 1 && all[0] === token) break
    await pause()
  }
  const minted = [...(await cluster.mints(since)).values()]
  t.deepEqual(minted, [2], 'one by each of the leaders')
})

type Kept = { readonly key: string; readonly version: number }

const tokenKeys = async (): Promise<readonly Kept[]> => {
  const text = await cluster.etcd.ctl('get', '--prefix', 'ghconnect/test/tokens/', '-w', 'json')
  return Stored.parse(JSON.parse(text)).kvs
}

/** How often the key was written that was not there before. */
const writesOf = async (before: readonly Kept[]): Promise<number | undefined> =>
  (await tokenKeys()).find(({ key }) => before.every(each => each.key !== key))?.version

const Stored = z.object({ kvs: z.array(z.object({ key: z.string(), version: z.number() })).default([]) })
