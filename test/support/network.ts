// Two network namespaces with one cable between them: inside, where the appliance is, and outside, where the proxy and GitHub are.

import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type Place = {
  /** Of its network namespace. */
  readonly name: string
  /** Its end of the cable. Loopback is a place's own. */
  readonly address: string
  /** The command as it runs there; the process keeps its pid. */
  enter(command: readonly string[]): readonly string[]
  /** Runs a command there and gives its output; throws where it fails. */
  run(...command: readonly string[]): string
  /** Whether a TCP connection from there comes about. */
  reaches(host: string, port: number): boolean
  /** As `ssh -L` would: a port of the tests' own loopback leads to the same port of loopback there. */
  forward(port: number): Promise<{ close(): Promise<void> }>
}

export type Network = {
  readonly inside: Place
  readonly outside: Place
  /** Every process in it has ended before. */
  remove(): void
}

/** Needs root. Neither place has a route to anything but the other's address. */
export const createNetwork = (): Network => {
  const id = randomBytes(4).toString('hex')
  const [inside, outside] = [`gi-${id}`, `go-${id}`]
  ip('netns', 'add', inside)
  ip('netns', 'add', outside)
  // Each end is born in its place: nothing is seen of the cable elsewhere.
  ip('link', 'add', inside, 'netns', inside, 'type', 'veth', 'peer', 'name', outside, 'netns', outside)
  for (const [name, address] of [
    [inside, INSIDE],
    [outside, OUTSIDE],
  ] as const) {
    ip('-n', name, 'address', 'add', `${address}/30`, 'dev', name)
    ip('-n', name, 'link', 'set', name, 'up')
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }
  return {
    inside: placeOf(inside, INSIDE),
    outside: placeOf(outside, OUTSIDE),
    remove() {
      ip('netns', 'del', inside)
      ip('netns', 'del', outside)
    },
  }
}

/** The same in each network: no other one sees them. */
const INSIDE = '10.99.0.1'
const OUTSIDE = '10.99.0.2'

const ip = (...words: string[]): void => void execFileSync('ip', words, { stdio: 'pipe' })

/** A network namespace that is there already. */
export const placeOf = (name: string, address: string): Place => {
  const enter = (command: readonly string[]): readonly string[] => ['ip', 'netns', 'exec', name, ...command]
  const run = (...command: readonly string[]): string => {
    const [program = '', ...words] = enter(command)
    return execFileSync(program, words, { encoding: 'utf8', stdio: 'pipe', timeout: 10_000 })
  }
  return {
    name,
    address,
    enter,
    run,
    reaches(host, port) {
      try {
        run('timeout', '2', 'bash', '-c', `exec 3<>/dev/tcp/${host}/${port}`)
        return true
      } catch {
        return false
      }
    },
    forward: port => forward(enter, port),
  }
}

/** Run there: from a unix socket, which every place sees, to a port of loopback. */
const FAR_END = `
const { connect, createServer } = require('node:net')
const [path, port] = process.argv.slice(1)
createServer(near => {
  const far = connect(Number(port), '127.0.0.1')
  near.pipe(far).pipe(near)
  near.on('error', () => far.destroy())
  far.on('error', () => near.destroy())
}).listen(path, () => console.log('ready'))
`

const forward = async (enter: Place['enter'], port: number): Promise<{ close(): Promise<void> }> => {
  const folder = mkdtempSync(join(tmpdir(), 'forward-'))
  const path = join(folder, 'socket')
  const [program = '', ...words] = enter([process.execPath, '-e', FAR_END, path, String(port)])
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  const sockets = new Set<Socket>()
  const near = createServer(socket => {
    const far = connect(path)
    socket.pipe(far).pipe(socket)
    for (const [one, other] of [
      [socket, far],
      [far, socket],
    ] as const) {
      sockets.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => sockets.delete(one))
    }
  })
  near.listen(port, '127.0.0.1')
  await once(near, 'listening')
  return {
    async close() {
      near.close()
      for (const socket of sockets) socket.destroy()
      const end = once(child, 'exit')
      child.kill('SIGKILL')
      await end
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
