// What each form hands on to the operations, what it says when that is done, and what becomes of a failure.

import test, { type ExecutionContext } from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import type { DisableOptions } from '../../src/core/connection/disable.ts'
import type { ImportOptions } from '../../src/core/connection/keys.ts'
import type { Engine } from '../../src/core/engine.ts'
import { settle } from '../support/fakes.ts'
import { connectedRig, ORG, peerOf } from '../support/operations-rig.ts'
import { createWebRig, type WebRigOptions } from '../support/web-rig.ts'

const signedIn = async (t: ExecutionContext, options: WebRigOptions = {}, uid = 0) => {
  const web = await createWebRig(options)
  t.teardown(() => web.close())
  const session = await web.signIn(peerOf(uid))
  const replace = (some: Partial<Engine>): void => void Object.assign(web.deps.operations(), some)
  return { ...web, ...session, replace }
}
const connected = async (t: ExecutionContext, uid = 0) => {
  const scene = await connectedRig()
  return { ...scene, ...(await signedIn(t, { rig: scene.rig }, uid)), rig: scene.rig }
}

test('a second key is added and the first one retired, each said on the page of the keys', async t => {
  const { post, get, rig, app, pem, prefix, audited } = await connected(t)
  const added = rig.world.addKey(app.id)
  const answer = await post('/keys', { private_key: ` ${added}\n` })
  t.is(answer.headers.location, `${prefix}/keys`)
  t.deepEqual(
    rig.keys.list().map(({ fingerprint }) => fingerprint),
    [added, pem],
  )
  t.regex((await get('/keys')).text, /The private key was added/)
  for (const fingerprint of ['', 'no such key']) t.is((await post('/keys/retire', { fingerprint })).status, 400)
  t.is(rig.keys.list().length, 2, 'what is not named does not go')
  t.is((await post('/keys/retire', { fingerprint: pem })).headers.location, `${prefix}/keys`)
  t.deepEqual(
    rig.keys.list().map(({ fingerprint }) => fingerprint),
    [added],
  )
  t.regex((await get('/keys')).text, /The private key was removed from this machine/)
  t.is((await post('/keys/retire', { fingerprint: added })).status, 409)
  const details = audited().map(({ detail }) => detail)
  for (const deed of ['page: keys', 'page: keys/retire']) t.true(details.includes(deed), deed)
})

test("the daemon's own user adds recovery keys, as root does", async t => {
  const recipient = `age1${'q'.repeat(58)}`
  const { post, get, recipients, prefix } = await connected(t, 990)
  t.is((await post('/recovery-key', { recipient })).headers.location, `${prefix}/keys`)
  t.deepEqual(recipients, [recipient])
  t.regex((await get('/keys')).text, /The recovery key was added/)
})

test('a machine takes over, and says so', async t => {
  const { post, get, prefix, audited } = await connected(t)
  t.is((await post('/adopt')).headers.location, `${prefix}/`)
  t.true(audited().some(({ event }) => event === 'adopted'))
  t.regex((await get('/')).text, /This machine has taken over the connection/)
})

test('an import takes digits for the id of an App and all else for that of a client, and an account where one is named', async t => {
  const { post, replace } = await signedIn(t)
  const wishes: ImportOptions[] = []
  replace({
    async importApp(wish) {
      wishes.push(wish)
      return { kind: 'disconnected', sinceMs: 1 }
    },
  })
  const key = 'a private key'
  const id = '1'.repeat(15)
  for (const form of [{ id, account: 'octo-corp' }, { id: 'Iv23li' }, { id: `${id}1` }, { id: '12x' }])
    t.is((await post('/import', { ...form, private_key: key })).status, 303)
  t.deepEqual(
    wishes.map(({ pem, ...wish }) => ({ ...wish, pem: pem.reveal() })),
    [
      { appId: Number(id), account: 'octo-corp', pem: key },
      { clientId: 'Iv23li', pem: key },
      { clientId: `${id}1`, pem: key },
      { clientId: '12x', pem: key },
    ],
  )
})

