// What GitHub says to the App, judged: keys, installations, permissions against profiles, and what a token shows.

import test from 'ava'
import type { Asked } from '../../src/service/limits.ts'
import { judgeInstallations, judgeKeys, judgeLook, permissionRow } from '../../src/doctor/judge.ts'
import type { Look } from '../../src/doctor/probe.ts'
import type { App, Installation } from '../../src/protocol/connection.ts'
import { type Code, Failure } from '../../src/protocol/errors.ts'
import type { Profile } from '../../src/protocol/profile.ts'
import type { CheckRow } from '../../src/protocol/wire-check.ts'

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

test('without a key nothing is asked, and it is said why', t => {
  const { rows, app: found, closedBy } = judgeKeys([], HOST)
  t.deepEqual(
    rows.map(({ layer }) => layer),
    ['egress', 'key', 'app', 'installation', 'permissions', 'repositories', 'quota'],
  )
  t.true(rows.every(({ evidence }) => evidence === 'Not asked: no key is stored.'))
  t.is(closedBy, 'no key is stored')
  t.is(found, undefined)
})

test('of several keys each has its row, with what it took and what to do', t => {
  const bad = (fingerprint: string, code: Code) => ({ fingerprint, asked: failure(code) })
  const none = judgeKeys([bad('one', 'key-rejected'), bad('two', 'key-rejected')], HOST)
  t.deepEqual(
    none.rows.map(({ layer, subject, evidence, took_ms }) => [layer, subject, evidence, took_ms]),
    [
      ['key', 'one', 'GitHub said key-rejected.', 5],
      ['key', 'two', 'GitHub said key-rejected.', 5],
      ['app', undefined, 'Not asked: the key fails.', 0],
    ],
  )
  t.is(none.closedBy, 'the key fails')
  const one = judgeKeys(
    [bad('one', 'quota'), bad('two', 'key-rejected'), { fingerprint: 'three', asked: value(app) }],
    HOST,
  )
  t.deepEqual(
    one.rows.map(({ verdict, evidence, next }) => [verdict, evidence, next]),
    [
      ['skipped', "Not asked: GitHub's rate limit fails.", undefined],
      [
        'warning',
        'GitHub said key-rejected; three signs in its place.',
        'Take it out with `ghconnect keys retire`, once the other one is proven.',
      ],
      ['ok', 'GitHub accepts this key.', undefined],
      ['ok', 'GitHub knows it: ghe of octo-org, id 7.', undefined],
    ],
  )
  t.is(one.rows.at(-1)?.took_ms, 5)
  t.is(one.closedBy, undefined)
})

test('each installation says how much it covers, or since when it is suspended and who can end that', t => {
  const asking = { app, profiles: [], host: HOST, isAwaited: false }
  const suspended = { ...installation, id: 2, suspendedAtMs: Date.UTC(2026, 4, 1) }
  const selected = { ...installation, id: 3, repositorySelection: 'selected' } as const
  const { rows, live, closedBy } = judgeInstallations(value([installation, suspended, selected]), asking)
  t.deepEqual(
    rows.map(({ subject, evidence, next, took_ms }) => [subject, evidence, next, took_ms]),
    [
      ['octo-org', 'Installation 1 on all repositories.', undefined, 5],
      [
        'octo-org',
        'Installation 2 is suspended since 2026-05-01T00:00:00.000Z.',
        "Let an owner of octo-org unsuspend it in the account's settings.",
        5,
      ],
      ['octo-org', 'Installation 3 on selected repositories.', undefined, 5],
    ],
  )
  t.is(rows[1]?.code, 'suspended')
  t.deepEqual(
    live.map(({ installation: { id } }) => id),
    [1, 3],
  )
  t.is(closedBy, undefined)
})

test('that no installation is there is told, as what is awaited or what is missing', t => {
  const asking = { app, profiles: [], host: HOST, isAwaited: true }
  const awaited = judgeInstallations(value([]), asking)
  t.like(awaited.rows[0], { evidence: 'The App is not installed yet.', code: 'installation-not-found', took_ms: 5 })
  t.is(awaited.closedBy, 'the App is not installed')
  t.is(
    judgeInstallations(value([]), { ...asking, isAwaited: false }).rows[0]?.evidence,
    'GitHub lists no installation of the App.',
  )
  const blocked = judgeInstallations(failure('account-policy'), asking)
  t.deepEqual(told(blocked.rows), ['installation failed'])
  t.is(blocked.closedBy, 'the installation fails')
  const outage = judgeInstallations(failure('github-outage'), asking)
  t.deepEqual(
    outage.rows.map(({ layer, subject }) => [layer, subject]),
    [
      ['host', HOST],
      ['installation', undefined],
    ],
  )
})

