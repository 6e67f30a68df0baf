// Snapshots: what is restored is restored in one step, or nothing is; who may replace whom; what is proven afterwards.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { failureOf } from '../../support/fakes.ts'
import { connectedRig, createPremises, createRig, HERE } from '../../support/operations-rig.ts'
import { createShelf, createSnapshotRig, forge, identityOf } from '../../support/snapshot-rig.ts'

const RECIPIENT = 'age1recovery'
const IDENTITIES = [identityOf(RECIPIENT)]
const wish = (more: { force?: boolean; identities?: typeof IDENTITIES } = {}) => ({
  identities: IDENTITIES,
  force: false,
  ...more,
})
const WEB = { profile: 'test', scope: { installation: 0, permissions: { contents: 'read' } } } as const

const createScene = async () => {
  const cache = createShelf()
  const { rig, installation, premises, app } = await connectedRig()
  const made = createSnapshotRig(rig, { cache })
  await made.recovery.add(RECIPIENT)
  const grant = { ...WEB, scope: { ...WEB.scope, installation: installation.id } }
  const { token } = await rig.tokens.obtain(grant)
  const bundle = await made.snapshots.export()
  return { ...made, rig, bundle, cache, grant, token, premises, app }
}

/** Another machine facing the same GitHub. */
const createHeir = ({ premises, cache }: Awaited<ReturnType<typeof createScene>>, signer = 'heir') => {
  const disk = createPremises().disk
  const rig = createRig({ ...premises, disk })
  return { rig, disk, ...createSnapshotRig(rig, { cache, signer }) }
}

test('a new machine gets key, tokens and recovery keys; the bundle once more is no change, whoever signed it', async t => {
  const scene = await createScene()
  const heir = createHeir(scene)
  const { outcome, warnings } = await heir.snapshots.restore(scene.bundle, wish())
  t.is(outcome, 'restored')
  t.regex(warnings.join(), /signer is not known here/)
  const [was, is] = [scene.rig.connectionState.read(), heir.rig.connectionState.read()]
  t.deepEqual(is.keys, was.keys)
  t.deepEqual(is.connection, was.connection)
  t.is(is.generation, was.generation + 1)
  t.is((await heir.rig.tokens.obtain(scene.grant)).token.reveal(), scene.token.reveal())
  t.deepEqual(heir.recovery.recipients(), [RECIPIENT], 'as its identity was at hand')
  t.true(heir.rig.store.hasRecoveryWrap())
  t.deepEqual(heir.restored.length, 1)
  t.is((await heir.snapshots.restore(scene.bundle, wish())).outcome, 'unchanged')
  t.is(heir.rig.connectionState.read().generation, is.generation)
})

test('killed at any write, a restore leaves the old connection or the new one, whole', async t => {
  for (let writes = 1; ; writes++) {
    const scene = await createScene()
    const before = scene.rig.connectionState.read()
    const other = forge(scene.cache, scene.bundle, ({ header, content }) => ({
      header: { ...header, generation: 9, payload: { ...header.payload, sha256: 'other' } },
      content: { ...content, generation: 9 },
    }))
    scene.rig.killAfterWrites(writes)
    const error: unknown = await scene.snapshots.restore(other, wish()).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    const rig = createRig(scene.premises)
    const again = createSnapshotRig(rig, { cache: scene.cache })
    const { generation, keys } = rig.connectionState.read()
    t.true([before.generation, 10].includes(generation), `after ${writes} writes: ${generation}`)
    t.deepEqual(keys, before.keys)
    t.deepEqual(again.recovery.recipients(), [RECIPIENT])
    await again.recovery.ensureWrap()
    t.true(rig.store.hasRecoveryWrap())
    const { outcome } = await again.snapshots.restore(other, wish())
    t.is(outcome, generation === 10 ? 'unchanged' : 'restored', `after ${writes} writes`)
    if (!scene.rig.isDead()) {
      t.is(error, undefined)
      t.true(writes > 3)
      return
    }
  }
})

test('where the store or the audit log cannot be written, nothing changes, tokens included', async t => {
  const scene = await createScene()
  const { disk } = scene.premises
  const other = forge(scene.cache, scene.bundle, kept => ({
    ...kept,
    header: { ...kept.header, generation: 1, hostname: 'x' },
  }))
  const before = scene.rig.connectionState.read()
  const held = disk.tokens.size
  disk.storeFailure = new Failure('disk-full', 'full')
  t.is((await failureOf(scene.snapshots.restore(other, wish()))).code, 'disk-full')
  delete disk.storeFailure
  disk.auditFailure = new Failure('disk-full', 'full')
  t.is((await failureOf(scene.snapshots.restore(other, wish()))).code, 'disk-full')
  t.is((await failureOf(scene.snapshots.export())).code, 'disk-full', 'what cannot be audited does not leave')
  delete disk.auditFailure
  t.is(scene.rig.connectionState.read(), before)
  t.is(disk.tokens.size, held)
  t.is((await scene.rig.tokens.obtain(scene.grant)).token, scene.token)
})

