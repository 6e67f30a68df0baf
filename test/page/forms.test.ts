// What the forms of the settings page do, and what they say where they cannot; and what is shown of names that are meant to break out.

import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import { connectedRig, ORG, peerOf } from '../support/operations-rig.ts'
import { CHECKED, createWebRig, type WebRigOptions } from '../support/web-rig.ts'

type Test = { teardown(end: () => Promise<void>): void }

const signedIn = async (t: Test, options: WebRigOptions = {}, uid = 0) => {
  const web = await createWebRig(options)
  t.teardown(() => web.close())
  return { ...web, ...(await web.signIn(peerOf(uid))) }
}
const connected = async (t: Test, uid = 0) => {
  const { rig, app, pem, installation } = await connectedRig()
  return { ...(await signedIn(t, { rig }, uid)), app, pem, installation, rig }
}

const ENABLE = { type: 'organization', login: 'Octo-Org', terms: 'on', without_recovery_key: 'on' }

test('enabling leads to the form that goes to GitHub, and the way back leads to the page', async t => {
  const { post, get, prefix, rig, send } = await signedIn(t)
  const answer = await post('/enable', ENABLE)
  t.is(answer.status, 303)
  t.is(answer.headers.location, `${prefix}/enable`)
  t.is(rig.kind(), 'awaiting-app')
  const { connection } = rig.connectionState.read()
  const state = connection.kind === 'awaiting-app' ? connection.state : ''
  const confirm = await get('/enable')
  t.true(confirm.text.includes(`action="https://github.com/organizations/Octo-Org/settings/apps/new?state=${state}"`))
  t.regex(confirm.text, /name="manifest"/)
  t.is((await send(`/enable/${state}`)).status, 200, 'the same by the link of the command line')
  rig.world.codes.set('code-from-github', { owner: ORG, name: 'ghe-example-com' })
  const back = await send(`/callback?code=code-from-github&state=${state}`)
  t.is(back.status, 303)
  t.regex(back.headers.location ?? '', new RegExp(`/installations/new\\?state=${state}$`))
  const [app] = rig.world.apps.values()
  rig.world.install(app?.app.id ?? 0, ORG)
  const hop = await send(`/setup?installation_id=1&setup_action=install&state=${state}`)
  t.is(hop.status, 200)
  t.is(hop.headers['refresh'], `0; url=${prefix}/`)
  t.is(rig.kind(), 'connected')
  t.is((await send('/setup')).headers.location, '/done', 'whoever has no page here is told the state alone')
  await post('/sign-out')
  t.is((await send(`/setup?state=${state}`)).headers.location, '/done', 'and so is whoever signed out')
})

test('an owner who comes back while GitHub cannot be reached, or does not answer in time, reads that nothing is lost', async t => {
  for (const why of ['proxy-unreachable', 'timeout'] as const) {
    const { post, rig, send } = await signedIn(t)
    await post('/enable', ENABLE)
    const { connection } = rig.connectionState.read()
    const state = connection.kind === 'awaiting-app' ? connection.state : ''
    rig.world.refuse('convertManifest', why, { times: 9 })
    const back = await send(`/callback?code=code-from-github&state=${state}`)
    t.is(back.status, 303, why)
    t.is(back.headers.location, '/done', why)
    t.regex((await send('/done')).text, /Nothing is lost, and you can close this page: .* continues automatically/)
  }
})

test('a redirect that was used, or made up, does nothing and tells nothing', async t => {
  const { post, rig, send, prefix } = await signedIn(t)
  await post('/enable', ENABLE)
  for (const state of ['0'.repeat(32), 'x', '', '%C3%A9'.repeat(32)])
    t.true([400, 409].includes((await send(`/callback?code=code-from-github&state=${state}`)).status), state)
  t.is(rig.kind(), 'awaiting-app')
  t.notRegex((await send(`/callback?code=code-from-github&state=${'0'.repeat(32)}`)).text, new RegExp(prefix))
})

test('whoever makes up a redirect waits for no change that is under way', async t => {
  const { post, rig, send } = await signedIn(t)
  await post('/enable', ENABLE)
  const change = Promise.withResolvers<void>()
  const changed = rig.connectionState.exclusively(() => change.promise)
  t.is((await send(`/callback?code=code-from-github&state=${'0'.repeat(32)}`)).status, 409)
  change.resolve()
  await changed
})

