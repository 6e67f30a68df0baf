// Speaks to the daemon: HTTP over a unix socket. What goes wrong, and what the daemon says went wrong, becomes a Failure.

import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { StringDecoder } from 'node:string_decoder'
import type { z } from 'zod'
import { type BodyOf, type EndpointName, endpointOf, type QueryOf, type SeenOf } from './endpoints.ts'
import { Failure, isCode, PROBLEM_PREFIX } from './errors.ts'
import { EventBody, ProblemBody } from './wire.ts'
import { createEventReader } from './event-stream.ts'

export type Call<T> = {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly body?: unknown
  readonly answer: z.ZodType<T>
  /** How long the daemon may be silent, if not two minutes. */
  readonly silenceMs?: number
}

/** What an endpoint of the table is given. */
export type Given<N extends EndpointName> = {
  readonly body?: BodyOf<N>
  readonly query?: QueryOf<N>
  /** How long the daemon may be silent, if not two minutes. */
  readonly silenceMs?: number
}

export type Client = {
  readonly socket: string
  /** Asks an endpoint of the table that answers in JSON. Throws as `call` does. */
  ask<N extends EndpointName>(name: N, given?: Given<N>): Promise<SeenOf<N>>
  /** Throws what the daemon's problem says, `daemon-absent`, or `not-permitted` where the socket may not be opened. */
  call<T>(call: Call<T>): Promise<T>
  /** The same for an answer that is bytes. */
  fetchBytes(call: { method: Call<unknown>['method']; path: string; silenceMs?: number }): Promise<Buffer>
  /** The same in a language of texts; empty where the daemon has nothing to say (204). */
  exchangeText(call: { path: string; type: string; text: string }): Promise<string>
  /** The data of each event of a stream, until its end. Throws as `call` does. */
  stream(path: string, onData: (data: string) => void): Promise<void>
  /** Events as they come, until closed or, as `onEnd` tells, the daemon ends or refuses the stream. Never throws: subscribers also poll, and only learn sooner. */
  subscribe(onEvent: (event: EventBody) => void, onEnd?: (refused: boolean) => void): { close(): void }
}

/** Minting by way of a slow proxy takes a while; nothing the daemon does takes this long. */
const SILENCE_MS = 120_000
const MAX_ANSWER_BYTES = 16 * 1_048_576

export const createClient = (socket: string): Client => ({
  socket,
  async ask<N extends EndpointName>(name: N, { body, query, silenceMs }: Given<N> = {}) {
    const { seenAnswer, answer } = endpointOf(name)
    if (!answer) throw new Error(`${name} does not answer in JSON`)
    const [method, path] = [name.slice(0, name.indexOf(' ')) as Call<unknown>['method'], pathOf(name, query)]
    const seen = (seenAnswer ?? answer) as z.ZodType<SeenOf<N>>
    return this.call({ method, path, body, answer: seen, ...(silenceMs !== undefined && { silenceMs }) })
  },
  async call({ method, path, body, answer, silenceMs = SILENCE_MS }) {
    const outgoing = open(socket, { method, path, timeout: silenceMs, accept: 'application/json' })
    outgoing.end(body === undefined ? undefined : JSON.stringify(body))
    const response = await headOf(outgoing, socket)
    const text = (await bodyOf(response, socket)).toString('utf8')
    return readAnswer(response, { text, answer, socket })
  },
  async fetchBytes({ method, path, silenceMs = SILENCE_MS }) {
    const outgoing = open(socket, { method, path, timeout: silenceMs, accept: 'application/octet-stream' })
    outgoing.end()
    const response = await headOf(outgoing, socket)
    const bytes = await bodyOf(response, socket)
    if (response.statusCode === 200 && mediaType(response) === 'application/octet-stream') return bytes
    throw failureOf(response, { text: bytes.toString('utf8'), socket })
  },
  async exchangeText({ path, type, text }) {
    const outgoing = open(socket, { method: 'POST', path, timeout: SILENCE_MS, accept: type, type })
    outgoing.end(text)
    const response = await headOf(outgoing, socket)
    const answer = (await bodyOf(response, socket)).toString('utf8')
    if (response.statusCode === 204) return ''
    if (response.statusCode === 200 && mediaType(response) === type) return answer
    throw failureOf(response, { text: answer, socket })
  },
  async stream(path, onData) {
    const outgoing = open(socket, { method: 'GET', path, timeout: 0, accept: 'text/event-stream' })
    outgoing.end()
    const response = await headOf(outgoing, socket)
    if (response.statusCode !== 200 || mediaType(response) !== 'text/event-stream') {
      throw failureOf(response, { text: (await bodyOf(response, socket)).toString('utf8'), socket })
    }
    const reader = createEventReader(onData)
    const decoder = new StringDecoder('utf8')
    try {
      for await (const chunk of response) reader.feed(decoder.write(chunk))
    } catch (cause) {
      throw new Failure('daemon-absent', `${socket}: the daemon went away in the middle of its answer`, { cause })
    }
  },
  subscribe(onEvent, onEnd = () => {}) {
    const outgoing = open(socket, { method: 'GET', path: '/v1/events', timeout: 0, accept: 'text/event-stream' })
    const reader = createEventReader(data => {
      const event = EventBody.safeParse(parseJson(data))
      if (event.success) onEvent(event.data)
    })
    const decoder = new StringDecoder('utf8')
    const close = (): void => void outgoing.destroy()
    outgoing.on('error', close)
    let refused = false
    outgoing.once('close', () => onEnd(refused))
    outgoing.on('response', response => {
      response.on('error', close)
      refused = response.statusCode !== 200 || mediaType(response) !== 'text/event-stream'
      if (refused) close()
      else response.on('data', (chunk: Buffer) => reader.feed(decoder.write(chunk)))
    })
    outgoing.end()
    return { close }
  },
})

