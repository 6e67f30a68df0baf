// The state of the connection: one writer, one place where a change is stored, told and audited, and the state of one that was restored.

import {
  type Connection,
  explainConnection,
  explainWaiting,
  type Host,
  isLive,
  isOtherHost,
  type Live,
  mayServe,
} from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'
import type { Events } from '../audit/events.ts'
import type { ConnectionChange, StoreChange } from '../store/tables.ts'
import type { Store } from '../store/database.ts'
import type { ChangeOptions, Membership } from './membership.ts'

export type ConnectionState = ReturnType<typeof createConnectionState>

export const createConnectionState = (deps: {
  store: Store
  events: Events
  audit: AuditWriter
  githubUrl: () => string
  membership?: () => Membership | undefined
  /** A sealed bundle that waits for its recovery key. */
  findWaiting?: () => { readonly account?: { readonly login: string }; readonly hostname: string } | undefined
}) => {
  const { store, events, audit } = deps
  let last: Promise<unknown> = Promise.resolve()

  /** Runs `task` alone on this node: for what is learned, not decided. */
  const serially = <T>(task: () => Promise<T>): Promise<T> => {
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
    /** Throws `not-connected`, `key-lost` or `quarantined` unless tokens may be served, or why this node may serve nothing. */
    requireServing(): Live {
      const shut = deps.membership?.()?.whyNotServing()
      if (shut) throw shut
      const { connection } = store.connection.read()
      if (mayServe(connection) && isLive(connection)) return connection
      const waiting = connection.kind === 'disconnected' ? deps.findWaiting?.() : undefined
      const { meaning, next } = waiting
        ? explainWaiting(waiting.account?.login ?? waiting.hostname)
        : explainConnection(connection, deps.githubUrl())
      const { kind } = connection
      throw new Failure(kind === 'quarantined' || kind === 'key-lost' ? kind : 'not-connected', meaning, { next })
    },
    /** Durable on return; then told. */
    transition(connection: Connection, change: Omit<ConnectionChange, 'connection'> = {}): void {
      const before = store.connection.read().connection
      store.connection.write({ ...change, connection })
      announce(before, connection)
      deps.membership?.()?.changed()
    },
    /** Like `transition`, into a store with a new key: what was there before cannot be read any more. Nothing but `change` is carried over. */
    shred(connection: Connection, change: Omit<StoreChange, 'connection'> = {}): void {
      const before = store.connection.read().connection
      store.replace({ installations: [], keys: [], newGeneration: true, ...change, connection })
      announce(before, connection)
      deps.membership?.()?.changed()
    },
    explain: () => explainConnection(store.connection.read().connection, deps.githubUrl()),
    /** Runs `task` alone: what changes the state reads it, and decides, while nobody else does, on no node of the cluster. */
    exclusively: <T>(task: () => Promise<T>, options: ChangeOptions = {}): Promise<T> =>
      serially(() => deps.membership?.()?.change(task, options) ?? task()),
    serially,
  }
}

const stepOf = (connection: Connection): string | undefined => {
  if (connection.kind === 'disconnecting') return connection.step
  if (connection.kind === 'awaiting-app') return connection.conversion ? 'conversion' : connection.state
  return undefined
}

/** What a live connection keeps from state to state. */
export const established = ({ app, account, host, enabledAtMs }: Live) => ({ app, account, host, enabledAtMs })

/**
 * Called when the store is opened, and at each beat, as the machine's name may change under a running daemon: a clone must not compete with
 * its original, so it is recognised before anything is served or goes out.
 */
export const quarantineIfMoved = ({
  connectionState,
  clock,
  host,
  isHome = () => false,
}: {
  connectionState: ConnectionState
  clock: { now(): number }
  host: () => Host
  /** Machines of one cluster are no clones of each other. */
  isHome?: (host: Host) => boolean
}): void => {
  const { connection } = connectionState.read()
  const here = host()
  if (!isLive(connection) || connection.kind === 'quarantined' || !isOtherHost(connection.host, here)) return
  if (isHome(connection.host)) return
  const evidence = `enabled on ${connection.host.hostname}, this is ${here.hostname}`
  connectionState.transition({ ...established(connection), kind: 'quarantined', sinceMs: clock.now(), evidence })
}

/** The state in which a restored connection begins on this machine, and sentences for whoever reads the backup's log. */
export const arrive = (
  was: Connection,
  here: { host: Host; nowMs: number; isHome?: (host: Host) => boolean },
): { readonly connection: Connection; readonly warnings: readonly string[] } => {
  if (was.kind === 'awaiting-app') {
    const remark = `Enabling for ${was.account.login} was under way when the snapshot was taken; it has to be started anew.`
    return { connection: { kind: 'disconnected', sinceMs: here.nowMs, remark }, warnings: [remark] }
  }
  if (!isLive(was)) return { connection: was, warnings: [] }
  const { host } = was
  const kept = { ...established(was), sinceMs: here.nowMs }
  const isHome = here.isHome?.(host) ?? false
  if (isOtherHost(host, here.host) && !isHome) {
    const evidence = `enabled on ${host.hostname}, restored on ${here.host.hostname}`
    const warning = `These credentials were ${evidence}: they are quarantined until \`ghconnect adopt\`, or \`ghconnect disable --local\`.`
    return { connection: { kind: 'quarantined', evidence, ...kept }, warnings: [warning] }
  }
  const moved = !isHome && (host.hostname !== here.host.hostname || host.machineId !== here.host.machineId)
  const warnings = moved
    ? [
        `The credentials were enabled on ${host.hostname}; they go on here, on a machine that has one mark in common with it.`,
      ]
    : []
  if (was.kind === 'quarantined') return { connection: { kind: 'connected', ...kept }, warnings }
  if (was.kind !== 'disconnecting') return { connection: was, warnings }
  // Its time begins anew: one that ran out long ago would shred the key before GitHub was asked once.
  const deadlineMs = here.nowMs + (was.deadlineMs - was.sinceMs)
  const goesOn = 'The connection was being disabled when the snapshot was taken; that goes on.'
  return { connection: { ...was, sinceMs: here.nowMs, deadlineMs }, warnings: [...warnings, goesOn] }
}
