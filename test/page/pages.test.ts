// What the page's server does with single requests: names and languages, what is shown once, what is bounded, and what is written down.

import { request } from 'node:http'
import test, { type ExecutionContext } from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import { connectedRig, ORG, peerOf } from '../support/operations-rig.ts'
import { createWebRig, sessionOf, type WebRigOptions } from '../support/web-rig.ts'

const signedIn = async (t: ExecutionContext, options: WebRigOptions = {}, peer = peerOf(0)) => {
  const web = await createWebRig(options)
  t.teardown(() => web.close())
  const session = await web.signIn(peer)
  const fetchAs = (path: string) => session.get(path, { 'sec-fetch-dest': 'empty' })
  const requests = (): (string | undefined)[] =>
    web
      .audited()
      .filter(({ event }) => event === 'admin.request')
      .map(({ detail }) => detail)
  return { ...web, ...session, fetchAs, requests }
}

test('a page that is not there says so, to whoever asks, and writes nothing into the journal', async t => {
  const { send, get, log } = await signedIn(t)
  for (const page of [await send('/nowhere'), await get('/nowhere')]) {
    t.is(page.status, 404)
    t.regex(page.text, /<code>unknown-route<\/code>/)
  }
  t.deepEqual(
    log.lines.filter(({ level }) => level === 'error'),
    [],
  )
})

test('a name is the same in capitals, and the language is kept by https alone where the page is', async t => {
  const web = await createWebRig({ settings: { bases: ['http://localhost:1', 'https://ghe.example.com:8443'] } })
  t.teardown(() => web.close())
  const headers = { host: 'GHE.example.com:8443' }
  t.is((await web.send('/', { headers })).status, 200)
  const chosen = await web.send('/?lang=ja', { headers })
  t.is(chosen.headers.location, '/')
  t.regex(
    String(chosen.headers['set-cookie']),
    /^ghconnect_language=ja; Max-Age=31536000; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
  )
})

test('the link tells how long it is good, and so does the button of a visitor of the front', async t => {
  const web = await createWebRig({ settings: { frontUid: 33 }, peer: () => peerOf(33) })
  t.teardown(() => web.close())
  const { code } = web.links.issue(peerOf(0))
  await web.clock.advance(60_000)
  t.regex((await web.send(`/sign-in/${code}`)).text, /in 4 minutes/)
  const front = await web.send('/', { headers: { 'x-forwarded-user': 'alice' } })
  t.regex(front.text, /in 5 minutes/)
  const nobody = await web.send('/sign-in/front', { method: 'POST', headers: web.fromHere })
  t.is(nobody.status, 401, 'without a visitor it is a link like any other')
})

test('a header that is no name of a user is refused, on a page that is as closed as any', async t => {
  const web = await createWebRig({ settings: { frontUid: 33 }, peer: () => peerOf(33) })
  t.teardown(() => web.close())
  for (const [user, status] of [
    ['alice', 200],
    ['Jos\u00E9 P. (admin)', 400],
    ['a'.repeat(128), 200],
    ['a'.repeat(129), 400],
    [' -x', 400],
  ] as const) {
    const page = await web.send('/', { headers: { 'x-forwarded-user': Buffer.from(user).toString('latin1') } })
    t.is(page.status, status, user)
    t.is(page.headers['x-frame-options'], 'DENY')
    t.truthy(page.headers['content-security-policy'])
    t.is(page.headers['cache-control'], 'no-store')
  }
})

test('a form is taken where the browser says by either header that it came from here', async t => {
  const { send, prefix, cookie, csrfOf, host } = await signedIn(t)
  for (const headers of [{ origin: `http://${host}` }, { 'sec-fetch-site': 'same-origin' }]) {
    const form = { csrf: await csrfOf() }
    const answer = await send(`${prefix}/check`, { method: 'POST', headers: { cookie, ...headers }, form })
    t.is(answer.status, 303, JSON.stringify(headers))
  }
})

test('what was done is said once, to a person, and not to what the page fetches by itself', async t => {
  const { rig } = await connectedRig()
  const { post, get, fetchAs } = await signedIn(t, { rig })
  const SAID = /The tokens were refreshed\./
  const answer = await post('/refresh')
  t.is(answer.status, 303)
  t.regex((await fetchAs('/')).text, SAID)
  t.regex((await get('/')).text, SAID)
  t.notRegex((await get('/')).text, SAID)
  await post('/refresh')
  await post('/refresh')
  t.regex((await get('/keys')).text, SAID, 'on whichever page is opened next')
})

