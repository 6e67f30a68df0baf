// Writes test/fixtures/VERSION/: state folders, bundles, the values of a cluster, a configuration and vectors, as this version makes them.
// Run once at a release, with the sources of that release. It refuses to run again: each later version has to read these files.

import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { canonicalJson } from '../src/protocol/canonical-json.ts'
import { type Answer, type Ask, digestOf } from '../src/core/cluster/values.ts'
import { scopeKey } from '../src/protocol/scope.ts'
import { Secret } from '../src/protocol/secret.ts'
import { hashToken } from '../src/core/audit/audit-writer.ts'
import { parseConfig } from '../src/service/config.ts'
import { VERSION } from '../src/service/process.ts'
import { actAsOwner, installApp } from '../src/sandbox/owner.ts'
import { openBundle, readHeader } from '../src/core/snapshot/bundle.ts'
import { createRecoveryKey, readIdentities } from '../src/core/snapshot/encryption.ts'
import { createAuditArchive } from '../src/core/audit/audit-archive.ts'
import { chainEvent, type Link } from '../src/core/audit/audit-chain.ts'
import { openAudit } from '../src/core/audit/audit-store.ts'
import { readStore } from '../src/core/store/database.ts'
import { wrapDatabaseKey } from '../src/core/store/keys.ts'
import { silentLog } from '../test/core/store/samples.ts'
import { type Appliance, createAppliance, PROFILE } from '../test/support/appliance.ts'
import { startEtcd } from '../test/support/etcd.ts'
import {
  type EtcdValue,
  FIXTURE_CLUSTER,
  FIXTURE_CLUSTER_SECRET,
  FIXTURE_HOST,
  FIXTURE_STORE_KEY,
  FIXTURE_SURROUNDINGS,
  fixtureCodecs,
  readState,
  unseal,
  withDigests,
} from '../test/support/fixtures.ts'
import { exportFrom, on } from '../test/support/snapshots.ts'
import { CONFIG, EVENTS, FEATURES, SCOPES } from './fixtures-input.ts'

const target = join(import.meta.dirname, '../test/fixtures', VERSION)
const put = (name: string, content: string | Uint8Array): void => writeFileSync(join(target, name), content)
const putJson = (name: string, value: unknown): void => put(name, `${JSON.stringify(value, undefined, 2)}\n`)

const createMachine = async (toml = ''): Promise<Appliance> => {
  const env: Record<string, string> = {}
  const appliance = await createAppliance({ toml: `${PROFILE}${toml}`, env })
  env['GHCONNECT_MACHINE_ID_FILE'] = join(appliance.folder, 'machine-id')
  writeFileSync(join(appliance.folder, 'machine-id'), `${FIXTURE_HOST.machineId}\n`)
  writeFileSync(join(appliance.folder, 'store.key'), FIXTURE_STORE_KEY, { mode: 0o600 })
  writeFileSync(join(appliance.folder, 'cluster.secret'), `${FIXTURE_CLUSTER_SECRET}\n`, { mode: 0o600 })
  return appliance
}

const must = async (what: string, sent: Promise<{ status: number; text: string }>): Promise<void> => {
  const { status, text } = await sent
  if (status >= 300) throw new Error(`${what}: ${status} ${text}`)
}

const takeToken = (appliance: Appliance, body: unknown): Promise<void> =>
  must('token', appliance.ask('POST', '/v1/tokens', body))

const refreshUntil = async (appliance: Appliance, state: string): Promise<void> => {
  await appliance.call('POST', '/v1/refresh')
  await appliance.until(state)
}

