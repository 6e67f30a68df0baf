// The settings page over fake operations, on a port of its own, with a client that sends whatever headers a test wants.

import { createServer, type IncomingHttpHeaders, request } from 'node:http'
import type { Failure } from '../../src/protocol/errors.ts'
import type { Peer } from '../../src/protocol/profile.ts'
import type { CheckReport } from '../../src/protocol/wire-check.ts'
import { createAuditLog } from '../../src/core/audit/audit.ts'
import { createEvents } from '../../src/core/audit/events.ts'
import type { Engine } from '../../src/core/engine.ts'
import { createRefreshHistory } from '../../src/core/tokens/refresh.ts'
import { nameOf } from '../../src/core/audit/audit-writer.ts'
import type { WebDeps, WebSettings } from '../../src/page/requests.ts'
import { createWeb } from '../../src/page/server.ts'
import { createLinks } from '../../src/page/sessions.ts'
import { createFakeLog, openMemoryAudit } from './fakes.ts'
import { createPremises, createRig, type Premises, peerOf, type Rig } from './operations-rig.ts'

export type Sent = {
  readonly method?: 'GET' | 'POST' | 'HEAD'
  readonly headers?: Readonly<Record<string, string>>
  readonly form?: Readonly<Record<string, string>>
  readonly body?: string
}
export type Page = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string }

export type WebRig = Awaited<ReturnType<typeof createWebRig>>

export type WebRigOptions = {
  readonly rig?: Rig
  readonly premises?: Premises
  readonly settings?: Partial<WebSettings>
  /** Who is at the other end, where the page listens on a unix socket. */
  readonly peer?: () => Peer | undefined
  /** The store is closed for this reason, until it is unlocked. */
  readonly closed?: Failure
  /** Whether a request without a session is still allowed. */
  readonly takeStranger?: () => boolean
}

/** What the doctor says here, whatever is the matter. */
export const CHECKED: CheckReport = {
  verdict: 'failed',
  state: 'connected',
  checked_at: '2026-05-01T12:00:00.000Z',
  took_ms: 1_200,
  rows: [
    { layer: 'dns', verdict: 'ok', subject: 'api.github.com', evidence: 'It has two addresses.', took_ms: 4 },
    { layer: 'proxy', verdict: 'failed', evidence: 'It answers 407 to <CONNECT>.', next: 'Seal it.', took_ms: 9 },
    { layer: 'key', verdict: 'skipped', evidence: 'GitHub was not reached.', took_ms: 0 },
  ],
}

const never = (): never => {
  throw new Error('not built here')
}

