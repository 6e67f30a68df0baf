// What is built over one open store: what outlives its end, what is told of the daemon around it, and the parts that need a real disk.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import { Secret } from '../../src/protocol/secret.ts'
import { type Context, type Engine, openEngine, rememberTime } from '../../src/core/engine.ts'
import { createForms } from '../../src/core/github/app-manifest.ts'
import { snapshotSettings, waitingBundleAt } from '../../src/core/snapshot/snapshots.ts'
import { readPrivateKey } from '../../src/core/github/app-key.ts'
import { NO_PROXY } from '../../src/core/offline.ts'
import { createEvents } from '../../src/core/audit/events.ts'
import { createOutbound, type Fetch } from '../../src/core/outbound/outbound.ts'
import { parseProxyAddress } from '../../src/service/proxy.ts'
import { appBody, installationBody, tokenBody } from './github/bodies.ts'
import { makePem } from './github/fakes.ts'
import { LIVE, OTHER_RECOVERY, RECOVERY, TEST_PEM } from './snapshot/samples.ts'
import { modeOf } from './store/samples.ts'
import {
  codeOf,
  createFakeClock,
  createFakeLog,
  emptyDisk,
  failureOf,
  openMemoryStore,
  START_MS,
} from '../support/fakes.ts'
import { NO_DAEMON } from '../support/engine-state-rig.ts'
import { peerOf } from '../support/operations-rig.ts'
import { createPlace, LIVE_HERE, PLACE, type Place } from '../support/place.ts'

const ORG = { type: 'organization', login: 'octo-org' } as const
const ENTERPRISE = { type: 'enterprise', login: 'octo-corp' } as const

const closedWay = () => {
  const outbound = createOutbound(
    { ...NO_PROXY, proxy: parseProxyAddress('http://u:secret@proxy.example.com:3128') },
    { clock: createFakeClock() },
  )
  outbound.close()
  return outbound
}

const engineOf = (place: Place, more: Partial<Context> = {}) => {
  const clock = createFakeClock()
  const log = createFakeLog()
  const events = createEvents({ clock, log })
  const open = (): Engine =>
    openEngine({
      config: () => place.config,
      host: () => PLACE,
      outbound: closedWay(),
      events,
      clock,
      log,
      env: place.env,
      ...NO_DAEMON,
      ...more,
    })
  return { clock, log, events, open }
}

const FORMS = `[web]
public_url = "https://ghe.example.com:8443"
listen = "unix:/run/x.sock"
[app]
name = "our-app"
permissions = { contents = "read", metadata = "read" }
[[profiles]]
name = "writer"
permissions = { contents = "write", issues = "read" }
allow = { users = ["root"] }
`

test('the form of an App names this machine, asks for what all profiles need, and leads back here', t => {
  const { config } = createPlace(t, { toml: FORMS })
  const { appForm, formUrl, wantedPermissions } = createForms(() => config)
  const permissions = { contents: 'write', metadata: 'read', issues: 'read' }
  t.deepEqual(wantedPermissions(), permissions)
  t.deepEqual(appForm(ORG, 'a-state'), {
    action: 'https://github.com/organizations/octo-org/settings/apps/new?state=a-state',
    manifest: {
      name: 'our-app',
      url: 'https://ghe.example.com',
      description: 'GitHub Connect of ghe.example.com',
      redirect_url: 'https://ghe.example.com:8443/callback',
      setup_url: 'https://ghe.example.com:8443/setup',
      public: false,
      default_permissions: permissions,
    },
    permissions,
  })
  t.is(formUrl(ORG, 'a-state'), 'https://ghe.example.com:8443/enable/a-state')
  t.is(formUrl({ type: 'user', login: 'mona' }, 's'), 'https://ghe.example.com:8443/enable/s')
  const prefilled = new URL(formUrl(ENTERPRISE, 'a-state'))
  t.is(prefilled.origin + prefilled.pathname, 'https://github.com/enterprises/octo-corp/settings/apps/new')
  t.is(prefilled.searchParams.get('setup_url'), 'https://ghe.example.com:8443/setup')
  t.is(prefilled.searchParams.get('contents'), 'write')
  t.is(
    codeOf(() => appForm(ENTERPRISE, 'x')),
    'invalid-request',
  )
})

