// What an export, a restore and an adoption leave behind: rows of the audit log, warnings, facts, and what is in the bundle.

import test from 'ava'
import type { Connection } from '../../../src/protocol/connection.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { LAST_EXPORT } from '../../../src/core/store/records.ts'
import { type Disk, failureOf } from '../../support/fakes.ts'
import { connectedRig, createPremises, createRig, HERE } from '../../support/operations-rig.ts'
import {
  createShelf,
  createSnapshotRig,
  forge,
  GITHUB_COM,
  identityOf,
  type Shelf,
} from '../../support/snapshot-rig.ts'

const RECIPIENT = 'age1recovery'
const IDENTITIES = [identityOf(RECIPIENT)]
const OPEN = { identities: IDENTITIES, force: false }
const SEALED = { identities: [], force: false }

const createScene = async () => {
  const cache = createShelf()
  const { rig, premises, app } = await connectedRig()
  const made = createSnapshotRig(rig, { cache })
  await made.recovery.add(RECIPIENT)
  return { ...made, rig, cache, premises, app, bundle: await made.snapshots.export() }
}

/** Another machine facing the same GitHub. */
const createHeir = (
  { premises, cache }: Awaited<ReturnType<typeof createScene>>,
  options: Partial<Parameters<typeof createSnapshotRig>[1]> = {},
) => {
  const disk = createPremises().disk
  const rig = createRig({ ...premises, disk })
  return { rig, disk, ...createSnapshotRig(rig, { cache, signer: 'heir', ...options }) }
}

const keptOf = ({ bundles }: Shelf, bundle: Uint8Array) => {
  const kept = bundles.get(Buffer.from(bundle).toString())
  if (!kept) throw new Error('no bundle')
  return kept
}

/** The bundle with another header, and so another one. */
const headed = (cache: Shelf, bundle: Uint8Array, header: Partial<ReturnType<typeof keptOf>['header']>): Uint8Array =>
  forge(cache, bundle, kept => ({ ...kept, header: { ...kept.header, ...header } }))

const rowsOf = ({ audit }: Disk): string[] =>
  audit.flatMap(({ event, detail }) => (/^snapshot\.|\.adopt$/.test(event) ? [`${event}: ${detail}`] : []))

test('an export, a restore, a bundle that waits and an adoption each have their row, with what it was', async t => {
  const scene = await createScene()
  await scene.snapshots.export({ withConfig: true })
  await scene.snapshots.adopt()
  t.deepEqual(rowsOf(scene.rig.disk), [
    'snapshot.export: connected, generation 1',
    'snapshot.export: connected, generation 1, with the configuration',
    `connection.adopt: from ${HERE.hostname}`,
  ])
  const heir = createHeir(scene)
  const { created } = keptOf(scene.cache, scene.bundle).header
  await heir.snapshots.restore(scene.bundle, SEALED)
  await heir.snapshots.export()
  await heir.snapshots.unlock(IDENTITIES)
  t.deepEqual(rowsOf(heir.disk), [
    `snapshot.wait: ${created}, signer`,
    'snapshot.export: the sealed bundle that waits, as it is',
    `snapshot.restore: connected of ${created}, generation 1, signer`,
  ])
})

test('a bundle says when and where it was made, of which GitHub, to whom it is sealed, and the configuration if it is wished', async t => {
  const { snapshots, cache, bundle, rig } = await createScene()
  const { header, content } = keptOf(cache, bundle)
  t.like(header, {
    created: new Date(rig.clock.now()).toISOString(),
    hostname: HERE.hostname,
    recipients: [RECIPIENT],
    signer: 'signer',
  })
  t.deepEqual(content.settings, { github_url: GITHUB_COM.url, api_url: GITHUB_COM.apiUrl })
  const { generation, connection, installations, keys } = rig.connectionState.read()
  t.like(content, { generation, connection, installations, keys, facts: {} })
  const whole = keptOf(cache, await snapshots.export({ withConfig: true }))
  t.deepEqual(whole.content.settings.configuration, [{ path: '/etc/ghconnectd/config.toml', text: '[app]\n' }])
})

