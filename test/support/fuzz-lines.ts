// The fuzzer's connections: what is sent on one, whether it is answered in time, and whether only this process was slow.

import type { Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { type Answered, createReader } from './fuzz-answers.ts'

export const HANG_MS = 4_000
const STILL_MS = 30_000
/** A request that needs GitHub waits as long as a call out may take. */
const CALL_MS = 30_000
export const LOOK_MS = 250

export type Watch = {
  readonly note: (answer: Answered, bytes: Buffer) => void
  readonly late: (bytes: Buffer) => void
  readonly hang: (bytes: Buffer) => void
  /** What came is no answer to these bytes. */
  readonly unreadable: (error: unknown, bytes: Buffer) => void
}
type Request = { readonly method: string; readonly bytes: Buffer }

/** It follows the whole log, of which so many requests make hundreds of thousands of rows, a little in each turn of a busy event loop. */
const isLong = ({ bytes }: Request): boolean => bytes.includes('/v1/audit/verdict')
const LONG_MS = 120_000
export type Line = { isOpen(): boolean; ask(batch: readonly Request[]): Promise<void>; close(): void }

/**
 * Whether the daemon answers others meanwhile, or nobody for half a minute. On a machine that gave it no time the answer was only late.
 */
export const isHang = async (open: () => Socket, isOver: () => boolean): Promise<boolean> => {
  const probe = open().on('error', () => {})
  probe.resume().end('GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
  await ended(probe, STILL_MS)
  probe.destroy()
  for (let waitedMs = 0; waitedMs < CALL_MS && !isOver(); waitedMs += LOOK_MS)
    await new Promise(pause => void setTimeout(pause, LOOK_MS))
  return !isOver()
}

/** An answer is read, the end of its connection after it, and then it is closed: each in a turn of its own. */
const TURNS = 8

/** Whether it is not over although this process has read all that came while it did something else. */
export const isUnanswered = async (isOver: () => boolean): Promise<boolean> => {
  for (let turn = 0; turn < TURNS && !isOver(); turn += 1) await setImmediate()
  return !isOver()
}

export const openLine = (openSocket: () => Socket, { note, late, hang, unreadable }: Watch): Line => {
  const socket = openSocket()
  let waiting: Request[] = []
  /** All of the last batch: what is not answered may have been lost with a request before it. */
  let sent = Buffer.alloc(0)
  let open = true
  let settle: () => void = () => {}
  const end = (): void => {
    open = false
    waiting = []
    socket.destroy()
    settle()
  }
  const reader = createReader(
    () => waiting[0]?.method,
    answer => {
      const [request] = waiting.splice(0, 1)
      note(answer, request?.bytes ?? Buffer.alloc(0))
      if (answer.endless || answer.closes) end()
      else if (waiting.length === 0) settle()
    },
  )
  socket.on('data', (chunk: Buffer) => {
    if (!open) return
    const first = waiting[0]?.bytes ?? Buffer.alloc(0)
    try {
      reader.push(chunk)
    } catch (error) {
      unreadable(error, first)
      end()
    }
  })
  socket.on('error', end)
  socket.on('close', end)
  const endIfHanging = async (): Promise<void> => {
    const [first] = waiting
    if (!first || !(await isUnanswered(() => waiting[0] !== first))) return
    late(sent)
    if (!(await isHang(openSocket, () => waiting[0] !== first))) return
    hang(sent)
    end()
  }
  return {
    isOpen: () => open,
    close: end,
    async ask(batch) {
      const { promise, resolve } = Promise.withResolvers<void>()
      settle = resolve
      waiting = [...batch]
      sent = Buffer.concat(batch.map(({ bytes }) => bytes))
      socket.write(sent)
      const limit = setTimeout(() => void endIfHanging(), batch.some(isLong) ? LONG_MS : HANG_MS * batch.length)
      await promise
      clearTimeout(limit)
    },
  }
}

/** True once it is closed; false where that takes longer. */
export const ended = (socket: Socket, withinMs: number): Promise<boolean> =>
  new Promise(resolve => {
    const limit = setTimeout(() => resolve(false), withinMs)
    socket.once('close', () => {
      clearTimeout(limit)
      resolve(true)
    })
  })
