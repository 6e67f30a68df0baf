// The HTTP server of every socket and of the page: how long and how much a client may hold, and how many of its requests are parsed at once.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SLOWED_MS } from '../../service/limits.ts'
import type { Clock } from '../../service/clock.ts'

export type Handler = (incoming: IncomingMessage, outgoing: ServerResponse) => void

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
/** A client that sent what is not a request has a moment to read the answer. */
const LINGER_MS = 500
/** Node parses at once what it has read, 64 KB: some hundreds of requests, which take milliseconds and a megabyte. */
const PIECE_BYTES = 1_024
/** Within a body there are no requests but behind its end. */
const BODY_PIECE_BYTES = 4_096
/** While so many wait on one connection, nothing more of it is parsed. */
const ENOUGH = 4
/** Waiting requests on all connections of a server: while there are more, pieces are smaller than most requests. */
const CROWD = 2_048
const SMALL_PIECE_BYTES = 128
/** Of all connections of a server together, not parsed yet. Beyond it, one that has more than a piece of its own is closed. */
const MOST_UNPARSED_BYTES = 2 ** 23

/** An HTTP server without an address yet. */
export const createHttpServer = (handler: Handler, after: Clock['after'], times = TIMES): Server => {
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

/**
 * What is no request ends with a status that can be read: closed at once, with something unread, it would look like a reset. A socket
 * that is not read any more does not show that the client hung up, so it is closed a little later in any case.
 */
const refuse = (error: Error & { code?: string }, socket: Duplex, after: Clock['after']): void => {
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

type Line = {
  readonly socket: Socket
  /** What Node does with bytes that were received, and with their end. */
  readonly parse: (piece: Buffer) => void
  readonly finish: () => void
  current: ServerResponse | undefined
  readonly waiting: [IncomingMessage, ServerResponse][]
  unparsed: Buffer
  /** The end was received, and stands behind what is not parsed. */
  ended: boolean
  /** Paused by us; Node pauses and resumes a socket, too. */
  held: boolean
}

/** The requests of one connection are served in turn, and of what it has sent only a few requests are parsed before that. */
const createPipelines = (handler: Handler) => {
  // Not weak: V8 would keep all that a closed connection has for the next large collection, and that one would be soon.
  const lines = new Map<Duplex, Line>()
  let unparsedInAll = 0
  let waitingInAll = 0

  const setUnparsed = (line: Line, bytes: Buffer): void => {
    unparsedInAll += bytes.length - line.unparsed.length
    line.unparsed = bytes
  }
  const receive = (line: Line, bytes: Buffer): void => {
    setUnparsed(line, line.unparsed.length === 0 ? bytes : Buffer.concat([line.unparsed, bytes]))
    goOn(line)
    if (unparsedInAll > MOST_UNPARSED_BYTES && line.unparsed.length > PIECE_BYTES) line.socket.destroy()
  }
  /** Parses as much as may wait. Node pauses the socket, too, while an answer or a body is not taken. */
  const goOn = (line: Line): void => {
    const { socket } = line
    while (line.unparsed.length > 0 && !hasEnough(line) && !socket.isPaused() && !socket.destroyed) {
      const size = waitingInAll < CROWD ? (isInBody(line) ? BODY_PIECE_BYTES : PIECE_BYTES) : SMALL_PIECE_BYTES
      const piece = line.unparsed.subarray(0, size)
      setUnparsed(line, line.unparsed.subarray(size))
      line.parse(piece)
    }
    if (socket.destroyed || socket.isPaused()) return
    if (line.unparsed.length > 0) {
      // A small rest would keep all that was read with it.
      if (line.unparsed.length * 2 < line.unparsed.buffer.byteLength) line.unparsed = Buffer.from(line.unparsed)
      hold(line)
    } else if (line.ended) {
      line.ended = false
      line.finish()
    } else if (hasEnough(line)) hold(line)
  }
  const hold = (line: Line): void => {
    line.held = true
    line.socket.pause()
  }
  const letGo = (line: Line): void => {
    line.held = false
    line.socket.resume()
  }
  const begin = (line: Line, incoming: IncomingMessage, outgoing: ServerResponse): void => {
    line.current = outgoing
    outgoing.once('close', () => {
      if (line.current === outgoing) line.current = undefined
      if (line.waiting.length > 0) setImmediate(next, line)
    })
    handler(incoming, outgoing)
  }
  const next = (line: Line): void => {
    if (line.socket.destroyed || (line.current && !line.current.writableEnded)) return
    const [incoming, outgoing] = line.waiting.shift() ?? []
    if (incoming && outgoing) {
      waitingInAll -= 1
      begin(line, incoming, outgoing)
    }
    if (line.held && !hasEnough(line)) letGo(line)
  }

  return {
    /** In place of the handler. */
    handle(incoming: IncomingMessage, outgoing: ServerResponse): void {
      const line = lines.get(incoming.socket)
      if (!line || incoming.socket.destroyed) return
      if (line.waiting.length === 0 && (line.current?.writableEnded ?? true)) begin(line, incoming, outgoing)
      else {
        line.waiting.push([incoming, outgoing])
        waitingInAll += 1
      }
    },
    /** Before Node has received anything on it. */
    open(socket: Socket): void {
      const [stop, start] = [listenerOf(socket, 'pause'), listenerOf(socket, 'resume')]
      const line: Line = {
        socket,
        parse: takeOver(socket, 'data'),
        finish: takeOver(socket, 'end'),
        current: undefined,
        waiting: [],
        unparsed: NOTHING,
        ended: false,
        held: false,
      }
      lines.set(socket, line)
      socket.on('data', (bytes: Buffer) => receive(line, bytes))
      socket.on('end', () => {
        line.ended = true
        goOn(line)
      })
      // A paused socket is not read at all. Node takes this back with its listener to 'data', and would keep 64 KB, in pieces of any size.
      socket.on('pause', stop).on('resume', start)
      const read = socket._read
      socket._read = size => {
        if (!socket.isPaused()) read.call(socket, size)
      }
      // Node resumes a socket with each message that is complete, even where we have paused it.
      socket.on('resume', () => (line.held ? socket.pause() : goOn(line)))
      socket.once('close', () => {
        setUnparsed(line, NOTHING)
        waitingInAll -= line.waiting.length
        line.waiting.length = 0
        lines.delete(socket)
      })
    },
    /** Whether it waits for answers of its own: that what it sends is not complete is not its fault. */
    isHeld: (socket: Duplex): boolean => lines.get(socket)?.held ?? false,
  }
}

const NOTHING = Buffer.alloc(0)

/** The body of one that waits is read by nobody yet. */
const hasEnough = ({ waiting }: Line): boolean => waiting.length >= ENOUGH || waiting.at(-1)?.[0].complete === false

const isInBody = ({ current, waiting }: Line): boolean => waiting.length === 0 && current?.req.complete === false

type Listener = (...args: unknown[]) => void

/** The one that node:http has put there, which is the last. */
const listenerOf = (socket: Socket, event: 'data' | 'end' | 'pause' | 'resume'): Listener => {
  const listener = socket.listeners(event).at(-1)
  if (!listener) throw new Error(`node:http does not listen to '${event}'`)
  return (...args) => void Reflect.apply(listener, socket, args)
}

const takeOver = (socket: Socket, event: 'data' | 'end'): Listener => {
  const listener = listenerOf(socket, event)
  for (const own of socket.listeners(event).slice(-1)) socket.off(event, own)
  return listener
}
