// The door to GitHub against the sandbox, which refuses what GitHub refuses.

import test from 'ava'
import { z } from 'zod'
import { Failure } from '../../../src/protocol/errors.ts'
import type { AppKey } from '../../../src/core/github/app-key.ts'
import { readPrivateKey } from '../../../src/core/github/app-key.ts'
import { appManifest, manifestAction, readRedirect } from '../../../src/core/github/app-manifest.ts'
import { createGitHubClock } from '../../../src/core/github/clock.ts'
import type { AppIdentity } from '../../../src/core/github/calls.ts'
import type { GitHub } from '../../../src/core/github/github.ts'
import { createGitHub } from '../../../src/core/github/github.ts'
import type { Sandbox } from '../../../src/sandbox/server.ts'
import { startSandbox } from '../../../src/sandbox/server.ts'
import { makeKey, skewedClock } from './fakes.ts'

const madeSchema = z.object({ id: z.int(), client_id: z.string(), pem: z.string() })
const permissions = { metadata: 'read', contents: 'write', issues: 'read' }
let sandbox: Sandbox
let key: AppKey
let appId: number
let as: AppIdentity
let installation: number

test.before(async () => {
  sandbox = await startSandbox({ seed: 7 })
})

test.after.always(() => sandbox.close())

/** A new world for each test, so they run one after another. */
test.beforeEach(async () => {
  await control('reset')
  const app = madeSchema.parse(await control('apps', { owner: 'octo-org', name: 'ghe-example-com', permissions }))
  key = readPrivateKey(app.pem)
  appId = app.id
  as = { issuer: app.client_id, keys: [key] }
  const repositories = ['web', 'api']
  const made = await control('installations', { app: app.id, account: 'octo-org', repositories })
  installation = z.object({ id: z.int() }).parse(made).id
})

