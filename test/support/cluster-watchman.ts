// Watches a cluster while it is tormented: asks all nodes for tokens, and holds each answer against what may be answered at that time.

import { z } from 'zod'
import { type Cluster, type ClusterNode, REPOSITORIES } from './cluster.ts'

/** `left`: cut off, the node did it for itself alone. */
export type Outcome = 'done' | 'refused' | 'uncertain' | 'left'

export type Watchman = {
  /** Whether that node can answer at all. */
  runs(node: ClusterNode): boolean
  /** Whether credentials are to be had, as far as is known. */
  isConnected(): boolean
  /** While it goes on, and for a while after, etcd may be out of reach for any node. */
  during(task: () => unknown): Promise<void>
  /** A change by an administrator, with what it says of itself: `uncertain` may have been done. */
  changing(kind: 'disable' | 'restore', change: () => Promise<Outcome>): Promise<string>
  /** That node is on its own until it joins again. */
  left(node: ClusterNode): void
  /** Everything was healed: resolves when all nodes are of one mind, and that the right one. Throws where they never are. */
  settle(): Promise<void>
  takeBroken(): string[]
  /** Ends the asking; gives the answers by their status. */
  end(): Promise<Readonly<Record<string, number>>>
}

const ASKING = 3
const PAUSE_MS = 25
const LOOK_MS = 150
/** A node that reaches etcd has heard of a change by then. */
const TOLD_MS = 1_500
/** Healed, a node has caught up by then. */
const CAUGHT_UP_MS = 6_000
const SETTLE_MS = 45_000
/** A node that did not get through to GitHub rests so long at most before it tries again. */
const REST_MS = 20_000

