// What the API of one socket is given: the operations, what answers without an open store, and what bounds its callers.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { SocketName } from '../../protocol/endpoints.ts'
import type { Peer, Policy } from '../../protocol/profile.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { PublicStatus, Status } from '../../protocol/wire.ts'
import type { CheckReport, CheckRow } from '../../protocol/wire-check.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Events } from '../audit/events.ts'
import type { Engine } from '../engine.ts'
import type { RateLimit } from '../peers/rate-limit.ts'
import type { HolderTurns } from '../peers/holder.ts'
import type { Restored, RestoreOptions } from '../snapshot/snapshots.ts'
import type { Caller } from '../tokens/token-issuer.ts'
import type { BodyBudgets } from './body.ts'
import type { Metrics } from './metrics.ts'
import type { Peers } from './sockets.ts'

export type Api = {
  readonly socket: SocketName
  /** Attests the callers of this socket's server. */
  readonly peers: Peers
  /** Throws while the store is closed. */
  readonly operations: () => Engine
  readonly backend: Backend
  readonly events: Events
  readonly metrics: Metrics
  /** What a caller on token.sock may ask for; administrators are not limited. */
  readonly rateLimit: Pick<RateLimit, 'takeAnswer' | 'takeBytes' | 'takeProbe'>
  /** One for all sockets, like the next. */
  readonly bodies: BodyBudgets
  /** On token.sock; administrators do not wait. */
  readonly turns: HolderTurns
  readonly clock: Pick<Clock, 'every' | 'after' | 'now' | 'sleep'>
  readonly log: Log
  readonly version: string
}

/** What handlers need besides the operations: it answers while the store is closed, too. */
export type Backend = {
  /** GitHub's pages, and its git. */
  githubUrl(): string
  apiUrl(): string
  /** The user that the daemon runs as: it could read the store without asking. */
  readonly ownUid: number
  policy(): Policy
  status(caller: Caller): Status | PublicStatus
  /** Reads the configuration again; gives its file. Throws `configuration`, and the old one stays. */
  reload(): string
  /** Splits what was pasted into code and state; throws `invalid-request`. */
  readRedirect(text: string): { code: string; state?: string }
  /** The identities of an age identity file; throws `invalid-request`. */
  readIdentities(text: string): Promise<readonly Secret[]>
  /** A one-time link to the settings page. */
  issueLink(peer: Peer): { url: string; expiresAtMs: number }
  /** Also over a store that cannot be opened. */
  restore(bundle: Uint8Array, wish: RestoreOptions): Promise<Restored>
  /** Looks at all layers; also while the store is closed. */
  check(tell?: (row: CheckRow) => void): Promise<CheckReport>
  /** Opens what is locked: a store whose key was lost, or a sealed bundle that waits. */
  unlock(identities: readonly Secret[]): Promise<void>
}

/** One request and its answer. */
export type Exchange = {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly path: string
  readonly query: string
  /** Where the caller finds GitHub's API, where that is not the gateway. */
  readonly ours?: string
}
