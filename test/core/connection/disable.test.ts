// Disable: serving stops at once, GitHub's side goes step by step, and the key goes last.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { failureOf } from '../../support/fakes.ts'
import { connectedRig, createRig, ORG } from '../../support/operations-rig.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const NOT_LOCAL = { local: false, wait: true }

/** Connected, with tokens of two scopes. */
const holding = async () => {
  const all = await connectedRig()
  const scope = { installation: all.installation.id }
  await all.tokens.obtain({ profile: 'ci', scope })
  await all.tokens.obtain({ profile: 'ci', scope: { ...scope, repositories: ['web'] } })
  return { ...all, grant: { profile: 'ci', scope } }
}
const live = ({ world }: Awaited<ReturnType<typeof holding>>): number =>
  [...world.tokens.keys()].filter(text => world.isAlive(text)).length

test('tokens revoked, App uninstalled, then it waits for the owner to delete the App, and shreds', async t => {
  const all = await holding()
  const { rig, world, clock, disk, app, grant, tokens } = all
  const { number, record } = disk
  t.is((await rig.disable.begin(NOT_LOCAL)).kind, 'disconnecting')
  t.is(live(all), 0)
  t.is(world.installations.size, 0)
  t.is(disk.tokens.size, 0)
  t.is((await failureOf(tokens.obtain(grant))).code, 'not-connected')
  t.is(disk.record.keys.length, 1, 'the key is needed to ask whether the App is gone')
  t.true(rig.status.brief().next.includes('/settings/apps/'))
  await clock.advance(10 * MINUTE)
  t.is(rig.kind(), 'disconnecting')
  world.deleteApp(app.id)
  await clock.advance(3 * SECOND)
  t.is(rig.kind(), 'disconnecting', 'one 404 is no deletion')
  await clock.advance(10 * SECOND)
  t.is(rig.kind(), 'disconnected')
  t.deepEqual(disk.record.keys, [])
  t.is(disk.number, number + 1)
  t.true(disk.record.generation > record.generation)
  t.regex(rig.status.brief().meaning, /gone from GitHub/)
  t.true(disk.audit.some(row => row.event === 'dotcom_connection.destroy'))
  t.is(rig.status.whole().last_failure, undefined, 'what was said of the App that is gone is no trouble now')
  t.deepEqual(
    rig.status.whole().warnings.filter(warning => warning.code === 'app-not-found'),
    [],
  )
})

test('repeats are counted only where time passed between them', async t => {
  const { rig, world, app, clock } = await holding()
  await rig.disable.begin(NOT_LOCAL)
  world.refuse('getApp', 'app-not-found', { times: 10 })
  for (let n = 0; n < 10; n += 1) {
    await rig.disable.begin(NOT_LOCAL)
    await rig.disable.resume()
  }
  t.is(rig.kind(), 'disconnecting', 'twenty questions in a moment are one')
  world.deleteApp(app.id)
  await clock.advance(10 * SECOND)
  t.is(rig.kind(), 'disconnected')
})

test('many calls make no more questions than one', async t => {
  const { rig, world, clock } = await holding()
  await rig.disable.begin(NOT_LOCAL)
  for (let n = 0; n < 30; n += 1) await rig.disable.resume()
  const before = world.count('getApp')
  await clock.advance(MINUTE)
  t.true(world.count('getApp') - before <= 20)
  await clock.advance(HOUR)
  const later = world.count('getApp')
  await clock.advance(10 * MINUTE)
  t.is(world.count('getApp'), later, 'after half an hour only the heartbeat looks')
})

test('local makes no call and keeps nothing, and says what remains', async t => {
  const { rig, world, disk, app } = await holding()
  const calls = world.calls.length
  t.is((await rig.disable.begin({ local: true, wait: true })).kind, 'disconnected')
  t.is(world.calls.length, calls)
  t.deepEqual(disk.record.keys, [])
  t.is(disk.tokens.size, 0)
  t.is(
    rig.status.brief().meaning,
    `Disabled on this machine only. The App ${app.name} remains: https://github.com/organizations/Octo-Org/settings/apps/${app.slug}`,
  )
})

