// Drift: states are entered on evidence, never on one refusal, and left by themselves.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { failureOf } from '../../support/fakes.ts'
import { connectedRig, createRig, ORG } from '../../support/operations-rig.ts'

const MINUTE = 60_000

test('suspended and unsuspended, uninstalled and installed again: each is noticed at the next look', async t => {
  const { drift, world, rig, app, installation, told } = await connectedRig()
  world.suspend(installation.id, true)
  await drift.check()
  t.is(rig.kind(), 'suspended')
  world.suspend(installation.id, false)
  await drift.check()
  t.is(rig.kind(), 'connected')
  world.uninstall(installation.id)
  await drift.check()
  t.is(rig.kind(), 'uninstalled')
  const again = world.install(app.id, ORG)
  await drift.check()
  t.is(rig.kind(), 'connected')
  t.deepEqual(
    rig.connectionState.read().installations.map(({ id }) => id),
    [again.id],
  )
  t.deepEqual(
    told
      .filter(event => event.event === 'state')
      .map(event => event.state)
      .slice(-4),
    ['suspended', 'connected', 'uninstalled', 'connected'],
  )
})

test('while some installation works, the connection does', async t => {
  const { drift, world, rig, app, installation } = await connectedRig()
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  world.suspend(other.id, true)
  await drift.check()
  t.is(rig.kind(), 'connected')
  world.suspend(installation.id, true)
  await drift.check()
  t.is(rig.kind(), 'suspended')
})

for (const [code, state] of [
  ['app-not-found', 'app-deleted'],
  ['key-rejected', 'key-rejected'],
] as const) {
  test(`one ${code} changes nothing, a burst neither, repeats over half a minute do; recovery needs one good answer`, async t => {
    const { drift, world, rig, clock, tokens } = await connectedRig()
    tokens.drop()
    world.refuse('listInstallations', code)
    await drift.check()
    t.is(rig.kind(), 'connected')
    await clock.advance(10 * MINUTE)
    t.is(rig.kind(), 'connected', 'the second look found it well')
    world.refuse('listInstallations', code, { times: 10 })
    for (let n = 0; n < 10; n += 1) await drift.check()
    t.is(rig.kind(), 'connected', 'ten in a moment are one')
    world.refuse('listInstallations', code, { times: 1_000 })
    await clock.advance(2 * MINUTE)
    t.is(rig.kind(), state)
    const calls = world.calls.length
    await clock.advance(10 * MINUTE)
    t.true(world.calls.length - calls < 5, 'once known, it is not asked without end')
  })
}

test('what was refused for a while comes back by itself, after a restart too', async t => {
  const { drift, world, rig, clock, premises } = await connectedRig()
  world.refuse('listInstallations', 'key-rejected', { times: 3 })
  await drift.check()
  await clock.advance(MINUTE)
  t.is(rig.kind(), 'key-rejected')
  rig.kill()
  const second = createRig(premises)
  t.is(second.kind(), 'key-rejected')
  second.heartbeat.start()
  await clock.advance(0)
  t.is(second.kind(), 'connected')
})

test('an outage, a proxy or a portal is no state', async t => {
  const { drift, world, rig, clock } = await connectedRig()
  for (const code of ['unreachable', 'proxy-refused', 'portal', 'github-outage', 'timeout', 'clock-skew'] as const) {
    world.refuse('listInstallations', code, { times: 10 })
    for (let n = 0; n < 10; n += 1) {
      await drift.check()
      await clock.advance(MINUTE)
    }
    t.is(rig.kind(), 'connected', code)
    t.is(rig.link.findTrouble()?.failure.code, code)
    t.true(rig.status.whole().warnings.some(warning => warning.code === code))
  }
})

test('an IP allow list that shows at the mint alone is a state, left when a token can be had again', async t => {
  const { tokens, heartbeat, world, rig, clock, installation } = await connectedRig()
  heartbeat.start()
  await clock.advance(0)
  world.blocked.add(ORG.login)
  const grant = { profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }
  t.is((await failureOf(tokens.obtain(grant))).code, 'ip-blocked')
  await clock.advance(0)
  t.is(rig.kind(), 'blocked')
  await clock.advance(12 * MINUTE)
  t.is(rig.kind(), 'blocked', 'the list of installations is not under the allow list')
  world.blocked.clear()
  await clock.advance(6 * MINUTE)
  t.is(rig.kind(), 'connected')
})

