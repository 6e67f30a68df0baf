// The two keys that one node holds at a time, under its lease: the leader's and the lock. Whatever their holder writes is conditioned on the birth of the key, so that a former one writes nothing.

import { asFailure, Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Condition, Entry, Etcd, Lease } from './etcd.ts'
import { type Codecs, KEYS } from './values.ts'

/** What a node deals with its cluster with. */
export type LinkContext = {
  readonly etcd: Etcd
  readonly codecs: Codecs
  readonly node: string
  readonly lease: () => Lease | undefined
  readonly clock: Clock
  readonly log: Log
}

/** Puts the key where there is none. */
const claim = async (
  { etcd, codecs, node }: LinkContext,
  lease: Lease,
  { key, what }: { key: string; what: string },
) => {
  const value = codecs.holder.write(key, { node, what })
  const put = { kind: 'put', key, value, lease: lease.id } as const
  return { ...(await etcd.commit([{ key, createRevision: 0n }], [put])), value }
}

/** Takes the key away, unless another node holds it by now. Never throws: what cannot be told ends with the lease. */
const giveBack = async ({ etcd, log }: LinkContext, fence: Condition): Promise<void> => {
  try {
    await etcd.commit([fence], [{ kind: 'delete', key: fence.key }])
  } catch (error) {
    log.debug(`the key ${fence.key} ends with its lease`, { error: asFailure(error) })
  }
}

export const createElection = (
  context: LinkContext,
  { mayLead, onChange }: { mayLead: () => boolean; onChange: () => void },
) => {
  const { etcd, codecs, node, log } = context
  let known: { readonly holder: string | undefined } | undefined
  let leadership: { readonly createRevision: bigint; readonly lease: Lease } | undefined
  let standing = false

  /** What etcd says of the key now; `undefined`: there is no leader, and this node stands for it if it may. */
  const observe = (entry: Entry | undefined): void => {
    const read = entry && codecs.holder.read(KEYS.leader, entry.value)
    known = entry && { holder: read?.kind === 'value' ? read.value.node : undefined }
    const lease = context.lease()
    const mine = known?.holder === node && lease !== undefined && entry?.lease === lease.id
    const before = leadership?.createRevision
    leadership = mine && entry ? { createRevision: entry.createRevision, lease } : undefined
    if (before !== leadership?.createRevision) {
      log.info(leadership ? 'this node leads the cluster' : 'this node does not lead the cluster any more', {
        leader: known?.holder ?? 'none',
      })
    }
    onChange()
    if (entry === undefined) void stand()
  }

  /** Stands where nobody leads. Never throws: it is tried again. */
  const stand = async (): Promise<void> => {
    const lease = context.lease()
    if (standing || known !== undefined || !lease?.isHeld() || !mayLead()) return
    standing = true
    try {
      const { committed, revision, value } = await claim(context, lease, { key: KEYS.leader, what: 'leader' })
      if (!committed || known !== undefined || context.lease() !== lease) return
      observe({ key: KEYS.leader, value, createRevision: revision, modRevision: revision, lease: lease.id })
    } catch (error) {
      // Where it was done all the same, the watch tells.
      log.debug('standing for leader failed', { error: asFailure(error) })
    } finally {
      standing = false
    }
  }

  /** Right also in a process that was stopped and goes on: the lease is asked. */
  const leads = (): boolean => leadership !== undefined && leadership.lease.isHeld()
  const fenceOf = ({ createRevision }: { createRevision: bigint }): Condition => ({ key: KEYS.leader, createRevision })

  return {
    observe,
    stand,
    leads,
    /** What has to hold when a leader's write arrives; undefined where this node does not lead. */
    fence: (): Condition | undefined => (leadership && leads() ? fenceOf(leadership) : undefined),
    /** The leader's node. */
    leader: () => known?.holder,
    /** Writes the leader's entry with the secret that seals now. Never throws. */
    async renew(): Promise<void> {
      if (!leadership || !leads()) return
      const value = codecs.holder.write(KEYS.leader, { node, what: 'leader' })
      const put = { kind: 'put', key: KEYS.leader, value, lease: leadership.lease.id } as const
      try {
        await etcd.commit([fenceOf(leadership)], [put])
      } catch (error) {
        log.debug("the leader's entry could not be written again", { error: asFailure(error) })
      }
    },
    /** Gives leadership up at once, so that another node need not wait for the lease. Never throws. */
    async resign(): Promise<void> {
      const held = leadership
      if (!held) return
      leadership = undefined
      onChange()
      await giveBack(context, fenceOf(held))
    },
  }
}

/** The lock, by which administrative changes are made by one node at a time. */
export type Held = {
  /** What has to hold when a write under the lock arrives. */
  readonly fence: Condition
  /** Never throws. */
  release(): Promise<void>
}

/** Under which right a record is written: as the leader, or as any node, while nobody holds the lock; or under the lock. */
export type Right = 'leader' | 'any' | Held

/** What has to hold when such a write arrives; undefined where this node does not lead. */
export const conditionsOf = (right: Right, fence: Condition | undefined): readonly Condition[] | undefined => {
  const unlocked: Condition = { key: KEYS.lock, createRevision: 0n }
  if (right === 'any') return [unlocked]
  if (right !== 'leader') return [right.fence]
  return fence && [fence, unlocked]
}

const WAIT_MS = 15_000
/** Should the watch not tell. */
const LOOK_MS = 1_000

export const createLock = (context: LinkContext) => {
  const { etcd, codecs, node, clock } = context
  let free = Promise.withResolvers<void>()

  const attempt = async (what: string): Promise<Held | string> => {
    const lease = context.lease()
    if (!lease?.isHeld()) throw new Failure('cluster-unreachable', 'this node is not in touch with the cluster')
    const { committed, revision, value } = await claim(context, lease, { key: KEYS.lock, what })
    const entry = committed ? { createRevision: revision, lease: lease.id, value } : await etcd.get(KEYS.lock)
    if (entry === undefined) return 'nobody'
    const read = codecs.holder.read(KEYS.lock, entry.value)
    const holder = read.kind === 'value' ? read.value : { node: 'an unknown node', what: 'an unknown change' }
    // One that was asked for, and whose answer never came, is this node's as well.
    if (!committed && (holder.node !== node || entry.lease !== lease.id)) return `${holder.node}: ${holder.what}`
    const fence = { key: KEYS.lock, createRevision: entry.createRevision }
    return { fence, release: () => giveBack(context, fence) }
  }

  return {
    observe(entry: Entry | undefined): void {
      if (entry) return
      free.resolve()
      free = Promise.withResolvers()
    },
    /** Waits for another node's change. Throws `cluster-conflict` where that takes too long, `cluster-unreachable`. */
    async acquire(what: string): Promise<Held> {
      const untilMs = clock.monotonic() + WAIT_MS
      for (;;) {
        const freed = free.promise
        const outcome = await attempt(what)
        if (typeof outcome !== 'string') return outcome
        if (clock.monotonic() >= untilMs)
          throw new Failure('cluster-conflict', `another change is under way at ${outcome}`)
        const waited = new AbortController()
        await Promise.race([freed, clock.sleep(LOOK_MS, waited.signal)])
        waited.abort()
      }
    },
  }
}
