// Unix sockets: born with their mode, taken over only from the dead, each connection's peer attested once.

import { once } from 'node:events'
import { chmodSync, lstatSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import { connect, Server as NetServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SLOWED_MS } from '../../service/allowance.ts'
import { Failure, toProblem } from '../../protocol/errors.ts'
import { type Holder, holderOf } from '../peers/holder.ts'
import type { Peer } from '../../protocol/profile.ts'
import type { Attest, Attested } from '../peers/peer.ts'
import { createConnections, type Limits, type Place } from './connections.ts'
import { createPipelines, type Handler } from './pipelining.ts'

export type { Handler } from './pipelining.ts'

/** What a slow or silent client can hold: a connection, for this long, and nothing else. */
export const TIMES = {
  headersMs: 10_000,
  requestMs: 30_000,
  idleMs: 60_000,
  /** Nothing that is answered here is silent for so long; event streams have their ping. */
  silenceMs: 120_000,
  /** How often these are looked at: Node's own 30 s would let silent clients stay three times as long. */
  checkMs: 5_000,
}
const MAX_HEADER_BYTES = 16_384
/** A header of three bytes takes a hundred once it is parsed. */
const MAX_HEADERS = 100
/** One that is idle takes some 25 KB. */
export const LIMITS: Limits = { all: 2_048, ofHolder: 768, ofUid: 1_024 }
/** A burst of callers waits its turn; with Node's own 511 the kernel turns the rest of it away. */
const BACKLOG = 4_096
/**
 * The event loop takes one connection in a turn from each listener: with one, a newcomer behind thousands of others waited for
 * seconds.
 */
const LISTENERS = 4
/** Who sent what is no request has a moment to read the answer. */
const LINGER_MS = 500
/** The kernel takes no longer path for a unix socket. */
const MAX_PATH_BYTES = 107

/** An HTTP server without an address yet. */
export const createHttpServer = (handler: Handler, after: After, times = TIMES): Server => {
  const pipelines = createPipelines(handler)
  const server = createServer(
    {
      headersTimeout: times.headersMs,
      requestTimeout: times.requestMs,
      keepAliveTimeout: times.idleMs,
      connectionsCheckingInterval: times.checkMs,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (incoming, outgoing) => {
      // Whatever is written after its end, or after the caller's: that answer is over, and the process is not.
      outgoing.on('error', giveUp)
      closeAfterUpgrade(incoming, outgoing)
      pipelines.handle(incoming, outgoing)
    },
  )
  server.on('connection', pipelines.open)
  server.timeout = times.silenceMs
  server.maxHeadersCount = MAX_HEADERS
  // Node puts "100 Continue" behind the head of an answer that still waits for the one before it: there, it is left out.
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    if (outgoing.socket) outgoing.writeContinue()
    server.emit('request', incoming, outgoing)
  })
  server.on('checkExpectation', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    closeAfterUpgrade(incoming, outgoing)
    outgoing.writeHead(417).end()
  })
  server.on('clientError', (error: Error & { code?: string }, socket) => {
    if (error.code === TIMED_OUT && pipelines.isHeld(socket)) return
    refuse(error, socket, after)
  })
  return server
}

/**
 * Node answers a request that asks for another protocol, and drops the bytes that were received behind it. The requests in them are never
 * answered, so the connection ends, which tells the client.
 */
const closeAfterUpgrade = ({ headers }: IncomingMessage, outgoing: ServerResponse): void => {
  if (headers.upgrade !== undefined) outgoing.shouldKeepAlive = false
}

function giveUp(this: ServerResponse): void {
  this.destroy()
}

type After = (ms: number, task: () => void) => { cancel(): void }

/** Runs the task after a moment, and few in one turn of the event loop: many that were refused together would hold up the others. */
export type Slowly = (task: () => void) => { cancel(): void }

/**
 * What is no request ends with a status that can be read: closed at once, with something unread, it would look like a reset. A socket
 * that is not read any more does not show that the client hung up, so it is closed a little later in any case.
 */
const refuse = (error: Error & { code?: string }, socket: Duplex, after: After): void => {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const status = STATUS_OF[error.code ?? ''] ?? '400 Bad Request'
  const answer = `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`
  // A client that ended within a request sends nothing more, and has mostly gone: kept, it would only take memory.
  const waitMs = error.code === ENDED ? 0 : SLOWED_MS
  const timers = [after(waitMs + LINGER_MS, () => socket.destroy())]
  if (waitMs === 0) socket.end(answer)
  else {
    socket.pause()
    timers.push(after(waitMs, () => socket.end(answer)))
  }
  // For as long as they run they keep all that hangs on the connection.
  socket.once('close', () => {
    for (const timer of timers) timer.cancel()
  })
}

const ENDED = 'HPE_INVALID_EOF_STATE'
const TIMED_OUT = 'ERR_HTTP_REQUEST_TIMEOUT'

const STATUS_OF: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
  [TIMED_OUT]: '408 Request Timeout',
}

