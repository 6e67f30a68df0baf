// One request on its way out: deadline, abort, and each failure laid at the right door.

import {
  type Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Socket } from 'node:net'
import { type DetailedPeerCertificate, TLSSocket } from 'node:tls'
import { Failure } from '../../protocol/errors.ts'
import { explainDelay, explainError, explainRefusal, type ConnectionState, schemesOf } from './errors.ts'
import { MOST_IDLE } from './pool.ts'
import type { ProxyAddress } from '../../service/proxy-address.ts'

export type OutboundRequest = {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string | StreamedBody
  readonly signal?: AbortSignal
  /** For connection, TLS and the head of the answer together; 30 s where it is not given. */
  readonly deadlineMs?: number
  readonly witness?: Witness
}

/**
 * A body that is read once, while it is sent. A function, so that no stream waits with an error that nobody listens to: the request
 * iterates it as soon as it exists, and what it throws is what `send` throws.
 */
export type StreamedBody = () => AsyncIterable<Uint8Array>

/** Filled in while a request makes its way over a fresh connection, for whoever wants to know how far it came. Monotonic times. */
export type Witness = {
  /** To the target: where there is a tunnel, once it is open. */
  connectedAtMs?: number
  securedAtMs?: number
  /** The proxy opened the way with a page. */
  hasPage?: boolean
  /** This machine's end of the connection. */
  from?: string
  /** Also of a certificate that is refused. */
  chain?: DetailedPeerCertificate
}

export type OutboundResponse = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** The caller reads it to the end or destroys it. Where the connection breaks it ends with a plain error of Node's. */
  readonly body: Readable
}

/** What the request is made over. */
export type Way = {
  agent(): Promise<Agent>
  /** Undefined: direct. */
  proxyFor(url: URL): ProxyAddress | undefined
  /** Ends a connection to the proxy that is still being made for this request: the agent alone would leave it open. */
  abandon(request: ClientRequest): void
  /** Aborted when everything is to end. */
  readonly closing: AbortSignal
}

/** Once more, where a connection kept alive turned out to be closed and the method may be repeated. */
export const travel = async (
  way: Way,
  request: OutboundRequest & { deadlineMs: number },
): Promise<OutboundResponse> => {
  const agent = await way.agent()
  const isRepeatable = REPEATABLE.has(request.method.toUpperCase()) && typeof request.body !== 'function'
  for (let tries = 1; ; tries++) {
    const trip = { isStale: false }
    try {
      return await travelOnce({ ...way, agent }, request, trip)
    } catch (error) {
      if (!trip.isStale || !isRepeatable || tries === MAX_TRIES) throw error
    }
  }
}

const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
/** All idle connections may have been closed meanwhile, as many as the pool keeps; behind them a new one is made. */
const MAX_TRIES = MOST_IDLE + 1
/** Ours to set, or the proxy's to see. */
const DROPPED = new Set(['host', 'connection', 'transfer-encoding', 'proxy-authorization', 'proxy-connection'])

