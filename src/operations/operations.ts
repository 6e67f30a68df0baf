// All use cases over one open store: what the sockets, the page and the heartbeat are given.

import type { RefreshAnswer } from '../domain/wire.ts'
import type { Disable } from './disable.ts'
import type { Enable } from './enable.ts'
import type { ImportApp } from './import.ts'
import type { Journey } from './journey.ts'
import type { Recovery } from './recovery.ts'
import type { Snapshots } from './snapshots.ts'
import type { StatusReport } from './status.ts'
import type { TokenDesk } from './token-desk.ts'

export type Operations = {
  readonly journey: Journey
  readonly enable: Enable
  readonly importApp: ImportApp
  readonly disable: Disable
  readonly desk: TokenDesk
  readonly status: StatusReport
  readonly snapshots: Snapshots
  readonly recovery: Recovery
  refresh(): Promise<RefreshAnswer>
}
