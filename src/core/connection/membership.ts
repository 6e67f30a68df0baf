// A node's membership in its cluster, as the other operations see it. A single node has none, and each of them works as if nobody else existed.

import type { Host } from '../../protocol/connection.ts'
import type { Code, Failure } from '../../protocol/errors.ts'
import type { Grant } from '../../protocol/profile.ts'
import type { Status } from '../../protocol/wire.ts'
import type { StoredToken } from '../store/records.ts'

/** A replica holds the credentials, calls nobody and never leads. */
export type Role = 'single' | 'leader' | 'follower' | 'replica'

export type MintOptions = { readonly minTtlMs?: number; readonly rejected?: string; readonly renew?: boolean }

/** What keeps one node from GitHub, and says nothing of the App: another node may fare better. */
export const LOCAL_FAILURES: ReadonlySet<Code> = new Set<Code>([
  'proxy-unreachable',
  'proxy-authentication',
  'proxy-auth-scheme',
  'proxy-refused',
  'portal',
  'dns',
  'tls',
  'unreachable',
  'timeout',
  'clock-skew',
  'ip-blocked',
])

export type ChangeOptions = {
  /**
   * What becomes of the change where the cluster cannot be reached, or this node is a replica: it is refused, or this node leaves the
   * cluster and makes it for itself alone.
   */
  readonly cutOff?: 'refuse' | 'leave'
}

export type Membership = {
  /** Why nothing may be served; `undefined`: it may. Asked with each request. */
  whyNotServing(): Failure | undefined
  /** Why this node calls nobody; `undefined`: it may. */
  whyNotCalling(): Failure | undefined
  /**
   * An administrator's change, alone in the whole cluster and upon its newest record. Throws `cluster-unreachable`, `cluster-conflict`
   * (what somebody else made holds), `replica`.
   */
  change<T>(task: () => Promise<T>, options: ChangeOptions): Promise<T>
  /** The record of this node was changed. */
  changed(): void
  /** Whether it is this node that asks GitHub what became of App and installations. */
  leads(): boolean
  /** Whether this node mints ahead by itself; else the leader does, who is told which. */
  refreshesAhead(): boolean
  /** Cut off, each node mints for itself, and so no sooner than it must. */
  marginMs(beforeExpiryMs: number): number
  /** A token of the leader's; `undefined`: this node mints. Throws what the leader met with. */
  mint(grant: Grant, wish: MintOptions): Promise<StoredToken | undefined>
  minted(token: StoredToken): void
  /** What the cluster has of this generation and those before it. */
  tokensTo(generation: number): readonly Omit<StoredToken, 'slot'>[]
  /** Scopes in use here that are due. */
  wantAhead(grants: readonly Grant[]): void
  /** Whether credentials of that host are at home here: enabled on a machine of the same cluster. */
  isHome(host: Host): boolean
  role(): Role
  warnings(): Status['warnings']
  /** With whose keys bundles are signed that are trusted here. */
  signers(): readonly string[]
}
