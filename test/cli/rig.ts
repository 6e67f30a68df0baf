// A daemon that says what the test wants, on a real socket, and the command line run in this process.

import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import type { ExecutionContext } from 'ava'
import type { CliDeps } from '../../src/cli/command.ts'
import { buildProgram } from '../../src/cli/program.ts'
import type { Status } from '../../src/protocol/wire.ts'
import { checkConfig } from '../../src/core/config-check.ts'
import { checkOffline } from '../../src/core/offline.ts'
import { debugBundle } from '../../src/core/debug-bundle.ts'
import { createOffline } from '../../src/core/offline.ts'
import type { Clock } from '../../src/service/clock.ts'

export const NOW = Date.parse('2026-07-11T12:00:00.000Z')

export type Seen = { method: string; path: string; body: unknown; headers: IncomingMessage['headers'] }
export type Reply = { status?: number; body?: unknown; type?: string; headers?: Record<string, string> }
/** A function that gives no reply has answered by itself. */
export type Answer =
  | Reply
  | ((request: Seen, response: ServerResponse) => Reply | undefined | Promise<Reply | undefined>)

export type FakeDaemon = { folder: string; seen: Seen[]; requestsTo(route: string): Seen[]; close(): Promise<void> }

/** `routes` by `METHOD /path`; both sockets answer alike, `token GET /path` and `admin GET /path` come first. */
export const startDaemon = async (t: ExecutionContext, routes: Record<string, Answer>): Promise<FakeDaemon> => {
  const folder = await mkdtemp(join(tmpdir(), 'ghconnect-cli-'))
  const seen: Seen[] = []
  type Exchange = { request: IncomingMessage; response: ServerResponse }
  const answer = async (socket: string, { request, response }: Exchange): Promise<void> => {
    const { method = '', url: path = '', headers } = request
    const call: Seen = { method, path, headers, body: await readBody(request) }
    seen.push(call)
    const route = `${method} ${path.split('?')[0]}`
    const known = routes[`${socket} ${route}`] ?? routes[route] ?? (route === 'GET /v1/events' ? silence : UNKNOWN)
    const reply = typeof known === 'function' ? await known(call, response) : known
    if (!reply) return
    response.writeHead(reply.status ?? 200, { 'content-type': reply.type ?? 'application/json', ...reply.headers })
    response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body))
  }
  const servers = (['admin', 'token'] as const).map(socket => {
    const server = createServer((request, response) => {
      void answer(socket, { request, response })
    })
    return { server, path: join(folder, `${socket}.sock`) }
  })
  for (const { server, path } of servers) await new Promise<void>(resolve => void server.listen(path, resolve))
  const close = async (): Promise<void> => {
    for (const { server } of servers) {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    }
  }
  t.teardown(async () => {
    await close()
    await rm(folder, { recursive: true, force: true })
  })
  const requestsTo = (route: string): Seen[] => seen.filter(call => `${call.method} ${call.path}`.startsWith(route))
  return { folder, seen, requestsTo, close }
}

/** What is not JSON is a text. */
const readBody = async (request: IncomingMessage): Promise<unknown> => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(Buffer.from(chunk))
  const text = Buffer.concat(chunks).toString()
  if (text === '') return undefined
  return request.headers['content-type'] === 'application/json' ? JSON.parse(text) : text
}

/** An event stream on which nothing happens. */
const silence: Answer = (_, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
  return undefined
}

const UNKNOWN: Reply = {
  status: 404,
  type: 'application/problem+json',
  body: { type: 'urn:ghconnect:problem:unknown-route', title: '', status: 404, detail: 'not in this test', next: '' },
}

export type Ran = { code: number; stdout: string; stderr: string }
export type Setting = Partial<Omit<CliDeps, 'stdout' | 'stderr' | 'stdin'>> & {
  terminal?: boolean
  stdin?: PassThrough & { isTTY?: boolean }
  /** Sees each write to standard error and output as it comes. */
  onWrite?: (text: string) => void
}