export const createWatchman = (cluster: Cluster): Watchman => {
  const { nodes } = cluster
  const broken = new Set<string>()
  const alone = new Set<ClusterNode>()
  const answers: Record<string, number> = {}
  const generations = new Map<ClusterNode, number>()
  let connected = true
  let certain = true
  /** When the last change ended; while one goes on, none did. */
  let changedMs = Number.NEGATIVE_INFINITY
  let changing = 0
  let troubledMs = Number.NEGATIVE_INFINITY
  const over = new AbortController()

  const runs = (node: ClusterNode): boolean => !node.condition().killed && !node.condition().paused
  const isWell = (node: ClusterNode, sinceMs: number): boolean => {
    const { cut, sinceMs: lastMs } = node.condition()
    return runs(node) && !cut && lastMs + CAUGHT_UP_MS < sinceMs && troubledMs + CAUGHT_UP_MS < sinceMs
  }

  const judge = async (
    node: ClusterNode,
    began: { ms: number; dateMs: number },
    body: Record<string, unknown>,
  ): Promise<void> => {
    const expires = String(body['expires_at'])
    if (Date.parse(expires) <= began.dateMs) broken.add(`node ${node.at} served a token that ended ${expires}`)
    const disabled = !connected && certain && changing === 0 && changedMs + TOLD_MS < began.ms
    if (disabled && isWell(node, began.ms)) broken.add(`node ${node.at} served a token after the disable`)
    if (!connected || !certain || changing > 0) return
    const [name = ''] = Array.isArray(body['repositories']) ? body['repositories'] : []
    const status = await cluster.use(String(body['token']), String(name))
    // What was changed meanwhile may have taken the token away.
    if (status !== 200 && connected && certain && changing === 0 && changedMs < began.ms) {
      broken.add(`node ${node.at}: GitHub says ${status} to a token until ${expires}`)
    }
  }

  const ask = async (worker: number): Promise<void> => {
    for (let i = worker; !over.signal.aborted; i++) {
      await new Promise(pause => setTimeout(pause, PAUSE_MS))
      const node = nodes[(i * 7 + worker) % nodes.length]
      const repository = REPOSITORIES[i % REPOSITORIES.length] ?? 'web'
      if (!node || !runs(node) || alone.has(node)) continue
      const began = { ms: performance.now(), dateMs: Date.now() }
      const answer = await node.token(repository).catch(() => undefined)
      const kind = String(answer?.status ?? 'gone')
      answers[kind] = (answers[kind] ?? 0) + 1
      if (answer?.status === 200) await judge(node, began, answer.body)
    }
  }

  const look = async (): Promise<void> => {
    while (!over.signal.aborted) {
      await new Promise(pause => setTimeout(pause, LOOK_MS))
      await Promise.all(nodes.filter(runs).map(lookAt))
    }
  }

  const lookAt = async (node: ClusterNode): Promise<void> => {
    const { generation } = (await statusOf(node)) ?? {}
    if (generation === undefined || alone.has(node)) return
    const before = generations.get(node) ?? 0
    if (generation < before) broken.add(`node ${node.at} went back from generation ${before} to ${generation}`)
    generations.set(node, Math.max(before, generation))
  }

  const working = [...Array.from({ length: ASKING }, (_, worker) => ask(worker)), look()]

  const agreement = async (): Promise<{ ok: boolean; told: string; state: string | undefined }> => {
    const all = await Promise.all(nodes.map(statusOf))
    const minds = new Set(all.map(status => `${status?.state} ${status?.generation} ${status?.app?.id}`))
    const leaders = all.filter(status => status?.role === 'leader').length
    const isolated = all.some(status => status?.warnings.some(({ code }) => code.startsWith('cluster')))
    const told = all.map(each => `${each?.state}/${each?.generation}/${each?.app?.id ?? '-'}/${each?.role}`).join(' ')
    return { ok: minds.size === 1 && leaders === 1 && !isolated, told, state: all[0]?.state }
  }

  return {
    runs,
    isConnected: () => connected,
    async during(task) {
      troubledMs = Number.POSITIVE_INFINITY
      try {
        await task()
      } finally {
        troubledMs = performance.now()
      }
    },
    async changing(kind, change) {
      changing += 1
      const before = connected
      if (kind === 'restore') connected = true
      const outcome = await change()
      if (outcome === 'done') connected = kind === 'restore'
      else if (outcome !== 'uncertain') connected = before
      else certain = false
      changing -= 1
      changedMs = performance.now()
      return `${kind} ${outcome}`
    },
    async settle() {
      const untilMs = performance.now() + SETTLE_MS
      for (const node of alone) await joinAgain(node, untilMs)
      for (;;) {
        const { ok, told, state } = await agreement()
        const wanted = connected ? 'connected' : 'disconnected'
        if (ok && (!certain || state === wanted)) {
          if (!certain) connected = state === 'connected'
          certain = true
          break
        }
        if (performance.now() > untilMs)
          throw new Error(`the nodes are not of one mind, ${certain ? wanted : 'either'}: ${told}`)
        await new Promise(pause => setTimeout(pause, LOOK_MS))
      }
      await checkAll()
    },
    left(node) {
      alone.add(node)
      generations.delete(node)
    },
    takeBroken() {
      const taken = [...broken]
      broken.clear()
      return taken
    },
    async end() {
      over.abort()
      await Promise.all(working)
      return answers
    },
  }

  async function joinAgain(node: ClusterNode, untilMs: number): Promise<void> {
    for (;;) {
      const answer = await node.call('POST', '/v1/cluster', { replica: false, force: false }).catch(() => undefined)
      if (answer?.status === 200) break
      if (performance.now() > untilMs) throw new Error(`node ${node.at} does not join again: ${answer?.text}`)
      await new Promise(pause => setTimeout(pause, LOOK_MS))
    }
    alone.delete(node)
  }

  async function checkAll(): Promise<void> {
    const untilMs = performance.now() + REST_MS
    const wanted = connected ? '200' : '503'
    for (;;) {
      const got = await Promise.all(nodes.map(node => node.token('web')))
      const statuses = [...new Set(got.map(({ status }) => status))].join()
      if (statuses === wanted) break
      if (performance.now() > untilMs) {
        broken.add(`${connected ? 'connected' : 'disconnected'}, and the nodes answer ${statuses}`)
        break
      }
      await new Promise(pause => setTimeout(pause, LOOK_MS))
    }
    const { apps } = State.parse(await cluster.control('GET', 'state'))
    if (apps.length !== 1) broken.add(`there are ${apps.length} Apps`)
  }
}

const Shown = z.object({
  state: z.string(),
  generation: z.number(),
  role: z.string(),
  app: z.object({ id: z.number() }).nullish(),
  warnings: z.array(z.object({ code: z.string() })).default([]),
})

const State = z.object({ apps: z.array(z.unknown()) })

const statusOf = async (node: ClusterNode): Promise<z.infer<typeof Shown> | undefined> => {
  const answer = await node.call('GET', '/v1/status').catch(() => undefined)
  return answer?.status === 200 ? Shown.parse(answer.body) : undefined
}