test("GitHub's clock is remembered, within its bounds", t => {
  const { facts } = openMemoryStore(emptyDisk())
  const clock = createFakeClock()
  const log = createFakeLog()
  const begin = () => rememberTime({ clock, log }, facts)
  const { githubClock, keepTime } = begin()
  keepTime()
  t.is(facts.find('clock-least-ms'), undefined, 'nothing was told yet')
  githubClock.learn(new Date(START_MS + 90_000).toUTCString(), clock.now())
  t.like(log.lines.at(-1), { level: 'warn', fields: { seconds: 91 } })
  t.is(facts.find('clock-offset-ms'), 90_500)
  keepTime()
  t.is(facts.find('clock-least-ms'), START_MS + 90_500)
  const again = begin().githubClock
  t.is(again.offsetMs(), 90_500)
  clock.setWallBy(-3_600_000)
  t.is(begin().githubClock.now(), START_MS + 90_500, 'a clock that was set back does not count')
  for (const nonsense of [1e300, 'soon', null]) {
    facts.put('clock-offset-ms', nonsense)
    facts.put('clock-least-ms', nonsense)
    t.is(begin().githubClock.offsetMs(), 0)
    t.is(begin().githubClock.now(), clock.now())
  }
})

test('each call is counted, under the name of this program', async t => {
  const sent: string[] = []
  const fetch: Fetch = async (_url, { headers = {} } = {}) => {
    sent.push(headers['user-agent'] ?? '')
    throw new Failure('unreachable', 'nobody there')
  }
  const engine = engineOf(createPlace(t), { outbound: { ...closedWay(), fetch } }).open()
  t.teardown(() => engine.close())
  t.is((await failureOf(engine.link.findPagesUrl())).code, 'unreachable')
  t.is(engine.metricValues().calls.unanswered, 1)
  t.regex(sent.join(), /^ghconnectd\/\d+\.\d+\.\d+/)
})

test('a bundle that waits lies beside the store, for its owner alone, until it is dropped', t => {
  const { state } = createPlace(t)
  const waiting = waitingBundleAt(state)
  t.is(waiting.find(), undefined)
  waiting.put(Buffer.from('sealed'))
  t.is(Buffer.from(waiting.find() ?? []).toString(), 'sealed')
  t.is(modeOf(join(state, 'waiting.bundle')), '600')
  waiting.remove()
  waiting.remove()
  t.is(waiting.find(), undefined)
})

test('what a bundle takes along is as the configuration says', t => {
  const { config, configFile } = createPlace(t, { toml: '[snapshot]\ninclude_token = false\n' })
  const settings = snapshotSettings(config)
  t.false(settings.includeToken)
  t.deepEqual(settings.trusted, [])
  t.is(settings.github, config.github)
  t.deepEqual(settings.configuration(), [{ path: configFile, text: readFileSync(configFile, 'utf8') }])
})

test('what was counted and owed is on the disk after the end, and nothing is held any more', async t => {
  const place = createPlace(t)
  place.keep({ connection: LIVE_HERE, installations: LIVE.installations })
  const { open, events, clock } = engineOf(place)
  const engine = open()
  engine.noteRequest(peerOf(7), 'GET /v1/status')
  events.emit({ event: 'token-refreshed' })
  engine.heartbeat.start()
  engine.close()
  t.is(clock.waiting(), 0, 'no timer of it is left')
  const rows = place.onAudit(audit => audit.list({ limit: 99 }))
  t.like(rows.at(-1), { event: 'admin.request', detail: 'GET /v1/status', peer: { uid: 7 } })
  t.like(
    place.onStore(store => store.facts.find('connection.refresh-history')),
    [{ refreshed: 1, failed: 0 }],
  )
  events.emit({ event: 'token-refreshed' })
  const again = open()
  t.is(again.history.hours()[0]?.refreshed, 1)
  again.close()
})

test('where the log cannot be opened the store is given back', t => {
  const place = createPlace(t)
  place.keep()
  const mend = place.damage(join(place.state, 'audit.db'))
  const { open } = engineOf(place)
  t.is(codeOf(open), 'store-corrupt')
  t.is(
    place.onStore(store => store.connection.read().connection.kind),
    'connected',
  )
  mend()
  const engine = open()
  t.notThrows(engine.probe)
  engine.close()
  t.throws(engine.probe)
})

test('credentials of another machine are quarantined before anybody can ask for a token', async t => {
  const place = createPlace(t)
  place.keep({ connection: LIVE.connection })
  const { open } = engineOf(place, { host: () => ({ machineId: 'another', hostname: 'copy.example.com' }) })
  const engine = open()
  t.teardown(() => engine.close())
  t.is(engine.connectionState.read().connection.kind, 'quarantined')
  t.is(engine.store.connection.read().connection.kind, 'quarantined')
})

test('without a page nothing is enabled that would need it', async t => {
  const place = createPlace(t)
  const { open } = engineOf(place, { pageFault: () => new Failure('socket-in-use', 'the port is taken') })
  const engine = open()
  t.teardown(() => engine.close())
  t.is((await failureOf(engine.enable.begin(ORG))).code, 'socket-in-use')
  t.is((await engine.enable.begin(ENTERPRISE)).how, 'import')
})

