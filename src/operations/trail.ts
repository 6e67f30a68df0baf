// The audit trail: what is recorded of each grant and change, durable before the answer, repeats counted.

import { createHash } from 'node:crypto'
import type { Peer } from '../domain/policy.ts'
import type { Secret } from '../domain/secret.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { AuditEvent, AuditStore } from '../store/audit-store.ts'

export type GrantRecord = {
  /** The socket connection: its first grant of a scope is durable before the answer, repeats are counted. */
  readonly connection: object
  readonly peer: Peer
  readonly profile: string
  readonly scope: string
  readonly token: Secret
}

export type Trail = {
  /** Durable on return. Throws `audit-unavailable`: what cannot be written does not happen. */
  record(event: Omit<AuditEvent, 'atMs'>): void
  granted(grant: GrantRecord): void
  denied(denial: { peer: Peer; detail: string }): void
  /** Writes the counted repeats; called each minute and at stop. */
  flush(): void
}

type Repeats = { event: Omit<AuditEvent, 'atMs'>; count: number }

const FLUSH_MS = 60_000
/** Distinct denials that are counted apart within a minute; a flood of different ones shares one row. */
const MAX_DENIALS = 256

export const createTrail = (deps: { audit: AuditStore; clock: Clock; log: Log }): Trail => {
  const { audit, clock, log } = deps
  const seen = new WeakMap<object, Map<string, string>>()
  const repeats = new Map<string, Repeats>()
  let flushing = false

  const record = (event: Omit<AuditEvent, 'atMs'>): void => {
    const row = audit.append({ ...event, atMs: clock.now() })
    log.info(`audit ${row.event}`, { ...event, sequence: row.sequence, hash: row.hash })
  }
  const flush = (): void => {
    for (const [key, { event, count }] of repeats) {
      repeats.delete(key)
      if (count > 0) record({ ...event, count })
    }
  }
  const count = (key: string, event: Omit<AuditEvent, 'atMs'>, by = 1): void => {
    const known = repeats.get(key)
    if (known) known.count += by
    else repeats.set(key, { event, count: by })
    if (flushing) return
    flushing = true
    clock.after(FLUSH_MS, () => {
      flushing = false
      try {
        flush()
      } catch (error) {
        log.error('the audit log cannot be written', { error })
      }
    })
  }

  return {
    record,
    flush,
    granted(grant) {
      const scopes = seen.get(grant.connection) ?? new Map<string, string>()
      seen.set(grant.connection, scopes)
      const name = `${grant.profile}\n${grant.scope}`
      const token = grant.token.reveal()
      if (scopes.get(name) === token) {
        count(`${grant.peer.pid}\n${name}`, repeatOf(grant))
        return
      }
      record({ ...repeatOf(grant), hashedToken: hashToken(grant.token) })
      scopes.set(name, token)
    },
    denied({ peer, detail }) {
      const known = `${peer.uid}\n${peer.unit ?? ''}\n${detail}`
      const event = { event: 'token.deny', peer: nameOf(peer), detail }
      if (repeats.has(known)) return count(known, event)
      if (repeats.size >= MAX_DENIALS) return count('flood', { event: 'token.deny', detail: 'further denials' })
      record(event)
      count(known, event, 0)
    },
  }
}

/** GitHub's own `hashed_token`: joins our audit log to GitHub's. */
export const hashToken = (token: Secret): string => createHash('sha256').update(token.reveal()).digest('base64')

const nameOf = (peer: Peer): NonNullable<AuditEvent['peer']> => ({
  pid: peer.pid,
  uid: peer.uid,
  ...(peer.unit !== undefined && { unit: peer.unit }),
})

const repeatOf = (grant: GrantRecord): Omit<AuditEvent, 'atMs'> => ({
  event: 'token.grant',
  peer: nameOf(grant.peer),
  profile: grant.profile,
  scope: grant.scope,
})
