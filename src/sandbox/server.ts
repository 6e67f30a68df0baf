// Starts and stops the sandbox, on loopback only.

import { readFile } from 'node:fs/promises'
import { createServer as createHttpServer, type Server } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { isIP, type AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { createApi } from './api.ts'
import { createSandboxClock } from './clock.ts'
import { CONTROL_PREFIX, createControl } from './control.ts'
import { createFaults } from './faults.ts'
import { createKeyForge } from './keys.ts'
import { createPages } from './pages.ts'
import { API_PREFIX, type Parts } from './parts.ts'
import { createQuotas } from './quotas.ts'
import { createRandom } from './random.ts'
import { createRequestLog } from './request-log.ts'
import { createWorld } from './world.ts'

export type SandboxOptions = {
  host?: string
  port?: number
  /** Makes ids, codes, tokens and request ids the same in each run. */
  seed?: number
  /** PEM texts. */
  tls?: { cert: string; key: string }
}

export type Sandbox = {
  /** Of the pages, without a slash at the end. */
  url: string
  apiUrl: string
  close(): Promise<void>
}

/** Rejects for a host that is not loopback. */
export const startSandbox = async ({ host = '127.0.0.1', port = 0, seed, tls }: SandboxOptions): Promise<Sandbox> => {
  if (!isLoopback(host)) throw new Error(`the sandbox listens on loopback only, not on ${host}`)
  const clock = createSandboxClock()
  const world = createWorld({ clock, random: createRandom('world', seed), keys: createKeyForge() })
  const server: Server = tls ? createHttpsServer(tls) : createHttpServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const url = `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${portOf(server.address())}`
  const parts: Parts = {
    world,
    clock,
    random: createRandom('pages', seed),
    tokenTexts: createRandom('tokens', seed),
    requestIds: createRandom('requests', seed),
    faults: createFaults(API_PREFIX, createRandom('faults', seed)),
    log: createRequestLog(),
    quotas: createQuotas(world),
    url,
  }
  const api = createApi(parts)
  const control = createControl(parts)
  const pages = createPages(parts)
  const listen = getRequestListener(
    (request, env) => {
      const { pathname } = new URL(request.url)
      if (under(pathname, API_PREFIX)) return api(request, env.incoming.socket)
      if (under(pathname, CONTROL_PREFIX)) return control.fetch(request)
      return pages.fetch(request)
    },
    { overrideGlobalObjects: false },
  )
  server.on('request', (incoming, outgoing) => {
    // A client that hangs up ends its own answer, and not the sandbox.
    for (const half of [incoming, outgoing]) half.on('error', () => outgoing.destroy())
    listen(incoming, outgoing).catch(() => outgoing.destroy())
  })
  return {
    url,
    apiUrl: url + API_PREFIX,
    close: () =>
      new Promise(resolve => {
        server.close(() => {
          resolve()
        })
        server.closeAllConnections()
      }),
  }
}

export type SandboxCommand = { listen: string; seed?: string; tlsCert?: string; tlsKey?: string }

/** The command `ghconnect sandbox`: prints its addresses and lives until SIGINT or SIGTERM. */
export const runSandbox = async (options: SandboxCommand): Promise<void> => {
  const { host, port } = parseListen(options.listen)
  if ((options.tlsCert === undefined) !== (options.tlsKey === undefined))
    throw new Error('--tls-cert and --tls-key belong together')
  const sandbox = await startSandbox({
    host,
    port,
    ...(options.seed === undefined ? {} : { seed: parseSeed(options.seed) }),
    ...(options.tlsCert === undefined || options.tlsKey === undefined
      ? {}
      : { tls: { cert: await readFile(options.tlsCert, 'utf8'), key: await readFile(options.tlsKey, 'utf8') } }),
  })
  process.stdout.write(
    `GitHub sandbox (local, not GitHub): pages ${sandbox.url} API ${sandbox.apiUrl} control ${sandbox.url}${CONTROL_PREFIX}/state\n`,
  )
  await new Promise<void>(resolve => {
    process.once('SIGINT', () => {
      resolve()
    })
    process.once('SIGTERM', () => {
      resolve()
    })
  })
  await sandbox.close()
}

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

const under = (path: string, prefix: string): boolean => path === prefix || path.startsWith(`${prefix}/`)

const portOf = (address: AddressInfo | string | null): number => {
  if (address === null || typeof address === 'string') throw new Error('the sandbox has no port')
  return address.port
}

const parseListen = (listen: string): { host: string; port: number } => {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen)
  const host = match?.[1] ?? match?.[2]
  if (host === undefined) throw new Error(`--listen wants HOST:PORT, not ${listen}`)
  return { host, port: Number(match?.[3]) }
}

const parseSeed = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new Error(`--seed wants a whole number, not ${text}`)
  return Number(text)
}
