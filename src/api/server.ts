// One socket's HTTP face: guards, the route table, streams and problems, over hono.

import { type Context, Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { asFailure, Failure, toProblem } from '../domain/errors.ts'
import { type EventBody, parseWith } from '../domain/wire.ts'
import type { Events } from '../operations/events.ts'
import type { Operations } from '../operations/operations.ts'
import type { Caller } from '../operations/token-desk.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { Metrics } from './metrics.ts'
import { openApiDocument } from './openapi.ts'
import { type Backend, refuseOtherSocket, type Route, ROUTES, type SocketName } from './routes.ts'
import type { Environment, Handler, Peers } from './sockets.ts'

export type ApiDeps = {
  readonly socket: SocketName
  /** Attests the callers of this socket's server. */
  readonly peers: Peers
  /** Throws while the store is closed. */
  readonly operations: () => Operations
  readonly backend: Backend
  readonly events: Events
  readonly metrics: Metrics
  readonly clock: Pick<Clock, 'every'>
  readonly log: Log
  readonly version: string
}

type Env = { Bindings: Environment }

/** Requests are small; bundles, which are not, have routes of their own. */
const MAX_BODY_BYTES = 64 * 1024
/** Names by which a client may call a unix socket. Anything else was meant for a web server and came by way of a browser. */
const HOSTS = new Set(['localhost', 'ghconnect', ''])
const SSE_PING_MS = 15_000

export const createApi = (deps: ApiDeps): Handler => {
  const app = new Hono<Env>()
  const callerOf = (c: Context<Env>): Caller => ({
    socket: deps.socket,
    attested: deps.peers.of(c.env.incoming),
    connection: c.env.incoming.socket,
  })

  app.use(async (c, next) => {
    refuseBrowsers(c)
    await next()
  })

  for (const route of ROUTES) {
    app.on(route.method, route.path, async c => {
      if (!route.sockets.includes(deps.socket)) refuseOtherSocket(route.path)
      const caller = callerOf(c)
      const call = {
        caller,
        body: route.body && parseWith(route.body, await readJson(c)),
        query: route.query && parseWith(route.query, c.req.query()),
        operations: deps.operations,
        backend: deps.backend,
      }
      const answer = await deps.metrics.timed(route, () => route.handle(call))
      return respond(route, answer)
    })
  }

  app.get('/v1/events', c => streamEvents(c, { deps, caller: callerOf(c) }))
  app.get('/v1/openapi.json', c => c.json(openApiDocument({ socket: deps.socket, version: deps.version })))
  app.get('/livez', c => c.json({ live: true }))
  app.get('/readyz', c => {
    const reasons = notReady(deps)
    return c.json({ ready: reasons.length === 0, reasons }, reasons.length === 0 ? 200 : 503)
  })
  app.get('/metrics', async c => {
    if (deps.socket !== 'admin') refuseOtherSocket('/metrics')
    return c.text(await deps.metrics.text(), 200, { 'content-type': deps.metrics.contentType })
  })

  app.notFound(c => problem(c.req.path, new Failure('unknown-route', `${c.req.method} ${c.req.path}`)))
  app.onError((error, c) => {
    const failure = asFailure(error)
    if (failure.code === 'internal') deps.log.error('a request failed', { path: c.req.path, error })
    deps.metrics.refused(failure.code)
    return problem(c.req.path, failure)
  })

  return (request, env) => app.fetch(request, env)
}

const NO_STORE = { 'content-type': 'application/json', 'cache-control': 'no-store' } as const

const respond = (route: Route, answer: unknown): Response =>
  new Response(JSON.stringify(answer), { status: route.status, headers: NO_STORE })

const problem = (path: string, failure: Failure): Response =>
  new Response(JSON.stringify(toProblem(failure, path)), {
    status: failure.entry.status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(failure.retryAfterSeconds !== undefined && { 'retry-after': String(failure.retryAfterSeconds) }),
      ...(failure.code === 'body-too-large' && { connection: 'close' }),
    },
  })

/** A page in a browser can reach a socket by way of a careless proxy; it cannot leave these headers out. */
const refuseBrowsers = (c: Context<Env>): void => {
  const { headers } = c.env.incoming
  const host = (headers.host ?? '').replace(/:\d+$/, '')
  if (headers.origin !== undefined || headers.referer !== undefined || headers['sec-fetch-site'] !== undefined) {
    throw new Failure('browser-refused', 'the request bears Origin, Referer or Sec-Fetch-Site')
  }
  if (!HOSTS.has(host)) throw new Failure('browser-refused', `the request is for host ${host}`)
}

const readJson = async (c: Context<Env>): Promise<unknown> => {
  const { headers } = c.env.incoming
  const length = Number(headers['content-length'] ?? Number.NaN)
  if (length > MAX_BODY_BYTES) throw new Failure('body-too-large', `at most ${MAX_BODY_BYTES} bytes`)
  if (!/^application\/json\b/i.test(headers['content-type'] ?? '')) {
    throw new Failure('invalid-request', 'the body must be JSON, and content-type say so')
  }
  const text = Number.isNaN(length) ? await readCapped(c.req.raw) : await c.req.text()
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Failure('invalid-request', 'the body is not JSON', { cause })
  }
}

const readCapped = async (request: Request): Promise<string> => {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body ?? []) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new Failure('body-too-large', `at most ${MAX_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const notReady = ({ operations }: ApiDeps): string[] => {
  try {
    return operations().status.reasonsNotReady()
  } catch (error) {
    const failure = asFailure(error)
    return [`${failure.code}: ${failure.message}`]
  }
}

/** Administrators see scopes; others only that something happened. */
const visible = (event: EventBody, socket: SocketName): EventBody => {
  if (socket === 'admin') return event
  const { scope: _scope, detail: _detail, ...rest } = event
  return rest
}

const streamEvents = (c: Context<Env>, { deps, caller }: { deps: ApiDeps; caller: Caller }): Response =>
  streamSSE(c, async stream => {
    const end = Promise.withResolvers<void>()
    const unsubscribe = deps.events.subscribe(event => {
      void stream.writeSSE({ event: event.event, data: JSON.stringify(visible(event, caller.socket)) })
    })
    stream.onAbort(() => end.resolve())
    await stream.writeSSE({ event: 'state', data: JSON.stringify(currentState(deps, caller)) })
    const ping = deps.clock.every(SSE_PING_MS, () => void stream.write(': ping\n\n'))
    await end.promise
    ping.cancel()
    unsubscribe()
  })

/** A listener begins with where things stand, so that it misses nothing. */
const currentState = ({ backend }: ApiDeps, caller: Caller): EventBody => {
  const { state, since, meaning } = backend.status(caller)
  return visible({ event: 'state', at: since, state, detail: meaning }, caller.socket)
}
