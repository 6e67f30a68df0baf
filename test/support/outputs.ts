// A whole daemon in this process, connected to the sandbox, and everything by which it, or the command line, shows something.

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { startDaemon } from '../../src/core/main.ts'
import { actAsOwner } from '../../src/sandbox/owner.ts'
import { startSandbox } from '../../src/sandbox/server.ts'
import { runCli } from '../cli/rig.ts'
import { freePort } from './ports.ts'
import { callUnix } from './unix-http.ts'

/** Refuses everything, each time in another way, and gives back what it was told. */
const startProxy = async (t: ExecutionContext): Promise<number> => {
  let turn = 0
  const server = createServer(client => {
    client.on('error', () => {})
    client.once('data', (head: Buffer) => {
      const body = head.toString('latin1')
      const answers = [
        `407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm="x"`,
        '407 Proxy Authentication Required\r\nproxy-authenticate: NTLM',
        '403 Forbidden',
        '200 OK\r\ncontent-type: text/html',
        '502 Bad Gateway',
      ]
      const answer = answers[turn++ % (answers.length + 1)]
      if (answer === undefined) client.destroy()
      else client.end(`HTTP/1.1 ${answer}\r\ncontent-length: ${body.length}\r\n\r\n${body}`, 'latin1')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => void server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

export type Outputs = Awaited<ReturnType<typeof startOutputs>>

export const startOutputs = async (t: ExecutionContext) => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-outputs-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const sandbox = await startSandbox({})
  t.teardown(() => sandbox.close())
  const proxyPort = await startProxy(t)
  const configFile = join(folder, 'config.toml')
  const runtime = join(folder, 'run')
  mkdirSync(runtime)
  writeFileSync(join(folder, 'store.key'), randomBytes(32), { mode: 0o600 })
  const base = `[paths]
state = "${join(folder, 'state')}"
runtime = "${runtime}"
[store]
key_file = "${join(folder, 'store.key')}"
[web]
listen = "127.0.0.1:${await freePort()}"
[app]
permissions = { metadata = "read", contents = "read", issues = "write" }
[[profiles]]
name = "test"
installation = "octo-org"
allow = { users = ["${userInfo().username}"] }
`
  const github = `[github]\nurl = "${sandbox.url}"\napi_url = "${sandbox.apiUrl}"\n`
  const configure = (text: string): void => writeFileSync(configFile, text, { mode: 0o600 })
  configure(base + github)

  let logged = ''
  const write = process.stderr.write
  process.stderr.write = (chunk: string | Uint8Array) => {
    logged += String(chunk)
    return true
  }
  t.teardown(() => void (process.stderr.write = write))
  const env: Record<string, string> = {}
  const daemon = await startDaemon({ configFile, env, logLevel: 'debug' })
  t.teardown(() => daemon.stop())

  const on = async (socket: 'admin' | 'token', method: string, path: string, body?: unknown): Promise<string> => {
    const { headers, text } = await callUnix(join(runtime, `${socket}.sock`), { method, path, body })
    return JSON.stringify(headers) + text
  }
  const call = async (method: string, path: string, body?: unknown): Promise<Record<string, unknown>> =>
    (await callUnix(join(runtime, 'admin.sock'), { method, path, body })).body
  const begun = await call('POST', '/v1/connection', { account: { type: 'organization', login: 'octo-org' } })
  await actAsOwner({ formUrl: String(begun['url']), account: 'octo-org' })
  while ((await call('GET', '/v1/status'))['state'] !== 'connected') await pause(20)

  const { page } = await signIn(String((await call('POST', '/v1/ui-links'))['url']))
  const cli = async (line: string): Promise<string> => {
    const ran = await runCli([...line.split(' '), '--config', configFile], { env })
    return ran.stdout + ran.stderr
  }
  let heard = ''
  const stream = request({ socketPath: join(runtime, 'admin.sock'), path: '/v1/events', agent: false }, answer => {
    answer.on('data', (chunk: Buffer) => (heard += chunk.toString()))
    answer.on('error', () => {})
  })
  stream.on('error', () => {})
  stream.end()
  t.teardown(() => void stream.destroy())
  const takeHeard = (): string => {
    const text = heard
    heard = ''
    return text
  }

  let sequence = 0
  const audit = async (): Promise<string> => {
    const text = await on('admin', 'GET', `/v1/audit?limit=1000&after=${sequence}`)
    sequence = Math.max(sequence, ...[...text.matchAll(/"sequence":(\d+)/g)].map(([, digits]) => Number(digits)))
    return text
  }

  /** What a process on token.sock, an administrator, a browser and a shell can see. */
  const outputs: Readonly<Record<string, () => Promise<string>>> = {
    'token.sock status': () => on('token', 'GET', '/v1/status'),
    'token.sock readyz': () => on('token', 'GET', '/readyz'),
    'token.sock profiles': () => on('token', 'GET', '/v1/profiles'),
    'token.sock gateway': () => on('token', 'GET', '/v1/github/meta'),
    'token.sock token': () =>
      on('token', 'POST', '/v1/tokens', { repositories: [`r${randomBytes(3).toString('hex')}`] }),
    status: () => on('admin', 'GET', '/v1/status'),
    'admin.sock token': () =>
      on('admin', 'POST', '/v1/tokens', { permissions: { issues: 'read' }, min_ttl_seconds: 3_500 }),
    enable: () => on('admin', 'POST', '/v1/connection', { account: { type: 'organization', login: 'octo-org' } }),
    import: () => on('admin', 'POST', '/v1/connection/import', { app_id: 1, private_key: '' }),
    policy: () => on('admin', 'POST', '/v1/policy/explain', { pid: process.pid }),
    audit,
    metrics: () => on('admin', 'GET', '/metrics'),
    events: async () => takeHeard(),
    page: () => page('/'),
    'page check': () => page('/check'),
    'page disable': () => page('/disable'),
    'page keys': () => page('/keys'),
    'config check': () => cli('config check'),
    'config check --json': () => cli('config check --json'),
    'config check --diff': () => cli('config check --diff'),
    'ghconnect status': () => cli('status'),
    'ghconnect status --json': () => cli('status --json'),
    'ghconnect token': () => cli('token --repo octo-org/web --permission issues=write'),
    'ghconnect features': () => cli('features'),
    'ghconnect git-credential': () => cli('git-credential get'),
    'check without the daemon': () => cli(`check --socket ${join(folder, 'absent')}`),
    'status without the daemon': () => cli(`status --socket ${join(folder, 'absent')}`),
  }
  /** The same, where a look costs ten times as much. */
  const slowOutputs: Readonly<Record<string, () => Promise<string>>> = {
    check: () => on('admin', 'GET', '/v1/check'),
    refresh: () => on('admin', 'POST', '/v1/refresh'),
    reload: () => on('admin', 'POST', '/v1/reload'),
    snapshot: () => on('admin', 'POST', '/v1/snapshots'),
    'ghconnect check': () => cli('check'),
    'ghconnect reload': () => cli('reload'),
  }
  const show = async (name: string): Promise<string> => {
    const output = outputs[name] ?? slowOutputs[name]
    if (!output) throw new Error(`no output is called ${name}`)
    return output()
  }
  return {
    base,
    github,
    outputs,
    slowOutputs,
    show,
    configure,
    env,
    folder,
    proxy: `127.0.0.1:${proxyPort}`,
    reload: () => daemon.reload(),
    /** What was logged since it was asked last. */
    log: () => {
      const text = logged
      logged = ''
      return text
    },
  }
}

const signIn = async (link: string) => {
  const { origin } = new URL(link)
  const own = { origin, 'sec-fetch-site': 'same-origin', 'sec-fetch-dest': 'document' }
  const first = await fetch(link, { method: 'POST', headers: own, redirect: 'manual' })
  const [cookie = ''] = (first.headers.get('set-cookie') ?? '').split(';')
  const prefix = (first.headers.get('location') ?? '').replace(/\/$/, '')
  const page = async (path: string): Promise<string> => {
    const answer = await fetch(`${origin}${prefix}${path}`, { headers: { cookie, 'sec-fetch-dest': 'document' } })
    return answer.text()
  }
  return { page }
}
