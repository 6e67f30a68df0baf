// What a node remembers of its cluster: that it is a member, what was agreed upon, and when the cluster was heard of last. Bound to the machine, so a copy of its state is no member.

import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { type Host, isOtherHost } from '../../protocol/connection.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { FactStore } from '../store/database.ts'
import type { NodeRole } from './values.ts'

/** What this node and the cluster held alike, last. */
const agreedSchema = z.object({
  version: z.object({ generation: z.number(), sequence: z.number(), id: z.string() }),
  /** Of the record's content. */
  digest: z.string(),
  floor: z.number(),
  /** Of App and enablement: where it changes, tokens of before are void. */
  identity: z.string(),
})
export type Agreed = Readonly<z.infer<typeof agreedSchema>>

const memberSchema = z.object({
  cluster: z.string(),
  node: z.string(),
  role: z.enum(['member', 'replica']),
  host: z.object({ machineId: z.string(), hostname: z.string() }),
})

export type Memory = ReturnType<typeof createMemory>

export const NOTHING_AGREED: Agreed = {
  version: { generation: 0, sequence: 0, id: '' },
  digest: '',
  floor: -1,
  identity: '',
}

const MEMBER = 'cluster.member'
const AGREED = 'cluster.agreed'
const UNSENT = 'cluster.unsent'
const SIGNERS = 'cluster.signers'

const LEFT = { [MEMBER]: null, [AGREED]: null, [UNSENT]: false }

export const createMemory = (deps: { facts: FactStore; cluster: string; host: () => Host }) => {
  const { facts, cluster, host } = deps
  let fresh: string | undefined

  // Written by this program alone; anything else counts as nothing, and the cluster's record is taken.
  const found = memberSchema.safeParse(facts.find(MEMBER)).data
  let member = found?.cluster === cluster && !isOtherHost(found.host, host()) ? found : undefined
  let agreed: Agreed = agreedSchema.safeParse(facts.find(AGREED)).data ?? NOTHING_AGREED
  let unsent = facts.find(UNSENT) === true

  /** Readable in etcd's own listings. */
  const makeNode = (): string => `${host().hostname.replaceAll(/[^\w.-]/g, '-')}-${randomBytes(3).toString('hex')}`
  const node = (): string => member?.node ?? (fresh ??= makeNode())

  return {
    /** Undefined where this machine is in no cluster, or in another one than that of the configuration. */
    find: () => member,
    /** The name of this node, made with its first use. */
    node,
    join(role: NodeRole): void {
      const next = { cluster, node: node(), role, host: host() }
      facts.put(MEMBER, next)
      member = next
    },
    /** Of `forget`, for a new store. */
    factsOfLeaving: (): Readonly<Record<string, unknown>> => LEFT,
    forget(): void {
      for (const [name, value] of Object.entries(LEFT)) facts.put(name, value)
      member = undefined
      agreed = NOTHING_AGREED
      unsent = false
    },
    agreed: () => agreed,
    agree(next: Agreed): void {
      facts.put(AGREED, next)
      agreed = next
    },
    /** Of `agree`, for a new store. */
    factsOf: (next: Agreed): Readonly<Record<string, unknown>> => ({ [AGREED]: next, [UNSENT]: false }),
    isUnsent: () => unsent,
    setUnsent(next: boolean): void {
      if (next === unsent) return
      facts.put(UNSENT, next)
      unsent = next
    },
    signers(): readonly string[] {
      const list = facts.find(SIGNERS)
      return Array.isArray(list) ? list.filter(text => typeof text === 'string') : []
    },
    setSigners: (signers: readonly string[]): void => facts.put(SIGNERS, signers),
  }
}

const LIMIT_MS = 24 * 60 * 60_000
/** GitHub's clock is learned, and may be set back so far by what it says. */
const AHEAD_MS = 5 * 60_000
/** The disk is told no more often. */
const WRITE_EVERY_MS = 60_000
const CONTACT = 'cluster.contact'

export type Isolation = ReturnType<typeof createIsolation>

/** When this node heard of its cluster last, restarts included, and when that is too long ago to go on by itself. */
export const createIsolation = (deps: {
  facts: FactStore
  clock: Pick<Clock, 'monotonic'>
  /** GitHub's clock, which is not set back with this machine's. */
  now: () => number
  log: Log
}) => {
  const { facts, clock, now } = deps
  const found = facts.find(CONTACT)
  let contactMs = typeof found === 'number' ? found : undefined
  let writtenMs = contactMs
  /** By another process, under a clock that may have been wrong. */
  let isOfBefore = true
  /** In this process time passes whatever the clocks are set to. */
  let contactMonotonicMs = clock.monotonic()

  const write = (): void => {
    if (contactMs === undefined || contactMs === writtenMs) return
    try {
      facts.put(CONTACT, contactMs)
      writtenMs = contactMs
    } catch (error) {
      // A restart would count from the time before: too strict, and never too lax.
      deps.log.warn('when the cluster was heard of last could not be written', { error })
    }
  }

  return {
    /** The cluster was heard of just now. */
    note(): void {
      contactMs = now()
      isOfBefore = false
      contactMonotonicMs = clock.monotonic()
      if (writtenMs === undefined || Math.abs(contactMs - writtenMs) >= WRITE_EVERY_MS) write()
    },
    /** Out of touch from here on; durable. */
    begin: write,
    /** When the cluster was heard of last, by GitHub's clock. */
    lastContactMs: () => contactMs,
    /** A node that was cut off for so long, or never in touch, serves nothing: what it holds may have been taken from all others. */
    isOver: (): boolean =>
      contactMs === undefined ||
      // Written while the clock was ahead: how long ago that is nobody knows.
      (isOfBefore && contactMs - now() > AHEAD_MS) ||
      now() - contactMs >= LIMIT_MS ||
      clock.monotonic() - contactMonotonicMs >= LIMIT_MS,
  }
}
