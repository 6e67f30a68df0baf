// All use cases over one open store: what the sockets, the page and the heartbeat are given.

import type { RefreshAnswer } from '../protocol/wire.ts'
import type { Peer } from '../protocol/profile.ts'
import type { AuditLog } from './audit/audit.ts'
import type { createExplain } from './policy/explain.ts'
import type { ClusterCommands } from './cluster/cluster.ts'
import type { Disable } from './connection/disable.ts'
import type { Enable } from './connection/enable.ts'
import type { Features } from './connection/features.ts'
import type { Figures } from './api/figures.ts'
import type { Gateway } from './tokens/gateway.ts'
import type { ConnectionState } from './connection/connection-state.ts'
import type { Keys } from './connection/keys.ts'
import type { RefreshHistory } from './tokens/refresh-history.ts'
import type { Recovery } from './snapshot/recovery.ts'
import type { RevokeAll } from './tokens/revoke-all.ts'
import type { Snapshots } from './snapshot/snapshots.ts'
import type { StatusReport } from './status.ts'
import type { TokenIssuer } from './tokens/token-issuer.ts'

export type Operations = {
  readonly connectionState: ConnectionState
  readonly enable: Enable
  readonly importApp: Keys['importApp']
  readonly disable: Disable
  readonly revokeAll: RevokeAll
  readonly keys: Keys
  readonly issuer: TokenIssuer
  readonly gateway: Gateway
  readonly status: StatusReport
  readonly snapshots: Snapshots
  readonly recovery: Recovery
  readonly auditLog: AuditLog
  readonly explain: ReturnType<typeof createExplain>
  /** Throws `cluster-member` where no cluster is configured. */
  cluster(): Promise<ClusterCommands>
  readonly features: Features
  readonly history: RefreshHistory
  readonly figures: Figures
  /** Who asked for a change, before it is made; what cannot be written is noted later, as the change may be the remedy. */
  noteRequest(peer: Peer, detail: string): void
  refresh(): Promise<RefreshAnswer>
}
