// Scopes: two keys are equal exactly where two scopes mean the same; patterns and permissions compare as they read.

import test from 'ava'
import * as fc from 'fast-check'
import { codeOf, thrownBy } from '../support/fakes.ts'
import {
  type Access,
  assertGranted,
  canonicalScope,
  describePermissions,
  describeScope,
  isPattern,
  matchesPattern,
  type Permissions,
  permissionsCover,
  repositoriesCover,
  type Scope,
  scopeKey,
  shareNames,
  summarizeScope,
  unitePermissions,
} from '../../src/protocol/scope.ts'

const access = fc.constantFrom<Access>('read', 'write', 'admin')
/** Few names, so that equal ones are often drawn; some look like ids, permissions and JSON. */
const name = fc.oneof(
  fc.constantFrom('contents', 'Contents', '7', 'a', 'A', 'a,b', '["a"]', 'null', 'metadata', 'issues'),
  fc.string({ maxLength: 6 }),
)
const permissions = fc.dictionary(name, access, { maxKeys: 4 })
const scope: fc.Arbitrary<Scope> = fc.record(
  { installation: fc.integer({ min: 1, max: 9 }), repositories: fc.array(name, { maxLength: 4 }), permissions },
  { requiredKeys: ['installation'] },
)
const profile = fc.constantFrom('', 'a', 'A', '7', 'null', '["a",7]')

/** What a scope means, told in another way than the key is made. */
const meaningOf = (holder: string, { installation, repositories, permissions: held }: Scope) => ({
  holder,
  installation,
  repositories: repositories && new Set(repositories.map(one => one.toLowerCase())),
  permissions: held && new Map(Object.entries(held)),
})
const isSame = (a: ReturnType<typeof meaningOf>, b: ReturnType<typeof meaningOf>): boolean =>
  a.holder === b.holder &&
  a.installation === b.installation &&
  (a.repositories && b.repositories
    ? a.repositories.symmetricDifference(b.repositories).size === 0
    : a.repositories === b.repositories) &&
  (a.permissions && b.permissions
    ? a.permissions.size === b.permissions.size &&
      [...a.permissions].every(([key, value]) => b.permissions?.get(key) === value)
    : a.permissions === b.permissions)

test('two scopes share a key exactly where they mean the same', t => {
  let same = 0
  const few = fc.constantFrom('contents', 'Contents', '7')
  const near: fc.Arbitrary<Scope> = fc.record(
    {
      installation: fc.constantFrom(7, 8),
      repositories: fc.array(few, { maxLength: 2 }),
      permissions: fc.dictionary(few, fc.constantFrom<Access>('read', 'write'), { maxKeys: 1 }),
    },
    { requiredKeys: ['installation'] },
  )
  const agrees = (holderA: string, a: Scope, holderB: string, b: Scope): boolean => {
    const equal = isSame(meaningOf(holderA, a), meaningOf(holderB, b))
    if (equal) same += 1
    return equal === (scopeKey(holderA, a) === scopeKey(holderB, b))
  }
  const holder = fc.constantFrom('a', 'A')
  fc.assert(fc.property(holder, near, holder, near, agrees), { numRuns: 6_000 })
  fc.assert(fc.property(profile, scope, profile, scope, agrees), { numRuns: 6_000 })
  t.true(same > 20, `${same} pairs meant the same`)
})

test('a scope that differs in one thing alone has another key', t => {
  const change = fc.oneof(
    fc.record({ installation: fc.integer({ min: 10, max: 19 }) }),
    fc.record({ repositories: fc.constant(['zz-other']) }),
    fc.record({ permissions: fc.constant<Permissions>({ zz_other: 'read' }) }),
  )
  fc.assert(
    fc.property(profile, scope, change, (holder, one, changed) => {
      const before = scopeKey(holder, one)
      return before !== scopeKey(holder, { ...one, ...changed }) && before !== scopeKey(`${holder}!`, one)
    }),
  )
  fc.assert(
    fc.property(scope, ({ repositories, permissions: held, installation }) => {
      const keys = [
        scopeKey('p', { installation, ...(repositories && { repositories }), ...(held && { permissions: held }) }),
        ...(repositories ? [scopeKey('p', { installation, ...(held && { permissions: held }) })] : []),
        ...(held ? [scopeKey('p', { installation, ...(repositories && { repositories }) })] : []),
      ]
      return new Set(keys).size === keys.length
    }),
  )
  t.pass()
})

