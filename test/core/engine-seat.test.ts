// The place that an engine keeps for its cluster: a single node loads nothing of it, a member serves nothing before it knows what holds.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'ava'
import { createEngineSeat } from '../../src/core/engine-seat.ts'
import { createMemory } from '../../src/core/cluster/membership.ts'
import type { ClusterConfig } from '../../src/service/cluster-config.ts'
import { createAppliance, PROFILE } from '../support/appliance.ts'
import { createFakeLog, emptyDisk, failureOf, openMemoryStore } from '../support/fakes.ts'
import { HERE } from '../support/operations-rig.ts'
import { CONNECTED } from './snapshot/samples.ts'

const NONE: ClusterConfig = {
  name: '',
  endpoints: [],
  caFile: undefined,
  certFile: undefined,
  keyFile: undefined,
  user: undefined,
  passwordFile: undefined,
  secretFile: undefined,
}
const CONFIGURED = { ...NONE, name: 'ghe', endpoints: ['http://127.0.0.1:1'] }
const host = () => HERE

test('without [cluster] there is no seat, and no cluster to join', async t => {
  const place = createEngineSeat({
    config: NONE,
    store: openMemoryStore(emptyDisk()),
    host,
    log: createFakeLog(),
    offline: false,
  })
  t.is(place.seat(), undefined)
  await place.inStep()
  t.is((await failureOf(place.desk())).code, 'cluster-member')
})

test('a member serves, calls and changes nothing before its part is loaded', async t => {
  const store = openMemoryStore(emptyDisk())
  createMemory({ facts: store.facts, cluster: 'ghe', host }).join('member')
  const seat = createEngineSeat({ config: CONFIGURED, store, host, log: createFakeLog(), offline: false }).seat()
  t.is(seat?.findShut()?.code, 'cluster-unreachable')
  t.is(seat?.findMute()?.code, 'cluster-unreachable')
  t.is((await failureOf(seat?.change(async () => {}, {}))).code, 'cluster-unreachable')
  t.false(seat?.leads())
})

test('without the daemon a change is kept for the cluster, and a local disable leaves it', async t => {
  const store = openMemoryStore(emptyDisk())
  const memory = () => createMemory({ facts: store.facts, cluster: 'ghe', host })
  memory().join('member')
  const seat = createEngineSeat({ config: CONFIGURED, store, host, log: createFakeLog(), offline: true }).seat()
  t.is(await seat?.change(async () => 7, {}), 7)
  t.true(memory().isUnsent())
  t.is(seat?.findShut(), undefined)
  await seat?.change(async () => {}, { cutOff: 'leave' })
  t.is(memory().find(), undefined)
})

test('a node that has not joined serves as one by itself, with and without its daemon', async t => {
  for (const offline of [false, true]) {
    const store = openMemoryStore(emptyDisk())
    const place = createEngineSeat({ config: CONFIGURED, store, host, log: createFakeLog(), offline })
    t.is(place.seat(), undefined)
    await place.inStep()
    await place.rest()
    t.is((await failureOf(place.desk())).code, offline ? 'cluster-member' : 'cluster-unreachable')
    place.close()
  }
})

test('a member that waits for its cluster mints nothing, leads nothing, and is at home on any node', async t => {
  const store = openMemoryStore(emptyDisk())
  createMemory({ facts: store.facts, cluster: 'ghe', host }).join('member')
  const seat = createEngineSeat({ config: CONFIGURED, store, host, log: createFakeLog(), offline: false }).seat()
  if (!seat) throw new Error('no seat')
  t.true(seat.isHome({ machineId: 'other', hostname: 'other' }), 'what it holds is not quarantined before it knows')
  t.is(seat.role(), 'follower')
  t.false(seat.refreshesAhead())
  t.is(seat.marginMs(7), 7)
  t.deepEqual([seat.tokensTo(1), seat.warnings(), seat.signers()], [[], [], []])
})

test('without the daemon a member is at home where its connection was enabled', t => {
  const disk = emptyDisk()
  const store = openMemoryStore(disk)
  createMemory({ facts: store.facts, cluster: 'ghe', host }).join('member')
  const seat = createEngineSeat({ config: CONFIGURED, store, host, log: createFakeLog(), offline: true }).seat()
  t.false(seat?.isHome(HERE), 'nothing is connected')
  store.connection.write({ connection: { ...CONNECTED, host: { machineId: 'other', hostname: 'other' } } })
  t.true(seat?.isHome({ machineId: 'other', hostname: 'other' }))
  t.false(seat?.isHome(HERE))
})

test('the modules of the cluster are loaded where etcd is configured, and nowhere else', async t => {
  const coverage = mkdtempSync(join(tmpdir(), 'engine-seat-'))
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
  t.regex(single, /src\/core\/engine-seat\.ts/)
  t.notRegex(
    single,
    /src\/core\/engine-cluster\.ts|src\/core\/cluster\/(?:asking|board|election|etcd|link|lock|sealing|session|values)|node_modules\/(?:etcd3|@grpc)\//,
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
  t.regex(await loaded(), /src\/core\/engine-cluster\.ts/)
})
