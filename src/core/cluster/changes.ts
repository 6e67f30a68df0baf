// The record of the connection on all nodes: changes under the cluster's lock, notes by the leader, and the one order in which records replace each other.

import { randomBytes } from 'node:crypto'
import { canonicalJson } from '../../protocol/canonical-json.ts'
import { type Connection, type Installation, isLive, mayServe } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import type { ChangeOptions } from '../connection/membership.ts'
import type { ConnectionRecord } from '../store/records.ts'
import { RECIPIENTS } from '../store/records.ts'
import { isRevocation } from '../tokens/revoke-all.ts'
import type { Right } from './election.ts'
import type { ClusterContext } from './link.ts'
import type { Agreed } from './memory.ts'
import { digestOf, type SharedRecord, type Version } from './values.ts'
import type { Seen } from './view.ts'

export type Changes = ReturnType<typeof createChanges>

type ChangesContext = Pick<ClusterContext, 'store' | 'connectionState' | 'link' | 'memory' | 'audit' | 'log'>

/** Against a rival who is always first; there is none for long. */
const MOST_TRIES = 8

export const createChanges = (
  { store, connectionState, link, memory, audit, log }: ChangesContext,
  handlers: {
    /** A record took the place of what stood here. `voided`: its tokens with it; `revoked`: GitHub takes them no more. `changed`: the ids of installations that are others now. */
    onApplied(change: { voided: boolean; revoked: boolean; changed: readonly number[] }): void
    /** This node leaves its cluster, since it cannot ask it. */
    onLeave(): void
  },
) => {
  let right: Right | undefined
  let sending: Promise<unknown> = Promise.resolve()
  let settling = false
  let again = false
  let untaken: Failure | undefined

  const recipients = (): readonly string[] => {
    const found = store.facts.find(RECIPIENTS)
    return Array.isArray(found) ? found.filter(text => typeof text === 'string') : []
  }
  const contentOf = (record: ConnectionRecord) => ({
    ...record,
    recipients: recipients(),
    signers: memory.signers(),
  })
  const digest = (): string => digestOf(contentOf(store.connection.read()))
  const standing = (): Standing => ({
    generation: connectionState.read().generation,
    digest: digest(),
    agreed: memory.agreed(),
    unsent: memory.isUnsent(),
    leads: link.leads(),
  })

  const apply = ({ version, floor, ...record }: SharedRecord, lost: 'nothing' | 'note' | 'change'): void => {
    const { connection, installations, keys } = record
    const { generation } = version
    const held = store.connection.read()
    const agreed: Agreed = {
      version,
      floor,
      identity: identityOf(connection),
      digest: digestOf({ ...record, generation }),
    }
    const voided = floor !== memory.agreed().floor || identityOf(held.connection) !== agreed.identity
    const dropsKey = held.keys.some(key => !keys.some(({ fingerprint }) => fingerprint === key.fingerprint))
    const facts = { [RECIPIENTS]: record.recipients }
    store.facts.put(RECIPIENTS, record.recipients)
    memory.setSigners(record.signers)
    // What a key is gone for must not be readable here either.
    if (voided || dropsKey) {
      const change = { installations, keys, generation, newGeneration: false }
      connectionState.shred(connection, { ...change, facts: { ...facts, ...memory.factsOf(agreed) } })
    } else connectionState.transition(connection, { installations, keys, generation })
    memory.agree(agreed)
    memory.setUnsent(false)
    if (lost === 'change') {
      const detail = `${record.by} made generation ${generation}: ${connection.kind}; what was changed here meanwhile is void`
      audit.owe({ event: 'cluster.conflict', detail })
      log.error('a change of this node lost against another one', { detail })
    }
    log.info('the record of the cluster holds here now', { generation, sequence: version.sequence, by: record.by })
    const revoked = isRevocation(held.connection, connection)
    handlers.onApplied({ voided: voided || dropsKey, revoked, changed: changedOf(held.installations, installations) })
    void link.announce()
  }

  const takeOver = (record: SharedRecord, lost: 'nothing' | 'note' | 'change'): void => {
    try {
      apply(record, lost)
      untaken = undefined
    } catch (error) {
      const cause = asFailure(error)
      const why = `its record ${record.version.sequence} was not taken over: ${cause.message}`
      untaken = new Failure('cluster-behind', why, { cause })
      throw error
    }
  }

  const offer = async (anew: boolean, as: Right): Promise<boolean> => {
    const seen = link.record()
    const held = store.connection.read()
    const { connection, installations, keys } = held
    const now = standing()
    const { agreed } = now
    const former = memory.agreed()
    const known = seen.kind === 'record' ? seen : undefined
    const version = anew ? versionAbove(now, known?.record.version, randomBytes(6).toString('hex')) : agreed.version
    const identity = identityOf(connection)
    const floor = identity === former.identity ? former.floor : version.generation
    const appId = isLive(connection) ? connection.app.id : known?.record.appId
    const record: SharedRecord = {
      version,
      floor,
      ...(appId !== undefined && { appId }),
      connection,
      installations,
      keys,
      recipients: recipients(),
      signers: memory.signers(),
      by: link.node,
    }
    if (!(await link.putRecord(record, as))) return false
    memory.agree({ version, floor, identity, digest: now.digest })
    if (digest() === now.digest && as !== right) memory.setUnsent(false)
    void link.announce()
    return true
  }

  /** The same, in turn already, under a right that is held. Throws `cluster-unreachable`, `cluster-secret`, `cluster-behind`. */
  const settleUnder = async (as: Right): Promise<void> => {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const seen = link.record()
      const unreadable = findUnreadable(seen)
      if (unreadable) throw unreadable
      const step = nextStep(
        standing(),
        seen.kind === 'record' ? { version: seen.record.version, digest: seen.digest } : undefined,
      )
      if (step.kind !== 'apply') untaken = undefined
      switch (step.kind) {
        case 'keep':
          if (as !== right) memory.setUnsent(false)
          return
        case 'agree': {
          if (seen.kind !== 'record') return
          const { digest: same, record } = seen
          const { version, floor, connection } = record
          memory.agree({ version, digest: same, floor, identity: identityOf(connection) })
          memory.setUnsent(false)
          void link.announce()
          return
        }
        case 'apply':
          if (seen.kind === 'record') takeOver(seen.record, step.lost)
          return
        case 'offer':
          if (await offer(step.anew, as)) return
          // Nobody was first: another node holds the lock, or this one leads no more. It is told when that has changed.
          if ((await link.readRecord()).modRevision === seen.modRevision && isPassing(as)) return
          break
        default:
          return step satisfies never
      }
    }
    throw new Failure('cluster-conflict', 'other nodes change the connection all the time')
  }

  const settleNow = async (): Promise<void> => {
    if (!memory.find() || !link.inTouch()) return
    try {
      await settleUnder(link.leads() ? 'leader' : 'any')
    } catch (error) {
      log.warn('this node and the cluster could not be brought to the same record yet', { error: asFailure(error) })
    }
  }

  /**
   * Brings this node and the cluster to the same record. Never throws: what could not be done is done later. However often it is asked
   * for while it waits for its turn, it is done once.
   */
  const settle = async (): Promise<void> => {
    if (settling) {
      again = true
      return
    }
    settling = true
    try {
      do {
        again = false
        await connectionState.serially(settleNow)
      } while (again)
    } finally {
      settling = false
    }
  }

  /** What was changed under the lock goes out; the failure that keeps it here, if one does. */
  const send = async (as: Right): Promise<Failure | undefined> => {
    try {
      if (digest() === memory.agreed().digest || (await offer(true, as))) return undefined
      const wanted = digest()
      await link.readRecord()
      await settleUnder('any')
      if (digest() !== wanted) return conflict()
      // Else the lock was lost, and who holds it now is still at work: it is decided after that, with the next settle.
      if (memory.agreed().digest !== wanted) throw new Failure('cluster-conflict', OVERTAKEN)
      return undefined
    } catch (error) {
      const failure = asFailure(error)
      log.error('a change of this node is not in the cluster yet', { error: failure })
      return failure
    }
  }

  /** While the task goes on, so that a node that dies now leaves what it did to others; at its end it is seen to that all went out. */
  const sendEarly = async (as: Right): Promise<void> => {
    try {
      if (digest() !== memory.agreed().digest) await offer(true, as)
    } catch (error) {
      log.debug('a change is told to the cluster at its end', { error: asFailure(error) })
    }
  }

  const conflict = (): Failure => {
    const seen = link.record()
    const who = seen.kind === 'record' ? seen.record.by : 'another node'
    const { connection, generation } = connectionState.read()
    const now = `${who} made it generation ${generation}, ${connection.kind}`
    return new Failure('cluster-conflict', `${now}; what was changed here meanwhile is void`)
  }

  return {
    settle,
    settleUnder,
    /** What keeps the record of the cluster from holding here, although etcd is reached: `cluster-secret`, `cluster-behind`. */
    findObstacle: () => findUnreadable(link.record()) ?? untaken,
    /** The cluster's record, which does not hold here yet, has nothing served. Asked with each request. */
    isOverruled(): boolean {
      const seen = link.record()
      return (
        seen.kind === 'record' &&
        !mayServe(seen.record.connection) &&
        compareVersions(seen.record.version, memory.agreed().version) > 0 &&
        mayServe(connectionState.read().connection)
      )
    },
    changed(): void {
      const as = right
      if (as !== undefined) sending = sending.then(() => (right === as ? sendEarly(as) : undefined))
      else if (link.leads()) void settle()
    },
    /** Called in turn, with nothing else under way on this node. */
    async change<T>(task: () => Promise<T>, { cutOff = 'refuse' }: ChangeOptions): Promise<T> {
      const member = memory.find()
      if (!member) return task()
      if (member.role === 'replica' && cutOff === 'leave') {
        handlers.onLeave()
        return task()
      }
      if (member.role === 'replica') throw new Failure('replica', 'it takes over what others decide')
      const held = await link.lock('a change').catch((error: unknown) => {
        const failure = asFailure(error)
        if (cutOff !== 'leave' || !CUT_OFF.has(failure.code)) throw failure
        handlers.onLeave()
        return undefined
      })
      if (held === undefined) return task()
      try {
        await link.readRecord()
        await settleUnder(held)
        right = held
        memory.setUnsent(true)
        const [outcome] = await Promise.allSettled([task()])
        await sending
        const failure = await send(held)
        if (failure === undefined) memory.setUnsent(false)
        if (outcome.status === 'rejected') throw outcome.reason
        if (failure !== undefined) throw failure
        return outcome.value
      } finally {
        right = undefined
        sending = Promise.resolve()
        await held.release()
      }
    },
  }
}