/** Who is behind each connection, attested when it is accepted. */
export type Peers = {
  /** Throws `peer-gone` where the kernel did not tell. */
  of(incoming: IncomingMessage): Attested
}

export type AttestOptions = {
  readonly limits?: Limits
  /** Why the peer may not open another connection now. Undefined: a process that ended before it was attested. */
  readonly refusalOf?: (peer: Peer | undefined) => Failure | undefined
  /** The same where its process was refused a moment ago, and need not be looked at again. */
  readonly refusalAgain?: (socket: Socket) => Failure | undefined
  /** Those that are refused wait for it, but for some where many are; without it all are told at once. */
  readonly slowly?: Slowly
  /** Whether the peer has closed it already. */
  readonly hasHungUp?: (socket: Socket) => boolean
}

/** To be called when all listeners to a connection are there. */
export const attestPeers = (server: Server, attest: Attest, options: AttestOptions = {}): Peers => {
  const { limits = LIMITS, refusalOf, refusalAgain, hasHungUp } = options
  // Maps, and nothing weak: a closed connection would be kept, with all that hangs on it, until the next large collection.
  const known = new Map<Socket, Attested | Failure>()
  const keep = (socket: Socket, found: Attested | Failure): void => {
    known.set(socket, found)
    socket.once('close', () => {
      known.delete(socket)
      if (!(found instanceof Failure)) found.release()
    })
  }
  const holderFor = (socket: Socket): Holder | Failure | undefined => {
    let attested: Attested
    try {
      // It waited for the server, and not long enough: nobody hears an answer, and who asked is not to be had.
      if (hasHungUp?.(socket)) return undefined
      const again = refusalAgain?.(socket)
      if (again) return again
      attested = attest(socket)
    } catch (cause) {
      const refusal = refusalOf?.(undefined)
      if (refusal) return refusal
      const isFailure = cause instanceof Failure
      keep(socket, isFailure ? cause : new Failure('peer-gone', 'the kernel does not tell who calls', { cause }))
      return NOBODY
    }
    const refusal = refusalOf?.(attested.peer)
    if (refusal) {
      attested.release()
      return refusal
    }
    keep(socket, attested)
    return holderOf(attested.peer)
  }
  limitConnections(server, limits, holderFor, options)
  return {
    of({ socket }) {
      const found = known.get(socket)
      if (found === undefined || found instanceof Failure)
        throw found ?? new Failure('peer-gone', 'the connection is closed')
      return found
    },
  }
}

/** Where there is nobody to be told from another: a port, and processes that ended before they were attested. */
export const NOBODY: Holder = { name: 'unknown' }

/**
 * For all servers of connections that may be kept. `holderFor` gives a failure where the connection is refused, and undefined where it
 * is not worth an answer.
 */
export const limitConnections = (
  server: Server,
  limits: Limits,
  holderFor: (socket: Socket) => Holder | Failure | undefined,
  refusing: TurnAway = {},
): void => {
  const connections = createConnections(limits)
  const places = new Map<Socket, Place>()
  // Before all others, node:http's too: a refused connection must not cost a parser.
  const others = server.listeners('connection')
  server.removeAllListeners('connection')
  server.on('connection', socket => {
    const holder = holderFor(socket)
    if (!holder) return void socket.destroy()
    if (holder instanceof Failure) return turnAway(socket, holder, refusing)
    const place = connections.enter(socket, holder)
    places.set(socket, place)
    socket.once('close', () => {
      place.leave()
      places.delete(socket)
    })
    for (const other of others) Reflect.apply(other, server, [socket])
  })
  server.prependListener('request', ({ socket }: IncomingMessage, outgoing: ServerResponse) => {
    places.get(socket)?.use(outgoing)
  })
}

/**
 * Told why a moment later, so that who connects in a loop waits for it. What comes meanwhile is read: unread, it would cost the answer.
 * What is more than a request has stays where it is. Who has hung up is not waited for.
 */
const turnAway = (socket: Socket, failure: Failure, { slowly, hasHungUp }: TurnAway): void => {
  const close = (): void => void socket.destroy()
  const tell = (): void => {
    if (!socket.destroyed && !socket.writableEnded) socket.end(answerOf(failure), close)
  }
  socket.on('error', close)
  if (!slowly || turnedAway >= MOST_TURNED_AWAY) return tell()
  turnedAway += 1
  const later = slowly(tell)
  socket.once('close', () => {
    turnedAway -= 1
    later.cancel()
  })
  socket.on('data', () => {
    if (socket.bytesRead > MOST_OF_TURNED_AWAY) socket.pause()
  })
  socket.once('end', () => {
    if (hasHungUp?.(socket)) close()
  })
}

type TurnAway = Pick<AttestOptions, 'slowly' | 'hasHungUp'>

let turnedAway = 0
/** They hold no place, and live long enough to be collected late: beyond it they are told and closed at once. */
const MOST_TURNED_AWAY = 128
const MOST_OF_TURNED_AWAY = 2 ** 15

const answers = new WeakMap<Failure, Buffer>()

