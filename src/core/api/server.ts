// One socket's HTTP face: guards, the route table, problems. On node:http itself: a token from the cache is answered in
// microseconds, most of which a framework would take.

import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { SLOWED_MS } from '../../service/allowance.ts'
import { asFailure, type Code, Failure, toProblem } from '../../protocol/errors.ts'
import { giveBack } from '../../service/memory.ts'
import { holderOf } from '../peers/holder.ts'
import { GATEWAY_PREFIX, readGitHubRequest } from '../tokens/gateway-target.ts'
import { parseWith } from '../../protocol/wire.ts'
import { AuditQuery } from '../../protocol/wire-policy.ts'
import type { Events } from '../audit/events.ts'
import type { Operations } from '../operations.ts'
import type { RateLimit } from '../peers/rate-limit.ts'
import type { Caller } from '../tokens/token-issuer.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import { streamAudit } from './audit-stream.ts'
import type { BodyAccount, BodyBudget, BodyBudgets } from './body-budget.ts'
import { isStream, streamCheck } from './check-routes.ts'
import { createEventStreams } from './event-stream.ts'
import { passOn } from './gateway.ts'
import type { Metrics } from './metrics.ts'
import { noteOf } from './notes.ts'
import { pageOf } from './policy-routes.ts'
import { hasBody, readJson, readText } from './request-body.ts'
import { type Backend, refuseOtherSocket, type Route, type SocketName, type TextForm } from './route.ts'
import { ROUTES } from './routes.ts'
import { type Handler, NOBODY, type Peers } from './sockets.ts'
import { createStreamPlaces, type TakeStreamPlace } from './stream-places.ts'
import type { HolderTurns } from '../peers/turns.ts'

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
  readonly rateLimit: Pick<RateLimit, 'takeAnswer' | 'takeBytes' | 'takeProbe'>
  /** One for all sockets, like the next. */
  readonly bodies: BodyBudgets
  /** On token.sock; administrators do not wait. */
  readonly turns: HolderTurns
  readonly clock: Pick<Clock, 'every' | 'after' | 'now' | 'sleep'>
  readonly log: Log
  readonly version: string
}

type Exchange = {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly path: string
  readonly query: string
  /** Where the caller finds GitHub's API, where that is not the gateway. */
  readonly ours?: string
}
type Endpoint = (exchange: Exchange, caller: Caller) => void | Promise<void>

/** Whoever asks too often or sends too much waits for the refusal, and so do further requests on that connection. */
const SLOWED = new Set<Code>(['rate-limited', 'body-too-large'])

/**
 * Names by which a client may call a unix socket; token.sock answers in place of GitHub's API as well. Anything else was meant for a
 * web server and came by way of a browser.
 */
const HOSTS = new Set(['localhost', 'ghconnect', ''])

export const createApi = (deps: ApiDeps): Handler => {
  const takePlace = createStreamPlaces()
  const endpoints = new Map<string, Endpoint>(others(deps, takePlace))
  for (const route of ROUTES) endpoints.set(`${route.method} ${route.path}`, tableEndpoint(route, deps))
  if (deps.socket === 'admin') {
    endpoints.set('GET /v1/audit', auditEndpoint(endpoints.get('GET /v1/audit'), { ...deps, takePlace }))
    endpoints.set('GET /v1/check', checkEndpoint(endpoints.get('GET /v1/check'), { ...deps, takePlace }))
  }

  const gateway = gatewayEndpoint(deps)
  /** Those that read a body. */
  const takers = new Set(
    ROUTES.filter(({ body, textForm }) => body ?? textForm).map(({ method, path }) => `${method} ${path}`),
  )

  const dispatch = (exchange: Exchange): void | Promise<void> => {
    // Before anything is looked up: what does not exist costs as much as what does.
    const caller = admit(exchange, deps)
    refuseBrowsers(exchange.incoming)
    if (!isOurs(exchange.incoming)) return gateway(asForGitHub(exchange, deps), caller)
    const name = `${exchange.incoming.method} ${exchange.path}`
    const endpoint = endpoints.get(name) ?? (isGateway(exchange.path) ? gateway : undefined)
    if (!endpoint) throw new Failure('unknown-route', name)
    // Read by nobody, it would be kept.
    if (endpoint !== gateway && !takers.has(name)) exchange.incoming.resume()
    return endpoint(exchange, caller)
  }
  const refuse = (exchange: Exchange, error: unknown): void => {
    const failure = asFailure(error)
    if (failure.code === 'internal') deps.log.error('a request failed', { path: exchange.path, error: failure })
    deps.metrics.refused(failure.code)
    if (SLOWED.has(failure.code))
      deps.clock.after(SLOWED_MS, () => inTurn(exchange, () => sendProblem(exchange, failure)))
    else sendProblem(exchange, failure)
  }
  /** Administrators do not wait. */
  const inTurn = ({ incoming }: Exchange, task: () => void): void => {
    if (deps.socket === 'token') deps.turns.take(holderNameOf(deps.peers, incoming), task)
    else task()
  }

  return (incoming, outgoing) => {
    const url = incoming.url ?? '/'
    const mark = url.indexOf('?')
    const path = mark < 0 ? url : url.slice(0, mark)
    const exchange = { incoming, outgoing, path, query: mark < 0 ? '' : url.slice(mark + 1) }
    inTurn(exchange, () => {
      try {
        dispatch(exchange)?.catch((error: unknown) => refuse(exchange, error))
      } catch (error) {
        refuse(exchange, error)
      }
    })
  }
}

