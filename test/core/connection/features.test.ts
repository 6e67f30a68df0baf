// The list of features: asked of GitHub where one is switched on, answered with what is known where GitHub is silent.

import test from 'ava'
import { FEATURE_NAMES, FEATURES, type FeatureName } from '../../../src/protocol/features.ts'
import type { Policy } from '../../../src/protocol/profile.ts'
import { createFeatures } from '../../../src/core/connection/features.ts'
import { connectedRig } from '../../support/operations-rig.ts'

const policyOf = (names: readonly FeatureName[]): Policy => ({
  profiles: names.map(name => ({
    name,
    permissions: FEATURES[name].permissions,
    allow: { users: [{ name: 'git', id: 998 }], groups: [], units: ['a.service'] },
  })),
})

const prepare = async (names: readonly FeatureName[], check: () => Promise<void>) => {
  const { connectionState, clock } = await connectedRig()
  const policy = policyOf(names)
  const switched = () => names.map(name => ({ name, file: 'c.toml' }))
  return {
    clock,
    features: createFeatures({ switched, policy: () => policy, connectionState, drift: { check }, clock }),
  }
}

test('nothing is asked of GitHub where nothing is switched on, and every feature is listed as off', async t => {
  const { features } = await prepare([], () => Promise.reject(new Error('nobody asked')))
  const list = await features.list()
  t.deepEqual(
    list.map(({ name }) => name),
    [...FEATURE_NAMES],
  )
  t.true(list.every(({ state }) => state === 'off'))
  t.true(list.every(({ next, name }) => next.includes(name)))
  t.deepEqual(features.warnings(), [])
})

test('a feature that is on bears its file and whom it admits; what the App lacks is a warning', async t => {
  let looks = 0
  const { features } = await prepare(['license-user-sync', 'unified-search-public'], async () => void (looks += 1))
  const list = await features.list()
  t.is(looks, 1)
  const lacking = list.find(({ name }) => name === 'license-user-sync')
  t.like(lacking, {
    state: 'app-lacks',
    file: 'c.toml',
    missing: { members: 'read', organization_plan: 'read' },
    allow: { users: ['git'], groups: [], units: ['a.service'] },
  })
  t.is(list.find(({ name }) => name === 'unified-search-public')?.state, 'on')
  const [warning, ...others] = features.warnings()
  t.is(warning?.code, 'feature-permissions')
  t.true(warning?.next.includes(`${lacking?.link}`))
  t.deepEqual(others, [])
})

test('a GitHub that does not answer is waited for five seconds', async t => {
  const { features, clock } = await prepare(['unified-search-public'], () => Promise.withResolvers<void>().promise)
  const asked = features.list()
  let answered = false
  void asked.then(() => (answered = true))
  await clock.advance(4_900)
  t.false(answered)
  await clock.advance(200)
  t.is((await asked).length, FEATURE_NAMES.length)
})

test('whoever lists them makes GitHub be asked at once, and leaves no timer behind', async t => {
  const { connectionState, clock } = await connectedRig()
  const asked: unknown[] = []
  const waiting = clock.waiting()
  const features = createFeatures({
    switched: () => [{ name: 'unified-search-public', file: 'c.toml' }],
    policy: () => policyOf(['unified-search-public']),
    connectionState,
    drift: { check: async options => void asked.push(options) },
    clock,
  })
  await features.list()
  t.deepEqual(asked, [{ force: true }])
  t.is(clock.waiting(), waiting)
})

test('a feature bears the installation and repositories of its profile; a profile of its name alone switches nothing on', async t => {
  const { connectionState, clock } = await connectedRig()
  const [bare] = policyOf(['unified-search-public']).profiles
  if (!bare) throw new Error('no profile')
  const policy: Policy = {
    profiles: [
      { ...bare, installation: 'octo-org', repositories: ['web'] },
      ...policyOf(['unified-search-private', 'license-user-sync']).profiles,
    ],
  }
  const switched = () =>
    (['unified-search-public', 'unified-search-private'] as const).map(name => ({ name, file: 'c' }))
  const features = createFeatures({
    switched,
    policy: () => policy,
    connectionState,
    drift: { async check() {} },
    clock,
  })
  const list = await features.list()
  t.like(
    list.find(({ name }) => name === 'unified-search-public'),
    { state: 'on', installation: 'octo-org', repositories: ['web'], ...FEATURES['unified-search-public'] },
  )
  const asks = list.find(({ name }) => name === 'unified-search-private')
  t.like(asks, { state: 'app-lacks', missing: { issues: 'read', pull_requests: 'read' } })
  t.false(Object.hasOwn(asks ?? {}, 'installation'))
  const off = list.find(({ name }) => name === 'license-user-sync')
  t.is(off?.state, 'off')
  t.is(off?.next, 'Run `ghconnect features enable license-user-sync`.')
  t.false(Object.hasOwn(off ?? {}, 'allow'))
  t.deepEqual(features.warnings(), [
    {
      code: 'feature-permissions',
      detail: `Unified search, private repositories is switched on. ${asks?.detail}`,
      next: asks?.next ?? '',
    },
  ])
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  const asking = { ...connection.app.permissions, issues: 'read', pull_requests: 'read' } as const
  connectionState.transition({ ...connection, app: { ...connection.app, permissions: asking } })
  t.deepEqual(features.warnings(), [], 'what is to be approved is a warning of the installation')
})
