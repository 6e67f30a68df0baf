// A network of its own for each member and node of a cluster, all on one switch, with cables that can be pulled.

import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import koffi from 'koffi'
import { type Place, placeOf } from './network.ts'

export type Site = Place & {
  /** Pulls its cable: what was under way hangs, as with a dead switch. */
  cut(): void
  heal(): void
  /** Packets to and from the other are swallowed. */
  part(other: Site): void
  /** A port of its loopback leads to whatever the test connects. */
  serve(port: number, accept: (socket: Socket) => void): Promise<{ close(): void }>
}

export type Switchboard = {
  readonly sites: readonly Site[]
  /** All cables in, nobody parted. */
  healAll(): void
  /** Every process in it has ended before. */
  remove(): void
}

/** Needs root. At most 200 sites, which reach each other and nothing else. */
export const createSwitchboard = (count: number): Switchboard => {
  const id = randomBytes(3).toString('hex')
  const hub = `gh-${id}`
  const names = Array.from({ length: count }, (_, i) => `gn-${id}-${i}`)
  const addresses = names.map((_, i) => `10.98.0.${i + 10}`)
  ip('netns', 'add', hub)
  // Without a delay: the ports would learn for 15 seconds before they forward.
  batch(['link add br0 type bridge forward_delay 0', 'link set br0 up'], hub)
  for (const [i, name] of names.entries()) {
    ip('netns', 'add', name)
    // Its one end is born in the switch, the other one in the site.
    batch([`link add p${i} type veth peer name eth0 netns ${name}`, `link set p${i} master br0 up`], hub)
    batch([`address add ${addresses[i]}/24 dev eth0`, 'link set eth0 up', 'link set lo up'], name)
  }
  let parted: { readonly name: string; readonly from: string }[] = []
  const swallow = (name: string, from: string): void => {
    ip('-n', name, 'route', 'replace', 'blackhole', `${from}/32`)
    parted.push({ name, from })
  }
  const sites = names.map((name, i): Site => {
    const address = addresses[i] ?? ''
    return {
      ...placeOf(name, address),
      cut: () => ip('-n', hub, 'link', 'set', `p${i}`, 'down'),
      heal: () => ip('-n', hub, 'link', 'set', `p${i}`, 'up'),
      part(other) {
        swallow(name, other.address)
        swallow(names[sites.indexOf(other)] ?? '', address)
      },
      serve: (port, accept) => serveIn(name, { port, accept }),
    }
  })
  return {
    sites,
    healAll() {
      for (const { name, from } of parted) ip('-n', name, 'route', 'del', 'blackhole', `${from}/32`)
      parted = []
      for (const site of sites) site.heal()
    },
    remove() {
      for (const name of [...names, hub]) ip('netns', 'del', name)
    },
  }
}

const ip = (...words: string[]): void => void execFileSync('ip', words, { stdio: 'pipe' })

const batch = (lines: readonly string[], name: string): void =>
  void execFileSync('ip', ['-n', name, '-batch', '-'], { input: `${lines.join('\n')}\n`, stdio: 'pipe' })

const setns = koffi.load('libc.so.6').func('int setns(int fd, int type)')
const CLONE_NEWNET = 0x40000000

/** A socket stays in the namespace in which it was made: the test's own thread goes there for as long as that takes. */
const serveIn = async (
  name: string,
  { port, accept }: { readonly port: number; readonly accept: (socket: Socket) => void },
): Promise<{ close(): void }> => {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
    accept(socket)
  })
  const [home, there] = [openSync('/proc/thread-self/ns/net', 'r'), openSync(`/run/netns/${name}`, 'r')]
  try {
    go(there)
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  } finally {
    go(home)
    closeSync(home)
    closeSync(there)
  }
  return {
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

const go = (fd: number): void => {
  if (setns(fd, CLONE_NEWNET) !== 0) throw new Error('setns failed')
}
