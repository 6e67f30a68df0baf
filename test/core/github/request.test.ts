// The door to GitHub over a fake fetch: what is sent, what comes of each answer, and what never does.

import test from 'ava'
import * as fc from 'fast-check'
import { type Code, Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { appBody, installationBody, tokenBody } from './bodies.ts'
import { claimsOf, fakeClock, fakeGitHub, makeKey, refusal, type Reply, REQUEST_ID, type Responder } from './fakes.ts'

const AT = Date.parse('2026-06-01T12:00:00Z')
const key = makeKey()
const as = { issuer: 'Iv23liAbCdEf', keys: [key] }
const CLASSIC = `ghs_${'a1B2'.repeat(9)}`
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

test('an App call bears a JWT of ours, the pinned version and our name', async t => {
  const { github, calls } = fakeGitHub(replying({ body: appBody() }))
  t.deepEqual(await github.getApp(as), {
    id: 42,
    clientId: 'Iv23liAbCdEf',
    slug: 'ghe-example-com',
    name: 'ghe-example-com',
    owner: { type: 'organization', login: 'octo-org' },
    htmlUrl: 'https://github.com/apps/ghe-example-com',
    permissions: { contents: 'read', metadata: 'read' },
  })
  t.is(calls.length, 1)
  t.is(calls[0]?.url, 'https://api.github.com/app')
  t.is(calls[0]?.headers['x-github-api-version'], '2026-03-10')
  t.is(calls[0]?.headers['user-agent'], 'ghconnectd/test')
  t.is(claimsOf(calls[0]?.headers['authorization']).iss, 'Iv23liAbCdEf')
})

test('each mint is a call of its own that bears the scope and nothing else, and auth-app never keeps the token', async t => {
  let count = 0
  const { github, calls } = fakeGitHub(() => ({ status: 201, body: tokenBody(`${CLASSIC}${count++}`) }))
  const byName = await github.mint(as, { installation: 7, repositories: ['contents'] })
  const byPermission = await github.mint(as, { installation: 7, permissions: { contents: 'read' } })
  const again = await github.mint(as, { installation: 7, repositories: ['contents'] })
  t.is(new Set([byName, byPermission, again].map(minted => minted.token.reveal())).size, 3)
  t.deepEqual(
    calls.map(call => [call.method, call.url, call.body]),
    [{ repositories: ['contents'] }, { permissions: { contents: 'read' } }, { repositories: ['contents'] }].map(
      body => ['POST', 'https://api.github.com/app/installations/7/access_tokens', body],
    ),
  )
})

test('a minted token comes with its end and the scope that GitHub says it has', async t => {
  const { github } = fakeGitHub(replying({ status: 201, body: tokenBody(CLASSIC) }))
  const minted = await github.mint(as, { installation: 7, repositories: ['web'], permissions: { contents: 'read' } })
  t.is(minted.token.reveal(), CLASSIC)
  t.is(minted.expiresAtMs, AT + 3_600_000)
  t.deepEqual(minted.granted, { permissions: { contents: 'read', metadata: 'read' }, repositories: ['web'] })
})

test('the format of tokens is asked for where a setting says so, and at the mint alone', async t => {
  for (const statelessTokens of ['default', 'enabled', 'disabled'] as const) {
    const { github, calls } = fakeGitHub(replying({ status: 201, body: tokenBody(CLASSIC) }, { body: appBody() }), {
      settings: { statelessTokens },
    })
    await github.mint(as, { installation: 7 })
    await github.getApp(as)
    const expected = statelessTokens === 'default' ? undefined : statelessTokens
    t.is(calls[0]?.headers['x-github-stateless-s2s-token'], expected)
    t.is(calls[1]?.headers['x-github-stateless-s2s-token'], undefined)
  }
})

test('an API below a path is called there, with or without a slash at its end', async t => {
  for (const apiUrl of ['https://ghe.example.com/api/v3', 'https://ghe.example.com/api/v3/']) {
    const { github, calls } = fakeGitHub(replying({ body: appBody() }), { settings: { apiUrl } })
    await github.getApp(as)
    t.is(calls[0]?.url, 'https://ghe.example.com/api/v3/app')
    t.truthy(calls[0]?.headers['authorization'])
  }
})

test('an empty list, which GitHub would take for no restriction, is refused before any call', async t => {
  const { github, calls } = fakeGitHub(replying({ status: 201, body: tokenBody(CLASSIC) }))
  t.is(await codeOf(github.mint(as, { installation: 7, repositories: [] })), 'invalid-request')
  t.is(await codeOf(github.mint(as, { installation: 7, permissions: {} })), 'invalid-request')
  const many = Array.from({ length: 501 }, (_, index) => `r${index}`)
  t.is(await codeOf(github.mint(as, { installation: 7, repositories: many })), 'invalid-request')
  t.is(calls.length, 0)
})

test('half an answer is github-unexpected, never an empty token', async t => {
  const whole = tokenBody(CLASSIC)
  const halves: Reply['body'][] = [
    '',
    '{"token":"ghs_',
    'null',
    '[]',
    { ...whole, token: undefined },
    { ...whole, expires_at: undefined },
    { ...whole, token: '' },
    { ...whole, token: 'ghs_a\r\nx: y' },
    { ...whole, expires_at: 'soon' },
    { ...whole, repositories: [{}] },
  ]
  for (const body of halves) {
    const { github } = fakeGitHub(replying({ status: 201, body }))
    const failure = await t.throwsAsync(github.mint(as, { installation: 7 }), { instanceOf: Failure })
    t.is(failure.code, 'github-unexpected', JSON.stringify(body))
    t.true(failure.message.includes(REQUEST_ID))
    t.false(failure.message.includes('ghs_'))
  }
})

test('any body of a 201 gives a token as it stands there, or github-unexpected', async t => {
  await fc.assert(
    fc.asyncProperty(fc.json(), fc.option(fc.string()), async (json, token) => {
      const body = token === null ? json : JSON.stringify(tokenBody(token))
      const { github } = fakeGitHub(replying({ status: 201, body }))
      try {
        const minted = await github.mint(as, { installation: 7 })
        t.is<string | null, string | null>(minted.token.reveal(), token)
        t.not(token, '')
      } catch (error) {
        if (!(error instanceof Failure)) throw error
        t.is(error.code, 'github-unexpected')
      }
    }),
  )
})

test('an answer without a request id is a portal and teaches no clock, whatever it says', async t => {
  const timeSkew = "'Expiration time' claim ('exp') is too far in the future"
  const elsewhere = new Date(AT + 9_000_000).toUTCString()
  for (const status of [200, 201, 204, 302, 401, 403, 404, 407, 503]) {
    const headers = { 'x-github-request-id': '', date: elsewhere, 'content-type': 'text/html' }
    const { github, githubClock, calls } = fakeGitHub(replying({ status, headers, body: `<title>${timeSkew}</title>` }))
    t.is(await codeOf(github.mint(as, { installation: 7 })), 'portal')
    t.is(await codeOf(github.revoke(new Secret(CLASSIC))), 'portal')
    t.is(githubClock.offsetMs(), 0)
    t.is(calls.length, 2, 'and is not tried again')
  }
})

test('a failure of the outbound door comes out as the same object', async t => {
  for (const code of ['proxy-refused', 'proxy-authentication', 'dns', 'tls', 'timeout', 'unreachable'] as const) {
    const failure = new Failure(code, 'on the way')
    const { github, calls } = fakeGitHub(replying(failure))
    t.is(await t.throwsAsync(github.getApp(as)), failure)
    t.is(await t.throwsAsync(github.convertManifest('abcdef01')), failure)
    t.is(await t.throwsAsync(github.accepts(new Secret(CLASSIC))), failure)
    t.is(calls.length, 3)
  }
})

test('what fetch throws without a name is unreachable', async t => {
  const { github } = fakeGitHub(replying(new TypeError('fetch failed')))
  t.is(await codeOf(github.getApp(as)), 'unreachable')
})

for (const minutes of [-300, -12, -5, 5, 12, 300]) {
  test(`a machine ${minutes} minutes off calls once more at most with GitHub's time, and right from then on`, async t => {
    const clock = fakeClock(AT + minutes * 60_000)
    const { github, calls, githubClock } = fakeGitHub(
      call => {
        const { iat, exp } = claimsOf(call.headers['authorization'])
        const nowS = AT / 1000
        if (iat > nowS) {
          return refusal(
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
          )
        }
        if (exp <= nowS) {
          return refusal(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
          )
        }
        return exp > nowS + 600
          ? refusal(401, "'Expiration time' claim ('exp') is too far in the future")
          : { body: appBody() }
      },
      { clock, githubNow: () => AT },
    )
    t.is((await github.getApp(as)).id, 42)
    t.true(calls.length <= 2)
    t.true(Math.abs(githubClock.offsetMs() + minutes * 60_000) < 2000)
    const before = calls.length
    await github.getApp(as)
    t.is(calls.length, before + 1)
  })
}

test('a clock that GitHub goes on to refuse is clock-skew after one more try', async t => {
  const { github, calls } = fakeGitHub(
    replying(refusal(401, "'Expiration time' claim ('exp') is too far in the future")),
  )
  t.is(await codeOf(github.getApp(as)), 'clock-skew')
  t.is(calls.length, 2)
})

test('where GitHub rejects the first key the next is tried, and the log says which one works', async t => {
  const second = makeKey()
  const clock = fakeClock(Date.parse('2026-06-01T12:00:00Z'))
  const respond = replying(
    refusal(401, NOT_DECODED),
    { body: appBody() },
    { body: appBody() },
    refusal(401, NOT_DECODED),
    { body: appBody() },
  )
  const { github, calls, warnings } = fakeGitHub(respond, { clock })
  const both = { issuer: '42', keys: [key, second] }
  t.is(github.keyState(key.fingerprint), 'unknown')
  t.is((await github.getApp(both)).id, 42)
  t.is(github.keyState(key.fingerprint), 'rejected')
  t.is(github.keyState(second.fingerprint), 'works')
  await github.getApp(both)
  t.is(calls.length, 3, 'the rejected one rests for a minute')
  t.is(calls[1]?.headers['authorization'], calls[2]?.headers['authorization'])
  clock.advance(60_000)
  await github.getApp(both)
  t.is(calls.length, 5, 'then it is tried again')
  t.not(calls[0]?.headers['authorization'], calls[1]?.headers['authorization'])
  t.is(warnings.filter(warning => warning.includes('another one works')).length, 1)
})

test('a key that was rejected signs again as soon as GitHub takes it', async t => {
  const second = makeKey()
  const clock = fakeClock(Date.parse('2026-06-01T12:00:00Z'))
  const respond = replying(refusal(401, NOT_DECODED), { body: appBody() }, { body: appBody() }, { body: appBody() })
  const { github, calls } = fakeGitHub(respond, { clock })
  const both = { issuer: '42', keys: [key, second] }
  await github.getApp(both)
  clock.advance(60_000)
  await github.getApp(both)
  t.is(github.keyState(key.fingerprint), 'works')
  await github.getApp(both)
  t.is(calls.length, 4)
  t.is(calls[2]?.headers['authorization'], calls[3]?.headers['authorization'])
})

test('where all keys are rejected it is key-rejected, and no other refusal makes the next key try', async t => {
  const both = { issuer: '42', keys: [key, makeKey()] }
  const rejected = fakeGitHub(replying(refusal(401, NOT_DECODED)))
  t.is(await codeOf(rejected.github.getApp(both)), 'key-rejected')
  t.is(rejected.calls.length, 2)
  const deleted = fakeGitHub(replying(refusal(404, 'Integration not found')))
  t.is(await codeOf(deleted.github.getApp(both)), 'app-not-found')
  t.is(deleted.calls.length, 1)
})

test('a manifest is converted without credentials, and the key comes as a secret', async t => {
  const pem = '-----BEGIN RSA PRIVATE KEY-----\nAA==\n-----END RSA PRIVATE KEY-----\n'
  const body = appBody({ pem, client_secret: 's', webhook_secret: null, permissions: { contents: 'read', x: 'new' } })
  const { github, calls } = fakeGitHub(replying({ status: 201, body }))
  const { app, pem: secret } = await github.convertManifest('a1b2c3d4')
  t.is(secret.reveal(), pem)
  t.deepEqual(app.permissions, { contents: 'read' }, 'a level that is not known costs no key')
  t.is(calls[0]?.url, 'https://api.github.com/app-manifests/a1b2c3d4/conversions')
  t.is(calls[0]?.headers['authorization'], undefined)
})

test('a code that GitHub does not know is code-rejected, and the detail does not repeat it', async t => {
  for (const status of [404, 422]) {
    const { github } = fakeGitHub(replying(refusal(status, 'Not Found')))
    const failure = await t.throwsAsync(github.convertManifest('a1b2c3d4'), { instanceOf: Failure })
    t.is(failure.code, 'code-rejected')
    t.false(failure.message.includes('a1b2c3d4'))
  }
})

test('a conversion without a key in it is github-unexpected', async t => {
  for (const pem of [undefined, null, '', 'x']) {
    const { github } = fakeGitHub(replying({ status: 201, body: appBody({ pem }) }))
    t.is(await codeOf(github.convertManifest('a1b2c3d4')), 'github-unexpected')
  }
})

test('a token is revoked with itself, and one that GitHub refuses already is as good as revoked', async t => {
  const { github, calls } = fakeGitHub(replying({ status: 204 }, refusal(401, 'Bad credentials')))
  await github.revoke(new Secret(CLASSIC))
  await github.revoke(new Secret(CLASSIC))
  t.is(calls[0]?.method, 'DELETE')
  t.is(calls[0]?.url, 'https://api.github.com/installation/token')
  t.is(calls[0]?.headers['authorization'], `Bearer ${CLASSIC}`)
})

test('a 401 for a token minted moments ago proves no revocation, as a replica may not know it yet', async t => {
  const clock = fakeClock(AT)
  const { github } = fakeGitHub(replying({ status: 201, body: tokenBody(CLASSIC) }, refusal(401, 'Bad credentials')), {
    clock,
  })
  const { token } = await github.mint(as, { installation: 7 })
  t.is(await codeOf(github.revoke(token)), 'bad-credentials')
  clock.advance(31_000)
  await t.notThrowsAsync(github.revoke(token))
})

test('an outage or a portal is no revocation', async t => {
  const { github } = fakeGitHub(replying(refusal(503, 'No server'), { headers: { 'x-github-request-id': '' } }))
  t.is(await codeOf(github.revoke(new Secret(CLASSIC))), 'github-outage')
  t.is(await codeOf(github.revoke(new Secret(CLASSIC))), 'portal')
})

test('whether a token is accepted is asked of GitHub, and no trouble on the way is an answer', async t => {
  const replies: [Reply, boolean | Code][] = [
    [{ body: { total_count: 0, repositories: [] } }, true],
    [refusal(401, 'Bad credentials'), false],
    [refusal(403, 'Resource not accessible by integration'), false],
    [refusal(403, 'This installation has been suspended'), false],
    [refusal(503, 'No server'), 'github-outage'],
    [refusal(429, 'rate limit'), 'quota'],
    [{ headers: { 'x-github-request-id': '' } }, 'portal'],
  ]
  for (const [reply, expected] of replies) {
    const { github } = fakeGitHub(replying(reply))
    const accepted = github.accepts(new Secret(CLASSIC))
    t.is(await (typeof expected === 'boolean' ? accepted : codeOf(accepted)), expected)
  }
})

test('installations and repositories are listed over all pages', async t => {
  const { github, calls } = fakeGitHub(call => {
    const page = Number(new URL(call.url).searchParams.get('page'))
    const headers: Record<string, string> =
      page < 3 ? { link: '<https://elsewhere.example/>; rel="next"' } : { link: '<x>; rel="first"' }
    return call.url.includes('/app/')
      ? { headers, body: [installationBody(page)] }
      : { headers, body: { total_count: 3, repositories: [{ id: page, name: `r${page}`, private: true }] } }
  })
  const installations = await github.listInstallations(as)
  t.deepEqual(
    installations.map(installation => installation.id),
    [1, 2, 3],
  )
  t.deepEqual(await github.listRepositories(new Secret(CLASSIC)), {
    isWhole: true,
    items: [
      { id: 1, name: 'r1' },
      { id: 2, name: 'r2' },
      { id: 3, name: 'r3' },
    ],
  })
  t.true(calls.every(call => call.url.startsWith('https://api.github.com/')))
})

test('an App that is not installed there any more, or is gone, counts as uninstalled', async t => {
  for (const reply of [{ status: 204 }, refusal(404, 'Not Found'), refusal(404, 'Integration not found')]) {
    const { github, calls } = fakeGitHub(replying(reply))
    await github.uninstall(as, 7)
    t.is(calls[0]?.method, 'DELETE')
    t.is(calls[0]?.url, 'https://api.github.com/app/installations/7')
  }
  const { github } = fakeGitHub(replying(refusal(401, NOT_DECODED)))
  t.is(await codeOf(github.uninstall(as, 7)), 'key-rejected')
})

test('the limit that GitHub tells to whom it does not know is no quota of an installation', async t => {
  const anonymous = {
    'x-ratelimit-limit': '60',
    'x-ratelimit-remaining': '57',
    'x-ratelimit-reset': String(AT / 1000 + 600),
    'x-ratelimit-resource': 'core',
  }
  for (const [status, message] of [
    [401, 'Bad credentials'],
    [404, 'Integration not found'],
    [503, 'No server is currently available'],
  ] as const) {
    const { github } = fakeGitHub(replying(refusal(status, message, anonymous)), { clock: fakeClock(AT) })
    await t.throwsAsync(github.mint(as, { installation: 7 }), { instanceOf: Failure })
    t.is(github.findQuota(7), undefined, message)
  }
})

test('the quota of an installation is remembered from its mints and tokens, until its window ends', async t => {
  const clock = fakeClock(AT)
  const limits = (remaining: number) => ({
    'x-ratelimit-limit': '5000',
    'x-ratelimit-remaining': String(remaining),
    'x-ratelimit-reset': String(AT / 1000 + 600),
    'x-ratelimit-resource': 'core',
  })
  const { github } = fakeGitHub(
    replying(
      { status: 201, body: tokenBody(CLASSIC), headers: limits(4000) },
      refusal(403, 'API rate limit exceeded for installation ID 7', limits(0)),
    ),
    { clock },
  )
  t.is(github.findQuota(7), undefined)
  const { token } = await github.mint(as, { installation: 7 })
  t.deepEqual(github.findQuota(7), { limit: 5000, remaining: 4000, resetAtMs: AT + 600_000 })
  const failure = await t.throwsAsync(github.accepts(token), { instanceOf: Failure })
  t.is(failure.code, 'quota')
  t.true((failure.retryAfterSeconds ?? 0) <= 600)
  t.is(github.findQuota(7)?.remaining, 0)
  t.is(github.findQuota(8), undefined)
  clock.advance(600_000)
  t.is(github.findQuota(7), undefined)
})

test('what a caller without credentials is told, and what an outage says, is no quota of the installation', async t => {
  const limits = (limit: number, remaining: number) => ({
    'x-ratelimit-limit': String(limit),
    'x-ratelimit-remaining': String(remaining),
    'x-ratelimit-reset': String(AT / 1000 + 600),
    'x-ratelimit-resource': 'core',
  })
  const { github } = fakeGitHub(
    replying(
      { status: 201, body: tokenBody(CLASSIC), headers: limits(5000, 4000) },
      refusal(401, 'Bad credentials', limits(60, 59)),
      refusal(503, 'No server is currently available', limits(60, 58)),
    ),
    { clock: fakeClock(AT) },
  )
  const { token } = await github.mint(as, { installation: 7 })
  t.false(await github.accepts(token))
  t.is(await codeOf(github.mint(as, { installation: 7 })), 'github-outage')
  t.is(github.findQuota(7)?.remaining, 4000)
})
