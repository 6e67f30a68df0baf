// The difference of two policies, as their callers feel it.

import test from 'ava'
import { comparePolicies, doubtProfile, type Rule } from '../../src/cli/policy-diff.ts'

const NOBODY = { users: [], groups: [], units: [] }
const rule = (own: Partial<Rule> = {}): Rule => ({
  name: 'ci',
  installation: 'octo-org',
  repositories: ['a'],
  permissions: { contents: 'read' },
  ...own,
  allow: { ...NOBODY, users: ['git'], ...own.allow },
})
const lines = (before: readonly Rule[], after: readonly Rule[]): string[] =>
  comparePolicies(before, after).map(({ effect, profile, who, what }) => `${profile}: ${who} ${effect} ${what}`)

test('equal policies change nothing for anyone, in whatever order', t => {
  const other = rule({ name: 'other' })
  t.deepEqual(lines([rule(), other], [other, rule()]), [])
})

test('a profile that comes or goes is a gain or a loss of all whom it admits', t => {
  t.deepEqual(lines([], [rule()]), ['ci: users git gains contents: read on a of octo-org'])
  t.deepEqual(lines([rule()], []), ['ci: users git loses contents: read on a of octo-org'])
  t.deepEqual(lines([], [rule({ allow: { ...NOBODY, users: [] } })]), [], 'nobody is admitted')
  t.deepEqual(lines([rule()], [rule({ allow: { ...NOBODY, users: [] } })]), [
    'ci: users git loses contents: read on a of octo-org',
  ])
})

test('names that enter and leave a list gain and lose, and a list that begins excludes all others', t => {
  const units = (...names: string[]) => rule({ allow: { ...NOBODY, users: ['git'], units: names } })
  t.deepEqual(lines([rule()], [rule({ allow: { ...NOBODY, users: ['root'] } })]), [
    'ci: user git loses contents: read on a of octo-org',
    'ci: user root gains contents: read on a of octo-org',
  ])
  t.deepEqual(lines([rule()], [units('a.service')]), [
    'ci: callers outside units a.service loses contents: read on a of octo-org',
  ])
  t.deepEqual(lines([units('a.service')], [rule()]), [
    'ci: callers outside units a.service gains contents: read on a of octo-org',
  ])
})

test('a scope that changes is told by its parts', t => {
  t.deepEqual(lines([rule()], [rule({ repositories: ['b'] })]), [
    'ci: users git loses repositories a',
    'ci: users git gains repositories b',
  ])
  t.deepEqual(lines([rule()], [rule({ repositories: undefined })]), [
    'ci: users git loses repositories a',
    'ci: users git gains repositories (all)',
  ])
  t.deepEqual(lines([rule()], [rule({ permissions: { contents: 'write' } })]), ['ci: users git gains contents: write'])
  t.deepEqual(lines([rule()], [rule({ permissions: { issues: 'read' } })]), [
    'ci: users git loses contents: read',
    'ci: users git gains issues: read',
  ])
  t.deepEqual(lines([rule()], [rule({ permissions: undefined })]), [
    'ci: users git gains all permissions of the installation',
  ])
  t.deepEqual(lines([rule()], [rule({ installation: 7 })]), [
    'ci: users git loses contents: read on a of octo-org',
    'ci: users git gains contents: read on a of 7',
  ])
})

test('a profile that no installation can satisfy is doubted', t => {
  const held = [{ id: 1, account: { login: 'Octo-Org' }, permissions: { contents: 'read', metadata: 'read' } as const }]
  t.is(doubtProfile(rule(), held), undefined)
  for (const installation of [1, '1', 'octo-ORG'])
    t.is(doubtProfile(rule({ installation, permissions: undefined }), held), undefined, `${installation}`)
  t.is(doubtProfile(rule({ installation: '11' }), held), 'the App is not installed on 11')
  t.is(doubtProfile(rule({ installation: 'elsewhere' }), held), 'the App is not installed on elsewhere')
  t.is(
    doubtProfile(rule({ permissions: { contents: 'write', issues: 'read' } }), held),
    'no installation grants contents: write, issues: read',
  )
})

test('each list names its members by what they are, and callers are told by all of their lists', t => {
  const [a, b] = ['a', 'b'].map(name =>
    rule({ allow: { users: ['git'], groups: [`g${name}`], units: [`${name}.service`] } }),
  )
  if (!a || !b) throw new Error('no rules')
  t.deepEqual(lines([a], [b]), [
    'ci: group ga loses contents: read on a of octo-org',
    'ci: group gb gains contents: read on a of octo-org',
    'ci: unit a.service loses contents: read on a of octo-org',
    'ci: unit b.service gains contents: read on a of octo-org',
  ])
  t.deepEqual(lines([a], [{ ...a, permissions: { contents: 'write' } }]), [
    'ci: users git and groups ga and units a.service gains contents: write',
  ])
  const { installation: _, repositories: __, permissions: ___, ...all } = rule()
  t.deepEqual(lines([], [all]), ['ci: users git gains all permissions on all repositories of the installation'])
  t.deepEqual(lines([rule({ permissions: undefined })], [rule()]), [
    'ci: users git loses all permissions but contents: read',
  ])
})

test('a profile is not doubted where one of several installations grants all of it, and is where each grants a part', t => {
  const held = (id: number, permissions: Record<string, 'read' | 'write'>) => ({
    id,
    account: { login: `org-${id}` },
    permissions,
  })
  const [one, two] = [held(1, { contents: 'read' }), held(2, { issues: 'read' })]
  const anywhere = rule({ installation: undefined, permissions: { contents: 'read', issues: 'read' } })
  t.is(doubtProfile(anywhere, [one, two]), 'no installation grants all of its permissions together')
  t.is(doubtProfile(anywhere, [one, held(3, { contents: 'write', issues: 'write' })]), undefined)
  t.is(doubtProfile({ ...anywhere, installation: 1 }, [one, two]), 'no installation grants issues: read')
})