const writeStates = async (): Promise<void> => {
  const states: Record<string, unknown> = {}
  /** Stops the daemon, keeps its state folder under that name, and starts it again. */
  const keep = async (appliance: Appliance, name: string, prepare?: (state: string) => void): Promise<void> => {
    const { state } = (await appliance.call('GET', '/v1/status')).body
    await appliance.kill()
    prepare?.(appliance.state)
    const folder = join(target, 'states', name)
    cpSync(appliance.state, folder, { recursive: true, verbatimSymlinks: true, filter: path => !path.endsWith('-shm') })
    states[name] = { state, ...readState(appliance.state) }
    await appliance.start()
  }

  const recovery = await createRecoveryKey()
  put('identity.txt', `# A test key: it opens sealed.bundle beside it.\n${recovery.identity.reveal()}\n`)
  const appliance = await createMachine()
  const elsewhere = await createMachine()
  try {
    await appliance.start()
    await keep(appliance, 'disconnected')
    const account = { type: 'organization', login: 'octo-org' }
    const begun = await appliance.call('POST', '/v1/connection', { account })
    await keep(appliance, 'awaiting-app')
    await actAsOwner({ formUrl: String(begun.body['url']), account: 'octo-org', stopAfter: 'callback' })
    await appliance.until('awaiting-installation')
    await keep(appliance, 'awaiting-installation')
    const { app } = Status.parse((await appliance.call('GET', '/v1/status')).body)
    await installApp({ installUrl: `${app.html_url}/installations/new`, account: 'octo-org' })
    await refreshUntil(appliance, 'connected')
    await takeToken(appliance, { permissions: { contents: 'read' } })
    await takeToken(appliance, { repositories: ['web'], permissions: { contents: 'read', issues: 'write' } })
    await keep(appliance, 'connected')
    put('clear.bundle', await exportFrom(appliance))
    await keep(appliance, 'archive', archiveOldRows)
    await must('recovery key', appliance.call('POST', '/v1/recovery-keys', { recipient: recovery.recipient }))
    await keep(appliance, 'recovery-key')
    const sealed = await exportFrom(appliance)
    put('sealed.bundle', sealed)
    await elsewhere.start()
    const { code, stderr } = await on(elsewhere)('snapshot restore', { input: sealed })
    if (code !== 0) throw new Error(stderr)
    await keep(elsewhere, 'awaiting-unlock')
    const { installations } = Status.parse((await appliance.call('GET', '/v1/status')).body)
    await appliance.control('POST', `installations/${installations[0]?.id}/suspend`)
    await refreshUntil(appliance, 'suspended')
    await keep(appliance, 'suspended')
    const identities = readIdentities(recovery.identity.reveal())
    const open = async (bundle: Uint8Array) => ({
      header: readHeader(bundle),
      content: withDigests(await openBundle(bundle, identities)),
    })
    putJson('expected.json', {
      states,
      clear: await open(readFileSync(join(target, 'clear.bundle'))),
      sealed: await open(sealed),
    })
  } finally {
    await appliance.close()
    await elsewhere.close()
  }
}

const Status = z.object({
  app: z.object({ html_url: z.string() }),
  installations: z.array(z.object({ id: z.number() })),
})

/** Old rows leave for files of four, as they do on a machine once there are 20,000. */
const archiveOldRows = (state: string): void => {
  const audit = openAudit({ path: join(state, 'audit.db'), storeKey: FIXTURE_STORE_KEY, log: silentLog })
  const options = { folder: join(state, 'audit'), databaseKey: audit.databaseKey(), rowsPerFile: 4 }
  const archive = createAuditArchive(options)
  for (const keep of [7, 3]) audit.rotate({ keep, limit: 1_000, moveOut: archive.append })
  archive.close()
  audit.close()
}

const writeCluster = async (): Promise<void> => {
  const etcd = await startEtcd()
  try {
    const appliance = await createMachine()
    try {
      appliance.configure(`${PROFILE}
[cluster]
name = "${FIXTURE_CLUSTER}"
endpoints = ${JSON.stringify(etcd.endpoints)}
secret_file = "${join(appliance.folder, 'cluster.secret')}"
`)
      await appliance.start()
      await appliance.enable()
      await must('join', appliance.call('POST', '/v1/cluster', {}))
      await takeToken(appliance, { permissions: { contents: 'read' } })
      const { kvs } = Listing.parse(
        JSON.parse(await etcd.ctl('get', '--prefix', `ghconnect/${FIXTURE_CLUSTER}/`, '-w', 'json')),
      )
      const values = [...kvs.map(toValue), ...sealedByHand()]
      putJson(
        'etcd.json',
        values.map(value => ({ ...value, holds: unseal(value) })),
      )
    } finally {
      await appliance.close()
    }
  } finally {
    await etcd.close()
  }
}

