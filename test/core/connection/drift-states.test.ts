// Drift in detail: which words of GitHub make it look, whose installation counts, and how a state says why it was entered.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { isoTime } from '../../../src/protocol/wire.ts'
import { failureOf } from '../../support/fakes.ts'
import { connectedRig, createPremises, createRig, ORG } from '../../support/operations-rig.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HEXA = { type: 'organization', login: 'hexa' } as const

test('each word of GitHub that may mean a change is a reason to look, within the minute and once for all of them', async t => {
  for (const code of [
    'key-rejected',
    'app-not-found',
    'suspended',
    'permission-not-granted',
    'repository-not-accessible',
  ] as const) {
    const { tokens, world, clock, installation, drift } = await connectedRig()
    await drift.check()
    await clock.advance(10 * SECOND)
    world.refuse('mint', code, { times: 9 })
    for (const name of ['a', 'b', 'c'])
      await failureOf(tokens.obtain({ profile: name, scope: { installation: installation.id, repositories: ['web'] } }))
    t.is(world.count('listInstallations'), 1, code)
    await clock.advance(49 * SECOND)
    t.is(world.count('listInstallations'), 1, 'looks are a minute apart')
    await clock.advance(SECOND)
    t.is(world.count('listInstallations'), 2, code)
    await clock.advance(2 * MINUTE)
    t.is(world.count('listInstallations'), 2, code)
    await failureOf(tokens.obtain({ profile: 'd', scope: { installation: installation.id, repositories: ['web'] } }))
    await clock.advance(0)
    t.is(world.count('listInstallations'), 3, 'a later one is a reason again')
  }
})

test('a word that says nothing of the App makes nobody look', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  world.refuse('mint', 'github-outage', { times: 9 })
  await failureOf(tokens.obtain({ profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }))
  await clock.advance(2 * MINUTE)
  t.is(world.count('listInstallations'), 0)
})

test('a state tells since when and why: the words of GitHub, or the accounts that it concerns', async t => {
  const { drift, world, app, status, clock, installation, rig } = await connectedRig()
  await clock.advance(MINUTE)
  world.suspend(installation.id, true)
  await drift.check()
  t.is(status.whole().since, isoTime(clock.now()))
  t.is(status.whole().meaning, 'The installation is suspended: GitHub says so for Octo-Org.')
  const { connection } = rig.connectionState.read()
  await clock.advance(MINUTE)
  await drift.check()
  t.deepEqual(rig.connectionState.read().connection, connection, 'what goes on is no new state')
  world.uninstall(installation.id)
  await drift.check()
  t.is(status.whole().meaning, 'The App is no longer installed: GitHub lists no installation of the App.')
  t.is(status.whole().since, isoTime(clock.now()))
  world.install(app.id, ORG)
  await clock.advance(MINUTE)
  await drift.check()
  t.is(status.whole().since, isoTime(clock.now()))
  t.false('evidence' in rig.connectionState.read().connection)
})

test('the own account is told by its name without case, and an enterprise has each of its organizations', async t => {
  const imported = async (account: string, before?: 'enterprise') => {
    const premises = createPremises()
    const { app, pem } = premises.world.createApp(ORG)
    const own = premises.world.install(app.id, ORG)
    premises.world.install(app.id, HEXA)
    const rig = createRig(premises)
    if (before) await rig.enable.begin({ type: before, login: account })
    await rig.importApp({ appId: app.id, pem: new Secret(pem), account })
    premises.world.suspend(own.id, true)
    await rig.drift.check()
    return rig.kind()
  }
  t.is(await imported('OCTO-ORG'), 'suspended')
  t.is(await imported('octo-org', 'enterprise'), 'connected')
})

test('before there is a connection no refusal is its state', async t => {
  const premises = createPremises()
  const { app, pem } = premises.world.createApp(ORG)
  const rig = createRig(premises)
  premises.world.refuse('listInstallations', 'ip-blocked', { times: 3 })
  await rig.importApp({ appId: app.id, pem: new Secret(pem) })
  await premises.clock.advance(5 * SECOND)
  t.is(rig.kind(), 'awaiting-installation')
})

