// What a page is made of: each thing that it shows, against what the status, the store, the policy and the log say.

import test, { type ExecutionContext } from 'ava'
import type { Connection } from '../../src/protocol/connection.ts'
import type { Profile } from '../../src/protocol/profile.ts'
import { parseWith, Status } from '../../src/protocol/wire.ts'
import { modelOf } from '../../src/page/model-of.ts'
import type { Frame, PageModel } from '../../src/page/model.ts'
import { START_MS } from '../support/fakes.ts'
import { connectedRig, HERE, ORG, peerOf, type RigOptions } from '../support/operations-rig.ts'
import { createWebRig, type WebRigOptions } from '../support/web-rig.ts'

const FRAME: Frame = { language: 'en', prefix: '/s/x', csrf: 'c', path: '/s/x/', hostname: 'ghe.example.com' }
const MINUTE_MS = 60_000

const sceneOf = async (t: ExecutionContext, options: WebRigOptions = {}, rigOptions: RigOptions = {}) => {
  const connected = await connectedRig(rigOptions)
  const web = await createWebRig({ ...options, rig: connected.rig })
  t.teardown(() => web.close())
  const read = (change: Partial<Status> = {}): PageModel => {
    const whole = parseWith(Status, web.deps.status())
    return modelOf({ ...web.deps, status: () => ({ ...whole, ...change }) }, FRAME, {})
  }
  const put = (connection: Connection): void => void connected.rig.store.connection.write({ connection })
  const { connection } = connected.rig.connectionState.read()
  if (connection.kind !== 'connected') throw new Error(connection.kind)
  return { ...connected, ...web, rig: connected.rig, read, put, live: connection }
}

test('a connected machine shows its account, App, keys and tokens, and where they are seen on GitHub', async t => {
  const { read, app, pem, clock, deps } = await sceneOf(t)
  await clock.advance(MINUTE_MS)
  const model = read({
    proxy: 'http://u@proxy:3128',
    role: 'leader',
    generation: 7,
    recovery_recipients: ['age1x'],
    clock_offset_seconds: -94,
    warnings: [{ code: 'clock', detail: 'It is off.', next: 'Set it.' }],
    meaning: 'It means this.',
    next: 'Do that.',
  })
  t.like(model, {
    ...FRAME,
    nowMs: START_MS + MINUTE_MS,
    version: '0.0.0',
    githubUrl: 'https://github.com',
    state: 'connected',
    sinceMs: START_MS,
    meaning: 'It means this.',
    next: 'Do that.',
    account: ORG,
    enabledOn: HERE.hostname,
    app: {
      id: app.id,
      clientId: app.clientId,
      name: app.name,
      htmlUrl: app.htmlUrl,
      installUrl: `${app.htmlUrl}/installations/new`,
      settingsUrl: `https://github.com/organizations/Octo-Org/settings/apps/${app.slug}`,
    },
    appsUrl: 'https://github.com/organizations/Octo-Org/settings/apps',
    allowListUrl: 'https://github.com/organizations/Octo-Org/settings/security',
    progress: [
      { name: 'created', state: 'done' },
      { name: 'installed', state: 'done' },
      { name: 'first-token', state: 'done' },
    ],
    tokens: {
      live: 1,
      lifetimeMs: 60 * MINUTE_MS,
      oldestExpiresAtMs: START_MS + 60 * MINUTE_MS,
      lastMintedAtMs: START_MS,
      nextRefreshAtMs: START_MS + 20 * MINUTE_MS,
    },
    proxy: 'http://u@proxy:3128',
    role: 'leader',
    generation: 7,
    recoveryRecipients: ['age1x'],
    warnings: [{ code: 'clock', detail: 'It is off.', next: 'Set it.' }],
    prerequisites: { hosts: ['api.github.com', 'github.com', 'uploads.github.com'], clockOffsetSeconds: -94 },
    wantedPermissions: deps.wantedPermissions(),
  })
  t.deepEqual(model.keys, [{ fingerprint: pem, addedAtMs: START_MS }])
  for (const absent of ['evidence', 'createUrl', 'pendingEnable', 'disabling'] as const)
    t.is(model[absent], undefined, absent)
  t.is(read({ clock_offset_seconds: 0 }).prerequisites.clockOffsetSeconds, undefined)
  t.is(read().proxy, undefined)
})

test('a key that GitHub rejects is marked as such', async t => {
  const { read, world, pem } = await sceneOf(t)
  world.keyStates.set(pem, 'rejected')
  t.deepEqual(read().keys, [{ fingerprint: pem, addedAtMs: START_MS, rejected: true }])
})

