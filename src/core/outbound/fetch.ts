// `fetch` over the outbound door: redirects, one deadline for all of it, an answer of bounded size read whole.

import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'

/**
 * As much of the standard `fetch` as Octokit uses, and a `Response` has: the runtime's own classes would take 12 MB of memory.
 * Several values of a header are one, with commas.
 */
export type Fetch = (url: string, init?: FetchInit) => Promise<FetchAnswer>

export type FetchInit = {
  readonly method?: string
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  readonly signal?: AbortSignal
  readonly redirect?: 'follow' | 'manual' | 'error'
}

export type FetchAnswer = {
  readonly status: number
  /** Where redirects led to. */
  readonly url: string
  readonly headers: { get(name: string): string | null | undefined } & Iterable<[string, string]>
  text(): Promise<string>
  arrayBuffer(): Promise<ArrayBuffer>
}

type Hop = {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  readonly signal?: AbortSignal
}

export type FetchDeps = {
  /** One request, no redirects followed. */
  readonly send: (
    hop: Hop & { deadlineMs: number },
  ) => Promise<{ status: number; headers: IncomingHttpHeaders; body: Readable }>
  readonly clock: Clock
  readonly deadlineMs: number
  readonly maxBytes: number
}

const MAX_REDIRECTS = 5
const REDIRECTS = new Set([301, 302, 303, 307, 308])
const CREDENTIALS = new Set(['authorization', 'cookie', 'proxy-authorization'])

export const createFetch =
  (deps: FetchDeps): Fetch =>
  async (url, { method = 'GET', headers = {}, body, signal, redirect = 'follow' } = {}) => {
    // The body is handed on as it comes: nothing here unpacks it.
    const { 'accept-encoding': _, ...kept } = headers
    const first: Hop = { method, url, headers: kept, ...(body !== undefined && { body }), ...(signal && { signal }) }
    return follow(deps, first, { redirect, endMs: deps.clock.monotonic() + deps.deadlineMs })
  }

/** `endMs` is monotonic. */
type Limits = { readonly redirect: NonNullable<FetchInit['redirect']>; readonly endMs: number }

const follow = async (deps: FetchDeps, first: Hop, { redirect, endMs }: Limits): Promise<FetchAnswer> => {
  let hop = first
  for (let count = 0; ; count++) {
    const answer = await deps.send({ ...hop, deadlineMs: Math.max(1, endMs - deps.clock.monotonic()) })
    const { location } = answer.headers
    const isRedirect = REDIRECTS.has(answer.status) && location !== undefined
    const isFollowed =
      redirect === 'error' || (redirect === 'follow' && (hop.method === 'GET' || hop.method === 'HEAD'))
    if (!isRedirect || !isFollowed) {
      const late = `the answer was not whole in ${deps.deadlineMs / 1000} s`
      const deadlineMs = endMs - deps.clock.monotonic()
      return toAnswer(
        hop,
        answer,
        await readWhole(answer.body, { ...deps, ...hop, host: hostOf(hop), deadlineMs, late }),
      )
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
  return {
    method: hop.method,
    url: to.href,
    headers: Object.fromEntries(kept),
    ...(hop.signal && { signal: hop.signal }),
  }
}

type Answer = Awaited<ReturnType<FetchDeps['send']>>

const toAnswer = ({ url }: Hop, { status, headers }: Answer, bytes: Buffer<ArrayBuffer>): FetchAnswer => ({
  status,
  url,
  headers: new Map(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]),
  ),
  text: async () => bytes.toString(),
  arrayBuffer: async () => Uint8Array.from(bytes).buffer,
})

/** All of a body. Throws `timeout`, `unreachable` where it breaks off, `github-unexpected` where it is larger, and the reason of `signal`. */
export const readWhole = async (
  body: Readable,
  options: {
    clock: Pick<Clock, 'after'>
    host: string
    deadlineMs: number
    /** What is said where the deadline passes. */
    late: string
    maxBytes: number
    /** What is more is left, and no failure. */
    isCut?: boolean
    signal?: AbortSignal
  },
): Promise<Buffer<ArrayBuffer>> => {
  const { host, maxBytes, signal } = options
  const late = new Failure('timeout', `${host}: ${options.late}`)
  const timer = options.clock.after(Math.max(0, options.deadlineMs), () => body.destroy(late))
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of body) {
      if (!(chunk instanceof Uint8Array)) throw new TypeError('the body is not bytes')
      size += chunk.length
      if (size > maxBytes && !options.isCut) {
        throw new Failure('github-unexpected', `${host}: the answer is over ${maxBytes} bytes`)
      }
      chunks.push(chunk)
      if (size > maxBytes) break
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    if (error instanceof Failure) throw error
    throw new Failure('unreachable', `${host}: the answer broke off`, { cause: error })
  } finally {
    timer.cancel()
  }
  return Buffer.concat(chunks, size)
}

const hostOf = (hop: Hop): string => new URL(hop.url).host
