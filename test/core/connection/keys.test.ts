// Two keys: the new one is proven and signs, the old one is the fallback, the last one never goes.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { failureOf } from '../../support/fakes.ts'
import { connectedRig } from '../../support/operations-rig.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

const secret = (pem: string): Secret => new Secret(pem)
const fingerprints = (rig: { keys: { list(): readonly { fingerprint: string }[] } }): string[] =>
  rig.keys.list().map(({ fingerprint }) => fingerprint)

test('a new key is proven alone, signs, and leaves the old one as fallback: audited, told, a new generation', async t => {
  const { keys, world, app, pem, connectionState, disk, told } = await connectedRig()
  const { generation } = connectionState.read()
  const added = world.addKey(app.id)
  t.deepEqual(await keys.add(secret(added)), { added, alreadyHeld: false })
  t.deepEqual(world.calls, ['getApp', 'listInstallations', 'getApp'], 'proven, then asked how things stand')
  t.deepEqual(
    keys.list().map(({ fingerprint, signs, state }) => ({ fingerprint, signs, state })),
    [
      { fingerprint: added, signs: true, state: 'works' },
      { fingerprint: pem, signs: false, state: 'works' },
    ],
  )
  t.is(connectionState.read().generation, generation + 1)
  t.is(connectionState.read().connection.kind, 'connected')
  const rows = disk.audit.filter(row => row.event === 'connection.key-add')
  const detail = `${added} signs now, ${pem} is the fallback`
  t.deepEqual(
    rows.map(row => row.detail),
    [detail],
  )
  t.deepEqual(
    told.filter(({ event }) => event === 'change').map(event => [event.state, event.detail]),
    [['connected', detail]],
  )
})

test('each key is listed with when it was added, and retiring one is audited, told, and a new generation', async t => {
  const { keys, world, app, pem, connectionState, disk, told, clock } = await connectedRig()
  const firstMs = clock.now()
  await clock.advance(DAY)
  const added = world.addKey(app.id)
  await keys.add(secret(added))
  t.deepEqual(
    keys.list().map(({ added_at }) => added_at),
    [clock.now(), firstMs].map(ms => new Date(ms).toISOString()),
  )
  const { generation } = connectionState.read()
  await keys.retire()
  t.is(connectionState.read().generation, generation + 1)
  const detail = `${pem} no more; ${added} signs`
  t.deepEqual(
    disk.audit.filter(({ event }) => event === 'connection.key-retire').map(row => row.detail),
    [detail],
  )
  t.is(told.filter(({ event }) => event === 'change').at(-1)?.detail, detail)
})

test('the same key again is no change, and says so', async t => {
  const { keys, world, app, pem, connectionState } = await connectedRig()
  const { generation } = connectionState.read()
  t.deepEqual(await keys.add(secret(pem)), { added: pem, alreadyHeld: true })
  const added = world.addKey(app.id)
  await keys.add(secret(added))
  world.outage = new Failure('unreachable', 'GitHub is away')
  t.deepEqual(await keys.add(secret(added)), { added, alreadyHeld: true }, 'GitHub is not needed for it')
  t.is(connectionState.read().generation, generation + 1)
})

test('a key that GitHub rejects, of another App, or that cannot be proven now changes nothing', async t => {
  const { keys, world, app, pem, connectionState } = await connectedRig()
  const { generation } = connectionState.read()
  t.is((await failureOf(keys.add(secret('key 7 of nobody')))).code, 'key-mismatch')
  t.is((await failureOf(keys.add(secret('rubbish')))).code, 'invalid-key')
  const other = world.createApp(app.owner, 'other')
  t.is((await failureOf(keys.add(secret(other.pem)))).code, 'key-mismatch')
  for (const code of ['unreachable', 'portal', 'github-outage', 'app-not-found'] as const) {
    world.refuse('getApp', code)
    t.is((await failureOf(keys.add(secret(world.addKey(app.id))))).code, code)
  }
  t.deepEqual(fingerprints({ keys }), [pem])
  t.is(connectionState.read().generation, generation)
  t.is(connectionState.read().connection.kind, 'connected')
})

