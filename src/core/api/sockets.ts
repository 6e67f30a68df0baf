// Unix sockets: born with their mode, taken over only from the dead, each connection's peer attested once.

import { once } from 'node:events'
import { chmodSync, lstatSync, rmSync } from 'node:fs'
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import { connect, Server as NetServer, type Socket } from 'node:net'
import { Failure, toProblem } from '../../protocol/errors.ts'
import { type Holder, holderOf } from '../peers/holder.ts'
import type { Peer } from '../../protocol/profile.ts'
import { type Attest, type Attested, fdOf } from '../peers/peer.ts'
import type { Clock } from '../../service/clock.ts'
import { duplicate, peerCredentials } from '../../service/libc.ts'

/** One that is idle takes some 25 KB. */
export const LIMITS: Limits = { all: 2_048, ofHolder: 768, ofUid: 1_024 }
/** A burst of callers waits its turn; with Node's own 511 the kernel turns the rest of it away. */
const BACKLOG = 4_096
/**
 * The event loop takes one connection in a turn from each listener: with one, a newcomer behind thousands of others waited for
 * seconds.
 */
const LISTENERS = 4
/** The kernel takes no longer path for a unix socket. */
const MAX_PATH_BYTES = 107

export type AttestOptions = {
  readonly limits?: Limits
  /** Why the peer may not open another connection now. Undefined: a process that ended before it was attested. */
  readonly refusalOf?: (peer: Peer | undefined) => Failure | undefined
  /** The same where its process was refused a moment ago, and need not be looked at again. */
  readonly refusalAgain?: (socket: Socket) => Failure | undefined
  /**
   * Runs the answer to those that are refused after a moment, and few in one turn of the event loop: many that were refused together would
   * hold up the others. Without it all are told at once.
   */
  readonly slowly?: (task: () => void) => { cancel(): void }
  /** Whether the peer has closed it already. */
  readonly hasHungUp?: (socket: Socket) => boolean
}

export type Peers = ReturnType<typeof attestPeers>

