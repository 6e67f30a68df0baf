// The connection's connectionState from state to state: one writer, one place where a change is stored, told and audited.

import {
  type Connection,
  explainConnection,
  explainWaiting,
  type Explanation,
  isLive,
  type Live,
  mayServe,
} from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { ConnectionChange, ConnectionRecord, StoreChange } from '../store/connection-store.ts'
import type { Store } from '../store/database.ts'
import type { ChangeOptions, Membership } from './membership.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'
import type { Events } from '../audit/events.ts'

export type ConnectionState = {
  read(): ConnectionRecord
  /** Throws `not-connected` or `quarantined` unless tokens may be served. */
  requireServing(): Live
  /** Durable on return; then told. */
  transition(connection: Connection, change?: Omit<ConnectionChange, 'connection'>): void
  /** Like `transition`, into a store with a new key: what was there before cannot be read any more. Nothing but `change` is carried over. */
  shred(connection: Connection, change?: Omit<StoreChange, 'connection'>): void
  explain(): Explanation
  /** Runs `task` alone: what changes the state reads it, and decides, while nobody else does, on no node of the cluster. */
  exclusively<T>(task: () => Promise<T>, options?: ChangeOptions): Promise<T>
  /** Alone on this node: for what is learned, not decided. */
  serially<T>(task: () => Promise<T>): Promise<T>
}

export const createConnectionState = (deps: {
  store: Store
  events: Events
  audit: AuditWriter
  clock: Clock
  githubUrl: () => string
  membership?: () => Membership | undefined
  /** A sealed bundle that waits for its recovery key. */
  findWaiting?: () => { readonly account?: { readonly login: string }; readonly hostname: string } | undefined
}): ConnectionState => {
  const { store, events, audit } = deps
  let last: Promise<unknown> = Promise.resolve()

  const serially: ConnectionState['serially'] = task => {
    const run = last.then(task, task)
    last = run.catch(() => undefined)
    return run
  }

  const announce = (before: Connection, after: Connection): void => {
    if (before.kind === after.kind && stepOf(before) === stepOf(after)) return
    const { meaning, next } = explainConnection(after, deps.githubUrl())
    // The change is on the disk: that the log cannot be written must neither hide it nor stop what follows.
    audit.owe({ event: `connection.${after.kind}`, detail: `from ${before.kind}: ${meaning}` })
    if (after.kind === 'connected' && before.kind === 'awaiting-installation') {
      audit.owe({ event: 'dotcom_connection.create', detail: after.account.login })
    }
    if (after.kind === 'disconnected' && isLive(before)) {
      audit.owe({ event: 'dotcom_connection.destroy', detail: before.account.login })
    }
    events.emit({ event: 'state', state: after.kind, detail: meaning, next })
  }

  return {
    read: () => store.connection.read(),
    requireServing() {
      const shut = deps.membership?.()?.whyNotServing()
      if (shut) throw shut
      const { connection } = store.connection.read()
      if (mayServe(connection) && isLive(connection)) return connection
      const waiting = connection.kind === 'disconnected' ? deps.findWaiting?.() : undefined
      const { meaning, next } = waiting
        ? explainWaiting(waiting.account?.login ?? waiting.hostname)
        : explainConnection(connection, deps.githubUrl())
      throw new Failure(
        connection.kind === 'quarantined'
          ? 'quarantined'
          : connection.kind === 'key-lost'
            ? 'key-lost'
            : 'not-connected',
        meaning,
        { next },
      )
    },
    transition(connection, change = {}) {
      const before = store.connection.read().connection
      store.connection.write({ ...change, connection })
      announce(before, connection)
      deps.membership?.()?.changed()
    },
    shred(connection, change = {}) {
      const before = store.connection.read().connection
      store.replace({ installations: [], keys: [], newGeneration: true, ...change, connection })
      announce(before, connection)
      deps.membership?.()?.changed()
    },
    explain: () => explainConnection(store.connection.read().connection, deps.githubUrl()),
    exclusively(task, options = {}) {
      return serially(() => deps.membership?.()?.change(task, options) ?? task())
    },
    serially,
  }
}

const stepOf = (connection: Connection): string | undefined => {
  if (connection.kind === 'disconnecting') return connection.step
  if (connection.kind === 'awaiting-app') return connection.conversion ? 'conversion' : connection.state
  return undefined
}
