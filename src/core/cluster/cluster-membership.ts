// The membership of a node that is configured for a cluster: what it is told by the link, and what the other operations are told by it.

import type { ClusterLink, LinkHandlers } from './link.ts'
import { OF_THE_WAY } from '../store/generations.ts'
import { isLive, isOtherHost } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import { isoTime, type Status } from '../../protocol/wire.ts'
import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { AppLink } from '../connection/app-link.ts'
import type { Events } from '../audit/events.ts'
import type { Isolation } from './isolation.ts'
import type { ConnectionState } from '../connection/connection-state.ts'
import type { Memory } from './membership.ts'
import type { Replicate } from './replicate.ts'
import type { Membership } from '../connection/membership.ts'
import type { TokenExchange } from './token-exchange.ts'

export type ClusterMembership = Membership & {
  readonly handlers: Omit<LinkHandlers, 'member'>
  /** Resolves when this node knows what holds in the cluster, or for now cannot know. */
  begin(): Promise<void>
  /** Brings record and tokens here to what the cluster has, and the other way round. Never throws. */
  catchUp(): Promise<void>
  /** Resigns, and says good-bye. Never throws. */
  end(): Promise<void>
  /** A leader that does not get through to GitHub lets others try, and is out of office for a while, unless nobody else is able. */
  isAble(): boolean
  /** Nobody leads upon another record than the cluster's. */
  mayLead(): boolean
}

/** Longer than this the start does not wait for etcd. */
const START_MS = 4_000
const STOP_MS = 2_000
const CONTACT_MS = 2_000
const LOOK_MS = 10_000
const RECONCILE_MS = 60_000
/** So long a leader that cannot reach GitHub goes on trying before it gives up its office. */
const PATIENCE_MS = 60_000
/** Then it stays out of it for a while, twice as long each time: where nobody gets through, offices change seldom. */
const LONGEST_OUT_MS = 2 * 60 * 60_000
/** Cut off, or without a record that can be read, each node mints for itself: not before the tokens of all near their end. */
const CUT_OFF_MARGIN_MS = 10 * 60_000

