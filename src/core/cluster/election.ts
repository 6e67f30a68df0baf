// The election: one leader by a leased key. Whatever a leader writes is conditioned on the birth of that key, so a former one writes nothing.

import { asFailure } from '../../protocol/errors.ts'
import type { Log } from '../../service/log.ts'
import type { Condition, Entry, Etcd, Lease } from './etcd.ts'
import { type Codecs, KEYS } from './values.ts'

export type Election = {
  /** What etcd says of the key now; `undefined`: there is no leader, and this node stands for it if it may. */
  observe(entry: Entry | undefined): void
  /** Stands where nobody leads. Never throws: it is tried again. */
  stand(): Promise<void>
  /** Right also in a process that was stopped and goes on: the lease is asked. */
  leads(): boolean
  /** What has to hold when a leader's write arrives; undefined where this node does not lead. */
  fence(): Condition | undefined
  /** The leader's node. */
  leader(): string | undefined
  /** Writes the office's entry with the secret that seals now. Never throws. */
  renew(): Promise<void>
  /** Gives the office up at once, so that another node need not wait for the lease. Never throws. */
  resign(): Promise<void>
}

export const createElection = (deps: {
  etcd: Etcd
  codecs: Codecs
  node: string
  lease: () => Lease | undefined
  mayLead: () => boolean
  onChange: () => void
  log: Log
}): Election => {
  const { etcd, codecs, node, log } = deps
  let known: { readonly entry: Entry; readonly holder: string | undefined } | undefined
  let office: { readonly createRevision: bigint; readonly lease: Lease } | undefined
  let standing = false

  const observe = (entry: Entry | undefined): void => {
    const read = entry && codecs.holder.read(KEYS.leader, entry.value)
    known = entry && { entry, holder: read?.kind === 'value' ? read.value.node : undefined }
    const lease = deps.lease()
    const mine = known?.holder === node && lease !== undefined && entry?.lease === lease.id
    const before = office?.createRevision
    office = mine && entry ? { createRevision: entry.createRevision, lease } : undefined
    if (before !== office?.createRevision) {
      log.info(office ? 'this node leads the cluster' : 'this node does not lead the cluster any more', {
        leader: known?.holder ?? 'none',
      })
    }
    deps.onChange()
    if (entry === undefined) void stand()
  }

  const stand = async (): Promise<void> => {
    const lease = deps.lease()
    if (standing || known !== undefined || !lease?.isHeld() || !deps.mayLead()) return
    standing = true
    try {
      const value = codecs.holder.write(KEYS.leader, { node, what: 'leader' })
      const { committed, revision } = await etcd.commit(
        [{ key: KEYS.leader, createRevision: 0n }],
        [{ kind: 'put', key: KEYS.leader, value, lease: lease.id }],
      )
      if (!committed || known !== undefined || deps.lease() !== lease) return
      observe({ key: KEYS.leader, value, createRevision: revision, modRevision: revision, lease: lease.id })
    } catch (error) {
      // Where it was done all the same, the watch tells.
      log.debug('standing for leader failed', { error: asFailure(error) })
    } finally {
      standing = false
    }
  }

  const leads = (): boolean => office !== undefined && office.lease.isHeld()

  return {
    observe,
    stand,
    leads,
    fence: () => (office && leads() ? { key: KEYS.leader, createRevision: office.createRevision } : undefined),
    leader: () => known?.holder,
    async renew() {
      if (!office || !leads()) return
      const { createRevision, lease } = office
      const value = codecs.holder.write(KEYS.leader, { node, what: 'leader' })
      try {
        await etcd.commit(
          [{ key: KEYS.leader, createRevision }],
          [{ kind: 'put', key: KEYS.leader, value, lease: lease.id }],
        )
      } catch (error) {
        log.debug('the office could not be written anew', { error: asFailure(error) })
      }
    },
    async resign() {
      const held = office
      if (!held) return
      office = undefined
      deps.onChange()
      try {
        const fence = { key: KEYS.leader, createRevision: held.createRevision }
        await etcd.commit([fence], [{ kind: 'delete', key: KEYS.leader }])
      } catch (error) {
        log.debug('the office ends with its lease', { error: asFailure(error) })
      }
    },
  }
}
