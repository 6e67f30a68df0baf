// Who gets onto the settings page, and who does not: links, cookies, sessions, other sites and other names.

import test, { type ExecutionContext } from 'ava'
import { createWebRig, sessionOf } from '../support/web-rig.ts'
import { peerOf } from '../support/operations-rig.ts'

const MINUTE_MS = 60_000

const rigFor = async (
  t: { teardown(end: () => Promise<void>): void },
  options?: Parameters<typeof createWebRig>[0],
) => {
  const rig = await createWebRig(options)
  t.teardown(() => rig.close())
  return rig
}

/** What each answer bears. */
const assertProtected = (
  t: ExecutionContext,
  { headers }: { headers: Readonly<Record<string, string | string[] | undefined>> },
  what: string,
): void => {
  t.is(
    headers['content-security-policy'],
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self' https://github.com; frame-ancestors 'none'; base-uri 'none'",
    what,
  )
  t.is(headers['x-frame-options'], 'DENY', what)
  t.is(headers['x-content-type-options'], 'nosniff', what)
  t.is(headers['referrer-policy'], 'strict-origin', what)
  t.is(headers['cache-control'], 'no-store', what)
}

test('a link signs in once, and looking at it does not use it up', async t => {
  const rig = await rigFor(t)
  const { code } = rig.links.issue(peerOf(1_000))
  for (const method of ['GET', 'HEAD', 'GET'] as const) {
    const looked = await rig.send(`/sign-in/${code}`, { method, headers: { 'sec-purpose': 'prefetch' } })
    t.is(looked.status, 200, method)
    t.is(looked.headers['set-cookie'], undefined)
  }
  const first = await rig.send(`/sign-in/${code}`, { method: 'POST', headers: rig.fromHere })
  t.is(first.status, 303)
  t.regex(first.headers.location ?? '', /^\/s\/[0-9a-f]{32}\/$/)
  const replayed = await rig.send(`/sign-in/${code}`, { method: 'POST', headers: rig.fromHere })
  t.is(replayed.status, 401)
  t.is(replayed.headers['set-cookie'], undefined)
  t.is((await rig.send(`/sign-in/${code}`)).status, 401)
  t.deepEqual(rig.audited().at(-1), { event: 'admin.request', detail: 'page: sign in', uid: 1_000 })
})

test('a link ends after five minutes, by whichever clock', async t => {
  const rig = await rigFor(t)
  const [first, second, third] = [0, 1, 2].map(() => rig.links.issue(peerOf(0)).code)
  await rig.clock.advance(5 * MINUTE_MS - 1)
  t.is((await rig.send(`/sign-in/${first}`)).status, 200)
  rig.clock.setWallBy(-60 * MINUTE_MS)
  await rig.clock.advance(1)
  t.is((await rig.send(`/sign-in/${second}`)).status, 401)
  t.is((await rig.send(`/sign-in/${third}`, { method: 'POST', headers: rig.fromHere })).status, 401)
})

test('a program that asks for links in a loop fills no memory', async t => {
  const rig = await rigFor(t)
  const codes = Array.from({ length: 40 }, () => rig.links.issue(peerOf(0)).code)
  t.is(rig.links.find(codes[0] ?? ''), undefined)
  t.truthy(rig.links.find(codes.at(-1) ?? ''))
})

test('the cookie is for one path that nobody can guess, for no script, and for no other site', async t => {
  const rig = await rigFor(t)
  const { setCookie, prefix, cookie } = await rig.signIn()
  t.regex(setCookie, /^ghconnect_session=[\w-]{43}; Path=\/s\/[0-9a-f]{32}; HttpOnly; SameSite=Strict$/)
  t.true(setCookie.includes(`Path=${prefix};`))
  const other = await rig.signIn()
  t.not(other.prefix, prefix)
  const crossed = await rig.send(`${other.prefix}/`, { headers: { cookie } })
  t.is(crossed.status, 401, "one session's cookie opens no other session's path")
})

test('behind https the cookie is for https alone', async t => {
  const rig = await rigFor(t, { settings: { bases: ['https://ghe.example.com:8443'] } })
  const { code } = rig.links.issue(peerOf(0))
  const headers = { host: 'ghe.example.com:8443', origin: 'https://ghe.example.com:8443' }
  const { setCookie } = sessionOf(await rig.send(`/sign-in/${code}`, { method: 'POST', headers }), rig)
  t.regex(setCookie, /; Secure/)
})