test('a state in which nothing is served is left at once, however often it came', async t => {
  const { drift, world, app, rig, installation, clock, status } = await connectedRig()
  let { id } = installation
  for (let n = 0; n < 5; n += 1) {
    world.uninstall(id)
    await drift.check()
    t.is(rig.kind(), 'uninstalled')
    id = world.install(app.id, ORG).id
    await clock.advance(10 * SECOND)
    await drift.check()
    t.is(rig.kind(), 'connected')
  }
  t.false(status.whole().warnings.some(({ code }) => code === 'flapping'))
})

test('what comes and goes is said with how often, and what is kept for it ends with the half hour', async t => {
  const { drift, world, rig, installation, clock, status } = await connectedRig()
  const flap = async (): Promise<void> => {
    world.suspend(installation.id, true)
    await drift.check()
    world.suspend(installation.id, false)
    await clock.advance(SECOND)
    await drift.check()
  }
  await flap()
  await flap()
  t.is(rig.kind(), 'connected', 'twice is no flapping')
  await clock.advance(30 * MINUTE)
  await flap()
  t.is(rig.kind(), 'connected', 'the first two are forgotten')
  await flap()
  await flap()
  t.is(rig.kind(), 'suspended')
  const warning = status.whole().warnings.find(({ code }) => code === 'flapping')
  t.regex(warning?.detail ?? '', /it came 3 times within half an hour, so it stays until that holds for ten minutes/)
  await clock.advance(10 * MINUTE - SECOND)
  await drift.check()
  t.is(rig.kind(), 'suspended')
  await clock.advance(SECOND)
  await drift.check()
  t.is(rig.kind(), 'connected')
  for (let n = 0; n < 3; n += 1) await flap()
  world.suspend(installation.id, true)
  await drift.check()
  await clock.advance(30 * MINUTE)
  world.suspend(installation.id, false)
  await drift.check()
  t.is(rig.kind(), 'connected', 'one that lasted for half an hour does not come and go')
})

test('from blocked the way is open when a token is taken, on each installation that is not suspended', async t => {
  const { drift, world, app, rig, installation, tokens, clock } = await connectedRig()
  const other = world.install(app.id, HEXA)
  world.suspend(other.id, true)
  world.blocked.add(ORG.login)
  await failureOf(tokens.obtain({ profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }))
  await clock.advance(0)
  t.is(rig.kind(), 'blocked')
  world.blocked.clear()
  world.refuse('accepts', 'ip-blocked')
  await drift.check()
  t.is(rig.kind(), 'blocked', 'a token that can be had and not be used proves nothing')
  world.refuse('revoke', 'unreachable')
  await drift.check()
  t.is(rig.kind(), 'connected', 'what is suspended needs no way, and a token that ends by itself is no trouble')
})

test('while it cannot be asked whether an installation is gone, an empty list is not believed', async t => {
  const { drift, world, rig, installation } = await connectedRig()
  world.uninstall(installation.id)
  world.refuse('getInstallation', 'github-outage')
  await drift.check()
  t.is(rig.kind(), 'connected')
  t.is(rig.connectionState.read().installations.length, 1)
  await drift.check()
  t.is(rig.kind(), 'uninstalled')
})

test('a burst of refusals is followed by one look a moment later', async t => {
  const { drift, world, clock } = await connectedRig()
  world.refuse('listInstallations', 'key-rejected', { times: 1_000 })
  for (let n = 0; n < 5; n += 1) await drift.check()
  t.is(world.count('listInstallations'), 5)
  await clock.advance(15 * SECOND)
  t.is(world.count('listInstallations'), 5)
  await clock.advance(2 * SECOND)
  t.is(world.count('listInstallations'), 6)
})

test('a full disk while a refusal of the way is noted is logged, and ends nothing', async t => {
  const { tokens, world, rig, clock, disk, log, installation } = await connectedRig()
  disk.storeFailure = new Failure('disk-full', 'no space')
  world.blocked.add(ORG.login)
  await failureOf(tokens.obtain({ profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }))
  await clock.advance(0)
  t.is(rig.kind(), 'connected')
  t.true(log.lines.some(({ level, message }) => level === 'error' && message === 'a state could not be noted'))
})