test('what the App asks for, and the owner of an installation has not approved, is pending', async t => {
  const { read, rig, installation } = await sceneOf(t)
  const installations = [
    { ...installation, permissions: { metadata: 'read', contents: 'read' } as const },
    { ...installation, id: 2, permissions: { metadata: 'read', contents: 'admin' } as const },
  ]
  rig.store.connection.write({ installations })
  const [first, second] = read().installations
  t.deepEqual(first?.pending, { contents: 'write' })
  t.false('pending' in (second ?? {}))
  t.like(first, { id: installation.id, account: ORG, htmlUrl: installation.htmlUrl, repositorySelection: 'all' })
})

test('each state shows what is under way, and what was said of it', async t => {
  const { read, put, live } = await sceneOf(t)
  const { app, account, host, enabledAtMs } = live
  const established = { app, account, host, enabledAtMs, sinceMs: 5 }
  const pending = { kind: 'awaiting-app', sinceMs: 5, account, state: 'a-state', expiresAtMs: 9 } as const
  const steps = (model: PageModel): string[] => model.progress.map(({ state }) => state)

  put(pending)
  t.like(read(), { state: 'awaiting-app', account, pendingEnable: { expiresAtMs: 9, converting: false } })
  t.deepEqual(steps(read()), ['active', 'pending', 'pending'])
  for (const absent of ['app', 'enabledOn', 'createUrl'] as const) t.is(read()[absent], undefined, absent)
  put({ ...pending, conversion: { code: 'x', startedAtMs: 6 } })
  t.true(read().pendingEnable?.converting)
  const enterprise = { type: 'enterprise', login: 'octo-corp' } as const
  put({ ...pending, account: enterprise })
  t.like(read(), {
    createUrl: 'https://github.com/enterprises/form?a-state',
    appsUrl: 'https://github.com/enterprises/octo-corp/settings/apps',
    allowListUrl: 'https://github.com/enterprises/octo-corp/settings/security',
  })
  put({ ...pending, account: { type: 'user', login: 'mona' } })
  t.is(read().allowListUrl, undefined, 'a person has none')
  t.is(read().appsUrl, 'https://github.com/settings/apps')
  put({ kind: 'key-lost', sinceMs: 5, account, evidence: 'the code was used' })
  t.is(read().evidence, 'the code was used')
  t.deepEqual(steps(read()), ['failed', 'pending', 'pending'])
  put({ kind: 'awaiting-installation', ...established })
  t.deepEqual(steps(read()), ['done', 'active', 'pending'])
  t.is(read().evidence, undefined)
  for (const kind of ['suspended', 'quarantined'] as const) {
    put({ kind, ...established, evidence: 'it said so' })
    t.like(read(), { state: kind, evidence: 'it said so', progress: [] })
  }
  put({ kind: 'disconnecting', ...established, step: 'uninstall', deadlineMs: 77 })
  t.like(read(), { state: 'disconnecting', disabling: { step: 'uninstall', deadlineMs: 77 } })
  put({ kind: 'disconnected', sinceMs: 5, remark: 'Disabled.' })
  t.like(read(), { state: 'disconnected', evidence: 'Disabled.', account: undefined })
  put({ kind: 'disconnected', sinceMs: 5 })
  t.is(read().evidence, undefined)
})

test('the first token is under way until there is one, or until something stood in its way', async t => {
  const { read } = await sceneOf(t)
  const last = (change: Partial<Status>) => read(change).progress.at(-1)
  const trouble = { code: 'dns', detail: 'no such host', next: 'Look.', at: '2026-05-01T12:00:00.000Z' } as const
  t.deepEqual(last({ tokens: { live: 0 } }), { name: 'first-token', state: 'active' })
  t.deepEqual(last({ tokens: { live: 0 }, last_failure: trouble }), {
    name: 'first-token',
    state: 'failed',
    detail: 'no such host',
  })
  t.deepEqual(last({ tokens: { live: 2 }, last_failure: trouble }), { name: 'first-token', state: 'done' })
  t.deepEqual(read({ tokens: { live: 0 } }).tokens, { live: 0, lifetimeMs: 60 * MINUTE_MS })
})

test('what the daemon is in, and no connection is, shows as the state', async t => {
  const { read } = await sceneOf(t)
  for (const state of ['awaiting-unlock', 'isolated'] as const) t.is(read({ state }).state, state)
})

