// Ports of loopback that stay free until they are taken: below those that the kernel gives to callers and to `listen(0)`.

import { createServer } from 'node:net'

const FIRST = 10_240
/** A test process has so many of its own. It listens on the first of them until it ends, which tells the others. */
const EACH = 64
const RANGES = 350

let range: Promise<number> | undefined
let asked = 0

/** For a listener that comes later, or goes and comes back. */
export const freePort = async (): Promise<number> => {
  range ??= claimRange()
  const first = await range
  for (let tries = 1; tries < EACH; tries++) {
    const port = first + 1 + (asked++ % (EACH - 1))
    if (await listens(port, { briefly: true })) return port
  }
  throw new Error('no port is free')
}

const claimRange = async (): Promise<number> => {
  for (let tries = 0; tries < RANGES; tries++) {
    const first = FIRST + ((process.pid + tries) % RANGES) * EACH
    if (await listens(first, { briefly: false })) return first
  }
  throw new Error('no range of ports is free')
}

const listens = (port: number, { briefly }: { briefly: boolean }): Promise<boolean> => {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const server = createServer()
    .once('error', () => resolve(false))
    .listen(port, '127.0.0.1', () => {
      if (briefly) server.close(() => resolve(true))
      else resolve(server.unref().listening)
    })
  return promise
}