/** Of those who ended before they were attested, too. */
const holderNameOf = (peers: Peers, incoming: IncomingMessage): string => {
  try {
    return holderOf(peers.of(incoming).peer).name
  } catch {
    return NOBODY.name
  }
}

const tableEndpoint = (route: Route, deps: ApiDeps): Endpoint => {
  if (!route.sockets.includes(deps.socket)) return () => refuseOtherSocket(route.path)
  const observe = deps.metrics.timer(route)
  const { textForm } = route
  const note = noteOf(route, deps)
  const budget = route.maxBodyBytes === undefined ? deps.bodies.json : deps.bodies.large

  const handle = async (
    { incoming, outgoing, query }: Exchange,
    caller: Caller,
    account: BodyAccount,
  ): Promise<void> => {
    const done = observe()
    if (textForm && incoming.headers.accept === textForm.type) {
      await answerText(textForm, { incoming, outgoing, caller, account }, deps)
      return done()
    }
    const noteLater = note?.(caller)
    const turn = (cost: number): Promise<void> => {
      if (deps.socket === 'token') deps.rateLimit.takeAnswer(caller.attested.peer, cost)
      const { name } = holderOf(caller.attested.peer)
      return new Promise(resolve => (deps.socket === 'token' ? deps.turns.take(name, resolve, cost) : resolve()))
    }
    const answer = await route.handle({
      caller,
      body:
        route.body && (await readJson(incoming, { schema: route.body, maxBytes: route.maxBodyBytes, account, turn })),
      query: route.query && parseWith(route.query, Object.fromEntries(new URLSearchParams(query))),
      operations: deps.operations,
      backend: deps.backend,
    })
    noteLater?.()
    if (answer instanceof Uint8Array) outgoing.writeHead(route.status, BYTES).end(answer, () => giveBack(answer))
    else if (route.repeats && typeof answer === 'object' && answer !== null) {
      sendText(outgoing, route.status, textOf(answer))
    } else sendJson(outgoing, route.status, answer)
    done()
  }

  return (exchange, caller) => withAccount(budget, caller, account => handle(exchange, caller, account))
}

/** What was read is held until the answer is made. */
const withAccount = async (
  budget: BodyBudget,
  { attested }: Caller,
  work: (account: BodyAccount) => Promise<void>,
): Promise<void> => {
  const account = budget(attested.peer)
  try {
    await work(account)
  } finally {
    account.release()
  }
}

const isGateway = (path: string): boolean =>
  path.startsWith(GATEWAY_PREFIX) && (path.length === GATEWAY_PREFIX.length || path[GATEWAY_PREFIX.length] === '/')

const gatewayEndpoint = (deps: ApiDeps): Endpoint => {
  const observe = deps.metrics.timer({ method: 'ANY', path: `${GATEWAY_PREFIX}/{path}` })
  return async (exchange, caller) => {
    const done = observe()
    const { operations, backend, bodies, clock } = deps
    const takeBytes = (bytes: number): number =>
      deps.socket === 'token' ? deps.rateLimit.takeBytes(caller.attested.peer, bytes) : 0
    const ours = exchange.ours ?? `http://${exchange.incoming.headers.host || 'localhost'}${GATEWAY_PREFIX}`
    await withAccount(bodies.replay, caller, account =>
      withAccount(bodies.streamed, caller, streamed =>
        passOn(
          { ...exchange, ours },
          { operations: operations(), apiUrl: backend.apiUrl(), caller, clock, account, streamed, takeBytes },
        ),
      ),
    )
    done()
  }
}

const answerText = async (
  form: TextForm,
  {
    incoming,
    outgoing,
    caller,
    account,
  }: Pick<Exchange, 'incoming' | 'outgoing'> & { caller: Caller; account: BodyAccount },
  deps: ApiDeps,
): Promise<void> => {
  const type = (incoming.headers['content-type'] ?? '').split(';')[0]?.trim() ?? ''
  const { operations, backend } = deps
  const answer = await form.handle({ text: await readText(incoming, account), type, caller, operations, backend })
  if (answer === undefined) outgoing.writeHead(204).end()
  else outgoing.writeHead(200, { 'content-type': form.type, 'cache-control': 'no-store' }).end(answer)
}

type StreamDeps = ApiDeps & { readonly takePlace: TakeStreamPlace }