const Listing = z.object({ kvs: z.array(z.object({ key: z.string(), value: z.string() })) })

const toValue = ({ key, value }: EtcdValue): EtcdValue => ({
  key: Buffer.from(key, 'base64').toString().replace(`ghconnect/${FIXTURE_CLUSTER}/`, ''),
  value,
})

/** What is in etcd for moments only. */
const sealedByHand = (): EtcdValue[] => {
  const { codecs } = fixtureCodecs()
  const scope = { installation: 42, repositories: ['web'], permissions: { contents: 'read' } } as const
  const grant = { profile: 'test', scope }
  const token = {
    key: scopeKey('test', scope),
    ...grant,
    token: new Secret('ghs_test'),
    granted: { repositories: ['web'], permissions: { contents: 'read', metadata: 'read' } },
    mintedAtMs: 1_780_000_000_000,
    expiresAtMs: 1_780_003_600_000,
  } as const
  const asks: Ask[] = [
    {
      id: '1',
      from: 'node-1',
      atMs: 1_780_000_000_000,
      want: { kind: 'token', grant, wish: { minTtlMs: 600_000, rejected: 'hash', renew: true } },
    },
    { id: '2', from: 'node-1', atMs: 1_780_000_000_000, want: { kind: 'ahead', grants: [grant] } },
  ]
  const answers: Answer[] = [
    { kind: 'working' },
    { kind: 'token', token },
    { kind: 'failure', code: 'rate-limited', detail: 'later', retryAfterSeconds: 60 },
  ]
  const sealed = (key: string, value: Buffer): EtcdValue => ({ key, value: value.toString('base64') })
  return [
    sealed('lock', codecs.holder.write('lock', { node: 'node-1', what: 'enable' })),
    ...asks.map(ask => sealed(`asks/${ask.id}`, codecs.ask.write(`asks/${ask.id}`, ask))),
    ...answers.map((answer, i) => sealed(`answers/${i}`, codecs.answer.write(`answers/${i}`, answer))),
  ]
}

const writeConfig = (): void => {
  put('config.toml', CONFIG)
  put('config.features.toml', FEATURES)
  const context = { file: 'config.toml', surroundings: FIXTURE_SURROUNDINGS, features: FEATURES }
  putJson('config.json', parseConfig(CONFIG, context))
}

const writeVectors = (): void => {
  const { keyring } = fixtureCodecs()
  let link: Link = { sequence: 0, hash: '0'.repeat(64) }
  const auditChain = EVENTS.map(event => {
    const row = chainEvent(event, link)
    link = row
    return { event, ...row }
  })
  const store = readStore({ folder: join(target, 'states/connected/store'), storeKey: FIXTURE_STORE_KEY })
  if (!store) throw new Error('no store')
  const shared = { recipients: ['b', 'a'], signers: ['d', 'c'] }
  const value = { b: [1, { z: null, a: 'ü"' }], a: 0.1 }
  const databaseKey = Buffer.alloc(32, 9)
  putJson('vectors.json', {
    scopes: SCOPES.map(({ profile, scope }) => {
      const key = scopeKey(profile, scope)
      return { profile, scope, key, etcdName: keyring.nameOf(key) }
    }),
    secretMarks: keyring.secrets,
    canonicalJson: { value, text: canonicalJson(value) },
    recordDigest: { state: 'connected', ...shared, digest: digestOf({ ...store.record, ...shared }) },
    hashedToken: { token: 'ghs_test', hash: hashToken(new Secret('ghs_test')) },
    auditChain,
    wrappedKey: {
      databaseKey: databaseKey.toString('hex'),
      wrapped: wrapDatabaseKey(FIXTURE_STORE_KEY, databaseKey).toString('base64'),
    },
  })
}

if (existsSync(target)) throw new Error(`${target} is there, and is never written again`)
mkdirSync(target, { recursive: true })
writeConfig()
await writeStates()
writeVectors()
await writeCluster()
