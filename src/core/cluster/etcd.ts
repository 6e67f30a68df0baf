// etcd as the cluster uses it: entries, transactions on revisions, watches and leases, below the name of the cluster.

import { Failure } from '../../protocol/errors.ts'
import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import {
  createMember,
  createMembers,
  isLeaseGone,
  loadGrpc,
  type MemberOptions,
  type Members,
  type WatchStream,
} from './etcd-members.ts'
import type { KeyValue, Reply, Request } from './etcd-messages.ts'

/**
 * A key with its value. `key` is without the namespace. Revisions are etcd's: one counter for the whole of an etcd, so that any
 * two of them compare. They go back only where an etcd was restored from a backup.
 */
export type Entry = {
  readonly key: string
  readonly value: Buffer
  /** The revision at which the key came into being; another one after it was deleted and made again. */
  readonly createRevision: bigint
  /** The revision of its last change. */
  readonly modRevision: bigint
  /** The lease that it ends with. */
  readonly lease?: string
}

/** 0n: the key is absent. */
export type Condition =
  | { readonly key: string; readonly modRevision: bigint }
  | { readonly key: string; readonly createRevision: bigint }

export type Write =
  | { readonly kind: 'put'; readonly key: string; readonly value: Buffer; readonly lease?: string }
  | { readonly kind: 'delete'; readonly key: string }

export type Change =
  | { readonly kind: 'put'; readonly entry: Entry }
  | { readonly kind: 'delete'; readonly key: string; readonly modRevision: bigint }

export type WatchHandlers = {
  /** From this revision on, it included: usually that of a `list` and one. */
  readonly fromRevision: bigint
  /** What one revision changed, in order, none left out and none twice. A handler that throws is a bug: catch inside. */
  onChange(changes: readonly Change[], revision: bigint): void
  /**
   * Changes may have been missed: they were compacted away, or this is an etcd that was restored from a backup. The watch is over;
   * list, and watch anew from there.
   */
  onResync(): void
}

export type Watch = { close(): void }

export type Lease = {
  readonly id: string
  /**
   * Whether etcd still keeps it for certain: by the monotonic and by the wall clock, counted from when the last keepalive that etcd
   * confirmed was sent. Right also in a process that was stopped and has not run any timer yet.
   */
  isHeld(): boolean
  /** Once, when it is lost; never after `revoke`. At once where that is so already. */
  onLost(callback: () => void): void
  /** Its keys go at once where etcd can be reached, else when it ends by itself. Never throws. */
  revoke(): Promise<void>
}

/**
 * Each call throws a Failure: `cluster-unreachable` where no endpoint answered in time, `cluster-refused` where etcd turns this
 * node away (password, certificate, role). After either of them a `commit` may have been done or may yet be.
 */
export type Etcd = {
  get(key: string): Promise<Entry | undefined>
  /** All keys that begin with `prefix`, sorted, as they were at one revision. */
  list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: bigint }>
  /**
   * One transaction: all writes if all conditions hold, else nothing. Each key may be written once. Not committed: a condition does not
   * hold, or the lease of a put is over. `revision`: of the writes; else the one at which it was found that they cannot be.
   */
  commit(conditions: readonly Condition[], writes: readonly Write[]): Promise<{ committed: boolean; revision: bigint }>
  /** Begins at once, and goes on by itself when etcd was away. */
  watch(prefix: string, handlers: WatchHandlers): Watch
  /** Granted, and kept alive from now on. */
  lease(ttlSeconds: number): Promise<Lease>
  /** Each time that etcd comes within reach or goes out of it. */
  onReachable(callback: (reachable: boolean) => void): void
  /** Whether the last call but keepalives, which is never long ago, was answered. False before the first. */
  isReachable(): boolean
  /** Ends watches, leases that are held are left to run out, and calls under way fail. */
  close(): void
}

export type EtcdOptions = Pick<MemberOptions, 'tls' | 'auth' | 'clock'> & {
  /** `https://host:2379`; of all members, or of some. */
  readonly endpoints: readonly string[]
  /** Of the cluster. */
  readonly name: string
  readonly log: Log
  /** For a call with all its tries. */
  readonly deadlineMs?: number
  /** How often etcd is asked for a sign of life where there was none. */
  readonly heartbeatMs?: number
}

const PAGE = 1_000n

