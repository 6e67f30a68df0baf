// A node's session with etcd: one lease, all that stands there, and each change of it from then on. Begun anew by itself whenever it ends.

import { asFailure, type Failure } from '../../protocol/errors.ts'
import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Change, Entry, Etcd, Lease, Watch } from './etcd.ts'

const RETRY_MS = 1_000

export const createSession = (deps: {
  etcd: Etcd
  clock: Clock
  log: Log
  ttlSeconds: number
  /** All entries of one revision: takes the place of what was known. */
  onList(entries: readonly Entry[]): void
  /** There is a lease to write under. After the list, which tells what the others can open. */
  onLease(): void
  onChange(change: Change): void
  onTouch(inTouch: boolean): void
}) => {
  const { etcd, clock, log } = deps
  let lease: Lease | undefined
  let watch: Watch | undefined
  let retry: Timer | undefined
  let trouble: Failure | undefined
  let connecting: Promise<void> | undefined
  let again = false
  let listed = false
  let stopped = false
  let told: boolean | undefined

  /** Whether what this node knows of the cluster is current. Right also in a process that was stopped and goes on. */
  const inTouch = (): boolean => listed && lease !== undefined && lease.isHeld() && etcd.isReachable()
  const tell = (): void => {
    const now = inTouch()
    if (now === told) return
    told = now
    deps.onTouch(now)
  }

  const connect = (): Promise<void> => {
    if (connecting) {
      again = true
      return connecting
    }
    connecting = attempt().finally(() => {
      connecting = undefined
      if (!again || stopped) return
      again = false
      void connect()
    })
    return connecting
  }

  const attempt = async (): Promise<void> => {
    retry?.cancel()
    watch?.close()
    listed = false
    try {
      if (!lease?.isHeld()) {
        const granted = await etcd.lease(deps.ttlSeconds)
        if (stopped) return await granted.revoke()
        // What hangs on a former one must not outlive it: a process that was stopped may find it renewed again.
        void lease?.revoke()
        lease = granted
        granted.onLost(() => {
          if (lease !== granted || stopped) return
          tell()
          void connect()
        })
      }
      const { entries, revision } = await etcd.list('')
      if (stopped) return
      listed = true
      trouble = undefined
      deps.onList(entries)
      // Before the entry is written, which says since when this node is in touch.
      tell()
      deps.onLease()
      watch = etcd.watch('', {
        fromRevision: revision + 1n,
        onChange(changes) {
          for (const change of changes) deps.onChange(change)
        },
        onResync: () => void connect(),
      })
    } catch (error) {
      trouble = asFailure(error)
      log.debug('the cluster cannot be reached', { error: trouble })
      if (!stopped) retry = clock.after(RETRY_MS, () => void connect())
    } finally {
      tell()
    }
  }

  etcd.onReachable(reachable => {
    if (stopped) return
    tell()
    // What came meanwhile is told by the watch; that nothing was lost is certain after a list.
    if (reachable && listed) void connect()
  })

  return {
    /** Resolves when the first attempt has ended, in touch or not. */
    start(): Promise<void> {
      stopped = false
      return connect()
    },
    lease: (): Lease | undefined => lease,
    inTouch,
    /** Why not, where a call said it. */
    findTrouble: () => (inTouch() ? undefined : trouble),
    /** Lists again: something does not fit. */
    resync: (): void => void connect(),
    /** Gives the lease back. Never throws. */
    async stop(): Promise<void> {
      stopped = true
      retry?.cancel()
      watch?.close()
      listed = false
      told = undefined
      const given = lease
      lease = undefined
      await given?.revoke()
    },
  }
}
