// The place that an engine keeps for its cluster: empty on a single node, and shut on a member until its part is loaded and knows what holds.

import { type Host, isLive, isOtherHost } from '../protocol/connection.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import type { ClusterNode, ClusterParts } from './engine-cluster.ts'
import type { ClusterCommands } from './cluster/cluster.ts'
import { createMemory, type Memory } from './cluster/membership.ts'
import type { Membership } from './connection/membership.ts'
import type { ClusterConfig } from '../service/cluster-config.ts'
import type { Log } from '../service/log.ts'
import type { Store } from './store/database.ts'

export type EngineMembership = {
  /** For the operations; `undefined` on a node without a cluster. */
  membership(): Membership | undefined
  /** Throws `cluster-member` where no cluster is configured. */
  commands(): Promise<ClusterCommands>
  /** Loads the cluster's part, where there is one, over the engine that was built meanwhile. */
  begin(parts: ClusterParts): void
  /** Resolves when this node may serve: it knows what holds in its cluster, or for now cannot know. Never rejects. */
  inStep(): Promise<void>
  /** Gives up office and membership for the while that this daemon is down. Never throws. */
  rest(): Promise<void>
  close(): void
}

export const createEngineMembership = (deps: {
  config: ClusterConfig
  store: Pick<Store, 'facts' | 'connection'>
  host: () => Host
  log: Log
  /** For the command line without a daemon: the cluster hears of it from the daemon's next start. */
  offline: boolean
}): EngineMembership => {
  const { config, store, host, log } = deps
  if (config.endpoints.length === 0) return NO_CLUSTER
  const memory = createMemory({ facts: store.facts, cluster: config.name, host })
  if (deps.offline)
    return { ...NO_CLUSTER, membership: () => (memory.find() ? offlineMembership(memory, store) : undefined) }
  const waiting = waitingMembership()
  let node: ClusterNode | undefined
  let loading: Promise<ClusterNode> | undefined
  let known: Promise<void> = Promise.resolve()

  const load = async (parts: ClusterParts): Promise<ClusterNode> => {
    const { buildClusterNode } = await import('./engine-cluster.ts')
    node = await buildClusterNode(config, { ...parts, memory })
    return node
  }

  return {
    membership: () => node?.membership ?? (memory.find() ? waiting : undefined),
    async commands() {
      if (!loading) throw new Failure('cluster-unreachable', 'this daemon is still starting')
      return (await loading).commands
    },
    begin(parts) {
      const loaded = load(parts)
      loading = loaded
      known = loaded
        .then(({ membership }) => (memory.find() ? membership.begin() : undefined))
        .catch((error: unknown) =>
          log.error('the part of the cluster could not be loaded', { error: asFailure(error) }),
        )
    },
    inStep: () => known,
    async rest() {
      if (node && memory.find()) await node.membership.end()
    },
    close: () => node?.close(),
  }
}

const noCluster = (): Failure =>
  new Failure('cluster-member', 'no cluster is configured here: [cluster] names no endpoints of etcd', {
    next: 'This is a single node, and needs no cluster. To make it a node of one, set [cluster] endpoints.',
  })

const NO_CLUSTER: EngineMembership = {
  membership: () => undefined,
  commands: () => Promise.reject(noCluster()),
  begin() {},
  inStep: () => Promise.resolve(),
  rest: () => Promise.resolve(),
  close() {},
}

/** What is changed now is told to the cluster by the daemon, once it runs. */
const offlineMembership = (memory: Memory, { connection }: Pick<Store, 'connection'>): Membership => ({
  ...waitingMembership(),
  whyNotServing: () => undefined,
  change(task, { cutOff }) {
    if (cutOff === 'leave') memory.forget()
    else memory.setUnsent(true)
    return task()
  },
  isHome(home) {
    const here = connection.read().connection
    return isLive(here) && !isOtherHost(here.host, home)
  },
})

/** Of a member that has not asked its cluster yet: nothing is served, changed or called. */
const waitingMembership = (): Membership => {
  const failure = new Failure('cluster-unreachable', 'this node asks its cluster first what holds')
  return {
    whyNotServing: () => failure,
    whyNotCalling: () => failure,
    change: () => Promise.reject(failure),
    changed() {},
    leads: () => false,
    refreshesAhead: () => false,
    marginMs: before => before,
    mint: () => Promise.reject(failure),
    minted() {},
    tokensTo: () => [],
    wantAhead() {},
    isHome: () => true,
    role: () => 'follower',
    warnings: () => [],
    signers: () => [],
  }
}
