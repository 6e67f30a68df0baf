// The doctor on nodes of a cluster: each names its place, and etcd, where that is gone, and nothing else.

import test from 'ava'
import { type Cluster, type ClusterNode, startCluster } from '../support/cluster.ts'
import { assertNames, checkOf } from '../support/checking.ts'

let cluster: Cluster
test.before(async () => {
  cluster = await startCluster({ nodes: 3, roles: ['member', 'member', 'replica'] })
})
test.after.always(() => cluster?.close())

/** Without what these machines lack by themselves. */
const reportOf = async (node: ClusterNode) => {
  const report = await checkOf(node)
  const rows = report.rows.filter(({ layer }) => layer !== 'recovery-key' && layer !== 'backup')
  return { ...report, rows, row: rows.find(({ layer }) => layer === 'cluster') }
}

const amiss = (rows: Awaited<ReturnType<typeof reportOf>>['rows']): unknown[] =>
  rows.filter(({ verdict }) => verdict === 'failed' || verdict === 'warning')

test('members and replica tell their place; without etcd that alone is wrong; with it again all is well', async t => {
  const leader = await cluster.leader()
  const replica = cluster.nodes[2]
  if (!replica) throw new Error('no third node')
  for (const node of cluster.nodes) {
    const { row, rows } = await reportOf(node)
    t.deepEqual(amiss(rows), [], node.log().slice(-2_000))
    t.is(row?.verdict, 'ok')
    const place = node === leader ? 'its leader' : node === replica ? 'a replica' : 'a follower'
    t.regex(row?.evidence ?? '', new RegExp(`is ${place}, one of 3, and holds record \\d+ of \\d+`))
    const key = rows.find(({ layer }) => layer === 'key')
    t.is(key?.verdict, node === replica ? 'skipped' : 'ok')
  }

  for (const member of cluster.etcd.members) await member.kill()
  // It is noticed when a call for it fails.
  for (;;) {
    const { row } = await reportOf(leader)
    if (row?.verdict === 'failed') break
    await new Promise(pause => setTimeout(pause, 200))
  }
  assertNames(t, await reportOf(leader), { layer: 'cluster', verdict: 'failed', code: 'cluster-unreachable' })

  await Promise.all(cluster.etcd.members.map(member => member.start()))
  for (;;) {
    const { rows } = await reportOf(leader)
    if (amiss(rows).length === 0) break
    await new Promise(pause => setTimeout(pause, 200))
  }
  t.pass()
})
