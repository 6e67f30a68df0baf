// The link: a node's whole dealings with the etcd of its cluster, behind one door. Session, election, lock, view, questions and answers.

import { randomBytes } from 'node:crypto'
import type { Host } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { TokenDeps } from '../tokens/minting.ts'
import type { Heartbeat } from '../tokens/refresh.ts'
import type { RevokeAll } from '../tokens/revoke-all.ts'
import type { Tokens } from '../tokens/tokens.ts'
import { createElection, createLock, type Held, type LinkContext } from './election.ts'
import type { Condition, Entry, Etcd } from './etcd.ts'
import type { Isolation, Memory } from './memory.ts'
import { createKeyring } from './sealing.ts'
import { createSession } from './session.ts'
import { type Answer, type Ask, createCodecs, KEYS, type Member } from './values.ts'
import { createView, type ViewHandlers } from './view.ts'

type LinkHandlers = Pick<ViewHandlers, 'onRecord' | 'onToken'> & {
  /** Told to the leader only. */
  onAsk(ask: Ask): void
  onTouch(inTouch: boolean): void
  onLead(leads: boolean): void
  /** What the member's entry says, and whether it may lead. */
  member(): Omit<Member, 'node' | 'secrets' | 'sinceMs'> & { readonly mayLead: boolean }
}

/** What of the engine the cluster works upon. */
export type ClusterParts = Readonly<Omit<TokenDeps, 'membership'>> & {
  readonly tokens: Tokens
  readonly revokeAll: Pick<RevokeAll, 'join'>
  /** The recovery keys that were made here, and the key with which this node signs its bundles. */
  readonly recovery: {
    signer(): { readonly publicKey: string }
    created(): readonly string[]
    setCreated(recipients: readonly string[]): void
    ensureWrap(): Promise<unknown>
  }
  readonly heartbeat: Pick<Heartbeat, 'soon'>
  readonly host: () => Host
  readonly memory: Memory
}

/** What a node's part in its cluster is made of. */
export type ClusterContext = Omit<ClusterParts, 'link'> & {
  readonly cluster: string
  readonly appLink: ClusterParts['link']
  readonly link: ClusterLink
  readonly isolation: Isolation
}

/** Of the lease, how long the leader has to say that it is at it, and how long to answer then. */
export const LINK_TIMES = { ttlSeconds: 5, hearMs: 3_000, answerMs: 35_000 }

export type ClusterLink = ReturnType<typeof createLink>

export const createLink = (deps: {
  etcd: Etcd
  cluster: string
  /** Of the cluster, the preferred one first. */
  secrets: readonly Buffer[]
  node: string
  handlers: LinkHandlers
  clock: Clock
  log: Log
}) => {
  const { etcd, cluster, secrets, node, handlers, clock, log } = deps
  const keyring = createKeyring({ cluster, secrets, preferred: () => preferredSecret() })
  const codecs = createCodecs(keyring)
  let sinceMs = clock.now()
  let stopped = false
  let led = false

  const noteLead = (): void => {
    const now = election.leads()
    if (now === led) return
    led = now
    handlers.onLead(now)
  }
  const context: LinkContext = { etcd, codecs, node, clock, log, lease: () => session.lease() }
  const mayLead = (): boolean => !stopped && handlers.member().mayLead
  const election = createElection(context, { mayLead, onChange: noteLead })
  const lock = createLock(context)
  const { hear, forgetAnswer, ...asking } = createAsking(context, election.fence)
  const { list, change, reseal, ...view } = createView(
    context,
    { keyring, leaderFence: election.fence },
    {
      onRecord: handlers.onRecord,
      onDoubt: () => session.resync(),
      onToken: handlers.onToken,
      onMembers: () => noteSecret(),
      onAsk(ask) {
        if (election.leads()) handlers.onAsk(ask)
      },
      onAskGone(id) {
        if (election.leads()) void forgetAnswer(id)
      },
      onAnswer: hear,
    },
  )

  const announce = async (): Promise<void> => {
    const lease = context.lease()
    if (!lease?.isHeld()) return
    const { mayLead: _, ...told } = handlers.member()
    const key = KEYS.members + node
    const value = codecs.member.write(key, { node, secrets: keyring.secrets, sinceMs, ...told })
    try {
      await etcd.commit([], [{ kind: 'put', key, value, lease: lease.id }])
    } catch (error) {
      log.debug('this node could not be announced', { error: asFailure(error) })
    }
  }

  /** The secret to seal with: the first of this node's that all members know. */
  const preferredSecret = (): string | undefined => {
    const all = view.members()
    return keyring.secrets.find(secret => all.every(member => member.secrets.includes(secret)))
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
    ttlSeconds: LINK_TIMES.ttlSeconds,
    onLease: () => void announce(),
    onList(entries) {
      list(entries)
      for (const key of [KEYS.leader, KEYS.lock]) {
        const found = entries.find(entry => entry.key === key)
        observe(key, found)
      }
    },
    onChange(made) {
      const key = made.kind === 'put' ? made.entry.key : made.key
      change(made)
      observe(key, made.kind === 'put' ? made.entry : undefined)
      // What was known of a key that is gone may be newer than what the watch tells: it is looked at again.
      if (made.kind === 'delete' && key === KEYS.record) void view.readRecord().catch(() => session.resync())
    },
    onTouch(inTouch) {
      if (inTouch) sinceMs = clock.now()
      noteLead()
      handlers.onTouch(inTouch)
    },
  })

  return {
    ...view,
    ...asking,
    node,
    /** Resolves when the first attempt has ended, in touch or not. */
    start(): Promise<void> {
      stopped = false
      return session.start()
    },
    /** Resigns, and takes its entry away. Never throws. */
    async stop(): Promise<void> {
      // The watch may tell that nobody leads before the answer does: who goes does not stand for it.
      stopped = true
      await election.resign()
      await session.stop()
    },
    inTouch: session.inTouch,
    findTrouble: session.findTrouble,
    resync: session.resync,
    leads: election.leads,
    leader: election.leader,
    resign: election.resign,
    /** Stands for leader where nobody leads: what kept it from it may be over. */
    stand: (): void => void election.stand(),
    lock: lock.acquire,
    /** Runs `task` under the lock, once the newest record is known. Throws what `lock` and `readRecord` throw. */
    async underLock<T>(what: string, task: (held: Held) => Promise<T>): Promise<T> {
      const held = await lock.acquire(what)
      try {
        await view.readRecord()
        return await task(held)
      } finally {
        await held.release()
      }
    },
    /** Seals all values with the first secret of this node. Throws `cluster-secret` where a member does not know it. */
    async reseal(held: Held): Promise<number> {
      const [wanted = ''] = keyring.secrets
      const without = view.members().filter(member => !member.secrets.includes(wanted))
      if (without.length > 0) {
        const who = without.map(member => member.node).join(', ')
        throw new Failure('cluster-secret', `${who}: without the secret that is the first one here`)
      }
      const count = await reseal(held)
      await Promise.all([announce(), election.renew()])
      return count
    },
    /** Writes this node's entry again. Never throws. */
    announce,
  }
}