export const createWebRig = async (options: WebRigOptions = {}) => {
  const premises = options.rig ?? options.premises ?? createPremises()
  const rig = options.rig ?? createRig(premises)
  const { clock, disk } = premises
  const log = createFakeLog()
  const events = createEvents({ clock, log })
  const links = createLinks({ clock })
  const archive = {
    append() {},
    list: () => [],
    anchor: () => undefined,
    check: never,
    findOldest: () => undefined,
    drop: never,
    bytes: () => 0,
    close() {},
  }
  const room = { maxBytes: () => 1, freeBytes: () => undefined, record: rig.audit.record }
  const auditLog = createAuditLog({ auditStore: openMemoryAudit(disk), archive, clock, log, ...room })
  const history = createRefreshHistory({ facts: rig.store.facts, events, clock, log })
  const recipients: string[] = []
  const operations: Engine = {
    ...rig,
    issuer: { ...rig.issuer, deny: never },
    gateway: { pass: never } as never,
    cluster: never,
    snapshots: { adopt: async () => rig.audit.record({ event: 'adopted' }) } as never,
    recovery: {
      recipients: () => recipients,
      add: async (recipient: string) => void recipients.push(recipient),
    } as never,
    auditLog,
    explain: never,
    features: { list: never, warnings: () => [] },
    metricValues: never,
    membership: () => undefined,
    appForm: ({ login }, state) => ({
      action: `https://github.com/organizations/${login}/settings/apps/new?state=${state}`,
      manifest: { name: 'ghe-example-com', redirect_url: `http://${host}/callback` } as never,
      permissions: { metadata: 'read' },
    }),
    formUrl: (_account, state) => `https://github.com/enterprises/form?${state}`,
    wantedPermissions: () => ({ metadata: 'read' }),
    readKey: never,
    whyNotCalling: () => undefined,
    probe: never,
    inStep: never,
    rest: never,
    close: never,
    history,
    noteRequest: (peer: Peer, detail: string) => rig.audit.owe({ event: 'admin.request', peer: nameOf(peer), detail }),
    refresh: rig.heartbeat.force,
  }
  const unlocked: string[] = []
  let { closed } = options
  const opened = (): Engine => {
    if (closed) throw closed
    return operations
  }
  const server = createServer((incoming, outgoing) => handler(incoming, outgoing))
  const listening = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', listening.resolve)
  await listening.promise
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const host = `127.0.0.1:${address.port}`
  const deps: WebDeps = {
    links,
    operations: opened,
    status: () =>
      closed
        ? { state: 'locked', since: '2026-05-01T12:00:00.000Z', meaning: 'Closed.', next: 'Unlock.', version: '0.0.0' }
        : rig.status.whole(),
    readIdentities: async text => {
      unlocked.push(text)
      return []
    },
    check: async tell => {
      for (const row of CHECKED.rows) tell(row)
      return CHECKED
    },
    async unlock() {
      closed = undefined
    },
    peerOf: () => options.peer?.(),
    ownUid: 990,
    events,
    clock,
    log,
    takeStranger: () => options.takeStranger?.() ?? true,
    inTurn: task => task(),
    settings: () => ({
      bases: [`http://${host}`],
      frontUid: undefined,
      githubUrl: 'https://github.com',
      apiUrl: 'https://api.github.com',
      hostname: 'ghe.example.com',
      policy: { profiles: [] },
      features: [],
      ...options.settings,
    }),
  }
  const handler = createWeb(deps)

  const send = (path: string, { method = 'GET', headers = {}, form, body }: Sent = {}): Promise<Page> => {
    const { promise, resolve, reject } = Promise.withResolvers<Page>()
    const text = form ? new URLSearchParams(form).toString() : body
    const sent = request(
      {
        host: '127.0.0.1',
        port: address.port,
        path,
        method,
        headers: {
          host,
          ...(form && { 'content-type': 'application/x-www-form-urlencoded' }),
          ...(text !== undefined && { 'content-length': String(Buffer.byteLength(text)) }),
          ...headers,
        },
      },
      answer => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.once('error', reject)
        answer.once('end', () =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text: Buffer.concat(chunks).toString() }),
        )
      },
    )
    sent.once('error', reject)
    sent.end(text)
    return promise
  }

  /** What a browser says of a form that this page sent. */
  const fromHere = { origin: `http://${host}`, 'sec-fetch-site': 'same-origin', 'sec-fetch-dest': 'document' }

  const signIn = async (peer: Peer = peerOf(0)) => {
    const { code } = links.issue(peer)
    const answer = await send(`/sign-in/${code}`, { method: 'POST', headers: fromHere })
    return sessionOf(answer, { send, fromHere })
  }

  return {
    ...premises,
    rig,
    host,
    port: address.port,
    deps,
    links,
    events,
    log,
    recipients,
    unlocked,
    audited: () => disk.audit.map(({ event, detail, peer }) => ({ event, detail, uid: peer?.uid })),
    send,
    fromHere,
    signIn,
    async close() {
      server.closeAllConnections()
      await new Promise<void>(resolve => void server.close(() => resolve()))
    },
  }
}

/** What a browser keeps of a sign-in. */
export const sessionOf = (
  answer: Page,
  {
    send,
    fromHere,
  }: { send: (path: string, sent?: Sent) => Promise<Page>; fromHere: Readonly<Record<string, string>> },
) => {
  const setCookie = (answer.headers['set-cookie'] ?? []).find(text => text.startsWith('ghconnect_session=')) ?? ''
  const cookie = setCookie.split(';')[0] ?? ''
  const prefix = (answer.headers.location ?? '').replace(/\/$/, '')
  const get = (path: string, headers: Readonly<Record<string, string>> = {}): Promise<Page> =>
    send(prefix + path, { headers: { cookie, 'sec-fetch-dest': 'document', ...headers } })
  const csrfOf = async (): Promise<string> => {
    const [, found] = /name="csrf" value="([^"]+)"/.exec((await get('/')).text) ?? []
    if (found === undefined) throw new Error('the page has no form')
    return found
  }
  return {
    answer,
    setCookie,
    cookie,
    prefix,
    get,
    csrfOf,
    /** As the page's own form would send it. */
    post: async (path: string, form: Readonly<Record<string, string>> = {}): Promise<Page> =>
      send(prefix + path, {
        method: 'POST',
        headers: { cookie, ...fromHere },
        form: { csrf: await csrfOf(), ...form },
      }),
  }
}
