// Ports of loopback that stay free until they are taken: below those that the kernel gives to callers and to `listen(0)`.

import { createServer } from 'node:net'

const FIRST = 10_240
/** A test process has so many of its own, as far as its pid tells it from the others. */
const EACH = 64
const PROCESSES = 350

let asked = 0

/** For a listener that comes later, or goes and comes back. */
export const freePort = async (): Promise<number> => {
  for (let tries = 0; tries < EACH; tries++) {
    const port = FIRST + (process.pid % PROCESSES) * EACH + (asked++ % EACH)
    if (await isFree(port)) return port
  }
  throw new Error('no port is free')
}

const isFree = (port: number): Promise<boolean> => {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const server = createServer()
    .once('error', () => resolve(false))
    .listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  return promise
}
