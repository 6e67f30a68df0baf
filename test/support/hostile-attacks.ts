// The attacks of hostile processes, by name: each is a turn that a number of workers of each process repeat until it is over.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { get, post, postHead, type Wire } from './hostile-wire.ts'

export type Attack = { readonly workers: number; readonly turn: (wire: Wire, seconds: number) => Promise<void> }

const WEB = { repositories: ['web'], permissions: { contents: 'read' } }
const GOOD = post('/v1/tokens', WEB)
const PROCESSES = join(import.meta.dirname, 'hostile-processes.pl')

/** Another set of repositories each time. GitHub's log shows whose it is by the access to issues. */
const anyScope = ({ random, target }: Wire): string => {
  const { repositories, issues } = target
  return post('/v1/tokens', { repositories: repositories.filter(() => random.once(2)), permissions: { issues } })
}

/** What no page in a browser can leave out. */
const BROWSERS = [
  'host: evil.example',
  'host: localhost\r\norigin: http://evil.example',
  'host: localhost\r\nsec-fetch-site: cross-site',
]
const CUT = [
  '/v1/github/meta',
  '/v1/github/repos/octo-org/web/contents/file',
  '/v1/tokens',
  '/v1/snapshots',
  '/v1/none',
]
const FREE = ['/v1/openapi.json', '/v1/openapi.json', '/v1/none', '/livez', '/readyz', '/v1/status', '/v1/profiles']

/** Keeps one connection and asks on it again and again. */
const asking =
  (text: (wire: Wire) => string) =>
  async (wire: Wire): Promise<void> => {
    const socket = await wire.dial()
    if (!socket) return
    while (wire.goesOn(socket)) await wire.ask(socket, text(wire))
  }