/** The path of an endpoint, with what its query says. */
export const pathOf = <N extends EndpointName>(name: N, query?: QueryOf<N>): string => {
  const path = name.slice(name.indexOf(' ') + 1)
  const search = new URLSearchParams()
  for (const [key, value] of Object.entries<unknown>(query ?? {})) if (typeof value === 'string') search.set(key, value)
  return search.size === 0 ? path : `${path}?${search.toString()}`
}

type Opening = { method: string; path: string; timeout: number; accept: string; type?: string }

const open = (
  socketPath: string,
  { method, path, timeout, accept, type = 'application/json' }: Opening,
): ClientRequest =>
  request({
    socketPath,
    method,
    path,
    timeout,
    agent: false,
    headers: { host: 'localhost', accept, ...(method === 'POST' && { 'content-type': type }) },
  })

const headOf = (outgoing: ClientRequest, socket: string): Promise<IncomingMessage> => {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  outgoing.once('response', resolve)
  outgoing.on('error', error => reject(connectionFailure(error, socket)))
  outgoing.on('timeout', () => {
    outgoing.destroy(new Failure('daemon-absent', `${socket}: no answer in time`))
  })
  return promise
}

const bodyOf = async (response: IncomingMessage, socket: string): Promise<Buffer> => {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of response) {
      const piece: Buffer = chunk
      size += piece.length
      if (size > MAX_ANSWER_BYTES) throw new Failure('daemon-absent', `${socket}: the answer has no end`)
      chunks.push(piece)
    }
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure('daemon-absent', `${socket}: the daemon went away in the middle of its answer`, { cause: error })
  } finally {
    response.destroy()
  }
  return Buffer.concat(chunks)
}

const connectionFailure = (error: Error, socket: string): Failure => {
  if (error instanceof Failure) return error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  switch (code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
    case 'ENOTSOCK':
      return new Failure('daemon-absent', `nothing listens on ${socket}`, { cause: error })
    case 'EACCES':
    case 'EPERM':
      return new Failure(
        'not-permitted',
        socket.endsWith('admin.sock')
          ? `only root and members of the group ghconnect-admin may open ${socket}`
          : `this user may not open ${socket}`,
        {
          cause: error,
          next: socket.endsWith('admin.sock')
            ? 'Run it with sudo, or join the group ghconnect-admin.'
            : 'Run it with sudo.',
        },
      )
    case 'ENAMETOOLONG':
    case 'EINVAL':
      return new Failure('usage', `${socket}: this cannot be the path of a socket`, { cause: error })
    default:
      return code.startsWith('HPE_')
        ? notTheDaemon(socket, 'what listens there does not speak HTTP')
        : new Failure('daemon-absent', `${socket}: the connection broke before an answer came`, { cause: error })
  }
}

const readAnswer = <T>(
  response: IncomingMessage,
  { text, answer, socket }: { text: string; answer: z.ZodType<T>; socket: string },
): T => {
  const status = response.statusCode ?? 0
  const type = mediaType(response)
  if (status >= 200 && status < 300 && type === 'application/json') {
    const body = parseJson(text)
    if (body !== undefined) return tolerantly(answer, body)
  }
  throw failureOf(response, { text, socket })
}

/** What an answer that is not the one that was asked for says. */
const failureOf = (response: IncomingMessage, { text, socket }: { text: string; socket: string }): Failure => {
  const status = response.statusCode ?? 0
  const type = mediaType(response)
  const problem = type === 'application/problem+json' ? ProblemBody.safeParse(parseJson(text)) : undefined
  if (problem?.success) return toFailure(problem.data, response.headers['retry-after'])
  return notTheDaemon(socket, `what listens there is not ghconnectd (HTTP ${status}, ${type || 'no content type'})`)
}

const notTheDaemon = (socket: string, what: string): Failure => new Failure('daemon-absent', `${socket}: ${what}`)

const toFailure = (problem: z.infer<typeof ProblemBody>, retryAfter: string | undefined): Failure => {
  const code = problem.type.startsWith(PROBLEM_PREFIX) ? problem.type.slice(PROBLEM_PREFIX.length) : ''
  const retryAfterSeconds = retryAfter !== undefined && /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) : undefined
  // A code that only a newer daemon knows: its own words are all there is.
  if (!isCode(code)) return new Failure('internal', `${problem.title}: ${problem.detail} ${problem.next}`)
  return new Failure(code, problem.detail, {
    next: problem.next || undefined,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  })
}

/** During an upgrade the daemon may be the newer one: fields that it added are left out, anything else is an error. */
const tolerantly = <T>(schema: z.ZodType<T>, body: unknown): T => {
  const first = schema.safeParse(body)
  if (first.success) return first.data
  for (const issue of first.error.issues) {
    if (issue.code !== 'unrecognized_keys') continue
    const holder = issue.path.reduce<unknown>((at, key) => (isObject(at) ? Reflect.get(at, key) : undefined), body)
    if (isObject(holder)) for (const key of issue.keys) Reflect.deleteProperty(holder, key)
  }
  const second = schema.safeParse(body)
  if (second.success) return second.data
  const [issue] = second.error.issues
  throw new Failure(
    'internal',
    `the daemon and this command are of different versions: ${issue?.path.join('.') || 'answer'}: ${issue?.message}`,
  )
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

const mediaType = (response: IncomingMessage): string =>
  (response.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
