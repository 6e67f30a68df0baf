// Faults on order: each does what it says, to the requests it is meant for, for as long as it is meant to.

import test from 'ava'
import { z } from 'zod'
import { createBench, messageOf, type Bench, type TestApp } from './support.ts'

const ready = async (bench: Bench): Promise<{ app: TestApp; installation: number; authorization: string }> => {
  const app = await bench.app('faulty')
  const installation = await bench.install(app)
  return { app, installation, authorization: `Bearer ${await bench.token(app, installation)}` }
}
const REPOSITORY = '/repos/octo-org/web'

test('an outage is a 503 in JSON, for the requests counted and no more', async t => {
  const bench = await createBench(t)
  const { authorization } = await ready(bench)
  await bench.control('faults', { kind: 'outage', count: 2 })
  for (let n = 0; n < 2; n += 1) {
    const answer = await bench.call(REPOSITORY, { authorization })
    t.is(answer.status, 503)
    t.regex(messageOf(answer), /^No server is currently available to service your request/)
    t.truthy(answer.headers.get('x-github-request-id'))
  }
  t.is((await bench.call(REPOSITORY, { authorization })).status, 200)
})

test('a fault with a path strikes there alone, until it is taken back', async t => {
  const bench = await createBench(t)
  const { authorization, app } = await ready(bench)
  await bench.control('faults', { kind: 'html-503', path: '/repos', status: 502 })
  const answer = await bench.call(REPOSITORY, { authorization })
  t.is(answer.status, 502)
  t.regex(answer.headers.get('content-type') ?? '', /^text\/html/)
  t.truthy(answer.headers.get('x-github-request-id'))
  t.is((await bench.call('/app', { authorization: bench.jwt(app) })).status, 200)
  t.deepEqual(await bench.control('faults?kind=html-503', undefined, 'DELETE'), { removed: 1 })
  t.is((await bench.call(REPOSITORY, { authorization })).status, 200)
})

test('rate limits, primary and secondary, look like those of GitHub', async t => {
  const bench = await createBench(t)
  const { authorization, installation } = await ready(bench)
  await bench.control('faults', { kind: 'rate-limit', status: 429, reset_seconds: 120, count: 1 })
  const primary = await bench.call(REPOSITORY, { authorization })
  t.is(primary.status, 429)
  t.is(messageOf(primary), `API rate limit exceeded for installation ID ${installation}`)
  t.is(primary.headers.get('x-ratelimit-remaining'), '0')
  t.true(Math.abs(Number(primary.headers.get('x-ratelimit-reset')) - bench.nowS() - 120) <= 2)
  await bench.control('faults', { kind: 'secondary-rate-limit', retry_after: 7, count: 1 })
  const secondary = await bench.call(REPOSITORY, { authorization })
  t.is(secondary.status, 403)
  t.is(secondary.headers.get('retry-after'), '7')
  t.not(secondary.headers.get('x-ratelimit-remaining'), '0')
})

test('an IP allow list of one organization bars that one', async t => {
  const bench = await createBench(t)
  const { authorization, app } = await ready(bench)
  const other = `Bearer ${await bench.token(app, await bench.install(app, 'other-org'))}`
  await bench.control('faults', { kind: 'ip-block', organization: 'octo-org' })
  const answer = await bench.call(REPOSITORY, { authorization })
  t.is(answer.status, 403)
  t.is(
    messageOf(answer),
    'Although you appear to have the correct authorization credentials, the `octo-org` organization has an IP allow list enabled, and your IP address is not permitted to access this resource.',
  )
  t.is((await bench.call('/repos/other-org/web', { authorization: other })).status, 200)
  t.is((await bench.call('/app', { authorization: bench.jwt(app) })).status, 200)
})

test('a fresh token lags, answers 401 or 403, and then works', async t => {
  const bench = await createBench(t)
  const { app, installation, authorization: settled } = await ready(bench)
  for (const status of [401, 403]) {
    await bench.control('faults', { kind: 'replication-lag', ms: 5000, status, count: 1 })
    const authorization = `Bearer ${await bench.token(app, installation)}`
    t.is((await bench.call(REPOSITORY, { authorization })).status, status)
    t.is((await bench.call(REPOSITORY, { authorization: settled })).status, 200)
    await bench.control('clock', { advance_ms: 5000 })
    t.is((await bench.call(REPOSITORY, { authorization })).status, 200)
  }
})

test('a dropped request is never performed, one dropped after is', async t => {
  const bench = await createBench(t)
  const { app, installation } = await ready(bench)
  const mint = { method: 'POST', authorization: bench.jwt(app) }
  const path = `/app/installations/${installation}/access_tokens`
  const tokens = async (): Promise<number> =>
    z.object({ counts: z.object({ tokens: z.int() }) }).parse(await bench.control('state')).counts.tokens
  const before = await tokens()
  await bench.control('faults', { kind: 'drop', count: 1 })
  await t.throwsAsync(bench.call(path, mint), { message: /fetch failed/ })
  t.is(await tokens(), before)
  await bench.control('faults', { kind: 'drop-after', path: '/app/installations', count: 1 })
  await t.throwsAsync(bench.call(path, mint), { message: /fetch failed/ })
  t.is(await tokens(), before + 1)
  const log = z.array(z.looseObject({ status: z.int() })).parse(await bench.control('log'))
  t.deepEqual(
    log.slice(-2).map(entry => entry.status),
    [0, 0],
  )
})

