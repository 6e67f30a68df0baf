// Drift with its parts, over one store: what it looks at, whom it tells, and whose tokens it doubts.

import { Failure } from '../../protocol/errors.ts'
import { ADMIN_PROFILE } from '../../protocol/profile.ts'
import type { Clock } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Store } from '../store/database.ts'
import type { AppLink } from './app-link.ts'
import { createDrift, type Drift } from './drift.ts'
import type { Events } from '../audit/events.ts'
import { createChangeNotifier } from './change-notifier.ts'
import type { ConnectionState } from './connection-state.ts'
import { createSelections } from './selections.ts'
import type { Tokens } from '../tokens/tokens.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'

export const assembleDrift = (deps: {
  store: Pick<Store, 'facts'>
  connectionState: ConnectionState
  link: AppLink
  tokens: Tokens
  audit: AuditWriter
  events: Events
  clock: Clock
  log: Log
}): Drift => {
  const { link, tokens } = deps
  const repositoriesOf = async (installation: number): Promise<string[]> => {
    const scope = { installation, permissions: { metadata: 'read' } } as const
    const { token } = await tokens.obtain({ profile: ADMIN_PROFILE, scope })
    const { items, isWhole } = await link.listRepositories(token)
    // One that cannot be read is not gone.
    if (!isWhole) throw new Failure('github-unexpected', 'a repository of the list cannot be read')
    return items.map(({ name }) => name)
  }
  return createDrift({
    ...deps,
    selections: createSelections({ ...deps, facts: deps.store.facts, repositoriesOf, changedMs: link.findChangedMs }),
    changeNotifier: createChangeNotifier(deps),
    findToken: () => tokens.live()[0]?.token,
    onNarrowed: tokens.doubt,
  })
}