/** Attests the peer of each connection when it is accepted. To be called when all listeners to a connection are there. */
export const attestPeers = (server: Server, attest: Attest, options: AttestOptions = {}) => {
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
      // It waited for the server, and not long enough: nobody hears an answer, and the kernel no longer knows who asked.
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
    /** Throws `peer-gone` where the kernel did not tell. */
    of({ socket }: IncomingMessage): Attested {
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
 * Tells the client why a moment later, so that one that connects in a loop waits for it. What comes meanwhile is read: unread, it would
 * cost the answer. What is more than a request has stays where it is. A client that has hung up is not waited for.
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

export type Limits = {
  readonly all: number
  readonly ofHolder: number
  /** Over all units of one uid. */
  readonly ofUid: number
}

/** What can be closed: a socket. */
export type Closable = { destroy(): unknown }
/** The answer to the last request of a connection. */
export type Answering = { readonly writableEnded: boolean }

export type Place = {
  /** For each request: the connection is in use now, and busy until the answer has ended. */
  use(answering: Answering): void
  /** The connection is closed. Idempotent. */
  leave(): void
}

type Taken = { readonly connection: Closable; readonly group: Group; usedAt: number; answering: Answering | undefined }
type Group = { readonly holder: Holder; readonly taken: Set<Taken> }

/** Who has how many connections of one server: no holder more than its share, and a newcomer is served although others came first. */
export const createConnections = (limits: Limits) => {
  const groups = new Map<string, Group>()
  const uids = new Map<number, number>()
  let size = 0
  /** Counts requests: who has the lowest number has been idle for longest. */
  let uses = 0

  const countUid = ({ uid }: Holder, change: 1 | -1): void => {
    if (uid === undefined) return
    const now = (uids.get(uid) ?? 0) + change
    if (now > 0) uids.set(uid, now)
    else uids.delete(uid)
  }
  /** What a holder is judged by: a uid that takes several units is as large as all of them together. */
  const weightOf = ({ holder: { uid }, taken }: Group): number =>
    uid === undefined ? taken.size : (uids.get(uid) ?? 0)

  const leave = (one: Taken): void => {
    const { group } = one
    if (!group.taken.delete(one)) return
    size -= 1
    countUid(group.holder, -1)
    if (group.taken.size === 0) groups.delete(group.holder.name)
  }
  const closeIdlest = (group: Group | undefined): void => {
    let idlest: Taken | undefined
    for (const one of group?.taken ?? []) if (!idlest || isIdler(one, idlest)) idlest = one
    if (!idlest) return
    leave(idlest)
    idlest.connection.destroy()
  }
  const largest = (among: (group: Group) => boolean): Group | undefined => {
    let found: Group | undefined
    let weight = 0
    for (const group of groups.values()) {
      if (!among(group)) continue
      const own = weightOf(group)
      if (found && (own < weight || (own === weight && group.taken.size <= found.taken.size))) continue
      found = group
      weight = own
    }
    return found
  }
  const makeRoom = ({ name, uid }: Holder): void => {
    const own = groups.get(name)
    if (own && own.taken.size >= limits.ofHolder) closeIdlest(own)
    else if (uid !== undefined && (uids.get(uid) ?? 0) >= limits.ofUid)
      closeIdlest(largest(({ holder }) => holder.uid === uid))
    else if (size >= limits.all) closeIdlest(largest(() => true))
  }

  return {
    /**
     * Counts one more. Where its holder, its uid or all have as many as they may, the idlest connection is closed: that of the same
     * holder, of the uid's largest holder, of the largest holder of all. One with a request under way is closed only where all have one.
     */
    enter(connection: Closable, holder: Holder): Place {
      makeRoom(holder)
      const group = groups.get(holder.name) ?? { holder, taken: new Set() }
      groups.set(holder.name, group)
      const one: Taken = { connection, group, usedAt: ++uses, answering: undefined }
      group.taken.add(one)
      size += 1
      countUid(holder, 1)
      return {
        use(answering) {
          one.usedAt = ++uses
          one.answering = answering
        },
        leave: () => leave(one),
      }
    },
    get size(): number {
      return size
    },
  }
}

const isBusy = ({ answering }: Taken): boolean => answering !== undefined && !answering.writableEnded

const isIdler = (one: Taken, other: Taken): boolean =>
  isBusy(one) === isBusy(other) ? one.usedAt < other.usedAt : isBusy(other)

/** Where a server listens: a path of our own, or a socket that the service manager made and keeps. */
export type UnixAddress = { readonly path: string; readonly mode: number } | { readonly fd: number }

/** Throws `socket-in-use` where a live process owns the path; a dead one's socket is replaced. `configuration` for a path that is too long. */
export const listenUnix = async (server: NetServer, address: UnixAddress): Promise<void> => {
  if (!('fd' in address)) {
    if (Buffer.byteLength(address.path) > MAX_PATH_BYTES)
      throw new Failure('configuration', `[paths] runtime: ${address.path} is longer than ${MAX_PATH_BYTES} bytes`)
    await removeStale(address.path)
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
  const beside = await listenWith(server)
  helpers.set(server, beside)
  server.once('close', () => {
    for (const helper of beside) helper.close()
  })
}

/** Those that listen beside a server, and pass on to it what connects to them. */
const helpers = new WeakMap<NetServer, readonly NetServer[]>()

const listenWith = (server: NetServer): Promise<readonly NetServer[]> => {
  const listen = async (): Promise<NetServer> => {
    const helper = new NetServer({ allowHalfOpen: true }, socket => server.emit('connection', socket))
    helper.listen({ fd: duplicate(fdOf(server)) }, BACKLOG)
    await once(helper, 'listening')
    return helper
  }
  return Promise.all(Array.from({ length: LISTENERS - 1 }, listen))
}

const removeStale = async (path: string): Promise<void> => {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (!found) return
  if (!found.isSocket()) throw new Failure('socket-in-use', `${path} exists and is not a socket`)
  const socket = connect(path)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.once('connect', () => {
    reject(new Failure('socket-in-use', `${path} belongs to process ${peerCredentials(fdOf(socket)).pid}`))
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
export const closeServer = async (server: Server, graceMs: number, after: Clock['after']): Promise<void> => {
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
