// The presets: true to GitHub's own catalogue of permissions, and told apart by what is missing and who can give it.

import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import test from 'ava'
import * as fc from 'fast-check'
import { z } from 'zod'
import type { Connection, Installation } from '../../src/protocol/connection.ts'
import { assessFeature, FEATURE_NAMES, FEATURES } from '../../src/protocol/features.ts'
import type { Profile } from '../../src/protocol/profile.ts'
import { type Permissions, permissionsCover } from '../../src/protocol/scope.ts'

const OPENAPI = resolve(import.meta.dirname, '../../node_modules/@octokit/openapi/generated/ghec.json')
const Catalogue = z.object({
  components: z.object({
    schemas: z.object({
      'app-permissions': z.object({ properties: z.record(z.string(), z.object({ enum: z.array(z.string()) })) }),
    }),
  }),
})

const feature = FEATURES['actions-from-github']
const profile: Profile = {
  name: 'actions-from-github',
  permissions: feature.permissions,
  allow: { users: [], groups: [], units: ['a.service'] },
}
const NAMES = ['contents', 'metadata', 'issues', 'members'] as const

const connectedWith = (permissions: Permissions): Connection => ({
  kind: 'connected',
  sinceMs: 0,
  enabledAtMs: 0,
  host: { machineId: 'm', hostname: 'h' },
  account: { type: 'organization', login: 'octo-org' },
  app: {
    id: 1,
    clientId: 'Iv1',
    slug: 'my-app',
    name: 'my app',
    owner: { type: 'organization', login: 'octo-org' },
    htmlUrl: 'https://github.com/apps/my-app',
    permissions,
  },
})
const installationWith = (permissions: Permissions, id = 7): Installation => ({
  id,
  account: { type: 'organization', login: id === 7 ? 'octo-org' : `org-${id}` },
  repositorySelection: 'all',
  permissions,
  htmlUrl: `https://github.com/organizations/octo-org/settings/installations/${id}`,
})

test("every permission of every preset is in GitHub's catalogue, at that level, and none writes", async t => {
  const { properties } = Catalogue.parse(JSON.parse(await readFile(OPENAPI, 'utf8'))).components.schemas[
    'app-permissions'
  ]
  let count = 0
  for (const name of FEATURE_NAMES) {
    for (const [permission, access] of Object.entries(FEATURES[name].permissions)) {
      count += 1
      t.true(properties[permission]?.enum.includes(access), `${name}: ${permission} ${access}`)
      t.is(access, 'read', name)
    }
  }
  t.true(count >= FEATURE_NAMES.length)
})

test('what is missing is told with who can give it', t => {
  const none = { metadata: 'read' } as const
  const all = { contents: 'read', metadata: 'read' } as const
  const state = (connection: Connection, installations: readonly Installation[], of: Profile | undefined = profile) =>
    assessFeature(feature, of, { connection, installations })
  t.like(assessFeature(feature, undefined, { connection: connectedWith(all), installations: [] }), {
    state: 'off',
  })
  t.like(state({ kind: 'disconnected', sinceMs: 0 }, []), { state: 'awaiting-connection' })
  t.like(state(connectedWith(none), [installationWith(none)]), {
    state: 'app-lacks',
    missing: { contents: 'read' },
    link: 'https://github.com/organizations/octo-org/settings/apps/my-app/permissions',
  })
  t.like(state(connectedWith(all), [installationWith(none)]), {
    state: 'awaiting-approval',
    missing: { contents: 'read' },
    link: 'https://github.com/organizations/octo-org/settings/installations/7',
  })
  t.like(state(connectedWith({ contents: 'write', metadata: 'read' }), [installationWith(all)]), { state: 'on' })
  const two = [installationWith(all), installationWith(none, 8)]
  t.is(state(connectedWith(all), two).state, 'no-installation')
  t.is(state(connectedWith(all), two, { ...profile, installation: 'octo-org' }).state, 'on')
  t.is(state(connectedWith(all), two, { ...profile, installation: 8 }).state, 'awaiting-approval')
  t.is(state(connectedWith(all), two, { ...profile, installation: 'nobody' }).state, 'no-installation')
})

test('a feature without its installation says which one it looked for, and each state what to do', t => {
  const [none, all] = [{ metadata: 'read' } as const, { contents: 'read', metadata: 'read' } as const]
  const two = { connection: connectedWith(all), installations: [installationWith(all), installationWith(all, 8)] }
  t.like(assessFeature(feature, { ...profile, installation: 'nobody' }, two), {
    detail: 'It is switched on, but the App has no installation nobody.',
  })
  const one = (app: Permissions, granted: Permissions) =>
    assessFeature(feature, profile, { connection: connectedWith(app), installations: [installationWith(granted)] })
  const assessments = [
    assessFeature(feature, profile, two),
    assessFeature(feature, undefined, two),
    one(all, all),
    assessFeature(feature, profile, { connection: { kind: 'disconnected', sinceMs: 0 }, installations: [] }),
    one(none, none),
    one(all, none),
  ]
  t.deepEqual(
    assessments.map(({ state, next }) => [
      state,
      /`ghconnect [a-z ]+[a-z]|Nothing to do|Let the owner of the App|Let the owner accept/.exec(next)?.[0],
    ]),
    [
      ['no-installation', '`ghconnect installations'],
      ['off', '`ghconnect features enable'],
      ['on', 'Nothing to do'],
      ['awaiting-connection', '`ghconnect enable'],
      ['app-lacks', 'Let the owner of the App'],
      ['awaiting-approval', 'Let the owner accept'],
    ],
  )
  t.is(assessments[0]?.detail, 'It is switched on, but the App has 2 installations, and the feature names none.')
  t.is(assessments[4]?.detail, 'The App does not ask for contents: read.')
  t.is(assessments[5]?.detail, 'The owner of the installation has not approved contents: read yet.')
})

const permissionSets = fc.dictionary(fc.constantFrom(...NAMES), fc.constantFrom('read' as const, 'write' as const))

test('a feature is on exactly where its installation holds what it needs, whatever the App says; else something is to be done', t => {
  fc.assert(
    fc.property(permissionSets, permissionSets, fc.constantFrom(...FEATURE_NAMES), (app, granted, name) => {
      const wanted = FEATURES[name].permissions
      const assessment = assessFeature(FEATURES[name], profile, {
        connection: connectedWith(app),
        installations: [installationWith(granted)],
      })
      t.is(assessment.state === 'on', permissionsCover(granted, wanted))
      if (assessment.missing) {
        const held = assessment.state === 'app-lacks' ? app : granted
        for (const [permission, access] of Object.entries(assessment.missing)) {
          t.is(wanted[permission], access)
          t.false(permissionsCover(held, { [permission]: access }))
        }
        t.true(assessment.next.includes(assessment.link ?? '-'))
      }
    }),
  )
})
