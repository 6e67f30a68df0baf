// Which grants the audit log holds already, by process, scope and token: bounded for each holder and in all.

import { createHash } from 'node:crypto'
import { type Holder, holderOf } from '../peers/holder.ts'
import type { Peer } from '../../protocol/profile.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { Clock } from '../../service/clock.ts'
import type { AuditEvent } from './audit-store.ts'

export type GrantRecord = {
  /** One object for each connection: stands for the process where the kernel hides which one it is. */
  readonly connection: object
  readonly peer: Peer
  readonly profile: string
  readonly scope: string
  readonly token: Secret
}

export type Event = Omit<AuditEvent, 'atMs'>

/** Equal events since the last row. */
export type Counted = { readonly event: Event; count: number }

/**
 * A grant that the log holds, or will in a moment: `written` is there until its row is durable. `dropped`: no longer remembered, and
 * the next grant of its kind is a row again.
 */
export type SeenGrant = Counted & {
  dropped: boolean
  written?: Promise<void>
  readonly holder: Holder['name']
  readonly key: string
  readonly bytes: number
}

/** About 5,000 grants with short scopes, 2,500 of one holder. */
const MAX_BYTES = 4 * 1024 * 1024
/** As V8 keeps them: the entry with its event, a key, a place in a map. */
const BYTES_EACH = 800
/** A service that starts 20,000 short-lived processes has a row for each; one that goes on like that for hours shares them. */
export const ROWS = { burst: 30_000, perMinute: 600 } as const
/** A row with many repositories counts for several. */
const BYTES_OF_A_ROW = 1024

type OfHolder = { readonly entries: Map<string, SeenGrant>; bytes: number; rowsLeft: number; atMs: number }

export const createSeenGrants = (deps: { clock: Pick<Clock, 'monotonic'>; maxBytes?: number }) => {
  const { clock, maxBytes = MAX_BYTES } = deps
  const holders = new Map<string, OfHolder>()
  const connections = new WeakMap<object, number>()
  let connectionsSeen = 0
  const all = { bytes: 0 }

  const processOf = ({ peer, connection }: GrantRecord): string => {
    const { pid, uid, unit = '', startTicks } = peer
    if (pid > 0 && startTicks !== undefined) return `${pid} ${startTicks} ${uid} ${unit}`
    const known = connections.get(connection) ?? ++connectionsSeen
    connections.set(connection, known)
    return `connection ${known}`
  }

  const open = (name: string): OfHolder => {
    const found = holders.get(name)
    if (found) return found
    const made = { entries: new Map<string, SeenGrant>(), bytes: 0, rowsLeft: ROWS.burst, atMs: clock.monotonic() }
    holders.set(name, made)
    return made
  }

  const refill = (ofHolder: OfHolder): number => {
    const nowMs = clock.monotonic()
    const more = ((nowMs - ofHolder.atMs) / 60_000) * ROWS.perMinute
    ofHolder.rowsLeft = Math.min(ROWS.burst, ofHolder.rowsLeft + more)
    ofHolder.atMs = nowMs
    return ofHolder.rowsLeft
  }

  const isSpent = ({ name }: Holder, { scope }: GrantRecord): boolean => {
    const ofHolder = holders.get(name)
    return ofHolder !== undefined && refill(ofHolder) < costOf(scope)
  }

  const drop = (entry: SeenGrant, ofHolder: OfHolder): void => {
    entry.dropped = true
    ofHolder.entries.delete(entry.key)
    ofHolder.bytes -= entry.bytes
    all.bytes -= entry.bytes
  }

  /** The oldest entry of a holder; the holder goes with its last one. */
  const dropOldest = (name: string, ofHolder: OfHolder): void => {
    const [oldest] = ofHolder.entries.values()
    if (oldest) drop(oldest, ofHolder)
    else holders.delete(name)
  }

  const makeRoom = (name: string, ofHolder: OfHolder): void => {
    while (ofHolder.bytes > maxBytes / 2 && ofHolder.entries.size > 1) dropOldest(name, ofHolder)
    while (all.bytes > maxBytes) {
      const [largest] = [...holders].toSorted(([, a], [, b]) => b.bytes - a.bytes)
      if (!largest) return
      dropOldest(...largest)
    }
  }

  const findIn = (holder: Holder, key: string): SeenGrant | undefined => {
    const entries = holders.get(holder.name)?.entries
    const found = entries?.get(key)
    // The one used last is dropped last.
    if (entries?.delete(key) && found) entries.set(key, found)
    return found
  }

  return {
    find(grant: GrantRecord): SeenGrant | undefined {
      const holder = holderOf(grant.peer)
      const own = findIn(holder, keyOf(processOf(grant), grant))
      if (own || !isSpent(holder, grant)) return own
      return findIn(holder, keyOf('', grant))
    },
    /** Remembers the grant, and tells its row. May drop others; the caller still has their counts. */
    add(grant: GrantRecord): { seen: SeenGrant; row: Event } {
      const { peer, profile, scope } = grant
      const holder = holderOf(peer)
      const shared = isSpent(holder, grant)
      const event = {
        event: 'token.grant',
        peer: nameOf(peer),
        profile,
        scope,
        ...(shared && { detail: `this process and others of ${holder.name}` }),
      }
      const ofHolder = open(holder.name)
      if (!shared) ofHolder.rowsLeft -= costOf(scope)
      const key = keyOf(shared ? '' : processOf(grant), grant)
      const entry: SeenGrant = {
        event,
        count: 0,
        dropped: false,
        holder: holder.name,
        key,
        bytes: BYTES_EACH + scope.length,
      }
      ofHolder.entries.set(entry.key, entry)
      ofHolder.bytes += entry.bytes
      all.bytes += entry.bytes
      makeRoom(holder.name, ofHolder)
      return { seen: entry, row: { ...event, hashedToken: hashToken(grant.token) } }
    },
    /** For one whose row could not be written. */
    forget(seen: SeenGrant): void {
      const ofHolder = holders.get(seen.holder)
      if (ofHolder && !seen.dropped) drop(seen, ofHolder)
    },
  }
}

const costOf = (scope: string): number => Math.ceil((scope.length + 1) / BYTES_OF_A_ROW)

const keyOf = (process: string, { profile, scope, token }: GrantRecord): string =>
  createHash('sha256')
    .update(JSON.stringify([process, profile, scope, hashToken(token)]))
    .digest('base64')

export const nameOf = (peer: Peer): NonNullable<AuditEvent['peer']> => ({
  pid: peer.pid,
  uid: peer.uid,
  ...(peer.unit !== undefined && { unit: peer.unit }),
})

const hashes = new WeakMap<Secret, string>()

/** GitHub's own `hashed_token`: joins our audit log to GitHub's. */
export const hashToken = (token: Secret): string => {
  const known = hashes.get(token)
  if (known !== undefined) return known
  const hash = createHash('sha256').update(token.reveal()).digest('base64')
  hashes.set(token, hash)
  return hash
}
