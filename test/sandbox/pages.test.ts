// The web pages: the manifest flow from form to installation, App settings, and what a manifest may not say.

import { createPrivateKey } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { ExecutionContext } from 'ava'
import test from 'ava'
import { z } from 'zod'
import { fingerprintOf } from '../../src/sandbox/keys.ts'
import { actAsOwner, approvePermissions, deleteApp, editPermissions, installApp } from '../../src/sandbox/owner.ts'
import { createBench, type Bench } from './support.ts'

type Daemon = { url: string; visits: string[] }

/** A stand-in for the daemon: a page with the form, a callback that leads on to the install page, and a setup page. */
const createDaemon = async (
  t: ExecutionContext,
  github: string,
  manifest: Record<string, unknown>,
): Promise<Daemon> => {
  const visits: string[] = []
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const url = request.url ?? ''
    visits.push(url)
    const text = JSON.stringify({ redirect_url: `${daemon.url}/callback`, ...manifest }).replaceAll('"', '&quot;')
    response.setHeader('content-type', 'text/html')
    if (url === '/enable')
      response.end(
        `<form class=x action='${github}/organizations/octo-org/settings/apps/new?state=S%261' method="POST"><input type=hidden name=manifest value="${text}"><button>Go</button></form>`,
      )
    else if (url.startsWith('/callback'))
      response.writeHead(302, { location: `${github}/apps/my-app/installations/new` }).end()
    else response.end('<p>All done</p>')
  }
  const server = createServer(answer)
  await new Promise<void>(resolve => {
    server.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = z.object({ port: z.int() }).parse(server.address())
  const daemon = { url: `http://127.0.0.1:${port}`, visits }
  return daemon
}

const MANIFEST = { name: 'My App', url: 'https://ghe.example.com', default_permissions: { contents: 'read' } }
const State = z.object({
  apps: z.array(z.looseObject({ slug: z.string(), keys: z.array(z.string()) })),
  installations: z.array(z.looseObject({ id: z.int(), repositories: z.array(z.string()) })),
})
const stateOf = async (bench: Bench): Promise<z.infer<typeof State>> => State.parse(await bench.control('state'))

/** Posts a manifest as a browser would; gives status and text of the page that answers. */
const post = async (bench: Bench, manifest: unknown, owner = 'organizations/octo-org/'): Promise<[number, string]> => {
  const response = await fetch(`${bench.sandbox.url}/${owner}settings/apps/new?state=x`, {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ manifest: typeof manifest === 'string' ? manifest : JSON.stringify(manifest) }),
  })
  return [response.status, await response.text()]
}

test('an owner goes from the form to an installed App, and the code converts once', async t => {
  const bench = await createBench(t)
  const daemon = await createDaemon(t, bench.sandbox.url, MANIFEST)
  const visit = await actAsOwner({ formUrl: `${daemon.url}/enable`, repositories: ['web', 'docs'] })
  t.is(visit.status, 200)
  t.regex(visit.url, /\/organizations\/octo-org\/settings\/installations\/\d+$/)
  const callback = new URL(visit.callbackUrl ?? '')
  t.is(callback.searchParams.get('state'), 'S&1')
  t.deepEqual(
    daemon.visits.map(url => url.replace(/\?.*/, '')),
    ['/enable', '/callback'],
  )
  const { installations } = await stateOf(bench)
  t.deepEqual(
    installations.map(i => i.repositories),
    [['web', 'docs']],
  )

  const path = `/app-manifests/${callback.searchParams.get('code')}/conversions`
  const converted = await bench.call(path, { method: 'POST' })
  t.is(converted.status, 201)
  t.like(converted.body, { slug: 'my-app', owner: { login: 'octo-org' }, webhook_secret: null })
  const { id, pem } = z.object({ id: z.int(), pem: z.string() }).parse(converted.body)
  t.regex(pem, /^-----BEGIN RSA PRIVATE KEY-----\n/)
  const app = { id, clientId: '', slug: 'my-app', key: createPrivateKey(pem) }
  t.is((await bench.call('/app', { authorization: bench.jwt(app) })).status, 200)
  t.is((await bench.call(path, { method: 'POST' })).status, 404)
})