test('a disable that does not wait does what can be done', async t => {
  const all = await holding()
  t.is((await all.rig.disable.begin({ local: false, wait: false })).kind, 'disconnected')
  t.is(live(all), 0)
  t.is(all.world.installations.size, 0)
  t.regex(all.rig.status.brief().meaning, /the App may remain/)
  const away = await holding()
  away.world.outage = new Failure('unreachable', 'no route')
  t.is((await away.rig.disable.begin({ local: false, wait: false })).kind, 'disconnected')
  t.regex(away.rig.status.brief().meaning, /tokens.*may remain/)
  const half = await holding()
  half.world.refuse('uninstall', 'unreachable')
  await half.rig.disable.begin({ local: false, wait: false })
  t.is(
    half.rig.status.brief().meaning,
    `Disabled; its installations and the App may remain on GitHub. Delete it under https://github.com/organizations/Octo-Org/settings/apps/${half.app.slug}/advanced`,
  )
})

test('every installation is taken down, each step is told, and its end is logged', async t => {
  const { rig, world, app, told, clock, log } = await holding()
  world.install(app.id, { type: 'organization', login: 'hexa' })
  await rig.drift.check()
  await rig.disable.begin(NOT_LOCAL)
  t.is(world.installations.size, 0)
  t.deepEqual(
    told.filter(({ event, state }) => event === 'step' && state === 'disconnecting').map(({ detail }) => detail),
    ['tokens revoked', 'App uninstalled'],
  )
  world.deleteApp(app.id)
  await clock.advance(10 * SECOND)
  t.true(log.lines.some(({ level, message }) => level === 'info' && message === rig.status.brief().meaning))
})

test('a token that GitHub will not let be revoked ends with the installation, and that is logged', async t => {
  for (const code of ['suspended', 'ip-blocked', 'account-policy', 'forbidden'] as const) {
    const { rig, world, clock, log } = await holding()
    world.refuse('revoke', code, { times: 9 })
    await rig.disable.begin(NOT_LOCAL)
    await clock.advance(0)
    t.like(rig.connectionState.read().connection, { kind: 'disconnecting', step: 'delete-app' }, code)
    t.is(world.installations.size, 0, code)
    t.true(
      log.lines.some(({ level, message }) => level === 'warn' && message.startsWith('a token could not be revoked')),
      code,
    )
  }
})

test('a key that was deleted on GitHub is no word that the App is gone, and that it cannot be asked any more is logged', async t => {
  const { rig, world, app, pem, clock, log } = await holding()
  await rig.disable.begin(NOT_LOCAL)
  world.revokeKey(app.id, pem)
  await clock.advance(MINUTE)
  t.is(rig.kind(), 'disconnecting')
  t.true(
    log.lines.some(({ level, message }) => level === 'warn' && message.startsWith('the key was deleted on GitHub')),
  )
})

test('a disable that is begun once more goes on, and has no more time than before', async t => {
  const { rig, clock } = await holding()
  const first = await rig.disable.begin(NOT_LOCAL)
  t.like(first, { sinceMs: clock.now(), deadlineMs: clock.now() + 24 * HOUR })
  await clock.advance(HOUR)
  t.deepEqual(await rig.disable.begin(NOT_LOCAL), first)
})

test('without GitHub serving stops at once, and the rest follows when it is back', async t => {
  const all = await holding()
  const { rig, world, clock, tokens, grant } = all
  world.outage = new Failure('unreachable', 'no route')
  t.is((await rig.disable.begin(NOT_LOCAL)).kind, 'disconnecting')
  t.is((await failureOf(tokens.obtain(grant))).code, 'not-connected')
  t.like(
    all.log.lines.find(({ message }) => message === 'disabling goes on when GitHub answers'),
    { level: 'warn', fields: { step: 'revoke' } },
  )
  t.is(live(all), 3)
  world.outage = undefined
  await clock.advance(5 * SECOND)
  t.is(live(all), 0)
  t.like(rig.connectionState.read().connection, { step: 'delete-app' })
})

