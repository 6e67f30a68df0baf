// Speaks to the daemon: HTTP over a unix socket. What goes wrong, and what the daemon says went wrong, becomes a Failure.

import { Agent, type ClientRequest, type IncomingMessage, request, type RequestOptions } from 'node:http'
import { Socket } from 'node:net'
import { StringDecoder } from 'node:string_decoder'
import type { z } from 'zod'
import { type BodyOf, type EndpointName, endpointOf, type QueryOf, type SeenOf } from './endpoints.ts'
import { Failure, isCode, PROBLEM_PREFIX } from './errors.ts'
import { EventBody, ProblemBody } from './wire.ts'

/** What an endpoint of the table is given. */
export type Given<N extends EndpointName> = {
  readonly body?: BodyOf<N>
  readonly query?: QueryOf<N>
  /** How long the daemon may be silent, if not two minutes. */
  readonly silenceMs?: number
}

/** Minting by way of a slow proxy takes a while; nothing the daemon does takes this long. */
const SILENCE_MS = 120_000
const MAX_ANSWER_BYTES = 16 * 1_048_576
const [JSON_TYPE, BYTES_TYPE, EVENTS_TYPE] = ['application/json', 'application/octet-stream', 'text/event-stream']

export type Client = ReturnType<typeof createClient>

/** All but `subscribe` throw what the daemon's problem says, `daemon-absent`, or `not-permitted` where the socket may not be opened. */
export const createClient = (socket: string) => ({
  socket,
  /** An endpoint of the table that answers in JSON. */
  async ask<N extends EndpointName>(
    name: N,
    { body, query, silenceMs = SILENCE_MS }: Given<N> = {},
  ): Promise<SeenOf<N>> {
    const { answer, seenAnswer = answer } = endpointOf(name)
    if (!seenAnswer) throw new Error(`${name} does not answer in JSON`)
    const text = body === undefined ? undefined : JSON.stringify(body)
    const response = await send(socket, { ...startOf(name, query), timeout: silenceMs, accept: JSON_TYPE, text })
    const bytes = await bodyOf(response, socket)
    const value = parseJson(bytes.toString())
    if (value === undefined) throw failureOf(response, bytes, socket)
    return tolerantly(seenAnswer as z.ZodType<SeenOf<N>>, value)
  },
  /** The same for an answer that is bytes. */
  async fetchBytes<N extends EndpointName>(name: N, { query, silenceMs = SILENCE_MS }: Given<N>): Promise<Buffer> {
    const response = await send(socket, { ...startOf(name, query), timeout: silenceMs, accept: BYTES_TYPE })
    return bodyOf(response, socket)
  },
  /** The same in the other media type of the endpoint, a language of texts; empty where the daemon has nothing to say (204). */
  async exchangeText(name: EndpointName, text: string): Promise<string> {
    const { media = '' } = endpointOf(name)
    const opening = { ...startOf(name), timeout: SILENCE_MS, accept: media, type: media, text, mayBeEmpty: true }
    return (await bodyOf(await send(socket, opening), socket)).toString()
  },
  /** The data of each event of a stream, until its end. */
  async stream<N extends EndpointName>(name: N, query: QueryOf<N>, onData: (data: string) => void): Promise<void> {
    const response = await send(socket, { ...startOf(name, query), timeout: 0, accept: EVENTS_TYPE })
    const feed = createEventReader(onData)
    try {
      for await (const chunk of response) feed(chunk)
    } catch (cause) {
      throw new Failure('daemon-absent', `${socket}: the daemon went away in the middle of its answer`, { cause })
    }
  },
  /**
   * Events as they come, until closed or, as `onEnd` is told, the daemon ends or refuses the stream. Never throws: subscribers also
   * poll, and only learn sooner.
   */
  subscribe(onEvent: (event: EventBody) => void, onEnd: (refused: boolean) => void = () => {}): { close(): void } {
    const outgoing = open(socket, { ...startOf('GET /v1/events'), timeout: 0, accept: EVENTS_TYPE })
    const feed = createEventReader(data => {
      const event = EventBody.safeParse(parseJson(data))
      if (event.success) onEvent(event.data)
    })
    const close = (): void => void outgoing.destroy()
    outgoing.on('error', close)
    let refused = false
    outgoing.once('close', () => onEnd(refused))
    outgoing.on('response', response => {
      response.on('error', close)
      refused = !isGood(response, EVENTS_TYPE)
      if (refused) close()
      else response.on('data', feed)
    })
    outgoing.end()
    return { close }
  },
})

const startOf = <N extends EndpointName>(name: N, query?: QueryOf<N>): { method: string; path: string } => ({
  method: name.slice(0, name.indexOf(' ')),
  path: pathOf(name, query),
})

/** The path of an endpoint, with what its query says. */
export const pathOf = <N extends EndpointName>(name: N, query?: QueryOf<N>): string => {
  const path = name.slice(name.indexOf(' ') + 1)
  const search = new URLSearchParams()
  for (const [key, value] of Object.entries<unknown>(query ?? {})) if (typeof value === 'string') search.set(key, value)
  return search.size === 0 ? path : `${path}?${search.toString()}`
}

