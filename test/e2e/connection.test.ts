// The ways into a connection and out of it: pasted, imported, enterprise; local, at once, waited for; and what listeners hear.

import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { request } from 'node:http'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { EventBody } from '../../src/protocol/wire.ts'
import { createBrowser, formOn } from '../../src/sandbox/browser.ts'
import { actAsOwner, deleteApp, installApp } from '../../src/sandbox/owner.ts'
import { on } from '../support/snapshots.ts'
import { enabled, readWith, requestCount, requestsSince, running } from '../support/probes.ts'

const ORGANIZATION = { account: { type: 'organization', login: 'octo-org' } }
const PROBLEM = 'urn:ghconnect:problem:'

test.serial('the address that GitHub redirected to may be pasted, once; its link is dead then', async t => {
  const appliance = await running()
  try {
    for (const paste of [(url: string) => url, (url: string) => String(new URL(url).searchParams.get('code'))]) {
      await appliance.control('POST', 'reset')
      const begun = await appliance.call('POST', '/v1/connection', ORGANIZATION)
      t.is(begun.status, 202)
      const { callbackUrl = '' } = await actAsOwner({ formUrl: String(begun.body['url']), followCallback: false })
      const redirected = paste(callbackUrl)
      const done = await appliance.call('POST', '/v1/connection/completion', { redirected })
      t.is(done.status, 200)
      t.is(done.body['state'], 'awaiting-installation')
      const again = await appliance.call('POST', '/v1/connection/completion', { redirected })
      t.is(again.status, 409)
      t.is(again.body['type'], `${PROBLEM}no-enable-pending`)
      t.is((await fetch(callbackUrl)).status, 409, 'nor does the browser get anything with it')
      const { body } = await appliance.call('GET', '/v1/status')
      const installUrl = /https?:\S+/.exec(String(body['next']))?.[0] ?? ''
      await installApp({ installUrl, account: 'octo-org' })
      await appliance.until('connected')
      t.is((await appliance.call('POST', '/v1/tokens', { repositories: ['web'] })).status, 200)
      t.is((await appliance.call('DELETE', '/v1/connection?local=true')).body['state'], 'disconnected')
    }
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

/** How keys arrive: as GitHub gives them, in the other format, and with what editors and mails do to them. */
const DAMAGES: Readonly<Record<string, (pem: string) => string>> = {
  'as GitHub gives it': pem => pem,
  'as PKCS#8': pem => createPrivateKey(pem).export({ type: 'pkcs8', format: 'pem' }),
  'with CRLF and blanks': pem => `\r\n  ${pem.replaceAll('\n', '  \r\n')}\r\n\r\n`,
}

test.serial('an App is imported by its id or its client id, with a key in any shape that keys arrive in', async t => {
  const appliance = await running()
  try {
    for (const [at, [name, damage]] of Object.entries(DAMAGES).entries()) {
      await appliance.control('POST', 'reset')
      const permissions = { contents: 'read', issues: 'write', metadata: 'read' }
      const app = await appliance.control('POST', 'apps', { owner: 'octo-org', name: `by-hand-${at}`, permissions })
      await appliance.control('POST', 'installations', { app: app['id'], account: 'octo-org' })
      const identity = at === 1 ? { client_id: app['client_id'] } : { app_id: app['id'] }
      const imported = await appliance.call('POST', '/v1/connection/import', {
        ...identity,
        private_key: damage(String(app['pem'])),
      })
      t.is(imported.status, 200, `${name}: ${imported.text}`)
      await appliance.until('connected')
      const { body } = await appliance.ask('POST', '/v1/tokens', { repositories: ['web'] })
      t.is(await readWith(appliance, String(body['token']), 'web'), 200, name)
      const again = await appliance.call('POST', '/v1/connection/import', { ...identity, private_key: app['pem'] })
      t.is(again.body['type'], `${PROBLEM}already-connected`)
      await appliance.call('DELETE', '/v1/connection?local=true')
    }
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('after a leak every token is revoked by one command, and the machine stays connected', async t => {
  const appliance = await enabled()
  try {
    const token = async (): Promise<string> =>
      String((await appliance.ask('POST', '/v1/tokens', { repositories: ['web'] })).body['token'])
    const leaked = await token()
    t.is(await readWith(appliance, leaked, 'web'), 200)
    const revoked = await on(appliance)('revoke --all --yes --json')
    t.is(revoked.code, 0, revoked.stderr)
    t.like(JSON.parse(revoked.stdout.toString()), { remaining: 0, failed: [] })
    t.is(await readWith(appliance, leaked, 'web'), 401)
    const fresh = await token()
    t.not(fresh, leaked)
    t.is(await readWith(appliance, fresh, 'web'), 200)
    await appliance.control('POST', 'faults', { kind: 'outage' })
    const partly = await on(appliance)('revoke --all --yes')
    t.is(partly.code, 75, partly.stderr)
    t.regex(partly.stderr, /1 token not revoked yet: no longer served.*\n.*github-outage.*\n {2}What to do: /)
    const rows = (await on(appliance)('audit --json')).stdout.toString()
    t.true(rows.includes('tokens.revoke') && rows.includes('tokens.revoked'), rows)
    t.false([leaked, fresh].some(secret => `${rows}${appliance.log()}`.includes(secret)))
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('a key that is not the key of the App is named, and nothing is stored', async t => {
  const appliance = await running()
  try {
    const app = await appliance.control('POST', 'apps', { owner: 'octo-org', name: 'another' })
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    const wrong = other.export({ type: 'pkcs1', format: 'pem' })
    const before = (await appliance.call('GET', '/v1/status')).body
    for (const [body, status, code] of [
      [{ app_id: app['id'], private_key: wrong }, 422, 'key-mismatch'],
      [{ app_id: Number(app['id']) + 1, private_key: app['pem'] }, 422, 'key-mismatch'],
      [{ client_id: 'Iv23liNobody', private_key: app['pem'] }, 422, 'key-mismatch'],
      [{ app_id: app['id'], private_key: 'no key at all' }, 422, 'invalid-key'],
      [{ app_id: app['id'], client_id: app['client_id'], private_key: app['pem'] }, 400, 'invalid-request'],
      [{ private_key: app['pem'] }, 400, 'invalid-request'],
    ] as const) {
      const answer = await appliance.call('POST', '/v1/connection/import', body)
      t.is(answer.status, status, answer.text)
      t.is(answer.body['type'], PROBLEM + code)
      t.notRegex(answer.text, /PRIVATE KEY/)
    }
    const after = (await appliance.call('GET', '/v1/status')).body
    t.is(after['state'], 'disconnected')
    t.deepEqual(after['keys'], [])
    t.is(after['generation'], before['generation'])
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('an enterprise gets a filled form in place of a manifest, and its key comes by import', async t => {
  const appliance = await running()
  try {
    const account = { type: 'enterprise', login: 'octo-enterprise' }
    const begun = await appliance.call('POST', '/v1/connection', { account })
    t.is(begun.body['how'], 'import')
    const browser = createBrowser()
    const form = formOn(await browser.open(String(begun.body['url'])), 'registration form', f => f.fields.has('name'))
    t.deepEqual(
      ['name', 'contents', 'issues', 'metadata'].map(name => form.fields.get(name)),
      ['appliance-test', 'read', 'write', 'read'],
    )
    const { url } = await browser.submit(form)
    const slug = new URL(url).pathname.split('/').at(-1)
    const { pem } = await appliance.control('POST', `apps/${slug}/generate-key`)
    const { apps } = await appliance.control('GET', 'state')
    const made = (Array.isArray(apps) ? apps : []).find(app => app.slug === slug)
    t.is(made.owner, 'octo-enterprise')
    await appliance.control('POST', 'installations', { app: made.id, account: 'octo-org' })
    await appliance.call('POST', '/v1/connection/import', { client_id: made.client_id, private_key: pem })
    await appliance.until('connected')
    const { body } = await appliance.call('GET', '/v1/status')
    t.deepEqual(body['account'], account)
    t.is((await appliance.ask('POST', '/v1/tokens', { repositories: ['web'] })).status, 200)
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('disable --local asks GitHub for nothing, and leaves no key and no former store', async t => {
  const appliance = await enabled()
  try {
    const { body } = await appliance.ask('POST', '/v1/tokens', { repositories: ['web'] })
    const seen = await requestCount(appliance)
    const done = await appliance.call('DELETE', '/v1/connection?local=true')
    t.is(done.body['state'], 'disconnected')
    t.regex(String(done.body['meaning']), /The App appliance-test remains/)
    t.deepEqual(await requestsSince(appliance, seen), [])
    t.is(await readWith(appliance, String(body['token']), 'web'), 200, 'GitHub was not disturbed')
    const status = (await appliance.call('GET', '/v1/status')).body
    t.deepEqual([status['keys'], status['app']], [[], undefined])
    t.deepEqual(readdirSync(join(appliance.state, 'store')).toSorted(), ['2', 'current'])
    t.is((await appliance.ask('POST', '/v1/tokens', {})).body['type'], `${PROBLEM}not-connected`)
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('disable --no-wait revokes and uninstalls, says what may remain, and does not wait', async t => {
  const appliance = await enabled()
  try {
    const { body } = await appliance.ask('POST', '/v1/tokens', { repositories: ['web'] })
    const done = await appliance.call('DELETE', '/v1/connection?wait=false')
    t.is(done.body['state'], 'disconnected')
    t.regex(String(done.body['meaning']), /the App may remain/)
    t.regex(appliance.log(), /the App may remain/)
    t.is(await readWith(appliance, String(body['token']), 'web'), 401)
    const { counts } = await appliance.control('GET', 'state')
    t.like(counts, { apps: 1, installations: 0, live_tokens: 0 })
    t.false(existsSync(join(appliance.state, 'store', '1')))
    t.is((await appliance.call('DELETE', '/v1/connection')).body['state'], 'disconnected', 'it is idempotent')
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

test.serial('disable waits for the owner, over a restart too, and ends when the App is gone', async t => {
  const appliance = await enabled()
  try {
    const begun = await appliance.call('DELETE', '/v1/connection')
    t.is(begun.status, 202)
    t.is(begun.body['state'], 'disconnecting')
    t.regex(String(begun.body['next']), /settings\/apps\/appliance-test\/advanced/)
    t.is((await appliance.ask('POST', '/v1/tokens', {})).status, 503)
    await appliance.kill('SIGKILL')
    await appliance.start()
    const { state, keys } = (await appliance.call('GET', '/v1/status')).body
    t.is(state, 'disconnecting')
    t.is(Array.isArray(keys) && keys.length, 1)
    await deleteApp({ url: appliance.sandbox.url, owner: 'octo-org', slug: 'appliance-test' })
    await appliance.logged(/the App appliance-test is gone from GitHub/)
    const after = (await appliance.call('GET', '/v1/status')).body
    t.deepEqual([after['state'], after['keys']], ['disconnected', []])
    t.deepEqual(appliance.wrong, [])
  } finally {
    await appliance.close()
  }
})

/** Listens until `close`; `ended` resolves when the connection was given up. */
const listen = (socketPath: string) => {
  let text = ''
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  const sent = request({ socketPath, path: '/v1/events', headers: { host: 'localhost' } }, answer => {
    answer.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (/"state":"disconnecting"[^]*"state":"disconnected"/.test(text)) resolve()
    })
  })
  sent.on('error', () => {})
  sent.end()
  return {
    ended,
    text: () => text,
    events: () => [...text.matchAll(/^data: (.*)$/gm)].map(([, data = '']) => EventBody.parse(JSON.parse(data))),
    close: () => sent.destroy(),
  }
}

test.serial('listeners hear of each state and refresh, those of token.sock less, and nobody a secret', async t => {
  const appliance = await running()
  const [admin, open] = ['admin.sock', 'token.sock'].map(name => listen(join(appliance.runtime, name)))
  try {
    if (!admin || !open) throw new Error('two listeners')
    await appliance.enable()
    const { body } = await appliance.ask('POST', '/v1/tokens', { repositories: ['web'] })
    await appliance.call('DELETE', '/v1/connection?wait=false')
    await Promise.all([admin.ended, open.ended])
    const states = [...new Set(admin.events().flatMap(({ event, state }) => (event === 'state' ? [state] : [])))]
    t.deepEqual(states, ['disconnected', 'awaiting-app', 'awaiting-installation', 'connected', 'disconnecting'])
    t.is(admin.events().at(-1)?.state, 'disconnected')
    t.true(admin.events().some(({ event, scope }) => event === 'token-refreshed' && scope?.includes('web')))
    t.true(open.events().some(({ event }) => event === 'token-refreshed'))
    t.true(open.events().every(({ scope, detail }) => scope === undefined && detail === undefined))
    for (const listener of [admin, open]) {
      t.false(listener.text().includes(String(body['token'])))
      t.notRegex(listener.text(), /gh[a-z]_|PRIVATE KEY|client_secret/)
    }
    t.deepEqual(appliance.wrong, [])
  } finally {
    admin?.close()
    open?.close()
    await appliance.close()
  }
})
