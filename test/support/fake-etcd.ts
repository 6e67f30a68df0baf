// etcd in memory: one store with revisions, leases by the test's clock, watches; each client of it can be cut off, held up and let go.

import { Failure } from '../../src/protocol/errors.ts'
import type { Change, Condition, Entry, Etcd, Lease, WatchHandlers, Write } from '../../src/core/cluster/etcd.ts'
import type { FakeClock } from './fakes.ts'

type Granted = { readonly ttlMs: number; endsMs: number }
type Watcher = {
  readonly prefix: string
  readonly tell: (changes: readonly Change[], revision: bigint) => void
  lose(): void
}

export type FakeEtcd = ReturnType<typeof createFakeEtcd>
export type FakeClient = Etcd & {
  /** Nothing gets through any more, in either direction. */
  cut(): void
  heal(): void
  /** As a process that is stopped: what arrives waits. */
  pause(): void
  resume(): void
  /** Each commit that is on its way waits for this before it arrives. */
  delayCommits(gate: Promise<void> | undefined): void
  /** Each change waits for this before the client is told of it: it is behind what it would read. */
  delayWatches(gate: Promise<void> | undefined): void
}

export const createFakeEtcd = (clock: FakeClock) => {
  let revision = 1n
  let entries = new Map<string, Entry>()
  let down = false
  let leaseIds = 0
  const leases = new Map<string, Granted>()
  const watchers = new Set<Watcher>()
  const clients = new Set<{ tell(): void }>()
  const commits: { readonly writes: readonly Write[]; readonly committed: boolean }[] = []

  const publish = (changes: readonly Change[]): void => {
    for (const { prefix, tell } of watchers) {
      const mine = changes.filter(change => keyOf(change).startsWith(prefix))
      if (mine.length > 0) tell(mine, revision)
    }
  }
  const remove = (keys: readonly string[]): void => {
    const gone = keys.filter(key => entries.has(key))
    if (gone.length === 0) return
    revision += 1n
    for (const key of gone) entries.delete(key)
    publish(gone.map(key => ({ kind: 'delete', key, modRevision: revision })))
  }
  const end = (id: string): void => {
    leases.delete(id)
    remove([...entries.values()].filter(({ lease }) => lease === id).map(({ key }) => key))
  }
  clock.every(100, () => {
    if (down) return
    for (const [id, { endsMs }] of leases) if (clock.monotonic() >= endsMs) end(id)
  })

  const holds = (condition: Condition): boolean => {
    const entry = entries.get(condition.key)
    return 'createRevision' in condition
      ? (entry?.createRevision ?? 0n) === condition.createRevision
      : (entry?.modRevision ?? 0n) === condition.modRevision
  }
  const commit = (conditions: readonly Condition[], writes: readonly Write[]) => {
    const leased = writes.every(
      write => write.kind === 'delete' || write.lease === undefined || leases.has(write.lease),
    )
    const committed = leased && conditions.every(holds)
    commits.push({ writes, committed })
    if (!committed || writes.length === 0) return { committed, revision }
    revision += 1n
    const changes = writes.flatMap((write): Change[] => {
      const before = entries.get(write.key)
      if (write.kind === 'delete') {
        return entries.delete(write.key) ? [{ kind: 'delete', key: write.key, modRevision: revision }] : []
      }
      const { key, value, lease } = write
      const createRevision = before?.createRevision ?? revision
      const entry: Entry = { key, value, createRevision, modRevision: revision, ...(lease !== undefined && { lease }) }
      entries.set(key, entry)
      return [{ kind: 'put', entry }]
    })
    publish(changes)
    return { committed, revision }
  }

  const client = (): FakeClient => {
    let cut = false
    let paused = false
    let closed = false
    let gate: Promise<void> | undefined
    let watchGate: Promise<void> | undefined
    let told: boolean | undefined
    const backlog: (() => void)[] = []
    const listeners = new Set<(reachable: boolean) => void>()
    const mine = new Set<Watcher>()
    const isOpen = (): boolean => !cut && !down && !closed
    const tell = (): void => {
      if (closed || paused || told === isOpen()) return
      told = isOpen()
      for (const listener of listeners) listener(told)
    }
    const arrive = (task: () => void): void => {
      if (paused) backlog.push(task)
      else task()
    }
    const call = async <T>(answer: () => T): Promise<T> => {
      await Promise.resolve()
      if (paused) await new Promise<void>(resolve => void backlog.push(resolve))
      if (!isOpen()) {
        tell()
        throw new Failure('cluster-unreachable', 'etcd: no member answers')
      }
      tell()
      return answer()
    }
    clients.add({ tell })
    return {
      get: key => call(() => entries.get(key)),
      list: prefix =>
        call(() => ({
          entries: [...entries.values()]
            .filter(({ key }) => key.startsWith(prefix))
            .toSorted((one, other) => (one.key < other.key ? -1 : 1)),
          revision,
        })),
      async commit(conditions, writes) {
        await gate
        return call(() => commit(conditions, writes))
      },
      watch(prefix, handlers: WatchHandlers) {
        let over = false
        let next = handlers.fromRevision
        const missed: (() => void)[] = []
        const watcher: Watcher = {
          prefix,
          tell(changes, at) {
            if (at < next) return
            next = at + 1n
            const come = (): void => arrive(() => !over && handlers.onChange(changes, at))
            const deliver = (): void => {
              if (over) return
              if (watchGate) void watchGate.then(come)
              else come()
            }
            if (isOpen()) deliver()
            else missed.push(deliver)
          },
          lose() {
            over = true
            watchers.delete(watcher)
            arrive(() => handlers.onResync())
          },
        }
        watchers.add(watcher)
        mine.add(watcher)
        listeners.add(reachable => {
          if (reachable) for (const deliver of missed.splice(0)) deliver()
        })
        return {
          close() {
            over = true
            watchers.delete(watcher)
          },
        }
      },
      async lease(ttlSeconds): Promise<Lease> {
        const ttlMs = ttlSeconds * 1_000
        const id = String(++leaseIds)
        let untilMs = clock.monotonic() + ttlMs
        let over = false
        const lost = new Set<() => void>()
        await call(() => leases.set(id, { ttlMs, endsMs: clock.monotonic() + ttlMs }))
        const isHeld = (): boolean => !over && clock.monotonic() < untilMs
        const renewal = clock.every(ttlMs / 5, () => {
          if (over || paused || closed) return
          const known = leases.get(id)
          if (isOpen() && known) {
            known.endsMs = clock.monotonic() + ttlMs
            untilMs = known.endsMs
          } else if ((isOpen() && !known) || !isHeld()) {
            over = true
            renewal.cancel()
            for (const callback of lost) callback()
          }
        })
        return {
          id,
          isHeld,
          onLost: callback => void lost.add(callback),
          async revoke() {
            over = true
            renewal.cancel()
            await call(() => end(id)).catch(() => undefined)
          },
        }
      },
      onReachable: callback => void listeners.add(callback),
      isReachable: () => told === true && isOpen(),
      close() {
        closed = true
        for (const watcher of mine) watchers.delete(watcher)
      },
      cut() {
        cut = true
        tell()
      },
      heal() {
        cut = false
        tell()
      },
      pause: () => void (paused = true),
      resume() {
        paused = false
        for (const task of backlog.splice(0)) task()
        tell()
      },
      delayCommits: next => void (gate = next),
      delayWatches: next => void (watchGate = next),
    }
  }

  return {
    client,
    entries: () => [...entries.values()],
    /** Somebody writes past all rules. */
    put: (key: string, value: Buffer) => commit([], [{ kind: 'put', key, value }]),
    delete: (key: string) => remove([key]),
    commits,
    down() {
      down = true
      for (const one of clients) one.tell()
    },
    up() {
      down = false
      // Leases begin anew where etcd was away.
      for (const lease of leases.values()) lease.endsMs = clock.monotonic() + lease.ttlMs
      for (const one of clients) one.tell()
    },
    save: () => ({ entries: new Map(entries), revision }),
    restore(saved: { entries: Map<string, Entry>; revision: bigint }) {
      entries = new Map(saved.entries)
      revision = saved.revision
      for (const { lease } of entries.values()) {
        if (lease !== undefined && !leases.has(lease))
          leases.set(lease, { ttlMs: 5_000, endsMs: clock.monotonic() + 5_000 })
      }
      for (const watcher of watchers) watcher.lose()
    },
  }
}

const keyOf = (change: Change): string => (change.kind === 'put' ? change.entry.key : change.key)