const control = async (path: string, body: object = {}): Promise<unknown> => {
  const answer = await fetch(`${sandbox.url}/_sandbox/${path}`, { method: 'POST', body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

const post = (url: string, form: Record<string, string>): Promise<Response> =>
  fetch(url, { method: 'POST', body: new URLSearchParams(form), redirect: 'manual' })

const connect = (options: { skewMs?: number; stateless?: 'enabled' | 'disabled' } = {}) => {
  const clock = skewedClock(options.skewMs ?? 0)
  const githubClock = createGitHubClock({ clock, offsetMs: 0, onChange: () => undefined })
  let calls = 0
  const github = createGitHub({
    outbound: {
      fetch: (input, init) => {
        calls++
        return fetch(input, init)
      },
    },
    clock,
    githubClock,
    settings: () => ({
      apiUrl: sandbox.apiUrl,
      apiVersion: '2026-03-10',
      statelessTokens: options.stateless ?? 'default',
    }),
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    userAgent: 'ghconnectd/test',
  })
  return { github, githubClock, calls: () => calls }
}

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise
  } catch (error) {
    if (error instanceof Failure) return error.code
    throw error
  }
  return 'no failure'
}

const namesOf = async (github: GitHub, token: Parameters<GitHub['listRepositories']>[0]): Promise<string[]> =>
  (await github.listRepositories(token)).items.map(repository => repository.name).toSorted()

test.serial('a repository is found by its id where the token shows it, under the name that it has now', async t => {
  const { github } = connect()
  const { token } = await github.mint(as, { installation })
  const [web] = (await github.listRepositories(token)).items
  const find = (id: number) => github.findRepository(token, { installation, id })
  t.deepEqual(await find(web?.id ?? 0), { owner: 'octo-org', name: 'web' })
  await control('repositories/octo-org/web/rename', { name: 'site' })
  t.deepEqual(await find(web?.id ?? 0), { owner: 'octo-org', name: 'site' })
  t.is(await find(1), undefined)
})

test.serial('the App is read by its id and by its client id', async t => {
  const { github } = connect()
  const app = await github.getApp(as)
  t.is(app.id, appId)
  t.is(app.clientId, as.issuer)
  t.deepEqual(app.owner, { type: 'organization', login: 'octo-org' })
  t.deepEqual(await github.getApp({ ...as, issuer: String(appId) }), app)
})

test.serial('installations are listed and read alike', async t => {
  const { github } = connect()
  const one = await github.getInstallation(as, installation)
  t.deepEqual(one.account, { type: 'organization', login: 'octo-org' })
  t.is(one.repositorySelection, 'selected')
  t.deepEqual(await github.listInstallations(as), [one])
})

test.serial('an App of an enterprise is read with its slug, and so is the installation there', async t => {
  const made = madeSchema.parse(await control('apps', { owner: 'octo-enterprise', name: 'of-enterprise' }))
  await control('installations', { app: made.id, account: 'octo-enterprise' })
  await control('installations', { app: made.id, account: 'octo-org' })
  const { github } = connect()
  const enterprise = { issuer: made.client_id, keys: [readPrivateKey(made.pem)] }
  t.deepEqual((await github.getApp(enterprise)).owner, { type: 'enterprise', login: 'octo-enterprise' })
  t.deepEqual(
    (await github.listInstallations(enterprise)).map(one => one.account),
    [
      { type: 'enterprise', login: 'octo-enterprise' },
      { type: 'organization', login: 'octo-org' },
    ],
  )
})

test.serial('a token has the scope that it was minted for, in either format', async t => {
  for (const stateless of ['enabled', 'disabled'] as const) {
    const { github } = connect({ stateless })
    const all = await github.mint(as, { installation })
    t.deepEqual(await namesOf(github, all.token), ['api', 'web'])
    const narrow = await github.mint(as, { installation, repositories: ['web'], permissions: { contents: 'read' } })
    t.deepEqual(narrow.granted, { repositories: ['web'], permissions: { contents: 'read', metadata: 'read' } })
    t.deepEqual(await namesOf(github, narrow.token), ['web'])
    t.is(narrow.token.reveal().length > 100, stateless === 'enabled')
    t.true(Math.abs(narrow.expiresAtMs - Date.now() - 3_600_000) < 5000)
  }
})

test.serial('a repository named contents and the permission contents get different tokens', async t => {
  await control('repositories', { owner: 'octo-org', name: 'contents' })
  await control(`installations/${installation}/repositories`, { repositories: 'all' })
  const { github } = connect()
  const byPermission = await github.mint(as, { installation, permissions: { contents: 'read' } })
  const byName = await github.mint(as, { installation, repositories: ['contents'] })
  t.not(byPermission.token.reveal(), byName.token.reveal())
  t.deepEqual(await namesOf(github, byName.token), ['contents'])
  t.true((await namesOf(github, byPermission.token)).length > 1)
  t.deepEqual(byPermission.granted.permissions, { contents: 'read', metadata: 'read' })
  t.is(byName.granted.permissions['contents'], 'write')
})

test.serial('what the installation does not have is refused by name', async t => {
  const { github } = connect()
  t.is(await codeOf(github.mint(as, { installation, repositories: ['docs'] })), 'repository-not-accessible')
  const tooMuch = { installation, permissions: { actions: 'write' } } as const
  t.is(await codeOf(github.mint(as, tooMuch)), 'permission-not-granted')
})

test.serial('a revoked token is accepted no more, and may be revoked again', async t => {
  const { github } = connect()
  const { token } = await github.mint(as, { installation })
  t.true(await github.accepts(token))
  await github.revoke(token)
  t.false(await github.accepts(token))
  await t.notThrowsAsync(github.revoke(token))
})

test.serial('a token that the replicas do not know yet is neither accepted nor taken for revoked', async t => {
  for (const [status, code] of [
    [401, 'bad-credentials'],
    [403, 'forbidden'],
  ] as const) {
    await control('faults', { kind: 'replication-lag', ms: 20_000, status, count: 1 })
    const { github } = connect()
    const { token } = await github.mint(as, { installation })
    t.false(await github.accepts(token))
    t.is(await codeOf(github.revoke(token)), code)
    await control('clock', { advance_ms: 25_000 })
    t.true(await github.accepts(token))
    await github.revoke(token)
    t.false(await github.accepts(token))
  }
})

test.serial('another key is rejected, and the right one after it is found', async t => {
  const { github, calls } = connect()
  t.is(await codeOf(github.getApp({ ...as, keys: [makeKey()] })), 'key-rejected')
  t.is((await github.getApp({ ...as, keys: [makeKey(), key] })).id, appId)
  t.is(calls(), 3)
  await control(`apps/${appId}/revoke-keys`)
  t.is(await codeOf(github.mint(as, { installation })), 'key-rejected')
})

test.serial('a suspension refuses mints and shows in the installation, and ends', async t => {
  const { github } = connect()
  await control(`installations/${installation}/suspend`)
  t.is(await codeOf(github.mint(as, { installation })), 'suspended')
  t.is(typeof (await github.getInstallation(as, installation)).suspendedAtMs, 'number')
  await control(`installations/${installation}/unsuspend`)
  t.is(await codeOf(github.mint(as, { installation })), 'no failure')
})

test.serial('what is uninstalled is not found, whoever uninstalled it', async t => {
  const { github } = connect()
  const { token } = await github.mint(as, { installation })
  await github.uninstall(as, installation)
  t.is(await codeOf(github.mint(as, { installation })), 'installation-not-found')
  t.is(await codeOf(github.getInstallation(as, installation)), 'installation-not-found')
  t.deepEqual(await github.listInstallations(as), [])
  t.false(await github.accepts(token))
  await t.notThrowsAsync(github.uninstall(as, installation))
})

test.serial('an App that was deleted is not found by any call, and counts as uninstalled', async t => {
  const { github } = connect()
  await control(`apps/${appId}/delete`)
  t.is(await codeOf(github.getApp(as)), 'app-not-found')
  t.is(await codeOf(github.listInstallations(as)), 'app-not-found')
  t.is(await codeOf(github.mint(as, { installation })), 'app-not-found')
  await t.notThrowsAsync(github.uninstall(as, installation))
})

for (const minutes of [-60, -12, -5, 5, 12, 60]) {
  test.serial(`a machine ${minutes} minutes off is let in, and learns GitHub's clock`, async t => {
    const { github, githubClock, calls } = connect({ skewMs: minutes * 60_000 })
    t.is((await github.getApp(as)).id, appId)
    t.true(calls() <= 2)
    t.true(Math.abs(githubClock.now() - Date.now()) < 3000)
    const before = calls()
    await github.mint(as, { installation })
    t.is(calls(), before + 1)
  })
}

test.serial('the troubles on the way are told apart', async t => {
  const { github } = connect()
  const troubles = [
    ['outage', {}, 'github-outage'],
    ['html-503', { status: 502 }, 'github-outage'],
    ['no-request-id-portal', {}, 'portal'],
    ['ip-block', {}, 'ip-blocked'],
    ['rate-limit', { reset_seconds: 900 }, 'quota'],
    ['secondary-rate-limit', { retry_after: 17, status: 429 }, 'quota'],
    ['drop', {}, 'unreachable'],
    ['drop-after', {}, 'unreachable'],
  ] as const
  for (const [kind, more, code] of troubles) {
    await control('faults', { kind, ...more, count: 1 })
    t.is(await codeOf(github.mint(as, { installation })), code, kind)
    t.is(await codeOf(github.mint(as, { installation })), 'no failure', `${kind} is over`)
  }
})

test.serial('the wait for the rate limit is by the clock of GitHub', async t => {
  const { github } = connect({ skewMs: 5 * 60_000 })
  await github.getApp(as)
  await control('faults', { kind: 'rate-limit', reset_seconds: 900, count: 1 })
  const failure = await t.throwsAsync(github.mint(as, { installation }), { instanceOf: Failure })
  t.true(Math.abs((failure.retryAfterSeconds ?? 0) - 900) <= 2)
  t.is(github.findQuota(installation)?.remaining, 0)
})

test.serial('the code of a manifest gives App and key, once', async t => {
  const organization = { type: 'organization', login: 'octo-org' } as const
  const manifest = appManifest({
    name: 'github.engineering.corp.example.com',
    url: 'https://ghe.example.com',
    description: 'Connects ghe.example.com',
    redirectUrl: 'http://127.0.0.1:9/callback',
    permissions: { contents: 'read' },
  })
  const asked = await post(manifestAction(sandbox.url, organization, '5afe'), { manifest: JSON.stringify(manifest) })
  const confirm = new URL(asked.headers.get('location') ?? '', sandbox.url).href
  const { location } = Object.fromEntries((await post(confirm, { name: manifest.name })).headers)
  const { github } = connect()
  const { code, state } = readRedirect(location ?? '')
  t.is(state, '5afe')
  const { app, pem } = await github.convertManifest(code)
  t.is(app.name, manifest.name)
  t.deepEqual(app.owner, organization)
  t.is(app.permissions['contents'], 'read')
  t.deepEqual(await github.getApp({ issuer: app.clientId, keys: [readPrivateKey(pem.reveal())] }), app)
  t.is(await codeOf(github.convertManifest(code)), 'code-rejected')
})