/** Loads grpc-js; everything else begins by itself from here. */
export const createEtcd = async (options: EtcdOptions): Promise<Etcd> => {
  const { clock, log, deadlineMs = 5_000, heartbeatMs = 2_000 } = options
  const grpc = await loadGrpc()
  const connected = options.endpoints.map(endpoint => createMember(grpc, endpoint, { ...options, deadlineMs }))
  const members = createMembers(connected, { clock, log, deadlineMs })
  const keys = createKeys(options.name)
  const running = new Set<{ close(): void }>()
  let revision = 0n

  const call = async <M extends 'range' | 'txn'>(method: M, request: () => Request<M>): Promise<Reply<M>> => {
    const reply = await members.call(method, request)
    revision = (reply as Reply<'range' | 'txn'>).header.revision
    return reply
  }

  const get = async (key: string): Promise<Entry | undefined> => {
    const { kvs } = await call('range', () => ({ key: keys.keyOf(key) }))
    return kvs[0] && keys.entryOf(kvs[0])
  }

  const look = (): void => void get('').catch(() => undefined)
  const looks = clock.every(heartbeatMs, () => {
    if (members.silentMs() >= heartbeatMs) look()
  })
  look()

  return {
    get,
    async list(prefix) {
      const range = keys.rangeOf(prefix)
      const entries: Entry[] = []
      let at: bigint | undefined
      for (let key = range.key; ; ) {
        const request = { ...range, key, limit: PAGE, ...(at !== undefined && { revision: at }) }
        const page = await call('range', () => request)
        at ??= page.header.revision
        entries.push(...page.kvs.map(keys.entryOf))
        const last = page.kvs.at(-1)
        if (!page.more || !last) return { entries, revision: at }
        key = Buffer.concat([last.key, Buffer.of(0)])
      }
    },
    async commit(conditions, writes) {
      let tries = 0
      try {
        return keys.committedOf(await call('txn', () => keys.transactionOf(conditions, writes, tries++ > 0)), writes)
      } catch (error) {
        if (!(error instanceof Failure) || !isLeaseGone(error.cause)) throw error
        return { committed: false, revision }
      }
    },
    watch(prefix, handlers) {
      const watch = openWatch({ members, keys, clock, log, heartbeatMs }, prefix, handlers)
      running.add(watch)
      return {
        close() {
          running.delete(watch)
          watch.close()
        },
      }
    },
    async lease(ttlSeconds) {
      const lease = await openLease({ members, clock, log }, ttlSeconds, () => running.delete(lease))
      running.add(lease)
      return lease
    },
    onReachable: members.onReachable,
    isReachable: members.isReachable,
    close() {
      looks.cancel()
      for (const each of running) each.close()
      members.close()
    },
  }
}

type Keys = ReturnType<typeof createKeys>

/** Between the cluster's keys and etcd's, which all begin with `ghconnect/NAME/`: a role of etcd can be limited to it. */
export const createKeys = (name: string) => {
  const namespace = `ghconnect/${name}/`
  const keyOf = (key: string): Buffer => Buffer.from(namespace + key)
  const nameOf = (key: Buffer): string => key.toString().slice(namespace.length)
  const entryOf = ({ key, value, createRevision, modRevision, lease }: KeyValue): Entry => ({
    key: nameOf(key),
    value,
    createRevision,
    modRevision,
    ...(lease !== 0n && { lease: String(lease) }),
  })
  const operationOf = (write: Write) =>
    write.kind === 'put'
      ? { put: { key: keyOf(write.key), value: write.value, ...(write.lease && { lease: BigInt(write.lease) }) } }
      : { deleteRange: { key: keyOf(write.key) } }
  return {
    keyOf,
    entryOf,
    rangeOf: (prefix: string) => ({ key: keyOf(prefix), rangeEnd: endOf(keyOf(prefix)) }),
    /** On a second try, what is there is asked for as well. */
    transactionOf: (conditions: readonly Condition[], writes: readonly Write[], again: boolean): Request<'txn'> => ({
      compare: conditions.map(({ key, ...revision }) => ({
        key: keyOf(key),
        result: 0n,
        target: 'modRevision' in revision ? 2n : 1n,
        ...revision,
      })),
      success: writes.map(operationOf),
      failure: again ? writes.map(({ key }) => ({ range: { key: keyOf(key) } })) : [],
    }),
    /**
     * A first try may have been done although its answer was lost. It was, where all that it puts is there to the byte: a sealed
     * value never comes about twice. Its revision is theirs: the one of this answer counts what others wrote since.
     */
    committedOf: ({ header, succeeded, responses }: Reply<'txn'>, writes: readonly Write[]) => {
      const found = responses.map(({ range }) => range.kvs[0])
      const done =
        !succeeded &&
        found.length > 0 &&
        writes.some(write => write.kind === 'put') &&
        writes.every((write, i) =>
          write.kind === 'put' ? found[i]?.value.equals(write.value) === true : found[i] === undefined,
        )
      const written = done ? found.find(kv => kv !== undefined)?.modRevision : undefined
      return { committed: succeeded || done, revision: written ?? header.revision }
    },
    changeOf: ({ type, kv }: Reply<'watch'>['events'][number]): Change =>
      type === 0n
        ? { kind: 'put', entry: entryOf(kv) }
        : { kind: 'delete', key: nameOf(kv.key), modRevision: kv.modRevision },
  }
}

/** The first key after all that begin with this one. */
const endOf = (prefix: Buffer): Buffer => {
  const end = Buffer.from(prefix)
  end.writeUInt8((end.at(-1) ?? 0) + 1, end.length - 1)
  return end
}

/** So many keepalives in the life of a lease; each may take the time of three. */
const BEATS = 5
const BEATS_EACH = 3

/**
 * Kept alive with whichever member answers, and known by the clock when it can no longer be held for certain. `close` ends the keepalives and leaves it to run out; `onEnd` is called
 * when there is no more to keep alive.
 */
