// One socket's HTTP face: guards, the route table, problems. On node:http itself: a token from the cache is answered in
// microseconds, most of which a framework would take.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { asFailure, type Code, Failure, toProblem } from '../domain/errors.ts'
import { giveBack } from '../domain/memory.ts'
import { GATEWAY_PREFIX } from '../domain/gateway.ts'
import { parseWith } from '../domain/wire.ts'
import { AuditQuery } from '../domain/wire-policy.ts'
import type { Events } from '../operations/events.ts'
import type { Operations } from '../operations/operations.ts'
import type { RateLimit } from '../operations/rate-limit.ts'
import type { Caller } from '../operations/token-desk.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import { streamAudit } from './audit-stream.ts'
import { isStream, streamCheck } from './check-routes.ts'
import { streamEvents } from './event-stream.ts'
import { passOn } from './gateway.ts'
import type { Metrics } from './metrics.ts'
import { noteOf } from './notes.ts'
import { pageOf } from './policy-routes.ts'
import { readJson, readText } from './request-body.ts'
import { type Backend, refuseOtherSocket, type Route, type SocketName, type TextForm } from './route.ts'
import { ROUTES } from './routes.ts'
import type { Handler, Peers } from './sockets.ts'
import { inTurns } from './turns.ts'

export type ApiDeps = {
  readonly socket: SocketName
  /** Attests the callers of this socket's server. */
  readonly peers: Peers
  /** Throws while the store is closed. */
  readonly operations: () => Operations
  readonly backend: Backend
  readonly events: Events
  readonly metrics: Metrics
  /** What a caller on token.sock may ask for; administrators are not limited. */
  readonly rateLimit: Pick<RateLimit, 'takeAnswer'>
  readonly clock: Pick<Clock, 'every' | 'after'>
  readonly log: Log
  readonly version: string
}

type Exchange = {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly path: string
  readonly query: string
}
type Endpoint = (exchange: Exchange) => void | Promise<void>

/** Whoever asks too often or sends too much waits for his refusal, and so do his further requests on that connection. */
const SLOWED = new Set<Code>(['rate-limited', 'body-too-large'])
const SLOWED_MS = 250

/** Names by which a client may call a unix socket. Anything else was meant for a web server and came by way of a browser. */
const HOSTS = new Set(['localhost', 'ghconnect', ''])

export const createApi = (deps: ApiDeps): Handler => {
  const endpoints = new Map<string, Endpoint>(others(deps))
  for (const route of ROUTES) endpoints.set(`${route.method} ${route.path}`, tableEndpoint(route, deps))
  if (deps.socket === 'admin') {
    endpoints.set('GET /v1/audit', auditEndpoint(endpoints.get('GET /v1/audit'), deps))
    endpoints.set('GET /v1/check', checkEndpoint(endpoints.get('GET /v1/check'), deps))
  }

  const gateway = gatewayEndpoint(deps)

  const dispatch = (exchange: Exchange): void | Promise<void> => {
    refuseBrowsers(exchange.incoming)
    const name = `${exchange.incoming.method} ${exchange.path}`
    const endpoint = endpoints.get(name) ?? (isGateway(exchange.path) ? gateway : undefined)
    if (!endpoint) throw new Failure('unknown-route', name)
    return endpoint(exchange)
  }
  const refuse = (exchange: Exchange, error: unknown): void => {
    const failure = asFailure(error)
    if (failure.code === 'internal') deps.log.error('a request failed', { path: exchange.path, error: failure })
    deps.metrics.refused(failure.code)
    if (SLOWED.has(failure.code)) deps.clock.after(SLOWED_MS, () => sendProblem(exchange, failure))
    else sendProblem(exchange, failure)
  }

  return inTurns((incoming, outgoing) => {
    const url = incoming.url ?? '/'
    const mark = url.indexOf('?')
    const path = mark < 0 ? url : url.slice(0, mark)
    const exchange = { incoming, outgoing, path, query: mark < 0 ? '' : url.slice(mark + 1) }
    try {
      dispatch(exchange)?.catch((error: unknown) => refuse(exchange, error))
    } catch (error) {
      refuse(exchange, error)
    }
  })
}

const tableEndpoint = (route: Route, deps: ApiDeps): Endpoint => {
  if (!route.sockets.includes(deps.socket)) return () => refuseOtherSocket(route.path)
  const observe = deps.metrics.timer(route)
  const { textForm } = route
  const note = noteOf(route, deps)
  return async ({ incoming, outgoing, query }) => {
    const done = observe()
    if (textForm && incoming.headers.accept === textForm.type) {
      await sendText(textForm, { incoming, outgoing }, deps)
      return done()
    }
    const caller = callerOf(deps, incoming)
    const noteLater = note?.(caller)
    const answer = await route.handle({
      caller,
      body: route.body && (await readJson(incoming, { schema: route.body, maxBytes: route.maxBodyBytes })),
      query: route.query && parseWith(route.query, Object.fromEntries(new URLSearchParams(query))),
      operations: deps.operations,
      backend: deps.backend,
    })
    noteLater?.()
    if (answer instanceof Uint8Array) outgoing.writeHead(route.status, BYTES).end(answer, () => giveBack(answer))
    else if (route.repeats && typeof answer === 'object' && answer !== null) {
      outgoing.writeHead(route.status, NO_STORE).end(textOf(answer))
    } else sendJson(outgoing, route.status, answer)
    done()
  }
}

const isGateway = (path: string): boolean =>
  path.startsWith(GATEWAY_PREFIX) && (path.length === GATEWAY_PREFIX.length || path[GATEWAY_PREFIX.length] === '/')

