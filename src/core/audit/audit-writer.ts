// The audit log: what is recorded of each grant and change, durable before the answer, repeats counted.

import { asFailure, type Failure } from '../../protocol/errors.ts'
import { holderOf } from '../peers/holder.ts'
import type { Peer } from '../../protocol/profile.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { AuditEvent, AuditRow, AuditStore } from './audit-store.ts'
import { type Counted, createSeenGrants, type Event, type GrantRecord, nameOf, type SeenGrant } from './seen-grants.ts'

export { type GrantRecord, hashToken, nameOf } from './seen-grants.ts'

export type AuditWriter = ReturnType<typeof createAuditWriter>

/** What a connection was granted last: the same again is the usual case, and costs no look-up. */
type Latest = {
  readonly profile: string
  readonly scope: string
  readonly token: Secret
  readonly seen: SeenGrant
}

type Awaited = { readonly row: Event; readonly resolve: () => void; readonly reject: (error: unknown) => void }

const FLUSH_MS = 60_000
const NOTED_MS = 250
/** Rows in one write to the disk, and in one turn of the event loop: about 5 ms. */
const ROWS_AT_ONCE = 100
/** Lets those who wait for an answer go first. */
const PAUSE_MS = 5
/** Distinct denials that are counted apart within a minute; a flood of different ones shares one row. */
const MAX_DENIALS = 256
/** How many of them one holder has, whatever it asks for. */
const MAX_DENIALS_OF_ONE = 16
/** Events that wait for a log that cannot be written; the number of those beyond is kept. */
const MAX_OWED = 1_000
/** Counted grants that wait for their row. More are written before the next grant is answered. */
const MAX_PENDING = 40_000

