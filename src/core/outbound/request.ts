// One request on its way out: deadline, abort, and each failure laid at the right door.

import { type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { isIP, type Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { checkServerIdentity, TLSSocket } from 'node:tls'
import { Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import { explainDelay, explainError, explainRefusal, type Progress, progressOf, schemesOf } from './errors.ts'
import type { Connector, Pool } from './pool.ts'

export type OutboundRequest = {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string | StreamedBody
  readonly signal?: AbortSignal
  /** For connection, TLS and the head of the answer together; 30 s where it is not given. */
  readonly deadlineMs?: number
  /** Filled in on the way, for whoever wants to know how far the call came. Makes the call over a connection of its own. */
  readonly progress?: Progress
}

/**
 * A body that is read once, while it is sent. A function, so that no stream waits with an error that nobody listens to: the request
 * iterates it as soon as it exists, and what it throws is what `send` throws.
 */
export type StreamedBody = () => AsyncIterable<Uint8Array>

export type OutboundResponse = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** The caller reads it to the end or destroys it. Where the connection breaks it ends with a plain error of Node's. */
  readonly body: Readable
}

/** What the request is made over. */
export type Way = {
  readonly pool: Pool
  readonly clock: Clock
  /** Aborted when everything is to end. */
  readonly closing: AbortSignal
}

/** Once more over a new connection, where one that was kept turned out to be closed and the method may be repeated. */
export const travel = async (
  way: Way,
  request: OutboundRequest & { deadlineMs: number },
): Promise<OutboundResponse> => {
  const url = parseTarget(request.url)
  const isRepeatable = REPEATABLE.has(request.method.toUpperCase()) && typeof request.body !== 'function'
  const attempt = async (fresh: boolean): Promise<OutboundResponse> => {
    const connector = way.pool.take(url, { fresh })
    const trip = { isStale: false }
    try {
      return await travelOnce(way, request, { url, connector, trip })
    } catch (error) {
      connector.end()
      if (fresh || !trip.isStale || !isRepeatable) throw error
      return attempt(true)
    }
  }
  return attempt(request.progress !== undefined)
}

const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
/** Ours to set, or the proxy's to see. */
const DROPPED = new Set(['host', 'connection', 'transfer-encoding', 'proxy-authorization', 'proxy-connection'])

const travelOnce = (
  { closing, clock }: Way,
  request: OutboundRequest & { deadlineMs: number },
  { url, connector, trip }: { url: URL; connector: Connector; trip: { isStale: boolean } },
): Promise<OutboundResponse> => {
  const { signal, body, deadlineMs } = request
  signal?.throwIfAborted()
  const { proxy } = connector
  const isTls = url.protocol === 'https:'
  const isTunnel = proxy !== undefined && (isTls || proxy.isSocks)
  const progress = request.progress ?? progressOf(url, proxy)
  const given = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !DROPPED.has(name.toLowerCase())))
  const headers = { ...given, ...framingOf(body, given) }
  const { promise, resolve, reject } = Promise.withResolvers<OutboundResponse>()
  const options = { method: request.method, headers, agent: connector.agent }
  const host = url.hostname.replace(/^\[|\]$/g, '')
  // In a tunnel Node knows an address by no name, and would look for the proxy's in the certificate. A connection with a check of its own is not kept.
  const isChecked = isTls && isTunnel && isIP(host) !== 0
  const call = isChecked
    ? requestHttps(url, { ...options, checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate) })
    : (isTls ? requestHttps : requestHttp)(url, options)

  let answer: IncomingMessage | undefined
  let isSettled = false
  let isKept = false
  const settle = (): boolean => {
    const isFirst = !isSettled
    isSettled = true
    timer.cancel()
    return isFirst
  }
  const fail = (error: unknown): void => {
    if (!settle()) return
    reject(error)
    call.destroy()
  }
  const abort = (reason: unknown): void => {
    fail(reason)
    answer?.destroy(reason instanceof Error ? reason : new Error('aborted', { cause: reason }))
  }
  const onAbort = (): void => abort(signal?.reason)
  const onClosing = (): void => abort(new Failure('unreachable', `${url.host}: the daemon is stopping`))
  const timer = clock.after(deadlineMs, () => fail(explainDelay(progress, deadlineMs)))
  signal?.addEventListener('abort', onAbort)
  closing.addEventListener('abort', onClosing)
  call.once('close', () => {
    signal?.removeEventListener('abort', onAbort)
    closing.removeEventListener('abort', onClosing)
  })

  // What the agents of proxy-agent say of their CONNECT; for a plain request through a proxy there is no status.
  call.on('proxyConnect', (connect: { statusCode?: number; statusText?: string; headers?: IncomingHttpHeaders }) => {
    if (connect.statusCode === undefined) return
    if (connect.statusCode === 200) {
      progress.stage = 'target'
      progress.hasPage = /^text\/html\b/i.test(connect.headers?.['content-type'] ?? '')
    } else fail(explainRefusal(progress, refusalOf(connect.statusCode, connect.statusText, connect.headers)))
  })
  call.once('socket', socket => {
    if (isTunnel) progress.stage = 'target'
    if (progress.stage === 'target' && !call.reusedSocket) attend(progress, { socket, clock })
  })
  call.on('error', error => {
    trip.isStale = !isSettled && call.reusedSocket && (isCode(error, 'ECONNRESET') || isCode(error, 'EPIPE'))
    fail(explainError(progress, error))
  })
  call.once('response', response => {
    if (proxy !== undefined && !isTunnel && response.statusCode === 407) {
      fail(explainRefusal(progress, refusalOf(407, response.statusMessage, response.headers)))
      return
    }
    answer = response
    if (!settle()) return
    // Before whoever reads the body goes on, so that the next call finds the connection.
    response.once('end', () => {
      isKept = call.writableFinished && !isChecked
      if (isKept) connector.release()
    })
    response.once('close', () => {
      if (!isKept) connector.end()
    })
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

const attend = (progress: Progress, { socket, clock }: { socket: Socket; clock: Clock }): void => {
  const onConnect = (): void => {
    progress.connectedAtMs = clock.monotonic()
    if (socket.localAddress !== undefined) progress.from = socket.localAddress
  }
  if (socket.connecting) socket.once('connect', onConnect)
  else onConnect()
  if (!(socket instanceof TLSSocket)) return
  // Before the certificate is judged: a socket that was refused tells nothing.
  socket.prependOnceListener('secure', () => {
    const certificate = socket.getPeerCertificate(true)
    progress.chain = certificate
    progress.issuer = nameOf(certificate.issuer)
  })
  socket.once('secureConnect', () => (progress.securedAtMs = clock.monotonic()))
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