test('a form has at most 128 KiB, and says beforehand how long it is', async t => {
  const { send, prefix, cookie, csrfOf, fromHere, port, host } = await signedIn(t)
  const headers = { cookie, ...fromHere, 'content-type': 'application/x-www-form-urlencoded' }
  const start = `csrf=${await csrfOf()}&x=`
  const body = start.padEnd(128 * 1024, 'x')
  t.is((await send(`${prefix}/check`, { method: 'POST', headers, body })).status, 303)
  t.is((await send(`${prefix}/check`, { method: 'POST', headers, body: `${body}x` })).status, 413)
  const { promise, resolve } = Promise.withResolvers<number>()
  const chunked = request(
    { host: '127.0.0.1', port, path: `${prefix}/check`, method: 'POST', headers: { ...headers, host } },
    answer => (answer.resume(), resolve(answer.statusCode ?? 0)),
  )
  chunked.write(start)
  chunked.end()
  t.is(await promise, 400)
})

test('an open page is told at once only of what happened since it was made', async t => {
  const { send, get, prefix, cookie, events, post } = await signedIn(t)
  const streams: Promise<{ text: string }>[] = []
  for (const happens of [false, true]) {
    await get('/')
    if (happens) events.emit({ event: 'step' })
    streams.push(send(`${prefix}/events`, { headers: { cookie } }))
    // The next page is not to be the one that this stream belongs to.
    await send('/done')
  }
  await post('/sign-out')
  const [quiet, told] = await Promise.all(streams)
  t.regex(quiet?.text ?? '', /^: open\n/)
  t.regex(told?.text ?? '', /^data: /)
})

test('a check is noted, and its last report stays on the page', async t => {
  const { post, get, requests, prefix } = await signedIn(t)
  t.is((await post('/check')).headers.location, `${prefix}/check`)
  t.deepEqual(requests().slice(-1), ['page: check'])
  t.regex((await get('/check')).text, /It answers 407 to &lt;CONNECT&gt;/)
})

test('a row of the check cannot disguise what is around it', async t => {
  const { send, deps, prefix, cookie, csrfOf, fromHere } = await signedIn(t)
  const row = { layer: 'dns', verdict: 'ok', evidence: 'octo\u202Egro', took_ms: 1 } as const
  Object.assign(deps, {
    async check(tell: (one: typeof row) => void) {
      tell(row)
      throw new Failure('io', 'broken off')
    },
  })
  const headers = { cookie, ...fromHere, 'sec-fetch-dest': 'empty', accept: 'application/x-ndjson' }
  const { text } = await send(`${prefix}/check`, { method: 'POST', headers, form: { csrf: await csrfOf() } })
  t.regex(text, /octo\uFFFDgro/)
})

test('a deed that the log cannot take is in the journal, with who did it', async t => {
  const closed = new Failure('locked', 'no key')
  const peer = () => peerOf(33, { unit: 'nginx.service' })
  const web = await createWebRig({ settings: { frontUid: 33 }, peer, closed })
  t.teardown(() => web.close())
  const headers = { ...web.fromHere, 'x-forwarded-user': 'alice' }
  sessionOf(await web.send('/sign-in/front', { method: 'POST', headers }), web)
  t.deepEqual(web.log.lines, [
    {
      level: 'warn',
      message: 'what was done on the page is not in the audit log',
      fields: { deed: 'sign in', uid: 33, unit: 'nginx.service', name: 'alice', error: closed },
    },
  ])
})

test('a page that waits for GitHub is shown only while it does', async t => {
  const { get, post, rig, prefix } = await signedIn(t)
  t.is((await get('/enable')).headers.location, `${prefix}/`)
  await post('/enable', { type: 'organization', login: 'Octo-Org', terms: 'on', without_recovery_key: 'on' })
  t.is((await get('/enable')).status, 200)
  const { connection } = rig.connectionState.read()
  if (connection.kind !== 'awaiting-app') throw new Error(connection.kind)
  const conversion = { code: 'a-code', startedAtMs: 1 }
  rig.store.connection.write({ connection: { ...connection, conversion } })
  t.is((await get('/enable')).headers.location, `${prefix}/`)
})

