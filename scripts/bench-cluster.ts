// The benchmark's rows of the cluster: how long it takes until 50 replicas hold a token that the leader put into etcd, and what they cost.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { z } from 'zod'
import { createEtcd } from '../src/core/cluster/etcd.ts'
import { createLink } from '../src/core/cluster/link.ts'
import { createClock } from '../src/service/clock.ts'
import { startEtcd } from '../test/support/etcd.ts'
import type { Row } from './bench-parts.ts'
import { quietLog, tokensOf } from './bench-parts.ts'

const REPLICAS = 50
const PUTS = 100
const PAUSE_MS = 200
const IDLE_MS = 10_000
const CLUSTER = 'bench'
const SECRET = Buffer.from('the secret of the benchmark, which is none')

const Usage = z.object({ cpuMs: z.number(), rssMb: z.number() })
const Message = z.union([
  z.object({ ready: z.literal(true), before: Usage }),
  z.object({ usage: Usage }),
  z.object({ applied: z.array(z.object({ name: z.string(), atNs: z.string() })) }),
])

type Measured = {
  readonly lagsMs: readonly number[]
  /** Of one core, while nothing happens. */
  readonly idlePercent: number
  /** Of processor for one put, for all replicas together. */
  readonly putCpuMs: number
  readonly mbEach: number
}

const wait = (ms: number): Promise<void> => new Promise(done => void setTimeout(done, ms))

const next = async (child: ChildProcess): Promise<z.infer<typeof Message>> => {
  const [message] = await once(child, 'message')
  return Message.parse(message)
}

const ask = async (child: ChildProcess, what: string): Promise<z.infer<typeof Message>> => {
  const answer = next(child)
  child.send(what)
  return answer
}

const usageOf = async (child: ChildProcess): Promise<z.infer<typeof Usage>> => {
  const answer = await ask(child, 'usage')
  if (!('usage' in answer)) throw new Error('no usage')
  return answer.usage
}

type Writer = { put(at: number): Promise<string>; close(): void }

const leader = async (endpoint: string): Promise<Writer> => {
  const clock = createClock()
  const etcd = await createEtcd({ endpoints: [endpoint], name: CLUSTER, clock, log: quietLog })
  const host = { machineId: 'leader', hostname: 'leader' }
  const link = createLink({
    etcd,
    cluster: CLUSTER,
    secrets: [SECRET],
    node: 'leader',
    handlers: {
      onRecord() {},
      onToken() {},
      onAsk() {},
      onTouch() {},
      onLead() {},
      member: () => ({ generation: 1, sequence: 1, role: 'member', host, version: 'bench', able: true, mayLead: true }),
    },
    clock,
    log: quietLog,
  })
  await link.start()
  while (!link.leads()) await wait(10)
  const tokens = [...tokensOf({ scopes: PUTS, installations: 1, nowMs: Date.now() })]
  return {
    async put(at) {
      const token = tokens[at]
      if (!token) throw new Error(`no token ${at}`)
      const { slot: _, ...shared } = token
      if (!(await link.putTokens([{ appId: 1, generation: 1, token: shared }]))) throw new Error('the put was refused')
      return shared.scope.repositories?.[0] ?? ''
    },
    close: () => etcd.close(),
  }
}

/** The same bytes by a bare client. */
const bareWriter = async (endpoint: string): Promise<Writer> => {
  const etcd = await createEtcd({ endpoints: [endpoint], name: CLUSTER, clock: createClock(), log: quietLog })
  return {
    async put(at) {
      await etcd.commit([], [{ kind: 'put', key: `floor/${at}`, value: Buffer.alloc(1_400, at) }])
      return String(at)
    },
    close: () => etcd.close(),
  }
}

const measure = async (kind: 'floor' | 'replicas'): Promise<Measured> => {
  const etcd = await startEtcd()
  const endpoint = etcd.endpoints[0] ?? ''
  const child = fork(join(import.meta.dirname, 'bench-replicas.ts'), [kind, String(REPLICAS), endpoint])
  try {
    const ready = await next(child)
    if (!('ready' in ready)) throw new Error('not ready')
    const writer = await (kind === 'floor' ? bareWriter(endpoint) : leader(endpoint))
    await wait(2_000)
    const quiet = await usageOf(child)
    await wait(IDLE_MS)
    const idle = await usageOf(child)
    const putNs = new Map<string, bigint>()
    for (let at = 0; at < PUTS; at++) {
      const began = process.hrtime.bigint()
      putNs.set(await writer.put(at), began)
      await wait(PAUSE_MS)
    }
    await wait(500)
    const after = await usageOf(child)
    const told = await ask(child, 'applied')
    if (!('applied' in told)) throw new Error('nothing applied')
    writer.close()
    const lagsMs = told.applied.map(({ name, atNs }) => Number(BigInt(atNs) - (putNs.get(name) ?? 0n)) / 1e6)
    if (lagsMs.length !== PUTS * REPLICAS) throw new Error(`${lagsMs.length} of ${PUTS * REPLICAS} were applied`)
    const idlePercent = ((idle.cpuMs - quiet.cpuMs) / IDLE_MS) * 100
    const spanMs = PUTS * PAUSE_MS
    return {
      lagsMs: lagsMs.toSorted((a, b) => a - b),
      idlePercent,
      putCpuMs: Math.max(0, (after.cpuMs - idle.cpuMs - (idlePercent / 100) * spanMs) / PUTS),
      mbEach: (after.rssMb - ready.before.rssMb) / REPLICAS,
    }
  } finally {
    const exit = once(child, 'exit')
    child.send('end')
    await exit
    await etcd.close()
  }
}

const at = (sorted: readonly number[], share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN

export const benchCluster = async (): Promise<Row[]> => {
  const floor = await measure('floor')
  const ours = await measure('replicas')
  const lag = ({ lagsMs }: Measured): string =>
    `p50 ${at(lagsMs, 0.5).toFixed(1)}, p99 ${at(lagsMs, 0.99).toFixed(1)} ms`
  const moreMs = at(ours.lagsMs, 0.99) - at(floor.lagsMs, 0.99)
  return [
    {
      name: `${REPLICAS} replicas: from put to applied`,
      floor: lag(floor),
      ours: lag(ours),
      ratio: `+${moreMs.toFixed(1)} ms`,
      budget: '<= +50 ms',
      within: moreMs <= 50,
    },
    {
      name: `${REPLICAS} replicas: processor, idle`,
      floor: `${floor.idlePercent.toFixed(1)} %`,
      ours: `${ours.idlePercent.toFixed(1)} %`,
      ratio: `+${(ours.idlePercent - floor.idlePercent).toFixed(1)} %`,
      budget: '<= 15 %',
      within: ours.idlePercent <= 15,
    },
    {
      name: `${REPLICAS} replicas: processor for one token`,
      floor: `${floor.putCpuMs.toFixed(1)} ms`,
      ours: `${ours.putCpuMs.toFixed(1)} ms`,
      ratio: (ours.putCpuMs / floor.putCpuMs).toFixed(1),
      budget: '<= 50 ms',
      within: ours.putCpuMs <= 50,
    },
    {
      name: `${REPLICAS} replicas: memory of each`,
      floor: `${floor.mbEach.toFixed(2)} MB`,
      ours: `${ours.mbEach.toFixed(2)} MB`,
      ratio: '',
      budget: '<= 5 MB',
      within: ours.mbEach <= 5,
    },
  ]
}