test('case, order and repeats of repositories, and order of permissions, do not matter', t => {
  const shuffled = scope.chain(one =>
    fc.record({
      one: fc.constant(one),
      repositories: fc.shuffledSubarray([...(one.repositories ?? [])], {
        minLength: one.repositories?.length ?? 0,
      }),
      entries: fc.shuffledSubarray(Object.entries(one.permissions ?? {}), {
        minLength: Object.keys(one.permissions ?? {}).length,
      }),
      upper: fc.boolean(),
    }),
  )
  fc.assert(
    fc.property(profile, shuffled, (holder, { one, repositories, entries, upper }) => {
      const ascii = /^[\x20-\x7e]*$/
      const turn = (text: string): string => (upper && ascii.test(text) ? text.toUpperCase() : text)
      const other: Scope = {
        installation: one.installation,
        ...(one.repositories && { repositories: [...repositories, ...repositories].map(turn) }),
        ...(one.permissions && { permissions: Object.fromEntries(entries) }),
      }
      return scopeKey(holder, one) === scopeKey(holder, other)
    }),
  )
  fc.assert(
    fc.property(profile, scope, (holder, one) => scopeKey(holder, one) === scopeKey(holder, canonicalScope(one))),
  )
  t.pass()
})

test("what auth-app's own cache takes for one another has keys of its own", t => {
  const installation = 1
  const keys = [
    scopeKey('', { installation, repositories: ['contents'] }),
    scopeKey('', { installation, permissions: { contents: 'read' } }),
    scopeKey('', { installation, permissions: { contents: 'write' } }),
    scopeKey('', { installation, permissions: { contents: 'admin' } }),
    scopeKey('', { installation, repositories: ['7'] }),
    scopeKey('', { installation: 7 }),
    scopeKey('', { installation }),
    scopeKey('', { installation, repositories: [] }),
    scopeKey('', { installation, permissions: {} }),
    scopeKey('', { installation, repositories: ['a', 'b'] }),
    scopeKey('', { installation, repositories: ['a,b'] }),
    scopeKey('actions', { installation }),
  ]
  t.is(new Set<string>(keys).size, keys.length)
})

test('names of permissions that are properties of every object are names like others', t => {
  const odd: Permissions = JSON.parse('{"__proto__":"write","constructor":"read"}')
  t.not(scopeKey('', { installation: 1, permissions: odd }), scopeKey('', { installation: 1, permissions: {} }))
  const inherited: Permissions = JSON.parse('{"constructor":"read"}')
  t.false(permissionsCover({}, inherited))
  t.false(permissionsCover({ contents: 'read' }, odd))
  t.true(permissionsCover(odd, odd))
})

test('covering is a partial order with "all granted" on top', t => {
  fc.assert(
    fc.property(permissions, permissions, permissions, (a, b, c) => {
      const lower = (x: Permissions, y: Permissions) => permissionsCover(y, x)
      const united = unitePermissions([a, b])
      return (
        lower(a, a) &&
        (!(lower(a, b) && lower(b, c)) || lower(a, c)) &&
        lower(a, united) &&
        lower(b, united) &&
        (!(lower(a, c) && lower(b, c)) || lower(united, c)) &&
        permissionsCover(undefined, a) &&
        !permissionsCover(a, undefined)
      )
    }),
  )
  t.true(permissionsCover(undefined, undefined))
})

test('each access covers itself and less, and metadata: read is in every token', t => {
  const ranks: Access[] = ['read', 'write', 'admin']
  for (const [limit, held] of ranks.entries()) {
    for (const [rank, asked] of ranks.entries()) {
      t.is(permissionsCover({ contents: held }, { contents: asked }), rank <= limit, `${asked} of ${held}`)
    }
  }
  t.true(permissionsCover({}, { metadata: 'read' }))
  t.false(permissionsCover({}, { metadata: 'write' }))
  t.false(permissionsCover({ contents: 'admin' }, { issues: 'read' }))
})

test('patterns match as the regular expression that they stand for', t => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'A', '-', '.'), maxLength: 7 })
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', 'B', '*', '.', '-'), maxLength: 6 })
  let matched = 0
  fc.assert(
    fc.property(pattern, letters, (glob, text) => {
      const source = glob
        .split('*')
        .map(piece => RegExp.escape(piece))
        .join('.*')
      const expected = new RegExp(`^${source}$`, 'is').test(text)
      if (expected) matched += 1
      return matchesPattern(glob, text) === expected
    }),
    { numRuns: 20_000 },
  )
  t.true(matched > 100)
  t.true(isPattern('a*'))
  t.false(isPattern('a'))
})