test('a code is worth nothing after an hour, nor with an Authorization header', async t => {
  const bench = await createBench(t)
  const daemon = await createDaemon(t, bench.sandbox.url, MANIFEST)
  const visit = await actAsOwner({ formUrl: `${daemon.url}/enable`, followCallback: false })
  t.deepEqual(daemon.visits, ['/enable'])
  const path = `/app-manifests/${new URL(visit.callbackUrl ?? '').searchParams.get('code')}/conversions`
  t.is((await bench.call(path, { method: 'POST', authorization: 'Bearer x' })).status, 401)
  await bench.control('clock', { advance_ms: 3_600_000 })
  t.is((await bench.call(path, { method: 'POST' })).status, 404)
})

test('a code that was never issued is not found', async t => {
  const bench = await createBench(t)
  t.is((await bench.call(`/app-manifests/${'0'.repeat(40)}/conversions`, { method: 'POST' })).status, 404)
})

test('the settings of an account list its Apps and no others', async t => {
  const bench = await createBench(t)
  const app = await bench.app('my-app')
  const pageOf = async (owner: string): Promise<string> =>
    (await fetch(`${bench.sandbox.url}/organizations/${owner}/settings/apps`)).text()
  t.true((await pageOf('octo-org')).includes(`/settings/apps/${app.slug}`))
  t.false((await pageOf('other-org')).includes(app.slug))
  t.is((await fetch(`${bench.sandbox.url}/organizations/nobody/settings/apps`)).status, 404)
})

test('the owner stops where asked, and a setup address is called with the installation', async t => {
  const bench = await createBench(t)
  const elsewhere = await createDaemon(t, bench.sandbox.url, MANIFEST)
  const daemon = await createDaemon(t, bench.sandbox.url, { ...MANIFEST, setup_url: `${elsewhere.url}/setup` })
  const formUrl = `${daemon.url}/enable`
  const confirm = await actAsOwner({ formUrl, stopAfter: 'confirm-page' })
  t.regex(confirm.html, /My App/)
  t.notRegex(confirm.html, /contents/)
  t.is((await stateOf(bench)).apps.length, 0)
  const created = await actAsOwner({ formUrl, stopAfter: 'created' })
  t.regex(created.callbackUrl ?? '', /code=[0-9a-f]{40}/)
  t.is((await stateOf(bench)).apps.length, 1)
  t.deepEqual(daemon.visits, ['/enable', '/enable'])
  const back = await installApp({ installUrl: `${bench.sandbox.url}/apps/my-app/installations/new?state=T` })
  const [made] = (await stateOf(bench)).installations
  const query = `installation_id=${made?.id}&setup_action=install&state=T`
  t.is(back.url, `${elsewhere.url}/setup?${query}`)
})

test('a sudo page comes between, and a lost manifest is said so', async t => {
  const bench = await createBench(t)
  const daemon = await createDaemon(t, bench.sandbox.url, MANIFEST)
  await bench.control('faults', { kind: 'sudo', count: 1 })
  const visit = await actAsOwner({ formUrl: `${daemon.url}/enable`, stopAfter: 'confirm-page' })
  t.true(visit.steps.some(step => step.url.includes('/sessions/sudo')))
  await bench.control('faults', { kind: 'lost-manifest', count: 1 })
  await t.throwsAsync(actAsOwner({ formUrl: `${daemon.url}/enable` }), {
    message: /We didn't find an App Manifest for your request\./,
  })
})

