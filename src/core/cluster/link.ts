// The link: a node's whole dealings with the cluster, as its operations see them. Session, election, lock and view behind one door.

import type { Ask, Member, NodeRole, SharedRecord, TokenOf } from '../store/generations.ts'
import type { Host } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import type { ScopeKey } from '../../protocol/scope.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import { createAsking, type Asking } from './asking.ts'
import { createView, type Seen } from './view.ts'
import { createElection } from './election.ts'
import type { Condition, Entry, Etcd } from './etcd.ts'
import { createLock, type Held } from './lock.ts'
import type { Keyring } from './sealing.ts'
import { createSession } from './session.ts'
import { createCodecs, KEYS } from './values.ts'

export type LinkHandlers = {
  /** The record may be another one: look. */
  onRecord(): void
  onToken(token: TokenOf): void
  /** Told to the leader only. */
  onAsk(ask: Ask): void
  onTouch(inTouch: boolean): void
  onLead(leads: boolean): void
  /** What the member's entry says. */
  member(): {
    generation: number
    sequence: number
    role: NodeRole
    able: boolean
    host: Host
    version: string
    mayLead: boolean
  }
}

/** Under which right a record is written. */
export type Right = 'leader' | 'any' | Held

export type ClusterLink = Pick<Asking, 'ask' | 'tell' | 'answer' | 'done'> & {
  readonly node: string
  /** Resolves when the first attempt has ended, in touch or not. */
  start(): Promise<void>
  /** Resigns, and takes its entry away. Never throws. */
  stop(): Promise<void>
  inTouch(): boolean
  findTrouble(): Failure | undefined
  leads(): boolean
  /** The node that leads. */
  leader(): string | undefined
  resign(): Promise<void>
  /** Stands for leader where nobody leads: what kept it from it may be over. */
  stand(): void
  record(): Seen
  readRecord(): Promise<Seen>
  /** False: somebody else was first, or the right has ended; nothing was written. Throws `cluster-unreachable`. */
  putRecord(record: SharedRecord, right: Right): Promise<boolean>
  lock(what: string): Promise<Held>
  tokens(): readonly TokenOf[]
  findExpiry(key: ScopeKey): number | undefined
  /** As the leader; false: it is not the leader any more, and nothing was written. */
  putTokens(tokens: readonly TokenOf[]): Promise<boolean>
  offerToken(token: TokenOf): Promise<boolean>
  sweepTokens(isOver: (token: TokenOf) => boolean): Promise<void>
  asks(): readonly Ask[]
  members(): readonly Member[]
  /** The secret to seal with: the first of this node's that all members know. */
  preferredSecret(): string | undefined
  /** Seals all values with the first secret of this node. Throws `cluster-secret` where a member does not know it. */
  reseal(held: Held): Promise<number>
  /** Writes this node's entry anew. Never throws. */
  announce(): Promise<void>
  unreadable(): number
  resync(): void
}

export type LinkTimes = {
  readonly ttlSeconds: number
  /** How long the leader has to say that it is at it. */
  readonly hearMs: number
  /** How long it has to answer then. */
  readonly answerMs: number
}

export const LINK_TIMES: LinkTimes = { ttlSeconds: 5, hearMs: 3_000, answerMs: 35_000 }

