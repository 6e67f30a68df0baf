// What earlier versions left behind opens with the code of today: state folders, bundles, values in etcd, a configuration, vectors.
// The files under test/fixtures/ are never written again. Where a test here fails, the code is wrong, not the fixture.

import { chmodSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { z } from 'zod'
import { digestOf } from '../src/core/cluster/values.ts'
import { canonicalJson } from '../src/protocol/canonical-json.ts'
import { Secret } from '../src/protocol/secret.ts'
import { type Engine, openEngine } from '../src/core/engine.ts'
import { readPrivateKey } from '../src/core/github/app-key.ts'
import { createEvents } from '../src/core/audit/events.ts'
import { hashToken } from '../src/core/audit/audit-writer.ts'
import { createClock } from '../src/service/clock.ts'
import { parseConfig } from '../src/service/config.ts'
import { createOutbound } from '../src/core/outbound/outbound.ts'
import { scopeKey } from '../src/protocol/scope.ts'
import { openBundle, readHeader } from '../src/core/snapshot/bundle.ts'
import { readIdentities } from '../src/core/snapshot/encryption.ts'
import { type AuditEvent, chainEvent } from '../src/core/audit/audit-chain.ts'
import { readStore } from '../src/core/store/database.ts'
import { unwrapDatabaseKey } from '../src/core/store/keys.ts'
import { unlockByRecoveryKey } from '../src/core/snapshot/closed-store.ts'
import { silentLog } from './core/store/samples.ts'
import { NO_DAEMON } from './support/engine-state-rig.ts'
import {
  FIXTURE_HOST,
  FIXTURE_STORE_KEY,
  FIXTURE_SURROUNDINGS,
  fixtureCodecs,
  readState,
  unseal,
  withDigests,
} from './support/fixtures.ts'

const FOLDER = join(import.meta.dirname, 'fixtures')
const VERSIONS = readdirSync(FOLDER)

const State = z.object({ state: z.string() }).catchall(z.json())
const Settings = z.object({ github_url: z.string(), api_url: z.string() })
const Bundle = z.object({ header: z.json(), content: z.object({ settings: Settings }).catchall(z.json()) })
const Expected = z.object({ states: z.record(z.string(), State), clear: Bundle, sealed: Bundle })
const EtcdValues = z.array(z.object({ key: z.string(), value: z.string(), holds: z.json() }))

const copyOf = (t: ExecutionContext, path: string): string => {
  const copy = mkdtempSync(join(tmpdir(), 'ghconnect-fixture-'))
  t.teardown(() => rmSync(copy, { recursive: true, force: true }))
  cpSync(path, copy, { recursive: true, verbatimSymlinks: true })
  // Git keeps no modes.
  chmodSync(copy, 0o700)
  for (const entry of readdirSync(copy, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o700 : 0o600)
  }
  return copy
}

type Place = { readonly state: string; readonly github: z.infer<typeof Settings> }

/** With the GitHub that the fixtures were made at. */
const configOf = ({ state, github }: Place) =>
  parseConfig(
    `[github]\nurl = "${github.github_url}"\napi_url = "${github.api_url}"\n[paths]\nstate = "${state}"\n[appliance]\nhostname = "${FIXTURE_HOST.hostname}"\n`,
    {
      file: 'config.toml',
      surroundings: FIXTURE_SURROUNDINGS,
    },
  )

/** As the daemon composes it, without its sockets: nobody is called. */
const engineOver = (t: ExecutionContext, place: Place): Engine => {
  const clock = createClock()
  const config = configOf(place)
  const outbound = createOutbound({ proxy: undefined, exclude: [], ca: undefined }, { clock })
  const engine = openEngine({
    config: () => config,
    host: () => FIXTURE_HOST,
    outbound,
    events: createEvents({ clock, log: silentLog }),
    clock,
    log: silentLog,
    env: {},
    ...NO_DAEMON,
    storeKey: FIXTURE_STORE_KEY,
    offline: true,
  })
  t.teardown(() => {
    engine.close()
    outbound.close()
  })
  return engine
}

for (const version of VERSIONS) {
  const read = (name: string): Buffer => readFileSync(join(FOLDER, version, name))
  const readJson = (name: string): unknown => JSON.parse(read(name).toString())
  const expected = Expected.parse(readJson('expected.json'))
  const { settings: github } = expected.clear.content
  const identities = readIdentities(read('identity.txt').toString())
  const stateFolder = (name: string): string => join(FOLDER, version, 'states', name)

  for (const [name, { state, ...content }] of Object.entries(expected.states)) {
    test(`the state folder "${name}" of ${version} is in its state, and complete`, t => {
      const copy = copyOf(t, stateFolder(name))
      t.deepEqual(readState(copy), content as unknown)
      const engine = engineOver(t, { state: copy, github })
      t.is(engine.status.whole().state, state)
      for (const { pem, fingerprint } of engine.connectionState.read().keys) {
        t.is(readPrivateKey(pem.reveal()).fingerprint, fingerprint)
      }
    })
  }

  test(`the audit log of ${version} is proven through its archive`, async t => {
    const engine = engineOver(t, { state: copyOf(t, stateFolder('archive')), github })
    t.true((await engine.auditLog.verify()).intact)
  })

  test(`the recovery key of ${version} opens its store under another store key`, async t => {
    const copy = copyOf(t, stateFolder('recovery-key'))
    const storeKey = Buffer.alloc(32, 1)
    const config = configOf({ state: copy, github })
    await unlockByRecoveryKey(identities, { config, storeKey, log: silentLog })
    const { record } = readState(copy, storeKey)
    t.deepEqual(record, expected.states['recovery-key']?.['record'])
  })

  test(`the sealed bundle that waits in a state folder of ${version} is completed`, async t => {
    const engine = engineOver(t, { state: copyOf(t, stateFolder('awaiting-unlock')), github })
    t.is((await engine.snapshots.unlock(identities)).outcome, 'restored')
    t.is(engine.status.whole().state, 'connected')
  })

  for (const name of ['clear', 'sealed'] as const) {
    test(`the ${name} bundle of ${version} is read, and restored onto an empty store`, async t => {
      const bundle = read(`${name}.bundle`)
      t.deepEqual(readHeader(bundle), expected[name].header as unknown)
      t.deepEqual(withDigests(await openBundle(bundle, identities)), expected[name].content as unknown)
      const engine = engineOver(t, { state: copyOf(t, stateFolder('disconnected')), github })
      t.is((await engine.snapshots.restore(bundle, { identities, force: false })).outcome, 'restored')
      t.is(engine.status.whole().state, 'connected')
    })
  }

  test(`each value that ${version} kept in etcd is unsealed`, t => {
    const values = EtcdValues.parse(readJson('etcd.json'))
    t.true(values.length >= 10)
    for (const { holds, ...value } of values) t.deepEqual(unseal(value), holds as unknown, value.key)
  })

  test(`a configuration of ${version} with every key is read as it was`, t => {
    const text = read('config.toml').toString()
    const features = read('config.features.toml').toString()
    const config = parseConfig(text, { file: 'config.toml', surroundings: FIXTURE_SURROUNDINGS, features })
    const wanted = z.record(z.string(), z.json()).parse(readJson('config.json'))
    // Its paths bear the names of the file by now, and hold the same.
    const cluster = Object.entries(config.cluster).map(([key, value]) => [
      key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ])
    t.like(JSON.parse(JSON.stringify({ ...config, cluster: Object.fromEntries(cluster) })), wanted)
  })

  test(`keys, names, hashes and digests are those of ${version}`, t => {
    const vectors = Vectors.parse(readJson('vectors.json'))
    const { keyring } = fixtureCodecs()
    for (const { profile, scope, key, etcdName } of vectors.scopes) {
      t.is(key, scopeKey(profile, scope))
      t.is(keyring.nameOf(key), etcdName)
    }
    t.deepEqual(keyring.secrets, vectors.secretMarks)
    t.is(canonicalJson(vectors.canonicalJson.value), vectors.canonicalJson.text)
    t.is(hashToken(new Secret(vectors.hashedToken.token)), vectors.hashedToken.hash)
    const { databaseKey, wrapped } = vectors.wrappedKey
    t.is(
      unwrapDatabaseKey(FIXTURE_STORE_KEY, Buffer.from(wrapped, 'base64'), 'the vector').toString('hex'),
      databaseKey,
    )
    const { state, digest, ...shared } = vectors.recordDigest
    const store = readStore({ folder: join(copyOf(t, stateFolder(state)), 'store'), storeKey: FIXTURE_STORE_KEY })
    t.is(store && digestOf({ ...store.record, ...shared }), digest)
    let link = { sequence: 0, hash: '0'.repeat(64) }
    for (const { event, ...row } of vectors.auditChain) {
      link = chainEvent(event, link)
      t.deepEqual(link, row)
    }
  })
}

const Vectors = z.object({
  scopes: z.array(
    z.object({
      profile: z.string(),
      scope: z.object({
        installation: z.int(),
        repositories: z.exactOptional(z.array(z.string())),
        permissions: z.exactOptional(z.record(z.string(), z.enum(['read', 'write', 'admin']))),
      }),
      key: z.string(),
      etcdName: z.string(),
    }),
  ),
  secretMarks: z.array(z.string()),
  canonicalJson: z.object({ value: z.json(), text: z.string() }),
  recordDigest: z.object({
    state: z.string(),
    digest: z.string(),
    recipients: z.array(z.string()),
    signers: z.array(z.string()),
  }),
  hashedToken: z.object({ token: z.string(), hash: z.string() }),
  auditChain: z.array(
    z.object({
      event: z.custom<AuditEvent>(value => typeof value === 'object'),
      sequence: z.int(),
      hash: z.string(),
      body: z.string(),
    }),
  ),
  wrappedKey: z.object({ databaseKey: z.string(), wrapped: z.string() }),
})
