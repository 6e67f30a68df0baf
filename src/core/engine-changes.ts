// What administrators change of the connection: enable, import, keys, disable.

import type { Account, Host } from '../protocol/connection.ts'
import type { Failure } from '../protocol/errors.ts'
import { ADMIN_PROFILE } from '../protocol/profile.ts'
import { exportPem, readPrivateKey } from './github/app-jwt.ts'
import type { AppLink } from './connection/app-link.ts'
import { createDisable, type Disable } from './connection/disable.ts'
import type { Drift } from './connection/drift.ts'
import { createEnable, type Enable } from './connection/enable.ts'
import type { Events } from './audit/events.ts'
import { createImport, type ImportApp } from './connection/import.ts'
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
}): { enable: Enable; importApp: ImportApp; keys: Keys; disable: Disable } => {
  const { connectionState, tokens } = deps
  const exportKey = (key: ReturnType<typeof readPrivateKey>, addedAtMs: number) => ({
    fingerprint: key.fingerprint,
    pem: exportPem(key),
    addedAtMs,
  })
  const shared = { ...deps, readKey: readPrivateKey, exportKey }
  const proveTokens = async (): Promise<void> => {
    for (const { id } of connectionState.read().installations) {
      await tokens.obtain({ profile: ADMIN_PROFILE, scope: { installation: id, permissions: { metadata: 'read' } } })
    }
  }
  const enable = createEnable({ ...shared, onConnected: proveTokens })
  return {
    enable,
    importApp: createImport({ ...shared, resume: enable.resume }),
    keys: createKeys({ ...shared, check: deps.drift.check }),
    disable: createDisable(deps),
  }
}
