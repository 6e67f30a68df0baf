// The place that an engine keeps for its cluster: a single node loads nothing of it, a member serves nothing before it knows what holds.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'ava'
import { createEngineMembership } from '../../src/core/engine-membership.ts'
import { createMemory } from '../../src/core/cluster/memory.ts'
import type { ClusterConfig } from '../../src/service/cluster-config.ts'
import { createAppliance, PROFILE } from '../support/appliance.ts'
import { createFakeLog, emptyDisk, failureOf, openMemoryStore } from '../support/fakes.ts'
import { HERE } from '../support/operations-rig.ts'
import { CONNECTED } from './snapshot/samples.ts'

const NONE: ClusterConfig = {
  name: '',
  endpoints: [],
  ca_file: '',
  cert_file: '',
  key_file: '',
  user: '',
  password_file: '',
  secret_file: '',
}
const CONFIGURED = { ...NONE, name: 'ghe', endpoints: ['http://127.0.0.1:1'] }
const host = () => HERE

test('without [cluster] there is no membership, and no cluster to join', async t => {
  const place = createEngineMembership({
    config: NONE,
    store: openMemoryStore(emptyDisk()),
    host,
    log: createFakeLog(),
    offline: false,
  })
  t.is(place.membership(), undefined)
  await place.inStep()
  t.is((await failureOf(place.commands())).code, 'cluster-member')
})

test('a member serves, calls and changes nothing before its part is loaded', async t => {
  const store = openMemoryStore(emptyDisk())
  createMemory({ facts: store.facts, cluster: 'ghe', host }).join('member')
  const membership = createEngineMembership({
    config: CONFIGURED,
    store,
    host,
    log: createFakeLog(),
    offline: false,
  }).membership()
  t.is(membership?.whyNotServing()?.code, 'cluster-unreachable')
  t.is(membership?.whyNotCalling()?.code, 'cluster-unreachable')
  t.is((await failureOf(membership?.change(async () => {}, {}))).code, 'cluster-unreachable')
  t.false(membership?.leads())
})

test('without the daemon a change is kept for the cluster, and a local disable leaves it', async t => {
  const store = openMemoryStore(emptyDisk())
  const memory = () => createMemory({ facts: store.facts, cluster: 'ghe', host })
  memory().join('member')
  const membership = createEngineMembership({
    config: CONFIGURED,
    store,
    host,
    log: createFakeLog(),
    offline: true,
  }).membership()
  t.is(await membership?.change(async () => 7, {}), 7)
  t.true(memory().isUnsent())
  t.is(membership?.whyNotServing(), undefined)
  await membership?.change(async () => {}, { cutOff: 'leave' })
  t.is(memory().find(), undefined)
})

test('a node that has not joined serves as one by itself, with and without its daemon', async t => {
  for (const offline of [false, true]) {
    const store = openMemoryStore(emptyDisk())
    const place = createEngineMembership({ config: CONFIGURED, store, host, log: createFakeLog(), offline })
    t.is(place.membership(), undefined)
    await place.inStep()
    await place.rest()
    t.is((await failureOf(place.commands())).code, offline ? 'cluster-member' : 'cluster-unreachable')
    place.close()
  }
})

test('a member that waits for its cluster mints nothing, leads nothing, and is at home on any node', async t => {
  const store = openMemoryStore(emptyDisk())
  createMemory({ facts: store.facts, cluster: 'ghe', host }).join('member')
  const membership = createEngineMembership({
    config: CONFIGURED,
    store,
    host,
    log: createFakeLog(),
    offline: false,
  }).membership()
  if (!membership) throw new Error('no membership')
  t.true(
    membership.isHome({ machineId: 'other', hostname: 'other' }),
    'what it holds is not quarantined before it knows',
  )
  t.is(membership.role(), 'follower')
  t.false(membership.refreshesAhead())
  t.is(membership.marginMs(7), 7)
  t.deepEqual([membership.tokensTo(1), membership.warnings(), membership.signers()], [[], [], []])
})

test('without the daemon a member is at home where its connection was enabled', t => {
  const disk = emptyDisk()
  const store = openMemoryStore(disk)
  createMemory({ facts: store.facts, cluster: 'ghe', host }).join('member')
  const membership = createEngineMembership({
    config: CONFIGURED,
    store,
    host,
    log: createFakeLog(),
    offline: true,
  }).membership()
  t.false(membership?.isHome(HERE), 'nothing is connected')
  store.connection.write({ connection: { ...CONNECTED, host: { machineId: 'other', hostname: 'other' } } })
  t.true(membership?.isHome({ machineId: 'other', hostname: 'other' }))
  t.false(membership?.isHome(HERE))
})

test('the modules of the cluster are loaded where etcd is configured, and nowhere else', async t => {
  const coverage = mkdtempSync(join(tmpdir(), 'engine-membership-'))
  const appliance = await createAppliance({
    entry: resolve(import.meta.dirname, '../../src/ghconnectd.ts'),
    env: { NODE_V8_COVERAGE: coverage },
  })
  t.teardown(async () => {
    await appliance.close()
    rmSync(coverage, { recursive: true, force: true })
  })
  /** Ends the daemon, which then tells what it had loaded. */
  const loaded = async (): Promise<string> => {
    await appliance.kill()
    const all = readdirSync(coverage).map(name => readFileSync(join(coverage, name), 'utf8'))
    for (const name of readdirSync(coverage)) rmSync(join(coverage, name))
    return all.join()
  }
  await appliance.start()
  const single = await loaded()
  t.regex(single, /src\/core\/engine-membership\.ts/)
  t.notRegex(
    single,
    /src\/core\/cluster\/(?:changes|commands|election|etcd|link|node|sealing|session|token|values|view)|node_modules\/@grpc\//,
  )

  const secret = join(appliance.folder, 'cluster.secret')
  writeFileSync(secret, 'f'.repeat(64), { mode: 0o600 })
  appliance.configure(`${PROFILE}
[cluster]
name = "ghe"
endpoints = ["http://127.0.0.1:1"]
secret_file = "${secret}"
`)
  await appliance.start()
  const { body } = await appliance.call('GET', '/v1/status')
  t.is(body['role'], 'single', 'configured, and not joined')
  const joined = await appliance.call('POST', '/v1/cluster', {})
  t.deepEqual([joined.status, joined.body['type']], [503, 'urn:ghconnect:problem:cluster-unreachable'])
  t.regex(await loaded(), /src\/core\/cluster\/node\.ts/)
})
