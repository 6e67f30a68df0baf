// Clients that mean harm, all kinds at once in one process: `node hostile-clients.ts SOCKET [KIND...]`, until standard input ends.
// Prints `turned` once the first of them has had its turn, and at the end what each kind did and got.

import { connect, type Socket } from 'node:net'

const [socketPath = '', ...chosen] = process.argv.slice(2)
const BODY = '{"repositories":["web"],"permissions":{"contents":"read"}}'
const POST = `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`
const REQUEST = `${POST}content-length: ${BODY.length}\r\n\r\n${BODY}`
/** What a page in a browser cannot leave out. */
const BROWSERS = [
  'host: evil.example',
  'host: localhost\r\norigin: http://evil.example',
  'host: localhost\r\nsec-fetch-site: cross-site',
]

type Tally = { connections: number; statuses: Record<string, number> }
const tallies = new Map<string, Tally>()
const open = new Set<Socket>()
const end = new AbortController()
/** Whether to go on at all, and with this connection. */
const goesOn = (socket?: Socket): boolean => !end.signal.aborted && (socket?.writable ?? true)

const tallyOf = (kind: string): Tally => {
  const known = tallies.get(kind) ?? { connections: 0, statuses: {} }
  tallies.set(kind, known)
  return known
}

/** Connects, counts each status that comes back, and resolves where the connection is there, or is not to be had. */
const dial = async (kind: string, { reads = true } = {}): Promise<Socket | undefined> => {
  const socket = connect(socketPath)
  open.add(socket)
  socket.once('close', () => void open.delete(socket))
  const tally = tallyOf(kind)
  socket.on('error', () => {})
  await next(socket, 'connect')
  if (socket.destroyed) return undefined
  tally.connections += 1
  if (reads) {
    socket.on('data', (chunk: Buffer) => {
      for (const [, status = ''] of chunk.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3})/g))
        tally.statuses[status] = (tally.statuses[status] ?? 0) + 1
    })
  }
  return socket
}

const pause = (ms: number): Promise<void> => new Promise(resolve => void setTimeout(resolve, ms))
/** Resolves at the first of these events, or where the connection is over; never throws. */
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

const repeat = async (socket: Socket, step: () => Promise<void>): Promise<void> => {
  while (goesOn(socket)) await step()
}

/** Writes again and again, as fast as the other side takes it, until it hangs up. */
const pour = async (socket: Socket, chunk: string | Buffer): Promise<void> => {
  while (goesOn(socket)) {
    if (!socket.write(chunk)) await next(socket, 'drain')
    else await pause(0)
  }
}

const KINDS: Readonly<Record<string, { readonly workers: number; readonly turn: (kind: string) => Promise<void> }>> = {
  'slow headers': {
    workers: 150,
    async turn(kind) {
      const socket = await dial(kind)
      for (const character of `${REQUEST.slice(0, 30)}${'x-slow: 1\r\n'.repeat(1_000)}`) {
        if (!socket || !goesOn(socket)) break
        socket.write(character)
        await pause(500)
      }
      socket?.destroy()
    },
  },
  'slow bodies': {
    workers: 100,
    async turn(kind) {
      const socket = await dial(kind)
      socket?.write(`${POST}content-length: 60000\r\n\r\n`)
      if (socket) await repeat(socket, () => (socket.write(' '), pause(500)))
    },
  },
  'huge headers': {
    workers: 4,
    async turn(kind) {
      const socket = await dial(kind)
      socket?.write(`GET /v1/status HTTP/1.1\r\nhost: localhost\r\nx-huge: ${'x'.repeat(65_536)}\r\n\r\n`)
      if (socket) await next(socket)
    },
  },
  'huge bodies': {
    workers: 4,
    async turn(kind) {
      const socket = await dial(kind)
      socket?.write(`${POST}transfer-encoding: chunked\r\n\r\n`)
      if (socket) await pour(socket, `10000\r\n${'x'.repeat(65_536)}\r\n`)
      socket?.destroy()
    },
  },
  malformed: {
    workers: 4,
    async turn(kind) {
      const socket = await dial(kind)
      socket?.write(Buffer.from(Array.from({ length: 200 }, () => Math.floor(Math.random() * 256))))
      if (socket) await next(socket)
      socket?.destroy()
    },
  },
  'many connections': {
    workers: 8,
    async turn(kind) {
      const socket = await dial(kind)
      socket?.destroy()
    },
  },
  'idle connections': {
    workers: 1_000,
    async turn(kind) {
      const socket = await dial(kind)
      if (socket) await next(socket)
      else await pause(100)
    },
  },
  'browsers by DNS rebinding': {
    workers: 4,
    async turn(kind) {
      const socket = await dial(kind)
      for (const header of BROWSERS) socket?.write(`GET /v1/status HTTP/1.1\r\n${header}\r\n\r\n`)
      if (socket) await next(socket, 'data')
      socket?.destroy()
    },
  },
  pipelining: {
    workers: 4,
    async turn(kind) {
      const socket = await dial(kind)
      if (socket) await pour(socket, REQUEST.repeat(50))
      socket?.destroy()
    },
  },
  'pipelining without reading': {
    workers: 4,
    async turn(kind) {
      const socket = await dial(kind, { reads: false })
      socket?.pause()
      if (socket) await pour(socket, REQUEST.repeat(50))
      socket?.destroy()
    },
  },
  'a flood of good requests': {
    workers: 16,
    async turn(kind) {
      const socket = await dial(kind)
      if (socket) await repeat(socket, () => (socket.write(REQUEST), next(socket, 'data')))
    },
  },
}

let turned = false
const work = async (kind: string, turn: (kind: string) => Promise<void>): Promise<void> => {
  while (goesOn()) {
    await turn(kind)
    if (!turned) process.stdout.write('turned\n')
    turned = true
    await pause(1)
  }
}

process.stdin.once('end', () => {
  end.abort()
  for (const socket of open) socket.destroy()
})
process.stdin.resume()
const running = Object.entries(KINDS)
  .filter(([kind]) => chosen.length === 0 || chosen.includes(kind))
  .flatMap(([kind, { workers, turn }]) => Array.from({ length: workers }, () => work(kind, turn)))
process.stdout.write('started\n')
await Promise.all(running)
process.stdout.write(`${JSON.stringify(Object.fromEntries(tallies))}\n`)
process.exit(0)
