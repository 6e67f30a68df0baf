// The states: each is explained with something to do, and what may be done in it is told by its kind.

import test from 'ava'
import {
  type App,
  appSettingsUrl,
  appsSettingsUrl,
  type Connection,
  explainConnection,
  failureOfState,
  isLive,
  isOtherHost,
  isSameApp,
  isTrouble,
  mayCallOut,
  mayServe,
  TROUBLES,
} from '../../src/protocol/connection.ts'

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
  const nameless = { machineId: '', hostname: 'x' }
  t.true(isOtherHost(nameless, { machineId: '', hostname: 'y' }), 'two without a machine-id have none in common')
  t.false(isOtherHost(nameless, nameless))
})

test('what an App was is told by its id, its machine and when it was enabled; state and name may change', t => {
  const before: Connection = { ...established, kind: 'connected' }
  t.true(isSameApp(before, { ...before, sinceMs: 9, app: { ...app, name: 'other' } }))
  t.true(isSameApp(before, { ...established, kind: 'suspended', evidence: 'why' }))
  const others: readonly Connection[] = [
    { ...before, app: { ...app, id: 2 } },
    { ...before, enabledAtMs: 2 },
    { ...before, host: { machineId: 'n', hostname: 'h' } },
    { ...before, host: { machineId: 'm', hostname: 'i' } },
    { kind: 'disconnected', sinceMs: 1 },
    pending,
  ]
  for (const other of others) {
    t.false(isSameApp(before, other), JSON.stringify(other))
    t.false(isSameApp(other, before), JSON.stringify(other))
  }
})

test('what to do next names the command or the page that this very state needs', t => {
  const nextOf = (connection: Connection): string => explainConnection(connection, 'https://octo.ghe.com/').next
  const meaningOf = (connection: Connection): string => explainConnection(connection, 'https://octo.ghe.com/').meaning
  const settings = 'https://octo.ghe.com/organizations/octo-org/settings/apps'
  const trouble = (kind: (typeof TROUBLES)[number], evidence = 'why'): Connection => ({
    ...established,
    kind,
    evidence,
  })
  const quarantined: Connection = { ...established, kind: 'quarantined', evidence: 'why' }
  const disabling = (step: 'revoke' | 'uninstall' | 'delete-app'): Connection => ({
    ...established,
    kind: 'disconnecting',
    step,
    deadlineMs: 2,
  })
  const expected: readonly (readonly [Connection, RegExp])[] = [
    [{ kind: 'disconnected', sinceMs: 1 }, /^Run `ghconnect enable --organization ORG`\.$/],
    [pending, /^Open the link that `ghconnect enable` printed/],
    [{ ...pending, conversion: { code: 'c', startedAtMs: 1 } }, /^Nothing is lost, .* for an hour/],
    [{ kind: 'key-lost', sinceMs: 1, account, evidence: 'e' }, new RegExp(`^Under ${settings} .*\`ghconnect import`)],
    [
      { ...established, kind: 'awaiting-installation' },
      /^Install it: https:\/\/octo\.ghe\.com\/apps\/ghe\/installations\/new$/,
    ],
    [{ ...established, kind: 'connected' }, /^Nothing to do\.$/],
    [trouble('suspended'), /^Let an owner of octo-org unsuspend/],
    [trouble('uninstalled'), /^Install it again: https:\/\/octo\.ghe\.com\/apps\/ghe\/installations\/new/],
    [trouble('app-deleted'), /^Run `ghconnect disable --local`, then `ghconnect enable`/],
    [trouble('key-rejected'), new RegExp(`^Generate a key under ${settings}/ghe and run \`ghconnect keys add FILE\``)],
    [trouble('blocked', 'the IP allow list says no'), /egress address to the allow list/],
    [trouble('blocked', 'SAML'), /policies on Apps and its single sign-on/],
    [quarantined, /`ghconnect adopt`.*`ghconnect disable --local`/],
    [disabling('revoke'), /^Wait: .*`ghconnect disable --local`/],
    [disabling('uninstall'), /^Wait: /],
    [
      disabling('delete-app'),
      new RegExp(`^Delete the App under ${settings}/ghe/advanced.*\`ghconnect disable --no-wait\``),
    ],
  ]
  for (const [connection, next] of expected) t.regex(nextOf(connection), next, connection.kind)
  t.regex(meaningOf(trouble('blocked', 'the IP allow list says no')), /^The IP allow list of octo-org/)
  t.regex(meaningOf(quarantined), /another machine \(h\)/)
  t.is(meaningOf({ ...established, kind: 'connected' }), 'Connected to octo-org as ghe.')
  t.is(meaningOf({ kind: 'disconnected', sinceMs: 1, remark: 'The App remains.' }), 'The App remains.')
  t.deepEqual(
    (['revoke', 'uninstall', 'delete-app'] as const).map(
      step => /(?:revoked|uninstalled|deleted)/.exec(meaningOf(disabling(step)))?.[0],
    ),
    ['revoked', 'uninstalled', 'deleted'],
  )
  t.regex(meaningOf({ ...pending, conversion: { code: 'c', startedAtMs: 1 } }), /^The App was created\./)
})

test('the pages of settings are those of the owner, on the host that GitHub named', t => {
  t.is(appSettingsUrl(app), 'https://octo.ghe.com/organizations/octo-org/settings/apps/ghe')
  t.is(
    appSettingsUrl({ ...app, owner: { type: 'enterprise', login: 'e' } }),
    'https://octo.ghe.com/enterprises/e/settings/apps/ghe',
  )
  t.is(appSettingsUrl({ ...app, owner: { type: 'user', login: 'u' } }), 'https://octo.ghe.com/settings/apps/ghe')
  t.is(appSettingsUrl({ ...app, slug: '' }), 'https://octo.ghe.com/organizations/octo-org/settings/apps')
  t.is(appsSettingsUrl('https://github.com/', account), 'https://github.com/organizations/octo-org/settings/apps')
})

const codeOf = (state: string): string | undefined => failureOfState({ state, meaning: 'm', next: 'n' })?.code

test('each state without tokens is a problem of its own, and the others are none', t => {
  t.deepEqual(
    Object.fromEntries(
      [
        'disconnected',
        'disconnecting',
        'key-lost',
        'quarantined',
        'isolated',
        'locked',
        'awaiting-unlock',
        ...TROUBLES,
      ].map(state => [state, codeOf(state)]),
    ),
    {
      disconnected: 'not-connected',
      disconnecting: 'not-connected',
      'key-lost': 'key-lost',
      quarantined: 'quarantined',
      isolated: 'isolated',
      locked: 'locked',
      'awaiting-unlock': 'locked',
      suspended: 'suspended',
      uninstalled: 'installation-not-found',
      'app-deleted': 'app-not-found',
      'key-rejected': 'key-rejected',
      blocked: 'ip-blocked',
    },
  )
  for (const state of ['connected', 'awaiting-app', 'awaiting-installation']) t.is(codeOf(state), undefined, state)
})

test('the problem says what the state means, and what it asks for', t => {
  const failure = failureOfState({ state: 'blocked', meaning: 'It is blocked.', next: 'Unblock it.' })
  t.is(failure?.message, 'It is blocked.')
  t.is(failure?.next, 'Unblock it.')
})
