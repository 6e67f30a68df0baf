// Ten complaints that users of such daemons have, each shown to be impossible here by the shortest proof.
// The longer ones are in the tests of the rooms.

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as fc from 'fast-check'
import { listenUnix } from '../src/core/api/sockets.ts'
import { createTokenFile } from '../src/cli/token-file.ts'
import { Failure } from '../src/protocol/errors.ts'
import type { Policy } from '../src/protocol/profile.ts'
import { scopeKey } from '../src/protocol/scope.ts'
import { Secret } from '../src/protocol/secret.ts'
import { parseConfig } from '../src/service/config.ts'
import { openStore } from '../src/core/store/database.ts'
import { type Appliance, createAppliance, PROFILE } from './support/appliance.ts'
import { failureOf } from './support/fakes.ts'
import { callerOf, connectedRig, ORG, peerOf } from './support/operations-rig.ts'
import { removeAuthority, startProxied, withProxy } from './support/proxied-appliance.ts'
import { silentLog, STORE_KEY, tokenFor } from './core/store/samples.ts'

const HOUR = 3_600_000
const POLICY: Policy = {
  profiles: [
    {
      name: 'ci',
      installation: 'octo-org',
      repositories: ['web', 'api'],
      permissions: { contents: 'read' },
      allow: { users: [{ name: 'ci', id: 1000 }], groups: [], units: [] },
    },
  ],
}
const WANTED = { repositories: ['web'], permissions: { contents: 'read' } } as const
const wanted = () => ({ ...WANTED, repositories: [...WANTED.repositories] })

const folder = mkdtempSync(join(tmpdir(), 'complaints-'))
test.after.always(() => {
  rmSync(folder, { recursive: true, force: true })
  removeAuthority()
})

const using = (t: ExecutionContext, appliance: Appliance): Appliance => {
  t.teardown(() => appliance.close())
  return appliance
}
const pem = (): string =>
  generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
const codeOf = (body: Record<string, unknown>): string => String(body['type']).split(':').at(-1) ?? ''

test('1. a cache hit skips authorization: the policy is asked before the cache, each time', async t => {
  const { issuer, rig } = await connectedRig({ policy: POLICY })
  const mine = callerOf(peerOf(1000))
  await issuer.answer(wanted(), callerOf(peerOf(0), 'admin'))
  await issuer.answer(wanted(), mine)
  for (const stranger of [peerOf(1001), peerOf(0)]) {
    t.is((await failureOf(issuer.answer(wanted(), callerOf(stranger)))).code, 'not-permitted')
  }
  rig.setPolicy({ profiles: [] })
  t.is(
    (await failureOf(issuer.answer(wanted(), mine))).code,
    'not-permitted',
    'nor does an old answer outlive the policy',
  )
})

test('2. a failed refresh overwrites a good token, or is answered with nothing in it: the good one stays', async t => {
  const { issuer, world, tokens, clock } = await connectedRig({ policy: POLICY })
  const caller = callerOf(peerOf(1000))
  const { token } = await issuer.answer(wanted(), caller)
  world.outage = new Failure('github-outage', 'GitHub is down')
  const outcomes = await tokens.refresh({ force: true })
  t.true(outcomes.some(({ failure }) => failure !== undefined))
  t.is((await issuer.answer(wanted(), caller)).token, token)
  t.true(world.isAlive(token))
  await clock.advance(HOUR)
  const { code } = await failureOf(issuer.answer(wanted(), caller))
  t.is(code, 'github-outage', 'where nothing good is left that is what is said')
})

