// What the tests of the operations own in place of the machine: time, disk, audit log and journal.

import { createHash } from 'node:crypto'
import { type Code, Failure } from '../../src/protocol/errors.ts'
import type { Clock, Timer } from '../../src/service/clock.ts'
import type { Fields, Log } from '../../src/service/log.ts'
import type { AuditRow, AuditStore } from '../../src/core/audit/audit-store.ts'
import type { ConnectionRecord } from '../../src/core/store/records.ts'
import type { Store } from '../../src/core/store/database.ts'
import type { StoredToken } from '../../src/core/store/records.ts'

/** Lets everything run that waits for nothing but other promises. */
export const settle = (): Promise<void> => new Promise(resolve => void setImmediate(resolve))

type Task = { dueMs: number; readonly order: number; readonly run: () => void; readonly everyMs?: number }

export type FakeClock = Clock & {
  /** What time it really is, whatever the wall clock was set to. */
  trueNow(): number
  /** Time passes: each task runs when it is due, and what it starts runs to its end. */
  advance(ms: number): Promise<void>
  /** Somebody sets the wall clock; nothing else moves. */
  setWallBy(ms: number): void
  /** The machine sleeps: real and wall time pass, the monotonic clock and the timers stand still. */
  sleepMachine(ms: number): void
  /** How many tasks wait. */
  waiting(): number
}

export const START_MS = Date.UTC(2026, 4, 1, 12, 0, 0)

export const createFakeClock = (startMs = START_MS): FakeClock => {
  let trueMs = startMs
  let wallMs = startMs
  let monotonicMs = 1_000
  let orders = 0
  const tasks = new Set<Task>()
  const jumps = new Set<(ms: number) => void>()

  const add = (ms: number, run: () => void, everyMs?: number): Timer => {
    const task: Task = { dueMs: monotonicMs + Math.max(0, ms), order: orders++, run, ...(everyMs && { everyMs }) }
    tasks.add(task)
    return { cancel: () => void tasks.delete(task) }
  }
  const pass = (ms: number): void => {
    trueMs += ms
    wallMs += ms
    monotonicMs += ms
  }
  const nextDue = (untilMs: number): Task | undefined =>
    [...tasks].filter(task => task.dueMs <= untilMs).toSorted((a, b) => a.dueMs - b.dueMs || a.order - b.order)[0]
  const tellJump = (ms: number): void => {
    for (const callback of jumps) callback(ms)
  }

  return {
    now: () => wallMs,
    monotonic: () => monotonicMs,
    trueNow: () => trueMs,
    after: (ms, task) => add(ms, task),
    every: (ms, task) => add(ms, task, ms),
    schedule(expression, task) {
      const minutes = Number(/^\*\/(\d+) \* \* \* \*$/.exec(expression)?.[1])
      if (!(minutes > 0)) throw new Error(`the fake clock knows no ${expression}`)
      const periodMs = minutes * 60_000
      return add(periodMs - (wallMs % periodMs), task, periodMs)
    },
    onJump(callback) {
      jumps.add(callback)
      return { cancel: () => void jumps.delete(callback) }
    },
    sleep: (ms, signal) =>
      new Promise(resolve => {
        if (signal?.aborted) return resolve()
        const timer = add(ms, resolve)
        signal?.addEventListener('abort', () => (timer.cancel(), resolve()), { once: true })
      }),
    async advance(ms) {
      const untilMs = monotonicMs + ms
      await settle()
      for (let task = nextDue(untilMs); task; task = nextDue(untilMs)) {
        pass(Math.max(0, task.dueMs - monotonicMs))
        if (task.everyMs === undefined) tasks.delete(task)
        else task.dueMs += task.everyMs
        task.run()
        await settle()
      }
      pass(untilMs - monotonicMs)
      await settle()
    },
    setWallBy(ms) {
      wallMs += ms
      tellJump(ms)
    },
    sleepMachine(ms) {
      trueMs += ms
      wallMs += ms
      tellJump(ms)
    },
    waiting: () => tasks.size,
  }
}

/** What lies on the disk: outlives the store that writes it, as the disk outlives the daemon. */
export type Disk = {
  record: ConnectionRecord
  tokens: Map<string, StoredToken>
  facts: Map<string, unknown>
  audit: AuditRow[]
  number: number
  recoveryWrap?: Uint8Array
  /** Thrown by each write of the store, which then changes nothing. */
  storeFailure?: Failure
  auditFailure?: Failure
  /** As the file system says it, whatever a write meets. */
  full?: Failure
  /** So many more rows fit into the audit log. */
  auditRowsLeft?: number
  /** When what is appended soon is durable; at once where it is not given. */
  auditSync?: Promise<void>
}

