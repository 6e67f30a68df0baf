// Pipelining: the requests of one connection are served in turn, and of what it has sent only a few requests are parsed before that.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

export type Handler = (incoming: IncomingMessage, outgoing: ServerResponse) => void

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

export type Pipelines = {
  /** In place of the handler. */
  readonly handle: Handler
  /** Before Node has received anything on it. */
  open(socket: Socket): void
  /** Whether it waits for answers of its own: that what it sends is not complete is not its fault. */
  isHeld(socket: Duplex): boolean
}

export const createPipelines = (handler: Handler): Pipelines => {
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
    handle(incoming, outgoing) {
      const line = lines.get(incoming.socket)
      if (!line || incoming.socket.destroyed) return
      if (line.waiting.length === 0 && (line.current?.writableEnded ?? true)) begin(line, incoming, outgoing)
      else {
        line.waiting.push([incoming, outgoing])
        waitingInAll += 1
      }
    },
    open(socket) {
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
    isHeld: socket => lines.get(socket)?.held ?? false,
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
