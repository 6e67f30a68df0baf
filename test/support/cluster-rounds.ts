// The cluster's fault run: rounds of what a network, a machine room and an administrator do, by a seed, and what must hold all the while.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Cluster, type ClusterNode, roleOf, startCluster } from './cluster.ts'
import { type Fault, faultsOf } from './cluster-faults.ts'
import { createWatchman, type Watchman } from './cluster-watchman.ts'
import { seeded } from './kill-phases.ts'
import { createSettableClock } from './time-machine.ts'

export type ClusterReport = {
  readonly seed: number
  readonly rounds: number
  readonly seconds: number
  /** How often each fault struck. */
  readonly faults: Readonly<Record<string, number>>
  /** How often each change was made, and how it ended: `disable 200`. */
  readonly changes: Readonly<Record<string, number>>
  /** Answers by their status. */
  readonly answers: Readonly<Record<string, number>>
  readonly mints: number
  /** What did not hold, with its round. */
  readonly broken: readonly string[]
}

export type ClusterRoundsOptions = {
  readonly rounds: number
  readonly seed: number
  readonly nodes?: number
  readonly onRound?: (done: number, broken: readonly string[]) => void
}

const WINDOW_MS = 1_500
const MOST_BROKEN = 5

type Random = ReturnType<typeof seeded>

export const runClusterRounds = async (options: ClusterRoundsOptions): Promise<ClusterReport> => {
  const { rounds, seed, nodes: count = 5, onRound } = options
  const random = seeded(seed)
  const folder = mkdtempSync(join(tmpdir(), 'cluster-rounds-'))
  const bundle = join(folder, 'bundle.tar')
  const clocks = Array.from({ length: count }, () => createSettableClock())
  const tally: Record<'faults' | 'changes', Record<string, number>> = { faults: {}, changes: {} }
  const note = (list: Record<string, number>, name: string): void => void (list[name] = (list[name] ?? 0) + 1)
  const broken: string[] = []
  const began = performance.now()
  const cluster = await startCluster({ nodes: count, envOf: at => clocks[at]?.env ?? {} })
  const watchman = createWatchman(cluster)
  let done = 0
  try {
    // The watchman tries each token that it is given: more often than GitHub would allow.
    await cluster.control('POST', 'settings', { hourly_quota: 1_000_000 })
    const [first] = cluster.nodes
    const exported = await first?.cli('snapshot', 'export', '--output', bundle)
    if (exported?.code !== 0) throw new Error(`no snapshot: ${exported?.stderr}`)
    const strikes = faultsOf({ cluster, clocks, backup: await cluster.etcd.save() })
    while (done < rounds && broken.length < MOST_BROKEN) {
      const round = done + 1
      const faults = pickSome(strikes, random)
      const told = faults.map(({ name }) => name).join(' + ')
      try {
        for (const fault of faults) {
          note(tally.faults, fault.name)
          await watchman.during(() => fault.strike(random))
        }
        const outcome = await disturb({ cluster, watchman, random, bundle })
        if (outcome) note(tally.changes, outcome)
        for (const fault of faults.toReversed()) await watchman.during(() => fault.relent?.())
        await watchman.settle()
      } catch (error) {
        broken.push(`round ${round} (${told}): ${error instanceof Error ? error.message : String(error)}`)
        for (const fault of faults.toReversed()) await fault.relent?.()
        cluster.healAll()
      }
      for (const what of watchman.takeBroken()) broken.push(`round ${round} (${told}): ${what}`)
      done = round
      onRound?.(done, broken)
    }
    return {
      seed,
      rounds: done,
      seconds: Math.round((performance.now() - began) / 1_000),
      ...tally,
      answers: await watchman.end(),
      mints: [...(await cluster.mints()).values()].reduce((a, b) => a + b, 0),
      broken,
    }
  } finally {
    await watchman.end()
    await cluster.close()
    for (const clock of clocks) clock.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** One fault, or two at once. */
const pickSome = (strikes: readonly Fault[], random: Random): Fault[] => {
  const first = random.pick(strikes)
  if (random.below(3) > 0) return [first]
  const second = random.pick(strikes)
  return second.name === first.name || second.excludes?.includes(first.name) || first.excludes?.includes(second.name)
    ? [first]
    : [first, second]
}

type Disturbance = {
  readonly cluster: Cluster
  readonly watchman: Watchman
  readonly random: Random
  readonly bundle: string
}

/** In the midst of the fault an administrator changes something, or not. */
const disturb = async ({ cluster, watchman, random, bundle }: Disturbance): Promise<string | undefined> => {
  const until = performance.now() + WINDOW_MS
  await wait(random.below(WINDOW_MS / 2))
  const running = cluster.nodes.filter(node => watchman.runs(node))
  const outcome =
    random.below(2) > 0 && running.length > 0 ? await change(random.pick(running), { watchman, bundle }) : undefined
  await wait(Math.max(0, until - performance.now()))
  return outcome
}

const change = async (
  node: ClusterNode,
  { watchman, bundle }: Pick<Disturbance, 'watchman' | 'bundle'>,
): Promise<string> => {
  if (watchman.isConnected()) {
    return watchman.changing('disable', async () => {
      const { status } = await node.call('DELETE', '/v1/connection?local=true').catch(() => ({ status: 0 }))
      if (status !== 202) return status === 0 || status >= 500 ? 'uncertain' : 'refused'
      if ((await roleOf(node)) !== 'single') return 'done'
      watchman.left(node)
      return 'left'
    })
  }
  return watchman.changing('restore', async () => {
    const { code } = await node.cli('snapshot', 'restore', '--input', bundle)
    return code === 0 ? 'done' : 'uncertain'
  })
}

const wait = (ms: number): Promise<void> => new Promise(done => void setTimeout(done, ms))