test('a stranger replaces no live connection without force; a quarantined copy may be replaced', async t => {
  const scene = await createScene()
  const forged = forge(scene.cache, scene.bundle, ({ header, content }) => ({
    header: { ...header, signer: 'stranger', recipients: [RECIPIENT, 'age1stranger'] },
    content,
  }))
  t.is((await failureOf(scene.snapshots.restore(forged, wish()))).code, 'bundle-untrusted')
  t.is((await scene.snapshots.restore(forged, wish({ force: true }))).outcome, 'restored')
  t.deepEqual(scene.recovery.recipients(), [RECIPIENT], "a stranger's recovery key is not taken over")

  const heir = createHeir(scene)
  const elsewhere = forge(scene.cache, scene.bundle, ({ header, content }) => ({
    header: { ...header, hostname: 'other' },
    content: {
      ...content,
      connection: {
        ...scene.rig.connectionState.read().connection,
        host: { hostname: 'other', machineId: 'other' },
      } as typeof content.connection,
    },
  }))
  await heir.snapshots.restore(elsewhere, wish())
  t.is(heir.rig.kind(), 'quarantined')
  t.is((await failureOf(heir.rig.tokens.obtain(scene.grant))).code, 'quarantined')
  t.is((await heir.snapshots.restore(scene.bundle, wish())).outcome, 'restored')
  t.is(heir.rig.kind(), 'connected')
})

test('a quarantined copy has none of the tokens of its original, and mints its own once it is adopted', async t => {
  const scene = await createScene()
  const heir = createHeir(scene)
  const host = { hostname: 'other', machineId: 'other' }
  const elsewhere = forge(scene.cache, scene.bundle, ({ header, content }) => ({
    header,
    content: { ...content, connection: { ...content.connection, host } as typeof content.connection },
  }))
  await heir.snapshots.restore(elsewhere, wish())
  t.is(heir.rig.kind(), 'quarantined')
  t.is(heir.disk.tokens.size, 0)
  await heir.snapshots.adopt()
  t.is(heir.rig.kind(), 'connected')
  t.not((await heir.rig.tokens.obtain(scene.grant)).token.reveal(), scene.token.reveal())
})

test('a restore over a live connection leaves none of its tokens', async t => {
  const scene = await createScene()
  const other = forge(scene.cache, scene.bundle, ({ header, content }) => ({
    header: { ...header, generation: 9 },
    content: { ...content, generation: 9, tokens: [] },
  }))
  t.truthy(scene.rig.tokens.find(scene.grant))
  t.is((await scene.snapshots.restore(other, wish())).outcome, 'restored')
  t.is(scene.rig.tokens.find(scene.grant), undefined)
  t.deepEqual(scene.rig.tokens.live(), [])
})

test('tokens are in a bundle unless the configuration says that they are not', async t => {
  const scene = await createScene()
  const tokensIn = (bundle: Uint8Array) => scene.cache.bundles.get(Buffer.from(bundle).toString())?.content.tokens
  t.true((tokensIn(scene.bundle)?.length ?? 0) > 0)
  const { snapshots } = createSnapshotRig(scene.rig, { cache: scene.cache, includeToken: false })
  t.deepEqual(tokensIn(await snapshots.export()), [])
})

test('a bundle holds the newest token of each scope in use, and no other', async t => {
  const { rig, snapshots, cache, grant, premises, token } = await createScene()
  const tokensIn = async () => {
    const bundle = Buffer.from(await snapshots.export()).toString()
    return (cache.bundles.get(bundle)?.content.tokens ?? []).map(one => one.token.reveal())
  }
  await premises.clock.advance(50 * 60_000)
  t.false((await tokensIn()).includes(token.reveal()), 'nobody asked for it in fifty minutes')
  await rig.tokens.obtain(grant)
  await rig.tokens.refresh()
  const live = rig.tokens.live()
  const newer = live.filter(one => one.slot === 'next').map(one => one.token.reveal())
  t.is(newer.length, 1)
  t.true(live.some(one => one.token.reveal() === token.reveal()))
  const exported = await tokensIn()
  t.true(exported.includes(newer[0] ?? ''))
  t.false(exported.includes(token.reveal()))
})

