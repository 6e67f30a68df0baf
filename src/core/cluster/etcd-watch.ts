// A watch that goes on: it finds a member that answers, resumes where it was, and says so when it cannot.

import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import { endStream } from './etcd-round.ts'
import type { KeyValue, Keys } from './etcd-requests.ts'
import type { Watch, WatchHandlers } from './etcd-types.ts'

export type Header = { readonly cluster_id: string; readonly raft_term: string; readonly revision: string }

type Response = {
  readonly header: Header
  readonly created: boolean
  readonly canceled: boolean
  readonly compact_revision: string
  readonly cancel_reason: string
  readonly events: readonly { readonly type: string; readonly kv: KeyValue }[]
}

export type WatchStream = {
  on(event: 'data', listener: (response: Response) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end', listener: () => void): unknown
  write(request: {
    create_request?: { key: Buffer; range_end: Buffer; start_revision: string }
    progress_request?: Record<string, never>
  }): void
  end(): void
  cancel(): void
}

export type WatchDeps = {
  /** A stream to the next member in turn. */
  readonly open: () => Promise<WatchStream>
  /** How many members these are. */
  readonly members: number
  /** The member may have forgotten who this is. */
  readonly forget: () => void
  readonly keys: Keys
  readonly clock: Clock
  readonly log: Log
  readonly heartbeatMs: number
}

/** Between two tries; the first after an end comes at once. */
const PAUSE_MS = 200

export const openWatch = (deps: WatchDeps, prefix: string, handlers: WatchHandlers): Watch => {
  const { clock, log } = deps
  let next = handlers.fromRevision
  let seen: { readonly cluster: string; readonly term: bigint } | undefined
  let stream: WatchStream | undefined
  let heartbeat: Timer | undefined
  let failures = 0
  let behind = 0
  let over = false

  const end = (): void => {
    over = true
    drop()
  }

  const drop = (): void => {
    heartbeat?.cancel()
    const current = stream
    stream = undefined
    if (current) endStream(current)
  }

  const again = (why: string): void => {
    if (over) return
    drop()
    log.debug('the watch on etcd broke off', { prefix, why })
    // A member that cannot be reached fails at once, and all of them may be so.
    if (failures++ === 0) void connect()
    else clock.after(PAUSE_MS, () => void connect())
  }

  /** A restored etcd counts terms from an earlier point, or is another cluster by its id. */
  const isOtherHistory = ({ cluster_id: cluster, raft_term }: Header): boolean => {
    const term = BigInt(raft_term)
    const other = seen !== undefined && (seen.cluster !== cluster || term < seen.term)
    seen = { cluster, term }
    return other
  }

  const resync = (): void => {
    end()
    handlers.onResync()
  }

  const receive = (response: Response): void => {
    failures = 0
    if (BigInt(response.compact_revision) > 0n) return resync()
    if (response.canceled) {
      deps.forget()
      return again(response.cancel_reason)
    }
    if (response.created) {
      if (isOtherHistory(response.header)) return resync()
      if (BigInt(response.header.revision) < next - 1n) {
        // A follower may be a moment behind the member that told our revision. All of them are only where etcd was restored.
        if (++behind > deps.members) return resync()
        return again('the member is behind')
      }
      behind = 0
    }
    const byRevision = Map.groupBy(response.events, event => BigInt(event.kv.mod_revision))
    for (const [revision, events] of byRevision) {
      next = revision + 1n
      handlers.onChange(events.map(deps.keys.changeOf), revision)
      if (over) return
    }
  }

  const connect = async (): Promise<void> => {
    if (over) return
    let opened: WatchStream
    try {
      opened = await deps.open()
    } catch (error) {
      return again(error instanceof Error ? error.message : String(error))
    }
    const current = opened
    let heard = true
    let missed = 0
    // The listener for errors stays: a stream that is cancelled ends with one.
    current.on('error', error => stream === current && again(error.message))
    current.on('end', () => stream === current && again('the member ended it'))
    current.on('data', response => {
      heard = true
      if (stream === current) receive(response)
    })
    if (over) return endStream(current)
    stream = current
    current.write({ create_request: { ...deps.keys.rangeOf(prefix), start_revision: String(next) } })
    // A member that hangs, or that the network swallows, says nothing: it is asked how far it is.
    heartbeat = clock.every(deps.heartbeatMs, () => {
      missed = heard ? 0 : missed + 1
      heard = false
      if (missed > 1) again('the member says nothing')
      else current.write({ progress_request: {} })
    })
  }

  void connect()
  return { close: end }
}
