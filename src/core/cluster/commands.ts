// What an administrator does with the cluster: look at it, join it, leave it, promote a replica, seal its values anew.

import { isLive } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { type ClusterStatus, isoTime } from '../../protocol/wire.ts'
import type { Membership } from '../connection/membership.ts'
import type { ConnectionRecord } from '../store/records.ts'
import { type Changes, NEWER } from './changes.ts'
import type { Held } from './election.ts'
import type { ClusterContext } from './link.ts'
import { NOTHING_AGREED } from './memory.ts'
import type { NodeRole } from './values.ts'

export type ClusterCommands = ReturnType<typeof createClusterCommands>

type Former = {
  readonly held: ConnectionRecord
  readonly recipients: readonly string[]
  readonly signers: readonly string[]
}

export const createClusterCommands = (
  deps: ClusterContext & {
    changes: Changes
    membership: Pick<Membership, 'role'> & Readonly<Record<'begin' | 'catchUp' | 'end', () => Promise<void>>>
    /** After each new store. Never throws. */
    ensureWrap: () => void
  },
) => {
  const { cluster, link, memory, isolation, changes, membership, connectionState, audit, recovery } = deps
  const requireMember = () => {
    const member = memory.find()
    if (!member) throw new Failure('cluster-member', `this node is not in ${cluster}`)
    return member
  }
  const signer = (): string => recovery.signer().publicKey

  const assertFits = (force: boolean, replica: boolean): void => {
    const { connection } = connectionState.read()
    const seen = link.record()
    if (seen.kind === 'newer') throw new Failure('cluster-member', NEWER)
    if (seen.kind === 'absent' && replica)
      throw new Failure('cluster-member', `nobody has joined ${cluster} yet; a replica is none that begins it`)
    if (seen.kind === 'absent') return
    if (seen.kind !== 'record')
      throw new Failure('cluster-secret', `the record of ${cluster} does not open with the secret of this node`)
    if (connection.kind === 'disconnected' || force) return
    const theirs = seen.record.connection
    if (isLive(connection) && isLive(theirs) && connection.app.id === theirs.app.id) return
    const ours = isLive(connection) ? `connected as ${connection.app.name}` : connection.kind
    throw new Failure(
      'cluster-member',
      `this node is ${ours}, and ${cluster} is ${theirs.kind}; --force gives up what is here`,
    )
  }

  const enter = (role: NodeRole, force: boolean): Promise<void> =>
    link.underLock('joining', async held => {
      assertFits(force, role === 'replica')
      const former = { held: connectionState.read(), recipients: recovery.created(), signers: memory.signers() }
      const first = link.record().kind === 'absent'
      try {
        await agree(role, held, first)
      } catch (error) {
        undo(former)
        throw error
      }
    })

  const agree = async (role: NodeRole, held: Held, first: boolean): Promise<void> => {
    const made = { recipients: recovery.created(), signers: [...memory.signers(), signer()] }
    memory.join(role)
    const generation = first ? connectionState.read().generation : 0
    memory.agree({ ...NOTHING_AGREED, version: { ...NOTHING_AGREED.version, generation } })
    memory.setUnsent(false)
    if (first) memory.setSigners([signer()])
    await changes.settleUnder(held)
    // What this node brings along is known to all: its snapshots are trusted everywhere, and its recovery keys open all of them.
    recovery.setCreated([...new Set([...recovery.created(), ...made.recipients])])
    memory.setSigners([...new Set([...memory.signers(), ...(first ? [] : made.signers)])])
    memory.setUnsent(true)
    await changes.settleUnder(held)
    isolation.note()
  }

  /** This node as it was before; but what it heard of a disable holds. Where the disk takes nothing it stays a member, and mends itself. */
  const undo = (former: Former): void => {
    const seen = link.record()
    const isDisabled = seen.kind === 'record' && seen.record.connection.kind === 'disconnected'
    try {
      if (contentOf(connectionState.read()) !== contentOf(former.held)) {
        const { connection, installations, keys } = isDisabled ? connectionState.read() : former.held
        connectionState.shred(connection, { installations, keys, facts: memory.factsOfLeaving() })
        deps.tokens.drop()
      }
      memory.forget()
      recovery.setCreated(former.recipients)
      memory.setSigners(former.signers)
      deps.ensureWrap()
    } catch (error) {
      deps.log.warn('what a join began could not be undone', { error: asFailure(error) })
    }
  }

  return {
    status(): ClusterStatus {
      const seen = link.record()
      const { version } = memory.agreed()
      const known = seen.kind === 'record' ? seen.record.version.sequence : undefined
      const leader = link.leader()
      const lastContactMs = isolation.lastContactMs()
      const trouble = link.findTrouble()
      const obstacle = memory.find() && changes.findObstacle()
      return {
        cluster,
        node: link.node,
        joined: memory.find() !== undefined,
        role: membership.role(),
        in_touch: link.inTouch(),
        ...(lastContactMs !== undefined && { last_contact_at: isoTime(lastContactMs) }),
        ...(trouble && { trouble: trouble.message }),
        ...(!trouble && obstacle && { trouble: `${obstacle.message}. ${obstacle.entry.next}` }),
        generation: connectionState.read().generation,
        sequence: version.sequence,
        ...(known !== undefined && { cluster_sequence: known }),
        unsent: memory.isUnsent(),
        ...(leader !== undefined && { leader }),
        tokens: link.tokens().length,
        members: link
          .members()
          .toSorted((a, b) => (a.node < b.node ? -1 : 1))
          .map(({ node, host, role, version: program, generation, sequence, sinceMs }) => ({
            node,
            hostname: host.hostname,
            role:
              role === 'replica' ? ('replica' as const) : node === leader ? ('leader' as const) : ('follower' as const),
            version: program,
            generation,
            sequence,
            behind: Math.max(0, (known ?? sequence) - sequence),
            since: isoTime(sinceMs),
          })),
      }
    },
    /**
     * Throws `cluster-member` where this node holds another connection, or there is none to hold; `cluster-unreachable`,
     * `cluster-secret`. Then this node is as it was.
     */
    async join({ replica, force }: { replica: boolean; force: boolean }): Promise<void> {
      const role = replica ? 'replica' : 'member'
      const member = memory.find()
      if (member) {
        if (member.role === role) return
        audit.record({ event: 'cluster.join', detail: `${cluster}, as ${role}` })
        memory.join(role)
        if (replica) await link.resign()
        else link.stand()
        return await link.announce()
      }
      await membership.begin()
      try {
        if (!link.inTouch())
          throw link.findTrouble() ?? new Failure('cluster-unreachable', 'etcd did not answer in time')
        audit.record({ event: 'cluster.join', detail: `${cluster}, as ${role}` })
        await connectionState.serially(() => enter(role, force))
      } catch (error) {
        if (!memory.find()) await membership.end()
        throw error
      }
      link.stand()
      await membership.catchUp()
      await link.announce()
    },
    leave: ({ keep }: { keep: boolean }): Promise<void> =>
      connectionState.serially(async () => {
        requireMember()
        audit.record({ event: 'cluster.leave', detail: keep ? 'with the credentials' : 'without the credentials' })
        await membership.end()
        const { connection } = connectionState.read()
        if (keep) {
          if (isLive(connection))
            connectionState.transition({ ...connection, host: deps.host() }, { newGeneration: true })
          return memory.forget()
        }
        const remark = `This node left the cluster ${cluster}, and kept nothing.`
        const gone = { kind: 'disconnected', sinceMs: deps.clock.now(), remark } as const
        // In one step with the membership: a node that is killed meanwhile is a member with, or none without credentials.
        connectionState.shred(gone, { facts: memory.factsOfLeaving() })
        memory.forget()
        deps.tokens.drop()
      }),
    /** Throws `cluster-member` where this node is in no cluster. */
    async promote(): Promise<void> {
      if (requireMember().role === 'member') return
      audit.record({ event: 'cluster.promote', detail: link.node })
      memory.join('member')
      await link.announce()
      link.stand()
    },
    /** Seals all values with the first of this node's secrets. Throws `cluster-secret` where a member does not know it. */
    reseal: (): Promise<number> =>
      connectionState.serially(async () => {
        requireMember()
        return link.underLock('sealing anew', async held => {
          await changes.settleUnder(held)
          audit.record({ event: 'cluster.reseal', detail: cluster })
          return link.reseal(held)
        })
      }),
  }
}

const contentOf = ({ connection, installations, keys }: ConnectionRecord): string =>
  JSON.stringify([connection, installations, keys.map(({ fingerprint }) => fingerprint)])
