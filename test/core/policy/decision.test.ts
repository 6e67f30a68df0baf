// The policy: who is admitted, what a request gets, and that it never gets more than its profile holds.

import test from 'ava'
import * as fc from 'fast-check'
import { codeOf, thrownBy } from '../../support/fakes.ts'
import { admits, authorize, authorizeAdmin, type Wanted } from '../../../src/core/policy/decision.ts'
import {
  ADMIN_PROFILE,
  type Allow,
  allowNames,
  findInstallation,
  type Peer,
  PROFILE_NAME,
  type Policy,
  type Profile,
  UNIT_NAME,
} from '../../../src/protocol/profile.ts'
import { permissionsCover, repositoriesCover } from '../../../src/protocol/scope.ts'

const allowOf = (allow: { users?: number[]; groups?: number[]; units?: string[] }): Allow => ({
  users: (allow.users ?? []).map(id => ({ name: `u${id}`, id })),
  groups: (allow.groups ?? []).map(id => ({ name: `g${id}`, id })),
  units: allow.units ?? [],
})
const peer = (more: Partial<Peer> = {}): Peer => ({ pid: 1, uid: 1000, gid: 1000, groups: [], ...more })
const profileOf = (more: Partial<Profile>): Profile => ({ name: 'p', allow: allowOf({ users: [1000] }), ...more })
const INSTALLATIONS = [
  { id: 11, account: { login: 'Octo-Org' } },
  { id: 12, account: { login: 'hexa' } },
]

test('every list that is not empty must match; no list at all admits nobody', t => {
  const member = fc.integer({ min: 0, max: 3 })
  const units = fc.constantFrom('a.service', 'b@.service', 'b@1.service', 'session-1.scope')
  const anyAllow = fc.record({
    users: fc.array(member, { maxLength: 2 }),
    groups: fc.array(member, { maxLength: 2 }),
    units: fc.array(units, { maxLength: 2 }),
  })
  const anyPeer = fc.record(
    { uid: member, gid: member, groups: fc.array(member, { maxLength: 2 }), unit: units },
    { requiredKeys: ['uid', 'gid', 'groups'] },
  )
  fc.assert(
    fc.property(anyAllow, anyPeer, (allow, caller) => {
      const checks = [
        allow.users.length > 0 ? allow.users.includes(caller.uid) : undefined,
        allow.groups.length > 0 ? [caller.gid, ...caller.groups].some(id => allow.groups.includes(id)) : undefined,
        allow.units.length > 0
          ? caller.unit !== undefined &&
            (allow.units.includes(caller.unit) && caller.unit !== 'b@.service'
              ? true
              : allow.units.includes('b@.service') && caller.unit === 'b@1.service')
          : undefined,
      ].filter(check => check !== undefined)
      if (caller.unit === 'b@.service') return true
      return admits(allowOf(allow), peer(caller)) === (checks.length > 0 && checks.every(Boolean))
    }),
    { numRuns: 3_000 },
  )
  t.false(admits(allowOf({}), peer({ uid: 0, gid: 0 })), 'root is nobody special')
  t.false(admits(allowOf({ users: [1000] }), peer({ uid: 0 })))
  t.false(admits(allowOf({ units: ['a.service'] }), peer()), 'a caller without a unit')
})

test('a template stands for each of its instances, and for nothing else', t => {
  const admitted = (unit: string, pattern: string): boolean => admits(allowOf({ units: [pattern] }), peer({ unit }))
  t.true(admitted('runner@1.service', 'runner@.service'))
  t.true(admitted('runner@a@b.service', 'runner@.service'))
  t.true(admitted('runner@1.service', 'runner@1.service'))
  t.false(admitted('runner@2.service', 'runner@1.service'))
  t.false(admitted('runner@.service', 'runner@.service'))
  t.false(admitted('runner.service', 'runner@.service'))
  t.false(admitted('xrunner@1.service', 'runner@.service'))
  t.false(admitted('runner@1.scope', 'runner@.service'))
  t.false(admitted('runner@1.service.scope', 'runner@.service'))
  t.false(admitted('Runner@1.service', 'runner@.service'))
})

test('an installation is found by its id or its account', t => {
  t.is(findInstallation(INSTALLATIONS, 12)?.id, 12)
  t.is(findInstallation(INSTALLATIONS, '12')?.id, 12)
  t.is(findInstallation(INSTALLATIONS, 'octo-org')?.id, 11)
  t.is(findInstallation(INSTALLATIONS, undefined), undefined)
  t.is(findInstallation(INSTALLATIONS.slice(0, 1), undefined)?.id, 11)
  t.is(findInstallation(INSTALLATIONS, 'nobody'), undefined)
})

