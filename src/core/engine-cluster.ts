// A node's part in its cluster, built over an engine: loaded where [cluster] names an etcd, and nowhere else.

import { createEtcd } from './cluster/etcd.ts'
import type { Etcd } from './cluster/etcd.ts'
import { type ClusterLink, createLink } from './cluster/link.ts'
import { createKeyring } from './cluster/sealing.ts'
import { etcdOptionsOf, secretsOf } from '../service/cluster-files.ts'
import { digestOf } from './cluster/values.ts'
import type { Host } from '../protocol/connection.ts'
import { asFailure, type Failure } from '../protocol/errors.ts'
import type { GitHubClock } from './github/clock.ts'
import type { AppLink } from './connection/app-link.ts'
import { type ClusterCommands, createClusterCommands } from './cluster/cluster.ts'
import { type ClusterMembership, createClusterMembership } from './cluster/cluster-membership.ts'
import type { Events } from './audit/events.ts'
import { createIsolation } from './cluster/isolation.ts'
import type { ConnectionState } from './connection/connection-state.ts'
import type { Memory } from './cluster/membership.ts'
import type { Recovery } from './snapshot/recovery.ts'
import type { Heartbeat } from './tokens/refresh.ts'
import type { RevokeAll } from './tokens/revoke-all.ts'
import { createReplicate } from './cluster/replicate.ts'
import { createTokenExchange } from './cluster/token-exchange.ts'
import type { Tokens } from './tokens/tokens.ts'
import type { AuditWriter } from './audit/audit-writer.ts'
import type { Clock } from '../service/clock.ts'
import type { ClusterConfig } from '../service/cluster-config.ts'
import type { Log } from '../service/log.ts'
import { readCredential } from '../service/systemd.ts'
import { VERSION } from '../service/version.ts'
import type { Store } from './store/database.ts'

/** What of the engine the cluster works upon. */
export type ClusterParts = {
  readonly store: Store
  readonly connectionState: ConnectionState
  readonly tokens: Tokens
  readonly link: AppLink
  readonly revokeAll: Pick<RevokeAll, 'join'>
  readonly recovery: Pick<Recovery, 'signer' | 'created' | 'setCreated' | 'ensureWrap'>
  readonly heartbeat: Pick<Heartbeat, 'soon'>
  readonly audit: AuditWriter
  readonly events: Events
  readonly githubClock: GitHubClock
  readonly clock: Clock
  readonly log: Log
  readonly host: () => Host
  readonly env: NodeJS.ProcessEnv
}

export type ClusterNode = {
  readonly membership: ClusterMembership
  readonly commands: ClusterCommands
  readonly link: ClusterLink
  close(): void
}

export const buildClusterNode = async (
  config: ClusterConfig,
  parts: ClusterParts & { readonly memory: Memory },
): Promise<ClusterNode> => assembleClusterNode({ cluster: config.name, ...(await reach(config, parts)) }, parts)

/** Over an etcd that is at hand. */
export const assembleClusterNode = (
  place: { readonly cluster: string; readonly etcd: Etcd; readonly secrets: readonly Buffer[] },
  parts: Omit<ClusterParts, 'env'> & { readonly memory: Memory },
): ClusterNode => {
  const { store, memory, connectionState, tokens, clock, log, host, audit } = parts
  const { cluster, etcd, secrets } = place
  const now = (): number => parts.githubClock.now()
  const isolation = createIsolation({ facts: store.facts, clock, now, log })
  const membership: ClusterMembership = createClusterMembership({
    cluster,
    link: () => link,
    memory,
    isolation,
    replicate: () => replicate,
    exchange: () => exchange,
    connectionState,
    appLink: parts.link,
    events: parts.events,
    clock,
    log,
    onLeadership: () => parts.heartbeat.soon(),
  })
  const keyring = createKeyring({ cluster, secrets, preferred: () => link.preferredSecret() })
  const member = () => {
    const { generation, sequence } = memory.agreed().version
    const role = memory.find()?.role ?? 'member'
    return {
      generation,
      sequence,
      role,
      host: host(),
      version: VERSION,
      able: membership.isAble(),
      mayLead: membership.mayLead(),
    }
  }
  const link: ClusterLink = createLink({
    etcd,
    keyring,
    node: memory.node(),
    handlers: { ...membership.handlers, member },
    clock,
    log,
  })
  const ensureWrap = (): void =>
    void parts.recovery
      .ensureWrap()
      .catch((error: unknown) => log.error('the recovery wrap was not written', { error }))
  const replicate = createReplicate({
    store,
    connectionState,
    link,
    memory,
    audit,
    log,
    digestOf,
    onApplied({ voided, revoked, changed }) {
      if (revoked) parts.revokeAll.join(link.tokens().map(({ token }) => token))
      else if (voided) tokens.drop()
      for (const id of changed) tokens.doubt(id)
      exchange.takeAll()
      if (link.leads()) void exchange.reconcile()
      ensureWrap()
      parts.heartbeat.soon()
    },
    onLeave() {
      memory.forget()
      void membership.end()
    },
  })
  const exchange = createTokenExchange({ link, memory, connectionState, tokens, log, now })
  const commands = createClusterCommands({
    cluster,
    link,
    memory,
    isolation,
    replicate,
    connectionState,
    tokens,
    audit,
    clock,
    log,
    host,
    role: membership.role,
    signer: () => parts.recovery.signer().publicKey,
    recipients: parts.recovery.created,
    setRecipients: parts.recovery.setCreated,
    ensureWrap,
    begin: membership.begin,
    catchUp: membership.catchUp,
    end: membership.end,
  })
  return { membership, commands, link, close: () => etcd.close() }
}

/** Where a file is missing, or the secret is, the node is one that cannot reach its cluster, and says why. */
const reach = async (config: ClusterConfig, { clock, log, env }: ClusterParts) => {
  try {
    const secrets = secretsOf(config, readCredential('cluster.secret', env))
    return { secrets, etcd: await createEtcd({ ...etcdOptionsOf(config), clock, log }) }
  } catch (error) {
    const failure = asFailure(error)
    log.error('the cluster cannot be reached', { error: failure, next: failure.entry.next })
    return { secrets: [Buffer.alloc(1)], etcd: unreachable(failure) }
  }
}

const unreachable = (failure: Failure): Etcd => {
  const refuse = (): Promise<never> => Promise.reject(failure)
  return {
    get: refuse,
    list: refuse,
    commit: refuse,
    lease: refuse,
    watch: () => ({ close() {} }),
    onReachable() {},
    isReachable: () => false,
    close() {},
  }
}
