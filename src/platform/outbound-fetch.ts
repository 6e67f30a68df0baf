// The standard `fetch` over the outbound door: redirects, one deadline for all of it, an answer of bounded size read whole.

import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { Failure } from '../domain/errors.ts'

type Hop = {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  readonly signal: AbortSignal
}

export type FetchDeps = {
  /** One request, no redirects followed. */
  readonly send: (
    hop: Hop & { deadlineMs: number },
  ) => Promise<{ status: number; headers: IncomingHttpHeaders; body: Readable }>
  readonly deadlineMs: number
  readonly maxBytes: number
}

const MAX_REDIRECTS = 5
const REDIRECTS = new Set([301, 302, 303, 307, 308])
const CREDENTIALS = new Set(['authorization', 'cookie', 'proxy-authorization'])
/** The Fetch standard has no body for these. */
const BODILESS = new Set([204, 205, 304])

export const createFetch =
  (deps: FetchDeps): typeof globalThis.fetch =>
  async (input, init) => {
    const request = new Request(input, init)
    const body = request.body === null ? undefined : new Uint8Array(await request.arrayBuffer())
    const headers = Object.fromEntries(request.headers)
    // The body is handed on as it comes: nothing here unpacks it.
    delete headers['accept-encoding']
    const first: Hop = {
      method: request.method,
      url: request.url,
      headers,
      ...(body && { body }),
      signal: request.signal,
    }
    return follow(deps, first, { redirect: request.redirect, endMs: performance.now() + deps.deadlineMs })
  }

/** `endMs` is monotonic. */
type Limits = { readonly redirect: Request['redirect']; readonly endMs: number }

const follow = async (deps: FetchDeps, first: Hop, { redirect, endMs }: Limits): Promise<Response> => {
  let hop = first
  for (let count = 0; ; count++) {
    const answer = await deps.send({ ...hop, deadlineMs: Math.max(1, endMs - performance.now()) })
    const location = answer.headers.location
    const isRedirect = REDIRECTS.has(answer.status) && location !== undefined && redirect !== 'manual'
    if (!isRedirect || (hop.method !== 'GET' && hop.method !== 'HEAD')) {
      return toResponse(hop, answer, await readWhole(deps, { hop, body: answer.body, endMs }))
    }
    answer.body.destroy()
    if (redirect === 'error')
      throw new Failure('github-unexpected', `${hostOf(hop)} redirects, which was not asked for`)
    if (count === MAX_REDIRECTS) throw new Failure('github-unexpected', `${hostOf(first)}: over ${count} redirects`)
    hop = nextHop(hop, location)
  }
}

const nextHop = (hop: Hop, location: string): Hop => {
  const from = new URL(hop.url)
  const to = URL.parse(location, from)
  if (to?.protocol !== 'https:' && (to?.protocol !== 'http:' || from.protocol === 'https:')) {
    throw new Failure('github-unexpected', `${from.host} redirects to where no credential may go`)
  }
  to.username = ''
  to.password = ''
  const kept = Object.entries(hop.headers).filter(([name]) => to.origin === from.origin || !CREDENTIALS.has(name))
  return { method: hop.method, url: to.href, headers: Object.fromEntries(kept), signal: hop.signal }
}

type Answer = Awaited<ReturnType<FetchDeps['send']>>

const toResponse = (hop: Hop, answer: Answer, bytes: Uint8Array<ArrayBuffer>): Response => {
  if (answer.status < 200 || answer.status > 599) {
    throw new Failure('github-unexpected', `${hostOf(hop)} answered with status ${answer.status}`)
  }
  const headers = new Headers()
  for (const [name, value] of Object.entries(answer.headers)) {
    for (const one of Array.isArray(value) ? value : [value ?? '']) headers.append(name, one)
  }
  const response = new Response(BODILESS.has(answer.status) ? null : bytes, { status: answer.status, headers })
  Object.defineProperty(response, 'url', { value: hop.url })
  return response
}

const readWhole = async (
  deps: FetchDeps,
  { hop, body, endMs }: { hop: Hop; body: Readable; endMs: number },
): Promise<Uint8Array<ArrayBuffer>> => {
  const late = new Failure('timeout', `${hostOf(hop)}: the answer was not whole in ${deps.deadlineMs / 1000} s`)
  const timer = setTimeout(() => body.destroy(late), endMs - performance.now())
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of body) {
      if (!(chunk instanceof Uint8Array)) throw new TypeError('the body is not bytes')
      size += chunk.length
      if (size > deps.maxBytes) {
        throw new Failure('github-unexpected', `${hostOf(hop)}: the answer is over ${deps.maxBytes} bytes`)
      }
      chunks.push(chunk)
    }
  } catch (error) {
    if (hop.signal.aborted) throw hop.signal.reason
    if (error instanceof Failure) throw error
    throw new Failure('unreachable', `${hostOf(hop)}: the answer broke off`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
  return Uint8Array.from(Buffer.concat(chunks, size))
}

const hostOf = (hop: Hop): string => new URL(hop.url).host