test('what is pasted counts before a file', async t => {
  const { send, prefix, cookie, fromHere, csrfOf, unlocked } = await signedIn(t, { closed: new Failure('locked', 'x') })
  // Not to be found in the form's token, which is random.
  const boundary = 'a-boundary'
  const part = (name: string, value: string, more = ''): string =>
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`
  const headers = { cookie, ...fromHere, 'content-type': `multipart/form-data; boundary=${boundary}` }
  const csrf = part('csrf', await csrfOf())
  const file = part('identity_file', ' of the file\n', '; filename="x"')
  for (const pasted of ['pasted', '']) {
    const body = `${csrf}${part('identity', pasted)}${file}--${boundary}--\r\n`
    t.is((await send(`${prefix}/unlock`, { method: 'POST', headers, body })).status, 303)
  }
  t.deepEqual(unlocked, ['pasted', 'of the file'])
})

test('an unlock is waited for: one that fails says why, and is noted only once the store is open', async t => {
  const { post, deps, audited } = await signedIn(t, { closed: new Failure('locked', 'x') })
  const { unlock } = deps
  const notes = (): number => audited().filter(({ detail }) => detail === 'page: unlock').length
  const identity = 'AGE-SECRET-KEY-1X'
  const tryWith = (next: typeof unlock) => {
    Object.assign(deps, { unlock: next })
    return post('/unlock', { identity })
  }
  const refused = await tryWith(async () => {
    await settle()
    throw new Failure('bundle-wrong-identity', 'it opens nothing')
  })
  t.is(refused.status, 422)
  t.regex(refused.text, /<code>bundle-wrong-identity<\/code>/)
  t.false(refused.text.includes(identity))
  t.is(notes(), 0)
  const opened = await tryWith(async identities => {
    await settle()
    await unlock(identities)
  })
  t.is(opened.status, 303)
  t.is(notes(), 1)
})

test('only what is being set up is given up, without a call to GitHub', async t => {
  const { post, rig, world, get } = await connected(t)
  t.is((await post('/cancel')).status, 409)
  t.is(rig.kind(), 'connected')
  const { connection } = rig.connectionState.read()
  if (connection.kind !== 'connected') throw new Error(connection.kind)
  for (const next of [
    { ...connection, kind: 'awaiting-installation' },
    { kind: 'key-lost', sinceMs: 1, account: ORG, evidence: 'x' },
  ] as const) {
    rig.store.connection.write({ connection: next })
    const calls = world.calls.length
    t.is((await post('/cancel')).status, 303)
    t.is(rig.kind(), 'disconnected')
    t.is(world.calls.length, calls)
    t.regex((await get('/')).text, /Setting up was canceled\./)
  }
})

test('a local disable ends at once, calls nobody, and is said', async t => {
  const { post, get, rig, world } = await connected(t)
  t.is((await post('/disable', { account: ORG.login, local: 'on' })).status, 303)
  t.is(rig.kind(), 'disconnected')
  t.deepEqual(world.calls, [])
  t.regex((await get('/')).text, /GitHub Connect is being disabled\./)
})

test('a disable waits for GitHub, unless it is told not to wait', async t => {
  const { post, get, replace, deps, rig } = await connected(t)
  const wishes: DisableOptions[] = []
  const { disable } = deps.operations()
  replace({ disable: { ...disable, begin: wish => (wishes.push(wish), disable.begin(wish)) } })
  await post('/disable', { account: ORG.login, local: 'off' })
  t.notRegex((await get('/')).text, /is being disabled\./, 'its steps are shown')
  await post('/disable/finish')
  t.deepEqual(wishes, [
    { local: false, wait: true },
    { local: false, wait: false },
  ])
  t.is(rig.kind(), 'disconnected')
  t.regex((await get('/')).text, /GitHub Connect is being disabled\./)
})

test('a refresh of which one scope failed, or several, tells the first that failed', async t => {
  const { post, replace } = await connected(t)
  for (const [code, told] of [
    ['suspended', 'suspended'],
    ['of-the-future', 'internal'],
  ] as const) {
    const first = { scope: 'octo-org, all', code, detail: 'no way' }
    for (const failed of [[first], [first, { scope: 'other', code: 'dns', detail: 'x' }]]) {
      replace({ refresh: async () => ({ refreshed: 3, failed }) })
      const answer = await post('/refresh')
      t.regex(answer.text, new RegExp(`<code>${told}</code>`))
      t.regex(answer.text, /octo-org, all: no way/)
    }
  }
})