export const createAuditWriter = (deps: { auditStore: AuditStore; clock: Clock; log: Log }) => {
  const { auditStore, clock, log } = deps
  const seen = createSeenGrants({ clock })
  const latestOf = new WeakMap<object, Latest>()
  /** Counted in this minute. */
  const repeated = new Set<Counted>()
  /** Counted in former minutes, and not written yet. */
  const due = new Set<Counted>()
  /** Apart, so that no number of grants leaves a denial without its own row. */
  const denials = new Map<string, Counted>()
  const deniedTo = new Map<string, number>()
  const owed: AuditEvent[] = []
  /** First grants and denials whose callers wait for their row. */
  const awaited: Awaited[] = []
  /** They are being written, or will be at the end of this turn. */
  let writing = false
  let lost = 0
  let flushing = false
  let noted = false
  let trouble: Failure | undefined

  const append = <T>(events: readonly AuditEvent[], how: (events: readonly AuditEvent[]) => T): T => {
    try {
      const appended = how(events)
      trouble = undefined
      return appended
    } catch (error) {
      trouble = asFailure(error)
      throw trouble
    }
  }
  const tell = (events: readonly AuditEvent[], rows: readonly AuditRow[]): void => {
    for (const [at, { peer, ...rest }] of events.entries()) {
      // Under names of their own in the journal: `journalctl GHCONNECT_UNIT=actions-sync.service`.
      const { sequence, hash } = rows[at] ?? {}
      log.info(`audit ${rest.event}`, { ...rest, ...shortened(rest), ...peer, sequence, hash })
    }
  }
  const write = (events: readonly AuditEvent[]): void => {
    if (events.length > 0) tell(events, append(events, auditStore.appendAll))
  }
  const lostRow = (): AuditEvent[] => {
    if (lost === 0) return []
    return [
      { event: 'audit.lost', atMs: clock.now(), detail: 'events while the log could not be written', count: lost },
    ]
  }
  /** What is owed comes first in the chain; `next` shares the last write with it, and both or neither are in the log then. */
  const withOwed = <T>(next: readonly AuditEvent[], last: (events: readonly AuditEvent[]) => T): T => {
    while (owed.length > ROWS_AT_ONCE) {
      write(owed.slice(0, ROWS_AT_ONCE))
      owed.splice(0, ROWS_AT_ONCE)
    }
    const done = last([...owed, ...lostRow(), ...next])
    owed.length = 0
    lost = 0
    return done
  }
  const writeInOrder = (next: readonly AuditEvent[] = []): void => withOwed(next, write)
  /** The same, but for the wait: resolves when they are durable. Throws where they cannot be written. */
  const writeSoon = (next: readonly AuditEvent[] = []): Promise<void> =>
    withOwed(next, events => {
      if (events.length === 0) return Promise.resolve()
      const { rows, durable } = append(events, auditStore.appendSoon)
      tell(events, rows)
      return durable
    })
  const record = (event: Event): void => writeInOrder([{ ...event, atMs: clock.now() }])
  const owe = (error: unknown): void => {
    log.error('the audit log cannot be written; what happened is noted later', { error })
    flushLater()
  }
  const payDebts = (): void => {
    try {
      writeInOrder()
    } catch (error) {
      owe(error)
    }
  }
  const payDebtsSoon = (): void => {
    noted = false
    try {
      writeSoon().catch(owe)
    } catch (error) {
      owe(error)
    }
  }
  const addDebt = (event: Event): void => {
    if (owed.length < MAX_OWED) owed.push({ ...event, atMs: clock.now() })
    else lost += 1
  }
  /** The row is durable when the promise resolves. What comes while the disk is at work shares the next write. */
  const recordSoon = (row: Event): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    awaited.push({ row, resolve, reject })
    if (!writing) setImmediate(() => void writeAwaited())
    writing = true
    return promise
  }
  const takeAwaited = (): readonly Awaited[] => awaited.splice(0, ROWS_AT_ONCE)
  const rowsOf = (some: readonly Awaited[]): AuditEvent[] => some.map(({ row }) => ({ ...row, atMs: clock.now() }))
  const refuse = (some: readonly Awaited[], error: unknown): void => {
    trouble = asFailure(error)
    for (const { reject } of some) reject(trouble)
  }
  const writeAwaited = async (): Promise<void> => {
    const some = takeAwaited()
    writing = some.length > 0
    if (!writing) return
    try {
      await writeSoon(rowsOf(some))
      for (const { resolve } of some) resolve()
    } catch (error) {
      refuse(some, error)
    }
    setImmediate(() => void writeAwaited())
  }
  const writeAwaitedNow = (): void => {
    while (awaited.length > 0) {
      const some = takeAwaited()
      try {
        writeInOrder(rowsOf(some))
        for (const { resolve } of some) resolve()
      } catch (error) {
        refuse(some, error)
      }
    }
  }
  const endMinute = (): void => {
    writeAwaitedNow()
    for (const one of [...repeated, ...denials.values()]) if (one.count > 0) due.add(one)
    repeated.clear()
    denials.clear()
    deniedTo.clear()
  }
  /** The next rows of what is due; false where none is. What could not be written stays. */
  const writeSome = (how = writeInOrder): boolean => {
    const some = [...due.values().take(ROWS_AT_ONCE)]
    how(some.map(({ event, count }) => ({ ...event, count, atMs: clock.now() })))
    for (const one of some) {
      one.count = 0
      due.delete(one)
    }
    return due.size > 0
  }
  const flushInTurns = (): void => {
    try {
      if (writeSome(rows => void writeSoon(rows).catch(owe))) clock.after(PAUSE_MS, flushInTurns)
    } catch (error) {
      owe(error)
    }
  }
  const flushLater = (): void => {
    if (flushing) return
    flushing = true
    clock.after(FLUSH_MS, () => {
      flushing = false
      endMinute()
      flushInTurns()
    })
  }
  const countGrant = (one: SeenGrant): void => {
    one.count += 1
    // It waits for its row already.
    if (one.count > 1) return
    repeated.add(one)
    flushLater()
  }
  const countDenial = (key: string, event: Event, count: number): void => {
    const known = denials.get(key)
    if (known) known.count += count
    else denials.set(key, { event, count })
    flushLater()
  }
  const addFirst = (grant: GrantRecord): SeenGrant => {
    if (repeated.size + due.size > MAX_PENDING) {
      endMinute()
      writeSome()
    }
    const { seen: one, row } = seen.add(grant)
    one.written = recordSoon(row).then(
      () => void delete one.written,
      error => {
        seen.forget(one)
        repeated.delete(one)
        throw error
      },
    )
    return one
  }

  return {
    /** Durable on return. Throws `audit-unavailable`: what cannot be written does not happen. */
    record,
    /** For what has happened already, and cannot be undone or kept waiting: written now, or as soon as the log takes it. */
    owe(event: Event): void {
      addDebt(event)
      payDebts()
    },
    /** The same where no answer depends on the row: it shares the write of the next one, and is written within `NOTED_MS` without one. */
    note(event: Event): void {
      addDebt(event)
      if (noted) return
      noted = true
      clock.after(NOTED_MS, payDebtsSoon)
    },
    /** Why the last record could not be written, or the next one cannot: a disk that is full. Undefined after one that was written. */
    // Space that is left now does not end it: inodes may be used up, or the record needs more. A record that was written does.
    findTrouble: (): Failure | undefined => trouble ?? auditStore.findFullDisk(),
    /** Writes all counted repeats at once; for a stop. Otherwise they are written each minute, a few a turn. */
    flush(): void {
      endMinute()
      while (writeSome());
    },
    /**
     * Repeats are counted, at once. The first grant of a process for this profile, scope and token is durable when the promise resolves:
     * it shares its write with others. Rejects with `audit-unavailable`.
     */
    granted(grant: GrantRecord): void | Promise<void> {
      const { connection, profile, scope, token } = grant
      const latest = latestOf.get(connection)
      if (
        latest &&
        !latest.seen.dropped &&
        latest.token === token &&
        latest.scope === scope &&
        latest.profile === profile
      ) {
        countGrant(latest.seen)
        return latest.seen.written
      }
      const found = seen.find(grant)
      if (found) countGrant(found)
      const one = found ?? addFirst(grant)
      latestOf.set(connection, { profile, scope, token, seen: one })
      return one.written
    },
    /**
     * `wanted`: the scope that was asked for, for a person. The first of its kind within a minute is durable when the promise resolves,
     * like a grant; others are counted.
     */
    denied({ peer, detail, wanted }: { peer: Peer; detail: string; wanted?: string }): void | Promise<void> {
      const who = holderOf(peer).name
      const known = JSON.stringify([who, detail, wanted])
      const about = { event: 'token.deny', peer: nameOf(peer) }
      const event = { ...about, ...(wanted !== undefined && { scope: wanted }), detail }
      const times = deniedTo.get(who) ?? 0
      if (denials.has(known)) countDenial(known, event, 1)
      else if (denials.size >= MAX_DENIALS) {
        countDenial('flood', { event: 'token.deny', detail: 'further denials' }, 1)
      } else if (times >= MAX_DENIALS_OF_ONE) {
        countDenial(who, { ...about, detail: 'further denials of this caller' }, 1)
      } else {
        deniedTo.set(who, times + 1)
        countDenial(known, event, 0)
        return recordSoon(event).catch((error: unknown) => {
          denials.delete(known)
          throw error
        })
      }
      return undefined
    },
  }
}

/** A line of the journal is cut at 48 KiB, and the row has the whole scope. */
const MAX_LOGGED = 1_000
const shortened = ({ scope }: AuditEvent): { scope?: string } =>
  scope !== undefined && scope.length > MAX_LOGGED
    ? { scope: `${scope.slice(0, MAX_LOGGED)} ... (${scope.length} characters)` }
    : {}

/** The base64 of callers may be the URL's alphabet and without padding. */
export const sameHash = (ours: string, theirs: string): boolean =>
  ours.replace(/=+$/, '') === theirs.replace(/=+$/, '').replaceAll('-', '+').replaceAll('_', '/')
