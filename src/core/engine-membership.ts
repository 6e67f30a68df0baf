// The place that an engine keeps for its cluster: empty on a single node, and shut on a member until its part is loaded and knows what holds.

import { type Host, isLive, isOtherHost } from '../protocol/connection.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import type { ClusterConfig } from '../service/cluster-config.ts'
import type { Log } from '../service/log.ts'
import type { ClusterCommands } from './cluster/commands.ts'
import { createMemory, type Memory } from './cluster/memory.ts'
import type { buildClusterNode, ClusterNode } from './cluster/node.ts'
import type { Membership } from './connection/membership.ts'
import type { Store } from './store/database.ts'

type Parts = Omit<Parameters<typeof buildClusterNode>[1], 'memory'>

export const createEngineMembership = (deps: {
  config: ClusterConfig
  store: Pick<Store, 'facts' | 'connection'>
  host: () => Host
  log: Log
  /** For the command line without a daemon: the cluster hears of it from the daemon's next start. */
  offline: boolean
}) => {
  const { config, store, host, log, offline } = deps
  const memory =
    config.endpoints.length > 0 ? createMemory({ facts: store.facts, cluster: config.name, host }) : undefined
  const withoutNode = memory && (offline ? offlineMembership(memory, store) : waitingMembership())
  let node: ClusterNode | undefined
  let loading: Promise<ClusterNode> | undefined
  let known: Promise<void> = Promise.resolve()

  return {
    /** For the operations; `undefined` on a node without a cluster. */
    membership: (): Membership | undefined => node?.membership ?? (memory?.find() ? withoutNode : undefined),
    /** Throws `cluster-member` where no cluster is configured. */
    async commands(): Promise<ClusterCommands> {
      if (!memory || offline) {
        throw new Failure('cluster-member', 'no cluster is configured here: [cluster] names no endpoints of etcd', {
          next: 'This is a single node, and needs no cluster. To make it a node of one, set [cluster] endpoints.',
        })
      }
      if (!loading) throw new Failure('cluster-unreachable', 'this daemon is still starting')
      return (await loading).commands
    },
    /** Loads the cluster's part, where there is one, over the engine that was built meanwhile. */
    begin(parts: Parts): void {
      if (!memory || offline) return
      loading = import('./cluster/node.ts').then(async ({ buildClusterNode }) => {
        node = await buildClusterNode(config, { ...parts, memory })
        return node
      })
      known = loading
        .then(({ membership }) => (memory.find() ? membership.begin() : undefined))
        .catch((error: unknown) =>
          log.error('the part of the cluster could not be loaded', { error: asFailure(error) }),
        )
    },
    /** Resolves when this node may serve: it knows what holds in its cluster, or for now cannot know. Never rejects. */
    inStep: (): Promise<void> => known,
    /** Gives up leadership and membership for the while that this daemon is down. Never throws. */
    async rest(): Promise<void> {
      if (node && memory?.find()) await node.membership.end()
    },
    close: (): void => node?.close(),
  }
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
