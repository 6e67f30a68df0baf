// What administrators change of the connection: enable, import, keys, disable.

import type { Account, Host } from './domain/connection.ts'
import type { Failure } from './domain/errors.ts'
import { ADMIN_PROFILE } from './domain/policy.ts'
import { exportPem, readPrivateKey } from './github/app-jwt.ts'
import type { AppLink } from './operations/app-link.ts'
import { createDisable, type Disable } from './operations/disable.ts'
import type { Drift } from './operations/drift.ts'
import { createEnable, type Enable } from './operations/enable.ts'
import type { Events } from './operations/events.ts'
import { createImport, type ImportApp } from './operations/import.ts'
import type { Journey } from './operations/journey.ts'
import { createKeys, type Keys } from './operations/keys.ts'
import type { Tokens } from './operations/tokens.ts'
import type { Trail } from './operations/trail.ts'
import type { Clock } from './platform/clock.ts'
import type { Log } from './platform/log.ts'

export const createChanges = (deps: {
  journey: Journey
  link: AppLink
  tokens: Tokens
  drift: Drift
  trail: Trail
  events: Events
  clock: Clock
  log: Log
  host: () => Host
  addresses: () => { readonly url: string; readonly apiUrl: string }
  formUrl: (account: Account, state: string) => string
  pageFault: () => Failure | undefined
  dropWaiting: () => void
}): { enable: Enable; importApp: ImportApp; keys: Keys; disable: Disable } => {
  const { journey, tokens } = deps
  const exportKey = (key: ReturnType<typeof readPrivateKey>, addedAtMs: number) => ({
    fingerprint: key.fingerprint,
    pem: exportPem(key),
    addedAtMs,
  })
  const shared = { ...deps, readKey: readPrivateKey, exportKey }
  const proveTokens = async (): Promise<void> => {
    for (const { id } of journey.read().installations) {
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