test('a storm of 404s, a portal without a request id, and slowness', async t => {
  const bench = await createBench(t)
  const { authorization } = await ready(bench)
  await bench.control('faults', { kind: 'not-found-storm', count: 1 })
  t.is((await bench.call(REPOSITORY, { authorization })).status, 404)
  await bench.control('faults', { kind: 'no-request-id-portal', count: 1 })
  const portal = await bench.call(REPOSITORY, { authorization })
  t.is(portal.status, 200)
  t.is(portal.headers.get('x-github-request-id'), null)
  t.regex(portal.text, /sign in/)
  await bench.control('faults', { kind: 'slow', ms: 300, count: 1 })
  const started = performance.now()
  t.is((await bench.call(REPOSITORY, { authorization })).status, 200)
  t.true(performance.now() - started >= 290)
})

test('a fault that does not exist or is misspelt is refused', async t => {
  const bench = await createBench(t)
  for (const fault of [{ kind: 'fire' }, { kind: 'slow' }, { kind: 'outage', counts: 1 }, {}])
    await t.throwsAsync(bench.control('faults', fault), { message: /400/ })
  t.deepEqual(await bench.control('faults'), [])
})

test('the log tells who asked for what, and how it ended', async t => {
  const bench = await createBench(t)
  const { app, installation, authorization } = await ready(bench)
  const before = z.array(z.looseObject({ sequence: z.int() })).parse(await bench.control('log')).length
  const scope = { repositories: ['web'] }
  await bench.token(app, installation, scope)
  await bench.call(REPOSITORY, { authorization })
  await bench.call('/meta')
  const log = z.array(z.record(z.string(), z.unknown())).parse(await bench.control(`log?since=${before}`))
  t.like(log, [
    { method: 'POST', status: 201, authorization: 'app', issuer: String(app.id), installation, scope },
    { method: 'GET', path: `/api/v3${REPOSITORY}`, status: 200, authorization: 'token', installation },
    { path: '/api/v3/meta', authorization: 'none', issuer: null, installation: null, api_version: '2026-03-10' },
  ])
})

test('a policy of an organization refuses its installation, and says where to sign on', async t => {
  const bench = await createBench(t)
  const { authorization, app } = await ready(bench)
  await bench.control('faults', { kind: 'account-policy', organization: 'octo-org' })
  const answer = await bench.call(REPOSITORY, { authorization })
  t.is(answer.status, 403)
  t.regex(messageOf(answer), /^Resource protected by organization SAML enforcement/)
  t.regex(answer.headers.get('x-github-sso') ?? '', /^required; url=http.*octo-org/)
  t.is((await bench.call('/app', { authorization: bench.jwt(app) })).status, 200, 'the App itself is nobody’s')
})

test('a storm of 404s says what it is told to say', async t => {
  const bench = await createBench(t)
  const { app } = await ready(bench)
  await bench.control('faults', { kind: 'not-found-storm', message: 'Integration not found', count: 1 })
  const answer = await bench.call('/app', { authorization: bench.jwt(app) })
  t.is(answer.status, 404)
  t.is(messageOf(answer), 'Integration not found')
  t.is((await bench.call('/app', { authorization: bench.jwt(app) })).status, 200)
})

const Installation = z.object({ id: z.int(), account: z.object({ login: z.string(), id: z.int() }) })
const AppOwner = z.object({ owner: z.object({ login: z.string() }) })

test('an account that is renamed keeps its id and its installations; an App that is transferred has another owner', async t => {
  const bench = await createBench(t)
  const { app, installation } = await ready(bench)
  const authorization = bench.jwt(app)
  const before = Installation.parse((await bench.call(`/app/installations/${installation}`, { authorization })).body)
  await bench.control('accounts/octo-org/rename', { login: 'hexa-org' })
  const after = Installation.parse((await bench.call(`/app/installations/${installation}`, { authorization })).body)
  t.deepEqual(after, { id: before.id, account: { id: before.account.id, login: 'hexa-org' } })
  t.is(AppOwner.parse((await bench.call('/app', { authorization })).body).owner.login, 'hexa-org')
  await bench.control(`apps/${app.id}/transfer`, { owner: 'other-org' })
  t.is(AppOwner.parse((await bench.call('/app', { authorization })).body).owner.login, 'other-org')
  await t.throwsAsync(bench.control('accounts/hexa-org/rename', { login: 'other-org' }), { message: /409/ })
})

test('one key of several is revoked by its fingerprint', async t => {
  const bench = await createBench(t)
  const { app } = await ready(bench)
  const made = z.object({ fingerprint: z.string() }).parse(await bench.control(`apps/${app.id}/generate-key`, {}))
  await t.throwsAsync(bench.control(`apps/${app.id}/revoke-keys`, { fingerprint: 'SHA256:none' }), { message: /404/ })
  await bench.control(`apps/${app.id}/revoke-keys`, { fingerprint: made.fingerprint })
  t.is((await bench.call('/app', { authorization: bench.jwt(app) })).status, 200)
})