test('without the cookie there is nothing to see, and a guessed path tells nothing', async t => {
  const rig = await rigFor(t)
  const { prefix, cookie, get } = await rig.signIn()
  t.is((await get('/')).status, 200)
  const [bare, wrong, guessed] = await Promise.all([
    rig.send(`${prefix}/`),
    rig.send(`${prefix}/`, { headers: { cookie: `${cookie}x` } }),
    rig.send(`/s/${'0'.repeat(32)}/`, { headers: { cookie } }),
  ])
  for (const page of [bare, wrong, guessed]) t.is(page?.status, 401)
  t.is(bare?.text.replaceAll(prefix, ''), guessed?.text.replaceAll(`/s/${'0'.repeat(32)}`, ''))
  for (const path of ['/', '/signed-out', '/done']) {
    const page = await rig.send(path)
    t.is(page.status, 200, path)
    t.notRegex(page.text, /csrf" value="[^"]/, path)
  }
})

test('a session ends after fifteen idle minutes, and what the page fetches by itself keeps nobody signed in', async t => {
  const rig = await rigFor(t)
  const { get } = await rig.signIn()
  await rig.clock.advance(14 * MINUTE_MS)
  t.is((await get('/')).status, 200)
  await rig.clock.advance(14 * MINUTE_MS)
  t.is((await get('/', { 'sec-fetch-dest': 'empty' })).status, 200)
  await rig.clock.advance(MINUTE_MS)
  t.is((await get('/')).status, 401)
})

test('a machine that slept wakes up without sessions', async t => {
  const rig = await rigFor(t)
  const { get } = await rig.signIn()
  rig.clock.sleepMachine(16 * MINUTE_MS)
  t.is((await get('/')).status, 401)
})

test('of many sessions the one that was idle longest gives way', async t => {
  const rig = await rigFor(t)
  const first = await rig.signIn()
  const second = await rig.signIn()
  for (let times = 0; times < 31; times++) {
    t.is((await first.get('/')).status, 200)
    await rig.signIn()
  }
  t.is((await first.get('/')).status, 200)
  t.is((await second.get('/')).status, 401)
})

test('signing out ends the session and the events that it listened to', async t => {
  const rig = await rigFor(t)
  const { post, get, prefix, cookie } = await rig.signIn()
  const stream = rig.send(`${prefix}/events`, { headers: { cookie } })
  rig.events.emit({ event: 'token-refreshed', scope: 'octo-org', detail: 'no business of a browser' })
  const out = await post('/sign-out')
  t.is(out.status, 303)
  t.is(out.headers.location, '/signed-out')
  t.is((await get('/')).status, 401)
  const { status, headers, text } = await stream
  t.is(status, 200)
  t.regex(headers['content-type'] ?? '', /^text\/event-stream/)
  t.notRegex(text, /octo-org|no business/)
  t.deepEqual(rig.audited().at(-1), { event: 'admin.request', detail: 'page: sign out', uid: 0 })
})

test('events end with an idle session, though its page is open', async t => {
  const rig = await rigFor(t)
  const { prefix, cookie } = await rig.signIn()
  const stream = rig.send(`${prefix}/events`, { headers: { cookie } })
  await new Promise(resolve => void setImmediate(resolve))
  await rig.clock.advance(16 * MINUTE_MS)
  t.is((await stream).status, 200)
})

test('a name that was made to point here is refused, on every path', async t => {
  const rig = await rigFor(t)
  const { code } = rig.links.issue(peerOf(0))
  const { prefix, cookie } = await rig.signIn()
  for (const path of [
    '/',
    `/sign-in/${code}`,
    '/callback?code=abcdefgh&state=x',
    '/setup',
    '/done',
    `${prefix}/`,
    '/style.css',
  ]) {
    for (const host of ['evil.example', `evil.example:${rig.port}`, 'localhost', '127.0.0.1']) {
      const answer = await rig.send(path, { headers: { host, cookie } })
      t.is(answer.status, 421, `${path} as ${host}`)
      assertProtected(t, answer, `${path} as ${host}`)
    }
  }
})

const FOREIGN: readonly Readonly<Record<string, string>>[] = [
  { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
  { origin: 'https://evil.example' },
  { origin: 'null', 'sec-fetch-site': 'cross-site' },
  { origin: 'null' },
  { 'sec-fetch-site': 'same-site' },
  { 'sec-fetch-site': 'none' },
  { origin: 'http://127.0.0.1:1', 'sec-fetch-site': 'same-site' },
  {},
]

test('a form that another site sends does nothing, whatever it knows', async t => {
  const rig = await rigFor(t)
  const { prefix, cookie, csrfOf } = await rig.signIn()
  const csrf = await csrfOf()
  const { code } = rig.links.issue(peerOf(0))
  const before = rig.disk.audit.length
  for (const headers of FOREIGN) {
    for (const path of ['/enable', '/disable', '/import', '/cancel', '/sign-out', '/refresh', '/unlock']) {
      const answer = await rig.send(prefix + path, { method: 'POST', headers: { cookie, ...headers }, form: { csrf } })
      t.is(answer.status, 403, `${path} ${JSON.stringify(headers)}`)
    }
    const signedIn = await rig.send(`/sign-in/${code}`, { method: 'POST', headers })
    t.is(signedIn.status, 403)
  }
  t.is(rig.disk.audit.length, before, 'nothing was done')
  t.truthy(rig.links.find(code), 'nor was the link used up')
})

test('a form without the token of its session does nothing', async t => {
  const rig = await rigFor(t)
  const { prefix, cookie, csrfOf } = await rig.signIn()
  const other = await (await rig.signIn()).csrfOf()
  const csrf = await csrfOf()
  const before = rig.disk.audit.length
  for (const form of [
    {},
    { csrf: '' },
    { csrf: other },
    { csrf: `${csrf}x` },
    { csrf: csrf.toUpperCase() },
    { xsrf: csrf },
  ]) {
    const answer = await rig.send(`${prefix}/sign-out`, { method: 'POST', headers: { cookie, ...rig.fromHere }, form })
    t.is(answer.status, 403, JSON.stringify(form))
  }
  t.is(rig.disk.audit.length, before)
})

test('what is no form, and what is too large, is refused', async t => {
  const rig = await rigFor(t)
  const { prefix, cookie, csrfOf } = await rig.signIn()
  const headers = { cookie, ...rig.fromHere }
  const json = await rig.send(`${prefix}/enable`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ csrf: await csrfOf() }),
  })
  t.is(json.status, 403)
  const broken = await rig.send(`${prefix}/enable`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'multipart/form-data; boundary=x' },
    body: 'not at all',
  })
  t.is(broken.status, 400)
  const form = { csrf: await csrfOf(), private_key: 'x'.repeat(200_000) }
  t.is((await rig.send(`${prefix}/import`, { method: 'POST', headers, form })).status, 413)
})