export const createLink = (deps: {
  etcd: Etcd
  keyring: Keyring
  node: string
  handlers: LinkHandlers
  clock: Clock
  log: Log
  times?: Partial<LinkTimes>
}): ClusterLink => {
  const { etcd, keyring, node, handlers, clock, log } = deps
  const times = { ...LINK_TIMES, ...deps.times }
  const codecs = createCodecs(keyring)
  let sinceMs = clock.now()
  let stopped = false
  let led = false

  const lease = () => session.lease()
  const noteLead = (): void => {
    const now = election.leads()
    if (now === led) return
    led = now
    handlers.onLead(now)
  }
  const election = createElection({
    etcd,
    codecs,
    node,
    lease,
    mayLead: () => !stopped && handlers.member().mayLead,
    onChange: noteLead,
    log,
  })
  const lock = createLock({ etcd, codecs, node, lease, clock, log })
  const asking = createAsking({ etcd, codecs, node, lease, fence: election.fence, times, clock, log })
  const view = createView({
    etcd,
    codecs,
    keyring,
    log,
    handlers: {
      onRecord: handlers.onRecord,
      onDoubt: () => session.resync(),
      onToken: handlers.onToken,
      onMembers: () => noteSecret(),
      onAsk(ask) {
        if (election.leads()) handlers.onAsk(ask)
      },
      onAskGone(id) {
        if (election.leads()) void asking.forgetAnswer(id)
      },
      onAnswer: asking.hear,
    },
  })

  const announce = async (): Promise<void> => {
    const held = lease()
    if (!held?.isHeld()) return
    const { mayLead: _, ...told } = handlers.member()
    const key = KEYS.members + node
    const value = codecs.member.write(key, { node, secrets: keyring.secrets, sinceMs, ...told })
    try {
      await etcd.commit([], [{ kind: 'put', key, value, lease: held.id }])
    } catch (error) {
      log.debug('this node could not be announced', { error: asFailure(error) })
    }
  }

  const preferredSecret = (): string | undefined => {
    const all = view.members()
    return keyring.secrets.find(secret => all.every(({ secrets }) => secrets.includes(secret)))
  }
  let sealedWith: string | undefined
  /** Once everybody knows a new secret, what this node wrote is sealed with it. */
  const noteSecret = (): void => {
    const secret = preferredSecret()
    if (secret === sealedWith) return
    const isFirst = sealedWith === undefined
    sealedWith = secret
    if (isFirst || secret === undefined) return
    void announce()
    void election.renew()
  }

  const observe = (key: string, entry: Entry | undefined): void => {
    if (key === KEYS.leader) election.observe(entry)
    else if (key === KEYS.lock) lock.observe(entry)
  }

  const session = createSession({
    etcd,
    clock,
    log,
    ttlSeconds: times.ttlSeconds,
    onLease: () => void announce(),
    onList(entries) {
      view.list(entries)
      for (const key of [KEYS.leader, KEYS.lock])
        observe(
          key,
          entries.find(entry => entry.key === key),
        )
    },
    onChange(change) {
      const key = change.kind === 'put' ? change.entry.key : change.key
      view.change(change)
      observe(key, change.kind === 'put' ? change.entry : undefined)
      // What was known of a key that is gone may be newer than what the watch tells: it is looked at anew.
      if (change.kind === 'delete' && key === KEYS.record) void view.readRecord().catch(() => session.resync())
    },
    onTouch(inTouch) {
      if (inTouch) sinceMs = clock.now()
      noteLead()
      handlers.onTouch(inTouch)
    },
  })

  const conditionsOf = (right: Right): readonly Condition[] | undefined => {
    const unlocked: Condition = { key: KEYS.lock, createRevision: 0n }
    if (right === 'any') return [unlocked]
    if (right !== 'leader') return [right.fence]
    const fence = election.fence()
    return fence && [fence, unlocked]
  }

  return {
    node,
    start() {
      stopped = false
      return session.start()
    },
    async stop() {
      // The watch may tell that the office is free before the answer does: who goes does not stand for it.
      stopped = true
      await election.resign()
      await session.stop()
    },
    inTouch: session.inTouch,
    findTrouble: session.findTrouble,
    leads: election.leads,
    leader: election.leader,
    resign: election.resign,
    stand: () => void election.stand(),
    record: view.record,
    readRecord: view.readRecord,
    async putRecord(record, right) {
      const conditions = conditionsOf(right)
      return conditions !== undefined && (await view.putRecord(record, conditions))
    },
    lock: lock.acquire,
    tokens: view.tokens,
    findExpiry: view.findExpiry,
    async putTokens(tokens) {
      const fence = election.fence()
      return fence !== undefined && (await view.putTokens(tokens, fence)) === tokens.length
    },
    offerToken: view.offerToken,
    async sweepTokens(isOver) {
      const fence = election.fence()
      if (fence) await view.sweepTokens(isOver, fence)
    },
    ask: asking.ask,
    tell: asking.tell,
    answer: asking.answer,
    asks: view.asks,
    done: asking.done,
    members: view.members,
    preferredSecret,
    async reseal({ fence }) {
      const [wanted = ''] = keyring.secrets
      const without = view.members().filter(({ secrets }) => !secrets.includes(wanted))
      if (without.length > 0) {
        const who = without.map(member => member.node).join(', ')
        throw new Failure('cluster-secret', `${who}: without the secret that is the first one here`)
      }
      const count = await view.reseal(fence)
      await Promise.all([announce(), election.renew()])
      return count
    },
    announce,
    unreadable: view.unreadable,
    resync: session.resync,
  }
}