export const openLease = async (
  { members, clock, log }: { members: Pick<Members, 'call'>; clock: Clock; log: Log },
  ttlSeconds: number,
  onEnd: () => void,
): Promise<Lease & { close(): void }> => {
  const now = () => ({ wall: clock.now(), monotonic: clock.monotonic() })
  let confirmed = now()
  const { id, ttl } = await members.call('leaseGrant', () => ({ ttl: BigInt(ttlSeconds) }))
  const ttlMs = Number(ttl) * 1_000
  let over: 'lost' | 'revoked' | undefined
  const listeners: (() => void)[] = []

  /** By both clocks: the monotonic one stands still while a machine sleeps, the wall clock may be set. */
  const inTime = (): boolean => clock.monotonic() - confirmed.monotonic < ttlMs && clock.now() - confirmed.wall < ttlMs

  const giveBack = (): Promise<unknown> => members.call('leaseRevoke', () => ({ id })).catch(() => undefined)

  const stop = (why: 'lost' | 'revoked'): void => {
    over = why
    onEnd()
    beats.cancel()
  }

  const lose = (why: string): void => {
    stop('lost')
    log.warn('the lease in etcd is lost', { lease: String(id), why })
    for (const listener of listeners) listener()
    // Where it is lost by our clock alone, others need not wait until it ends.
    void giveBack()
  }

  const keepAlive = async (): Promise<void> => {
    const sent = now()
    const reply = await members.call('leaseKeepAlive', () => ({ id }), (ttlMs / BEATS) * BEATS_EACH)
    if (over) return
    if (reply.ttl <= 0n) return lose('etcd does not know it any more')
    if (sent.monotonic > confirmed.monotonic) confirmed = sent
  }

  const beats: Timer = clock.every(ttlMs / BEATS, () => {
    if (!inTime()) return lose('no keepalive was confirmed in time')
    keepAlive().catch(() => undefined)
  })
  return {
    id: String(id),
    isHeld: () => over === undefined && inTime(),
    onLost(callback) {
      if (over === 'lost') callback()
      else listeners.push(callback)
    },
    async revoke() {
      if (over) return
      stop('revoked')
      await giveBack()
    },
    close() {
      if (!over) stop('revoked')
    },
  }
}

/** Between two tries; the first after an end comes at once. */
const PAUSE_MS = 200

/** Finds a member that answers, resumes where it was, and says so when it cannot. */
export const openWatch = (
  deps: {
    members: Pick<Members, 'watch' | 'count' | 'forget'>
    keys: Keys
    clock: Clock
    log: Log
    heartbeatMs: number
  },
  prefix: string,
  handlers: WatchHandlers,
): Watch => {
  const { members, keys, clock, log } = deps
  let next = handlers.fromRevision
  let seen: { readonly cluster: bigint; readonly term: bigint } | undefined
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
    current?.cancel()
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
  const isOtherHistory = ({ clusterId: cluster, raftTerm: term }: Reply<'watch'>['header']): boolean => {
    const other = seen !== undefined && (seen.cluster !== cluster || term < seen.term)
    seen = { cluster, term }
    return other
  }

  const resync = (): void => {
    end()
    handlers.onResync()
  }

  const receive = (reply: Reply<'watch'>): void => {
    failures = 0
    if (reply.compactRevision > 0n) return resync()
    if (reply.canceled) {
      // The member may have forgotten who this is.
      members.forget()
      return again(reply.cancelReason)
    }
    if (reply.created) {
      if (isOtherHistory(reply.header)) return resync()
      if (reply.header.revision < next - 1n) {
        // A follower may be a moment behind the member that told our revision. All of them are only where etcd was restored.
        if (++behind > members.count) return resync()
        return again('the member is behind')
      }
      behind = 0
    }
    for (const [revision, events] of Map.groupBy(reply.events, ({ kv }) => kv.modRevision)) {
      next = revision + 1n
      handlers.onChange(events.map(keys.changeOf), revision)
      if (over) return
    }
  }

  const connect = async (): Promise<void> => {
    if (over) return
    let current: WatchStream
    try {
      current = await members.watch()
    } catch (error) {
      return again(error instanceof Error ? error.message : String(error))
    }
    let heard = true
    let missed = 0
    // The listener for errors stays: a stream that is cancelled ends with one.
    current.on('error', error => stream === current && again(error.message))
    current.on('end', () => stream === current && again('the member ended it'))
    current.on('data', (reply: Reply<'watch'>) => {
      heard = true
      if (stream === current) receive(reply)
    })
    if (over) return current.cancel()
    stream = current
    current.write({ create: { ...keys.rangeOf(prefix), startRevision: next } })
    // A member that hangs, or that the network swallows, says nothing: it is asked how far it is.
    heartbeat = clock.every(deps.heartbeatMs, () => {
      missed = heard ? 0 : missed + 1
      heard = false
      if (missed > 1) again('the member says nothing')
      else current.write({ progress: {} })
    })
  }

  void connect()
  return { close: end }
}