export const NEWER = 'a newer version of ghconnectd wrote the record; upgrade this node'

const OVERTAKEN =
  'another node is at it; what was changed here is not in the cluster yet, and void if that one changes something'

const findUnreadable = ({ kind }: Seen): Failure | undefined => {
  if (kind === 'foreign')
    return new Failure('cluster-secret', 'the record of the cluster is sealed with another secret')
  return kind === 'newer' ? new Failure('cluster-behind', NEWER) : undefined
}

const CUT_OFF = new Set<string>(['cluster-unreachable', 'cluster-refused'])

const isPassing = (right: Right): boolean => right === 'leader' || right === 'any'

const changedOf = (before: readonly Installation[], after: readonly Installation[]): number[] =>
  after
    .filter(
      one => before.some(({ id }) => id === one.id) && !before.some(same => canonicalJson(same) === canonicalJson(one)),
    )
    .map(({ id }) => id)

const identityOf = (connection: Connection): string =>
  isLive(connection) ? `${connection.app.id} ${connection.enabledAtMs}` : 'none'

export const compareVersions = (a: Version, b: Version): number =>
  a.generation - b.generation || a.sequence - b.sequence || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/** What a node holds, beside what it last agreed on with the cluster. */
export type Standing = {
  readonly generation: number
  readonly digest: string
  readonly agreed: { readonly version: Version; readonly digest: string }
  /** An administrator's change of this node has not reached the cluster yet. */
  readonly unsent: boolean
  readonly leads: boolean
}

