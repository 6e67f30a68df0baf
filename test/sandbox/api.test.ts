// The API's manners: headers, pages of lists, ETags, quotas, versions, and every route held against GitHub's description.

import { request } from 'node:http'
import test from 'ava'
import { z } from 'zod'
import { startSandbox } from '../../src/sandbox/server.ts'
import { PERMISSION_LEVELS } from '../../src/sandbox/permissions.ts'
import { checkRequest } from '../support/github-openapi.ts'
import { readSlice, isObject } from '../support/openapi-slice.ts'
import { createBench, messageOf, type Bench } from './support.ts'

test('only loopback will do', async t => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.com', '127.0.0.1.example.com'])
    await t.throwsAsync(startSandbox({ host }), { message: /loopback only/ })
})

test('it also listens on IPv6 loopback', async t => {
  const bench = await createBench(t, { host: '::1' })
  t.regex(bench.sandbox.apiUrl, /^http:\/\/\[::1\]:\d+\/api\/v3$/)
  t.is((await bench.call('/meta')).status, 200)
})

test('every answer bears the headers of GitHub', async t => {
  const bench = await createBench(t)
  for (const path of ['/', '/meta', '/rate_limit', '/app', '/nothing']) {
    const { headers } = await bench.call(path)
    t.regex(headers.get('x-github-request-id') ?? '', /^[0-9A-F]{4}(:[0-9A-F]{6,8}){4}$/)
    t.is(headers.get('content-type'), 'application/json; charset=utf-8')
    t.is(headers.get('x-github-api-version-selected'), '2026-03-10')
    t.truthy(headers.get('date'))
    for (const name of ['limit', 'remaining', 'used', 'reset', 'resource'])
      t.truthy(headers.get(`x-ratelimit-${name}`), name)
  }
})

test('an unknown version of the API is refused, and none means the oldest', async t => {
  const bench = await createBench(t)
  const wrong = await bench.call('/meta', { headers: { 'x-github-api-version': '2020-01-01' } })
  t.is(wrong.status, 400)
  t.regex(messageOf(wrong), /"2020-01-01", is not a supported version/)
  const none = await fetch(`${bench.sandbox.apiUrl}/meta`)
  t.is(none.headers.get('x-github-api-version-selected'), '2022-11-28')
})

test('a request without a User-Agent is refused', async t => {
  const bench = await createBench(t)
  const status = await new Promise<number | undefined>((resolve, reject) => {
    request(`${bench.sandbox.apiUrl}/meta`, response => {
      response.resume()
      resolve(response.statusCode)
    })
      .on('error', reject)
      .end()
  })
  t.is(status, 403)
})

test('an App drives every route of its own, and each answer is valid', async t => {
  const bench = await createBench(t)
  const app = await bench.app('routes', { public: true })
  const authorization = bench.jwt(app)
  const status = async (path: string, method = 'GET', version = '2026-03-10'): Promise<number> => {
    t.deepEqual(checkRequest({ method, path }), [])
    return (await bench.call(path, { method, authorization, headers: { 'x-github-api-version': version } })).status
  }
  const ids: Record<string, number> = {}
  for (const account of ['octo-org', 'octocat', 'octo-enterprise']) ids[account] = await bench.install(app, account)
  for (const path of [
    '/app',
    '/app/installations',
    `/app/installations/${ids['octo-org']}`,
    '/orgs/octo-org/installation',
    '/users/octocat/installation',
    '/repos/octo-org/web/installation',
    '/enterprises/octo-enterprise/installation',
  ])
    t.is(await status(path), 200, path)
  for (const path of [
    '/app/installations/1',
    '/orgs/other-org/installation',
    '/orgs/octocat/installation',
    '/users/nobody/installation',
    '/repos/other-org/web/installation',
    '/repos/octo-org/nothing/installation',
    '/enterprises/nobody/installation',
  ])
    t.is(await status(path), 404, path)
  const enterprise = await bench.call('/enterprises/octo-enterprise/installation', { authorization })
  t.like(enterprise.body, { account: { slug: 'octo-enterprise' }, target_type: 'Enterprise' })

  t.is(await status(`/app/installations/${ids['octo-org']}/suspended`, 'PUT'), 204)
  t.is(await status(`/app/installations/${ids['octo-org']}`), 200)
  t.is(await status(`/app/installations/${ids['octo-org']}/suspended`, 'DELETE'), 204)
  t.is(await status(`/app/installations/${ids['octo-org']}`, 'DELETE'), 202)
  t.is(await status(`/app/installations/${ids['octocat']}`, 'DELETE', '2022-11-28'), 204)
  t.is(await status(`/app/installations/${ids['octo-org']}`, 'DELETE'), 404)
})

test("another App's installation does not exist", async t => {
  const bench = await createBench(t)
  const mine = await bench.app('mine')
  const theirs = await bench.install(await bench.app('theirs'))
  const authorization = bench.jwt(mine)
  for (const [method, tail] of [
    ['GET', ''],
    ['DELETE', ''],
    ['PUT', '/suspended'],
    ['POST', '/access_tokens'],
  ] as const)
    t.is((await bench.call(`/app/installations/${theirs}${tail}`, { method, authorization })).status, 404)
})

test('the routes of tokens refuse a JSON web token and nobody at all', async t => {
  const bench = await createBench(t)
  const app = await bench.app('wrong-kind')
  const installation = await bench.install(app)
  t.is((await bench.call('/installation/repositories')).status, 401)
  t.is((await bench.call('/installation/repositories', { authorization: bench.jwt(app) })).status, 403)
  t.is((await bench.call('/repos/octo-org/web')).status, 404)
  const authorization = `Bearer ${await bench.token(app, installation)}`
  t.is(messageOf(await bench.call('/nothing/here', { authorization })), 'Not Found')
})