test('a profile without an installation is a warning where there are several, and a failure where no other profile is left', t => {
  const asking = { app, host: HOST, isAwaited: false }
  const two = value([installation, { ...installation, id: 2, account: { type: 'user', login: 'hubot' } as const }])
  const { installation: _, ...unnamed } = profile('a')
  const astray = (...profiles: Profile[]) => judgeInstallations(two, { ...asking, profiles }).rows.slice(2)
  t.like(astray(unnamed, profile('b')), [
    {
      subject: 'a',
      verdict: 'warning',
      evidence: 'Profile a names no installation, and there are several.',
      next: 'Name one with `installation` in the profile.',
    },
  ])
  const nowhere = profile('c', { installation: 77 })
  t.like(astray(nowhere, profile('b')), [{ subject: '77', verdict: 'warning' }])
  t.like(astray(nowhere), [
    {
      subject: '77',
      verdict: 'failed',
      code: 'installation-not-found',
      evidence: 'Profile c names 77, where the App is not installed.',
      next: 'Install it: https://github.com/apps/ghe/installations/new',
    },
  ])
})

test('what is granted is told, with how many profiles are within it, and each that is not', t => {
  const of = (...profiles: Profile[]) => permissionRow({ installation, profiles }, app, 5)
  const granted = 'Granted: contents: read, metadata: read'
  t.like(of(profile('a')), {
    evidence: `${granted}; no profile asks for any by name.`,
    took_ms: 5,
    subject: 'octo-org',
  })
  const reading = profile('a', { permissions: { contents: 'read' } })
  t.is(of(reading).evidence, `${granted}; 1 profile within them.`)
  t.is(of(reading, reading, profile('b')).evidence, `${granted}; 2 profiles within them.`)
  const lacking = of(
    reading,
    profile('b', { permissions: { issues: 'read' } }),
    profile('c', { permissions: { actions: 'read' } }),
  )
  t.is(lacking.evidence, 'Profile b asks for issues: read; profile c asks for actions: read, which is not granted.')
  t.regex(
    lacking.next ?? '',
    /^Add it to the App under .*, then let an owner of octo-org approve it under /,
    'one is not even asked for',
  )
})

test('what a token showed is told in figures, with whose profile it concerns', t => {
  const evidence = (asked: Asked<Look>, more: { proxy?: string } = {}) => judge(asked, more).map(row => row.evidence)
  t.deepEqual(evidence(value(look)).slice(0, 2), [
    "No IP allow list is in the way of 10.0.0.5; GitHub's API does not tell which address it sees.",
    '2 repositories, and those that profiles name are among them.',
  ])
  t.regex(evidence(value(look), { proxy: 'http://p:1' })[0] ?? '', /in the way of http:\/\/p:1;/)
  t.regex(
    evidence(value({ ...look, total: 1, missing: ['gone'] }))[1] ?? '',
    /^Profile a: not among the 1 repository of/,
  )
  const other = judgeLook(
    {
      installation,
      profiles: [profile('a', { repositories: ['web'] }), profile('b', { repositories: ['gone'] }), profile('c')],
    },
    value({ ...look, missing: ['gone'] }),
    { ...context, from: undefined },
  )
  t.regex(other[0]?.evidence ?? '', /in the way of this machine;/)
  t.regex(other[1]?.evidence ?? '', /^Profile b: /)
  t.deepEqual(
    other.map(({ subject, took_ms }) => [subject, took_ms]),
    [
      ['octo-org', 5],
      ['octo-org', 5],
      ['octo-org', 0],
    ],
  )
})

test('a quota is well above the reserve, a warning below it and a failure at its end, with the minutes until it is reset', t => {
  const quotaOf = (remaining: number, resetAtMs = 60_001) =>
    judge(value({ ...look, quota: { limit: 5000, remaining, resetAtMs } }))[2]
  const next = 'Find out who uses the tokens so much; what is in use is served until it ends.'
  t.like(quotaOf(101), { verdict: 'ok', evidence: '101 of 5000 requests are left, until it is reset in 2 minutes.' })
  t.like(quotaOf(100, 60_000), {
    verdict: 'warning',
    evidence: '100 of 5000 requests are left, until it is reset in 1 minute; below 100 no token is refreshed ahead.',
    next,
  })
  t.like(quotaOf(1), { verdict: 'warning' })
  t.like(quotaOf(0, -5), {
    verdict: 'failed',
    code: 'quota',
    evidence: '0 of 5000 requests are left, until it is reset in 0 minutes; no token can be minted before that.',
    next,
  })
})