test('no page can be framed, kept, or made to load anything from elsewhere', async t => {
  const rig = await rigFor(t)
  const { code } = rig.links.issue(peerOf(0))
  const { prefix, cookie } = await rig.signIn()
  for (const path of [
    '/',
    `/sign-in/${code}`,
    '/sign-in/none',
    '/callback',
    '/done',
    '/nowhere',
    `${prefix}/`,
    `${prefix}/x`,
  ]) {
    const { headers, text } = await rig.send(path, { headers: { cookie } })
    assertProtected(t, { headers }, path)
    t.notRegex(text, /<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:/i, path)
  }
})

test('requests without a session share an allowance, and whoever is signed in has no part in it', async t => {
  let isLeft = true
  const rig = await rigFor(t, {
    takeStranger() {
      // The refusal waits for its time as soon as this has returned.
      if (!isLeft) setImmediate(() => void rig.clock.advance(250))
      return isLeft
    },
  })
  const { prefix, cookie, get } = await rig.signIn()
  isLeft = false
  for (const path of ['/', '/done', '/nowhere', `${prefix}/`, `/s/${'0'.repeat(32)}/`]) {
    const refused = await rig.send(path)
    t.is(refused.status, 429, path)
    t.is(refused.headers['retry-after'], '1')
  }
  t.is((await rig.send(`${prefix}/`, { headers: { cookie: 'ghconnect_session=AAAA' } })).status, 429)
  t.is((await rig.send(`${prefix}x/`, { headers: { cookie } })).status, 429)
  t.is((await get('/')).status, 200)
})

test('a clock that is set back prolongs no session', async t => {
  const rig = await rigFor(t)
  const { get } = await rig.signIn()
  rig.clock.setWallBy(-60 * MINUTE_MS)
  await rig.clock.advance(16 * MINUTE_MS)
  t.is((await get('/')).status, 401)
})