test('however many come by the page after an installation, GitHub is asked for one, and not at once again', async t => {
  const { post, rig, send, clock } = await signedIn(t)
  await post('/enable', ENABLE)
  const { connection } = rig.connectionState.read()
  const state = connection.kind === 'awaiting-app' ? connection.state : ''
  rig.world.codes.set('code-from-github', { owner: ORG, name: 'ghe-example-com' })
  await send(`/callback?code=code-from-github&state=${state}`)
  const before = rig.world.count('listInstallations')
  for (let n = 0; n < 20; n++) t.is((await send('/setup')).status, 303)
  t.is(rig.world.count('listInstallations'), before + 1)
  await clock.advance(1_500)
  await send('/setup')
  t.is(rig.world.count('listInstallations'), before + 2)
})

test('an address that nobody else knows is in no log', async t => {
  const { post, rig, send, deps, log } = await signedIn(t)
  await post('/enable', ENABLE)
  const { connection } = rig.connectionState.read()
  const state = connection.kind === 'awaiting-app' ? connection.state : ''
  Object.assign(deps.operations(), {
    appForm() {
      throw new Error('broken')
    },
  })
  t.is((await send(`/enable/${state}`)).status, 500)
  const lines = JSON.stringify(log.lines)
  t.true(lines.includes('/enable/...'))
  t.false(lines.includes(state))
})

test('what the way back runs into is told on the page, with a way to try again', async t => {
  const { post, rig, send, get, prefix } = await signedIn(t)
  await post('/enable', ENABLE)
  const { connection } = rig.connectionState.read()
  const state = connection.kind === 'awaiting-app' ? connection.state : ''
  await get('/enable')
  const hop = await send(`/callback?code=no-such-code&state=${state}`)
  t.is(hop.headers['refresh'], `0; url=${prefix}/`)
  t.regex((await get('/')).text, /<code>code-rejected<\/code>/)
  t.notRegex((await get('/')).text, /<code>code-rejected<\/code>/, 'once')
  t.regex((await get('/')).text, new RegExp(`${prefix}/enable`), 'and it can be tried again')
})

test('nothing begins without agreement, and without a word on recovery keys', async t => {
  const { post, rig, recipients } = await signedIn(t)
  for (const left of ['terms', 'without_recovery_key']) {
    const answer = await post('/enable', { ...ENABLE, [left]: '' })
    t.is(answer.status, 400, left)
    t.regex(answer.text, /value="Octo-Org"/, 'what was typed is there still')
  }
  for (const login of ['', '<script>', '../octo', 'a b'])
    t.is((await post('/enable', { ...ENABLE, login })).status, 400)
  t.is((await post('/enable', { ...ENABLE, type: 'martian' })).status, 400)
  t.is(rig.kind(), 'disconnected')
  recipients.push('age1known')
  t.is((await post('/enable', { ...ENABLE, without_recovery_key: '' })).status, 303)
})