export const emptyDisk = (): Disk => ({
  record: {
    generation: 0,
    connection: { kind: 'disconnected', sinceMs: START_MS },
    installations: [],
    keys: [],
  },
  tokens: new Map(),
  facts: new Map(),
  audit: [],
  number: 1,
})

/** `wrote` is told of each write once it is durable; what it throws is what the writer sees, as a process that is killed there sees nothing. */
export const openMemoryStore = (disk: Disk, wrote: () => void = () => {}): Store => {
  const change = (apply: () => void): void => {
    if (disk.storeFailure) throw disk.storeFailure
    apply()
    wrote()
  }
  const slotOf = (key: string, slot: string): string => `${slot} ${key}`
  const merged = (changes: Parameters<Store['replace']>[0]): ConnectionRecord => ({
    generation:
      changes.generation ?? Math.max(disk.record.generation, changes.above ?? 0) + (changes.newGeneration ? 1 : 0),
    connection: changes.connection ?? disk.record.connection,
    installations: changes.installations ?? disk.record.installations,
    keys: changes.keys ?? disk.record.keys,
  })
  return {
    connection: {
      read: () => disk.record,
      write(changes) {
        change(() => (disk.record = merged(changes)))
        return disk.record
      },
    },
    tokens: {
      all: () => [...disk.tokens.values()],
      write(tokens, gone = []) {
        change(() => {
          for (const key of gone) for (const slot of ['current', 'next']) disk.tokens.delete(slotOf(key, slot))
          for (const token of tokens) disk.tokens.set(slotOf(token.key, token.slot), token)
        })
        return Promise.resolve()
      },
      clear: () => change(() => disk.tokens.clear()),
    },
    facts: {
      find: name => disk.facts.get(name),
      put: (name, value) => change(() => disk.facts.set(name, value)),
    },
    number: () => disk.number,
    replace: changes =>
      change(() => {
        disk.record = merged(changes)
        disk.tokens.clear()
        for (const name of disk.facts.keys()) if (name.startsWith('connection.')) disk.facts.delete(name)
        for (const [name, value] of Object.entries(changes.facts ?? {})) disk.facts.set(name, value)
        disk.number += 1
        delete disk.recoveryWrap
      }),
    hasRecoveryWrap: () => disk.recoveryWrap !== undefined,
    putRecoveryWrap: wrap => change(() => (disk.recoveryWrap = wrap)),
    check() {},
    databaseKey: () => '00'.repeat(32),
    close() {},
  }
}

export const openMemoryAudit = (disk: Disk): AuditStore => {
  const head = (): { sequence: number; hash: string } => disk.audit.at(-1) ?? { sequence: 0, hash: '' }
  const append: AuditStore['append'] = event => {
    if (disk.auditFailure) throw disk.auditFailure
    if (disk.auditRowsLeft !== undefined && disk.auditRowsLeft-- <= 0) {
      throw new Failure('audit-unavailable', 'no space for this row')
    }
    const hash = createHash('sha256')
      .update(head().hash + JSON.stringify(event))
      .digest('hex')
    const row = { ...event, sequence: head().sequence + 1, hash }
    disk.audit.push(row)
    return row
  }
  const appendAll: AuditStore['appendAll'] = events => {
    const before = disk.audit.length
    try {
      return events.map(append)
    } catch (error) {
      disk.audit.length = before
      throw error
    }
  }
  return {
    append,
    appendAll,
    appendSoon: events => ({ rows: appendAll(events), durable: disk.auditSync ?? Promise.resolve() }),
    findFullDisk: () => disk.full,
    list: ({ after = 0, limit }) => disk.audit.filter(row => row.sequence > after).slice(0, limit),
    verify: () => ({ rows: disk.audit.length, lastHash: head().hash }),
    check: head,
    head,
    anchor: () => ({ sequence: 0, hash: '' }),
    rotate: () => 0,
    bytes: () => ({ db: 0, wal: 0 }),
    databaseKey: () => '00'.repeat(32),
    close() {},
  }
}

export type Line = { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly message: string; fields?: Fields }

/** Keeps its lines for those who want to look. */
export const createFakeLog = (): Log & { readonly lines: Line[] } => {
  const lines: Line[] = []
  const at = (level: Line['level']) => (message: string, fields?: Fields) =>
    void lines.push({ level, message, ...(fields && { fields }) })
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** The Failure that the promise is rejected with. Anything else is thrown on; a promise that resolves is an error of the test. */
export const failureOf = async (promise: unknown): Promise<Failure> => {
  try {
    await promise
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
  throw new Error('it did not fail')
}

/** The Failure that `work` throws, or undefined. Anything else that it throws is thrown on. */
export const thrownBy = (work: () => unknown): Failure | undefined => {
  try {
    work()
    return undefined
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
}

export const codeOf = (work: () => unknown): Code | undefined => thrownBy(work)?.code