test('3. new hardware bricks the start: the daemon runs, says what is wrong and how to recover', async t => {
  const appliance = using(t, await createAppliance())
  await appliance.start()
  await appliance.kill()
  writeFileSync(join(appliance.folder, 'store.key'), randomBytes(32))
  await appliance.start()
  const { body } = await appliance.call('GET', '/v1/status')
  t.is(body['state'], 'locked')
  // Without a recovery key `unlock` could not help.
  t.regex(
    String(body['next']),
    /Bring back the key that the store was made with, or restore a snapshot: `ghconnect snapshot restore/,
  )
  t.is((await appliance.call('GET', '/livez')).status, 200)
})

test("4. clock skew gives opaque 401s: GitHub's clock is learned, and the offset is said", async t => {
  const appliance = using(t, await createAppliance())
  await appliance.control('POST', 'clock', { offset_ms: 10 * 60_000 })
  await appliance.start()
  await appliance.enable()
  t.is((await appliance.ask('POST', '/v1/tokens', wanted())).status, 200)
  const { body } = await appliance.call('GET', '/v1/status')
  t.true(Math.abs(Number(body['clock_offset_seconds']) - 600) < 30)
  t.regex(JSON.stringify(body['warnings']), /This machine's clock is \d+ s behind GitHub's/)
})

test('5. the proxy is silently ignored, or local probes go through it: GitHub is reached by it alone, sockets never', async t => {
  const appliance = using(t, await createAppliance({ toml: `${PROFILE}[proxy]\nurl = "http://127.0.0.1:9"\n` }))
  await appliance.start()
  const { status, body } = await appliance.call('POST', '/v1/connection/import', { app_id: 1, private_key: pem() })
  t.deepEqual([status, codeOf(body)], [502, 'proxy-unreachable'])
  const { counts } = await appliance.control('GET', 'state')
  t.like(counts, { requests: 0 })
  t.is((await appliance.ask('GET', '/v1/status')).status, 200)
  t.is((await appliance.ask('GET', '/livez')).status, 200)
})

test('6. the CA serves the API but not the token exchange: one door for the conversion, the API and the mint', async t => {
  const trusting = using(t, await startProxied({ toml: withProxy({}) }))
  await trusting.enable()
  t.is((await trusting.ask('POST', '/v1/tokens', wanted())).status, 200)
  const doubting = using(t, await startProxied({ toml: PROFILE }))
  const { body } = await doubting.call('POST', '/v1/connection/import', { app_id: 1, private_key: pem() })
  t.is(codeOf(body), 'tls', 'and without the CA it is said')
})

test.serial('7. sinks with a wrong owner or mode, or torn: octal texts only, whole files, no link is followed', t => {
  const surroundings = { hostname: 'x', findUser: () => 0, findGroup: () => 0 }
  const sink = (mode: string): string =>
    `[[profiles]]\nname = "ci"\n[[sinks]]\nname = "ci"\nprofile = "ci"\npath = "/run/ci/token"\nmode = ${mode}\n`
  for (const wrong of ['600', '0o600', '"600x"', '"rw"', '"0999"']) {
    t.throws(() => parseConfig(sink(wrong), { file: 'x', surroundings }), { code: 'configuration' }, wrong)
  }
  const [configured] = parseConfig(sink('"0640"'), { file: 'x', surroundings }).sinks
  t.is(configured?.mode, 0o640)
  const path = join(folder, 'token')
  const umask = process.umask(0o077)
  t.teardown(() => void process.umask(umask))
  for (const mode of [0o600, 0o640, 0o664]) {
    createTokenFile(path, mode).write(`token ${mode}\n`)
    t.is(statSync(path).mode & 0o777, mode, 'whatever the umask is')
  }
  t.is(readFileSync(path, 'utf8'), 'token 436\n')
  t.deepEqual(
    readdirSync(folder).filter(name => name.includes('token')),
    ['token'],
    'nothing is left beside it',
  )
})

test.serial(
  '8. a world-open socket, or a moment between listen and chmod: the socket is born with its mode',
  async t => {
    const before = process.umask(0)
    t.teardown(() => void process.umask(before))
    const path = join(folder, 'born.sock')
    const server = createServer()
    t.teardown(() => server.close())
    let born = 0
    // Told as soon as it is bound, ahead of whoever waits for the promise.
    server.prependListener('listening', () => (born = statSync(path).mode & 0o777))
    await listenUnix(server, { path, mode: 0o660 })
    t.is(born, 0o660)
    t.is(process.umask(), 0, 'and the umask is as it was')
  },
)

test('9. code that assumes the shape or length of a token: any text is one', async t => {
  const { issuer, rig, installation, clock } = await connectedRig({ policy: POLICY })
  const scope = { installation: installation.id, repositories: ['web'], permissions: { contents: 'read' } } as const
  await fc.assert(
    fc.asyncProperty(fc.string({ minLength: 1, maxLength: 2_000, unit: 'binary' }), async text => {
      rig.tokens.drop()
      const nowMs = clock.now()
      const granted = { repositories: ['web'], permissions: { contents: 'read', metadata: 'read' } } as const
      const times = { mintedAtMs: nowMs, expiresAtMs: nowMs + HOUR }
      rig.tokens.take([
        {
          key: scopeKey('ci', scope),
          slot: 'current',
          profile: 'ci',
          scope,
          token: new Secret(text),
          granted,
          ...times,
        },
      ])
      const { token } = await issuer.answer(wanted(), callerOf(peerOf(1000)))
      return token === text
    }),
    { numRuns: 200 },
  )
  const sources = resolve(import.meta.dirname, '../src')
  const knowing = readdirSync(sources, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts') && !name.startsWith('sandbox/'))
    .filter(name => /ghs_/.test(readFileSync(join(sources, name), 'utf8')))
  t.deepEqual(knowing, [], 'no prefix is looked for')
})

test('10. a stale installation id, or a log replayed over a restored store: looked up once more; a store of its own', async t => {
  const { issuer, world, app, installation } = await connectedRig({ policy: POLICY })
  world.uninstall(installation.id)
  const again = world.install(app.id, ORG)
  t.is((await issuer.answer(wanted(), callerOf(peerOf(1000)))).installation, again.id)
  t.is(world.count('listInstallations'), 1)

  const store = openStore({ folder: join(folder, 'store'), storeKey: STORE_KEY, log: silentLog })
  const before = tokenFor({ installation: 1 })
  void store.tokens.write([before])
  t.true(existsSync(join(folder, 'store/1/store.db-wal')))
  store.replace({ newGeneration: true })
  t.false(existsSync(join(folder, 'store/1')), 'the log of the former store went with it')
  t.deepEqual(store.tokens.all(), [])
  store.close()
  const opened = openStore({ folder: join(folder, 'store'), storeKey: STORE_KEY, log: silentLog })
  t.deepEqual(opened.tokens.all(), [])
  t.is(opened.number(), 2)
  opened.close()
})