export const runCli = async (argv: readonly string[], setting: Setting = {}): Promise<Ran> => {
  const { terminal = false, stdin = new PassThrough().end(), onWrite, ...own } = setting
  const written = { stdout: '', stderr: '' }
  const sink = (name: 'stdout' | 'stderr') => ({
    isTTY: terminal,
    write(text: string) {
      written[name] += text
      onWrite?.(text)
    },
  })
  const deps: CliDeps = {
    version: '1.2.3',
    env: {},
    clock: createFakeClock(),
    surroundings: async () => ({ hostname: 'ghe.example.com', findUser: () => 1000, findGroup: () => 1000 }),
    who: async () => 'root',
    userNames: async () => uid => (uid === 0 ? 'root' : undefined),
    stopSignal: () => new AbortController().signal,
    runChild: async () => ({ kind: 'ended', exitCode: 0 }),
    runDaemon: async () => 0,
    runSandbox: async () => {},
    writeBytes: async bytes => sink('stdout').write(Buffer.from(bytes).toString('latin1')),
    offline: async ({ configFile }) =>
      createOffline({ configFile, env: own.env ?? {}, note: line => sink('stderr').write(`${line}\n`) }),
    checkOffline: async ({ configFile }) =>
      checkOffline({ configFile, env: own.env ?? {}, surroundings: await deps.surroundings() }),
    debugBundle: async wish => debugBundle({ ...wish, env: own.env ?? {} }),
    checkConfig: async ({ configFile }) =>
      checkConfig({ configFile, env: own.env ?? {}, surroundings: await deps.surroundings() }),
    ...own,
    stdin,
    stdout: sink('stdout'),
    stderr: sink('stderr'),
  }
  const code = await buildProgram(deps).run(argv)
  return { code, ...written }
}

export const terminalInput = (): PassThrough & { isTTY: boolean } => Object.assign(new PassThrough(), { isTTY: true })

/** Sleeping moves the time on, and lets the sockets do their work. */
export const createFakeClock = (): Clock => {
  let passed = 0
  const timer = { cancel: () => {} }
  return {
    now: () => NOW + passed,
    monotonic: () => passed,
    after: () => timer,
    every: () => timer,
    schedule: () => timer,
    onJump: () => timer,
    sleep: async ms => {
      passed += ms
      await new Promise(resolve => setImmediate(resolve))
    },
  }
}

const installation: Status['installations'][number] = {
  id: 678,
  account: { type: 'organization', login: 'octo-org' },
  repository_selection: 'all',
  permissions: { metadata: 'read', contents: 'write' },
  html_url: 'https://github.com/organizations/octo-org/settings/installations/678',
}

export const CONNECTED: Status = {
  state: 'connected',
  since: '2026-07-08T11:00:00.000Z',
  meaning: 'Connected to octo-org as ghe-example-com.',
  next: 'Nothing to do.',
  version: '1.2.3',
  account: { type: 'organization', login: 'octo-org' },
  app: {
    id: 12345,
    client_id: 'Iv23liAbCdEf',
    slug: 'ghe-example-com',
    name: 'ghe-example-com',
    html_url: 'https://github.com/apps/ghe-example-com',
  },
  keys: [{ fingerprint: 'SHA256:abc=', added_at: '2026-07-08T11:00:00.000Z' }],
  installations: [installation],
  tokens: {
    live: 3,
    oldest_expires_at: '2026-07-11T12:38:30.000Z',
    last_minted_at: '2026-07-11T11:38:00.000Z',
    next_refresh_at: '2026-07-11T12:03:00.000Z',
  },
  clock_offset_seconds: 0.1,
  generation: 4,
  role: 'single',
  hostname: 'ghe.example.com',
  recovery_recipients: [],
  signer: 'ghconnect-signer:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
  warnings: [],
}

/** The same status in another state. */
export const statusIn = (state: string, more: Partial<Status> = {}): Status => ({
  ...CONNECTED,
  state,
  meaning: `Meaning of ${state}.`,
  next: `Next of ${state}.`,
  ...more,
})

/** One status a question; the last one stays. */
export const inTurn = (...statuses: readonly Status[]): Answer => {
  let at = 0
  return () => ({ body: statuses[Math.min(at++, statuses.length - 1)] })
}

export const TOKEN = `ghs_${'x'.repeat(36)}`
export const TOKEN_ANSWER = {
  token: TOKEN,
  expires_at: '2026-07-11T13:00:00.000Z',
  installation: 678,
  account: 'octo-org',
  permissions: { metadata: 'read' },
} as const