test('a rate limit without a time is a rest of a minute, and one good answer ends every rest', async t => {
  const { drift, world, clock } = await connectedRig()
  world.refuse('listInstallations', 'quota')
  await drift.check()
  t.is(drift.findRest(), clock.now() + MINUTE)
  await clock.advance(MINUTE - SECOND)
  await drift.check()
  t.is(world.count('listInstallations'), 1)
  t.is(drift.findRest(), clock.now() + SECOND)
  await drift.check({ force: true })
  t.is(world.count('listInstallations'), 2)
  t.is(drift.findRest(), undefined)
})

test('all who look again at once share one look, and the next ones wait for ten seconds', async t => {
  const { drift, world, clock, installation } = await connectedRig()
  world.change(installation.id, { account: { ...ORG, login: 'New-Org' } })
  t.deepEqual(await Promise.all([drift.lookAgain(), drift.lookAgain()]), [true, true])
  t.is(world.count('listInstallations'), 1)
  world.change(installation.id, { account: ORG })
  await clock.advance(9 * SECOND)
  t.false(await drift.lookAgain())
  t.is(world.count('listInstallations'), 1)
  await clock.advance(SECOND)
  t.true(await drift.lookAgain())
  await clock.advance(10 * SECOND)
  t.false(await drift.lookAgain(), 'nothing changed')
  t.is(world.count('listInstallations'), 3)
})

test('of a list of repositories that cannot be read to its end nothing is gone', async t => {
  const { drift, world, installation, disk } = await connectedRig()
  world.change(installation.id, { repositorySelection: 'selected' }, ['web', 'api'])
  await drift.check()
  const answers = world.answer.bind(world)
  world.change(installation.id, {}, ['web'])
  world.answer = async (call, work) => {
    const answer = await answers(call, work)
    if (call === 'listRepositories') Object.assign(answer as object, { isWhole: false })
    return answer
  }
  await drift.check()
  const rows = () => disk.audit.filter(({ event }) => event === 'connection.repositories').map(({ detail }) => detail)
  t.deepEqual(rows(), ['Octo-Org: some repositories, no longer all of them'])
  world.answer = answers
  await drift.check()
  t.is(rows().at(-1), 'Octo-Org: repositories removed api')
})

test('while the whole is suspended no single installation is a warning beside it; a rest names the installation', async t => {
  const { drift, world, status, installation, tokens, clock, rig } = await connectedRig()
  const codes = () => status.whole().warnings.map(({ code }) => code)
  rig.setPolicy({ profiles: [{ name: 'ci', installation: 'nobody', allow: { users: [], groups: [], units: [] } }] })
  t.deepEqual(codes(), ['no-recovery-key', 'profile-unmatched'])
  world.suspend(installation.id, true)
  await drift.check()
  t.is(rig.kind(), 'suspended')
  t.deepEqual(codes(), ['no-recovery-key'])
  world.suspend(installation.id, false)
  await drift.check()
  world.refuse('mint', 'quota', { retryAfterSeconds: 600 })
  world.refuse('listInstallations', 'quota', { retryAfterSeconds: 600 })
  await failureOf(tokens.obtain({ profile: 'ci', scope: { installation: installation.id, repositories: ['web'] } }))
  await drift.check()
  const until = isoTime(clock.now() + 10 * MINUTE)
  t.deepEqual(
    status
      .whole()
      .warnings.filter(({ code }) => code === 'quota-rest')
      .map(({ detail }) => detail),
    [
      `The App asks GitHub for nothing until ${until}, as its rate limit said.`,
      `The installation of Octo-Org asks GitHub for nothing until ${until}, as its rate limit said.`,
    ],
  )
  const { connection } = rig.connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  rig.connectionState.transition({ ...connection, kind: 'quarantined', evidence: 'e' })
  t.false(codes().includes('quota-rest'), 'in quarantine nothing is asked anyway')
})
