// A client that hangs up in the middle: sends a part of a request, perhaps waits for a part of the answer, and is gone.

import { connect, type NetConnectOpts, type Socket } from 'node:net'

export type Cut = {
  /** What is sent before the end, in pieces that arrive one by one. */
  readonly sent: readonly (string | Uint8Array)[]
  /** Waits for so many bytes of the answer before it hangs up; or until the promise resolves. */
  readonly until?: number | Promise<unknown>
  /** Says that it has sent everything, and reads no further, where a client would just vanish. */
  readonly halfClose?: boolean
}

/** Resolves once the connection is closed on this side, to what was read until then. */
export const cutShort = async (address: NetConnectOpts, { sent, until, halfClose = false }: Cut): Promise<string> => {
  const socket = connect(address)
  const closed = heard(socket, 'close')
  // The daemon may close first: it refuses what it does not read.
  socket.on('error', () => {})
  let text = ''
  let enough: (() => void) | undefined
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    if (typeof until === 'number' && text.length >= until) enough?.()
  })
  await Promise.race([heard(socket, 'connect'), closed])
  for (const piece of sent) await write(socket, piece)
  if (typeof until === 'number') {
    const read = new Promise<void>(resolve => (enough = resolve))
    if (text.length < until) await Promise.race([read, closed])
  } else if (until !== undefined) await Promise.race([until, closed])
  if (halfClose) socket.end()
  else socket.destroy()
  await closed
  return text
}

/** Unlike `once` of Node's it does not mind an error. */
const heard = (socket: Socket, event: 'connect' | 'close'): Promise<void> =>
  new Promise(resolve => void socket.once(event, () => resolve()))

/** A piece that is not taken, since nobody reads it, is no reason to wait. */
const write = (socket: Socket, piece: string | Uint8Array): Promise<void> =>
  new Promise(resolve => {
    if (socket.destroyed) return resolve()
    if (socket.write(piece, () => setImmediate(resolve))) return
    setImmediate(resolve)
  })
