// Requests of one connection in turn, one in each round of the event loop: whoever pipelines a thousand waits for himself alone.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Handler } from './sockets.ts'

/** While so many wait the connection is read no further; one piece of what was sent may hold some hundreds more. */
const MANY = 16
const FEW = 4

type Line = { current: ServerResponse; readonly waiting: [IncomingMessage, ServerResponse][]; paused: boolean }

export const inTurns = (handler: Handler): Handler => {
  const lines = new WeakMap<Socket, Line>()

  const next = (socket: Socket, line: Line): void => {
    if (socket.destroyed) return void line.waiting.splice(0)
    const [incoming, outgoing] = line.waiting.shift() ?? []
    if (!incoming || !outgoing) return
    line.current = outgoing
    if (line.waiting.length > 0) whenDone(socket, line)
    if (line.paused && line.waiting.length <= FEW) setReading(socket, line, true)
    handler(incoming, outgoing)
  }
  const whenDone = (socket: Socket, line: Line): void =>
    void line.current.once('close', () => void setImmediate(next, socket, line))

  return (incoming, outgoing) => {
    const { socket } = incoming
    const line = lines.get(socket)
    if (!line) {
      lines.set(socket, { current: outgoing, waiting: [], paused: false })
      return handler(incoming, outgoing)
    }
    if (line.waiting.length === 0 && line.current.writableEnded) {
      line.current = outgoing
      return handler(incoming, outgoing)
    }
    line.waiting.push([incoming, outgoing])
    if (line.waiting.length === 1) whenDone(socket, line)
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