test('an account that is called like the id of another installation is not taken for it', t => {
  const installations = [
    { id: 99, account: { login: '11' } },
    { id: 11, account: { login: 'octo-org' } },
  ]
  t.is(findInstallation(installations, 11)?.id, 11, 'a number is an id')
  t.is(findInstallation(installations, '11'), undefined, 'a text may be either: then it is neither')
  t.is(findInstallation(installations, '99')?.id, 99)
})

test('an enterprise and an organization of one name are told apart by id alone', t => {
  const installations = [
    { id: 1, account: { login: 'octo' } },
    { id: 2, account: { login: 'Octo' } },
  ]
  t.is(findInstallation(installations, 'octo'), undefined)
  t.is(findInstallation(installations, 2)?.id, 2)
})

const policyOf = (...profiles: Profile[]): Policy => ({ profiles })
const CI = profileOf({
  name: 'ci',
  installation: 'octo-org',
  repositories: ['web', 'infra-*'],
  permissions: { contents: 'write', issues: 'read' },
})

test('a request narrows its profile, and what it leaves out is the profile', t => {
  const wanted: Wanted = { repositories: ['Web'], permissions: { contents: 'read' } }
  const request = { wanted, installations: INSTALLATIONS }
  t.deepEqual(authorize(policyOf(CI), peer(), request), {
    profile: 'ci',
    scope: { installation: 11, repositories: ['Web'], permissions: { contents: 'read' } },
  })
  t.deepEqual(authorize(policyOf(CI), peer(), { ...request, wanted: { repositories: ['infra-7'] } }).scope, {
    installation: 11,
    repositories: ['infra-7'],
    permissions: { contents: 'write', issues: 'read' },
  })
})

test('absent and not allowed are refused in the same words', t => {
  const wishes = [
    { profile: 'nobody' },
    { profile: 'others' },
    { repositories: ['secret'] },
    { repositories: ['web'], permissions: { administration: 'admin' } as const },
    { repositories: ['web'], permissions: { contents: 'admin' } as const },
    { installation: 'hexa', repositories: ['web'] },
    { installation: 'no-such', repositories: ['web'] },
    { installation: 77, repositories: ['web'] },
  ]
  const policy = policyOf(CI, profileOf({ name: 'others', allow: allowOf({ users: [7] }) }))
  const answers = wishes.map(wanted => {
    const error = t.throws(() => authorize(policy, peer(), { wanted, installations: INSTALLATIONS }))
    return JSON.stringify([
      codeOf(() => authorize(policy, peer(), { wanted, installations: INSTALLATIONS })),
      error?.message,
    ])
  })
  t.is(new Set(answers).size, 1)
  t.true(answers[0]?.includes('not-permitted'))
})

test('several profiles ask for one to be named, patterns ask for names', t => {
  const policy = policyOf(CI, { ...CI, name: 'ci-2' })
  const installations = INSTALLATIONS
  t.is(
    codeOf(() => authorize(policy, peer(), { wanted: { repositories: ['web'] }, installations })),
    'profile-required',
  )
  t.is(authorize(policy, peer(), { wanted: { profile: 'ci-2', repositories: ['web'] }, installations }).profile, 'ci-2')
  t.is(
    codeOf(() => authorize(policyOf(CI), peer(), { wanted: {}, installations })),
    'repositories-required',
  )
  t.is(
    codeOf(() => authorize(policyOf(CI), peer(), { wanted: { repositories: ['infra-*'] }, installations })),
    'repositories-required',
  )
})

test('the administrator gets any scope, and the scope of a profile where one is named', t => {
  const ask = (wanted: Parameters<typeof authorizeAdmin>[1]['wanted'], installations = INSTALLATIONS) =>
    authorizeAdmin(policyOf(CI), { wanted, installations })
  t.deepEqual(ask({ installation: 'hexa' }), { profile: ADMIN_PROFILE, scope: { installation: 12 } })
  t.is(ask({ profile: 'ci', repositories: ['web'] }).profile, 'ci')
  t.is(
    codeOf(() => ask({})),
    'installation-required',
  )
  t.is(
    codeOf(() => ask({ installation: 5 })),
    'installation-not-found',
  )
  t.is(
    codeOf(() => ask({}, [])),
    'installation-not-found',
  )
  t.is(
    codeOf(() => ask({ profile: 'nobody' })),
    'not-permitted',
  )
  t.is(
    codeOf(() => ask({ profile: 'ci', repositories: ['secret'] })),
    'not-permitted',
  )
  t.is(
    codeOf(() => ask({ profile: 'ci' })),
    'repositories-required',
  )
})

