// What the sandbox's routes share, built once by the server.

import type { SandboxClock } from './clock.ts'
import type { Faults } from './faults.ts'
import type { Random } from './random.ts'
import type { RequestLog } from './request-log.ts'
import type { Quotas } from './quotas.ts'
import type { World } from './world.ts'

export const API_PREFIX = '/api/v3'

export type Parts = {
  world: World
  clock: SandboxClock
  /** For issues, manifest pages and the like. */
  random: Random
  tokenTexts: Random
  requestIds: Random
  faults: Faults
  log: RequestLog
  quotas: Quotas
  /** The address of the pages, without a slash at the end; the API's is `url + API_PREFIX`. */
  url: string
}
