// The settings page as the daemon serves it: where it listens, under which names, whom it believes, and what becomes of the daemon without it.

import { statSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { closeServer } from '../../src/core/api/sockets.ts'
import type { Peer } from '../../src/protocol/profile.ts'
import { Secret } from '../../src/protocol/secret.ts'
import { createHolderTurns } from '../../src/core/peers/holder.ts'
import { createClock } from '../../src/service/clock.ts'
import { createSettingsPage } from '../../src/core/settings-page.ts'
import { failureOf, START_MS, thrownBy } from '../support/fakes.ts'
import { engineStateOf } from '../support/engine-state-rig.ts'
import { fdOf } from '../../src/core/peers/peer.ts'
import { duplicate } from '../../src/service/libc.ts'
import { peerOf } from '../support/operations-rig.ts'
import { freePort } from '../support/ports.ts'
import { CHECKED } from '../support/web-rig.ts'

const pageOf = (t: ExecutionContext, toml: string, activated = new Map<string, number>()) => {
  const rig = engineStateOf(t)
  rig.configure(toml.replace('FOLDER', rig.folder))
  rig.engineState.open()
  let peer: Peer = peerOf(5)
  const asked: string[] = []
  const page = createSettingsPage({
    config: rig.current,
    state: rig.engineState,
    events: rig.events,
    attest: () => ({ peer, assertAlive() {}, release() {} }),
    turns: createHolderTurns(),
    readIdentities: async text => (asked.push(text), [new Secret(text)]),
    async check() {
      asked.push('check')
      return CHECKED
    },
    activated,
    clock: rig.clock,
    log: rig.log,
  })
  const listen = async () => {
    const server = await page.listen()
    t.teardown(async () => server?.listening && closeServer(server, 0, createClock().after))
    return server
  }
  return { ...rig, page, listen, asked, callAs: (next: Peer) => void (peer = next) }
}

type To = { readonly socketPath: string } | { readonly host: string; readonly port: number }
type Sent = {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly form?: Record<string, string>
}

const send = (to: To, path: string, { method = 'GET', headers = {}, form }: Sent = {}, agent?: Agent) => {
  const { promise, resolve, reject } = Promise.withResolvers<{
    status: number
    text: string
    location: string
    cookie: string
  }>()
  const text = form && new URLSearchParams(form).toString()
  const type = text !== undefined && {
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': String(text.length),
  }
  request({ ...to, path, method, headers: { ...type, ...headers }, agent: agent ?? false }, answer => {
    let body = ''
    answer.on('data', (chunk: Buffer) => (body += chunk.toString()))
    answer.on('end', () =>
      resolve({
        status: answer.statusCode ?? 0,
        text: body,
        location: answer.headers.location ?? '',
        cookie: (answer.headers['set-cookie']?.[0] ?? '').split(';')[0] ?? '',
      }),
    )
  })
    .once('error', reject)
    .end(text)
  return promise
}

const BEHIND = `[web]
listen = "unix:FOLDER/web.sock"
public_url = "https://ghe.example.com:8443"
front_user = "root"
[app]
permissions = { pull_requests = "write" }
`
const HERE = {
  host: 'ghe.example.com:8443',
  origin: 'https://ghe.example.com:8443',
  'sec-fetch-site': 'same-origin',
}

test('a link leads into the page, which shows and changes what the daemon holds', async t => {
  const { page, listen, folder, engineState, asked } = pageOf(t, BEHIND)
  await listen()
  const to = { socketPath: join(folder, 'web.sock') }
  t.is(statSync(to.socketPath).mode & 0o777, 0o666, 'as a port is open to everybody')
  const { url, expiresAtMs } = page.issueLink(peerOf(1_000))
  t.regex(url, /^https:\/\/ghe\.example\.com:8443\/sign-in\/[0-9a-f]{32}$/)
  t.is(expiresAtMs, START_MS + 5 * 60_000)
  const entry = await send(to, new URL(url).pathname, { method: 'POST', headers: HERE })
  t.is(entry.status, 303)
  t.like(engineState.engine().auditLog.read({ limit: 1 })[0], {
    event: 'admin.request',
    detail: 'page: sign in',
    uid: 1_000,
  })
  const headers = { ...HERE, cookie: entry.cookie }
  const get = (path: string) => send(to, entry.location + path, { headers })
  const overview = await get('')
  t.is(overview.status, 200)
  t.regex(overview.text, /Let ghe\.example\.com use GitHub\.com/)
  t.regex(overview.text, /Pull requests <span class="chip-note">Read and write/)
  const [, csrf = ''] = /name="csrf" value="([^"]+)"/.exec(overview.text) ?? []
  const post = (path: string, form: Record<string, string> = {}) =>
    send(to, entry.location + path, { method: 'POST', headers, form: { csrf, ...form } })
  const enable = { terms: 'on', without_recovery_key: 'on' }
  t.is((await post('enable', { ...enable, type: 'organization', login: 'octo-org' })).status, 303)
  const confirm = await get('enable')
  t.regex(
    confirm.text,
    /action="https:\/\/github\.com\/organizations\/octo-org\/settings\/apps\/new\?state=[0-9a-f]{32}"/,
  )
  t.regex(confirm.text, /https:\/\/ghe\.example\.com:8443\/callback/)
  await post('enable', { ...enable, type: 'enterprise', login: 'octo-corp' })
  t.regex((await get('import')).text, /href="https:\/\/github\.com\/enterprises\/octo-corp\/settings\/apps\/new\?/)
  await post('check')
  t.regex((await post('unlock', { identity: 'AGE-SECRET-KEY-1' })).text, /nothing-locked/)
  t.deepEqual(asked, ['check', 'AGE-SECRET-KEY-1'])
})