test('a key under which GitHub names another App is not stored', async t => {
  const { keys, world, app, pem, connectionState } = await connectedRig()
  const { generation } = connectionState.read()
  const other = world.createApp(app.owner, 'other').app
  const added = world.addKey(app.id)
  world.authenticate = () => ({ app: other, keys: new Set([added]), deleted: false })
  const failure = await failureOf(keys.add(secret(added)))
  t.is(failure.code, 'key-mismatch')
  t.true(failure.message.includes(String(other.id)))
  t.deepEqual(fingerprints({ keys }), [pem])
  t.is(connectionState.read().generation, generation)
})

test('a third key waits until one is retired, and the advice names the one that GitHub rejects', async t => {
  const { keys, world, app, pem, tokens, installation } = await connectedRig()
  const second = world.addKey(app.id)
  await keys.add(secret(second))
  const third = world.addKey(app.id)
  t.is((await failureOf(keys.add(secret(third)))).code, 'too-many-keys')
  world.revokeKey(app.id, second)
  await tokens.obtain({ profile: 'ci', scope: { installation: installation.id } })
  const failure = await failureOf(keys.add(secret(third)))
  t.is(failure.code, 'too-many-keys')
  t.true(failure.message.includes(`rejects ${second}`))
  t.deepEqual((await keys.retire(second)).retired, [second])
  await keys.add(secret(third))
  t.deepEqual(fingerprints({ keys }), [third, pem])
})

test('retire proves what stays, drops the other, and names where to delete it', async t => {
  const { keys, world, app, pem, disk } = await connectedRig()
  const added = world.addKey(app.id)
  await keys.add(secret(added))
  world.calls.length = 0
  t.deepEqual(await keys.retire(), {
    retired: [pem],
    deleteOnGitHub: `https://github.com/organizations/Octo-Org/settings/apps/${app.slug}`,
  })
  t.deepEqual(world.calls, ['getApp'])
  t.deepEqual(fingerprints({ keys }), [added])
  t.is(disk.audit.filter(row => row.event === 'connection.key-retire').length, 1)
  t.deepEqual((await keys.retire()).retired, [], 'once more is no error')
})

test('the last key never goes, nor the only one that works, nor any while GitHub cannot be asked', async t => {
  const { keys, world, app, pem } = await connectedRig()
  t.is((await failureOf(keys.retire(pem))).code, 'last-key')
  t.is((await failureOf(keys.retire('SHA256:other'))).code, 'invalid-request')
  const added = world.addKey(app.id)
  await keys.add(secret(added))
  world.refuse('getApp', 'unreachable')
  t.is((await failureOf(keys.retire())).code, 'unreachable')
  world.revokeKey(app.id, added)
  const dead = await failureOf(keys.retire())
  t.is(dead.code, 'key-rejected', 'the one that signs is dead')
  t.true(dead.message.includes(`--fingerprint ${added}`), 'and what to do is said')
  t.deepEqual(fingerprints({ keys }), [added, pem])
  t.deepEqual((await keys.retire(added)).retired, [added], 'it can be named')
  t.deepEqual(fingerprints({ keys }), [pem])
})

test('from key-rejected a new key heals at once, also where two dead ones are held', async t => {
  const { keys, world, app, pem, rig, clock, drift } = await connectedRig()
  const second = world.addKey(app.id)
  await keys.add(secret(second))
  world.revokeKey(app.id, pem)
  world.revokeKey(app.id, second)
  await drift.check()
  await clock.advance(2 * MINUTE)
  t.is(rig.kind(), 'key-rejected')
  const third = world.addKey(app.id)
  await keys.add(secret(third))
  t.is(rig.kind(), 'connected')
  t.deepEqual(fingerprints({ keys }), [third, second])
})

