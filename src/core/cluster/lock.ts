// The lock of the cluster: administrative changes are made by one node at a time. Leased, and fenced as the leader's office is.

import { asFailure, Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Condition, Entry, Etcd, Lease } from './etcd.ts'
import { type Codecs, KEYS } from './values.ts'

export type Held = {
  /** What has to hold when a write under the lock arrives. */
  readonly fence: Condition
  /** Never throws: what cannot be told ends with the lease. */
  release(): Promise<void>
}

export type Lock = {
  observe(entry: Entry | undefined): void
  /** Waits for another node's change. Throws `cluster-conflict` where that takes too long, `cluster-unreachable`. */
  acquire(what: string): Promise<Held>
}

const WAIT_MS = 15_000
/** Should the watch not tell. */
const LOOK_MS = 1_000

export const createLock = (deps: {
  etcd: Etcd
  codecs: Codecs
  node: string
  lease: () => Lease | undefined
  clock: Clock
  log: Log
}): Lock => {
  const { etcd, codecs, node, clock, log } = deps
  let free = Promise.withResolvers<void>()

  const release = async (fence: Condition): Promise<void> => {
    try {
      await etcd.commit([fence], [{ kind: 'delete', key: KEYS.lock }])
    } catch (error) {
      log.debug('the lock ends with its lease', { error: asFailure(error) })
    }
  }

  const attempt = async (what: string): Promise<Held | string> => {
    const lease = deps.lease()
    if (!lease?.isHeld()) throw new Failure('cluster-unreachable', 'this node is not in touch with the cluster')
    const value = codecs.holder.write(KEYS.lock, { node, what })
    const { committed, revision } = await etcd.commit(
      [{ key: KEYS.lock, createRevision: 0n }],
      [{ kind: 'put', key: KEYS.lock, value, lease: lease.id }],
    )
    const entry = committed ? { createRevision: revision, lease: lease.id, value } : await etcd.get(KEYS.lock)
    if (entry === undefined) return 'nobody'
    const read = codecs.holder.read(KEYS.lock, entry.value)
    const holder = read.kind === 'value' ? read.value : { node: 'an unknown node', what: 'an unknown change' }
    // One that was asked for, and whose answer never came, is this node's as well.
    if (!committed && (holder.node !== node || entry.lease !== lease.id)) return `${holder.node}: ${holder.what}`
    const fence = { key: KEYS.lock, createRevision: entry.createRevision }
    return { fence, release: () => release(fence) }
  }

  return {
    observe(entry) {
      if (entry) return
      free.resolve()
      free = Promise.withResolvers()
    },
    async acquire(what) {
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