test('a full disk while a state is noted is logged and ends nothing', async t => {
  const { drift, world, rig, clock, disk, installation, log } = await connectedRig()
  disk.storeFailure = new Failure('disk-full', 'no space')
  world.suspend(installation.id, true)
  await t.notThrowsAsync(drift.check())
  world.refuse('listInstallations', 'key-rejected', { times: 1_000 })
  await drift.check()
  // The timers that confirm it run into the full disk: an unhandled rejection would end this test.
  await clock.advance(5 * MINUTE)
  t.is(rig.kind(), 'connected')
  t.true(log.lines.some(line => line.level === 'error'))
  delete disk.storeFailure
  await drift.check()
  t.is(rig.kind(), 'key-rejected')
})

test('in states that GitHub does not decide, it is not asked', async t => {
  const { drift, world, connectionState, clock } = await connectedRig()
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  connectionState.transition({
    ...connection,
    kind: 'disconnecting',
    step: 'delete-app',
    deadlineMs: clock.now() + MINUTE,
  })
  await drift.check()
  t.is(world.calls.length, 0)
})

test('an App that GitHub says not to know, whose token it takes, is not deleted', async t => {
  const { drift, world, rig, clock, app, tokens, installation } = await connectedRig()
  await tokens.obtain({ profile: 'ci', scope: { installation: installation.id } })
  world.refuse('listInstallations', 'app-not-found', { times: 1_000 })
  await drift.check()
  await clock.advance(20 * MINUTE)
  t.is(rig.kind(), 'connected')
  t.true(rig.status.whole().warnings.some(warning => warning.code === 'app-not-found'))
  world.deleteApp(app.id)
  await clock.advance(2 * MINUTE)
  t.is(rig.kind(), 'app-deleted', 'its tokens are dead as well')
})

test('while no token can prove it, the App counts as deleted after five minutes only', async t => {
  const { drift, world, rig, clock } = await connectedRig()
  world.refuse('listInstallations', 'app-not-found', { times: 1_000 })
  world.refuse('accepts', 'github-unexpected', { times: 1_000 })
  await drift.check()
  await clock.advance(4 * MINUTE)
  t.is(rig.kind(), 'connected')
  await clock.advance(2 * MINUTE)
  t.is(rig.kind(), 'app-deleted')
})

test('an empty list that an installation belies changes nothing', async t => {
  const { drift, world, rig, installation } = await connectedRig()
  const held = world.installations.get(installation.id)
  if (!held) throw new Error('no installation')
  world.installations.delete(installation.id)
  const find = world.find.bind(world)
  world.find = () => held
  await drift.check()
  t.is(rig.kind(), 'connected')
  t.is(rig.connectionState.read().installations.length, 1)
  world.find = find
  await drift.check()
  t.is(rig.kind(), 'uninstalled')
})

test('a policy of the account is a state with its own words, left when a token can be used again', async t => {
  const { tokens, drift, world, rig, installation, status, clock } = await connectedRig()
  world.forbidding.add(ORG.login)
  const grant = { profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }
  t.is((await failureOf(tokens.obtain(grant))).code, 'account-policy')
  await clock.advance(0)
  t.is(rig.kind(), 'blocked')
  t.regex(status.brief().meaning, /^A policy of Octo-Org keeps the App out: SAML enforcement\./)
  t.regex(status.reasonsNotReady()[0] ?? '', /^blocked since 2026-.*A policy of .* noticed by itself\.$/)
  await drift.check()
  t.is(rig.kind(), 'blocked')
  world.forbidding.clear()
  await drift.check()
  t.is(rig.kind(), 'connected')
})

const rowsOf = (
  disk: { audit: readonly { event: string; detail?: string }[] },
  event: string,
): (string | undefined)[] => disk.audit.filter(row => row.event === event).map(({ detail }) => detail)

test('an account that is renamed is followed: same installation, same tokens, told once', async t => {
  const { drift, world, rig, installation, tokens, disk, told, connectionState, status } = await connectedRig()
  const grant = { profile: 'ci', scope: { installation: installation.id } }
  const before = await tokens.obtain(grant)
  rig.setPolicy({ profiles: [{ name: 'ci', installation: 'octo-org', allow: { users: [], groups: [], units: [] } }] })
  world.change(installation.id, { account: { ...ORG, login: 'Hexa-Org' } })
  await drift.check()
  await drift.check()
  const { connection } = connectionState.read()
  t.is(connection.kind, 'connected')
  t.like(connection, { account: { login: 'Hexa-Org' } })
  t.is((await tokens.obtain(grant)).token, before.token)
  t.deepEqual(rowsOf(disk, 'connection.renamed'), [
    `Octo-Org is named Hexa-Org now: renamed or transferred; installation ${installation.id} is the same`,
  ])
  t.is(told.filter(event => event.event === 'change').length, 1)
  const warning = status.whole().warnings.find(({ code }) => code === 'profile-unmatched')
  t.regex(warning?.detail ?? '', /The profile ci is for octo-org/)
  t.regex(warning?.next ?? '', /Hexa-Org/)
})

