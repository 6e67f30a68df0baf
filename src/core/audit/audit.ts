// The audit log as administrators read it: row by row, as it grows, and proven; what is old moves to the archive.

import { asFailure, Failure } from '../../protocol/errors.ts'
import { isoTime } from '../../protocol/wire.ts'
import type { AuditRowBody, AuditVerdict } from '../../protocol/wire-policy.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { AuditArchive } from './audit-archive.ts'
import type { Drop } from './audit-chain.ts'
import type { AuditEvent, AuditRow, AuditStore, Link } from './audit-store.ts'

export type AuditLog = ReturnType<typeof createAuditLog>

/** About 8 MB: as much as is looked through at each start. */
const KEPT_ROWS = 20_000
const ROTATE_MS = 60_000
/** Takes about 2 ms, and ten where each names hundreds of repositories. */
const ROWS_AT_ONCE = 250
/** Moved in one turn of the event loop: each is written to one file, and overwritten in the other. */
export const MOVED_AT_ONCE = 15
/** Lets those who wait for an answer go first: after rows that were moved, and after a file that was dropped. */
const MOVE_PAUSE_MS = 3
const DROP_PAUSE_MS = 5
/** With less than this free, the archive makes room, so that the next rows can be written; */
const SPARE_BYTES = 64 * 1024 * 1024
/** but keeps a quarter: a process that can fill the disk must not be able to empty the log. */
const KEPT_SHARE = 1 / 4

