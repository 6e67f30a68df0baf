// A cluster: three members of etcd and several daemons, each in a network of its own, one GitHub for all of them, and a hand on every plug.

import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { startSandbox } from '../../src/sandbox/server.ts'
import { type Appliance, createAppliance, PROFILE } from './appliance.ts'
import { freePort } from './ports.ts'
import { type CliRun, runCli } from './cli-process.ts'
import { type EtcdCluster, startEtcd } from './etcd.ts'
import { createSwitchboard, type Site } from './switchboard.ts'
import { startSandboxProcess, type TimeMachine } from './time-machine.ts'
import { type Answer, callUnix } from './unix-http.ts'

export type ClusterNode = Appliance & {
  readonly at: number
  /** Its cable to etcd. */
  readonly site: Site
  /** Whether it reaches GitHub. */
  online(yes: boolean): void
  cli(...words: readonly string[]): Promise<CliRun>
  /** By way of token.sock. */
  token(repository: string): Promise<Answer>
  /** SIGSTOP and SIGCONT. */
  pause(): void
  resume(): void
  /** What was done to it; `sinceMs` by the monotonic clock. */
  condition(): Condition
}

export type Condition = {
  readonly killed: boolean
  readonly paused: boolean
  readonly cut: boolean
  readonly sinceMs: number
}

export type Cluster = {
  readonly etcd: EtcdCluster
  readonly sites: readonly Site[]
  readonly nodes: readonly ClusterNode[]
  /** Of the sandbox. */
  readonly url: string
  control(method: string, path: string, body?: unknown): Promise<unknown>
  /** How often GitHub made a token, by scope, since the sequence number of the sandbox's log. */
  mints(since?: number): Promise<ReadonlyMap<string, number>>
  /** The last sequence number of the sandbox's log. */
  sequence(): Promise<number>
  /** What GitHub answers to this token for that repository. */
  use(token: string, repository: string): Promise<number>
  /** The node that says that it leads, once exactly one of these does. */
  leader(among?: readonly ClusterNode[]): Promise<ClusterNode>
  /** Of the members of etcd. */
  readonly etcdSites: readonly Site[]
  /** All cables in, all processes going on; what was killed stays so. */
  healAll(): void
  /** The cables only. */
  healCables(): void
  close(): Promise<void>
}

export type ClusterOptions = {
  readonly nodes?: number
  /** All daemons and GitHub live in its time. */
  readonly time?: TimeMachine
  /** Added to the configuration. */
  readonly toml?: string
  /** Added to its table of the cluster. */
  readonly keys?: string
  readonly roles?: readonly ('member' | 'replica')[]
  /** Added to the environment of the node with that index. */
  readonly envOf?: (at: number) => Readonly<Record<string, string>>
}

export const REPOSITORIES = ['web', 'api', 'docs'] as const

/** A connection that is kept is reset where its server was killed, or its time jumped. */
const ONCE = { connection: 'close' }