test('a grant is never more than a profile that admits the caller, for any policy and request', t => {
  const access = fc.constantFrom('read' as const, 'write' as const, 'admin' as const)
  const permissions = fc.dictionary(fc.constantFrom('contents', 'issues', 'metadata'), access, { maxKeys: 2 })
  const installation = fc.constantFrom<string | number>(11, 12, 'octo-org', 'HEXA', 'no-such')
  const profile = fc.record(
    {
      name: fc.constantFrom('a', 'b', 'c'),
      allow: fc.record({
        users: fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 2 }),
        groups: fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 1 }),
      }),
      installation,
      repositories: fc.array(fc.constantFrom('web', 'a*', '*', 'api'), { minLength: 1, maxLength: 2 }),
      permissions,
    },
    { requiredKeys: ['name', 'allow'] },
  )
  const wanted = fc.record(
    {
      profile: fc.constantFrom('a', 'b', 'z'),
      installation,
      repositories: fc.array(fc.constantFrom('web', 'Api', 'abc', 'secret'), { minLength: 1, maxLength: 2 }),
      permissions,
    },
    { requiredKeys: [] },
  )
  let granted = 0
  fc.assert(
    fc.property(
      fc.uniqueArray(profile, { selector: one => one.name, maxLength: 3 }),
      wanted,
      fc.integer({ min: 0, max: 2 }),
      (raw, wish, uid) => {
        const profiles = raw.map((one): Profile => ({ ...one, allow: allowOf(one.allow) }))
        const caller = peer({ uid, gid: uid })
        const request = { wanted: wish, installations: INSTALLATIONS }
        let grant: ReturnType<typeof authorize>
        try {
          grant = authorize({ profiles }, caller, request)
        } catch {
          return true
        }
        granted += 1
        const holder = profiles.find(one => one.name === grant.profile)
        if (!holder || !admits(holder.allow, caller)) return false
        const { scope } = grant
        return (
          (holder.installation === undefined ||
            findInstallation(INSTALLATIONS, holder.installation)?.id === scope.installation) &&
          (wish.installation === undefined ||
            findInstallation(INSTALLATIONS, wish.installation)?.id === scope.installation) &&
          repositoriesCover(holder.repositories, scope.repositories) &&
          permissionsCover(holder.permissions, scope.permissions) &&
          (wish.repositories === undefined || repositoriesCover(wish.repositories, scope.repositories)) &&
          (wish.permissions === undefined || permissionsCover(wish.permissions, scope.permissions))
        )
      },
    ),
    { numRuns: 30_000 },
  )
  // About 440: few requests at random fit a profile at random.
  t.true(granted > 200, `${granted} grants`)
})

test('a refusal names the profiles, the accounts or the installation that it is about', t => {
  const wanted: Wanted = { repositories: ['web'] }
  const installations = INSTALLATIONS
  const said = (work: () => unknown): string | undefined => thrownBy(work)?.message
  const twice = policyOf(CI, { ...CI, name: 'ci-2' })
  t.is(
    said(() => authorize(twice, peer(), { wanted, installations })),
    'these profiles would allow it: ci, ci-2',
  )
  t.is(
    said(() => authorize(policyOf(CI), peer(), { wanted: {}, installations })),
    'profile ci holds patterns, and a token needs names',
  )
  const asked: [Wanted, string][] = [
    [{}, 'it is installed on Octo-Org, hexa'],
    [{ installation: 5 }, 'no installation 5 is known'],
    [{ profile: 'nobody' }, 'profile nobody does not exist or does not hold this scope'],
  ]
  for (const [one, words] of asked) {
    t.is(
      said(() => authorizeAdmin(policyOf(CI), { wanted: one, installations })),
      words,
    )
  }
  t.is(
    said(() => authorizeAdmin(policyOf(CI), { wanted: {}, installations: [] })),
    'no installation is known',
  )
})

test('whom a profile admits is told by the names that the administrator wrote', t => {
  const profile = profileOf({ allow: allowOf({ users: [1], groups: [2, 3], units: ['a.service'] }) })
  t.deepEqual(allowNames(profile), { users: ['u1'], groups: ['g2', 'g3'], units: ['a.service'] })
})

test('names of profiles and units have their letters and their length', t => {
  for (const name of ['a', '7', 'ci-2', 'A.b_c', 'x'.repeat(64)]) t.regex(name, PROFILE_NAME)
  for (const name of ['', '-a', '.a', '_a', 'a b', 'a/b', 'a\n', 'x'.repeat(65)]) t.notRegex(name, PROFILE_NAME)
  const units = ['a.service', 'job@.service', 'a@b\\x2d.service', 'session-1.scope', `${'x'.repeat(255)}.scope`]
  for (const name of units) t.regex(name, UNIT_NAME)
  for (const name of [
    'a',
    '.service',
    'a.timer',
    'a b.service',
    'a.service.',
    'a.service\n',
    `${'x'.repeat(256)}.scope`,
  ]) {
    t.notRegex(name, UNIT_NAME)
  }
})