type Opening = { method: string; path: string; timeout: number; accept: string; type?: string }

const open = (socketPath: string, { method, path, timeout, accept, type = JSON_TYPE }: Opening): ClientRequest =>
  request({
    method,
    path,
    timeout,
    socketPath,
    agent: AGENT,
    headers: { host: 'localhost', accept, ...(method === 'POST' && { 'content-type': type }) },
  })

/**
 * The daemon may refuse a request, and close, before it has read all of it: what cannot be written then (EPIPE) must not destroy the
 * socket before its answer is read. Where none came, the end of the stream shows it.
 */
class AnswerFirstSocket extends Socket {
  override _write(...[chunk, encoding, done]: Parameters<Socket['_write']>): void {
    super._write(chunk, encoding, error => done(isClosedPipe(error) ? null : error))
  }

  override _writev(...[chunks, done]: Parameters<NonNullable<Socket['_writev']>>): void {
    super._writev?.(chunks, error => done(isClosedPipe(error) ? null : error))
  }
}

class AnswerFirstAgent extends Agent {
  override createConnection({ socketPath }: RequestOptions): Socket {
    return new AnswerFirstSocket().connect({ path: socketPath ?? '' })
  }
}
const AGENT = new AnswerFirstAgent()

const isClosedPipe = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'EPIPE'

type Sending = Opening & { text?: string | undefined; mayBeEmpty?: boolean }

/** The head of a good answer, of the type that was asked for; 204 where it may be empty. */
const send = async (socket: string, { text, mayBeEmpty, ...opening }: Sending): Promise<IncomingMessage> => {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const outgoing = open(socket, opening)
  outgoing.once('response', resolve)
  outgoing.on('error', error => reject(connectionFailure(error, socket)))
  outgoing.on('timeout', () => {
    outgoing.destroy(new Failure('daemon-absent', `${socket}: no answer in time`))
  })
  outgoing.end(text)
  const response = await promise
  if (isGood(response, opening.accept) || (mayBeEmpty && response.statusCode === 204)) return response
  throw failureOf(response, await bodyOf(response, socket), socket)
}

const isGood = (response: IncomingMessage, type: string): boolean =>
  /^2\d\d$/.test(String(response.statusCode)) && mediaType(response) === type

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
      return socket.endsWith('admin.sock')
        ? new Failure('not-permitted', `only root and members of the group ghconnect-admin may open ${socket}`, {
            cause: error,
            next: 'Run it with sudo, or join the group ghconnect-admin.',
          })
        : new Failure('not-permitted', `this user may not open ${socket}`, { cause: error, next: 'Run it with sudo.' })
    case 'ENAMETOOLONG':
    case 'EINVAL':
      return new Failure('usage', `${socket}: this cannot be the path of a socket`, { cause: error })
    default:
      return code.startsWith('HPE_')
        ? notTheDaemon(socket, 'what listens there does not speak HTTP')
        : new Failure('daemon-absent', `${socket}: the connection broke before an answer came`, { cause: error })
  }
}

/** What an answer that is not the one that was asked for says. */
const failureOf = (response: IncomingMessage, bytes: Buffer, socket: string): Failure => {
  const type = mediaType(response)
  const parsed = type === 'application/problem+json' ? ProblemBody.safeParse(parseJson(bytes.toString())) : undefined
  if (!parsed?.success) {
    const what = `HTTP ${response.statusCode}, ${type || 'no content type'}`
    return notTheDaemon(socket, `what listens there is not ghconnectd (${what})`)
  }
  const { type: urn, title, detail, next } = parsed.data
  const code = urn.startsWith(PROBLEM_PREFIX) ? urn.slice(PROBLEM_PREFIX.length) : ''
  // A code that only a newer daemon knows: its own words are all there is.
  if (!isCode(code)) return new Failure('internal', `${title}: ${detail} ${next}`)
  const retryAfter = response.headers['retry-after'] ?? ''
  const wait = /^\d{1,6}$/.test(retryAfter) ? { retryAfterSeconds: Number(retryAfter) } : {}
  return new Failure(code, detail, { next: next || undefined, ...wait })
}

const notTheDaemon = (socket: string, what: string): Failure => new Failure('daemon-absent', `${socket}: ${what}`)

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

/** Longer than any event of ours: what goes on without a line end is dropped rather than kept. */
const MAX_EVENT = 1_048_576

/** Reads server-sent events (text/event-stream) from its pieces, however they are cut; `onData` gets the `data` of each, lines joined. */
export const createEventReader = (onData: (data: string) => void): ((piece: Buffer) => void) => {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  let data: string[] = []
  const take = (line: string): void => {
    if (line === '') {
      if (data.length > 0) onData(data.join('\n'))
      data = []
      return
    }
    const [, field, value = ''] = /^([^:]*)(?:: ?([^]*))?$/.exec(line) ?? []
    if (field === 'data') data.push(value)
  }
  return piece => {
    rest += decoder.write(piece)
    // A CR at the very end may be half of a CRLF: it waits for what follows.
    const lines = rest.split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
    if (rest.length > MAX_EVENT) rest = ''
  }
}
