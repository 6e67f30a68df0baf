// What changed between two looks, in words, and who is followed under another name.

import test from 'ava'
import {
  appChanges,
  followAccount,
  followOwner,
  installationChanges,
  narrowed,
  pendingPermissions,
} from '../../../src/core/connection/drift-rules.ts'
import type { Account, App, Installation, Live } from '../../../src/protocol/connection.ts'

const org = (login: string): Account => ({ type: 'organization', login })
const one = (more: Partial<Installation> = {}): Installation => ({
  id: 7,
  account: org('octo-org'),
  repositorySelection: 'all',
  permissions: { contents: 'read', metadata: 'read' },
  htmlUrl: 'https://github.com/organizations/octo-org/settings/installations/7',
  ...more,
})
const app: App = {
  id: 42,
  clientId: 'Iv1',
  slug: 'octo-app',
  name: 'Octo App',
  owner: org('octo-org'),
  htmlUrl: 'https://github.com/apps/octo-app',
  permissions: { contents: 'read', metadata: 'read' },
}
const details = (before: Installation[], after: Installation[]): string[] =>
  installationChanges(before, after).map(({ detail }) => detail)

test('nothing changed is nothing said, whatever the order of permissions and the case of names', t => {
  const other = one({ permissions: { metadata: 'read', contents: 'read' }, account: org('Octo-Org') })
  t.deepEqual(details([one()], [other]), [])
  t.deepEqual(appChanges(app, { ...app, permissions: { metadata: 'read', contents: 'read' } }), [])
})

test('installations that come, go and come again under another id', t => {
  t.deepEqual(details([], [one()]), ['octo-org: installation 7 is new'])
  t.deepEqual(details([one()], []), ['octo-org: installation 7 is no more'])
  t.deepEqual(details([one()], [one({ id: 9 })]), [
    'octo-org: installation 9 in place of 7',
    'octo-org: installation 7 is no more',
  ])
})

test('a suspension is a change where it is not the state of the whole', t => {
  const suspended = one({ suspendedAtMs: 1 })
  const other = one({ id: 8, account: org('hexa') })
  t.deepEqual(details([one()], [suspended]), [])
  t.deepEqual(details([one(), other], [suspended, other]), ['octo-org: suspended'])
})

test('tokens are narrowed by a selection and by permissions that are taken away, and by nothing that is given', t => {
  t.deepEqual(narrowed([one()], [one({ repositorySelection: 'selected' })]), [7])
  t.deepEqual(narrowed([one({ repositorySelection: 'selected' })], [one()]), [])
  t.deepEqual(narrowed([one()], [one({ permissions: { metadata: 'read' } })]), [7])
  t.deepEqual(narrowed([one()], [one({ permissions: { contents: 'write', metadata: 'read' } })]), [])
  t.deepEqual(narrowed([], [one()]), [])
})

test('an account is followed by its installation, and no other account is taken for it', t => {
  t.deepEqual(followAccount(org('octo-org'), [one()], [one({ account: org('new-org') })]), org('new-org'))
  t.deepEqual(followAccount(org('octo-org'), [one()], [one({ id: 9, account: org('hexa') })]), org('octo-org'))
  t.deepEqual(followAccount(org('octo-org'), [one()], []), org('octo-org'))
  const both = [one({ account: org('hexa') }), one({ id: 8 })]
  t.deepEqual(followAccount(org('octo-org'), [one()], both), org('octo-org'), 'it is still there')
})

test('the owner of the App is followed where the App is installed on him, under his new name', t => {
  const live = { kind: 'connected', app, account: org('octo-org'), host: { machineId: '', hostname: '' } } as const
  const connection: Live = { ...live, sinceMs: 0, enabledAtMs: 0 }
  const now = { ...app, owner: org('new-org') }
  t.deepEqual(followOwner(connection, now, [one({ id: 9, account: org('new-org') })]), org('new-org'))
  t.deepEqual(followOwner(connection, now, [one()]), org('octo-org'), 'the App was transferred, the account stays')
  t.deepEqual(followOwner(connection, app, [one()]), org('octo-org'))
})