export const createClusterMembership = (deps: {
  cluster: string
  link: () => ClusterLink
  memory: Memory
  isolation: Isolation
  replicate: () => Replicate
  exchange: () => TokenExchange
  connectionState: Pick<ConnectionState, 'read'>
  appLink: Pick<AppLink, 'findTrouble'>
  events: Pick<Events, 'emit'>
  clock: Clock
  log: Log
  /** There is something to do for a leader. */
  onLeadership: () => void
}): ClusterMembership => {
  const { memory, isolation, connectionState, clock, log } = deps
  const link = (): ClusterLink => deps.link()
  const timers: Timer[] = []
  let known = false
  let notLeadingUntilMs = Number.NEGATIVE_INFINITY
  let troubledSinceMs: number | undefined
  let outMs = PATIENCE_MS
  let toldAble = true

  const replica = (): boolean => memory.find()?.role === 'replica'

  const onTouch = (inTouch: boolean): void => {
    if (!memory.find()) return
    if (!inTouch) isolation.begin()
    const detail = inTouch ? 'in touch with the cluster' : 'cut off from the cluster'
    deps.events.emit({ event: 'change', state: connectionState.read().connection.kind, detail })
    if (inTouch) void catchUp()
  }

  /** What this node does not hold it has not heard of, however well it reaches etcd. */
  const isBehind = (): boolean => deps.replicate().findObstacle() !== undefined
  const isInStep = (): boolean => link().inTouch() && !isBehind()
  const noteContact = (): void => {
    if (isInStep()) isolation.note()
    else resignIfBehind()
  }
  const resignIfBehind = (): void => {
    if (isBehind() && link().leads()) void link().resign()
  }

  const catchUp = async (): Promise<void> => {
    await deps.replicate().settle()
    noteContact()
    deps.exchange().takeAll()
    await deps.exchange().reconcile()
  }

  const onLead = (leads: boolean): void => {
    if (!leads) return
    void deps.replicate().settle()
    for (const ask of link().asks()) deps.exchange().onAsk(ask)
    deps.onLeadership()
  }

  const look = (): void => {
    if (!memory.find() || !link().inTouch()) return
    link()
      .readRecord()
      .then(() => deps.replicate().settle())
      .catch(() => undefined)
    if (isAble() !== toldAble) void link().announce()
    toldAble = isAble()
    considerLeadership()
  }

  const isOut = (): boolean => clock.monotonic() < notLeadingUntilMs
  const isAble = (): boolean => !isOut() && !isBehind()
  const isAnotherAble = (): boolean =>
    link()
      .members()
      .some(({ node, role, able }) => node !== link().node && role === 'member' && able)

  const considerLeadership = (): void => {
    const trouble = deps.appLink.findTrouble()
    if (!trouble || !OF_THE_WAY.has(trouble.failure.code) || !link().leads()) return
    troubledSinceMs ??= clock.monotonic()
    if (!isAnotherAble() || clock.monotonic() - troubledSinceMs < PATIENCE_MS) return
    log.warn('this leader does not get through to GitHub, and lets another node try', { error: trouble.failure })
    troubledSinceMs = undefined
    notLeadingUntilMs = clock.monotonic() + outMs
    outMs = Math.min(outMs * 2, LONGEST_OUT_MS)
    void link().announce()
    void link().resign()
  }

  const begin = async (): Promise<void> => {
    for (const timer of timers.splice(0)) timer.cancel()
    timers.push(
      clock.every(CONTACT_MS, () => {
        if (!deps.appLink.findTrouble()) {
          troubledSinceMs = undefined
          outMs = PATIENCE_MS
        }
        if (!memory.find() || !link().inTouch()) return
        noteContact()
        link().stand()
      }),
      clock.every(LOOK_MS, look),
      clock.every(RECONCILE_MS, () => void deps.exchange().reconcile()),
    )
    const waited = new AbortController()
    const knowing = link()
      .start()
      .then(() => (memory.find() ? catchUp() : undefined))
    await Promise.race([knowing, clock.sleep(START_MS, waited.signal)])
    waited.abort()
    known = true
    if (!link().inTouch()) log.warn('this node goes on without its cluster', { error: link().findTrouble() })
  }

  const warnings = (): Status['warnings'] => {
    if (!memory.find()) {
      const detail = `The configuration names the cluster ${deps.cluster}, and this node has not joined it.`
      return [{ code: 'cluster-not-joined', detail, next: 'Run `ghconnect cluster join`.' }]
    }
    const found: Status['warnings'] = []
    if (!link().inTouch()) {
      const lastMs = isolation.lastContactMs()
      const trouble = link().findTrouble()
      const since = lastMs === undefined ? '' : ` since ${isoTime(lastMs)}`
      const detail = `This node has not heard of its cluster${since}${trouble ? `: ${trouble.message}` : ''}.`
      const next = 'Mend the way to etcd. After 24 hours this node serves nothing any more.'
      found.push({ code: 'cluster-isolated', detail, next })
    }
    const obstacle = deps.replicate().findObstacle()
    if (obstacle) {
      const { code, message, entry } = obstacle
      const limit = 'After 24 hours this node serves nothing any more.'
      found.push({ code, detail: `${entry.title}: ${message}. ${limit}`, next: entry.next })
    }
    if (memory.isUnsent() && !link().inTouch()) {
      const detail = 'A change that was made on this node has not reached the others yet.'
      found.push({ code: 'cluster-unsent', detail, next: 'Mend the way to etcd: it is told then.' })
    }
    return found
  }

  return {
    handlers: {
      onRecord() {
        if (!memory.find()) return
        resignIfBehind()
        void deps.replicate().settle()
      },
      onToken(token) {
        if (memory.find()) deps.exchange().onToken(token)
      },
      onAsk: ask => deps.exchange().onAsk(ask),
      onTouch,
      onLead,
    },
    begin,
    catchUp,
    async end() {
      for (const timer of timers.splice(0)) timer.cancel()
      const waited = new AbortController()
      await Promise.race([link().stop(), clock.sleep(STOP_MS, waited.signal)])
      waited.abort()
    },
    isAble,
    mayLead: () => memory.find()?.role === 'member' && !isBehind() && (!isOut() || !isAnotherAble()),
    whyNotServing() {
      if (!memory.find()) return undefined
      if (!known) return new Failure('cluster-unreachable', 'this node asks its cluster first what holds')
      if (deps.replicate().isOverruled())
        return new Failure('isolated', 'what it holds was disabled in the cluster, and is not cleared here yet')
      if (!isolation.isOver() || isInStep()) return undefined
      const lastMs = isolation.lastContactMs()
      const obstacle = deps.replicate().findObstacle()
      const why = obstacle ? `; ${obstacle.message}` : ''
      const last = lastMs === undefined ? 'it was never heard of' : `it was heard of last ${isoTime(lastMs)}`
      return new Failure('isolated', `${last}${why}`)
    },
    whyNotCalling: () => (replica() ? new Failure('replica', 'it calls GitHub once it is promoted') : undefined),
    async change(task, options) {
      try {
        return await deps.replicate().change(task, options)
      } finally {
        void deps.exchange().reconcile()
      }
    },
    changed: () => deps.replicate().changed(),
    leads: () => !memory.find() || link().leads(),
    refreshesAhead: () => !memory.find() || link().leads() || (!isInStep() && !replica()),
    marginMs: before => (memory.find() && !isInStep() ? Math.min(before, CUT_OFF_MARGIN_MS) : before),
    mint: (grant, wish) => deps.exchange().mint(grant, wish),
    minted: token => deps.exchange().minted(token),
    tokensTo: generation =>
      memory.find()
        ? link()
            .tokens()
            .filter(of => of.generation <= generation)
            .map(({ token }) => token)
        : [],
    wantAhead: grants => deps.exchange().wantAhead(grants),
    isHome(host) {
      if (!memory.find()) return false
      const { connection } = connectionState.read()
      const homes = [
        ...(isLive(connection) ? [connection.host] : []),
        ...link()
          .members()
          .map(member => member.host),
      ]
      return homes.some(home => !isOtherHost(home, host))
    },
    role: () => (!memory.find() ? 'single' : replica() ? 'replica' : link().leads() ? 'leader' : 'follower'),
    warnings,
    signers: () => (memory.find() ? memory.signers() : []),
  }
}