test('a manifest is refused as GitHub refuses it', async t => {
  const bench = await createBench(t)
  const cases: [unknown, RegExp][] = [
    ['{', /not valid JSON/],
    [{ name: 'x' }, /&quot;url&quot; wasn(&#39;|')t supplied/],
    [{ ...MANIFEST, hook_attributes: { active: false } }, /&quot;url&quot; wasn(&#39;|')t supplied/],
    [{ ...MANIFEST, hook_attributes: { url: 'http://127.0.0.1:1/hook' } }, /Hook url is not supported/],
    [{ ...MANIFEST, hook_attributes: { url: 'http://localhost/hook' } }, /Hook url is not supported/],
    [{ ...MANIFEST, default_events: ['push'] }, /Default events/],
    [{ ...MANIFEST, name: 'x'.repeat(35) }, /Name is too long \(maximum is 34 characters\)/],
    [{ ...MANIFEST, callback_urls: Array.from({ length: 11 }, () => 'https://x.example') }, /Callback urls/],
    [{ ...MANIFEST, default_permissions: { contentz: 'read' } }, /not included in the list/],
    [{ ...MANIFEST, redirect_url: 'javascript:alert(1)' }, /not a valid URL/],
  ]
  for (const [manifest, message] of cases) {
    const [status, text] = await post(bench, manifest)
    t.is(status, 422)
    t.regex(text, message)
  }
  t.is((await post(bench, MANIFEST))[0], 302)
  t.is((await post(bench, MANIFEST, ''))[0], 302)
  t.is((await post(bench, { ...MANIFEST, hook_attributes: { url: 'https://ghe.example.com/hook' } }))[0], 302)
  t.is((await post(bench, MANIFEST, 'organizations/nobody/'))[0], 404)
  t.is((await post(bench, MANIFEST, 'enterprises/octo-enterprise/'))[0], 404)
})

test('two Apps cannot have one name', async t => {
  const bench = await createBench(t)
  await bench.app('my app')
  const daemon = await createDaemon(t, bench.sandbox.url, MANIFEST)
  await t.throwsAsync(actAsOwner({ formUrl: `${daemon.url}/enable` }), { message: /Name has already been taken/ })
})

test("an enterprise's App comes from the form, without a key, and its owner makes one", async t => {
  const bench = await createBench(t)
  const base = `${bench.sandbox.url}/enterprises/octo-enterprise/settings/apps`
  const form = await (await fetch(`${base}/new?name=Enterprise+App&url=https://ghe.example.com&contents=read`)).text()
  t.regex(form, /name="contents" value="read"/)
  const fields = { name: 'Enterprise App', url: 'https://ghe.example.com', contents: 'read' }
  const settings = await fetch(base, { method: 'POST', body: new URLSearchParams(fields) })
  t.is(settings.url, `${base}/enterprise-app`)
  t.regex(await settings.text(), /None yet/)
  const download = await fetch(`${base}/enterprise-app/keys`, { method: 'POST' })
  t.regex(
    download.headers.get('content-disposition') ?? '',
    /attachment; filename="enterprise-app\..*\.private-key\.pem"/,
  )
  const key = createPrivateKey(await download.text())
  const page = await (await fetch(`${base}/enterprise-app`)).text()
  const [, fingerprint] = /<code>(SHA256:[^<]+)<\/code>/.exec(page) ?? []
  t.is(fingerprint, fingerprintOf(key))
  const id = Number(/id="app-id">(\d+)/.exec(page)?.[1])
  const authorization = bench.jwt({ id, clientId: '', slug: '', key })
  t.like((await bench.call('/app', { authorization })).body, { owner: { slug: 'octo-enterprise' } })
  const installUrl = `${bench.sandbox.url}/apps/enterprise-app/installations/new`
  await installApp({ installUrl, account: 'octo-org' })
  await installApp({ installUrl, account: 'octo-enterprise' })
  await t.throwsAsync(installApp({ installUrl, account: 'other-org' }), { message: /cannot be installed/ })
  t.is((await bench.call('/enterprises/octo-enterprise/installation', { authorization })).status, 200)
})

test('keys are deleted on the settings page, all but the last; then the App', async t => {
  const bench = await createBench(t)
  const app = await bench.app('settings')
  const base = `${bench.sandbox.url}/organizations/octo-org/settings/apps/${app.slug}`
  const press = async (): Promise<number> => {
    const page = await (await fetch(base)).text()
    const [, action = ''] = /action="([^"]+\/keys\/\d+\/delete)"/.exec(page) ?? []
    return (await fetch(bench.sandbox.url + action, { method: 'POST' })).status
  }
  t.is(await press(), 422)
  await fetch(`${base}/keys`, { method: 'POST' })
  t.is(await press(), 200)
  t.is((await stateOf(bench)).apps[0]?.keys.length, 1)
  await deleteApp({ url: bench.sandbox.url, owner: 'octo-org', slug: app.slug })
  t.is((await stateOf(bench)).apps.length, 0)
  t.is((await fetch(base)).status, 404)
})

test("an installation's owner suspends it, narrows it and ends it", async t => {
  const bench = await createBench(t)
  const app = await bench.app('installed')
  const id = await bench.install(app)
  const base = `${bench.sandbox.url}/organizations/octo-org/settings/installations/${id}`
  const press = (what: string, body?: URLSearchParams): Promise<Response> =>
    fetch(`${base}/${what}`, { method: 'POST', ...(body ? { body } : {}) })
  t.regex(await (await press('suspend')).text(), /suspended/)
  t.notRegex(await (await press('unsuspend')).text(), /suspended/)
  const chosen = { repository_selection: 'selected', repositories: 'octo-org/api' }
  await press('repositories', new URLSearchParams(chosen))
  t.deepEqual((await stateOf(bench)).installations[0]?.repositories, ['api'])
  t.is((await press('repositories', new URLSearchParams({ ...chosen, repositories: 'other-org/web' }))).status, 422)
  await press('uninstall')
  t.is((await stateOf(bench)).installations.length, 0)
  t.is((await fetch(base)).status, 404)
})

test('every page says that it is a sandbox, and escapes what it is given', async t => {
  const bench = await createBench(t)
  await bench.control('apps', { owner: 'octo-org', name: '<b>bold</b>', public: true })
  for (const path of [
    '/',
    '/nothing',
    '/apps/b-bold-b',
    '/apps/b-bold-b/installations/new?state=<i>',
    '/organizations/octo-org/settings/apps/b-bold-b',
    '/organizations/octo-org/settings/apps/b-bold-b/advanced',
    '/organizations/octo-org/settings/apps/new?name=<i>',
    '/sessions/sudo?return_to=<i>',
  ]) {
    const text = await (await fetch(bench.sandbox.url + path)).text()
    t.regex(text, /This is a local sandbox, not GitHub/, path)
    t.notRegex(text, /<b>bold|<i>/, path)
  }
})

test('an App asks for more on its page, its installation keeps what it has until the owner approves, and loses at once what is taken away', async t => {
  const bench = await createBench(t)
  const app = await bench.app('growing', { permissions: { contents: 'read', issues: 'write' } })
  const id = await bench.install(app)
  const held = async (): Promise<unknown> => {
    const { body } = await bench.call(`/app/installations/${id}`, { authorization: bench.jwt(app) })
    return z.object({ permissions: z.record(z.string(), z.string()) }).parse(body).permissions
  }
  const asked = async (): Promise<unknown> => {
    const { body } = await bench.call('/app', { authorization: bench.jwt(app) })
    return z.object({ permissions: z.record(z.string(), z.string()) }).parse(body).permissions
  }
  const settings = `${bench.sandbox.url}/organizations/octo-org/settings`
  const permissionsUrl = `${settings}/apps/${app.slug}/permissions`
  const installationUrl = `${settings}/installations/${id}`
  await editPermissions({ permissionsUrl, permissions: { members: 'read', issues: 'read' } })
  t.deepEqual(await asked(), { contents: 'read', issues: 'read', members: 'read', metadata: 'read' })
  t.deepEqual(await held(), { contents: 'read', issues: 'read', metadata: 'read' })
  const { html } = await approvePermissions({ installationUrl })
  t.deepEqual(await held(), { contents: 'read', issues: 'read', members: 'read', metadata: 'read' })
  t.notRegex(html, /requesting updated permissions/)
  await editPermissions({ permissionsUrl, permissions: { members: '' } })
  t.deepEqual(await held(), { contents: 'read', issues: 'read', metadata: 'read' })
  const wrong = await fetch(permissionsUrl, { method: 'POST', body: new URLSearchParams({ contents: 'admin' }) })
  t.is(wrong.status, 422)
})
