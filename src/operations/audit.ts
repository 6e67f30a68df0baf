// The audit log as administrators read it: row by row, as it grows, and proven; what is old moves to the archive.

import { asFailure, Failure } from '../domain/errors.ts'
import { isoTime } from '../domain/wire.ts'
import type { AuditRowBody, AuditVerdict } from '../domain/wire-policy.ts'
import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { AuditArchive } from '../store/audit-archive.ts'
import type { AuditRow, AuditStore, Link } from '../store/audit-store.ts'

export type AuditLog = {
  /** What the trail writes to: whoever follows is told of each row. */
  readonly store: AuditStore
  /** Rows behind `after`, oldest first; without it the last ones. Archived rows are among them. */
  read(options: { after?: number; limit: number }): readonly AuditRowBody[]
  /** Each new row, until the end of the subscription, which is returned. `onEnd` is called where the log is closed. */
  follow(listener: (row: AuditRowBody) => void, onEnd?: () => void): () => void
  /** Follows the chain from the oldest row that is held. Others are served meanwhile. Throws what reading throws, but for damage. */
  verify(): Promise<AuditVerdict>
  /** Moves what is more than the log is to hold to the archive. Never throws: it is tried again. */
  rotate(): void
  close(): void
}

/** About 8 MB: as much as is looked through at each start. */
const KEPT_ROWS = 20_000
const ROTATE_MS = 10 * 60_000
/** Takes about 5 ms. */
const ROWS_AT_ONCE = 250

export const createAuditLog = (deps: {
  audit: AuditStore
  archive: AuditArchive
  clock: Pick<Clock, 'every' | 'sleep'>
  log: Log
  keptRows?: number
}): AuditLog => {
  const { audit, archive, clock, log, keptRows = KEPT_ROWS } = deps
  const listeners = new Map<(row: AuditRowBody) => void, () => void>()

  const rotate = (): void => {
    try {
      const rows = audit.rotate({ keep: keptRows, moveOut: archive.append })
      if (rows > 0) log.info('old rows of the audit log were moved to the archive', { rows })
    } catch (error) {
      log.error('the audit log could not be rotated', { error: asFailure(error) })
    }
  }
  const timer = clock.every(ROTATE_MS, rotate)

  const rowsBehind = (after: number, limit: number): readonly AuditRow[] => {
    const old = after < audit.anchor().sequence ? archive.list({ after, limit }) : []
    const at = Math.max(after, old.at(-1)?.sequence ?? after)
    return [...old, ...(old.length < limit ? audit.list({ after: at, limit: limit - old.length }) : [])]
  }

  /** A rotation may go on meanwhile: where a row stands is asked anew for each step. */
  const step = (from: Link): Link => {
    const anchor = audit.anchor().sequence
    if (from.sequence >= anchor) return audit.check(from, ROWS_AT_ONCE)
    const next = archive.check(from, ROWS_AT_ONCE)
    if (next.sequence > from.sequence) return next
    throw new Failure('store-corrupt', `row ${from.sequence + 1} of the audit log is missing`)
  }

  return {
    store: {
      ...audit,
      append(event) {
        const row = audit.append(event)
        if (listeners.size > 0) for (const listener of listeners.keys()) listener(toBody(row))
        return row
      },
    },
    read({ after, limit }) {
      const from = after ?? Math.max(0, audit.head().sequence - limit)
      return rowsBehind(from, limit).map(toBody)
    },
    follow(listener, onEnd = () => {}) {
      listeners.set(listener, onEnd)
      return () => void listeners.delete(listener)
    },
    async verify() {
      const start = archive.anchor() ?? audit.anchor()
      let at = start
      const verdict = (): Omit<AuditVerdict, 'intact'> => ({
        first: at.sequence > start.sequence ? start.sequence + 1 : 0,
        last: at.sequence,
        last_hash: at.hash,
      })
      try {
        for (let next = step(at); next.sequence > at.sequence; next = step(at)) {
          at = next
          // Whoever waits for a token comes first.
          await clock.sleep(0)
        }
        return { intact: true, ...verdict() }
      } catch (error) {
        const failure = asFailure(error)
        if (failure.code !== 'store-corrupt') throw failure
        return { intact: false, ...verdict(), problem: failure.message }
      }
    },
    rotate,
    close() {
      timer.cancel()
      for (const onEnd of listeners.values()) onEnd()
      listeners.clear()
      archive.close()
    },
  }
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