test('the configuration that a bundle brings along is handed to whoever restores it', async t => {
  const scene = await createScene()
  const heir = createHeir(scene, { trusted: ['signer'] })
  t.is((await heir.snapshots.restore(scene.bundle, OPEN)).configuration, undefined)
  const { configuration } = await heir.snapshots.restore(await scene.snapshots.export({ withConfig: true }), OPEN)
  t.is(configuration?.[0]?.text, '[app]\n')
})

test('when the last export was is noted for the doctor; where that fails, the bundle leaves all the same', async t => {
  const { snapshots, rig } = await createScene()
  t.deepEqual(rig.store.facts.find(LAST_EXPORT), { atMs: rig.clock.now(), generation: 1 })
  await rig.clock.advance(5_000)
  rig.disk.storeFailure = new Failure('disk-full', 'full')
  t.true((await snapshots.export()).length > 0)
  t.is(rig.log.lines.at(-1)?.message, 'when the last export was could not be noted')
  delete rig.disk.storeFailure
  await snapshots.export()
  t.like(rig.store.facts.find(LAST_EXPORT), { atMs: rig.clock.now() })
})

test('whom the configuration trusts replaces a live connection without a warning, and brings all recovery keys along', async t => {
  const scene = await createScene()
  const theirs = headed(scene.cache, scene.bundle, { signer: 'friend', recipients: [RECIPIENT, 'age1friend'] })
  const { snapshots, recovery } = createSnapshotRig(scene.rig, { cache: scene.cache, trusted: ['friend'] })
  const { outcome, warnings } = await snapshots.restore(theirs, OPEN)
  t.deepEqual([outcome, warnings], ['restored', []])
  t.deepEqual(recovery.recipients(), [RECIPIENT, 'age1friend'])
})

test('a bundle of a stranger is named by signer, App and account, in the refusal and in the warning', async t => {
  const { cache, bundle, snapshots } = await createScene()
  const account = { type: 'organization', login: 'elsewhere' } as const
  const theirs = headed(cache, bundle, { signer: 'stranger', app_id: 7, account })
  const refused = await failureOf(snapshots.restore(theirs, OPEN))
  t.is(refused.message, 'the bundle was written by stranger for App 7 of elsewhere')
  const { warnings } = await snapshots.restore(theirs, { ...OPEN, force: true })
  t.deepEqual(warnings, ['The bundle was written by stranger for App 7 of elsewhere; this signer is not known here.'])
})

test('an older bundle is taken with a warning, and counts as a later generation than all before', async t => {
  const { bundle, snapshots, rig } = await createScene()
  rig.connectionState.transition(rig.connectionState.read().connection, { newGeneration: true })
  const { outcome, warnings } = await snapshots.restore(bundle, OPEN)
  t.is(outcome, 'restored')
  t.deepEqual(warnings, ['The bundle is of generation 1, older than 2 which stood here.'])
  t.is(rig.connectionState.read().generation, 3)
})

test('a sealed bundle that waits says what has to be done, is exported only where there is nothing else, and can be forgotten', async t => {
  const scene = await createScene()
  const heir = createHeir(scene)
  t.false(heir.snapshots.exportsWaiting())
  const { warnings } = await heir.snapshots.restore(scene.bundle, SEALED)
  t.regex(warnings.join(' '), /not known here\. The bundle is sealed; .*`ghconnect unlock --identity FILE`/)
  t.true(heir.snapshots.exportsWaiting())
  const [key] = scene.rig.connectionState.read().keys
  await heir.rig.importApp({ appId: scene.app.id, pem: key?.pem ?? new Secret('') })
  t.false(heir.snapshots.exportsWaiting())
  t.is(keptOf(scene.cache, await heir.snapshots.export()).header.signer, 'heir')
  t.deepEqual(heir.snapshots.findWaiting(), keptOf(scene.cache, scene.bundle).header)
  heir.snapshots.dropWaiting()
  t.is(heir.snapshots.findWaiting(), undefined)
})

test('a forced restore that is asked for again without force waits without it', async t => {
  const scene = await createScene()
  const github = { url: 'https://octo.ghe.com', apiUrl: 'https://api.octo.ghe.com' }
  const heir = createHeir(scene, { github })
  await heir.snapshots.restore(scene.bundle, { ...SEALED, force: true })
  await heir.snapshots.restore(scene.bundle, SEALED)
  t.is((await failureOf(heir.snapshots.unlock(IDENTITIES))).code, 'bundle-other-github')
})