export type Step =
  /** Both are the same. */
  | { readonly kind: 'keep' }
  /** The content is the same, under a newer version. */
  | { readonly kind: 'agree' }
  /** The cluster's takes the place of this node's. `lost`: what stood here and was not in the cluster yet. */
  | { readonly kind: 'apply'; readonly lost: 'nothing' | 'note' | 'change' }
  /** This node's goes into the cluster: as it was agreed, where etcd has an older one, or as a new version. */
  | { readonly kind: 'offer'; readonly anew: boolean }

/** What a node does about the record that etcd holds; `undefined`: it holds none. No order of records leads back to a lower version. */
export const nextStep = (standing: Standing, seen: { version: Version; digest: string } | undefined): Step => {
  const { agreed, digest, generation, unsent, leads } = standing
  const clean = digest === agreed.digest
  if (seen === undefined) return { kind: 'offer', anew: !clean }
  const newer = compareVersions(seen.version, agreed.version)
  if (newer < 0) return { kind: 'offer', anew: !clean }
  if (newer === 0) {
    if (clean) return { kind: 'keep' }
    // What a follower notes of GitHub is its own view; the leader's is the cluster's.
    return unsent || leads ? { kind: 'offer', anew: true } : { kind: 'apply', lost: 'note' }
  }
  if (seen.digest === digest) return { kind: 'agree' }
  if (clean) return { kind: 'apply', lost: 'nothing' }
  if (!unsent) return { kind: 'apply', lost: 'note' }
  // What others decided since holds, a disable above all: however many changes were made here without knowing of it.
  const isOvertaken = seen.version.generation > agreed.version.generation || generation <= seen.version.generation
  return isOvertaken ? { kind: 'apply', lost: 'change' } : { kind: 'offer', anew: true }
}

/** The version of a record that is offered anew: above all that this node has seen. */
export const versionAbove = (
  standing: Pick<Standing, 'generation' | 'agreed'>,
  seen: Version | undefined,
  id: string,
): Version => ({
  generation: Math.max(standing.generation, seen?.generation ?? 0),
  sequence: Math.max(standing.agreed.version.sequence, seen?.sequence ?? 0) + 1,
  id,
})