/** The same address gives a page, or goes on as a stream. */
const auditEndpoint =
  (page: Endpoint | undefined, deps: StreamDeps): Endpoint =>
  (exchange, caller) => {
    const { outgoing } = exchange
    const query = parseWith(AuditQuery, Object.fromEntries(new URLSearchParams(exchange.query)))
    if (query.follow !== 'true') return page?.(exchange, caller)
    outgoing.once('close', deps.takePlace(caller))
    streamAudit(outgoing, { auditLog: deps.operations().auditLog, clock: deps.clock, from: pageOf(query) })
  }

const checkEndpoint =
  (report: Endpoint | undefined, deps: StreamDeps): Endpoint =>
  (exchange, caller) => {
    const { incoming, outgoing } = exchange
    if (!isStream(incoming)) return report?.(exchange, caller)
    outgoing.once('close', deps.takePlace(caller))
    return streamCheck(outgoing, deps.backend)
  }

/** The endpoints that are streams or texts, or answer differently while the daemon is not ready. */
const others = (deps: ApiDeps, takePlace: TakeStreamPlace): [string, Endpoint][] => [
  ['GET /v1/events', streamEndpoint({ ...deps, takePlace })],
  ['GET /v1/openapi.json', openApiEndpoint(deps)],
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

const streamEndpoint = (deps: StreamDeps): Endpoint => {
  const stream = createEventStreams(deps)
  return ({ outgoing }, caller) => stream(outgoing, caller)
}

/**
 * It takes milliseconds to make, and is the same until the end of the process. In bytes: as a text it would be put together with the
 * head, and copied, for each answer.
 */
const openApiEndpoint = ({ socket, version }: ApiDeps): Endpoint => {
  let bytes: Promise<Buffer> | undefined
  const make = async (): Promise<Buffer> => {
    const { openApiDocument } = await import('./openapi.ts')
    return Buffer.from(JSON.stringify(openApiDocument({ socket, version })))
  }
  return async ({ outgoing }) => {
    const document = await (bytes ??= make())
    outgoing.writeHead(200, { ...NO_STORE, 'content-length': document.length }).end(document)
  }
}

const HEALTH = new Set(['/livez', '/readyz'])

/** Who calls, and that it may: throws `peer-gone`, and `rate-limited` on token.sock. */
const admit = ({ incoming, path }: Exchange, { socket, peers, rateLimit, backend }: ApiDeps): Caller => {
  const attested = peers.of(incoming)
  if (socket === 'token') {
    const { peer } = attested
    // A flood of others by root does not make the service manager believe that the daemon is ill.
    const isProbe = HEALTH.has(path) && (peer.uid === 0 || peer.uid === backend.ownUid)
    if (!isProbe || !rateLimit.takeProbe()) rateLimit.takeAnswer(peer)
  }
  return { socket, attested }
}

const BYTES = { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' } as const
const NO_STORE = { 'content-type': 'application/json', 'cache-control': 'no-store' } as const

/** With its length the answer is one write; in chunks it would be several. */
const sendText = (outgoing: ServerResponse, status: number, text: string, headers: OutgoingHttpHeaders = NO_STORE) =>
  void outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(text) }).end(text)

const sendJson = (outgoing: ServerResponse, status: number, answer: unknown): void =>
  sendText(outgoing, status, JSON.stringify(answer))

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
  const close = failure.code === 'body-too-large' || (!incoming.complete && hasBody(incoming.headers))
  sendText(outgoing, failure.entry.status, JSON.stringify(toProblem(failure, path)), {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
    ...(failure.retryAfterSeconds !== undefined && { 'retry-after': String(failure.retryAfterSeconds) }),
    ...(close && { connection: 'close' }),
  })
}

/** A page in a browser can reach a socket by way of a careless proxy; it cannot leave these headers out. */
const refuseBrowsers = ({ headers }: IncomingMessage): void => {
  for (const name in headers) {
    // Node's own fetch sends this one and no other; a browser never sends it alone.
    if (name === 'sec-fetch-mode' && headers[name] === 'cors') continue
    if (name === 'origin' || name === 'referer' || name.startsWith('sec-fetch-'))
      throw new Failure('browser-refused', `the request has a header that only browsers send: ${name}`)
  }
}

const isOurs = ({ headers: { host = '' } }: IncomingMessage): boolean =>
  HOSTS.has(host) || HOSTS.has(host.replace(/:\d+$/, ''))

/** The same request in the gateway's words, answered in GitHub's: addresses stay as they are. */
const asForGitHub = (exchange: Exchange, { socket, backend }: ApiDeps): Exchange => {
  const { host = '' } = exchange.incoming.headers
  const ours = backend.apiUrl().replace(/\/+$/, '')
  const path = socket === 'token' ? readGitHubRequest({ host, path: exchange.path }, ours) : undefined
  if (path === undefined) throw new Failure('browser-refused', `the request is for host ${host}`)
  return { ...exchange, path, ours }
}

const notReady = ({ operations }: ApiDeps): string[] => {
  try {
    return operations().status.reasonsNotReady()
  } catch (error) {
    const failure = asFailure(error)
    return [`${failure.code}: ${failure.message}`]
  }
}
