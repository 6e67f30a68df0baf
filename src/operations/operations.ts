// All use cases over one open store: what the sockets, the page and the heartbeat are given.

import type { RefreshAnswer } from '../domain/wire.ts'
import type { Peer } from '../domain/policy.ts'
import type { AuditLog } from './audit.ts'
import type { ClusterDesk } from './cluster.ts'
import type { Disable } from './disable.ts'
import type { Enable } from './enable.ts'
import type { Explain } from './explain.ts'
import type { Features } from './features.ts'
import type { Figures } from './figures.ts'
import type { Gateway } from './gateway.ts'
import type { ImportApp } from './import.ts'
import type { Journey } from './journey.ts'
import type { Keys } from './keys.ts'
import type { RefreshHistory } from './refresh-history.ts'
import type { Recovery } from './recovery.ts'
import type { RevokeAll } from './revoke-all.ts'
import type { Snapshots } from './snapshots.ts'
import type { StatusReport } from './status.ts'
import type { TokenDesk } from './token-desk.ts'

export type Operations = {
  readonly journey: Journey
  readonly enable: Enable
  readonly importApp: ImportApp
  readonly disable: Disable
  readonly revokeAll: RevokeAll
  readonly keys: Keys
  readonly desk: TokenDesk
  readonly gateway: Gateway
  readonly status: StatusReport
  readonly snapshots: Snapshots
  readonly recovery: Recovery
  readonly audit: AuditLog
  readonly explain: Explain
  /** Throws `cluster-member` where no cluster is configured. */
  cluster(): Promise<ClusterDesk>
  readonly features: Features
  readonly history: RefreshHistory
  readonly figures: Figures
  /** Who asked for a change, before it is made; what cannot be written is noted later, as the change may be the remedy. */
  noteRequest(peer: Peer, detail: string): void
  refresh(): Promise<RefreshAnswer>
}
