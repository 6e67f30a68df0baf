// GET /v1/audit?follow=true: the audit log as server-sent events, row by row as the listener reads them; none is left out.

import type { ServerResponse } from 'node:http'
import type { AuditRowBody } from '../../protocol/wire-policy.ts'
import type { AuditLog } from '../audit/audit.ts'
import type { Clock } from '../../service/clock.ts'

const PING_MS = 15_000
/** Rows of a busy moment go out together. */
const PAUSE_MS = 50
const ROWS_AT_ONCE = 200

export const streamAudit = (
  outgoing: ServerResponse,
  deps: { auditLog: AuditLog; clock: Pick<Clock, 'every' | 'after'>; from: { after?: number; limit: number } },
): void => {
  const { auditLog, clock } = deps
  let sent = 0
  let waiting = false
  let ended = false

  const send = (rows: readonly AuditRowBody[]): void => {
    for (const row of rows) {
      outgoing.write(`event: audit\nid: ${row.sequence}\ndata: ${JSON.stringify(row)}\n\n`)
      sent = row.sequence
    }
  }
  /** A slow listener keeps nothing in memory: what it has not read yet is read from the log when it is. */
  const pump = (): void => {
    waiting = false
    if (ended) return
    try {
      const rows = auditLog.read({ after: sent, limit: ROWS_AT_ONCE })
      send(rows)
      if (outgoing.writableNeedDrain) {
        waiting = true
        outgoing.once('drain', pump)
      } else if (rows.length === ROWS_AT_ONCE) pumpSoon()
    } catch {
      // The log is closed or damaged: whoever listens connects anew, and is told.
      outgoing.destroy()
    }
  }
  const pumpSoon = (): void => {
    if (waiting) return
    waiting = true
    clock.after(PAUSE_MS, pump)
  }

  const first = auditLog.read(deps.from)
  sent = deps.from.after ?? 0
  outgoing.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  outgoing.write(': rows of the audit log\n\n')
  send(first)
  const finish = (): void => {
    if (ended) return
    ended = true
    ping.cancel()
    unfollow()
    outgoing.off('drain', pump)
  }
  const unfollow = auditLog.follow(pumpSoon, () => {
    finish()
    outgoing.end()
  })
  const ping = clock.every(PING_MS, () => void outgoing.write(': ping\n\n'))
  outgoing.once('close', finish)
  pumpSoon()
}
