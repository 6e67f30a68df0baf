// The audit trail: what is recorded of each grant and change, durable before the answer, repeats counted.

import { createHash } from 'node:crypto'
import { asFailure, type Failure } from '../domain/errors.ts'
import type { Peer } from '../domain/policy.ts'
import type { Secret } from '../domain/secret.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { AuditEvent, AuditRow, AuditStore } from '../store/audit-store.ts'

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
  /** For what has happened already, and cannot be undone or kept waiting: written now, or as soon as the log takes it. */
  owe(event: Omit<AuditEvent, 'atMs'>): void
  granted(grant: GrantRecord): void
  /** Why the last record could not be written; undefined after one that was. */
  findTrouble(): Failure | undefined
  /** `wanted`: the scope that was asked for, for a person. Durable for the first of its kind within a minute. */
  denied(denial: { peer: Peer; detail: string; wanted?: string }): void
  /** Writes the counted repeats; called each minute and at stop. */
  flush(): void
}

/** `written`: no longer among those that are counted. */
type Repeats = { event: Omit<AuditEvent, 'atMs'>; count: number; written?: true }

/** What a connection was granted last: the same again is the usual case, and costs no look-up. */
type Latest = { readonly profile: string; readonly scope: string; readonly token: string; readonly repeats: Repeats }

const FLUSH_MS = 60_000
/** Distinct denials that are counted apart within a minute; a flood of different ones shares one row. */
const MAX_DENIALS = 256
/** Of these at most so many are one caller's, whatever he asks for: he cannot crowd out the others. */
const MAX_DENIALS_OF_ONE = 16

export const createTrail = (deps: { audit: AuditStore; clock: Clock; log: Log }): Trail => {
  const { audit, clock, log } = deps
  const seen = new WeakMap<object, { scopes: Map<string, string>; latest?: Latest }>()
  /** Apart, so that no number of grants leaves a denial without its own row. */
  const grants = new Map<string, Repeats>()
  const denials = new Map<string, Repeats>()
  const deniedTo = new Map<string, number>()
  const owed: AuditEvent[] = []
  let flushing = false
  let trouble: Failure | undefined

  const append = (event: AuditEvent): AuditRow => {
    try {
      const row = audit.append(event)
      trouble = undefined
      return row
    } catch (error) {
      trouble = asFailure(error)
      throw trouble
    }
  }
  const write = (event: AuditEvent): void => {
    const row = append(event)
    // Under names of their own in the journal: `journalctl GHCONNECT_UNIT=actions-sync.service`.
    const { peer, ...rest } = event
    log.info(`audit ${row.event}`, { ...rest, ...peer, sequence: row.sequence, hash: row.hash })
  }
  const payDebts = (): void => {
    for (let event = owed[0]; event; event = owed[0]) {
      write(event)
      owed.shift()
    }
  }
  const record = (event: Omit<AuditEvent, 'atMs'>): void => {
    payDebts()
    write({ ...event, atMs: clock.now() })
  }
  const flush = (): void => {
    payDebts()
    for (const repeats of [grants, denials]) {
      for (const [key, { event, count }] of repeats) {
        if (count > 0) record({ ...event, count })
        // Only now: what could not be written is tried again.
        const known = repeats.get(key)
        if (known) known.written = true
        repeats.delete(key)
      }
    }
    deniedTo.clear()
  }
  const flushLater = (): void => {
    if (flushing) return
    flushing = true
    clock.after(FLUSH_MS, () => {
      flushing = false
      try {
        flush()
      } catch (error) {
        log.error('the audit log cannot be written', { error })
        flushLater()
      }
    })
  }
  const count = (repeats: Map<string, Repeats>, key: string, more: Repeats): Repeats => {
    const known = repeats.get(key)
    if (known) known.count += more.count
    else repeats.set(key, more)
    flushLater()
    return known ?? more
  }

  return {
    record,
    owe(event) {
      owed.push({ ...event, atMs: clock.now() })
      try {
        payDebts()
      } catch (error) {
        log.error('the audit log cannot be written; what happened is noted later', { error })
        flushLater()
      }
    },
    findTrouble: () => trouble,
    flush,
    granted(grant) {
      const { profile, scope } = grant
      const token = grant.token.reveal()
      const known = seen.get(grant.connection)
      const latest = known?.latest
      if (
        latest &&
        !latest.repeats.written &&
        latest.token === token &&
        latest.scope === scope &&
        latest.profile === profile
      ) {
        latest.repeats.count += 1
        return
      }
      const ofConnection = known ?? { scopes: new Map<string, string>() }
      const { scopes } = ofConnection
      if (!known) seen.set(grant.connection, ofConnection)
      const name = `${profile}\n${scope}`
      if (scopes.get(name) === token) {
        const repeats = count(grants, `${grant.peer.pid}\n${name}`, { event: repeatOf(grant), count: 1 })
        ofConnection.latest = { profile, scope, token, repeats }
        return
      }
      record({ ...repeatOf(grant), hashedToken: hashToken(grant.token) })
      scopes.set(name, token)
    },
    denied({ peer, detail, wanted }) {
      const who = `${peer.uid}\n${peer.unit ?? ''}`
      const known = `${who}\n${detail}\n${wanted ?? ''}`
      const about = { event: 'token.deny', peer: nameOf(peer) }
      const event = { ...about, ...(wanted !== undefined && { scope: wanted }), detail }
      const times = deniedTo.get(who) ?? 0
      if (denials.has(known)) count(denials, known, { event, count: 1 })
      else if (denials.size >= MAX_DENIALS) {
        count(denials, 'flood', { event: { event: 'token.deny', detail: 'further denials' }, count: 1 })
      } else if (times >= MAX_DENIALS_OF_ONE) {
        count(denials, who, { event: { ...about, detail: 'further denials of this caller' }, count: 1 })
      } else {
        record(event)
        deniedTo.set(who, times + 1)
        count(denials, known, { event, count: 0 })
      }
    },
  }
}

/** GitHub's own `hashed_token`: joins our audit log to GitHub's. */
export const hashToken = (token: Secret): string => createHash('sha256').update(token.reveal()).digest('base64')

/** The base64 of callers may be the URL's alphabet and without padding. */
export const sameHash = (ours: string, theirs: string): boolean =>
  ours.replace(/=+$/, '') === theirs.replace(/=+$/, '').replaceAll('-', '+').replaceAll('_', '/')

export const nameOf = (peer: Peer): NonNullable<AuditEvent['peer']> => ({
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
