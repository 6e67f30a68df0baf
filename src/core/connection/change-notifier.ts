// Tells what changed at GitHub: an event and a row of the audit log for each, and no flood where something goes to and fro.

import type { Change } from './changes.ts'
import type { Clock } from '../../service/clock.ts'
import type { Events } from '../audit/events.ts'
import type { ConnectionState } from './connection-state.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'

export type ChangeNotifier = { tell(changes: readonly Change[]): void }

/** Of one thing so many changes are told within the window; then the next one tells how many there were. */
const TOLD = 3
const WINDOW_MS = 30 * 60_000

export const createChangeNotifier = (deps: {
  connectionState: Pick<ConnectionState, 'read'>
  audit: Pick<AuditWriter, 'owe'>
  events: Pick<Events, 'emit'>
  clock: Pick<Clock, 'monotonic'>
}): ChangeNotifier => {
  const told = new Map<string, { atMs: number[]; silent: number }>()

  /** Undefined where it is one too many. */
  const say = ({ event, subject, detail }: Change): string | undefined => {
    const now = deps.clock.monotonic()
    const key = `${event} ${subject}`
    const known = told.get(key) ?? { atMs: [], silent: 0 }
    told.set(key, known)
    known.atMs = known.atMs.filter(atMs => now - atMs < WINDOW_MS)
    if (known.atMs.length >= TOLD) {
      known.silent += 1
      return undefined
    }
    known.atMs.push(now)
    const { silent } = known
    known.silent = 0
    return silent === 0 ? detail : `${detail} (after ${silent} changes that were not told)`
  }

  return {
    tell(changes) {
      for (const change of changes) {
        const detail = say(change)
        if (detail === undefined) continue
        deps.audit.owe({ event: change.event, detail })
        deps.events.emit({ event: 'change', state: deps.connectionState.read().connection.kind, detail })
      }
    },
  }
}
