// What hostile clients have in common: connections that are counted, answers that are tallied, requests as text.

import { connect, type Socket } from 'node:net'
import type { Seeded } from './seeded.ts'

/** Statuses, codes of problems, and what else a kind counts. */
export type Tally = Record<string, number>

export type Target = {
  readonly socket: string
  /** The port of the settings page on 127.0.0.1. */
  readonly pagePort: number
  readonly repositories: readonly string[]
  readonly issues: 'read' | 'write'
}

export type Wire = {
  readonly target: Target
  readonly random: Seeded
  readonly tally: Tally
  /** Ends the attack: `aborted` says so, and all connections are closed. */
  readonly over: AbortSignal
  /** Resolves once connected, or to undefined where that is refused. Reads and tallies unless told not to. */
  dial(options?: { reads?: boolean; page?: boolean }): Promise<Socket | undefined>
  /** Writes and resolves at the answer's first bytes, or at the end of the connection. */
  ask(socket: Socket, text: string): Promise<void>
  /** Writes again and again, as fast as the other side takes it, until it hangs up. */
  pour(socket: Socket, chunk: () => string): Promise<void>
  goesOn(socket?: Socket): boolean
  pause(ms: number): Promise<void>
  /** Resolves at the first of these events, or where the connection or the attack is over; never throws. */
  next(socket: Socket, event?: string): Promise<void>
}

export const createWire = (target: Target, random: Seeded, over: AbortSignal): Wire => {
  const tally: Tally = {}
  const count = (name: string): void => void (tally[name] = (tally[name] ?? 0) + 1)
  const open = new Set<Socket>()
  over.addEventListener('abort', () => {
    for (const socket of open) socket.destroy()
  })
  const goesOn = (socket?: Socket): boolean => !over.aborted && (socket?.writable ?? true)
  const pause = (ms: number): Promise<void> => new Promise(resolve => void setTimeout(resolve, ms))
  const next = (socket: Socket, event = 'close'): Promise<void> =>
    new Promise(resolve => {
      if (socket.closed) return resolve()
      const done = (): void => {
        socket.off(event, done)
        socket.off('close', done)
        resolve()
      }
      socket.once(event, done)
      socket.once('close', done)
    })
  return {
    target,
    random,
    tally,
    over,
    goesOn,
    pause,
    next,
    async dial({ reads = true, page = false } = {}) {
      const socket = page ? connect(target.pagePort, '127.0.0.1') : connect(target.socket)
      open.add(socket)
      socket.setMaxListeners(0)
      socket.once('close', () => void open.delete(socket))
      socket.on('error', () => {})
      await next(socket, 'connect')
      if (socket.destroyed || over.aborted) {
        socket.destroy()
        count('refused connections')
        return undefined
      }
      count('connections')
      if (reads) {
        socket.on('data', (chunk: Buffer) => {
          for (const [, status, code] of chunk.toString('latin1').matchAll(ANSWER)) count(status ?? code ?? '')
        })
      }
      return socket
    },
    async ask(socket, text) {
      socket.write(text)
      await next(socket, 'data')
    },
    async pour(socket, chunk) {
      while (goesOn(socket)) {
        if (!socket.write(chunk())) await next(socket, 'drain')
        else await pause(0)
      }
    },
  }
}

/** Of an answer that is a problem: the OpenAPI document names all of them. */
const ANSWER = /HTTP\/1\.1 (\d{3})|\{"type":"urn:ghconnect:problem:([a-z-]+)/g

export const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`

export const postHead = (path: string): string =>
  `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`

export const post = (path: string, body: unknown): string => {
  const text = JSON.stringify(body)
  return `${postHead(path)}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
}
