// etcd as Debian ships it: one member or three, on loopback or in places of a network, each ended by its pid.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'
import { freePort } from './ports.ts'
import { type Authority, type Certificate, createAuthority } from './certificates.ts'

export type EtcdMember = {
  readonly endpoint: string
  /** Ends it at once; its data stay. */
  kill(): Promise<void>
  /** From the data that it has. */
  start(): Promise<void>
  /** SIGSTOP and SIGCONT. */
  pause(): void
  resume(): void
}

export type EtcdCluster = {
  readonly members: readonly EtcdMember[]
  readonly endpoints: readonly string[]
  /** With mutual TLS: what a client is to trust and to show. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } | undefined
  /** The same as files. */
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string }
  readonly authority: Authority | undefined
  /** As `etcdctl` with the endpoints of members that run; gives its output. */
  ctl(...words: readonly string[]): Promise<string>
  /** Which member leads, by its index. */
  leader(): Promise<number>
  /** Resolves when the members with these indexes, or all that run, do their work; a request that came between two leaders is lost. */
  settled(...members: readonly number[]): Promise<void>
  /** A snapshot of what it holds, as a file. */
  save(): Promise<string>
  /** All members end, and start with what the snapshot holds. */
  restore(snapshot: string): Promise<void>
  close(): Promise<void>
}

type Entrance = { enter(command: readonly string[]): readonly string[] }

export type EtcdOptions = {
  readonly size?: 1 | 3
  readonly tls?: boolean
  /** Where each member is, if not on loopback, and the command that brings it there. */
  readonly places?: readonly (Entrance & { readonly address: string })[]
  /** Where `ctl` runs, if not on this machine itself. */
  readonly operator?: Entrance
  /** More words for each member. */
  readonly words?: readonly string[]
}

/** A leader is elected anew within half a second, and a lease may be as short as one. */
const TIMING = ['--heartbeat-interval=50', '--election-timeout=250']

const run = promisify(execFile)

