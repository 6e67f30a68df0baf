// What the page is given: everything it shows and does goes through these.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Account } from '../protocol/connection.ts'
import type { FeatureName } from '../protocol/features.ts'
import type { Peer, Policy } from '../protocol/profile.ts'
import type { Permissions } from '../protocol/scope.ts'
import type { Secret } from '../protocol/secret.ts'
import type { PublicStatus, Status } from '../protocol/wire.ts'
import type { CheckReport, CheckRow } from '../protocol/wire-check.ts'
import type { Events } from '../core/audit/events.ts'
import type { Operations } from '../core/operations.ts'
import type { Clock } from '../service/clock.ts'
import type { Log } from '../service/log.ts'
import type { Front } from './guards.ts'
import type { Links } from './links.ts'
import type { Language } from './model.ts'
import type { Session } from './sessions.ts'

/** What GitHub is asked to create, as its form takes it. */
export type AppForm = {
  readonly action: string
  readonly manifest: Readonly<Record<string, unknown>>
  readonly permissions: Permissions
}

export type WebSettings = {
  /** Addresses by which a browser may reach this page; any other name was made to point here (DNS rebinding). */
  readonly bases: readonly string[]
  readonly frontUid: number | undefined
  readonly githubUrl: string
  readonly apiUrl: string
  readonly hostname: string
  readonly policy: Policy
  /** Those of GitHub Connect that are switched on. */
  readonly features: readonly FeatureName[]
}

export type WebDeps = {
  readonly links: Links
  /** Throws while the store is closed, as `appForm`, `formUrl` and `wantedPermissions` do. */
  readonly operations: () => Operations
  readonly status: () => Status | PublicStatus
  readonly appForm: (account: Account, state: string) => AppForm
  /** GitHub's form for an enterprise, our page for others. */
  readonly formUrl: (account: Account, state: string) => string
  readonly wantedPermissions: () => Permissions
  /** Throws `invalid-request`. */
  readonly readIdentities: (text: string) => Promise<readonly Secret[]>
  /** The doctor; `tell` is called with each row as it is known. Also where the store is closed. */
  readonly check: (tell: (row: CheckRow) => void) => Promise<CheckReport>
  /** Also where the store is closed. */
  readonly unlock: (identities: readonly Secret[]) => Promise<void>
  /** Who is at the other end; undefined where the page listens on a port. */
  readonly peerOf: (incoming: IncomingMessage) => Peer | undefined
  /** The user that the daemon runs as. */
  readonly ownUid: number
  readonly events: Events
  readonly clock: Clock
  readonly log: Log
  readonly version: string
  readonly settings: () => WebSettings
  /** For a request without a session; all of them share one allowance. False where it is used up. */
  readonly takeStranger: () => boolean
  /** Runs the task, which refuses, in a turn of the event loop that is not full of such. */
  readonly inTurn: (task: () => void) => void
}

/** A request as the handlers see it. */
export type Env = {
  Bindings: { incoming: IncomingMessage; outgoing: ServerResponse }
  Variables: { base: URL; front: Front | undefined; language: Language; session: Session }
}
