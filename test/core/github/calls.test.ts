// Calls one by one: what is told of each, which settings hold for it, what is asked of GitHub and what comes of the answer.

import test from 'ava'
import { type Code, Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { appBody, installationBody, tokenBody } from './bodies.ts'
import { fakeClock, fakeGitHub, makeKey, refusal, type Reply, REQUEST_ID, type Responder } from './fakes.ts'

const AT = Date.parse('2026-06-01T12:00:00Z')
const key = makeKey()
const as = { issuer: '42', keys: [key] }
const TEXT = `ghs_${'a1B2'.repeat(9)}`
const token = new Secret(TEXT)
const NOT_DECODED = 'A JSON web token could not be decoded'

const replying = (...replies: (Reply | Error)[]): Responder => {
  let next = 0
  return () => replies[Math.min(next++, replies.length - 1)] ?? {}
}
const codeOf = async (promise: Promise<unknown>): Promise<Code> => {
  try {
    await promise
  } catch (error) {
    if (error instanceof Failure) return error.code
    throw error
  }
  throw new Error('it did not fail')
}
const limits = (remaining: number) => ({
  'x-ratelimit-limit': '5000',
  'x-ratelimit-remaining': String(remaining),
  'x-ratelimit-reset': String(AT / 1000 + 600),
})

test('of each call its route, its seconds and whether GitHub answered are told, however it ends', async t => {
  const clock = fakeClock(AT)
  const replies = replying(
    { body: appBody() },
    refusal(503, 'No server is currently available'),
    { headers: { 'x-github-request-id': '' } },
    new Failure('tls', 'on the way'),
    { status: 201, body: tokenBody(TEXT) },
  )
  const { github, ended } = fakeGitHub(
    call => {
      clock.advance(1_500)
      return replies(call)
    },
    { clock },
  )
  await github.getApp(as)
  t.is(await codeOf(github.getApp(as)), 'github-outage')
  t.is(await codeOf(github.accepts(token)), 'portal')
  t.is(await codeOf(github.getInstallation(as, 7)), 'tls')
  await github.mint(as, { installation: 7 })
  t.deepEqual(ended, [
    { route: 'GET /app', seconds: 1.5, answered: true },
    { route: 'GET /app', seconds: 1.5, answered: true },
    { route: 'GET /installation/repositories', seconds: 1.5, answered: false },
    { route: 'GET /app/installations/{installation_id}', seconds: 1.5, answered: false },
    { route: 'POST /app/installations/{installation_id}/access_tokens', seconds: 1.5, answered: true },
  ])
})

test('settings that changed hold for the next call, and what another GitHub answered is not taken for its own', async t => {
  const { github, calls, change } = fakeGitHub(
    replying(
      { body: appBody(), headers: { etag: '"1"' } },
      { body: appBody({ id: 43 }), headers: { etag: '"1"' } },
      { status: 304, body: '' },
    ),
  )
  t.is((await github.getApp(as)).id, 42)
  change({ apiUrl: 'https://ghe.example.com/api/v3', apiVersion: '2030-01-01' })
  t.is((await github.getApp(as)).id, 43)
  change({ apiUrl: 'https://api.github.com' })
  t.is((await github.getApp(as)).id, 42)
  t.deepEqual(
    calls.map(({ url, headers }) => [url, headers['x-github-api-version'], headers['if-none-match']]),
    [
      ['https://api.github.com/app', '2026-03-10', undefined],
      ['https://ghe.example.com/api/v3/app', '2030-01-01', undefined],
      ['https://api.github.com/app', '2030-01-01', '"1"'],
    ],
  )
})

test('where the pages are is asked without credentials, and an answer that does not say so is none', async t => {
  const named = { current_user_authorizations_html_url: 'https://github.com/settings/connections/applications{/id}' }
  for (const [body, expected] of [
    [named, named.current_user_authorizations_html_url],
    [{}, undefined],
    [{ current_user_authorizations_html_url: 7 }, undefined],
    [{ current_user_authorizations_html_url: 'no address' }, undefined],
  ] as const) {
    const { github, calls } = fakeGitHub(replying({ body }))
    t.is(await github.findPagesUrl(), expected)
    t.deepEqual(
      calls.map(({ method, url, headers }) => [method, url, headers['authorization']]),
      [['GET', 'https://api.github.com/', undefined]],
    )
  }
  const { github } = fakeGitHub(replying({ body: [] }))
  t.is(await codeOf(github.findPagesUrl()), 'github-unexpected')
})

test('lists are asked for in pages of a hundred, each with its own ETag, and tell when an installation was changed', async t => {
  const link = { link: '<x>; rel="next"' }
  const body = (id: number, more: object = {}) => [{ ...installationBody(id), ...more }]
  const { github, calls } = fakeGitHub(
    replying(
      { body: body(7, { updated_at: '2026-05-01T00:00:00Z' }), headers: { etag: '"a"', ...link } },
      { body: body(8, { updated_at: null }), headers: { etag: '"b"' } },
      { status: 304, body: '' },
      { body: body(9, { updated_at: '2026-05-02T00:00:00+02:00' }), headers: { etag: '"c"' } },
    ),
  )
  t.is(github.findChangedMs(7), undefined)
  await github.listInstallations(as)
  t.deepEqual(
    [7, 8, 9].map(id => github.findChangedMs(id)),
    [Date.UTC(2026, 4, 1), 0, undefined],
  )
  t.deepEqual(
    (await github.listInstallations(as)).map(({ id }) => id),
    [7, 9],
  )
  t.is(github.findChangedMs(9), Date.UTC(2026, 4, 1, 22))
  t.deepEqual(
    calls.map(({ url, headers }) => [url.replace(/.*\?/, ''), headers['if-none-match']]),
    [
      ['per_page=100&page=1', undefined],
      ['per_page=100&page=2', undefined],
      ['per_page=100&page=1', '"a"'],
      ['per_page=100&page=2', '"b"'],
    ],
  )
})

test('an answer without an ETag makes the one before it forgotten', async t => {
  const { github, calls } = fakeGitHub(
    replying({ body: appBody(), headers: { etag: '"1"' } }, { body: appBody() }, { body: appBody() }),
  )
  for (let times = 0; times < 3; times++) await github.getApp(as)
  t.deepEqual(
    calls.map(({ headers }) => headers['if-none-match']),
    [undefined, '"1"', undefined],
  )
})

test('a list of repositories with one that cannot be read on any of its pages is not whole', async t => {
  const page = (...repositories: unknown[]): Reply => ({ body: { total_count: 3, repositories } })
  const next = { headers: { link: '<x>; rel="next"' } }
  const { github, calls } = fakeGitHub(replying({ ...page({ id: 'x' }), ...next }, page({ id: 2, name: 'api' })))
  t.deepEqual(await github.listRepositories(token), { items: [{ id: 2, name: 'api' }], isWhole: false })
  t.deepEqual(
    calls.map(({ url }) => url.replace(/.*\?/, '')),
    ['per_page=100&page=1', 'per_page=100&page=2'],
  )
})

test('a look with a token costs one request, counts on the quota of its installation, and says how many there are', async t => {
  const { github, calls } = fakeGitHub(
    replying(
      { body: { total_count: 250, repositories: [{ name: 'web' }, { name: 'api' }] }, headers: limits(4_000) },
      { body: { repositories: [{ name: 'web' }] } },
      { body: { total_count: 'many', repositories: [{ name: 'web' }, { name: 'api' }] } },
    ),
    { clock: fakeClock(AT) },
  )
  t.deepEqual(await github.peekRepositories(token, 7), { total: 250, names: ['web', 'api'] })
  t.is(github.findQuota(7)?.remaining, 4_000)
  t.is((await github.peekRepositories(token, 7)).total, 1)
  t.is((await github.peekRepositories(token, 7)).total, 2)
  t.is(calls[0]?.url, 'https://api.github.com/installation/repositories?per_page=100')
  t.is(calls[0]?.headers['authorization'], `Bearer ${TEXT}`)
})

test('whether a token shows a repository is asked of GitHub, and only a 404 is a no', async t => {
  const of = { installation: 7, owner: 'octo-org', name: 'web' }
  const { github, calls } = fakeGitHub(
    replying({ body: { id: 9 }, headers: limits(3_000) }, refusal(404, 'Not Found'), refusal(503, 'No server')),
    { clock: fakeClock(AT) },
  )
  t.true(await github.hasRepository(token, of))
  t.is(github.findQuota(7)?.remaining, 3_000)
  t.false(await github.hasRepository(token, of))
  t.is(await codeOf(github.hasRepository(token, of)), 'github-outage')
  t.is(calls[0]?.url, 'https://api.github.com/repos/octo-org/web')
  t.is(calls[0]?.headers['authorization'], `Bearer ${TEXT}`)
})

test('the name of a repository is found by its id, also where it is another one than before', async t => {
  const { github, calls } = fakeGitHub(
    replying(
      { body: { id: 9, name: 'web', owner: { login: 'octo-org' } }, headers: limits(2_000) },
      refusal(404, 'Not Found'),
      refusal(429, 'rate limit'),
      { body: { id: 9, name: 'web' } },
    ),
    { clock: fakeClock(AT) },
  )
  const find = () => github.findRepository(token, { installation: 7, id: 9 })
  t.deepEqual(await find(), { owner: 'octo-org', name: 'web' })
  t.is(github.findQuota(7)?.remaining, 2_000)
  t.is(await find(), undefined)
  t.is(await codeOf(find()), 'quota')
  t.is(await codeOf(find()), 'github-unexpected')
  t.is(calls[0]?.url, 'https://api.github.com/repositories/9')
})

test('a token that GitHub has taken back is over at once, also where it was minted moments ago', async t => {
  const { github } = fakeGitHub(
    replying({ status: 201, body: tokenBody(TEXT) }, { status: 204 }, refusal(401, 'Bad credentials')),
    { clock: fakeClock(AT) },
  )
  const minted = await github.mint(as, { installation: 7 })
  await github.revoke(minted.token)
  await t.notThrowsAsync(github.revoke(minted.token))
})

test('500 repositories are few enough for a token, and an App without a key is an error of the program', async t => {
  const { github, calls } = fakeGitHub(replying({ status: 201, body: tokenBody(TEXT) }))
  const repositories = Array.from({ length: 500 }, (_, at) => `r${at}`)
  await t.notThrowsAsync(github.mint(as, { installation: 7, repositories }))
  t.is(calls.length, 1)
  t.is(await codeOf(github.getApp({ issuer: '42', keys: [] })), 'internal')
  t.is(calls.length, 1)
})

test('which key is rejected and which one works in its place is told once, by their fingerprints', async t => {
  const clock = fakeClock(AT)
  const second = makeKey()
  const rejected = refusal(401, NOT_DECODED)
  const { github, told } = fakeGitHub(replying(rejected, { body: appBody() }, rejected, { body: appBody() }), { clock })
  const both = { issuer: '42', keys: [key, second] }
  await github.getApp(both)
  clock.advance(60_000)
  await github.getApp(both)
  t.deepEqual(told, [{ rejected: key.fingerprint, works: second.fingerprint }])
})

test('what is new at GitHub is told once, by its name; and of a flood of it no more than 200 lines', async t => {
  const odd = (...names: string[]) => appBody({ permissions: Object.fromEntries(names.map(name => [name, 'none'])) })
  const many = Array.from({ length: 300 }, (_, at) => `p${at}`)
  const { github, told } = fakeGitHub(
    replying({ body: odd('one') }, { body: odd('one') }, { body: odd('two', 'one') }, { body: odd(...many) }),
  )
  for (let times = 0; times < 4; times++) await github.getApp(as)
  t.deepEqual(told.slice(0, 2), [
    { what: 'the level of the permission one' },
    { what: 'the level of the permission two' },
  ])
  t.is(told.length, 200)
})

test('a page on the way that breaks off is a portal all the same', async t => {
  const body = new ReadableStream({ start: controller => controller.error(new TypeError('terminated')) })
  const headers = { 'x-github-request-id': '', 'content-type': 'text/html' }
  const { github } = fakeGitHub(replying({ status: 200, body, headers }))
  t.is(await codeOf(github.getApp(as)), 'portal')
})

test('an answer that cannot be used is told by its route, its first three fields and the request id', async t => {
  const { github } = fakeGitHub(replying({ status: 201, body: { token: 7, expires_at: 'soon', repositories: 'x' } }))
  const failure = await t.throwsAsync(github.mint(as, { installation: 7 }), { instanceOf: Failure })
  t.regex(
    failure.message,
    /^GitHub's answer to POST \/app\/installations\/\{installation_id\}\/access_tokens cannot be used: token: .*; expires_at: .*; repositories: .* \(request C0DE:1234:5678\)$/,
  )
  t.is(REQUEST_ID, 'C0DE:1234:5678')
})

test('what GitHub is to remove is told to the log once, by its route and without the code that it was asked with', async t => {
  const headers = { deprecation: '@1780000000', sunset: 'Sat, 01 Jan 2028 00:00:00 GMT' }
  const { github, warnings } = fakeGitHub(
    replying({ status: 201, body: appBody({ pem: 'PRIVATE KEY' }), headers }, { body: appBody(), headers }),
  )
  await github.convertManifest('a1b2c3d4')
  for (let times = 0; times < 2; times++) await github.getApp(as)
  t.is(warnings.length, 2)
  t.regex(warnings[0] ?? '', /"POST \/app-manifests\/\{code\}\/conversions" is deprecated.*01 Jan 2028/)
  t.regex(warnings[1] ?? '', /"GET \/app" is deprecated/)
})

test('a refusal of a caller that GitHub knows tells the quota as well', async t => {
  for (const [status, message] of [
    [403, 'This installation has been suspended'],
    [422, 'The permissions requested are not granted to this installation.'],
    [429, 'rate limit'],
  ] as const) {
    const { github } = fakeGitHub(replying(refusal(status, message, limits(17))), { clock: fakeClock(AT) })
    await t.throwsAsync(github.mint(as, { installation: 7 }), { instanceOf: Failure })
    t.is(github.findQuota(7)?.remaining, 17, message)
  }
})

test('whether a token is taken is asked for a single repository, with that token', async t => {
  const { github, calls } = fakeGitHub(replying({ body: { total_count: 0, repositories: [] } }))
  t.true(await github.accepts(token))
  t.deepEqual(
    calls.map(({ url, headers }) => [url, headers['authorization']]),
    [['https://api.github.com/installation/repositories?per_page=1', `Bearer ${TEXT}`]],
  )
})