test('a bundle of a machine that was restored holds what came to it, before anybody asks', async t => {
  const scene = await createScene()
  const heir = createHeir(scene)
  await heir.snapshots.restore(scene.bundle, wish())
  const bundle = Buffer.from(await heir.snapshots.export()).toString()
  const tokens = scene.cache.bundles.get(bundle)?.content.tokens ?? []
  t.true(tokens.some(one => one.token.reveal() === scene.token.reveal()))
})

test('what is adopted is proven with GitHub, as what is restored is', async t => {
  const { rig, snapshots, premises } = await createScene()
  await snapshots.prove()
  const { connection } = rig.connectionState.read()
  if (connection.kind !== 'connected') throw new Error(connection.kind)
  const host = { hostname: 'other', machineId: 'other' }
  rig.connectionState.transition({ ...connection, kind: 'quarantined', evidence: 'copied', host })
  await snapshots.adopt()
  t.like(rig.connectionState.read().connection, { kind: 'connected', host: HERE })
  const before = premises.world.count('mint')
  await snapshots.prove()
  t.is(premises.world.count('mint'), before + 1)
})

test('a key that is not the one it is called is found before anything changes', async t => {
  const scene = await createScene()
  const forged = forge(scene.cache, scene.bundle, ({ header, content }) => ({
    header: { ...header, hostname: 'x' },
    content: { ...content, keys: content.keys.map(key => ({ ...key, fingerprint: 'SHA256:another' })) },
  }))
  const before = scene.rig.connectionState.read()
  t.is((await failureOf(scene.snapshots.restore(forged, wish()))).code, 'bundle-corrupt')
  t.is(scene.rig.connectionState.read(), before)
})

test('a sealed bundle waits; what comes to life meanwhile is not replaced by a stranger who was not forced', async t => {
  const scene = await createScene()
  const heir = createHeir(scene)
  t.is((await heir.snapshots.restore(scene.bundle, wish({ identities: [] }))).outcome, 'awaiting-unlock')
  t.is(heir.rig.kind(), 'disconnected')
  t.deepEqual(await heir.snapshots.export(), scene.bundle, 'it is what a backup takes meanwhile')
  const { pem } =
    scene.app && scene.premises.world ? { pem: scene.rig.connectionState.read().keys[0]?.pem } : { pem: undefined }
  if (!pem) throw new Error('no key')
  await heir.rig.importApp({ appId: scene.app.id, pem })
  t.is(heir.rig.kind(), 'connected')
  t.is((await failureOf(heir.snapshots.unlock(IDENTITIES))).code, 'bundle-untrusted')
  t.is((await heir.snapshots.restore(scene.bundle, wish({ identities: [], force: true }))).outcome, 'awaiting-unlock')
  t.is((await failureOf(heir.snapshots.unlock([identityOf('age1wrong')]))).code, 'bundle-wrong-identity')
  t.truthy(heir.snapshots.findWaiting())
  t.is((await heir.snapshots.unlock(IDENTITIES)).outcome, 'restored')
  t.is(heir.snapshots.findWaiting(), undefined)
  t.is((await failureOf(heir.snapshots.unlock(IDENTITIES))).code, 'nothing-locked')
})

test('a bundle that waits is exported as often as somebody asks, and waits on', async t => {
  const scene = await createScene()
  const heir = createHeir(scene)
  await heir.snapshots.restore(scene.bundle, wish({ identities: [] }))
  for (let turn = 0; turn < 2; turn++) {
    const exported = await heir.snapshots.export()
    t.deepEqual(Buffer.from(exported), Buffer.from(scene.bundle))
    // As the server does once it is sent.
    exported.fill(0)
  }
  t.is((await heir.snapshots.unlock(IDENTITIES)).outcome, 'restored')
})

test('a waiting bundle that is damaged is none, and no answer fails for it', async t => {
  const scene = await createScene()
  scene.cache.waiting = Buffer.from('rubbish')
  const { snapshots } = createSnapshotRig(scene.rig, { cache: scene.cache })
  t.is(snapshots.findWaiting(), undefined)
  snapshots.dropWaiting()
  t.deepEqual(Object.keys(scene.cache), ['bundles'])
})

