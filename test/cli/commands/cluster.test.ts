// `ghconnect cluster`: what it asks of the daemon, and what a person reads.

import test from 'ava'
import type { ClusterStatus } from '../../../src/protocol/wire.ts'
import { toProblem, Failure } from '../../../src/protocol/errors.ts'
import { CONNECTED, type FakeDaemon, runCli, startDaemon } from '../rig.ts'

const run = (daemon: FakeDaemon, words: readonly string[]) => runCli([...words, '--socket', daemon.folder])

const STATUS: ClusterStatus = {
  cluster: 'ghe',
  node: 'one-a1',
  joined: true,
  role: 'leader',
  in_touch: true,
  generation: 3,
  sequence: 12,
  cluster_sequence: 12,
  unsent: false,
  leader: 'one-a1',
  tokens: 7,
  members: [
    {
      node: 'one-a1',
      hostname: 'one',
      role: 'leader',
      version: '0.1.0',
      generation: 3,
      sequence: 12,
      behind: 0,
      since: '2026-07-11T11:00:00.000Z',
    },
    {
      node: 'two-b2',
      hostname: 'two',
      role: 'follower',
      version: '0.1.0',
      generation: 3,
      sequence: 10,
      behind: 2,
      since: '2026-07-11T11:00:00.000Z',
    },
  ],
}

test('status shows leader, members, and who is behind', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/cluster': { body: STATUS } })
  const { code, stdout } = await run(daemon, ['cluster', 'status'])
  t.is(code, 0)
  t.regex(stdout, /Cluster\s+ghe, in touch/)
  t.regex(stdout, /Leader\s+one-a1/)
  t.regex(stdout, /two-b2\s+two\s+follower\s+generation 3\s+2 records behind/)
})

test('a node that is cut off says since when, and why', async t => {
  const body = {
    ...STATUS,
    role: 'follower',
    in_touch: false,
    last_contact_at: '2026-07-11T10:00:00.000Z',
    trouble: 'etcd: no answer',
    unsent: true,
  }
  const daemon = await startDaemon(t, { 'GET /v1/cluster': { body } })
  const { stdout } = await run(daemon, ['cluster', 'status'])
  t.regex(stdout, /cut off, heard of 2 h ago/)
  t.regex(stdout, /etcd: no answer/)
  t.regex(stdout, /a change of this node is not in the cluster yet/)
})

test('a node that reaches etcd and lags behind says so, and why', async t => {
  const body = { ...STATUS, role: 'follower', trouble: 'the record is sealed with another secret. Give it the same.' }
  const daemon = await startDaemon(t, { 'GET /v1/cluster': { body } })
  const { stdout } = await run(daemon, ['cluster', 'status'])
  t.regex(stdout, /in touch, and behind\n\s+the record is sealed with another secret/)
})

test('join, leave and promote say what they were told', async t => {
  const daemon = await startDaemon(t, {
    'GET /v1/status': { body: CONNECTED },
    'POST /v1/cluster': { body: STATUS },
    'DELETE /v1/cluster': { body: { ...STATUS, joined: false } },
    'POST /v1/cluster/promotion': { body: STATUS },
  })
  const unasked = await run(daemon, ['cluster', 'join', '--replica', '--force'])
  t.is(unasked.code, 64)
  t.regex(unasked.stderr, /shreds the credentials of octo-org on this node; without a terminal/)
  t.deepEqual(daemon.requestsTo('POST'), [])
  t.is((await run(daemon, ['cluster', 'join', '--replica', '--force', '--yes'])).code, 0)
  t.deepEqual(daemon.seen.at(-1)?.body, { replica: true, force: true })
  t.regex((await run(daemon, ['cluster', 'leave', '--keep'])).stdout, /not joined/)
  t.is(daemon.seen.at(-1)?.path, '/v1/cluster?keep=true')
  const leaving = await run(daemon, ['cluster', 'leave'])
  t.is(leaving.code, 64)
  t.regex(leaving.stderr, /shreds the credentials of octo-org on this node; without a terminal/)
  t.is((await run(daemon, ['cluster', 'leave', '--yes'])).code, 0)
  t.is(daemon.seen.at(-1)?.path, '/v1/cluster')
  const promoted = await run(daemon, ['cluster', 'promote', '--json'])
  t.deepEqual(JSON.parse(promoted.stdout), STATUS)
})

test('rotate-secret counts, and names the nodes that are not ready', async t => {
  const ready = await startDaemon(t, { 'POST /v1/cluster/secret': { body: { resealed: 8 } } })
  t.is((await run(ready, ['cluster', 'rotate-secret'])).stdout, '8 values sealed with the new secret.\n')
  const unready = await startDaemon(t, {
    'POST /v1/cluster/secret': {
      status: 503,
      type: 'application/problem+json',
      body: toProblem(new Failure('cluster-secret', 'two-b2: without it')),
    },
  })
  const { code, stderr } = await run(unready, ['cluster', 'rotate-secret'])
  t.is(code, 78)
  t.regex(stderr, /two-b2/)
})
