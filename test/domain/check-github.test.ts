// What GitHub says to the App, judged: keys, installations, permissions against profiles, and what a token shows.

import test from 'ava'
import type { Asked } from '../../src/domain/check.ts'
import { judgeInstallations, judgeKeys, judgeLook, type Look, permissionRow } from '../../src/domain/check-github.ts'
import type { App, Installation } from '../../src/domain/connection.ts'
import { type Code, Failure } from '../../src/domain/errors.ts'
import type { Profile } from '../../src/domain/policy.ts'
import type { CheckRow } from '../../src/domain/wire-check.ts'

const HOST = 'api.github.com'
const app: App = {
  id: 7,
  clientId: 'Iv7',
  slug: 'ghe',
  name: 'ghe',
  owner: { type: 'organization', login: 'octo-org' },
  htmlUrl: 'https://github.com/apps/ghe',
  permissions: { metadata: 'read', issues: 'write' },
}
const installation: Installation = {
  id: 1,
  account: { type: 'organization', login: 'octo-org' },
  repositorySelection: 'all',
  permissions: { metadata: 'read', contents: 'read' },
  htmlUrl: 'https://github.com/organizations/octo-org/settings/installations/1',
}
const profile = (name: string, more: Partial<Profile> = {}): Profile => ({
  name,
  installation: 'octo-org',
  allow: { users: [], groups: [], units: [] },
  ...more,
})

const value = <T>(of: T): Asked<T> => ({ value: of, tookMs: 5 })
const failure = (code: Code): Asked<never> => ({ failure: new Failure(code, `GitHub said ${code}`), tookMs: 5 })
const told = (rows: readonly CheckRow[]): string[] => rows.map(({ layer, verdict }) => `${layer} ${verdict}`)

test('a key that works proves the App, and another one that is rejected is a warning', t => {
  const both = judgeKeys(
    [
      { fingerprint: 'SHA256:old', asked: failure('key-rejected') },
      { fingerprint: 'SHA256:new', asked: value(app) },
    ],
    HOST,
  )
  t.deepEqual(told(both.rows), ['key warning', 'key ok', 'app ok'])
  t.regex(both.rows[0]?.evidence ?? '', /SHA256:new signs in its place/)
  t.is(both.app, app)
})

test('where no key works the layer that is to blame is named, and nothing behind it asked', t => {
  const cases: readonly (readonly [Code, string[]])[] = [
    ['key-rejected', ['key failed', 'app skipped']],
    ['app-not-found', ['app failed', 'key skipped']],
    ['clock-skew', ['clock failed', 'key skipped', 'app skipped']],
    ['quota', ['quota failed', 'key skipped', 'app skipped']],
    ['github-outage', ['host failed', 'key skipped', 'app skipped']],
  ]
  for (const [code, expected] of cases) {
    const { rows, app: found, closedBy } = judgeKeys([{ fingerprint: 'SHA256:one', asked: failure(code) }], HOST)
    t.deepEqual(told(rows), expected, code)
    t.is(found, undefined)
    t.truthy(closedBy)
    if (code === 'github-outage') t.is(rows[0]?.subject, HOST, 'it takes the place of the row of that host')
  }
})

test('installations: none, one that is suspended beside one that works, and profiles that fit none', t => {
  const context = { app, profiles: [profile('a')], host: HOST, isAwaited: false }
  const none = judgeInstallations(value([]), context)
  t.deepEqual(told(none.rows), ['installation failed'])
  t.regex(none.rows[0]?.next ?? '', /apps\/ghe\/installations\/new$/)
  t.deepEqual(told(judgeInstallations(value([]), { ...context, isAwaited: true }).rows), ['installation failed'])

  const other = { ...installation, id: 2, account: { type: 'user', login: 'hubot' }, suspendedAtMs: 0 } as const
  const two = judgeInstallations(value([installation, other]), {
    ...context,
    profiles: [profile('a'), profile('b', { installation: 'nobody' })],
  })
  t.deepEqual(told(two.rows), ['installation ok', 'installation failed', 'installation warning'])
  t.regex(two.rows[2]?.evidence ?? '', /Profile b names nobody, where the App is not installed/)
  t.deepEqual(
    two.live.map(({ installation: { id }, profiles }) => [id, profiles.map(({ name }) => name)]),
    [[1, ['a']]],
  )
  t.deepEqual(told(judgeInstallations(failure('quota'), context).rows), ['quota failed', 'installation skipped'])
})

test('what a profile asks for beyond the grant is told, with whom to ask', t => {
  const of = (...profiles: Profile[]) => permissionRow({ installation, profiles }, app, 5)
  t.is(of(profile('a', { permissions: { contents: 'read' } }), profile('all')).verdict, 'ok')
  const pending = of(profile('a', { permissions: { issues: 'write', contents: 'read' } }))
  t.like(pending, { verdict: 'failed', code: 'permission-not-granted' })
  t.is(pending.evidence, 'Profile a asks for issues: write, which is not granted.')
  t.regex(pending.next ?? '', /^The App asks for it already: .*settings\/installations\/1$/)
  const lacking = of(profile('a', { permissions: { contents: 'write' } }))
  t.regex(
    lacking.next ?? '',
    /^Add it to the App under https:\/\/github\.com\/organizations\/octo-org\/settings\/apps\/ghe\/permissions/,
  )
})

const look: Look = { total: 2, missing: [], unasked: 0, quota: { limit: 5000, remaining: 4000, resetAtMs: 600_000 } }
const context = { proxy: undefined, from: '10.0.0.5', reserve: 100, githubMs: 0, host: HOST }
const judge = (asked: Asked<Look>, more: { proxy?: string } = {}) =>
  judgeLook({ installation, profiles: [profile('a', { repositories: ['Web', 'gone'] })] }, asked, {
    ...context,
    ...more,
  })

test('a token shows allow list, repositories and quota', t => {
  t.deepEqual(told(judge(value(look))), ['egress ok', 'repositories ok', 'quota ok'])
  t.regex(judge(value(look))[2]?.evidence ?? '', /^4000 of 5000 requests are left, until it is reset in 10 minutes\.$/)
  const [, repositories] = judge(value({ ...look, missing: ['gone'] }))
  t.like(repositories, { verdict: 'failed', code: 'repository-not-accessible' })
  t.is(repositories?.evidence, 'Profile a: not among the 2 repositories of the installation: gone.')
  t.regex(judge(value({ ...look, unasked: 3 }))[1]?.evidence ?? '', /3 more named ones were not looked up/)
  const { quota: _, ...silent } = look
  t.is(judge(value(silent))[2]?.verdict, 'skipped')
  t.is(judge(value({ ...look, quota: { limit: 5000, remaining: 100, resetAtMs: 0 } }))[2]?.verdict, 'warning')
})

test('what a token meets is laid at its layer; an allow list says whose address is meant', t => {
  t.deepEqual(told(judge(failure('ip-blocked'))), ['egress failed', 'repositories skipped', 'quota skipped'])
  t.regex(judge(failure('ip-blocked'))[0]?.next ?? '', /behind a NAT that is the NAT's/)
  t.regex(
    judge(failure('ip-blocked'), { proxy: 'http://p:1' })[0]?.next ?? '',
    /from which the proxy http:\/\/p:1 calls GitHub/,
  )
  t.deepEqual(told(judge(failure('quota'))), ['quota failed', 'egress skipped', 'repositories skipped'])
  t.is(judge(failure('timeout'))[0]?.subject, HOST)
})