test('a mint that is under way while keys change and the old one is revoked succeeds', async t => {
  const { keys, world, app, pem, tokens, installation, rig, premises } = await connectedRig()
  const added = world.addKey(app.id)
  await keys.add(secret(added))
  // It begins with the two, and is answered when there is one other.
  const minting = tokens.obtain({ profile: 'ci', scope: { installation: installation.id } })
  await keys.retire()
  world.revokeKey(app.id, pem)
  t.truthy((await minting).token)
  // It begins with the one that is revoked before GitHub looks.
  const third = world.addKey(app.id)
  const original = world.authenticate.bind(world)
  world.authenticate = identity => {
    if (identity.keys.length === 1 && identity.keys[0]?.fingerprint === added) {
      world.authenticate = original
      const { disk } = premises
      disk.record = {
        ...disk.record,
        generation: disk.record.generation + 1,
        keys: [{ fingerprint: third, pem: secret(third), addedAtMs: 0 }, ...disk.record.keys],
      }
      world.revokeKey(app.id, added)
    }
    return original(identity)
  }
  const later = await tokens.obtain({ profile: 'ci', scope: { installation: installation.id, repositories: ['Web'] } })
  t.truthy(later.token)
  t.is(rig.kind(), 'connected')
})

test('without a live connection, while it is ended, and in quarantine no key changes', async t => {
  const { keys, world, app, connectionState, clock } = await connectedRig()
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  const added = world.addKey(app.id)
  connectionState.transition({ ...connection, kind: 'quarantined', evidence: 'restored' })
  t.is((await failureOf(keys.add(secret(added)))).code, 'quarantined')
  connectionState.transition({ ...connection, kind: 'disconnecting', step: 'revoke', deadlineMs: clock.now() + MINUTE })
  t.is((await failureOf(keys.add(secret(added)))).code, 'not-connected')
  connectionState.transition({ kind: 'disconnected', sinceMs: clock.now() })
  t.is((await failureOf(keys.add(secret(added)))).code, 'not-connected')
  t.is((await failureOf(keys.retire())).code, 'not-connected')
})

test('a connection that changed while GitHub was asked is left alone', async t => {
  const { keys, world, app, pem, connectionState } = await connectedRig()
  const adding = keys.add(secret(world.addKey(app.id)))
  connectionState.transition(connectionState.read().connection, { newGeneration: true })
  t.is((await failureOf(adding)).code, 'not-connected')
  t.deepEqual(fingerprints({ keys }), [pem])
})

test('warnings: a key older than a year, two for more than a week, one that GitHub rejects while the other works', async t => {
  const { keys, world, app, pem, status, clock, tokens, installation } = await connectedRig()
  const codes = (): string[] =>
    status
      .whole()
      .warnings.map(({ code }) => code)
      .filter(code => code.startsWith('key-'))
  t.deepEqual(codes(), [])
  await clock.advance(365 * DAY - 1)
  t.deepEqual(codes(), [])
  await clock.advance(1)
  t.deepEqual(codes(), ['key-old'])
  const added = world.addKey(app.id)
  await keys.add(secret(added))
  t.deepEqual(codes(), [], 'the one that signs counts')
  await clock.advance(7 * DAY - 1)
  t.deepEqual(codes(), [])
  await clock.advance(1)
  t.deepEqual(codes(), ['key-retire'])
  world.revokeKey(app.id, added)
  await tokens.obtain({ profile: 'ci', scope: { installation: installation.id } })
  t.deepEqual(codes(), ['key-fallback', 'key-retire'])
  t.deepEqual(
    status.whole().warnings.find(({ code }) => code === 'key-fallback'),
    {
      code: 'key-fallback',
      detail: `GitHub rejects the key ${added}; ${pem} works in its place.`,
      next: `If it was deleted on GitHub: \`ghconnect keys retire --fingerprint ${added}\`, then add a new one.`,
    },
  )
  t.regex(
    status.whole().warnings.find(({ code }) => code === 'key-retire')?.detail ?? '',
    new RegExp(`^${pem} is still held`),
  )
  await keys.retire(added)
  t.deepEqual(codes(), ['key-old'])
})