test('long patterns take no long time', t => {
  t.false(matchesPattern(`${'*a'.repeat(2_000)}b`, 'a'.repeat(4_000)))
})

test('repositories are covered where each has a pattern; all of an installation only by all', t => {
  t.true(repositoriesCover(undefined, undefined))
  t.true(repositoriesCover(undefined, ['x']))
  t.false(repositoriesCover(['*'], undefined))
  t.true(repositoriesCover(['web', 'infra-*'], ['WEB', 'infra-1']))
  t.false(repositoriesCover(['web', 'infra-*'], ['web', 'api']))
  t.false(repositoriesCover([], ['web']))
})

test('a grant is what was asked for and metadata: read at most', t => {
  const asked: Scope = { installation: 1, repositories: ['Web'], permissions: { contents: 'read' } }
  const repositories = ['web']
  t.notThrows(() => assertGranted(asked, { repositories, permissions: { contents: 'read', metadata: 'read' } }))
  t.notThrows(() => assertGranted(asked, { repositories, permissions: { contents: 'read' } }))
  t.notThrows(() => assertGranted({ installation: 1 }, { permissions: { administration: 'admin' } }))
  const wrong: [string, Parameters<typeof assertGranted>[1]][] = [
    ['more access', { repositories, permissions: { contents: 'write' } }],
    ['one permission more', { repositories, permissions: { contents: 'read', issues: 'read' } }],
    ['metadata with more than read', { repositories, permissions: { contents: 'read', metadata: 'write' } }],
    ['less', { repositories, permissions: { metadata: 'read' } }],
    ['another repository', { repositories: ['api'], permissions: { contents: 'read' } }],
    ['one repository more', { repositories: ['web', 'api'], permissions: { contents: 'read' } }],
    ['no list of repositories', { permissions: { contents: 'read' } }],
  ]
  for (const [what, granted] of wrong)
    t.is(
      codeOf(() => assertGranted(asked, granted)),
      'scope-mismatch',
      what,
    )
})

test('permissions are told in one order', t => {
  t.is(describePermissions({ issues: 'write', contents: 'read' }), 'contents: read, issues: write')
  t.is(describePermissions({}), 'none')
  t.is(describePermissions(undefined), 'all granted')
})

test('a scope of many repositories is summed up by its first ten names; fewer are told whole', t => {
  const scopeOf = (count: number): Scope => ({
    installation: 7,
    repositories: Array.from({ length: count }, (_, n) => `r${n}`),
    permissions: { contents: 'read' },
  })
  t.is(summarizeScope(scopeOf(10)), describeScope(scopeOf(10)))
  t.is(summarizeScope(scopeOf(500)), 'installation 7, r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 and 490 more, contents: read')
  t.is(summarizeScope({ installation: 7 }), describeScope({ installation: 7 }))
})

test('a grant of the very names that were asked for shares their list; any other keeps its own', t => {
  const scopeOf = (...repositories: string[]): Scope => ({ installation: 7, repositories })
  const granted = { repositories: ['api', 'web'], permissions: { contents: 'read' as const } }
  const same = scopeOf('api', 'web')
  t.is(shareNames(same, granted).repositories, same.repositories)
  for (const other of [scopeOf('web', 'api'), scopeOf('api'), scopeOf('Api', 'web'), { installation: 7 }])
    t.is(shareNames(other, granted), granted)
})

test('a grant that is not what was asked for is told by both', t => {
  const asked: Scope = { installation: 1, repositories: ['Web'], permissions: { contents: 'read' } }
  const said = (granted: Parameters<typeof assertGranted>[1]): string | undefined =>
    thrownBy(() => assertGranted(asked, granted))?.message
  t.is(
    said({ repositories: ['web'], permissions: { issues: 'read', contents: 'write' } }),
    'asked for permissions contents: read, granted contents: write, issues: read',
  )
  t.is(
    said({ repositories: ['api', 'web'], permissions: { contents: 'read' } }),
    'asked for repositories web, granted api, web',
  )
  t.is(said({ permissions: { contents: 'read' } }), 'asked for repositories web, granted none by name')
  t.notThrows(() => assertGranted({ installation: 1, permissions: {} }, { permissions: { metadata: 'read' } }))
})