test('pending is what the App asks for beyond what the installation holds', t => {
  const asks = { permissions: { contents: 'write', issues: 'read', metadata: 'read' } } as const
  t.deepEqual(pendingPermissions(asks, one()), { contents: 'write', issues: 'read' })
  t.deepEqual(pendingPermissions(asks, one({ permissions: { contents: 'admin', issues: 'write' } })), {})
})

const [hexa, hubot] = [
  one({ id: 8, account: org('hexa') }),
  one({ id: 9, account: { type: 'user', login: 'hubot' }, repositorySelection: 'selected' }),
]

test('each change of an installation has its event, its installation and its words, and those that are gone come last', t => {
  const before = [one(), hexa, hubot]
  const after = [
    one({
      account: org('new-org'),
      repositorySelection: 'selected',
      permissions: { contents: 'write', issues: 'read' },
    }),
    { ...hubot, repositorySelection: 'all', suspendedAtMs: 0 } as const,
    one({ id: 10, account: org('late') }),
  ]
  t.deepEqual(installationChanges(before, after), [
    {
      event: 'connection.renamed',
      subject: '7',
      detail: 'octo-org is named new-org now: renamed or transferred; installation 7 is the same',
    },
    { event: 'connection.repositories', subject: '7', detail: 'new-org: some repositories, no longer all of them' },
    {
      event: 'connection.permissions',
      subject: '7',
      detail: 'new-org: contents: read → write, issues: none → read, metadata: read → none',
    },
    { event: 'connection.repositories', subject: '9', detail: 'hubot: all repositories, no longer some of them' },
    { event: 'connection.suspension', subject: '9', detail: 'hubot: suspended' },
    { event: 'connection.installations', subject: '10', detail: 'late: installation 10 is new' },
    { event: 'connection.installations', subject: '8', detail: 'hexa: installation 8 is no more' },
  ])
  t.deepEqual(details([one(), { ...hexa, suspendedAtMs: 0 }], [one(), hexa]), ['hexa: no longer suspended'])
})

test('what changed of the App is told one by one: its name or slug, its owner, what it asks for', t => {
  const told = (now: Partial<App>) => appChanges(app, { ...app, ...now })
  const named = 'the App Octo App is named Octo App now (https://github.com/apps/octo-app)'
  t.deepEqual(told({ slug: 'other' }), [{ event: 'connection.app', subject: '42', detail: named }])
  t.deepEqual(
    told({ name: 'New', owner: org('new-org'), permissions: { contents: 'write' } }).map(({ detail }) => detail),
    [
      'the App Octo App is named New now (https://github.com/apps/octo-app)',
      'the App belongs to new-org now, not to octo-org: renamed or transferred',
      'the App asks for other permissions: contents: read → write, metadata: read → none',
    ],
  )
  t.deepEqual(
    told({ permissions: { contents: 'write', metadata: 'read' } }).map(({ detail }) => detail),
    ['the App asks for other permissions: contents: read → write'],
    'what stays is not told',
  )
  t.deepEqual(told({ owner: org('OCTO-ORG') }), [], 'names of accounts have no case')
})

test('of several installations those that were narrowed are named, and none that came anew', t => {
  const less = { permissions: { metadata: 'read' } } as const
  t.deepEqual(
    narrowed([one(), hexa, hubot], [{ ...hubot, ...less }, one(), { ...hexa, ...less }, one({ id: 10 })]),
    [9, 8],
  )
})

test('an owner that is not the account, or is it still, is not followed', t => {
  const live: Live = {
    kind: 'connected',
    app,
    account: org('octo-org'),
    host: { machineId: '', hostname: '' },
    sinceMs: 0,
    enabledAtMs: 0,
  }
  const now = { ...app, owner: org('new-org') }
  const moved = [one({ id: 9, account: org('new-org') })]
  t.deepEqual(followOwner({ ...live, account: org('hexa') }, now, moved), org('hexa'), 'the App was never its own')
  t.deepEqual(followOwner(live, now, [...moved, one()]), org('octo-org'), 'it is installed under the old name, too')
  t.deepEqual(followOwner(live, { ...app, owner: org('OCTO-org') }, moved), org('octo-org'))
})
