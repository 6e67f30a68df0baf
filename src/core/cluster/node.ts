// A node's part in its cluster, built over an engine: loaded where [cluster] names an etcd, and nowhere else. What its membership tells the other operations, and is told by the link.

import { isLive, isOtherHost } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { isoTime, type Status } from '../../protocol/wire.ts'
import type { Timer } from '../../service/clock.ts'
import { type ClusterConfig, etcdOptionsOf, secretsOf } from '../../service/cluster-config.ts'
import { readCredential } from '../../service/systemd.ts'
import { VERSION } from '../../service/process.ts'
import { LOCAL_FAILURES, type Membership } from '../connection/membership.ts'
import { type Changes, createChanges } from './changes.ts'
import { createClusterCommands } from './commands.ts'
import { createEtcd, type Etcd } from './etcd.ts'
import { type ClusterContext, type ClusterLink, type ClusterParts, createLink } from './link.ts'
import { createIsolation } from './memory.ts'
import { createTokenExchange, type TokenExchange } from './token-exchange.ts'

export type ClusterNode = ReturnType<typeof assembleClusterNode>

type Place = { readonly cluster: string; readonly etcd: Etcd; readonly secrets: readonly Buffer[] }

/** Where a file is missing, or the secret is, the node is one that cannot reach its cluster, and says why. */
export const buildClusterNode = async (
  config: ClusterConfig,
  parts: ClusterParts & { readonly env: NodeJS.ProcessEnv },
): Promise<ClusterNode> => {
  const { clock, log, env } = parts
  const reach = async (): Promise<Omit<Place, 'cluster'>> => {
    try {
      const secrets = secretsOf(config, readCredential('cluster.secret', env))
      return { secrets, etcd: await createEtcd({ ...etcdOptionsOf(config), clock, log }) }
    } catch (error) {
      const failure = asFailure(error)
      log.error('the cluster cannot be reached', { error: failure, next: failure.entry.next })
      return { secrets: [Buffer.alloc(1)], etcd: unreachable(failure) }
    }
  }
  return assembleClusterNode({ cluster: config.name, ...(await reach()) }, parts)
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

/** Over an etcd that is available. */
export const assembleClusterNode = ({ cluster, etcd, secrets }: Place, { link: appLink, ...parts }: ClusterParts) => {
  const { memory, tokens, clock, log, host, recovery } = parts
  const now = (): number => parts.githubClock.now()
  const link: ClusterLink = createLink({
    etcd,
    cluster,
    secrets,
    node: memory.node(),
    handlers: {
      onRecord: () => membership.onRecord(),
      onToken(token) {
        if (memory.find()) exchange.onToken(token)
      },
      onAsk: ask => exchange.onAsk(ask),
      onTouch: inTouch => membership.onTouch(inTouch),
      onLead: leads => membership.onLead(leads),
      member() {
        const { generation, sequence } = memory.agreed().version
        const role = memory.find()?.role ?? 'member'
        const standing = { able: membership.isAble(), mayLead: membership.mayLead() }
        return { generation, sequence, role, host: host(), version: VERSION, ...standing }
      },
    },
    clock,
    log,
  })
  const isolation = createIsolation({ facts: parts.store.facts, clock, now, log })
  const context: ClusterContext = { ...parts, cluster, appLink, link, isolation }
  const ensureWrap = (): void =>
    void recovery.ensureWrap().catch((error: unknown) => log.error('the recovery wrap was not written', { error }))
  const changes: Changes = createChanges(context, {
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
  const exchange: TokenExchange = createTokenExchange({ ...context, now })
  const membership: ClusterMembership = createClusterMembership(context, changes, exchange)
  const commands = createClusterCommands({ ...context, changes, membership, ensureWrap })
  return { membership, commands, link, close: () => etcd.close() }
}

type ClusterMembership = ReturnType<typeof createClusterMembership>

/** Longer than this the start does not wait for etcd. */
const START_MS = 4_000
const STOP_MS = 2_000
const CONTACT_MS = 2_000
const LOOK_MS = 10_000
const RECONCILE_MS = 60_000
/** So long a leader that cannot reach GitHub goes on trying before it resigns. */
const PATIENCE_MS = 60_000
/** Then it does not lead for a while, twice as long each time: where nobody gets through, leaders change seldom. */
const LONGEST_OUT_MS = 2 * 60 * 60_000
/** Cut off, or without a record that can be read, each node mints for itself: not before the tokens of all near their end. */
const CUT_OFF_MARGIN_MS = 10 * 60_000

const createClusterMembership = (context: ClusterContext, changes: Changes, exchange: TokenExchange) => {
  const { link, memory, isolation, connectionState, appLink, clock, log } = context
  const timers: Timer[] = []
  let known = false
  let notLeadingUntilMs = Number.NEGATIVE_INFINITY
  let troubledSinceMs: number | undefined
  let outMs = PATIENCE_MS
  let toldAble = true

  const isReplica = (): boolean => memory.find()?.role === 'replica'
  /** What this node does not hold it has not heard of, however well it reaches etcd. */
  const isBehind = (): boolean => changes.findObstacle() !== undefined
  const isInStep = (): boolean => link.inTouch() && !isBehind()

  const resignIfBehind = (): void => {
    if (isBehind() && link.leads()) void link.resign()
  }
  const noteContact = (): void => {
    if (isInStep()) isolation.note()
    else resignIfBehind()
  }

  /** Brings record and tokens here to what the cluster has, and the other way round. Never throws. */
  const catchUp = async (): Promise<void> => {
    await changes.settle()
    noteContact()
    exchange.takeAll()
    await exchange.reconcile()
  }

  const look = (): void => {
    if (!memory.find() || !link.inTouch()) return
    link
      .readRecord()
      .then(changes.settle)
      .catch(() => undefined)
    if (isAble() !== toldAble) void link.announce()
    toldAble = isAble()
    considerLeadership()
  }

  const isOut = (): boolean => clock.monotonic() < notLeadingUntilMs
  const isAble = (): boolean => !isOut() && !isBehind()
  const isAnotherAble = (): boolean =>
    link.members().some(({ node, role, able }) => node !== link.node && role === 'member' && able)

  /** A leader that does not get through to GitHub lets others try, and does not lead for a while, unless nobody else is able. */
  const considerLeadership = (): void => {
    const trouble = appLink.findTrouble()
    if (!trouble || !LOCAL_FAILURES.has(trouble.failure.code) || !link.leads()) return
    troubledSinceMs ??= clock.monotonic()
    if (!isAnotherAble() || clock.monotonic() - troubledSinceMs < PATIENCE_MS) return
    log.warn('this leader does not get through to GitHub, and lets another node try', { error: trouble.failure })
    troubledSinceMs = undefined
    notLeadingUntilMs = clock.monotonic() + outMs
    outMs = Math.min(outMs * 2, LONGEST_OUT_MS)
    void link.announce()
    void link.resign()
  }

  const contact = (): void => {
    if (!appLink.findTrouble()) {
      troubledSinceMs = undefined
      outMs = PATIENCE_MS
    }
    if (!memory.find() || !link.inTouch()) return
    noteContact()
    link.stand()
  }

  const stopTimers = (): void => {
    for (const timer of timers.splice(0)) timer.cancel()
  }

  const atMost = async (ms: number, work: Promise<unknown>): Promise<void> => {
    const waited = new AbortController()
    await Promise.race([work, clock.sleep(ms, waited.signal)])
    waited.abort()
  }

  const warnings = (): Status['warnings'] => {
    if (!memory.find()) {
      const detail = `The configuration names the cluster ${context.cluster}, and this node has not joined it.`
      return [{ code: 'cluster-not-joined', detail, next: 'Run `ghconnect cluster join`.' }]
    }
    const found: Status['warnings'] = []
    if (!link.inTouch()) {
      const lastMs = isolation.lastContactMs()
      const trouble = link.findTrouble()
      const since = lastMs === undefined ? '' : ` since ${isoTime(lastMs)}`
      const detail = `This node has not heard of its cluster${since}${trouble ? `: ${trouble.message}` : ''}.`
      const next = 'Mend the way to etcd. After 24 hours this node serves nothing any more.'
      found.push({ code: 'cluster-isolated', detail, next })
    }
    const obstacle = changes.findObstacle()
    if (obstacle) {
      const { code, message, entry } = obstacle
      const limit = 'After 24 hours this node serves nothing any more.'
      found.push({ code, detail: `${entry.title}: ${message}. ${limit}`, next: entry.next })
    }
    if (memory.isUnsent() && !link.inTouch()) {
      const detail = 'A change that was made on this node has not reached the others yet.'
      found.push({ code: 'cluster-unsent', detail, next: 'Mend the way to etcd: it is told then.' })
    }
    return found
  }

  const membership: Membership = {
    whyNotServing() {
      if (!memory.find()) return undefined
      if (!known) return new Failure('cluster-unreachable', 'this node asks its cluster first what holds')
      if (changes.isOverruled())
        return new Failure('isolated', 'what it holds was disabled in the cluster, and is not cleared here yet')
      if (!isolation.isOver() || isInStep()) return undefined
      const lastMs = isolation.lastContactMs()
      const obstacle = changes.findObstacle()
      const why = obstacle ? `; ${obstacle.message}` : ''
      const last = lastMs === undefined ? 'it was never heard of' : `it was heard of last ${isoTime(lastMs)}`
      return new Failure('isolated', `${last}${why}`)
    },
    whyNotCalling: () => (isReplica() ? new Failure('replica', 'it calls GitHub once it is promoted') : undefined),
    change: (task, options) => changes.change(task, options).finally(() => void exchange.reconcile()),
    changed: changes.changed,
    leads: () => !memory.find() || link.leads(),
    refreshesAhead: () => !memory.find() || link.leads() || (!isInStep() && !isReplica()),
    marginMs: before => (memory.find() && !isInStep() ? Math.min(before, CUT_OFF_MARGIN_MS) : before),
    mint: exchange.mint,
    minted: exchange.minted,
    tokensTo(generation) {
      const all = memory.find() ? link.tokens() : []
      return all.filter(of => of.generation <= generation).map(({ token }) => token)
    },
    wantAhead: exchange.wantAhead,
    isHome(host) {
      if (!memory.find()) return false
      const { connection } = connectionState.read()
      const homes = link.members().map(member => member.host)
      return [...homes, ...(isLive(connection) ? [connection.host] : [])].some(home => !isOtherHost(home, host))
    },
    role: () => (!memory.find() ? 'single' : isReplica() ? 'replica' : link.leads() ? 'leader' : 'follower'),
    warnings,
    signers: () => (memory.find() ? memory.signers() : []),
  }

  return {
    ...membership,
    onRecord(): void {
      if (!memory.find()) return
      resignIfBehind()
      void changes.settle()
    },
    onTouch(inTouch: boolean): void {
      if (!memory.find()) return
      if (!inTouch) isolation.begin()
      const detail = inTouch ? 'in touch with the cluster' : 'cut off from the cluster'
      context.events.emit({ event: 'change', state: connectionState.read().connection.kind, detail })
      if (inTouch) void catchUp()
    },
    onLead(leads: boolean): void {
      if (!leads) return
      void changes.settle()
      for (const ask of link.asks()) exchange.onAsk(ask)
      // There is something to do for a leader.
      context.heartbeat.soon()
    },
    isAble,
    /** Nobody leads upon another record than the cluster's. */
    mayLead: (): boolean => memory.find()?.role === 'member' && !isBehind() && (!isOut() || !isAnotherAble()),
    /** Resolves when this node knows what holds in the cluster, or for now cannot know. */
    async begin(): Promise<void> {
      stopTimers()
      timers.push(
        clock.every(CONTACT_MS, contact),
        clock.every(LOOK_MS, look),
        clock.every(RECONCILE_MS, () => void exchange.reconcile()),
      )
      await atMost(
        START_MS,
        link.start().then(() => (memory.find() ? catchUp() : undefined)),
      )
      known = true
      if (!link.inTouch()) log.warn('this node goes on without its cluster', { error: link.findTrouble() })
    },
    catchUp,
    /** Resigns, and says good-bye. Never throws. */
    async end(): Promise<void> {
      stopTimers()
      await atMost(STOP_MS, link.stop())
    },
  }
}
