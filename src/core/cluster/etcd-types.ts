// What the cluster needs of etcd, in its own words: entries, transactions on revisions, watches and leases.

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

export type Committed = {
  /** False: a condition does not hold, or the lease of a put is over. Nothing was written. */
  readonly committed: boolean
  /** Of the writes; else the one at which it was found that they cannot be. */
  readonly revision: bigint
}

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
  /** One transaction: all writes if all conditions hold, else nothing. Each key may be written once. */
  commit(conditions: readonly Condition[], writes: readonly Write[]): Promise<Committed>
  /** Begins at once, and goes on by itself when etcd was away. */
  watch(prefix: string, handlers: WatchHandlers): Watch
  /** Granted, and kept alive from now on. */
  lease(ttlSeconds: number): Promise<Lease>
  /** Each time that etcd comes within reach or goes out of it. */
  onReachable(callback: (reachable: boolean) => void): void
  /** Whether the last call, which is never long ago, was answered. False before the first. */
  isReachable(): boolean
  /** Ends watches, leases that are held are left to run out, and calls under way fail. */
  close(): void
}