test('the waiting copy of a bundle that is restored already is forgotten; another one that waits is not', async t => {
  const scene = await createScene()
  const heir = createHeir(scene)
  await heir.snapshots.restore(scene.bundle, OPEN)
  const other = headed(scene.cache, scene.bundle, { hostname: 'other' })
  for (const [waiting, stays] of [
    [scene.bundle, false],
    [other, true],
  ] as const) {
    scene.cache.waiting = waiting
    const { snapshots } = createSnapshotRig(heir.rig, { cache: scene.cache, signer: 'heir' })
    t.is((await snapshots.restore(scene.bundle, SEALED)).outcome, 'unchanged')
    t.is(snapshots.findWaiting() !== undefined, stays)
  }
})

test('a restore whose recovery wrap cannot be written is done all the same, and says so', async t => {
  const scene = await createScene()
  let broken = false
  const heir = createHeir(scene, {
    onEncrypt() {
      if (broken) throw new Failure('internal', 'it does not open')
    },
  })
  broken = true
  t.is((await heir.snapshots.restore(scene.bundle, OPEN)).outcome, 'restored')
  t.true(heir.rig.log.lines.some(({ level, message }) => level === 'error' && /recovery wrap was not/.test(message)))
  t.is(heir.restored.length, 1)
})

test('a key that cannot be used is found before anything changes, and named', async t => {
  const { cache, bundle, snapshots, rig } = await createScene()
  const broken = forge(cache, headed(cache, bundle, { hostname: 'x' }), kept => ({
    ...kept,
    content: { ...kept.content, keys: [{ fingerprint: 'SHA256:x', pem: new Secret('no key'), addedAtMs: 1 }] },
  }))
  const { code, message } = await failureOf(snapshots.restore(broken, OPEN))
  t.deepEqual([code, message], ['bundle-corrupt', 'the key SHA256:x cannot be used: not a key'])
  t.is(rig.kind(), 'connected')
})

test('credentials of another node of the same cluster are at home, and are not quarantined', async t => {
  const scene = await createScene()
  const host = { hostname: 'other', machineId: 'other' }
  const theirs = forge(scene.cache, scene.bundle, ({ header, content }) => ({
    header,
    content: { ...content, connection: { ...content.connection, host } as Connection },
  }))
  const heir = createHeir(scene, { isHome: ({ hostname }) => hostname === 'other' })
  await heir.snapshots.restore(theirs, OPEN)
  t.is(heir.rig.kind(), 'connected')
})

test('an adoption looks at GitHub at once, and takes away no trouble that GitHub has told of', async t => {
  const { snapshots, restored, rig } = await createScene()
  const { connection } = rig.connectionState.read()
  const host = { hostname: 'other', machineId: 'other' }
  rig.connectionState.transition({ ...connection, kind: 'suspended', evidence: 'so it says', host } as Connection)
  await snapshots.adopt()
  t.like(rig.connectionState.read().connection, { kind: 'suspended', evidence: 'so it says', host: HERE })
  t.is(restored.length, 1)
  t.true(rowsOf(rig.disk).includes('connection.adopt: from other'))
})

test('a key is proven with the installations that are not suspended, and only while the connection stands', async t => {
  const { snapshots, rig, premises } = await createScene()
  const { world } = premises
  await snapshots.adopt()
  const { connection, installations } = rig.connectionState.read()
  const [first] = installations
  if (!first) throw new Error('no installation')
  rig.connectionState.transition({ ...connection, kind: 'suspended', evidence: 'so it says' } as Connection)
  const mints = world.count('mint')
  await snapshots.prove()
  t.is(world.count('mint'), mints)
  const suspended = { ...first, id: first.id + 1_000, suspendedAtMs: rig.clock.now() }
  rig.connectionState.transition(connection, { installations: [suspended, first] })
  await snapshots.prove()
  t.is(world.count('mint'), mints + 1)
  t.is(rig.log.lines.at(-1)?.message, 'GitHub takes the restored key; fresh tokens were minted')
  await snapshots.prove()
  t.is(world.count('mint'), mints + 1)
})