test('an App that is renamed or transferred is followed, at most each quarter of an hour', async t => {
  const { drift, world, app, connectionState, disk, clock } = await connectedRig()
  await drift.check()
  const owner = { type: 'organization', login: 'Hexa-Org' } as const
  world.changeApp(app.id, { name: 'New', slug: 'new', htmlUrl: 'https://github.com/apps/new', owner })
  await drift.check()
  t.is(world.count('getApp'), 1)
  await clock.advance(15 * MINUTE)
  await drift.check()
  t.is(world.count('getApp'), 2)
  t.like(connectionState.read().connection, { app: { name: 'New', slug: 'new', owner }, account: ORG })
  t.deepEqual(rowsOf(disk, 'connection.app'), [
    `the App ${app.name} is named New now (https://github.com/apps/new)`,
    'the App belongs to Hexa-Org now, not to Octo-Org: renamed or transferred',
  ])
})

test('permissions that the owner has not approved are a warning with the address, until they are', async t => {
  const { drift, world, app, installation, status, disk } = await connectedRig()
  await drift.check()
  const pending = () => status.whole().warnings.filter(({ code }) => code === 'permissions-pending')
  t.deepEqual(pending(), [])
  const asked = { ...app.permissions, actions: 'write', issues: 'read' } as const
  world.changeApp(app.id, { permissions: asked })
  await drift.check({ force: true })
  t.is(pending().length, 1)
  t.true(pending()[0]?.detail.includes('Octo-Org has not approved what the App asks for: actions: write.'))
  t.true(pending()[0]?.next.includes(installation.htmlUrl))
  world.change(installation.id, { permissions: { ...installation.permissions, actions: 'write' } })
  await drift.check()
  t.deepEqual(pending(), [])
  t.deepEqual(rowsOf(disk, 'connection.app'), [
    'the App asks for other permissions: actions: none → write, issues: none → read',
  ])
  t.deepEqual(rowsOf(disk, 'connection.permissions'), ['Octo-Org: actions: none → write'])
})

test('a permission that is refused at a mint brings the next look at the App forward', async t => {
  const { tokens, world, app, installation, status, clock, drift } = await connectedRig()
  await drift.check()
  world.changeApp(app.id, { permissions: { ...app.permissions, actions: 'write' } })
  const grant = { profile: 'ci', scope: { installation: installation.id, permissions: { actions: 'write' } } } as const
  t.is((await failureOf(tokens.obtain(grant))).code, 'permission-not-granted')
  await clock.advance(MINUTE)
  t.true(status.whole().warnings.some(({ code }) => code === 'permissions-pending'))
})

test('repositories that are taken out are told, and a scope that held one gets a clear problem', async t => {
  const { tokens, drift, world, installation, disk, rig } = await connectedRig()
  world.change(installation.id, { repositorySelection: 'selected' }, ['web', 'api', 'docs'])
  await drift.check()
  const scopeOf = (...repositories: string[]) => ({
    profile: 'ci',
    scope: { installation: installation.id, repositories },
  })
  const kept = await tokens.obtain(scopeOf('web'))
  await tokens.obtain(scopeOf('web', 'api'))
  world.change(installation.id, {}, ['web', 'infra'])
  await drift.check()
  t.is(tokens.find(scopeOf('web', 'api')), undefined)
  const failure = await failureOf(tokens.obtain(scopeOf('web', 'api')))
  t.is(failure.code, 'repository-not-accessible')
  t.is((await failureOf(tokens.obtain(scopeOf('web', 'api')))).code, 'repository-not-accessible', 'and it stays')
  t.is((await tokens.obtain(scopeOf('web'))).token, kept.token, 'until the new one has settled')
  t.deepEqual(rowsOf(disk, 'connection.repositories'), [
    'Octo-Org: some repositories, no longer all of them',
    'Octo-Org: repositories added infra; removed api, docs',
  ])
  t.is(rig.kind(), 'connected')
})

