// ANY /v1/github/{path}: streams a request to GitHub's API and the answer back, stripped of what is for one hop or for somebody else.

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { Account } from '../peers/holder.ts'
import {
  GATEWAY_PREFIX,
  rewriteAddress,
  rewriteLinks,
  readGatewayTarget,
  type Rewrite,
} from '../tokens/gateway-target.ts'
import type { RequestBody } from '../tokens/gateway.ts'
import type { Caller } from '../tokens/token-issuer.ts'
import { hasBody, noRoom } from './body.ts'
import type { Api, Exchange } from './context.ts'

export const GATEWAY_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

/** What is longer, or has no room, streams through, and cannot be sent a second time. */
const REPLAYED_BYTES = 2 ** 20
/** Of one that is longer, or does not say, so much has to be there first: who sends half a body and hangs up costs no call of GitHub. */
const BEGUN_BYTES = 2 ** 14
/** What a body that streams has in buffers on its way. */
const STREAMED_BYTES = 131_072
/** An answer that stands still so long is given up. */
const IDLE_MS = 60_000

export const passOn = async (
  { incoming, outgoing, path, query, ours }: Exchange,
  deps: { api: Api; caller: Caller; account: Account; streamed: Account },
): Promise<void> => {
  const { api, caller } = deps
  const { method = '', headers } = incoming
  const { gateway } = api.operations()
  // A reload may name another while GitHub answers.
  const apiUrl = api.backend.apiUrl()
  if (!GATEWAY_METHODS.some(known => known === method)) throw new Failure('unknown-route', `${method} ${path}`)
  const target = readGatewayTarget(path, query)
  const left = new AbortController()
  outgoing.once('close', () => left.abort(new Failure('peer-gone', 'the caller hung up')))
  const { signal } = left
  async function* paced(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer, undefined> {
    for await (const piece of pieces) {
      const ms = api.socket === 'token' ? api.rateLimit.takeBytes(caller.attested.peer, piece.length) : 0
      if (ms > 0) await api.clock.sleep(ms, signal)
      yield piece
    }
  }
  const readBody = hasBody(headers) && (() => readOrStream(incoming, paced(piecesOf(incoming)), deps))
  const request = { method, target, headers: headersOut(headers), ...(readBody && { readBody }), signal }
  const answer = await gateway.forward(request, caller)
  try {
    caller.attested.assertAlive()
    const rewrite = {
      apiUrl,
      ours: ours ?? `http://${headers.host || 'localhost'}${GATEWAY_PREFIX}`,
      ...(answer.profile !== undefined && { profile: answer.profile }),
      ...(target.repository && { repository: target.repository }),
    }
    // GitHub may answer before it has read everything: what is left of the body is not worth reading.
    if (!incoming.complete) outgoing.shouldKeepAlive = false
    outgoing.writeHead(answer.status, headersBack(answer.headers, rewrite))
  } catch (error) {
    answer.body.destroy()
    throw error
  }
  await stream(answer.body, { paced, to: outgoing, clock: api.clock })
}

/** Once the head is sent no problem can follow: an answer that breaks off ends the connection. */
const stream = async (
  from: Readable,
  {
    paced,
    to,
    clock,
  }: { paced: (pieces: Readable) => AsyncIterable<Buffer>; to: ServerResponse; clock: Pick<Clock, 'every'> },
): Promise<void> => {
  let moved = false
  from.on('data', () => (moved = true))
  to.on('drain', () => (moved = true))
  const watch = clock.every(IDLE_MS, () => {
    if (!moved) from.destroy(new Error('the answer stands still'))
    moved = false
  })
  try {
    await pipeline(from, paced, to)
  } catch {
    to.destroy()
  } finally {
    watch.cancel()
  }
}

/** Throws `rate-limited` where there is no room to stream either. */
const readOrStream = async (
  incoming: IncomingMessage,
  pieces: AsyncGenerator<Buffer, undefined>,
  { account, streamed }: { account: Account; streamed: Account },
): Promise<RequestBody> => {
  const { 'content-length': length = Number.POSITIVE_INFINITY } = incoming.headers
  const mostBytes = Number(length) > REPLAYED_BYTES ? BEGUN_BYTES : REPLAYED_BYTES
  const held: Buffer[] = []
  let bytes = 0
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return Buffer.concat(held)
    held.push(value)
    bytes += value.length
    if (bytes <= mostBytes && account.take(value.length)) continue
    if (!streamed.take(STREAMED_BYTES)) throw noRoom()
    return () => continued(held, pieces)
  }
}

async function* continued(held: Buffer[], rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  // Each goes as soon as it is sent.
  for (let piece = held.shift(); piece; piece = held.shift()) yield piece
  yield* rest
}

async function* piecesOf(incoming: IncomingMessage): AsyncGenerator<Buffer, undefined> {
  try {
    // The request outlives its reader: destroying it would close the caller's connection before GitHub's early answer is sent.
    yield* incoming.iterator({ destroyOnReturn: false })
  } catch (cause) {
    throw new Failure('invalid-request', 'the body was cut off', { cause })
  }
}

/** RFC 9110, section 7.6.1; `connection` names further ones. */
const ONE_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]
/** Credentials of the caller's, what a method could be disguised by, and what the new request sets itself. */
const NOT_OUT = new Set([
  ...ONE_HOP,
  'authorization',
  'content-length',
  'cookie',
  'expect',
  'forwarded',
  'host',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-http-method-override',
])
const NOT_BACK = new Set([...ONE_HOP, 'set-cookie'])

const keep = (headers: IncomingHttpHeaders, dropped: ReadonlySet<string>): [string, string][] => {
  const named = new Set((headers.connection ?? '').toLowerCase().split(/\s*,\s*/))
  return Object.entries(headers).flatMap(([name, value]) =>
    value === undefined || dropped.has(name) || named.has(name) ? [] : [[name, String(value)]],
  )
}

const headersOut = (headers: IncomingHttpHeaders): Record<string, string> => {
  const { 'content-length': length } = headers
  return {
    ...Object.fromEntries(keep(headers, NOT_OUT)),
    ...(hasBody(headers) && length !== undefined && { 'content-length': length }),
  }
}

const headersBack = (headers: IncomingHttpHeaders, rewrite: Rewrite): Record<string, string> => {
  const back = Object.fromEntries(keep(headers, NOT_BACK))
  const { link, location } = back
  return {
    ...back,
    ...(link !== undefined && { link: rewriteLinks(link, rewrite) }),
    ...(location !== undefined && { location: rewriteAddress(location, rewrite) }),
  }
}