test('on a unix socket the front user is believed, and nobody else is', async t => {
  const { listen, folder, callAs } = pageOf(t, BEHIND)
  await listen()
  const to = { socketPath: join(folder, 'web.sock') }
  const headers = {
    host: 'localhost',
    'x-forwarded-host': 'ghe.example.com:8443',
    'x-forwarded-proto': 'https',
    'x-forwarded-user': 'alice',
  }
  t.is((await send(to, '/', { headers })).status, 421)
  callAs(peerOf(0))
  t.regex((await send(to, '/', { headers })).text, /action="\/sign-in\/front"/)
})

test('on a port the page has its public name and that of the port, and no caller vouches for another', async t => {
  const port = await freePort()
  const { listen, page } = pageOf(t, `[web]\nlisten = "127.0.0.1:${port}"\npublic_url = "https://ghe.example.com"\n`)
  await listen()
  const to = { host: '127.0.0.1', port }
  for (const [host, status] of [
    ['ghe.example.com', 200],
    [`127.0.0.1:${port}`, 200],
    [`localhost:${port}`, 421],
  ] as const) {
    const answer = await send(to, '/', { headers: { host, 'x-forwarded-user': 'alice' } })
    t.is(answer.status, status, host)
    t.notRegex(answer.text, /sign-in\/front/)
  }
  t.regex(page.issueLink(peerOf(0)).url, /^https:\/\/ghe\.example\.com\/sign-in\//)
})

test('an address of IPv6 is a name in brackets', async t => {
  const port = await freePort()
  const { listen } = pageOf(t, `[web]\nlisten = "[::1]:${port}"\npublic_url = "https://ghe.example.com"\n`)
  await listen()
  t.is((await send({ host: '::1', port }, '/', { headers: { host: `[::1]:${port}` } })).status, 200)
})

const occupy = async (t: ExecutionContext): Promise<{ server: Server; port: number }> => {
  const port = await freePort()
  const server = createServer()
  await new Promise<void>(resolve => void server.listen(port, '127.0.0.1', resolve))
  t.teardown(() => void server.close())
  return { server, port }
}

test('where the address is taken a daemon by itself does not start', async t => {
  const { port } = await occupy(t)
  const { page, log } = pageOf(t, `[web]\nlisten = "127.0.0.1:${port}"\n`)
  const failure = await failureOf(page.listen())
  t.is(failure.code, 'socket-in-use')
  t.is(failure.message, `the page cannot listen on 127.0.0.1:${port}`)
  t.is(page.findFault(), undefined)
  t.deepEqual(
    log.lines.filter(({ level }) => level === 'error'),
    [],
  )
})

test('where the service manager passed the other sockets, the daemon goes on without a page, and says how to get one', async t => {
  const { port } = await occupy(t)
  const { page, log } = pageOf(t, `[web]\nlisten = "127.0.0.1:${port}"\n`, new Map([['token', 99]]))
  t.is(await page.listen(), undefined)
  const fault = page.findFault()
  t.is(fault?.code, 'socket-in-use')
  t.is(fault?.message, `the page cannot listen on 127.0.0.1:${port}; tokens are served without it`)
  t.is(
    fault?.next,
    `Stop the process that listens on 127.0.0.1:${port} (\`ss -ltnp 'sport = :${port}'\` names it), then run \`systemctl stop ghconnectd && systemctl restart ghconnectd-web.socket && systemctl start ghconnectd\`.`,
  )
  t.is(
    thrownBy(() => page.issueLink(peerOf(0))),
    fault,
  )
  t.like(log.lines.at(-1), { level: 'error', message: 'there is no page', fields: { error: fault, next: fault?.next } })
})

test('a socket that was passed is the one, and another place than the configuration names is told', async t => {
  for (const isElsewhere of [true, false]) {
    const { server, port } = await occupy(t)
    const fd = duplicate(fdOf(server))
    const named = isElsewhere ? await freePort() : port
    const { listen, log } = pageOf(t, `[web]\nlisten = "127.0.0.1:${named}"\n`, new Map([['web', fd]]))
    await listen()
    server.close()
    t.is((await send({ host: '127.0.0.1', port }, '/', { headers: { host: `127.0.0.1:${named}` } })).status, 200)
    t.deepEqual(
      log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields),
      isElsewhere ? [{ port, wanted: `127.0.0.1:${named}` }] : [],
    )
  }
})

test('without a session there are 400 requests at once, and 100 a second', async t => {
  const port = await freePort()
  const { listen, clock } = pageOf(t, `[web]\nlisten = "127.0.0.1:${port}"\n`)
  await listen()
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  t.teardown(() => agent.destroy())
  const ask = async (): Promise<number> =>
    (await send({ host: '127.0.0.1', port }, '/', { headers: { host: 'elsewhere' } }, agent)).status
  const first = await Promise.all(Array.from({ length: 400 }, ask))
  t.true(first.every(status => status === 421))
  const late = ask()
  // It is told after a while, which lasts until somebody lets it pass.
  const waiting = clock.waiting()
  while (clock.waiting() === waiting) await new Promise(resolve => void setImmediate(resolve))
  await clock.advance(250)
  t.is(await late, 429)
  t.deepEqual(await Promise.all(Array.from({ length: 25 }, ask)), Array<number>(25).fill(421))
})