test('recovery keys get the keys of store and log at the start, and again after each swap of the store', async t => {
  const place = createPlace(t, { toml: `[snapshot]\nrecipients = ["${RECOVERY.recipient}"]\n` })
  place.keep({ connection: LIVE_HERE })
  const { open } = engineOf(place)
  const engine = open()
  t.teardown(() => engine.close())
  const { recovery, disable, snapshots } = engine
  await recovery.ensureWrap()
  t.true(engine.store.hasRecoveryWrap())
  await recovery.add(OTHER_RECOVERY.recipient)
  t.deepEqual(recovery.recipients(), [RECOVERY.recipient, OTHER_RECOVERY.recipient])
  waitingBundleAt(place.state).put(Buffer.from('no bundle'))
  await disable.begin({ local: true, wait: false })
  t.is(waitingBundleAt(place.state).find(), undefined, 'what waited goes with the connection')
  t.false(snapshots.exportsWaiting())
  // Told by the change of state: nobody else asks for it.
  for (let tries = 0; tries < 500 && !engine.store.hasRecoveryWrap(); tries += 1)
    await new Promise(resolve => void setImmediate(resolve))
  t.true(engine.store.hasRecoveryWrap())
})

test('an engine without a daemon asks no cluster, and takes the key that it is given', t => {
  const place = createPlace(t)
  place.keep()
  const key = readFileSync(place.key)
  writeFileSync(place.key, 'short')
  const engine = engineOf(place, { storeKey: key, offline: true }).open()
  t.teardown(() => engine.close())
  t.is(engine.whyNotCalling(), undefined)
  t.is(engine.connectionState.read().connection.kind, 'connected')
})

/** GitHub for one App with one installation; it says what was asked. */
const githubOf = (now: () => number) => {
  const asked: string[] = []
  const answers: Record<string, () => [number, unknown]> = {
    'GET /app': () => [200, appBody()],
    'GET /app/installations': () => [200, [installationBody(1)]],
    'POST /app/installations/1/access_tokens': () => {
      const token = `ghs_${String(asked.length).padStart(36, '0')}`
      return [
        201,
        tokenBody(token, { expires_at: new Date(now() + 3_600_000).toISOString(), permissions: { metadata: 'read' } }),
      ]
    },
  }
  const fetch: Fetch = async (url, { method = 'GET', body } = {}) => {
    const route = `${method} ${new URL(url).pathname}`
    asked.push(`${route} ${typeof body === 'string' ? body : ''}`.trim())
    const [status, content] = answers[route]?.() ?? [404, { message: 'Not Found' }]
    const text = JSON.stringify(content)
    const headers = { 'content-type': 'application/json; charset=utf-8', 'x-github-request-id': 'A:1' }
    const arrayBuffer = async (): Promise<ArrayBuffer> => new TextEncoder().encode(text).buffer
    return { status, url, headers: new Headers(headers), text: async () => text, arrayBuffer }
  }
  return { fetch, asked }
}

test('an App that is imported is connected with its key on the disk, and proven by a first token of its installation', async t => {
  const place = createPlace(t)
  const scene = engineOf(place)
  const { fetch, asked } = githubOf(() => scene.clock.now())
  const { open, clock } = engineOf(place, { outbound: { ...closedWay(), fetch } })
  const engine = open()
  const { importApp, connectionState, keys, metricValues } = engine
  await importApp({ appId: 42, pem: new Secret(TEST_PEM) })
  for (let tries = 0; tries < 200 && metricValues().live === 0; tries += 1) await clock.advance(0)
  t.is(connectionState.read().connection.kind, 'connected')
  t.deepEqual(
    asked.filter(call => call.startsWith('POST')),
    ['POST /app/installations/1/access_tokens {"permissions":{"metadata":"read"}}'],
  )
  t.is(metricValues().live, 1)
  const second = makePem()
  const { added } = await keys.add(new Secret(second))
  t.deepEqual(
    keys.list().map(({ fingerprint, added_at: at }) => [fingerprint, at]),
    [added, readPrivateKey(TEST_PEM).fingerprint].map(one => [one, new Date(clock.now()).toISOString()]),
  )
  engine.close()
  place.onStore(store => {
    const [first, former] = store.connection.read().keys
    t.is(readPrivateKey(first?.pem.reveal() ?? '').fingerprint, added)
    t.is(readPrivateKey(former?.pem.reveal() ?? '').fingerprint, readPrivateKey(TEST_PEM).fingerprint)
    t.is(store.tokens.all().length, 1, 'the token outlives the end')
  })
})
