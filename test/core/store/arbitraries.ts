// Arbitrary content of a store, for property tests. Apart from the samples, as it takes long to load and children need it not.

import * as fc from 'fast-check'
import type { Connection, Installation } from '../../../src/protocol/connection.ts'
import type { Scope } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import type { StoredKey } from '../../../src/core/store/records.ts'

const text = fc.string({ unit: 'binary', maxLength: 40 })
const timeMs = fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2200, 0) })
const url = fc.webUrl()
const name = fc.stringMatching(/^[a-z][a-z_]{0,12}$/)
const permissions = fc.dictionary(name, fc.constantFrom('read', 'write', 'admin'), { noNullPrototype: true })
const anyAccount = fc.record({ type: fc.constantFrom('organization', 'user', 'enterprise'), login: text })
const id = fc.integer({ min: 1 })
const established = {
  sinceMs: timeMs,
  app: fc.record({
    id,
    clientId: text,
    slug: text,
    name: text,
    owner: anyAccount,
    htmlUrl: url,
    permissions,
  }),
  account: anyAccount,
  host: fc.record({ machineId: text, hostname: text }),
  enabledAtMs: timeMs,
}

/** Every state of the connection. */
export const anyConnection: fc.Arbitrary<Connection> = fc.oneof(
  fc.record(
    { kind: fc.constant('disconnected'), sinceMs: timeMs, remark: text },
    { requiredKeys: ['kind', 'sinceMs'] },
  ),
  fc.record(
    {
      kind: fc.constant('awaiting-app'),
      sinceMs: timeMs,
      account: anyAccount,
      state: text,
      expiresAtMs: timeMs,
      conversion: fc.record({ code: text, startedAtMs: timeMs }),
    },
    { requiredKeys: ['kind', 'sinceMs', 'account', 'state', 'expiresAtMs'] },
  ),
  fc.record({ kind: fc.constant('key-lost'), sinceMs: timeMs, account: anyAccount, evidence: text }),
  fc.record({ kind: fc.constantFrom('awaiting-installation', 'connected'), ...established }),
  fc.record({
    kind: fc.constantFrom('suspended', 'uninstalled', 'app-deleted', 'key-rejected', 'blocked', 'quarantined'),
    evidence: text,
    ...established,
  }),
  fc.record({
    kind: fc.constant('disconnecting'),
    step: fc.constantFrom('revoke', 'uninstall', 'delete-app'),
    deadlineMs: timeMs,
    ...established,
  }),
)

export const anyInstallation: fc.Arbitrary<Installation> = fc.record(
  {
    id,
    account: anyAccount,
    repositorySelection: fc.constantFrom('all', 'selected'),
    permissions,
    htmlUrl: url,
    suspendedAtMs: timeMs,
  },
  { requiredKeys: ['id', 'account', 'repositorySelection', 'permissions', 'htmlUrl'] },
)

export const anyKey: fc.Arbitrary<StoredKey> = fc.record({
  fingerprint: text,
  pem: text.map(pem => new Secret(pem)),
  addedAtMs: timeMs,
})

export const anyScope: fc.Arbitrary<Scope> = fc.record(
  { installation: id, repositories: fc.array(name, { maxLength: 4 }), permissions },
  { requiredKeys: ['installation'] },
)

export { text as anyText, timeMs as anyTimeMs, permissions as anyPermissions }