test('after 24 hours the key goes, and the remark says what may remain', async t => {
  const { rig, world, clock, disk } = await holding()
  rig.heartbeat.start()
  world.outage = new Failure('unreachable', 'no route')
  await rig.disable.begin(NOT_LOCAL)
  await clock.advance(24 * HOUR - MINUTE)
  t.is(rig.kind(), 'disconnecting')
  await clock.advance(10 * MINUTE)
  t.is(rig.kind(), 'disconnected')
  t.deepEqual(disk.record.keys, [])
  t.regex(rig.status.brief().meaning, /may remain/)
})

test('the deadline with a full disk ends nothing, and is met when there is space', async t => {
  const { rig, world, clock, disk } = await holding()
  await rig.disable.begin(NOT_LOCAL)
  await clock.advance(23 * HOUR)
  disk.storeFailure = new Failure('disk-full', 'no space')
  rig.heartbeat.start()
  await clock.advance(2 * HOUR)
  t.is(rig.kind(), 'disconnecting')
  delete disk.storeFailure
  world.outage = new Failure('unreachable', 'no route')
  await clock.advance(6 * MINUTE)
  t.is(rig.kind(), 'disconnected')
})

test('a local disable that meets a full disk changes nothing: the tokens are served on', async t => {
  const { rig, disk } = await holding()
  const before = rig.tokens.live().map(({ token }) => token.reveal())
  t.true(before.length > 0)
  disk.storeFailure = new Failure('disk-full', 'no space')
  await t.throwsAsync(() => rig.disable.begin({ local: true, wait: true }), { code: 'disk-full' })
  t.is(rig.kind(), 'connected')
  t.deepEqual(
    rig.tokens.live().map(({ token }) => token.reveal()),
    before,
  )
  delete disk.storeFailure
  await rig.disable.begin({ local: true, wait: true })
  t.deepEqual(rig.tokens.live(), [])
})

test('a full disk met by the timers ends nothing either', async t => {
  const { rig, world, clock, disk, app } = await holding()
  await rig.disable.begin(NOT_LOCAL)
  const { connection } = rig.connectionState.read()
  if (connection.kind !== 'disconnecting') throw new Error('not disconnecting')
  rig.connectionState.transition({ ...connection, deadlineMs: clock.now() + MINUTE })
  disk.storeFailure = new Failure('disk-full', 'no space')
  world.deleteApp(app.id)
  await clock.advance(5 * MINUTE)
  t.is(rig.kind(), 'disconnecting')
  delete disk.storeFailure
  await clock.advance(10 * SECOND)
  t.is(rig.kind(), 'disconnected')
})

test('what is suspended is disabled all the same', async t => {
  const { rig, world, installation } = await holding()
  world.suspend(installation.id, true)
  await rig.drift.check()
  await rig.disable.begin(NOT_LOCAL)
  t.like(rig.connectionState.read().connection, { kind: 'disconnecting', step: 'delete-app' })
  t.is(world.installations.size, 0)
})

for (const call of ['revoke', 'uninstall', 'getApp'] as const) {
  test(`killed while GitHub is told to ${call}: it goes on after the start`, async t => {
    const all = await holding()
    const { rig, world, clock, premises, app } = all
    world.withhold(call)
    void rig.disable.begin(NOT_LOCAL)
    await clock.advance(0)
    t.is(rig.kind(), 'disconnecting')
    rig.kill()
    const second = createRig(premises)
    second.heartbeat.start()
    await clock.advance(0)
    t.like(second.connectionState.read().connection, { kind: 'disconnecting', step: 'delete-app' })
    t.is(live(all), 0)
    t.is(world.installations.size, 0)
    world.deleteApp(app.id)
    await clock.advance(10 * SECOND)
    t.is(second.kind(), 'disconnected')
  })
}

test('what was not connected is given up; an App that GitHub may have made is named', async t => {
  const { rig, world } = await holding()
  await rig.disable.begin({ local: true, wait: true })
  const again = await rig.disable.begin(NOT_LOCAL)
  t.is(again.kind, 'disconnected')
  t.true(rig.status.brief().meaning.includes('remains'), 'a second disable says the same')
  await rig.enable.begin(ORG)
  t.is((await rig.disable.begin(NOT_LOCAL)).kind, 'disconnected')
  t.is(rig.status.brief().meaning, 'Enabling was given up.')
  await rig.enable.begin(ORG)
  world.outage = new Failure('timeout', 'slow')
  await failureOf(rig.enable.complete({ code: world.submitManifest(ORG), trusted: true }))
  t.is((await rig.disable.begin({ local: true, wait: true })).kind, 'disconnected')
  t.regex(rig.status.brief().meaning, /App.*Octo-Org/)
})