test('after a restore GitHub is asked for a fresh token, once; it is asked again until it answers', async t => {
  const scene = await createScene()
  const heir = createHeir(scene)
  await heir.snapshots.restore(scene.bundle, wish())
  const { world } = scene.premises
  const mints = (): number => world.count('mint')
  world.outage = new Failure('github-outage', 'down')
  await t.throwsAsync(heir.snapshots.prove())
  world.outage = undefined
  const before = mints()
  await heir.snapshots.prove()
  t.true(mints() > before)
  const after = mints()
  await heir.snapshots.prove()
  t.is(mints(), after)
  t.is(
    (await heir.rig.tokens.obtain(scene.grant)).token.reveal(),
    scene.token.reveal(),
    'what was restored is served on',
  )
})

test('an App that was deleted on GitHub meanwhile is called so after confirmation, never for a 401 or an outage', async t => {
  const scene = await createScene()
  const heir = createHeir(scene)
  scene.premises.world.deleteApp(scene.app.id)
  await heir.snapshots.restore(scene.bundle, wish())
  await heir.rig.drift.check()
  t.is(heir.rig.kind(), 'connected', 'one answer proves nothing')
  await scene.premises.clock.advance(40_000)
  t.is(heir.rig.kind(), 'app-deleted')
})

test('two restores and an export at once come one after the other', async t => {
  const scene = await createScene()
  const heir = createHeir(scene)
  const outcomes = await Promise.all([
    heir.snapshots.restore(scene.bundle, wish()),
    heir.snapshots.restore(scene.bundle, wish()),
    heir.snapshots.export(),
  ])
  t.deepEqual([outcomes[0].outcome, outcomes[1].outcome], ['restored', 'unchanged'])
  t.is(heir.rig.kind(), 'connected')
})

test('adopting makes this machine the one, and nothing is adopted where nothing is', async t => {
  const scene = await createScene()
  await scene.snapshots.adopt()
  const { connection, generation } = scene.rig.connectionState.read()
  t.like(connection, { kind: 'connected', host: HERE })
  t.is(generation, 2)
  const heir = createHeir(scene)
  t.is((await failureOf(heir.snapshots.adopt())).code, 'not-connected')
})

test('a connection that no status can be told of is refused before the swap', async t => {
  const scene = await createScene()
  const before = scene.rig.connectionState.read()
  const forged = forge(scene.cache, scene.bundle, ({ header, content }) => {
    const { connection } = content
    if (connection.kind !== 'connected') throw new Error(connection.kind)
    const app = { ...connection.app, htmlUrl: 'nowhere' }
    const rejected = { ...connection, kind: 'key-rejected', evidence: 'it said so', app } as const
    return { header: { ...header, state: 'key-rejected' }, content: { ...content, connection: rejected } }
  })
  const failure = await failureOf(scene.snapshots.restore(forged, wish({ force: true })))
  t.is(failure?.code, 'bundle-corrupt')
  t.is(scene.rig.connectionState.read(), before)
  t.is(scene.rig.status.whole().state, 'connected')
})

test('a bundle of another GitHub is refused with both addresses, by unlock too, and taken with force and a warning', async t => {
  const scene = await createScene()
  const other = { url: 'https://ghe.example.com', apiUrl: 'https://ghe.example.com/api/v3' }
  const rig = createRig({ ...scene.premises, disk: createPremises().disk })
  const heir = createSnapshotRig(rig, { cache: scene.cache, signer: 'heir', github: other })
  const detail =
    'the bundle belongs to https://github.com (API https://api.github.com), the configuration names https://ghe.example.com (API https://ghe.example.com/api/v3)'
  const refused = await failureOf(heir.snapshots.restore(scene.bundle, wish()))
  t.deepEqual([refused.code, refused.message, refused.entry.exit], ['bundle-other-github', detail, 78])
  t.is((await heir.snapshots.restore(scene.bundle, wish({ identities: [] }))).outcome, 'awaiting-unlock')
  t.is((await failureOf(heir.snapshots.unlock(IDENTITIES))).code, 'bundle-other-github')
  t.is(rig.connectionState.read().connection.kind, 'disconnected')
  const { outcome, warnings } = await heir.snapshots.restore(scene.bundle, wish({ force: true }))
  t.is(outcome, 'restored')
  t.true(warnings.includes(`${detail.replace('the', 'The')}.`))
})

test('a forced restore that waits for its identity stays forced, whatever GitHub the configuration names', async t => {
  const scene = await createScene()
  const other = { url: 'https://octo.ghe.com', apiUrl: 'https://api.octo.ghe.com' }
  const rig = createRig({ ...scene.premises, disk: createPremises().disk })
  const heir = createSnapshotRig(rig, { cache: scene.cache, signer: 'heir', github: other })
  await heir.snapshots.restore(scene.bundle, wish({ force: true, identities: [] }))
  t.is((await heir.snapshots.unlock(IDENTITIES)).outcome, 'restored')
})