test('what changes within the same second of GitHub is found by the second look', async t => {
  const { drift, world, installation, disk } = await connectedRig()
  world.change(installation.id, { repositorySelection: 'selected' }, ['web'])
  const atMs = world.changedMs.get(installation.id) ?? 0
  await drift.check()
  world.change(installation.id, {}, ['web', 'api'])
  // It tells its time in whole seconds.
  world.changedMs.set(installation.id, atMs)
  await drift.check()
  t.deepEqual(rowsOf(disk, 'connection.repositories').slice(-1), ['Octo-Org: repositories added api'])
})

test('a scope that is in doubt is served as before while GitHub cannot be asked', async t => {
  const { tokens, drift, world, installation } = await connectedRig()
  const grant = { profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }
  const before = await tokens.obtain(grant)
  world.change(installation.id, { permissions: { metadata: 'read' } })
  await drift.check()
  world.outage = new Failure('unreachable', 'GitHub is away')
  t.is((await tokens.obtain(grant)).token, before.token)
})

test('changes are found after a restart, too', async t => {
  const { drift, world, installation, rig, premises, disk } = await connectedRig()
  world.change(installation.id, { repositorySelection: 'selected' }, ['web'])
  await drift.check()
  rig.kill()
  world.change(installation.id, {}, ['web', 'api'])
  const second = createRig(premises)
  await second.drift.check()
  t.deepEqual(rowsOf(disk, 'connection.repositories').slice(-1), ['Octo-Org: repositories added api'])
})

test('one of several installations that is suspended is a warning, and no state', async t => {
  const { drift, world, app, rig, status, disk } = await connectedRig()
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  world.suspend(other.id, true)
  await drift.check()
  t.is(rig.kind(), 'connected')
  const warning = status.whole().warnings.find(({ code }) => code === 'installation-suspended')
  t.true(warning?.detail.includes('hexa'))
  world.suspend(other.id, false)
  await drift.check()
  t.false(status.whole().warnings.some(({ code }) => code === 'installation-suspended'))
  t.deepEqual(rowsOf(disk, 'connection.suspension'), ['hexa: no longer suspended'])
  t.deepEqual(rowsOf(disk, 'connection.installations'), [`hexa: installation ${other.id} is new`])
})

test('the installation of the own account decides the state, whatever becomes of others', async t => {
  const { drift, world, app, rig, installation } = await connectedRig()
  world.install(app.id, { type: 'organization', login: 'hexa' })
  await drift.check()
  world.suspend(installation.id, true)
  await drift.check()
  t.is(rig.kind(), 'suspended')
  world.suspend(installation.id, false)
  await drift.check()
  t.is(rig.kind(), 'connected')
})

test('a suspension that comes and goes settles, is said to, and floods nothing; it ends by itself, or when asked', async t => {
  const { drift, world, rig, installation, clock, disk, status, heartbeat, tokens } = await connectedRig()
  for (let n = 0; n < 200; n += 1) {
    world.suspend(installation.id, n % 2 === 0)
    await drift.check()
    await clock.advance(15_000)
  }
  t.is(rig.kind(), 'suspended', 'though it was lifted at the last look')
  t.true(status.whole().warnings.some(({ code }) => code === 'flapping'))
  const states = disk.audit.filter(row => /^connection\.(suspended|connected)$/.test(row.event))
  t.true(states.length < 8, `${states.length} rows in 50 minutes`)
  t.truthy(await tokens.obtain({ profile: 'ci', scope: { installation: installation.id } }), 'served all the while')
  await drift.check()
  await clock.advance(10 * MINUTE)
  await drift.check()
  t.is(rig.kind(), 'connected', 'after ten calm minutes')
  world.suspend(installation.id, true)
  await drift.check()
  t.is(rig.kind(), 'suspended')
  world.suspend(installation.id, false)
  await heartbeat.force()
  t.is(rig.kind(), 'connected', 'whoever asks does not wait')
  t.false(status.whole().warnings.some(({ code }) => code === 'flapping'))
})

test('something that changes to and fro is told a few times, then counted', async t => {
  const { drift, world, installation, clock, disk } = await connectedRig()
  for (let n = 0; n < 40; n += 1) {
    world.change(installation.id, { repositorySelection: n % 2 === 0 ? 'selected' : 'all' })
    await drift.check()
    await clock.advance(MINUTE)
  }
  const rows = rowsOf(disk, 'connection.repositories')
  t.true(rows.length <= 7, `${rows.length} rows`)
  t.true(rows.some(detail => /after \d+ changes that were not told/.test(detail ?? '')))
})