test('quarantined: nothing goes out, nothing is served, and every disable is a local one', async t => {
  const { rig, world, clock, premises, grant, disk } = await holding()
  rig.kill()
  const calls = world.calls.length
  const clone = createRig(premises, { host: { machineId: 'machine-2', hostname: 'clone.example.com' } })
  clone.heartbeat.start()
  await clock.advance(0)
  t.is(clone.kind(), 'quarantined')
  t.is((await failureOf(clone.tokens.obtain(grant))).code, 'quarantined')
  t.is((await failureOf(clone.link.getApp())).code, 'quarantined')
  t.is((await failureOf(clone.heartbeat.force())).code, 'quarantined')
  await clone.enable.resume()
  await clone.disable.resume()
  await clone.drift.check()
  await clone.drift.lookAgain()
  await clock.advance(2 * HOUR)
  t.is(world.calls.length, calls)
  t.is((await clone.disable.begin(NOT_LOCAL)).kind, 'disconnected')
  await clock.advance(HOUR)
  t.is(world.calls.length, calls)
  t.deepEqual(disk.record.keys, [])
})

test('a machine that changed one of its two marks is not quarantined, and is warned', async t => {
  const { rig, clock, premises } = await holding()
  rig.kill()
  for (const host of [
    { machineId: 'machine-1', hostname: 'renamed.example.com' },
    { machineId: 'machine-2', hostname: 'ghe.example.com' },
  ]) {
    const moved = createRig(premises, { host })
    moved.heartbeat.start()
    await clock.advance(0)
    t.is(moved.kind(), 'connected')
    t.true(moved.status.whole().warnings.some(warning => warning.code === 'moved'))
    moved.kill()
  }
})

test('a sealed bundle that waits for its identity goes with the connection, and by a disable without one', async t => {
  let waiting = true
  const { rig } = await connectedRig({ dropWaiting: () => void (waiting = false) })
  await rig.disable.begin({ local: true, wait: false })
  t.false(waiting)
  waiting = true
  await rig.disable.begin({ local: true, wait: false })
  t.false(waiting)
})

test('a sealed bundle waits on where the disk refuses the disable', async t => {
  let waiting = true
  const { rig, disk } = await connectedRig({ dropWaiting: () => void (waiting = false) })
  disk.storeFailure = new Failure('disk-full', 'no space')
  await failureOf(rig.disable.begin({ local: true, wait: false }))
  t.true(waiting)
})

test('a word that the App is there ends the row of those that it is not', async t => {
  const { rig, world, clock, app } = await holding()
  await rig.disable.begin(NOT_LOCAL)
  for (const times of [2, 2]) {
    world.refuse('getApp', 'app-not-found', { times })
    await clock.advance(9 * SECOND)
  }
  t.is(rig.kind(), 'disconnecting', 'four words, and never three in a row')
  world.deleteApp(app.id)
  await clock.advance(10 * SECOND)
  t.is(rig.kind(), 'disconnected')
})

test('what GitHub said to an earlier disable does not count for the next one', async t => {
  const { rig, world, clock, app, premises } = await holding()
  await rig.disable.begin(NOT_LOCAL)
  world.refuse('getApp', 'app-not-found', { times: 2 })
  await clock.advance(6 * SECOND)
  t.is(rig.kind(), 'disconnecting')
  await rig.disable.begin({ local: true, wait: false })
  const pem = world.addKey(app.id)
  world.install(app.id, ORG)
  t.is((await rig.importApp({ appId: app.id, pem: new Secret(pem) })).kind, 'connected')
  await clock.advance(10 * SECOND)
  world.refuse('getApp', 'app-not-found', { times: 2 })
  await rig.disable.begin(NOT_LOCAL)
  await clock.advance(3 * SECOND)
  t.is(rig.kind(), 'disconnecting', 'two words of this one')
  t.is(premises.disk.record.keys.length, 1)
})