const gatewayEndpoint = (deps: ApiDeps): Endpoint => {
  const observe = deps.metrics.timer({ method: 'ANY', path: `${GATEWAY_PREFIX}/{path}` })
  return async exchange => {
    const done = observe()
    const { operations, backend, clock } = deps
    const caller = callerOf(deps, exchange.incoming)
    await passOn(exchange, { operations: operations(), apiUrl: backend.apiUrl(), caller, clock })
    done()
  }
}

const sendText = async (
  form: TextForm,
  { incoming, outgoing }: Pick<Exchange, 'incoming' | 'outgoing'>,
  deps: ApiDeps,
): Promise<void> => {
  const caller = callerOf(deps, incoming)
  const type = (incoming.headers['content-type'] ?? '').split(';')[0]?.trim() ?? ''
  const { operations, backend } = deps
  const answer = await form.handle({ text: await readText(incoming), type, caller, operations, backend })
  if (answer === undefined) outgoing.writeHead(204).end()
  else outgoing.writeHead(200, { 'content-type': form.type, 'cache-control': 'no-store' }).end(answer)
}

/** The same address gives a page, or goes on as a stream. */
const auditEndpoint =
  (page: Endpoint | undefined, deps: ApiDeps): Endpoint =>
  exchange => {
    const { incoming, outgoing } = exchange
    const query = parseWith(AuditQuery, Object.fromEntries(new URLSearchParams(exchange.query)))
    if (query.follow !== 'true') return page?.(exchange)
    callerOf(deps, incoming)
    streamAudit({ incoming, outgoing }, { audit: deps.operations().audit, clock: deps.clock, from: pageOf(query) })
  }

const checkEndpoint =
  (report: Endpoint | undefined, deps: ApiDeps): Endpoint =>
  exchange => {
    const { incoming, outgoing } = exchange
    if (!isStream(incoming)) return report?.(exchange)
    callerOf(deps, incoming)
    return streamCheck(outgoing, deps.backend)
  }

/** The endpoints that are streams or texts, or answer differently while the daemon is not ready. */
const others = (deps: ApiDeps): [string, Endpoint][] => [
  [
    'GET /v1/events',
    ({ incoming, outgoing }) => streamEvents({ incoming, outgoing }, { ...deps, caller: callerOf(deps, incoming) }),
  ],
  [
    'GET /v1/openapi.json',
    async ({ outgoing }) => {
      const { openApiDocument } = await import('./openapi.ts')
      sendJson(outgoing, 200, openApiDocument({ socket: deps.socket, version: deps.version }))
    },
  ],
  ['GET /livez', ({ outgoing }) => sendJson(outgoing, 200, { live: true })],
  [
    'GET /readyz',
    ({ outgoing }) => {
      const reasons = notReady(deps)
      sendJson(outgoing, reasons.length === 0 ? 200 : 503, { ready: reasons.length === 0, reasons })
    },
  ],
  [
    'GET /metrics',
    async ({ outgoing }) => {
      if (deps.socket !== 'admin') refuseOtherSocket('/metrics')
      const text = await deps.metrics.text()
      outgoing.writeHead(200, { 'content-type': deps.metrics.contentType }).end(text)
    },
  ],
]

const callerOf = ({ socket, peers, rateLimit }: ApiDeps, incoming: IncomingMessage): Caller => {
  const attested = peers.of(incoming)
  if (socket === 'token') rateLimit.takeAnswer(attested.peer)
  return { socket, attested, connection: incoming.socket }
}

const BYTES = { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' } as const
const NO_STORE = { 'content-type': 'application/json', 'cache-control': 'no-store' } as const

const sendJson = (outgoing: ServerResponse, status: number, answer: unknown): void => {
  outgoing.writeHead(status, NO_STORE).end(JSON.stringify(answer))
}

/** The answer of a token that is at hand is the same object each time. */
const texts = new WeakMap<object, string>()

const textOf = (answer: object): string => {
  const known = texts.get(answer)
  if (known !== undefined) return known
  const text = JSON.stringify(answer)
  texts.set(answer, text)
  return text
}

const sendProblem = ({ incoming, outgoing, path }: Exchange, failure: Failure): void => {
  if (outgoing.headersSent) return void outgoing.destroy()
  // What is left of the body is not worth reading; a connection that still sends is given up.
  const close = failure.code === 'body-too-large' || !incoming.complete
  outgoing
    .writeHead(failure.entry.status, {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(failure.retryAfterSeconds !== undefined && { 'retry-after': String(failure.retryAfterSeconds) }),
      ...(close && { connection: 'close' }),
    })
    .end(JSON.stringify(toProblem(failure, path)))
}

/** A page in a browser can reach a socket by way of a careless proxy; it cannot leave these headers out. */
const refuseBrowsers = ({ headers }: IncomingMessage): void => {
  if (headers.origin !== undefined || headers.referer !== undefined || headers['sec-fetch-site'] !== undefined) {
    throw new Failure('browser-refused', 'the request bears Origin, Referer or Sec-Fetch-Site')
  }
  const { host = '' } = headers
  if (!HOSTS.has(host) && !HOSTS.has(host.replace(/:\d+$/, '')))
    throw new Failure('browser-refused', `the request is for host ${host}`)
}

const notReady = ({ operations }: ApiDeps): string[] => {
  try {
    return operations().status.reasonsNotReady()
  } catch (error) {
    const failure = asFailure(error)
    return [`${failure.code}: ${failure.message}`]
  }
}