test('the form that goes to GitHub is for a link that is pending, and for no enterprise', async t => {
  const { send, post, rig } = await signedIn(t)
  await post('/enable', { type: 'organization', login: 'Octo-Org', terms: 'on', without_recovery_key: 'on' })
  const { connection } = rig.connectionState.read()
  if (connection.kind !== 'awaiting-app') throw new Error(connection.kind)
  const { state } = connection
  const page = await send(`/enable/${state}`)
  t.is(page.status, 200)
  t.regex(page.text, /<strong>ghe-example-com<\/strong>/)
  t.regex(page.text, /in 1 hour/)
  t.is((await send(`/enable/${'0'.repeat(32)}`)).status, 409)
  for (const change of [
    { conversion: { code: 'a-code', startedAtMs: 1 } },
    { account: { type: 'enterprise', login: 'octo-corp' } as const },
  ]) {
    rig.store.connection.write({ connection: { ...connection, ...change } })
    t.is((await send(`/enable/${state}`)).status, 409)
  }
})

test('the way back from GitHub without its code or state is refused', async t => {
  const { send } = await signedIn(t)
  for (const query of ['', '?code=code-from-github', `?state=${'0'.repeat(32)}`, `?code=&state=${'0'.repeat(32)}`])
    t.is((await send(`/callback${query}`)).status, 400, query)
})

test('only an answer that never came is waited for on the way back; another failure is told', async t => {
  const { send, post, rig } = await signedIn(t)
  await post('/enable', { type: 'organization', login: 'Octo-Org', terms: 'on', without_recovery_key: 'on' })
  const { connection } = rig.connectionState.read()
  const state = connection.kind === 'awaiting-app' ? connection.state : ''
  rig.world.refuse('convertManifest', 'code-rejected', { times: 1 })
  const refused = await send(`/callback?code=code-from-github&state=${state}`)
  t.not(refused.status, 303)
  t.regex(refused.text, /<code>code-rejected<\/code>/)
})

test('whoever has no page here comes to the installation without the state', async t => {
  const { send, post, rig, get } = await signedIn(t)
  await post('/enable', { type: 'organization', login: 'Octo-Org', terms: 'on', without_recovery_key: 'on' })
  const { connection } = rig.connectionState.read()
  const state = connection.kind === 'awaiting-app' ? connection.state : ''
  rig.world.codes.set('code-from-github', { owner: ORG, name: 'ghe-example-com' })
  const back = await send(`/callback?code=code-from-github&state=${state}`)
  t.is(back.status, 303)
  t.regex(back.headers.location ?? '', /^https:\/\/github\.com\/apps\/[\w-]+\/installations\/new$/)
  t.is((await get('/')).status, 200)
})

test('while GitHub is asked for an installation nobody asks it again, and it may be asked a second after the answer', async t => {
  const { send, post, rig, clock } = await signedIn(t)
  await post('/enable', { type: 'organization', login: 'Octo-Org', terms: 'on', without_recovery_key: 'on' })
  const { connection } = rig.connectionState.read()
  const state = connection.kind === 'awaiting-app' ? connection.state : ''
  rig.world.codes.set('code-from-github', { owner: ORG, name: 'ghe-example-com' })
  await send(`/callback?code=code-from-github&state=${state}`)
  const before = rig.world.count('listInstallations')
  const letGo = rig.world.hold('listInstallations')
  const both = [send('/setup'), send('/setup')]
  while (rig.world.count('listInstallations') === before) await new Promise(resolve => setImmediate(resolve))
  letGo()
  await Promise.all(both)
  t.is(rig.world.count('listInstallations'), before + 1)
  await clock.advance(999)
  await send('/setup')
  t.is(rig.world.count('listInstallations'), before + 1)
  await clock.advance(1)
  await send('/setup')
  t.is(rig.world.count('listInstallations'), before + 2)
})

test('a look for an installation that fails is told once, and the next one asks GitHub anew', async t => {
  const { send, deps, clock } = await signedIn(t)
  const { enable } = deps.operations()
  let looks = 0
  const resume = async (): Promise<void> => {
    looks += 1
    if (looks === 1) throw new Failure('io', 'no descriptors are left')
  }
  Object.assign(deps.operations(), { enable: { ...enable, resume } })
  const failed = await send('/setup')
  t.is(failed.status, 500)
  t.regex(failed.text, /no descriptors are left/)
  await clock.advance(999)
  t.is((await send('/setup')).headers.location, '/done', 'nobody after him hears of it')
  t.is(looks, 1)
  await clock.advance(1)
  t.is((await send('/setup')).headers.location, '/done')
  t.is(looks, 2)
})
