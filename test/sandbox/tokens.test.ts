// Installation access tokens in the sandbox: scopes, refusals, formats, and the end of a token.

import test from 'ava'
import { assert, asyncProperty, constantFrom, dictionary } from 'fast-check'
import { z } from 'zod'
import { NO_SUCH_REPOSITORY, NOT_GRANTED } from '../../src/sandbox/tokens.ts'
import { createBench, messageOf } from './support.ts'

const permissions = { contents: 'read', issues: 'write', metadata: 'read' }
const mintPath = (installation: number): string => `/app/installations/${installation}/access_tokens`

const header = (value: string): Record<string, string> => ({ 'x-github-stateless-s2s-token': value })

test('a token for everything has exactly the shape that GitHub gives', async t => {
  const bench = await createBench(t)
  const app = await bench.app('plain', { permissions })
  const installation = await bench.install(app)
  const made = await bench.call(mintPath(installation), { method: 'POST', authorization: bench.jwt(app) })
  t.is(made.status, 201)
  const body = z.record(z.string(), z.unknown()).parse(made.body)
  t.deepEqual(Object.keys(body), ['token', 'expires_at', 'permissions', 'repository_selection'])
  t.deepEqual(body['permissions'], permissions)
  t.is(body['repository_selection'], 'all')
  t.regex(String(body['token']), /^ghs_[A-Za-z0-9]{36}$/)
  t.regex(String(body['expires_at']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  const life = Date.parse(String(body['expires_at'])) - Date.now()
  t.true(life > 3_590_000 && life <= 3_600_000)
})

test('a scoped token names its repositories, and gets metadata with what it asked for', async t => {
  const bench = await createBench(t)
  const app = await bench.app('scoped', { permissions })
  const installation = await bench.install(app)
  const made = await bench.call(mintPath(installation), {
    method: 'POST',
    authorization: bench.jwt(app),
    body: { repositories: ['WEB'], permissions: { contents: 'read' } },
  })
  t.like(made.body, { permissions: { contents: 'read', metadata: 'read' }, repository_selection: 'selected' })
  const { repositories } = z.object({ repositories: z.array(z.object({ name: z.string() })) }).parse(made.body)
  t.deepEqual(
    repositories.map(r => r.name),
    ['web'],
  )
})

test('scopes that the installation does not have are refused', async t => {
  const bench = await createBench(t)
  const app = await bench.app('refused', { permissions })
  const installation = await bench.install(app, 'octo-org', ['web', 'api'])
  const cases: [unknown, string][] = [
    [{ repositories: ['docs'] }, NO_SUCH_REPOSITORY],
    [{ repositories: ['web', 'nowhere'] }, NO_SUCH_REPOSITORY],
    [{ repositories: ['octo-org/web'] }, NO_SUCH_REPOSITORY],
    [{ repository_ids: [1] }, NO_SUCH_REPOSITORY],
    [{ repositories: Array.from({ length: 501 }, () => 'web') }, NO_SUCH_REPOSITORY],
    [{ permissions: { contents: 'write' } }, NOT_GRANTED],
    [{ permissions: { content: 'read' } }, NOT_GRANTED],
    [{ permissions: { contents: 'admin' } }, NOT_GRANTED],
    [{ permissions: { administration: 'read' } }, NOT_GRANTED],
    [{ permissions: { toString: 'read' } }, NOT_GRANTED],
  ]
  for (const [body, message] of cases) {
    const answer = await bench.call(mintPath(installation), { method: 'POST', authorization: bench.jwt(app), body })
    t.is(answer.status, 422)
    t.is(messageOf(answer), message)
  }
})

test('further pages and former names lead on by the id of the repository, as on GitHub', async t => {
  const bench = await createBench(t)
  const app = await bench.app('paging', { permissions: { ...permissions, issues: 'write' } })
  const authorization = `Bearer ${await bench.token(app, await bench.install(app), { repositories: ['web'] })}`
  const id = z.object({ id: z.int() }).parse((await bench.call('/repos/octo-org/web', { authorization })).body).id
  const issues = '/repos/octo-org/web/issues'
  for (const title of ['a', 'b', 'c']) await bench.call(issues, { method: 'POST', authorization, body: { title } })
  const first = await bench.call(`${issues}?state=open&per_page=2`, { authorization })
  const byId = `${bench.sandbox.apiUrl}/repositories/${id}`
  t.is(
    first.headers.get('link'),
    `<${byId}/issues?state=open&per_page=2&page=2>; rel="next", <${byId}/issues?state=open&per_page=2&page=2>; rel="last"`,
  )
  const second = await bench.call(`/repositories/${id}/issues?state=open&per_page=2&page=2`, { authorization })
  const titles = (answer: { body: unknown }) => z.array(z.object({ title: z.string() })).parse(answer.body)
  t.deepEqual([...titles(first), ...titles(second)], [{ title: 'c' }, { title: 'b' }, { title: 'a' }])
  t.like((await bench.call(`${issues}/2`, { authorization })).body, { number: 2, title: 'b' })
  t.is((await bench.call(`${issues}/4`, { authorization })).status, 404)

  await bench.control('repositories/octo-org/web/rename', { name: 'site' })
  const moved = await bench.call(`${issues}?per_page=2`, { authorization })
  t.is(moved.status, 301)
  t.is(moved.headers.get('location'), `${byId}/issues?per_page=2`)
  t.is((await bench.call('/repos/octo-org/web', { authorization })).headers.get('location'), byId)
  const posted = await bench.call(issues, { method: 'POST', authorization, body: { title: 'd' } })
  t.is(posted.status, 307)
  t.like((await bench.call(`/repositories/${id}`, { authorization })).body, { name: 'site' })
  const blind = `Bearer ${await bench.token(app, await bench.install(app), { repositories: ['api'] })}`
  t.is((await bench.call(issues, { authorization: blind })).status, 404, 'a former name tells nothing to strangers')
  await bench.control('repositories', { owner: 'octo-org', name: 'web' })
  t.is(
    (await bench.call('/repos/octo-org/web', { authorization })).status,
    404,
    'a name that is taken again is no former one',
  )
})

test('bodies that are no request for a token are refused', async t => {
  const bench = await createBench(t)
  const app = await bench.app('bodies')
  const installation = await bench.install(app)
  for (const [rawBody, status] of [
    ['{', 400],
    ['[]', 400],
    ['{"repositories":"web"}', 422],
    ['{"repository_ids":["1"]}', 422],
  ] as const) {
    const answer = await bench.call(mintPath(installation), { method: 'POST', authorization: bench.jwt(app), rawBody })
    t.is(answer.status, status)
  }
})

test('a token reaches its repositories with its permissions, and nothing else', async t => {
  const bench = await createBench(t)
  const app = await bench.app('enforced', { permissions })
  const installation = await bench.install(app)
  const scope = { repositories: ['web'], permissions: { contents: 'read' } }
  const authorization = `Bearer ${await bench.token(app, installation, scope)}`
  const status = async (path: string, method = 'GET', body?: unknown): Promise<number> =>
    (await bench.call(path, { method, authorization, ...(body === undefined ? {} : { body }) })).status
  t.is(await status('/repos/octo-org/web'), 200)
  t.is(await status('/repos/octo-org/web/contents/README.md'), 200)
  t.is(await status('/repos/octo-org/web/contents/'), 200)
  t.is(await status('/repos/octo-org/web/contents/nothing/here'), 404)
  for (const other of ['octo-org/api', 'other-org/web', 'octo-org/nowhere']) t.is(await status(`/repos/${other}`), 404)
  const lacking = await bench.call('/repos/octo-org/web/issues', {
    method: 'POST',
    authorization,
    body: { title: 'x' },
  })
  t.is(lacking.status, 403)
  t.is(messageOf(lacking), 'Resource not accessible by integration')
  t.is(lacking.headers.get('x-accepted-github-permissions'), 'issues=write')

  const writer = `Bearer ${await bench.token(app, installation)}`
  const made = await bench.call('/repos/octo-org/web/issues', {
    method: 'POST',
    authorization: writer,
    body: { title: 'x' },
  })
  t.is(made.status, 201)
  t.like(made.body, { number: 1, title: 'x', user: { login: 'enforced[bot]' } })
  const empty = await bench.call('/repos/octo-org/web/issues', { method: 'POST', authorization: writer, body: {} })
  t.is(empty.status, 422)
})

test('an old version of the API has the fields that the new one dropped', async t => {
  const bench = await createBench(t)
  const app = await bench.app('versions', { permissions })
  const installation = await bench.install(app)
  const authorization = `Bearer ${await bench.token(app, installation)}`
  const old = { 'x-github-api-version': '2022-11-28' }
  for (const path of ['/', '/rate_limit', '/meta', '/repos/octo-org/web', '/installation/repositories'])
    t.is((await bench.call(path, { authorization, headers: old })).status, 200)
  t.like((await bench.call('/repos/octo-org/web', { authorization, headers: old })).body, { has_downloads: true })
  const issue = { method: 'POST', authorization, headers: old, body: { title: 'x' } }
  t.like((await bench.call('/repos/octo-org/web/issues', issue)).body, { assignee: null })
})

test('both formats of tokens work, as the header asks', async t => {
  const bench = await createBench(t)
  const app = await bench.app('formats')
  const installation = await bench.install(app)
  const stateless = await bench.token(app, installation, undefined, header('enabled'))
  t.regex(stateless, new RegExp(`^ghs_${app.id}_eyJ[A-Za-z0-9._-]+$`))
  t.true(Math.abs(stateless.length - 520) < 40, `${stateless.length} characters`)
  t.is((await bench.call('/repos/octo-org/web', { authorization: `Bearer ${stateless}` })).status, 200)
  t.is((await bench.call('/repos/octo-org/web', { authorization: `Bearer ${stateless}x` })).status, 401)
  await bench.control('settings', { stateless_by_default: true })
  t.true((await bench.token(app, installation)).length > 100)
  t.is((await bench.token(app, installation, undefined, header('disabled'))).length, 40)
})

test('a revoked, an expired and an unknown token are bad credentials', async t => {
  const bench = await createBench(t)
  const app = await bench.app('ends')
  const installation = await bench.install(app)
  const revoked = `Bearer ${await bench.token(app, installation)}`
  t.is((await bench.call('/installation/token', { method: 'DELETE', authorization: revoked })).status, 204)
  const expired = `Bearer ${await bench.token(app, installation)}`
  t.is((await bench.call('/repos/octo-org/web', { authorization: expired })).status, 200)
  await bench.control('clock', { advance_ms: 3_600_000 })
  for (const authorization of [revoked, expired, `Bearer ghs_${'a'.repeat(36)}`, 'Bearer x', 'Basic eDp5']) {
    const answer = await bench.call('/repos/octo-org/web', { authorization })
    t.is(answer.status, 401)
    t.is(messageOf(answer), 'Bad credentials')
  }
  const again = await bench.call('/installation/token', { method: 'DELETE', authorization: revoked })
  t.is(again.status, 401)
})

test('a password of Git over HTTPS is the token', async t => {
  const bench = await createBench(t)
  const app = await bench.app('basic')
  const token = await bench.token(app, await bench.install(app))
  const authorization = `Basic ${Buffer.from(`x-access-token:${token}`).toString('base64')}`
  t.is((await bench.call('/repos/octo-org/web', { authorization })).status, 200)
})

test('a suspended installation mints nothing, while its tokens go on', async t => {
  const bench = await createBench(t)
  const app = await bench.app('suspended')
  const installation = await bench.install(app)
  const authorization = `Bearer ${await bench.token(app, installation)}`
  await bench.control(`installations/${installation}/suspend`, {})
  const refused = await bench.call(mintPath(installation), { method: 'POST', authorization: bench.jwt(app) })
  t.is(refused.status, 403)
  t.is(messageOf(refused), 'This installation has been suspended')
  t.is((await bench.call('/repos/octo-org/web', { authorization })).status, 200)
  const seen = await bench.call(`/app/installations/${installation}`, { authorization: bench.jwt(app) })
  t.regex(z.object({ suspended_at: z.string() }).parse(seen.body).suspended_at, /Z$/)
  await bench.control(`installations/${installation}/unsuspend`, {})
  await bench.token(app, installation)
})

test('an uninstalled App finds nothing, and its tokens are dead', async t => {
  const bench = await createBench(t)
  const app = await bench.app('uninstalled')
  const installation = await bench.install(app)
  const authorization = `Bearer ${await bench.token(app, installation)}`
  await bench.control(`installations/${installation}/uninstall`, {})
  const refused = await bench.call(mintPath(installation), { method: 'POST', authorization: bench.jwt(app) })
  t.is(refused.status, 404)
  t.is(messageOf(refused), 'Not Found')
  t.is((await bench.call('/repos/octo-org/web', { authorization })).status, 401)
})

test('what the owner takes from an installation is gone from its tokens too', async t => {
  const bench = await createBench(t)
  const app = await bench.app('narrowed', { permissions })
  const installation = await bench.install(app)
  const authorization = `Bearer ${await bench.token(app, installation)}`
  await bench.control(`installations/${installation}/repositories`, { repositories: ['api'] })
  t.is((await bench.call('/repos/octo-org/web', { authorization })).status, 404)
  t.is((await bench.call('/repos/octo-org/api', { authorization })).status, 200)
  await bench.control(`installations/${installation}/permissions`, { permissions: { contents: 'write' } })
  await bench.token(app, installation, { permissions: { contents: 'write' } })
  const refused = await bench.call(mintPath(installation), {
    method: 'POST',
    authorization: bench.jwt(app),
    body: { permissions: { issues: 'read' } },
  })
  t.is(messageOf(refused), NOT_GRANTED)
})

test('whatever is granted was asked for, but for metadata', async t => {
  const bench = await createBench(t)
  const granted = { contents: 'write', issues: 'read', metadata: 'read', pull_requests: 'write' }
  const app = await bench.app('property', { permissions: granted })
  const installation = await bench.install(app)
  const level = constantFrom('read', 'write', 'admin')
  const asked = dictionary(constantFrom(...Object.keys(granted), 'actions', 'content'), level, { minKeys: 1 })
  await assert(
    asyncProperty(asked, async wanted => {
      const answer = await bench.call(mintPath(installation), {
        method: 'POST',
        authorization: bench.jwt(app),
        body: { permissions: wanted },
      })
      const fine = Object.entries(wanted).every(
        ([name, at]) =>
          (name in granted && at === 'read') || (at === 'write' && /^(contents|pull)/.test(name) && name in granted),
      )
      t.is(answer.status, fine ? 201 : 422)
      if (fine) t.like(answer.body, { permissions: { metadata: 'read', ...wanted } })
    }),
    { numRuns: 60 },
  )
})