/** The same for the same failure. */
const answerOf = (failure: Failure): Buffer => {
  const known = answers.get(failure)
  if (known) return known
  const text = JSON.stringify(toProblem(failure))
  const head = [
    `HTTP/1.1 ${failure.entry.status} ${STATUS_CODES[failure.entry.status]}`,
    'content-type: application/problem+json',
    'cache-control: no-store',
    `content-length: ${Buffer.byteLength(text)}`,
    ...(failure.retryAfterSeconds === undefined ? [] : [`retry-after: ${failure.retryAfterSeconds}`]),
    'connection: close',
  ]
  const bytes = Buffer.from(`${head.join('\r\n')}\r\n\r\n${text}`)
  answers.set(failure, bytes)
  return bytes
}

/** Where a server listens: a path of our own, or a socket that the service manager made and keeps. */
export type UnixAddress = { readonly path: string; readonly mode: number } | { readonly fd: number }

export type Listening = {
  /** Names the process behind a socket. */
  readonly ownerOf: (socket: Socket) => string
  /** Another descriptor of the socket on which a server listens. */
  readonly duplicate: (server: NetServer) => number
}

/** Throws `socket-in-use` where a live process owns the path; a dead one's socket is replaced. `configuration` for a path that is too long. */
export const listenUnix = async (server: NetServer, address: UnixAddress, deps: Listening): Promise<void> => {
  if (!('fd' in address)) {
    if (Buffer.byteLength(address.path) > MAX_PATH_BYTES)
      throw new Failure('configuration', `[paths] runtime: ${address.path} is longer than ${MAX_PATH_BYTES} bytes`)
    await removeStale(address.path, deps.ownerOf)
  }
  // bind(2) takes the mode from the umask: there is no moment in which the socket has another one.
  const umask = 'fd' in address ? undefined : process.umask(0o777 & ~address.mode)
  const listening = Promise.withResolvers<void>()
  try {
    server.once('error', listening.reject)
    // Behind it: Node leaves a `backlog` beside `fd` unread.
    server.listen('fd' in address ? { fd: address.fd } : { path: address.path }, BACKLOG, listening.resolve)
  } finally {
    if (umask !== undefined) process.umask(umask)
  }
  await listening.promise
  server.off('error', listening.reject)
  if (!('fd' in address)) chmodSync(address.path, address.mode)
  const beside = await listenWith(server, deps)
  helpers.set(server, beside)
  server.once('close', () => {
    for (const helper of beside) helper.close()
  })
}

/** Those that listen beside a server, and pass on to it what connects to them. */
const helpers = new WeakMap<NetServer, readonly NetServer[]>()

const listenWith = (server: NetServer, { duplicate }: Listening): Promise<readonly NetServer[]> => {
  const listen = async (): Promise<NetServer> => {
    const helper = new NetServer({ allowHalfOpen: true }, socket => server.emit('connection', socket))
    helper.listen({ fd: duplicate(server) }, BACKLOG)
    await once(helper, 'listening')
    return helper
  }
  return Promise.all(Array.from({ length: LISTENERS - 1 }, listen))
}

const removeStale = async (path: string, ownerOf: (socket: Socket) => string): Promise<void> => {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (!found) return
  if (!found.isSocket()) throw new Failure('socket-in-use', `${path} exists and is not a socket`)
  const socket = connect(path)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.once('connect', () => {
    reject(new Failure('socket-in-use', `${path} belongs to ${ownerOf(socket)}`))
    socket.destroy()
  })
  socket.once('error', error => {
    if ('code' in error && (error.code === 'ECONNREFUSED' || error.code === 'ENOENT')) return resolve()
    reject(new Failure('socket-in-use', `${path} cannot be looked into`, { cause: error }))
  })
  await promise
  rmSync(path, { force: true })
}

/** Resolves when the last connection has ended, of which none is cut off. */
export const stopListening = (server: NetServer): Promise<unknown> =>
  // Not http's own `close`: it begins by cutting off connections that were not read yet, with their requests.
  Promise.all(
    [server, ...(helpers.get(server) ?? [])].map(
      one => new Promise<unknown>(resolve => void NetServer.prototype.close.call(one, resolve)),
    ),
  )

/** Ends a server: no new connections, requests under way finish, idle ones are closed, also those that become so. */
export const closeServer = async (server: Server, graceMs: number, after: After): Promise<void> => {
  const closed = stopListening(server)
  server.prependListener('request', (_incoming: IncomingMessage, outgoing: ServerResponse) => {
    outgoing.shouldKeepAlive = false
  })
  const sweep = (): void => {
    // On a busy machine it is late: what has come meanwhile is read first.
    setImmediate(() => server.closeIdleConnections())
    sweeping = after(SWEEP_MS, sweep)
  }
  let sweeping = after(SWEEP_MS, sweep)
  const timer = after(graceMs, () => server.closeAllConnections())
  await closed
  timer.cancel()
  sweeping.cancel()
}

/** Clients keep a connection when they have their answer, and would be waited for. Long enough to read what was sent already. */
const SWEEP_MS = 50
