// What administrators change of the connection: enable, import, keys, disable.

import type { Account, Host } from '../protocol/connection.ts'
import type { Failure } from '../protocol/errors.ts'
import { ADMIN_PROFILE } from '../protocol/profile.ts'
import { readPrivateKey } from './github/app-jwt.ts'
import type { AppLink } from './connection/app-link.ts'
import { createDisable, type Disable } from './connection/disable.ts'
import type { Drift } from './connection/drift.ts'
import { createEnable, type Enable } from './connection/enable.ts'
import type { Events } from './audit/events.ts'
import type { ConnectionState } from './connection/connection-state.ts'
import { createKeys, type Keys } from './connection/keys.ts'
import type { Tokens } from './tokens/tokens.ts'
import type { AuditWriter } from './audit/audit-writer.ts'
import type { Clock } from '../service/clock.ts'
import type { Log } from '../service/log.ts'

export const createChanges = (deps: {
  connectionState: ConnectionState
  link: AppLink
  tokens: Tokens
  drift: Drift
  audit: AuditWriter
  events: Events
  clock: Clock
  log: Log
  host: () => Host
  addresses: () => { readonly url: string; readonly apiUrl: string }
  formUrl: (account: Account, state: string) => string
  pageFault: () => Failure | undefined
  dropWaiting: () => void
}): { enable: Enable; importApp: Keys['importApp']; keys: Keys; disable: Disable } => {
  const { connectionState, tokens } = deps
  const shared = { ...deps, readKey: readPrivateKey }
  const proveTokens = async (): Promise<void> => {
    for (const { id } of connectionState.read().installations) {
      await tokens.obtain({ profile: ADMIN_PROFILE, scope: { installation: id, permissions: { metadata: 'read' } } })
    }
  }
  const enable = createEnable({ ...shared, onConnected: proveTokens })
  const keys = createKeys({ ...shared, findInstallations: enable.resume, check: deps.drift.check })
  return { enable, importApp: keys.importApp, keys, disable: createDisable(deps) }
}
