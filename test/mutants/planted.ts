// All planted bugs. `scripts/mutate` applies them one by one, in a copy of the tree.

import { CLUSTER } from './cluster.ts'
import { CONNECTION_MORE } from './connection-more.ts'
import { CONNECTION } from './connection.ts'
import { DISK } from './disk.ts'
import { FIXED } from './fixed.ts'
import { FRESH_API } from './fresh-api.ts'
import { FRESH_PAGE } from './fresh-page.ts'
import { FRESH_CLUSTER } from './fresh-cluster.ts'
import { FRESH_STORE } from './fresh-store.ts'
import { MACHINE } from './machine.ts'
import type { Mutant } from './mutant.ts'
import { PAGE } from './page.ts'
import { PLATFORM } from './platform.ts'
import { SOCKETS } from './sockets.ts'
import { STORE_GITHUB } from './store-github.ts'
import { TOKENS_MORE } from './tokens-more.ts'
import { TOKENS } from './tokens.ts'

export const PLANTED: readonly Mutant[] = [
  ...TOKENS,
  ...TOKENS_MORE,
  ...CONNECTION,
  ...CONNECTION_MORE,
  ...SOCKETS,
  ...PLATFORM,
  ...DISK,
  ...CLUSTER,
  ...PAGE,
  ...MACHINE,
  ...STORE_GITHUB,
  ...FIXED,
  ...FRESH_STORE,
  ...FRESH_PAGE,
  ...FRESH_CLUSTER,
  ...FRESH_API,
]
