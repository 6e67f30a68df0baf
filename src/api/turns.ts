// Who is served when: the requests of one connection in turn, and in each turn of the event loop no holder more than a few. A
// caller that pipelines a thousand, or asks over a thousand connections, waits behind its own requests.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Handler } from './sockets.ts'

/** While so many wait the connection is read no further. */
const MANY = 16
const FEW = 4
/**
 * One piece of what was sent may hold some hundreds, each of them some kilobytes of memory. Where so many wait on all connections
 * together, one with more than `FAIR` of them is closed.
 */
const MOST_IN_ALL = 1_024
const FAIR = 64

type Line = {
  current: ServerResponse | undefined
  readonly waiting: [IncomingMessage, ServerResponse][]
  paused: boolean
}

export const inTurns = (handler: Handler): Handler => {
  // Not weak: V8 would keep all that a closed connection has for the next large collection, and that one would be soon.
  const lines = new Map<Socket, Line>()
  let waitingInAll = 0

  const drop = (line: Line): void => {
    waitingInAll -= line.waiting.length
    line.waiting.length = 0
  }
  const lineOf = (socket: Socket): Line => {
    const found = lines.get(socket)
    if (found) return found
    const line: Line = { current: undefined, waiting: [], paused: false }
    lines.set(socket, line)
    socket.once('close', () => {
      drop(line)
      lines.delete(socket)
    })
    return line
  }
  const begin = (line: Line, incoming: IncomingMessage, outgoing: ServerResponse): void => {
    line.current = outgoing
    outgoing.once('close', () => {
      if (line.current === outgoing) line.current = undefined
      if (line.waiting.length > 0) setImmediate(next, incoming.socket, line)
    })
    handler(incoming, outgoing)
  }
  const next = (socket: Socket, line: Line): void => {
    if (socket.destroyed) return drop(line)
    if (line.current && !line.current.writableEnded) return
    const [incoming, outgoing] = line.waiting.shift() ?? []
    if (!incoming || !outgoing) return
    waitingInAll -= 1
    if (line.paused && line.waiting.length <= FEW) setReading(socket, line, true)
    begin(line, incoming, outgoing)
  }

  return (incoming, outgoing) => {
    const { socket } = incoming
    if (socket.destroyed) return
    const line = lineOf(socket)
    if (line.waiting.length === 0 && (line.current?.writableEnded ?? true)) return begin(line, incoming, outgoing)
    if (waitingInAll >= MOST_IN_ALL && line.waiting.length >= FAIR) {
      drop(line)
      socket.destroy()
      return
    }
    line.waiting.push([incoming, outgoing])
    waitingInAll += 1
    if (!line.paused && line.waiting.length >= MANY) setReading(socket, line, false)
  }
}

/** Pausing alone does not do: Node sets a readable socket going again with each message that is complete. */
const setReading = (socket: Socket, line: Line, reading: boolean): void => {
  line.paused = !reading
  socket.readable = reading
  if (reading) socket.resume()
  else socket.pause()
}

export type HolderTurns = {
  /**
   * Runs the task at once where the holder has its share of this turn left, else in a later one, after what the holder asked for before.
   * `cost`: 1 for a token in the cache. The task never throws.
   */
  take(holder: string, task: () => void, cost?: number): void
}

/** Some 300 us. A turn costs 10 us itself, so a holder that is alone loses little. */
const SHARE = 4

type Share = { used: number; readonly waiting: { task: () => void; cost: number }[] }

/** One for all servers. */
export const createHolderTurns = (): HolderTurns => {
  /** Of those who were served in this turn, or wait for a later one. */
  const shares = new Map<string, Share>()
  let begun = false

  const begin = (): void => {
    if (begun) return
    begun = true
    setImmediate(nextTurn)
  }
  const nextTurn = (): void => {
    begun = false
    for (const [holder, share] of shares) {
      share.used = 0
      if (share.waiting.length === 0) shares.delete(holder)
    }
    if (shares.size === 0) return
    begin()
    for (const share of shares.values()) serve(share)
  }
  const serve = (share: Share): void => {
    while (share.used < SHARE) {
      const next = share.waiting.shift()
      if (!next) return
      share.used += next.cost
      next.task()
    }
  }

  return {
    take(holder, task, cost = 1) {
      const share = shares.get(holder) ?? { used: 0, waiting: [] }
      shares.set(holder, share)
      begin()
      if (share.used >= SHARE || share.waiting.length > 0) share.waiting.push({ task, cost })
      else {
        share.used += cost
        task()
      }
    },
  }
}
