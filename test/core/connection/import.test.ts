// Import: an App is proven with GitHub before anything of it is stored.

import test from 'ava'
import { type Code, Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { failureOf } from '../../support/fakes.ts'
import { createPremises, createRig, HERE, ORG } from '../../support/operations-rig.ts'

const build = () => {
  const premises = createPremises()
  const made = premises.world.createApp(ORG)
  return { ...premises, ...made, rig: createRig(premises) }
}

test('an App is imported by its id or its client id, and found installed at once', async t => {
  for (const by of ['appId', 'clientId'] as const) {
    const { rig, world, app, pem, clock, disk } = build()
    const { generation } = rig.connectionState.read()
    world.install(app.id, ORG)
    const wish = by === 'appId' ? { appId: app.id } : { clientId: app.clientId }
    t.is((await rig.importApp({ ...wish, pem: new Secret(pem) })).kind, 'connected')
    t.like(rig.connectionState.read().connection, { account: ORG, app: { id: app.id } })
    t.like(rig.connectionState.read().connection, { host: HERE, enabledAtMs: clock.now() })
    t.deepEqual(
      rig.connectionState.read().keys.map(({ fingerprint, addedAtMs }) => [fingerprint, addedAtMs]),
      [[pem, clock.now()]],
    )
    t.is(rig.connectionState.read().generation, generation + 1)
    t.deepEqual(
      disk.audit.filter(({ event }) => event === 'connection.import').map(({ detail }) => detail),
      [`${app.name} for Octo-Org, key ${pem}`],
    )
  }
})

test('an App that is not installed yet waits for it', async t => {
  const { rig, world, app, pem, clock } = build()
  t.is((await rig.importApp({ appId: app.id, pem: new Secret(pem) })).kind, 'awaiting-installation')
  world.install(app.id, ORG)
  await clock.advance(3_000)
  t.is(rig.kind(), 'connected')
})

test('what GitHub does not confirm is not stored', async t => {
  const { rig, world, app, disk } = build()
  const other = world.createApp(ORG, 'other')
  const before = JSON.stringify(disk.record)
  const refused: [Promise<unknown>, Code][] = [
    [rig.importApp({ appId: app.id, pem: new Secret(other.pem) }), 'key-mismatch'],
    [rig.importApp({ appId: 4_711, pem: new Secret(other.pem) }), 'key-mismatch'],
    [rig.importApp({ appId: app.id, pem: new Secret('nonsense') }), 'invalid-key'],
  ]
  for (const [attempt, code] of refused) t.is((await failureOf(attempt)).code, code)
  world.outage = new Failure('proxy-refused', 'squid says 403')
  t.is((await failureOf(rig.importApp({ appId: app.id, pem: new Secret(other.pem) }))).code, 'proxy-refused')
  t.is(JSON.stringify(disk.record), before)
})

test('where GitHub names another App than the one that was asked for, nothing is stored', async t => {
  const { rig, world, app, pem, disk } = build()
  const other = world.createApp(ORG, 'other').app
  const before = JSON.stringify(disk.record)
  world.authenticate = () => ({ app: other, keys: new Set([pem]), deleted: false })
  const failure = await failureOf(rig.importApp({ appId: app.id, pem: new Secret(pem) }))
  t.is(failure.code, 'key-mismatch')
  t.true(failure.message.includes(String(other.id)))
  t.is(JSON.stringify(disk.record), before)
})

test('a key that does not fit is no trouble of the connection, a proxy in the way is', async t => {
  const { rig, world, app, pem } = build()
  await failureOf(rig.importApp({ appId: 4_711, pem: new Secret(pem) }))
  t.is(rig.link.findTrouble(), undefined)
  world.outage = new Failure('proxy-refused', 'squid says 403')
  await failureOf(rig.importApp({ appId: app.id, pem: new Secret(pem) }))
  t.is(rig.status.whole().last_failure?.code, 'proxy-refused')
})

test('over a connection, or while GitHub is asked for a key, nothing is imported', async t => {
  const { rig, world, app, pem } = build()
  await rig.enable.begin(ORG)
  world.outage = new Failure('timeout', 'slow')
  await failureOf(rig.enable.complete({ code: world.submitManifest(ORG), trusted: true }))
  const pending = await failureOf(rig.importApp({ appId: app.id, pem: new Secret(pem) }))
  t.is(pending.code, 'enable-in-progress')
  t.is(pending.message, 'for Octo-Org')
  world.outage = undefined
  await rig.enable.resume()
  const live = await failureOf(rig.importApp({ appId: app.id, pem: new Secret(pem) }))
  t.is(live.code, 'already-connected')
  t.is(live.message, 'the state is awaiting-installation, with Octo-Org')
})

test('a key that GitHub rejects is told with the App and the fingerprint that were given', async t => {
  const { rig, pem } = build()
  const failure = await failureOf(rig.importApp({ appId: 4_711, pem: new Secret(pem) }))
  t.is(failure.message, `App 4711 with key ${pem}: Integration not found`)
  t.true(failure.cause instanceof Failure)
})

test('the account is the one that is enabled for, else the owner of the App', async t => {
  const enterprise = { type: 'enterprise', login: 'acme' } as const
  const { rig, app, pem } = build()
  await rig.enable.begin(enterprise)
  await rig.importApp({ appId: app.id, pem: new Secret(pem), account: 'ACME' })
  t.like(rig.connectionState.read().connection, { account: enterprise })
  const silent = build()
  await silent.rig.enable.begin(enterprise)
  await silent.rig.importApp({ appId: silent.app.id, pem: new Secret(silent.pem) })
  t.like(silent.rig.connectionState.read().connection, { account: enterprise })
  const lost = build()
  lost.rig.connectionState.transition({ kind: 'key-lost', sinceMs: 0, account: enterprise, evidence: '' })
  await lost.rig.importApp({ appId: lost.app.id, pem: new Secret(lost.pem) })
  t.like(lost.rig.connectionState.read().connection, { account: enterprise })
  const another = build()
  await another.rig.enable.begin(enterprise)
  await another.rig.importApp({ appId: another.app.id, pem: new Secret(another.pem), account: 'hexa' })
  t.like(another.rig.connectionState.read().connection, { account: { type: 'organization', login: 'hexa' } })
  const second = build()
  await second.rig.importApp({ appId: second.app.id, pem: new Secret(second.pem), account: 'hexa' })
  t.like(second.rig.connectionState.read().connection, { account: { type: 'organization', login: 'hexa' } })
})

test('of two imports at once the second is refused, and changes nothing', async t => {
  const { rig, world, app, pem } = build()
  const other = world.createApp({ type: 'organization', login: 'other-org' })
  const [first, second] = await Promise.allSettled([
    rig.importApp({ appId: app.id, pem: new Secret(pem) }),
    rig.importApp({ appId: other.app.id, pem: new Secret(other.pem) }),
  ])
  t.is(first.status, 'fulfilled')
  t.is(second.status === 'rejected' && second.reason instanceof Failure && second.reason.code, 'already-connected')
  t.like(rig.connectionState.read().connection, { app: { id: app.id } })
  t.deepEqual(
    rig.connectionState.read().keys.map(key => key.pem.reveal()),
    [pem],
  )
})
