// Features switched on and off in a file of their own: checked as a whole before it is written, the configuration untouched.

import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as fc from 'fast-check'
import { Failure } from '../../src/protocol/errors.ts'
import { FEATURE_NAMES, FEATURES } from '../../src/protocol/features.ts'
import { featuresFileOf, loadConfig, parseConfig, type Surroundings } from '../../src/service/config.ts'
import { switchFeature } from '../../src/service/features-file.ts'

const surroundings: Surroundings = {
  hostname: 'ghe.example.com',
  findUser: name => ({ git: 998 })[name],
  findGroup: name => ({ ci: 2_000 })[name],
}
const nobody = { users: [], groups: [], units: [] }

const prepare = (t: ExecutionContext, toml = '# mine\n') => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-features-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const configFile = join(folder, 'config.toml')
  writeFileSync(configFile, toml)
  return { configFile, file: featuresFileOf(configFile), context: { configFile, surroundings } }
}
const failureOf = (act: () => unknown): Failure => {
  try {
    act()
  } catch (error) {
    if (error instanceof Failure) return error
  }
  throw new Error('nothing was refused')
}

test('a feature that is switched on is a profile of its name, and off again nothing is left', t => {
  const { configFile, file, context } = prepare(t)
  t.is(file.endsWith('/config.features.toml'), true)
  switchFeature('dependabot-alerts', { allow: nobody }, context)
  switchFeature(
    'actions-from-github',
    { installation: 'octo-org', repositories: ['a*'], allow: { ...nobody, users: ['git'], units: ['a@.service'] } },
    context,
  )
  const { policy, features } = loadConfig(configFile, surroundings)
  t.deepEqual(policy.profiles, [
    {
      name: 'dependabot-alerts',
      permissions: FEATURES['dependabot-alerts'].permissions,
      allow: nobody,
    },
    {
      name: 'actions-from-github',
      installation: 'octo-org',
      repositories: ['a*'],
      permissions: FEATURES['actions-from-github'].permissions,
      allow: { users: [{ name: 'git', id: 998 }], groups: [], units: ['a@.service'] },
    },
  ])
  t.deepEqual(
    features.map(one => one.file),
    [file, file],
  )
  t.is(statSync(file).mode & 0o777, 0o644)
  t.is(readFileSync(configFile, 'utf8'), '# mine\n')
  switchFeature('dependabot-alerts', undefined, context)
  t.notRegex(readFileSync(file, 'utf8'), /dependabot/)
  switchFeature('actions-from-github', undefined, context)
  t.false(existsSync(file))
})

test('what would be wrong with it is said before anything is written, and what was written can be put back', t => {
  const { file, context } = prepare(t)
  const { undo } = switchFeature('dependabot-alerts', { allow: { ...nobody, groups: ['ci'] } }, context)
  const before = readFileSync(file, 'utf8')
  const wrong = failureOf(() =>
    switchFeature('server-statistics', { allow: { ...nobody, users: ['nobody-here'] } }, context),
  )
  t.is(wrong.code, 'configuration')
  t.regex(
    wrong.message,
    /config\.features\.toml:\d+: server-statistics\.allow\.users\.0: there is no such name: nobody-here/,
  )
  t.is(readFileSync(file, 'utf8'), before)
  const unit = failureOf(() => switchFeature('server-statistics', { allow: { ...nobody, units: ['x'] } }, context))
  t.regex(unit.message, /must be the full name of a \.service or \.scope unit/)
  t.is(failureOf(() => switchFeature('server-statistics', undefined, context)).code, 'usage')
  // Back to what was there, and at last to nothing.
  switchFeature('dependabot-alerts', undefined, context).undo()
  t.is(readFileSync(file, 'utf8'), before)
  undo()
  t.false(existsSync(file))
})

test('a feature of config.toml is changed there, and stands in one file', t => {
  const { configFile, file, context } = prepare(
    t,
    '[features]\nserver-statistics = true\nunified-search-public = false\n',
  )
  const { features } = loadConfig(configFile, surroundings)
  t.deepEqual(features, [{ name: 'server-statistics', file: configFile }])
  const refused = failureOf(() => switchFeature('server-statistics', { allow: nobody }, context))
  t.regex(refused.message, /stands in .*config\.toml: change it there/)
  switchFeature('unified-search-public', { allow: nobody }, context)
  writeFileSync(file, '[server-statistics]\n')
  const twice = failureOf(() => loadConfig(configFile, surroundings))
  t.regex(twice.message, /config\.toml:2: features\.server-statistics: is switched on in .*features\.toml too/)
})

test('names of features are no names of profiles, and a mistake names file, line and key', t => {
  const complaint = (text: string, features?: string) =>
    failureOf(() => parseConfig(text, { file: 'c.toml', surroundings, ...(features !== undefined && { features }) }))
      .message
  t.is(
    complaint('[[profiles]]\nname = "dependabot-alerts"\n'),
    'c.toml:2: profiles.0.name: is the name of a feature (profile dependabot-alerts)',
  )
  t.is(complaint('[features]\nnope = true\n'), 'c.toml:2: features.nope: there is no such key')
  t.is(
    complaint('[features]\nserver-statistics = 3\n'),
    'c.toml:2: features.server-statistics: must be true, false or a table',
  )
  t.is(
    complaint('\n[features.server-statistics]\nlimit = 3\n'),
    'c.toml:2: features.server-statistics.limit: there is no such key',
  )
  t.is(complaint('', '[x]\n'), 'c.features.toml:1: x: there is no such key')
  t.regex(complaint('', '[x\n'), /^c\.features\.toml:1: /)
})

const settings = fc.record(
  {
    installation: fc.oneof(fc.string({ minLength: 1 }), fc.integer({ min: 1 })),
    repositories: fc.array(fc.stringMatching(/^[A-Za-z0-9._*-]{1,10}$/), { minLength: 1, maxLength: 3 }),
    allow: fc.record({
      users: fc.constantFrom([], ['git']),
      groups: fc.constantFrom([], ['ci']),
      units: fc.array(fc.stringMatching(/^[A-Za-z0-9:_.\\@-]{1,10}\.service$/), { maxLength: 3 }),
    }),
  },
  { requiredKeys: ['allow'] },
)

test('whatever is switched on is read back as it was given, or refused with nothing written', t => {
  const { configFile, context } = prepare(t)
  fc.assert(
    fc.property(fc.constantFrom(...FEATURE_NAMES), settings, (name, setting) => {
      const { undo } = switchFeature(name, setting, context)
      const [profile] = loadConfig(configFile, surroundings).policy.profiles
      t.is(profile?.name, name)
      t.is(profile?.installation, setting.installation)
      t.deepEqual(profile?.repositories, setting.repositories)
      t.deepEqual(profile?.allow.units, setting.allow.units)
      undo()
    }),
    { numRuns: 60 },
  )
})