type FinalAnswer = Exclude<Answer, { kind: 'working' }>

/** A leased question, a word that the leader is at it, and a sealed answer, each taken away by whoever needs it no longer. */
const createAsking = ({ etcd, codecs, node, lease, clock, log }: LinkContext, fence: () => Condition | undefined) => {
  const waiting = new Map<string, (answer: Answer) => void>()
  const makeId = (): string => randomBytes(9).toString('base64url')
  const leased = () => {
    const held = lease()
    return held ? { lease: held.id } : {}
  }

  const forget = async (keys: readonly string[]): Promise<void> => {
    try {
      const writes = keys.map(key => ({ kind: 'delete', key }) as const)
      await etcd.commit([], writes)
    } catch (error) {
      log.debug('what was said ends with its lease', { error: asFailure(error) })
    }
  }

  const post = async (id: string, want: Ask['want']): Promise<void> => {
    const key = KEYS.asks + id
    const value = codecs.ask.write(key, { id, from: node, atMs: clock.now(), want })
    await etcd.commit([], [{ kind: 'put', key, value, ...leased() }])
  }

  return {
    /** The leader's answer; `undefined`: there is none in time. Throws `cluster-unreachable`. */
    async ask(want: Ask['want']): Promise<FinalAnswer | undefined> {
      const id = makeId()
      const { promise, resolve } = Promise.withResolvers<FinalAnswer | undefined>()
      let timer = clock.after(LINK_TIMES.hearMs, () => resolve(undefined))
      // Before the question is there: the answer may be quicker than etcd's word that it was taken.
      waiting.set(id, answer => {
        timer.cancel()
        if (answer.kind === 'working') timer = clock.after(LINK_TIMES.answerMs, () => resolve(undefined))
        else resolve(answer)
      })
      try {
        await post(id, want)
        return await promise
      } finally {
        timer.cancel()
        waiting.delete(id)
        void forget([KEYS.asks + id, KEYS.answers + id])
      }
    },
    /** Without an answer. Throws `cluster-unreachable`. */
    tell: (want: Ask['want']): Promise<void> => post(makeId(), want),
    /** As the leader; whoever leads no longer answers nothing. */
    async answer({ id }: Ask, answer: Answer): Promise<void> {
      const key = KEYS.answers + id
      const holds = fence()
      if (!holds) return
      await etcd.commit([holds], [{ kind: 'put', key, value: codecs.answer.write(key, answer), ...leased() }])
    },
    /** Asks that need no answer end with their being done. Never throws. */
    done: ({ id }: Ask): Promise<void> => forget([KEYS.asks + id]),
    /** What the watch tells. */
    hear: (id: string, answer: Answer): void => waiting.get(id)?.(answer),
    /** Whoever asked has heard enough. Never throws. */
    forgetAnswer: (id: string): Promise<void> => forget([KEYS.answers + id]),
  }
}
