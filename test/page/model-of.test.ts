// What a page is made of: each thing that it shows, against what the status, the store, the policy and the log say.

import test, { type ExecutionContext } from 'ava'
import type { Connection } from '../../src/protocol/connection.ts'
import type { Profile } from '../../src/protocol/profile.ts'
import { isoTime, parseWith, Status } from '../../src/protocol/wire.ts'
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
    since: isoTime(START_MS),
    meaning: 'It means this.',
    next: 'Do that.',
    account: ORG,
    enabledOn: HERE.hostname,
    app: { id: app.id, client_id: app.clientId, slug: app.slug, name: app.name, html_url: app.htmlUrl },
    appSettingsUrl: `https://github.com/organizations/Octo-Org/settings/apps/${app.slug}`,
    askedPermissions: app.permissions,
    tokens: {
      live: 1,
      oldest_expires_at: isoTime(START_MS + 60 * MINUTE_MS),
      last_minted_at: isoTime(START_MS),
      next_refresh_at: isoTime(START_MS + 20 * MINUTE_MS),
    },
    proxy: 'http://u@proxy:3128',
    role: 'leader',
    generation: 7,
    recovery_recipients: ['age1x'],
    warnings: [{ code: 'clock', detail: 'It is off.', next: 'Set it.' }],
    hosts: ['api.github.com', 'github.com', 'uploads.github.com'],
    clock_offset_seconds: -94,
    wantedPermissions: deps.operations().wantedPermissions(),
  })
  t.like(model.keys, [{ fingerprint: pem, added_at: isoTime(START_MS), signs: true }])
  for (const absent of ['evidence', 'createUrl', 'pendingEnable', 'disabling'] as const)
    t.is(model[absent], undefined, absent)
  t.is(read().proxy, undefined)
})

test('a key that GitHub rejects is marked as such', async t => {
  const { read, world, pem } = await sceneOf(t)
  world.keyStates.set(pem, 'rejected')
  t.like(read().keys, [{ fingerprint: pem, added_at: isoTime(START_MS), state: 'rejected' }])
})

test('installations are told as the API tells them', async t => {
  const { read, installation } = await sceneOf(t)
  t.like(read().installations, [
    { id: installation.id, account: ORG, html_url: installation.htmlUrl, repository_selection: 'all' },
  ])
})

test('each state shows what is under way, and what was said of it', async t => {
  const { read, put, live } = await sceneOf(t)
  const { app, account, host, enabledAtMs } = live
  const established = { app, account, host, enabledAtMs, sinceMs: 5 }
  const pending = { kind: 'awaiting-app', sinceMs: 5, account, state: 'a-state', expiresAtMs: 9 } as const

  put(pending)
  t.like(read(), { state: 'awaiting-app', account, pendingEnable: { expiresAt: isoTime(9), converting: false } })
  for (const absent of ['app', 'enabledOn', 'createUrl'] as const) t.is(read()[absent], undefined, absent)
  put({ ...pending, conversion: { code: 'x', startedAtMs: 6 } })
  t.true(read().pendingEnable?.converting)
  const enterprise = { type: 'enterprise', login: 'octo-corp' } as const
  put({ ...pending, account: enterprise })
  t.like(read(), { account: enterprise, createUrl: 'https://github.com/enterprises/form?a-state' })
  put({ kind: 'key-lost', sinceMs: 5, account, evidence: 'the code was used' })
  t.is(read().evidence, 'the code was used')
  put({ kind: 'awaiting-installation', ...established })
  t.is(read().evidence, undefined)
  for (const kind of ['suspended', 'quarantined'] as const) {
    put({ kind, ...established, evidence: 'it said so' })
    t.like(read(), { state: kind, evidence: 'it said so' })
  }
  put({ kind: 'disconnecting', ...established, step: 'uninstall', deadlineMs: 77 })
  t.like(read(), { state: 'disconnecting', disabling: { step: 'uninstall', deadline: isoTime(77) } })
  put({ kind: 'disconnected', sinceMs: 5, remark: 'Disabled.' })
  t.like(read(), { state: 'disconnected', evidence: 'Disabled.', account: undefined })
  put({ kind: 'disconnected', sinceMs: 5 })
  t.is(read().evidence, undefined)
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
  t.like(newest, { at: isoTime(deps.clock.now()), event: 'admin.request', unit: 'a.service', detail: 'last' })
  t.is(newest?.count, undefined)
  t.like(grant, { event: 'token.grant', profile: 'p', scope: 's', count: 41 })
  t.deepEqual([grant?.unit, grant?.uid], [undefined, undefined])
  t.like(before, { uid: 7, pid: 10, detail: 'request 8' })
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
  t.deepEqual(profiles[0], { name: 'dependabot-updates', allow: NOBODY })
  t.deepEqual(profiles[3], {
    name: 'backup',
    installation: 42,
    repositories: ['web'],
    permissions: { contents: 'read' },
    allow: { users: ['git'], groups: ['wheel'], units: ['a.service'] },
  })
  const of = (name: string) => told.find(one => one.name === name)
  t.deepEqual(of('dependabot-updates'), { name: 'dependabot-updates', title: 'Dependabot updates', state: 'on' })
  t.deepEqual(of('dependabot-alerts'), {
    name: 'dependabot-alerts',
    title: 'Dependabot alerts',
    state: 'app-lacks',
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
    t.deepEqual(read().hosts, [...hosts], githubUrl)
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
    since: closed.since,
    meaning: 'Closed.',
    next: 'Unlock.',
    notice: 'refreshed',
    version: '0',
    tokens: { live: 0 },
    keys: [],
    hosts: ['api.github.com', 'github.com', 'uploads.github.com'],
  })
  t.deepEqual(
    model.profiles.map(({ name }) => name),
    ['p'],
  )
})
