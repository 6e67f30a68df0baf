// The states: each is explained with something to do, and what may be done in it is told by its kind.

import test from 'ava'
import {
  type App,
  appSettingsUrl,
  appsSettingsUrl,
  type Connection,
  explainConnection,
  isLive,
  isOtherHost,
  isTrouble,
  mayCallOut,
  mayServe,
  TROUBLES,
} from '../../src/domain/connection.ts'

const account = { type: 'organization', login: 'octo-org' } as const
const app: App = {
  id: 1,
  clientId: 'Iv1',
  slug: 'ghe',
  name: 'ghe',
  owner: account,
  htmlUrl: 'https://octo.ghe.com/apps/ghe',
  permissions: {},
}
const established = { app, account, host: { machineId: 'm', hostname: 'h' }, enabledAtMs: 1, sinceMs: 1 }
const pending = { kind: 'awaiting-app', sinceMs: 1, account, state: 'ab', expiresAtMs: 2 } as const
const EVERY: readonly Connection[] = [
  { kind: 'disconnected', sinceMs: 1 },
  { kind: 'disconnected', sinceMs: 1, remark: 'The App remains.' },
  pending,
  { ...pending, conversion: { code: 'c', startedAtMs: 1 } },
  { kind: 'key-lost', sinceMs: 1, account, evidence: 'why' },
  { ...established, kind: 'awaiting-installation' },
  { ...established, kind: 'connected' },
  ...TROUBLES.map((kind): Connection => ({ ...established, kind, evidence: 'why' })),
  { ...established, kind: 'quarantined', evidence: 'why' },
  ...(['revoke', 'uninstall', 'delete-app'] as const).map(
    (step): Connection => ({ ...established, kind: 'disconnecting', step, deadlineMs: 2 }),
  ),
]

test('every state says what it means and what to do next', t => {
  for (const connection of EVERY) {
    const { meaning, next } = explainConnection(connection, 'https://github.com')
    t.regex(meaning, /^[A-Z].*\.$/, connection.kind)
    t.regex(next, /^[A-Z].*(\.|https:\/\/\S+)$/, connection.kind)
    t.notRegex(meaning + next, /undefined|\[object/, connection.kind)
    if ('evidence' in connection && connection.kind !== 'quarantined') t.true(meaning.includes('why'), connection.kind)
  }
})

test('what may be done is told by the state', t => {
  const those = (may: (connection: Connection) => boolean) => [...new Set(EVERY.filter(may).map(({ kind }) => kind))]
  t.deepEqual(those(mayServe), ['connected', 'suspended', 'key-rejected', 'blocked'])
  t.deepEqual(
    those(connection => !mayCallOut(connection)),
    ['quarantined'],
  )
  t.deepEqual(
    those(connection => !isLive(connection)),
    ['disconnected', 'awaiting-app', 'key-lost'],
  )
  t.deepEqual(
    those(({ kind }) => isTrouble(kind)),
    [...TROUBLES],
  )
  t.false(isTrouble('locked'))
})

test('a machine is another one when both marks differ', t => {
  const stored = { machineId: 'a', hostname: 'x' }
  t.true(isOtherHost(stored, { machineId: 'b', hostname: 'y' }))
  t.false(isOtherHost(stored, { machineId: 'a', hostname: 'y' }))
  t.false(isOtherHost(stored, { machineId: 'b', hostname: 'x' }))
  t.false(isOtherHost(stored, stored))
})

test('the pages of settings are those of the owner, on the host that GitHub named', t => {
  t.is(appSettingsUrl(app), 'https://octo.ghe.com/organizations/octo-org/settings/apps/ghe')
  t.is(
    appSettingsUrl({ ...app, owner: { type: 'enterprise', login: 'e' } }),
    'https://octo.ghe.com/enterprises/e/settings/apps/ghe',
  )
  t.is(appSettingsUrl({ ...app, owner: { type: 'user', login: 'u' } }), 'https://octo.ghe.com/settings/apps/ghe')
  t.is(appsSettingsUrl('https://github.com/', account), 'https://github.com/organizations/octo-org/settings/apps')
})