export const startEtcd = async (options: EtcdOptions = {}): Promise<EtcdCluster> => {
  const { size = 1, places, operator, words = [] } = options
  const folder = mkdtempSync(join(tmpdir(), 'etcd-'))
  const authority = options.tls ? createAuthority('etcd test authority') : undefined
  const files = { ca: join(folder, 'ca.pem'), cert: join(folder, 'client.pem'), key: join(folder, 'client.key') }
  const addresses = Array.from({ length: size }, (_, i) => places?.[i]?.address ?? '127.0.0.1')
  const server = authority?.issue(...new Set(addresses))
  const client = authority?.issue('client')
  if (authority && server && client) {
    writeFileSync(files.ca, authority.ca)
    keep({ cert: join(folder, 'server.pem'), key: join(folder, 'server.key') }, server)
    keep(files, client)
  }
  const scheme = authority ? 'https' : 'http'
  const secure = authority
    ? ['', 'peer-'].flatMap(prefix => [
        `--${prefix}cert-file=${folder}/server.pem`,
        `--${prefix}key-file=${folder}/server.key`,
        `--${prefix}trusted-ca-file=${files.ca}`,
        `--${prefix}client-cert-auth`,
      ])
    : []

  const sites: Site[] = []
  for (const [i, address] of addresses.entries()) {
    const url = async (port: number): Promise<string> => `${scheme}://${address}:${places ? port : await freePort()}`
    sites.push({
      name: `m${i}`,
      clients: await url(2379),
      peers: await url(2380),
      enter: places?.[i]?.enter ?? (command => command),
      running: undefined,
    })
  }
  const initial = sites.map(({ name, peers }) => `${name}=${peers}`).join(',')
  let generation = 0
  const dataOf = ({ name }: Site): string => join(folder, `${name}-${generation}`)

  const launch = (site: Site): Promise<void> => {
    const command = [
      'etcd',
      `--name=${site.name}`,
      `--data-dir=${dataOf(site)}`,
      `--listen-client-urls=${site.clients}`,
      `--advertise-client-urls=${site.clients}`,
      `--listen-peer-urls=${site.peers}`,
      `--initial-advertise-peer-urls=${site.peers}`,
      `--initial-cluster=${initial}`,
      `--initial-cluster-token=test-${generation}`,
      '--logger=zap',
      ...TIMING,
      ...secure,
      ...words,
    ]
    const [program = '', ...rest] = site.enter(command)
    const child = spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe'] })
    site.running = child
    return serving(child)
  }

  const end = async (site: Site): Promise<void> => {
    const child = site.running
    site.running = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }

  const ctlAt = async (endpoints: string, list: readonly string[]): Promise<string> => {
    const trust = authority ? ['--cacert', files.ca, '--cert', files.cert, '--key', files.key] : []
    const [program = '', ...rest] = (operator?.enter ?? (command => command))([
      'etcdctl',
      '--endpoints',
      endpoints,
      ...trust,
      ...list,
    ])
    const { stdout } = await run(program, rest, { env: { ...process.env, ETCDCTL_API: '3' }, maxBuffer: 64 * 2 ** 20 })
    return stdout
  }
  const living = (): readonly Site[] => sites.filter(site => site.running)
  const ctl = (...list: readonly string[]): Promise<string> =>
    ctlAt(
      living()
        .map(site => site.clients)
        .join(','),
      list,
    )

  await Promise.all(sites.map(launch))

  return {
    members: sites.map(site => ({
      endpoint: site.clients,
      kill: () => end(site),
      start: () => launch(site),
      pause: () => void site.running?.kill('SIGSTOP'),
      resume: () => void site.running?.kill('SIGCONT'),
    })),
    endpoints: sites.map(site => site.clients),
    tls: authority && client && { ca: authority.ca, cert: client.cert, key: client.key },
    files,
    authority,
    ctl,
    async leader() {
      // The ids are beyond what a number holds, but both are cut alike.
      const found = Status.parse(JSON.parse(await ctl('endpoint', 'status', '-w', 'json')))
      const leading = found.find(({ Status: { header, leader } }) => header.member_id === leader)
      return sites.findIndex(site => site.clients === leading?.Endpoint)
    },
    async settled(...members) {
      const wanted = members.length > 0 ? members.flatMap(at => sites[at] ?? []) : living()
      for (;;) {
        const healthy = await ctlAt(wanted.map(site => site.clients).join(','), [
          'endpoint',
          'health',
          '--command-timeout=1s',
        ])
          .then(() => true)
          .catch(() => false)
        if (healthy) return
      }
    },
    async save() {
      const file = join(folder, `snapshot-${generation}-${Date.now()}`)
      const [first] = living()
      await ctlAt(first?.clients ?? '', ['snapshot', 'save', file])
      return file
    },
    async restore(snapshot) {
      await Promise.all(sites.map(end))
      generation += 1
      for (const site of sites) {
        const to = ['--name', site.name, '--data-dir', dataOf(site), '--initial-advertise-peer-urls', site.peers]
        const cluster = ['--initial-cluster', initial, '--initial-cluster-token', `test-${generation}`]
        await run('etcdctl', ['snapshot', 'restore', snapshot, ...to, ...cluster], {
          env: { ...process.env, ETCDCTL_API: '3' },
        })
      }
      await Promise.all(sites.map(launch))
    },
    async close() {
      await Promise.all(sites.map(end))
      authority?.remove()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const Status = z.array(
  z.object({
    Endpoint: z.string(),
    Status: z.object({ header: z.object({ member_id: z.number() }), leader: z.number() }),
  }),
)

type Site = {
  readonly name: string
  readonly clients: string
  readonly peers: string
  readonly enter: (command: readonly string[]) => readonly string[]
  running: ChildProcess | undefined
}

const keep = (at: { readonly cert: string; readonly key: string }, { cert, key }: Certificate): void => {
  writeFileSync(at.cert, cert)
  writeFileSync(at.key, key, { mode: 0o600 })
}

const serving = async (child: ChildProcess): Promise<void> => {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    if (said.length < 100_000) said += chunk.toString()
    if (/ready to serve client requests|serving (?:insecure )?client/i.test(said)) resolve()
  })
  child.once('error', reject)
  child.once('exit', code => reject(new Error(`etcd ended with ${code}: ${said}`)))
  return promise
}