test('lists come in pages', async t => {
  const bench = await createBench(t)
  const app = await bench.app('pages')
  const authorization = `Bearer ${await bench.token(app, await bench.install(app))}`
  const names: string[] = []
  let path: string | undefined = '/installation/repositories?per_page=3'
  for (let pages = 0; path !== undefined && pages < 5; pages += 1) {
    const answer = await bench.call(path, { authorization })
    const { repositories, total_count } = z
      .object({ total_count: z.int(), repositories: z.array(z.object({ name: z.string() })) })
      .parse(answer.body)
    t.is(total_count, 4)
    names.push(...repositories.map(r => r.name))
    path = /<[^>]*\/api\/v3([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1]
  }
  t.deepEqual(names, ['web', 'api', 'docs', 'infra'])
})

test('what was not modified is not sent again, and costs no quota', async t => {
  const bench = await createBench(t)
  const app = await bench.app('etags')
  const authorization = `Bearer ${await bench.token(app, await bench.install(app))}`
  const first = await bench.call('/repos/octo-org/web', { authorization })
  const etag = first.headers.get('etag') ?? ''
  t.regex(etag, /^W\/"[0-9a-f]{64}"$/)
  const again = await bench.call('/installation/repositories', { authorization, headers: { 'if-none-match': etag } })
  t.is(again.status, 200)
  const same = await fetch(`${bench.sandbox.apiUrl}/repos/octo-org/web`, {
    headers: { authorization, 'if-none-match': etag, 'x-github-api-version': '2026-03-10' },
  })
  t.is(same.status, 304)
  t.is(await same.text(), '')
  t.is(same.headers.get('x-ratelimit-used'), again.headers.get('x-ratelimit-used'))
})

test('tokens of an installation share its quota of 5,000 an hour, and JSON web tokens have their own', async t => {
  const bench = await createBench(t)
  const app = await bench.app('quota')
  const installation = await bench.install(app)
  const one = `Bearer ${await bench.token(app, installation)}`
  const two = `Bearer ${await bench.token(app, installation)}`
  const first = await bench.call('/repos/octo-org/web', { authorization: one })
  t.is(first.headers.get('x-ratelimit-limit'), '5000')
  t.is(first.headers.get('x-ratelimit-remaining'), '4999')
  const second = await bench.call('/repos/octo-org/web', { authorization: two })
  t.is(second.headers.get('x-ratelimit-remaining'), '4998')
  t.is((await bench.call('/app', { authorization: bench.jwt(app) })).headers.get('x-ratelimit-used'), '1')
  t.like((await bench.call('/rate_limit', { authorization: one })).body, { resources: { core: { used: 2 } } })

  await bench.control('settings', { hourly_quota: 3 })
  t.is((await bench.call('/repos/octo-org/web', { authorization: one })).status, 200)
  const refused = await bench.call('/repos/octo-org/web', { authorization: one })
  t.is(refused.status, 403)
  t.is(messageOf(refused), `API rate limit exceeded for installation ID ${installation}`)
  t.is(refused.headers.get('x-ratelimit-remaining'), '0')
  await bench.control('clock', { advance_ms: 3_600_000 })
  const fresh = `Bearer ${await bench.token(app, installation)}`
  t.is((await bench.call('/repos/octo-org/web', { authorization: fresh })).status, 200)
})

const run = async (bench: Bench): Promise<unknown> => {
  const app = await bench.app('seeded')
  const token = await bench.token(app, await bench.install(app))
  const { headers } = await bench.call('/meta')
  return [app.id, app.clientId, token, headers.get('x-github-request-id')?.slice(0, -9)]
}

test('requests in between do not change what a seed gives', async t => {
  const tokens: string[] = []
  for (const polls of [0, 3]) {
    const bench = await createBench(t, { seed: 5 })
    const app = await bench.app('polled')
    const installation = await bench.install(app)
    for (let n = 0; n < polls; n += 1) await bench.call('/app', { authorization: bench.jwt(app) })
    tokens.push(await bench.token(app, installation))
  }
  t.is(tokens[0], tokens[1])
})

test("an installation's quota grows with its repositories", async t => {
  const bench = await createBench(t)
  const app = await bench.app('grows')
  for (let n = 0; n < 20; n += 1) await bench.control('repositories', { owner: 'octo-org', name: `more-${n}` })
  const authorization = `Bearer ${await bench.token(app, await bench.install(app))}`
  t.is((await bench.call('/repos/octo-org/web', { authorization })).headers.get('x-ratelimit-limit'), '5200')
})

test('the same seed gives the same ids, codes and tokens; a reset begins again', async t => {
  const one = await createBench(t, { seed: 42 })
  const first = await run(one)
  t.deepEqual(await run(await createBench(t, { seed: 42 })), first)
  await one.control('reset', {})
  t.deepEqual(await run(one), first)
  t.notDeepEqual(await run(await createBench(t, { seed: 43 })), first)
  t.notDeepEqual(await run(await createBench(t)), first)
})

test("the sandbox knows GitHub's permissions, no more and no fewer", async t => {
  const slice = await readSlice()
  const components = isObject(slice['components']) ? slice['components'] : {}
  const schemas = isObject(components['schemas']) ? components['schemas'] : {}
  const { properties } = z
    .object({ properties: z.record(z.string(), z.object({ enum: z.array(z.string()) })) })
    .parse(schemas['app-permissions'])
  const described = Object.entries(properties).map(([name, { enum: levels }]) => [name, levels])
  t.deepEqual(Object.fromEntries(PERMISSION_LEVELS), Object.fromEntries(described))
})
