// Who has how many connections of one server: no holder more than its share, and a newcomer is served although others came first.

import type { Holder } from '../peers/holder.ts'

export type Limits = {
  readonly all: number
  readonly ofHolder: number
  /** Over all units of one uid. */
  readonly ofUid: number
}

/** What can be closed: a socket. */
export type Closable = { destroy(): unknown }
/** The answer to the last request of a connection. */
export type Answering = { readonly writableEnded: boolean }

export type Place = {
  /** For each request: the connection is in use now, and busy until the answer has ended. */
  use(answering: Answering): void
  /** The connection is closed. Idempotent. */
  leave(): void
}

export type Connections = {
  /**
   * Counts one more. Where its holder, its uid or all have as many as they may, the idlest connection is closed: that of the same
   * holder, of the uid's largest holder, of the largest holder of all. One with a request under way is closed only where all have one.
   */
  enter(connection: Closable, holder: Holder): Place
  readonly size: number
}

type Taken = { readonly connection: Closable; readonly group: Group; usedAt: number; answering: Answering | undefined }
type Group = { readonly holder: Holder; readonly taken: Set<Taken> }

export const createConnections = (limits: Limits): Connections => {
  const groups = new Map<string, Group>()
  const uids = new Map<number, number>()
  let size = 0
  /** Counts requests: who has the lowest number has been idle for longest. */
  let uses = 0

  const countUid = ({ uid }: Holder, change: 1 | -1): void => {
    if (uid === undefined) return
    const now = (uids.get(uid) ?? 0) + change
    if (now > 0) uids.set(uid, now)
    else uids.delete(uid)
  }
  /** What a holder is judged by: a uid that takes several units is as large as all of them together. */
  const weightOf = ({ holder: { uid }, taken }: Group): number =>
    uid === undefined ? taken.size : (uids.get(uid) ?? 0)

  const leave = (one: Taken): void => {
    const { group } = one
    if (!group.taken.delete(one)) return
    size -= 1
    countUid(group.holder, -1)
    if (group.taken.size === 0) groups.delete(group.holder.name)
  }
  const closeIdlest = (group: Group | undefined): void => {
    let idlest: Taken | undefined
    for (const one of group?.taken ?? []) if (!idlest || isIdler(one, idlest)) idlest = one
    if (!idlest) return
    leave(idlest)
    idlest.connection.destroy()
  }
  const largest = (among: (group: Group) => boolean): Group | undefined => {
    let found: Group | undefined
    let weight = 0
    for (const group of groups.values()) {
      if (!among(group)) continue
      const own = weightOf(group)
      if (found && (own < weight || (own === weight && group.taken.size <= found.taken.size))) continue
      found = group
      weight = own
    }
    return found
  }
  const makeRoom = ({ name, uid }: Holder): void => {
    const own = groups.get(name)
    if (own && own.taken.size >= limits.ofHolder) closeIdlest(own)
    else if (uid !== undefined && (uids.get(uid) ?? 0) >= limits.ofUid)
      closeIdlest(largest(({ holder }) => holder.uid === uid))
    else if (size >= limits.all) closeIdlest(largest(() => true))
  }

  return {
    enter(connection, holder) {
      makeRoom(holder)
      const group = groups.get(holder.name) ?? { holder, taken: new Set() }
      groups.set(holder.name, group)
      const one: Taken = { connection, group, usedAt: ++uses, answering: undefined }
      group.taken.add(one)
      size += 1
      countUid(holder, 1)
      return {
        use(answering) {
          one.usedAt = ++uses
          one.answering = answering
        },
        leave: () => leave(one),
      }
    },
    get size() {
      return size
    },
  }
}

const isBusy = ({ answering }: Taken): boolean => answering !== undefined && !answering.writableEnded

const isIdler = (one: Taken, other: Taken): boolean =>
  isBusy(one) === isBusy(other) ? one.usedAt < other.usedAt : isBusy(other)