export const createAuditLog = (deps: {
  auditStore: AuditStore
  archive: AuditArchive
  clock: Pick<Clock, 'every' | 'sleep'>
  log: Log
  /** [audit] max_size */
  maxBytes: () => number
  /** Where the files are; undefined where it cannot be told. */
  freeBytes: () => number | undefined
  /** As of the audit log. */
  record: (event: Omit<AuditEvent, 'atMs'>) => void
  keptRows?: number
}) => {
  const { auditStore, archive, clock, log, maxBytes, keptRows = KEPT_ROWS } = deps
  const listeners = new Map<(row: AuditRowBody) => void, () => void>()
  let rotating: Promise<void> | undefined
  const ended = new AbortController()

  /** Fewer where the rows are large. */
  const rowsToKeep = (): number => {
    const { db } = auditStore.bytes()
    const most = maxBytes() * KEPT_SHARE
    return db <= most ? keptRows : Math.floor((keptRows * most) / db)
  }
  const dropOldest = async (): Promise<void> => {
    while (!ended.signal.aborted) {
      const oldest = archive.findOldest()
      if (!oldest) return
      const { db, wal } = auditStore.bytes()
      const bytes = db + wal + archive.bytes()
      const free = deps.freeBytes() ?? Number.POSITIVE_INFINITY
      if (bytes <= (free < SPARE_BYTES ? maxBytes() * KEPT_SHARE : maxBytes())) return
      deps.record(dropEvent(oldest))
      archive.drop(oldest)
      log.info('the oldest rows of the audit log were dropped', { first: oldest.first, last: oldest.last.sequence })
      await clock.sleep(DROP_PAUSE_MS, ended.signal)
    }
  }
  const moveOld = async (): Promise<void> => {
    const step = { limit: MOVED_AT_ONCE, moveOut: archive.append }
    let rows = 0
    for (let moved = 1; moved > 0 && !ended.signal.aborted; rows += moved) {
      moved = auditStore.rotate({ keep: rowsToKeep(), ...step })
      await clock.sleep(MOVE_PAUSE_MS, ended.signal)
    }
    if (rows > 0) log.info('old rows of the audit log were moved to the archive', { rows })
  }
  const rotateNow = async (): Promise<void> => {
    try {
      await dropOldest()
      await moveOld()
      await dropOldest()
    } catch (error) {
      log.error('the audit log could not be rotated', { error: asFailure(error) })
    }
  }
  const rotate = (): Promise<void> => {
    rotating ??= rotateNow().finally(() => {
      rotating = undefined
    })
    return rotating
  }
  const timer = clock.every(ROTATE_MS, () => void rotate())

  const tell = (rows: readonly AuditRow[]): void => {
    if (listeners.size === 0) return
    for (const row of rows.map(toBody)) for (const listener of listeners.keys()) listener(row)
  }

  const rowsBehind = (after: number, limit: number): readonly AuditRow[] => {
    const old = after < auditStore.anchor().sequence ? archive.list({ after, limit }) : []
    const at = Math.max(after, old.at(-1)?.sequence ?? after)
    return [...old, ...(old.length < limit ? auditStore.list({ after: at, limit: limit - old.length }) : [])]
  }

  /** The place before the first row that is held. */
  const beginning = (): Link => archive.anchor() ?? auditStore.anchor()

  /** A rotation may run meanwhile: where a row stands is asked again for each step. */
  const step = (from: Link, see: (row: AuditRow) => void): Link => {
    const anchor = auditStore.anchor().sequence
    if (from.sequence >= anchor) return auditStore.check(from, ROWS_AT_ONCE, see)
    const next = archive.check(from, ROWS_AT_ONCE, see)
    if (next.sequence > from.sequence) return next
    throw new Failure('store-corrupt', `row ${from.sequence + 1} of the audit log is missing`)
  }

  /** Throws `store-corrupt`. `told`: the place before the first row, and that of the last one so far. */
  const followChain = async (told: (start: Link, at: Link) => void): Promise<void> => {
    const drops = new Map<number, string>()
    const see = (row: AuditRow): void => {
      const last = findDropped(row)
      if (last) drops.set(last.sequence, last.hash)
    }
    let start = beginning()
    let at = start
    for (;;) {
      told(start, at)
      const next = step(at, see)
      if (next.sequence === at.sequence) break
      at = next
      // Those who wait for a token come first.
      await clock.sleep(0)
      const now = beginning()
      if (now.sequence > start.sequence) start = now
      if (start.sequence > at.sequence) at = start
    }
    if (start.sequence > 0 && drops.get(start.sequence) !== start.hash) {
      throw new Failure(
        'store-corrupt',
        `rows 1 to ${start.sequence} of the audit log are missing, and no row says that they were dropped`,
      )
    }
  }

  const verifyNow = async (): Promise<AuditVerdict> => {
    let verdict: Omit<AuditVerdict, 'intact'> = { first: 0, last: 0, last_hash: '' }
    try {
      await followChain((start, at) => {
        const first = at.sequence > start.sequence ? start.sequence + 1 : 0
        verdict = { first, last: at.sequence, last_hash: at.hash }
      })
      return { intact: true, ...verdict }
    } catch (error) {
      const failure = asFailure(error)
      if (failure.code !== 'store-corrupt') throw failure
      return { intact: false, ...verdict, problem: failure.message }
    }
  }
  let underWay: Promise<unknown> = Promise.resolve()
  let next: Promise<AuditVerdict> | undefined
  const begin = async (): Promise<AuditVerdict> => {
    await underWay
    next = undefined
    const verdict = verifyNow()
    underWay = verdict.catch(() => undefined)
    return verdict
  }

  return {
    /** What the audit writer writes to: whoever follows is told of each row. */
    store: {
      ...auditStore,
      append(event: AuditEvent): AuditRow {
        const row = auditStore.append(event)
        tell([row])
        return row
      },
      appendAll(events: readonly AuditEvent[]): readonly AuditRow[] {
        const rows = auditStore.appendAll(events)
        tell(rows)
        return rows
      },
      appendSoon(events: readonly AuditEvent[]) {
        const appended = auditStore.appendSoon(events)
        tell(appended.rows)
        return appended
      },
    },
    /** Rows behind `after`, oldest first; without it the last ones. Archived rows are among them. */
    read({ after, limit }: { after?: number; limit: number }): readonly AuditRowBody[] {
      const from = after ?? Math.max(0, auditStore.head().sequence - limit)
      return rowsBehind(from, limit).map(toBody)
    },
    /** Each new row, until the end of the subscription, which is returned. `onEnd` is called where the log is closed. */
    follow(listener: (row: AuditRowBody) => void, onEnd: () => void = () => {}): () => void {
      listeners.set(listener, onEnd)
      return () => void listeners.delete(listener)
    },
    /**
     * Follows the chain from the oldest row that is held. Others are served meanwhile. All who ask while the chain is followed share the
     * next time, which begins after they asked. Throws what reading throws, but for damage.
     */
    verify: (): Promise<AuditVerdict> => (next ??= begin()),
    /**
     * Moves what is more than the log is to hold to the archive, a few rows a turn, and drops the archive's oldest files where both take more
     * of the disk than they may. Never rejects: it is tried again.
     */
    rotate,
    close(): void {
      ended.abort()
      timer.cancel()
      for (const onEnd of listeners.values()) onEnd()
      listeners.clear()
      archive.close()
    },
  }
}

/** The event that is durable before the rows go: by it, `verify` knows a drop from a removal. */
const dropEvent = ({ first, last }: Drop): Omit<AuditEvent, 'atMs'> => ({
  event: 'audit.dropped',
  detail: `rows ${first} to ${last.sequence}, the last one with hash ${last.hash}`,
})

/** The last of the rows that this row says were dropped. */
const findDropped = ({ event, detail = '' }: AuditEvent): Link | undefined => {
  if (event !== 'audit.dropped') return undefined
  const [, sequence, hash = ''] = /^rows \d+ to (\d{1,15}), the last one with hash ([0-9a-f]{64})$/.exec(detail) ?? []
  return sequence === undefined ? undefined : { sequence: Number(sequence), hash }
}

const toBody = ({ sequence, atMs, peer, hashedToken, hash, ...event }: AuditRow): AuditRowBody => {
  const { event: name, profile, scope, detail, count } = event
  return {
    sequence,
    at: isoTime(atMs),
    event: name,
    ...(peer && { pid: peer.pid, uid: peer.uid, ...(peer.unit !== undefined && { unit: peer.unit }) }),
    ...(profile !== undefined && { profile }),
    ...(scope !== undefined && { scope }),
    ...(hashedToken !== undefined && { hashed_token: hashedToken }),
    ...(detail !== undefined && { detail }),
    ...(count !== undefined && { count }),
    hash,
  }
}
