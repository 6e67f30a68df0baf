// What is on the other side of a walk's network cable: a resolver, a web proxy with a password, and GitHub under its own names.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Authority, createAuthority } from './certificates.ts'
import { createNetwork, type Network, type Place } from './network.ts'
import { type Squid, startSquid } from './squid.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const SANDBOX_PORT = 8471

/** As README names them. */
const PROXY = { name: 'proxy.example.com', port: 3128, user: 'ghconnect' }
const GITHUB_HOSTS = ['github.com', 'api.github.com', 'uploads.github.com']
export const PROXY_PASSWORD = 'it is 3 a.m., & raining'

export type FarSide = {
  readonly network: Network
  /** That the machine trusts, as every machine trusts GitHub's. */
  readonly authority: Authority
  /** Of a company that inspects TLS: its people's browsers trust it, the machine does not. */
  readonly inspection: Authority
  readonly proxy: { stop(): Promise<void>; start(): Promise<void> }
  /** From now on GitHub's names answer with a certificate of this authority. */
  present(issuer: Authority): Promise<void>
  /** The control API of the sandbox. */
  control(method: string, path: string, body?: unknown): unknown
  /** Runs a module's lines as an owner's browser would: beside the machine, by way of the proxy. */
  asOwner(code: string): Promise<void>
}

/** Needs root. What it starts ends with `cleanup`, whatever happens. */
export const createFarSide = async (cleanup: AsyncDisposableStack): Promise<FarSide> => {
  const folder = mkdtempSync(join(tmpdir(), 'far-side-'))
  cleanup.defer(() => rmSync(folder, { recursive: true, force: true }))
  const authority = createAuthority('Walk Root CA')
  cleanup.defer(() => authority.remove())
  const inspection = createAuthority('Example Inspection CA')
  cleanup.defer(() => inspection.remove())
  const trusted = join(folder, 'trusted.pem')
  writeFileSync(trusted, authority.ca + inspection.ca)
  const network = createNetwork()
  cleanup.defer(() => network.remove())
  const { inside, outside } = network
  const launch = async (command: readonly string[], ready: RegExp): Promise<ChildProcess> => {
    const child = spawnIn(outside, command)
    cleanup.defer(() => end(child))
    await saying(child, ready)
    return child
  }

  const options = ['-k', '-C/dev/null', '-R', '-h', '-z', '--user=root', '--pid-file=', '--log-facility=-']
  const names = [`--listen-address=${outside.address}`, `--address=/${PROXY.name}/${outside.address}`]
  const startResolver = (): Promise<ChildProcess> => launch(['dnsmasq', ...options, ...names], /started/)
  const startFront = (issuer: Authority): Promise<ChildProcess> => {
    const { cert, key } = issuer.issue(...GITHUB_HOSTS)
    const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    writeFileSync(certFile, cert)
    writeFileSync(keyFile, key, { mode: 0o600 })
    const program = join(ROOT, 'test/support/github-com.ts')
    return launch([process.execPath, program, `${SANDBOX_PORT}`, certFile, keyFile], /ready/)
  }
  const startProxy = async (): Promise<Squid> => {
    const squid = await startSquid({
      place: outside,
      port: PROXY.port,
      users: { [PROXY.user]: PROXY_PASSWORD },
      hosts: Object.fromEntries(GITHUB_HOSTS.map(host => [host, '127.0.0.1'])),
    })
    cleanup.defer(() => squid.stop())
    return squid
  }

  const sandbox = [process.execPath, join(ROOT, 'src/ghconnect.ts'), 'sandbox', '--listen', `127.0.0.1:${SANDBOX_PORT}`]
  await launch(sandbox, /sandbox/)
  await startResolver()
  let front = await startFront(authority)
  let squid = await startProxy()
  const login = `${PROXY.user}:${encodeURIComponent(PROXY_PASSWORD)}`
  return {
    network,
    authority,
    inspection,
    proxy: { stop: () => squid.stop(), start: async () => void (squid = await startProxy()) },
    async present(issuer) {
      await end(front)
      front = await startFront(issuer)
    },
    control(method, path, body) {
      const data = body === undefined ? [] : ['-H', 'content-type: application/json', '-d', JSON.stringify(body)]
      const text = outside.run(
        'curl',
        '-sfS',
        '-X',
        method,
        ...data,
        `http://127.0.0.1:${SANDBOX_PORT}/_sandbox${path}`,
      )
      return text === '' ? undefined : JSON.parse(text)
    },
    async asOwner(code) {
      const child = spawnIn(inside, [process.execPath, '--input-type=module', '-e', code], {
        NODE_USE_ENV_PROXY: '1',
        HTTPS_PROXY: `http://${login}@${outside.address}:${PROXY.port}`,
        NO_PROXY: '127.0.0.1',
        NODE_EXTRA_CA_CERTS: trusted,
      })
      let said = ''
      child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()))
      const [exit] = await once(child, 'exit')
      if (exit !== 0) throw new Error(`the owner could not: ${said}`)
    },
  }
}

const spawnIn = (
  place: Place,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ChildProcess => {
  const [program = '', ...words] = place.enter(command)
  return spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
}

const saying = (child: ChildProcess, ready: RegExp): Promise<void> => {
  const { promise, resolve: done, reject } = Promise.withResolvers<void>()
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (ready.test(said)) done()
    })
  }
  child.once('error', reject)
  child.once('exit', () => reject(new Error(`${child.spawnargs.join(' ')} ended: ${said}`)))
  return promise
}

const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}