export const ATTACKS = {
  'distinct scopes': { workers: 16, turn: asking(anyScope) },
  'long names': {
    workers: 8,
    turn: asking(({ random, target }) => {
      const names = Array.from({ length: 440 }, () => random.letters(95))
      return post('/v1/tokens', { repositories: names, permissions: { issues: target.issues } })
    }),
  },
  'cut bodies': {
    workers: 16,
    async turn(wire) {
      const { random } = wire
      const socket = await wire.dial()
      if (!socket) return
      const head = postHead(random.pick(CUT))
      const chunked = random.once(2)
      const length = random.pick([10, 60_000, 2 ** 20 + 1, 2 ** 31])
      socket.write(`${head}${chunked ? 'transfer-encoding: chunked' : `content-length: ${length}`}\r\n\r\n`)
      const stages = random.int(4)
      for (let stage = 0; stage < stages && wire.goesOn(socket); stage += 1) {
        socket.write(chunked ? '4\r\nbody\r\n' : 'body')
        await wire.pause(random.int(4))
      }
      if (random.once(2)) socket.end()
      else socket.destroy()
      await wire.pause(1)
    },
  },
  'unread event streams': {
    workers: 250,
    async turn(wire) {
      const socket = await wire.dial({ reads: false })
      if (!socket) return wire.pause(200)
      socket.pause()
      socket.write(get('/v1/events'))
      // A burst of refused scopes beside it makes events for all of them.
      const refused = post('/v1/tokens', {
        repositories: [wire.random.letters(12)],
        permissions: { issues: wire.target.issues },
      })
      if (wire.random.once(20)) {
        const other = await wire.dial()
        if (other) await wire.ask(other, refused)
        other?.destroy()
      }
      await wire.next(socket)
      await wire.pause(50)
    },
  },
  'openapi and unknown routes': { workers: 64, turn: asking(({ random }) => get(random.pick(FREE))) },
  'idle connections': {
    workers: 1_500,
    async turn(wire) {
      const socket = await wire.dial()
      if (socket) await wire.next(socket)
      await wire.pause(500 + wire.random.int(1_000))
    },
  },
  'a connection for each request': {
    workers: 8,
    async turn(wire) {
      const socket = await wire.dial()
      if (socket) await wire.ask(socket, GOOD)
      socket?.destroy()
    },
  },
  'a process for each request': {
    workers: 1,
    async turn(wire, seconds) {
      const child = spawn('perl', [PROCESSES, wire.target.socket, String(Math.ceil(seconds))], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let text = ''
      child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
      await once(child, 'close')
      const seen: Record<string, number> = JSON.parse(text)
      for (const [status, count] of Object.entries(seen)) wire.tally[status] = (wire.tally[status] ?? 0) + count
    },
  },
  'denied requests': {
    workers: 16,
    turn: asking(({ random }) =>
      post('/v1/tokens', {
        profile: random.letters(20),
        repositories: [random.letters(20)],
        permissions: { contents: 'write' },
      }),
    ),
  },
  'good requests': { workers: 16, turn: asking(() => GOOD) },
  pipelining: {
    workers: 8,
    async turn(wire) {
      const socket = await wire.dial({ reads: wire.random.once(2) })
      const text = `${GOOD.repeat(40)}${get('/v1/openapi.json').repeat(5)}${get('/v1/none').repeat(5)}`
      if (socket) await wire.pour(socket, () => text)
      socket?.destroy()
    },
  },
  'slow clients': {
    workers: 250,
    async turn(wire) {
      const socket = await wire.dial()
      if (!socket) return wire.pause(50)
      const headers = wire.random.once(2)
      socket.write(headers ? 'POST /v1/tokens HTTP/1.1\r\n' : `${postHead('/v1/tokens')}content-length: 60000\r\n\r\n`)
      while (wire.goesOn(socket)) {
        socket.write(headers ? 'x-slow: 1\r\n' : ' ')
        await wire.pause(500)
      }
      await wire.pause(50)
    },
  },
  'huge headers and bodies': {
    workers: 8,
    async turn(wire) {
      const socket = await wire.dial()
      if (!socket) return
      if (wire.random.once(2)) {
        socket.write(`GET /v1/status HTTP/1.1\r\nhost: localhost\r\nx-huge: ${'x'.repeat(65_536)}\r\n\r\n`)
        await wire.next(socket)
      } else {
        socket.write(`${postHead(wire.random.pick(CUT))}transfer-encoding: chunked\r\n\r\n`)
        const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`
        await wire.pour(socket, () => chunk)
      }
      socket.destroy()
    },
  },
  malformed: {
    workers: 8,
    async turn(wire) {
      const socket = await wire.dial()
      socket?.write(Buffer.from(Array.from({ length: 200 }, () => wire.random.int(256))))
      if (socket) await wire.next(socket)
    },
  },
  'browsers by DNS rebinding': {
    workers: 8,
    async turn(wire) {
      const socket = await wire.dial()
      if (socket) await wire.ask(socket, `GET /v1/status HTTP/1.1\r\n${wire.random.pick(BROWSERS)}\r\n\r\n`)
      socket?.destroy()
    },
  },
  'the settings page': {
    workers: 64,
    async turn(wire) {
      const socket = await wire.dial({ page: true })
      if (!socket) return
      const host = `host: 127.0.0.1:${wire.target.pagePort}`
      const paths = ['/', '/done', `/sign-in/${wire.random.letters(32)}`, '/callback?code=x&state=y', '/none']
      while (wire.goesOn(socket)) await wire.ask(socket, `GET ${wire.random.pick(paths)} HTTP/1.1\r\n${host}\r\n\r\n`)
    },
  },
} as const satisfies Record<string, Attack>

export type AttackName = keyof typeof ATTACKS

export const isAttack = (name: string): name is AttackName => Object.hasOwn(ATTACKS, name)

/** All workers of one attack, until `wire.over`. Never throws for what the other side does. */
export const attack = async (name: AttackName, wire: Wire, seconds: number): Promise<void> => {
  const { workers, turn }: Attack = ATTACKS[name]
  const work = async (): Promise<void> => {
    while (wire.goesOn()) {
      await turn(wire, seconds)
      await wire.pause(1)
    }
  }
  await Promise.all(Array.from({ length: workers }, work))
}
