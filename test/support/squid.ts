// Proxies as Debian ships them: squid (http), on loopback or in a network namespace, and microsocks (socks5), each in the foreground and ended by its pid.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from './ports.ts'

export type Proxy = {
  /** Without user and password. */
  readonly url: string
  readonly port: number
  stop(): Promise<void>
}

export type Squid = Proxy & {
  /** A line for each request or tunnel that has ended. */
  accessLog(): string
}

export type SquidOptions = {
  /** Who must authenticate (Basic); none: everyone may pass. */
  readonly users?: Readonly<Record<string, string>>
  /** Hosts that it refuses with 403. */
  readonly deny?: readonly string[]
  /** Where it listens, if not on loopback, and the command that brings it there. */
  readonly port?: number
  readonly place?: { readonly address: string; enter(command: readonly string[]): readonly string[] }
  /** Names that it alone knows, with their addresses; it then knows none of the machine's. */
  readonly hosts?: Readonly<Record<string, string>>
}

export const startSquid = async (options: SquidOptions = {}): Promise<Squid> => {
  const folder = mkdtempSync(join(tmpdir(), 'squid-'))
  chmodSync(folder, 0o777)
  const { users, deny = [], place, hosts, port = await freePort() } = options
  const address = place?.address ?? '127.0.0.1'
  const names = Object.entries(hosts ?? {}).map(([name, at]) => `${at} ${name}\n`)
  writeFileSync(join(folder, 'hosts'), names.join(''))
  const lines = Object.entries(users ?? {}).map(
    ([user, password]) => `${user}:${execFileSync('openssl', ['passwd', '-apr1', password], { encoding: 'utf8' })}`,
  )
  writeFileSync(join(folder, 'users'), lines.join(''))
  const rules = [
    ...(users ? [`auth_param basic program /usr/lib/squid/basic_ncsa_auth ${folder}/users`] : []),
    ...(users ? ['auth_param basic children 1', 'acl known proxy_auth REQUIRED', 'http_access deny !known'] : []),
    ...deny.map((host, i) => `acl denied${i} ${/^[\d.]+$/.test(host) ? 'dst' : 'dstdomain'} ${host}`),
    ...deny.map((_, i) => `http_access deny denied${i}`),
    'http_access allow all',
  ]
  const fixed = [
    `http_port ${address}:${port}`,
    ...(hosts ? [`hosts_file ${folder}/hosts`] : []),
    `pid_filename ${folder}/squid.pid`,
    `access_log stdio:${folder}/access.log`,
    `cache_log ${folder}/cache.log`,
    `coredump_dir ${folder}`,
    'visible_hostname squid.test',
    'cache deny all',
    'cache_mem 1 MB',
    'netdb_filename none',
    'pinger_enable off',
    'shutdown_lifetime 0 seconds',
  ]
  writeFileSync(join(folder, 'squid.conf'), [...fixed, ...rules, ''].join('\n'))
  const command = ['squid', '-N', '-d', '1', '-f', join(folder, 'squid.conf')]
  const [program = '', ...words] = place?.enter(command) ?? command
  const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] })
  await saying(child, /Accepting HTTP Socket connections/)
  return {
    url: `http://${address}:${port}`,
    port,
    accessLog: () => readFileSync(join(folder, 'access.log'), 'utf8'),
    stop: async () => {
      await end(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export const startMicrosocks = async (options: { user?: string; password?: string } = {}): Promise<Proxy> => {
  const port = await freePort()
  const { user, password } = options
  const login = user !== undefined && password !== undefined ? ['-u', user, '-P', password] : []
  const child = spawn('microsocks', ['-i', '127.0.0.1', '-p', String(port), ...login], { stdio: 'ignore' })
  await once(child, 'spawn')
  await listening(child, port)
  return { url: `socks5://127.0.0.1:${port}`, port, stop: () => end(child) }
}

const saying = async (child: ChildProcess, expected: RegExp): Promise<void> => {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString()
    if (expected.test(said)) resolve()
  })
  child.once('error', reject)
  child.once('exit', () => reject(new Error(`it ended: ${said}`)))
  return promise
}

/** microsocks does not say when it listens, so it is asked. */
const listening = async (child: ChildProcess, port: number): Promise<void> => {
  while (child.exitCode === null) {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch {
      await wait(10)
    } finally {
      socket.destroy()
    }
  }
  throw new Error('it ended')
}

const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}