test('a rate limit of a day is honoured by the App’s own calls, said with its end, and does not hold back who asks', async t => {
  const { heartbeat, world, rig, clock, status, drift } = await connectedRig()
  const day = 24 * 60 * MINUTE
  world.refuse('listInstallations', 'quota', { times: 1, retryAfterSeconds: 86_400 })
  await drift.check()
  const calls = world.calls.length
  for (let hours = 0; hours < 20; hours += 1) {
    await drift.check()
    await clock.advance(60 * MINUTE)
  }
  t.is(world.calls.length, calls)
  t.is(rig.kind(), 'connected')
  const warning = status.whole().warnings.find(({ code }) => code === 'quota-rest')
  t.true(warning?.detail.includes(new Date(clock.now() - 20 * 60 * MINUTE + day).toISOString()))
  await heartbeat.force()
  t.true(world.calls.length > calls)
  t.false(status.whole().warnings.some(({ code }) => code === 'quota-rest'))
})

test('a rate limit of a day on an installation: told with its end, kept, and asked anew by a refresh', async t => {
  const { heartbeat, tokens, world, clock, status, installation } = await connectedRig()
  const grant = { profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }
  world.refuse('mint', 'quota', { times: 1, retryAfterSeconds: 86_400 })
  t.is((await failureOf(tokens.obtain(grant))).retryAfterSeconds, 86_400)
  await clock.advance(60 * MINUTE)
  const minted = world.count('mint')
  t.is((await failureOf(tokens.obtain(grant))).retryAfterSeconds, 82_800)
  t.is(world.count('mint'), minted, 'GitHub is not asked')
  const warning = status.whole().warnings.find(({ code }) => code === 'quota-rest')
  t.true(warning?.detail.startsWith('The installation of Octo-Org asks GitHub for nothing until 2026-05-02T12:00:0'))
  await heartbeat.force()
  t.truthy(await tokens.obtain(grant))
  t.false(status.whole().warnings.some(({ code }) => code === 'quota-rest'))
})

test('a suspension that shows at a mint is looked into within the minute', async t => {
  const { tokens, world, rig, clock, installation } = await connectedRig()
  world.suspend(installation.id, true)
  const scope = { installation: installation.id, repositories: ['web'] }
  t.is((await failureOf(tokens.obtain({ profile: 'ci', scope }))).code, 'suspended')
  await clock.advance(MINUTE)
  t.is(rig.kind(), 'suspended')
})

for (const [what, call] of [
  ['installations', 'listInstallations'],
  ['App', 'getApp'],
] as const)
  test(`what GitHub says of the ${what} of one connection is nothing to the next one`, async t => {
    const { drift, world, rig, clock, disk } = await connectedRig()
    const account = { type: 'organization', login: 'Other-Org' } as const
    const other = world.createApp(account)
    const there = world.install(other.app.id, account)
    const answer = world.hold(call)
    const check = drift.check()
    await clock.advance(0)
    t.is(world.count(call), 1)
    await rig.disable.begin({ local: true, wait: false })
    await rig.importApp({ appId: other.app.id, pem: new Secret(other.pem) })
    answer()
    await check
    t.deepEqual(
      rig.connectionState.read().installations.map(({ id }) => id),
      [there.id],
    )
    t.like(rig.connectionState.read().connection, { kind: 'connected', account, app: other.app })
    t.deepEqual(rowsOf(disk, 'connection.app'), [])
  })

test('a token that was made only to see whether the way is open is revoked', async t => {
  const { drift, world, rig, installation, tokens, clock } = await connectedRig()
  world.forbidding.add(ORG.login)
  await failureOf(tokens.obtain({ profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }))
  await clock.advance(0)
  t.is(rig.kind(), 'blocked')
  world.forbidding.clear()
  await drift.check()
  t.is(rig.kind(), 'connected')
  t.deepEqual(
    [...world.tokens.keys()].filter(text => world.isAlive(text)).toSorted(),
    tokens
      .live()
      .map(({ token }) => token.reveal())
      .toSorted(),
  )
})

test('where the owner takes a permission away, a token that has it is not handed out again', async t => {
  const { drift, world, installation, tokens } = await connectedRig()
  const grant = { profile: 'ci', scope: { installation: installation.id, permissions: { contents: 'write' } } } as const
  await tokens.obtain(grant)
  world.change(installation.id, { permissions: { contents: 'read', metadata: 'read' } })
  await drift.check()
  t.is((await failureOf(tokens.obtain(grant))).code, 'permission-not-granted')
})