test('the ten last rows of the log are told, newest first, with who caused them', async t => {
  const { read, deps, rig } = await sceneOf(t)
  const { noteRequest } = deps.operations()
  for (let n = 0; n < 9; n += 1) noteRequest(peerOf(7), `request ${n}`)
  rig.audit.owe({ event: 'token.grant', profile: 'p', scope: 's', count: 41 })
  noteRequest(peerOf(7, { unit: 'a.service' }), 'last')
  const { audit } = read()
  t.is(audit.length, 10)
  const [newest, grant, before] = audit
  const atMs = deps.clock.now()
  t.deepEqual(newest, {
    sequence: newest?.sequence ?? 0,
    atMs,
    event: 'admin.request',
    who: 'a.service',
    detail: 'last',
    count: 1,
  })
  t.like(grant, { event: 'token.grant', profile: 'p', scope: 's', count: 41 })
  t.false('who' in (grant ?? {}))
  t.like(before, { who: 'uid 7, pid 10', detail: 'request 8' })
  t.deepEqual(
    audit.map(({ sequence }) => sequence),
    audit.map((_, at) => (newest?.sequence ?? 0) - at),
  )
})

const NOBODY = { users: [], groups: [], units: [] }
const profileOf = (name: string, more: Partial<Profile> = {}): Profile => ({ name, allow: NOBODY, ...more })

test('profiles are told with whom they admit to what, and features with how far they are', async t => {
  const policy = {
    profiles: [
      profileOf('dependabot-updates'),
      profileOf('dependabot-alerts'),
      profileOf('license-user-sync'),
      profileOf('backup', {
        installation: 42,
        repositories: ['web'],
        permissions: { contents: 'read' },
        allow: { users: [{ name: 'git', id: 1 }], groups: [{ name: 'wheel', id: 2 }], units: ['a.service'] },
      }),
    ],
  }
  const features = ['dependabot-updates', 'dependabot-alerts'] as const
  const { read } = await sceneOf(t, { settings: { policy, features } })
  const { profiles, features: told } = read()
  t.deepEqual(profiles[0], { name: 'dependabot-updates', users: [], groups: [], units: [] })
  t.deepEqual(profiles[3], {
    name: 'backup',
    installation: '42',
    repositories: ['web'],
    permissions: { contents: 'read' },
    users: ['git'],
    groups: ['wheel'],
    units: ['a.service'],
  })
  const of = (name: string) => told.find(one => one.name === name)
  t.deepEqual(of('dependabot-updates'), { name: 'dependabot-updates', title: 'Dependabot updates', state: 'on' })
  t.deepEqual(of('dependabot-alerts'), {
    name: 'dependabot-alerts',
    title: 'Dependabot alerts',
    state: 'attention',
    detail: 'The App does not ask for vulnerability_alerts: read.',
  })
  t.is(of('license-user-sync')?.state, 'off', 'a profile of that name is not the feature')
})

test('the hosts that have to be reached are those of the configured GitHub', async t => {
  for (const [githubUrl, apiUrl, hosts] of [
    ['https://octo.ghe.com', 'https://api.octo.ghe.com', ['api.octo.ghe.com', 'octo.ghe.com', 'uploads.octo.ghe.com']],
    ['https://ghes.example', 'https://ghes.example/api/v3', ['ghes.example']],
  ] as const) {
    const { read } = await sceneOf(t, { settings: { githubUrl, apiUrl } })
    t.deepEqual(read().prerequisites, { hosts }, githubUrl)
    t.is(read().githubUrl, githubUrl)
  }
})

test('while the store is closed the page has the reason, the profiles and the hosts', async t => {
  const { deps } = await sceneOf(t, { settings: { policy: { profiles: [profileOf('p')] } } })
  const closed = {
    state: 'locked',
    since: '2026-05-01T11:00:00.000Z',
    meaning: 'Closed.',
    next: 'Unlock.',
    version: '0',
  }
  const model = modelOf({ ...deps, status: () => closed }, FRAME, { notice: 'refreshed' })
  t.like(model, {
    ...FRAME,
    state: 'locked',
    sinceMs: Date.parse(closed.since),
    meaning: 'Closed.',
    next: 'Unlock.',
    notice: 'refreshed',
    tokens: { live: 0, lifetimeMs: 60 * MINUTE_MS },
    keys: [],
    prerequisites: { hosts: ['api.github.com', 'github.com', 'uploads.github.com'] },
  })
  t.deepEqual(
    model.profiles.map(({ name }) => name),
    ['p'],
  )
})