test('an enterprise is led to the form of GitHub and to the import', async t => {
  const { post, get, prefix } = await signedIn(t)
  const answer = await post('/enable', { ...ENABLE, type: 'enterprise', login: 'octo-corp' })
  t.is(answer.headers.location, `${prefix}/import`)
  t.regex((await get('/import')).text, /href="https:\/\/github\.com\/enterprises\/form\?/)
  t.is((await get('/enable')).headers.location, `${prefix}/`)
})

test('a pending enable is given up', async t => {
  const { post, rig, get } = await signedIn(t)
  await post('/enable', ENABLE)
  t.is((await post('/cancel')).status, 303)
  t.is(rig.kind(), 'disconnected')
  t.is((await get('/')).status, 200)
  t.is((await post('/cancel')).status, 409)
})

test('an App is imported from pasted text or from a file, and a key that fails is not shown again', async t => {
  const { post, prefix, rig, cookie, fromHere, csrfOf, send } = await signedIn(t)
  const { app, pem } = rig.world.createApp(ORG)
  const wrong = await post('/import', { id: String(app.id), private_key: 'not a key, but secret' })
  t.is(wrong.status, 422)
  t.regex(wrong.text, /<code>invalid-key<\/code>/)
  t.notRegex(wrong.text, /but secret/)
  t.true(wrong.text.includes(`value="${app.id}"`))
  t.is((await post('/import', { id: String(app.id) })).status, 400, 'neither text nor file')
  const boundary = 'a-boundary'
  const part = (name: string, value: string, more = ''): string =>
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`
  const body = `${part('csrf', await csrfOf())}${part('id', app.clientId)}${part('private_key', '')}${part('key_file', pem, '; filename="key.pem"')}--${boundary}--\r\n`
  const headers = { cookie, ...fromHere, 'content-type': `multipart/form-data; boundary=${boundary}` }
  const answer = await send(`${prefix}/import`, { method: 'POST', headers, body })
  t.is(answer.status, 303, answer.text)
  t.is(rig.kind(), 'awaiting-installation')
})

test('disabling asks for the name of the account, in any case, and is noted before it is done', async t => {
  const { post, rig, get, audited } = await connected(t)
  for (const account of ['', 'octo', 'octo-org2']) {
    const answer = await post('/disable', { account })
    t.is(answer.status, 400, account)
    t.is(rig.kind(), 'connected')
  }
  t.is((await get('/disable')).status, 200)
  t.is((await post('/disable', { account: 'OCTO-org' })).status, 303)
  t.is(rig.kind(), 'disconnecting')
  const events = audited().map(({ event, detail }) => `${event} ${detail}`)
  const noted = events.lastIndexOf('admin.request page: disable')
  t.true(noted >= 0 && noted < events.findIndex(text => text.startsWith('connection.disconnecting')))
  t.is((await post('/disable/finish')).status, 303)
  t.is(rig.kind(), 'disconnected')
})

test('a disable that is slow goes on while its steps are shown', async t => {
  const { post, rig, clock } = await connected(t)
  rig.world.withhold('revoke')
  rig.world.withhold('uninstall')
  const answer = post('/disable', { account: ORG.login })
  const answered = answer.then(() => true)
  while (!(await Promise.race([answered, new Promise<false>(resolve => void setImmediate(() => resolve(false)))])))
    await clock.advance(100)
  t.is((await answer).status, 303)
  t.is(rig.kind(), 'disconnecting')
})

test('there is nothing to finish where no disable is under way', async t => {
  const { post, rig } = await connected(t)
  t.is((await post('/disable/finish')).status, 409)
  t.is(rig.kind(), 'connected')
})

test('a refresh that fails says why', async t => {
  const { post, rig } = await connected(t)
  t.is((await post('/refresh')).status, 303)
  rig.world.outage = new Failure('github-outage', 'nobody at home')
  const failed = await post('/refresh')
  t.is(failed.status, 502)
  t.regex(failed.text, /<code>github-outage<\/code>/)
})

test('the doctor tells row by row where the page asks for lines, else on the page', async t => {
  const { post, get, prefix, cookie, csrfOf, fromHere, send } = await signedIn(t)
  t.notRegex((await get('/check')).text, /407/)
  const headers = { cookie, ...fromHere, 'sec-fetch-dest': 'empty', accept: 'application/x-ndjson' }
  const form = { csrf: await csrfOf() }
  const lines = await send(`${prefix}/check`, { method: 'POST', headers, form })
  t.is(lines.headers['content-type'], 'application/x-ndjson')
  const told = lines.text.trim().split('\n')
  t.is(told.length, CHECKED.rows.length + 1)
  t.regex(told[1] ?? '', /^\{"row":".*It answers 407 to &lt;CONNECT&gt;/s)
  t.regex(told.at(-1) ?? '', /^\{"summary":/)
  t.regex((await get('/check')).text, /It answers 407 to &lt;CONNECT&gt;/, 'it is there after a reload')
  const answer = await post('/check')
  t.is(answer.headers.location, `${prefix}/check`)
})

test('a check that breaks off says so, in lines and on a page', async t => {
  const { prefix, cookie, csrfOf, fromHere, send, post, deps } = await signedIn(t)
  Object.assign(deps, { check: () => Promise.reject(new Failure('io', 'no descriptors are left')) })
  const headers = { cookie, ...fromHere, 'sec-fetch-dest': 'empty', accept: 'application/x-ndjson' }
  const lines = await send(`${prefix}/check`, { method: 'POST', headers, form: { csrf: await csrfOf() } })
  t.regex(lines.text, /^\{"summary":".*no descriptors are left/)
  const answer = await post('/check')
  t.is(answer.status, 500)
  t.regex(answer.text, /no descriptors are left/)
})

test('recovery keys are added by whoever could read the store anyway', async t => {
  const recipient = `age1${'q'.repeat(58)}`
  const member = await connected(t, 1_000)
  const refused = await member.post('/recovery-key', { recipient })
  t.is(refused.status, 403)
  t.deepEqual(member.recipients, [])
  const root = await connected(t)
  t.is((await root.post('/recovery-key', { recipient: 'AGE-SECRET-KEY-1' })).status, 400)
  t.is((await root.post('/recovery-key', { recipient })).status, 303)
  t.deepEqual(root.recipients, [recipient])
})

test('while the store is closed the page is there, and unlocks', async t => {
  const closed = new Failure('locked', 'no key')
  const { get, post, unlocked, prefix, audited, log } = await signedIn(t, { closed })
  const page = await get('/')
  t.is(page.status, 200)
  t.regex(page.text, new RegExp(`action="${prefix}/unlock"`))
  for (const path of ['/keys', '/import', '/disable']) t.is((await get(path)).status, 200, path)
  t.is((await post('/enable', ENABLE)).status, 503)
  t.is((await post('/unlock', { identity: 'AGE-SECRET-KEY-1X' })).status, 303)
  t.deepEqual(unlocked, ['AGE-SECRET-KEY-1X'])
  t.deepEqual(
    audited().filter(({ event }) => event === 'admin.request'),
    [{ event: 'admin.request', detail: 'page: unlock', uid: 0 }],
  )
  t.true(log.lines.some(line => JSON.stringify(line).includes('"deed":"enable","uid":0')))
})

/** Tags and attributes that no view writes; values of attributes and texts may say whatever they like. */
const injected = (text: string): RegExpMatchArray | null =>
  text.replaceAll(/"[^"]*"/g, '""').match(/<script(?! type="" src=""><)|<img|<svg\/|<[^>]*\son\w+=/i)

const HOSTILE = [
  `"><script>alert(1)</script>`,
  `'><img src=x onerror=alert(1)>`,
  `</title><script>alert(1)</script>`,
  `{{7*7}}\${7*7}<%= 7*7 %>`,
  `&lt;script&gt;alert(1)&lt;/script&gt;<svg/onload=alert(1)>`,
]

test('names that GitHub or the configuration gives are shown as text, whatever they hold', async t => {
  for (const name of HOSTILE) {
    const { rig } = await connectedRig()
    const { connection, installations } = rig.connectionState.read()
    if (connection.kind !== 'connected') throw new Error(connection.kind)
    const account = { type: 'organization' as const, login: name }
    rig.store.connection.write({
      connection: {
        ...connection,
        account,
        app: { ...connection.app, name, owner: account, htmlUrl: 'javascript:alert(1)' },
      },
      installations: installations.map(one => ({ ...one, account, htmlUrl: 'javascript:alert(1)' })),
    })
    rig.audit.owe({ event: name, detail: name, scope: name })
    const policy = {
      profiles: [
        {
          name,
          installation: name,
          repositories: [name],
          permissions: { [name]: 'read' as const },
          allow: { users: [{ name, id: 1 }], groups: [], units: [name] },
        },
      ],
    }
    const web = await signedIn(t, { rig, settings: { policy, hostname: name } })
    for (const path of ['/', '/keys', '/disable', '/import']) {
      const { text, status } = await web.get(path)
      t.is(status, 200)
      t.is(injected(text), null, `${path} ${name}`)
      t.notRegex(text, /(href|action|src)="(javascript|data):/i)
    }
    const typed = await web.post('/disable', { account: name.slice(1) })
    t.is(injected(typed.text), null)
  }
})