const travelOnce = (
  way: Omit<Way, 'agent'> & { readonly agent: Agent },
  request: OutboundRequest & { deadlineMs: number },
  trip: { isStale: boolean },
): Promise<OutboundResponse> => {
  const { signal, body, deadlineMs, witness } = request
  signal?.throwIfAborted()
  if (way.closing.aborted) throw new Failure('unreachable', `${request.url}: the daemon is stopping`)
  const url = parseTarget(request.url)
  const proxy = way.proxyFor(url)
  const isTunnel = proxy !== undefined && (url.protocol === 'https:' || proxy.isSocks)
  const connectionState: ConnectionState = {
    host: url.host,
    proxy: proxy?.toString(),
    stage: proxy === undefined ? 'target' : 'proxy',
    issuer: undefined,
    hasPage: false,
  }
  const given = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !DROPPED.has(name.toLowerCase())))
  const headers = { ...given, ...framingOf(body, given) }
  const start = url.protocol === 'https:' ? requestHttps : requestHttp
  const { promise, resolve, reject } = Promise.withResolvers<OutboundResponse>()
  const call = start(url, { method: request.method, headers, agent: way.agent })

  let answer: IncomingMessage | undefined
  let isSettled = false
  const settle = (): boolean => {
    const isFirst = !isSettled
    isSettled = true
    clearTimeout(timer)
    return isFirst
  }
  const fail = (error: unknown): void => {
    if (!settle()) return
    reject(error)
    call.destroy()
    way.abandon(call)
  }
  const abort = (reason: unknown): void => {
    fail(reason)
    answer?.destroy(reason instanceof Error ? reason : new Error('aborted', { cause: reason }))
  }
  const onAbort = (): void => abort(signal?.reason)
  const onClosing = (): void => abort(new Failure('unreachable', `${url.host}: the daemon is stopping`))
  const timer = setTimeout(() => fail(explainDelay(connectionState, deadlineMs)), deadlineMs)
  signal?.addEventListener('abort', onAbort)
  way.closing.addEventListener('abort', onClosing)
  call.once('close', () => {
    signal?.removeEventListener('abort', onAbort)
    way.closing.removeEventListener('abort', onClosing)
  })

  // What the agents of proxy-agent say of their CONNECT; for a plain request through a proxy there is no status.
  call.on('proxyConnect', (connect: { statusCode?: number; statusText?: string; headers?: IncomingHttpHeaders }) => {
    if (connect.statusCode === undefined) return
    if (connect.statusCode === 200) {
      connectionState.stage = 'target'
      connectionState.hasPage = /^text\/html\b/i.test(connect.headers?.['content-type'] ?? '')
      if (witness) witness.hasPage = connectionState.hasPage
    } else fail(explainRefusal(connectionState, refusalOf(connect.statusCode, connect.statusText, connect.headers)))
  })
  call.once('socket', socket => {
    if (isTunnel) connectionState.stage = 'target'
    if (witness && connectionState.stage === 'target') attend(witness, socket)
    // Before the certificate is judged: a socket that was refused tells nothing any more.
    if (!(socket instanceof TLSSocket) || call.reusedSocket || connectionState.stage === 'proxy') return
    socket.prependOnceListener('secure', () => {
      connectionState.issuer = nameOf(socket.getPeerCertificate().issuer)
    })
  })
  call.on('error', error => {
    trip.isStale = !isSettled && call.reusedSocket && (isCode(error, 'ECONNRESET') || isCode(error, 'EPIPE'))
    fail(explainError(connectionState, error))
  })
  call.once('response', response => {
    if (proxy !== undefined && !isTunnel && response.statusCode === 407) {
      fail(explainRefusal(connectionState, refusalOf(407, response.statusMessage, response.headers)))
      return
    }
    answer = response
    if (!settle()) return
    resolve({ status: response.statusCode ?? 0, headers: response.headers, body: response })
  })
  // An answer that comes before the body is read ends the pipeline, too; nothing is left to say then.
  if (typeof body === 'function') pipeline(body, call).catch(fail)
  else call.end(body)
  return promise
}

/**
 * How the body's end is told. Left to Node, the body of a GET, HEAD or DELETE would go out with neither length nor chunks, and the
 * server would read it as the next request on that connection (RFC 9112, section 11.2).
 */
const framingOf = (
  body: OutboundRequest['body'],
  headers: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> => {
  if (body === undefined) return {}
  if (typeof body !== 'function') return { 'content-length': String(Buffer.byteLength(body)) }
  return headers['content-length'] === undefined ? { 'transfer-encoding': 'chunked' } : {}
}

const attend = (witness: Witness, socket: Socket): void => {
  const onConnect = (): void => {
    witness.connectedAtMs = performance.now()
    if (socket.localAddress !== undefined) witness.from = socket.localAddress
  }
  if (socket.connecting) socket.once('connect', onConnect)
  else onConnect()
  if (!(socket instanceof TLSSocket)) return
  socket.prependOnceListener('secure', () => (witness.chain = socket.getPeerCertificate(true)))
  socket.once('secureConnect', () => (witness.securedAtMs = performance.now()))
}

const parseTarget = (text: string): URL => {
  const url = URL.parse(text)
  if (url?.protocol === 'https:' || url?.protocol === 'http:') return url
  throw new Failure('configuration', 'what is called must be an http: or https: URL')
}

const refusalOf = (status: number, reason = '', headers: IncomingHttpHeaders = {}) => {
  const squid = headers['x-squid-error']
  const offers = schemesOf(headers['proxy-authenticate'])
  return { status, reason, offers, ...(typeof squid === 'string' && { squid }) }
}

const isCode = (error: Error, code: string): boolean => 'code' in error && error.code === code

const nameOf = (issuer: NodeJS.Dict<string | string[]> | undefined): string | undefined => {
  const name = issuer?.['CN'] ?? issuer?.['O']
  return Array.isArray(name) ? name[0] : name
}