/** Running, the first one enabled, the others joined. */
export const startCluster = async (options: ClusterOptions = {}): Promise<Cluster> => {
  const { nodes: count = 5, time } = options
  const folder = mkdtempSync(join(tmpdir(), 'cluster-'))
  const view = createSwitchboard(count + 4)
  const [operator, one, two, three, ...places] = view.sites
  if (!operator || !one || !two || !three) throw new Error('no sites')
  const etcd = await startEtcd({ size: 3, tls: true, places: [one, two, three], operator })
  const secretFile = join(folder, 'cluster.secret')
  writeFileSync(secretFile, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 })
  const github = await startGitHub(time)

  const nodes: ClusterNode[] = []
  const served: { close(): void }[] = []
  for (const [at, site] of places.entries()) {
    let online = true
    const ways = new Set<Socket>()
    served.push(
      await site.serve(github.port, near => {
        if (!online) {
          near.destroy()
          return
        }
        const far = connect(github.port, '127.0.0.1')
        near.pipe(far).pipe(near)
        far.on('error', () => near.destroy())
        far.on('close', () => near.destroy())
        near.on('close', () => (ways.delete(near), far.destroy()))
        ways.add(near)
      }),
    )
    const appliance = await createAppliance({
      github: { url: github.url, apiUrl: `${github.url}/api/v3` },
      env: { ...time?.env, ...options.envOf?.(at) },
      toml: `${PROFILE}${options.toml ?? ''}
[cluster]
name = "test"
endpoints = ${JSON.stringify(etcd.endpoints)}
ca_file = "${etcd.files.ca}"
cert_file = "${etcd.files.cert}"
key_file = "${etcd.files.key}"
secret_file = "${secretFile}"
${options.keys ?? ''}
`,
      wrap: site.enter,
    })
    const ask: Appliance['ask'] = (method, path, body) =>
      callUnix(join(appliance.runtime, 'token.sock'), { method, path, body, headers: ONCE })
    let condition: Condition = { killed: true, paused: false, cut: false, sinceMs: performance.now() }
    const now = (change: Partial<Condition>): void => {
      condition = { ...condition, ...change, sinceMs: performance.now() }
    }
    nodes.push({
      ...appliance,
      at,
      site: {
        ...site,
        cut: () => (now({ cut: true }), site.cut()),
        heal: () => (site.heal(), now({ cut: false })),
      },
      condition: () => condition,
      async start() {
        await appliance.start()
        now({ killed: false, paused: false })
      },
      async kill(signal) {
        now({ killed: true })
        return appliance.kill(signal)
      },
      online(yes) {
        online = yes
        if (!yes) for (const way of ways) way.destroy()
      },
      cli: (...words) => runCli(appliance, words, time?.env),
      call: (method, path, body) =>
        callUnix(join(appliance.runtime, 'admin.sock'), { method, path, body, headers: ONCE }),
      ask,
      token: repository => ask('POST', '/v1/tokens', { repositories: [repository], permissions: { contents: 'read' } }),
      pause() {
        now({ paused: true })
        appliance.signal('SIGSTOP')
      },
      resume() {
        if (condition.killed) return
        appliance.signal('SIGCONT')
        now({ paused: false })
      },
    })
  }

  const control = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await fetch(`${github.url}/_sandbox/${path}`, {
      method,
      headers: { connection: 'close', 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
    return text === '' ? {} : JSON.parse(text)
  }
  const log = async (since: number) => Log.parse(await control('GET', `log?since=${since}`))

  const leader = async (among: readonly ClusterNode[] = nodes): Promise<ClusterNode> => {
    for (;;) {
      // One that is stopped would never answer.
      const answering = among.filter(node => !node.condition().killed && !node.condition().paused)
      const asked = answering.map(async node => ((await roleOf(node)) === 'leader' ? [node] : []))
      const [found, ...more] = (await Promise.all(asked)).flat()
      if (found && more.length === 0) return found
      await new Promise(pause => setTimeout(pause, 50))
    }
  }

  const cluster: Cluster = {
    etcd,
    sites: view.sites,
    nodes,
    url: github.url,
    control,
    async mints(since = 0) {
      const made = (await log(since)).filter(({ path, status }) => path.endsWith('/access_tokens') && status === 201)
      const byScope = Map.groupBy(made, ({ scope }) => JSON.stringify(scope))
      return new Map([...byScope].map(([scope, list]) => [scope, list.length]))
    },
    sequence: async () => (await log(0)).at(-1)?.sequence ?? 0,
    async use(token, repository) {
      const answer = await fetch(`${github.url}/api/v3/repos/octo-org/${repository}/contents/README.md`, {
        headers: { authorization: `Bearer ${token}`, connection: 'close' },
      })
      await answer.text()
      return answer.status
    },
    leader,
    etcdSites: [one, two, three],
    healAll() {
      cluster.healCables()
      for (const member of etcd.members) member.resume()
      for (const node of nodes) {
        node.online(true)
        node.resume()
      }
    },
    healCables() {
      view.healAll()
      for (const node of nodes) if (node.condition().cut) node.site.heal()
    },
    async close() {
      cluster.healAll()
      await Promise.all(nodes.map(node => node.close()))
      for (const each of served) each.close()
      await etcd.close()
      await github.close()
      view.remove()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  try {
    await Promise.all(nodes.map(node => node.start()))
    const [first, ...rest] = nodes
    if (!first) throw new Error('no nodes')
    await enableOn(first)
    await joinAll(first, rest, options.roles ?? [])
    return cluster
  } catch (error) {
    await cluster.close()
    throw error
  }
}

/** Its page is on loopback, where its owner's browser must come to. */
export const enableOn = async (node: ClusterNode): Promise<void> => {
  const [, port = ''] = /listen = "127\.0\.0\.1:(\d+)"/.exec(readFileSync(node.configFile, 'utf8')) ?? []
  const way = await node.site.forward(Number(port))
  try {
    await node.enable()
  } finally {
    await way.close()
  }
}

export const roleOf = async (node: ClusterNode): Promise<unknown> =>
  (await node.call('GET', '/v1/status').catch(() => ({ body: {} as Record<string, unknown> }))).body['role']

const joinAll = async (
  first: ClusterNode,
  rest: readonly ClusterNode[],
  roles: readonly ('member' | 'replica')[],
): Promise<void> => {
  const enter = async (node: ClusterNode): Promise<void> => {
    const { status, text } = await node.call('POST', '/v1/cluster', {
      replica: roles[node.at] === 'replica',
      force: false,
    })
    if (status !== 200) throw new Error(`node ${node.at} does not join: ${text}\n${node.log()}`)
  }
  await enter(first)
  await Promise.all(rest.map(enter))
  await Promise.all(rest.map(node => node.until('connected')))
}

const Log = z.array(
  z.object({ sequence: z.number(), method: z.string(), path: z.string(), status: z.number(), scope: z.unknown() }),
)

type GitHub = { readonly url: string; readonly port: number; close(): Promise<void> }

const startGitHub = async (time: TimeMachine | undefined): Promise<GitHub> => {
  if (!time) {
    const sandbox = await startSandbox({})
    return { url: sandbox.url, port: Number(new URL(sandbox.url).port), close: () => sandbox.close() }
  }
  const port = await freePort()
  const child: ChildProcess = await startSandboxProcess(port, time.env)
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    async close() {
      const exit = once(child, 'exit')
      child.kill('SIGKILL')
      await exit
    },
  }
}
