// What can befall a cluster: each fault strikes, and relents. Which one, and whom, a seed decides.

import type { Cluster, ClusterNode } from './cluster.ts'
import type { seeded } from './kill-phases.ts'
import type { SettableClock } from './time-machine.ts'

type Random = ReturnType<typeof seeded>

export type Fault = {
  readonly name: string
  strike(random: Random): unknown
  /** Nothing to do: heals by itself. */
  relent?(): unknown
  /** Faults that it does not go together with. */
  readonly excludes?: readonly string[]
}

const JUMPS_MS = [5_000, 5 * 60_000, 50 * 60_000, 3 * 60 * 60_000]
const OF_ETCD = [
  'an etcd member killed',
  'an etcd member paused',
  'an etcd member cut off',
  'etcd gone',
  'etcd from a backup',
]

export const faultsOf = (options: {
  readonly cluster: Cluster
  readonly clocks: readonly SettableClock[]
  readonly backup: string
}): readonly Fault[] => {
  const { cluster, clocks } = options
  const { nodes, etcd } = cluster
  /** Yesterday's: it is taken anew only when it was used. */
  let { backup } = options

  const several = (random: Random, most: number): ClusterNode[] =>
    nodes.toSorted(() => random.next() - 0.5).slice(0, 1 + random.below(most))

  const upon = (
    name: string,
    most: number,
    strike: (node: ClusterNode) => unknown,
    relent: (node: ClusterNode) => unknown,
  ): Fault => {
    let struck: ClusterNode[] = []
    return {
      name,
      async strike(random) {
        struck = several(random, most)
        await Promise.all(struck.map(strike))
      },
      async relent() {
        await Promise.all(struck.splice(0).map(relent))
      },
      excludes: name === 'nodes killed' ? ['nodes paused', 'the leader killed'] : ['nodes killed', 'the leader killed'],
    }
  }

  const member = (name: string, strike: (at: number) => unknown, relent: (at: number) => unknown): Fault => {
    let struck: number | undefined
    return {
      name,
      async strike(random) {
        struck = random.below(etcd.members.length)
        await strike(struck)
      },
      async relent() {
        if (struck !== undefined) await relent(struck)
        struck = undefined
        await etcd.settled()
      },
      excludes: OF_ETCD,
    }
  }

  const leaderFault = (
    name: string,
    strike: (node: ClusterNode) => unknown,
    relent: (node: ClusterNode) => unknown,
  ): Fault => {
    let struck: ClusterNode | undefined
    return {
      name,
      async strike() {
        struck = await cluster.leader()
        await strike(struck)
      },
      async relent() {
        if (struck) await relent(struck)
        struck = undefined
      },
      excludes: ['nodes killed', 'nodes paused', 'nodes cut off', ...OF_ETCD],
    }
  }

  const start = (node: ClusterNode): Promise<void> => node.start()
  const sites = cluster.etcdSites
  return [
    leaderFault('the leader killed', node => node.kill('SIGKILL'), start),
    leaderFault(
      'the leader paused',
      node => node.pause(),
      node => node.resume(),
    ),
    leaderFault(
      'the leader cut off',
      node => node.site.cut(),
      node => node.site.heal(),
    ),
    upon('nodes killed', 3, node => node.kill('SIGKILL'), start),
    upon(
      'nodes paused',
      3,
      node => node.pause(),
      node => node.resume(),
    ),
    upon(
      'nodes cut off',
      3,
      node => node.site.cut(),
      node => node.site.heal(),
    ),
    upon(
      'nodes without GitHub',
      3,
      node => node.online(false),
      node => node.online(true),
    ),
    {
      name: 'clocks set',
      strike(random) {
        for (const node of several(random, 3)) clocks[node.at]?.set(random.pick(JUMPS_MS))
      },
      relent() {
        for (const clock of clocks) clock.set(0)
      },
    },
    {
      name: 'a node parted from one etcd member',
      strike: random => random.pick(nodes).site.part(random.pick(sites)),
      relent: () => cluster.healCables(),
    },
    member(
      'an etcd member killed',
      at => etcd.members[at]?.kill(),
      at => etcd.members[at]?.start(),
    ),
    member(
      'an etcd member paused',
      at => etcd.members[at]?.pause(),
      at => etcd.members[at]?.resume(),
    ),
    member(
      'an etcd member cut off',
      at => sites[at]?.cut(),
      at => sites[at]?.heal(),
    ),
    {
      name: 'etcd gone',
      strike: () => Promise.all(etcd.members.map(each => each.kill())),
      async relent() {
        await Promise.all(etcd.members.map(each => each.start()))
        await etcd.settled()
      },
      excludes: [...OF_ETCD, 'the leader killed', 'the leader paused', 'the leader cut off'],
    },
    {
      name: 'etcd from a backup',
      async strike() {
        await etcd.restore(backup)
        await etcd.settled()
      },
      async relent() {
        backup = await etcd.save()
      },
      excludes: [...OF_ETCD, 'the leader killed', 'the leader paused', 'the leader cut off'],
    },
  ]
}
