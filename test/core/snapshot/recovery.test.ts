// Recovery keys: taken only where they can be encrypted to, wrapped around the keys of whichever store is current.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createRecovery, recipientsOf } from '../../../src/core/snapshot/recovery.ts'
import { RECIPIENTS } from '../../../src/core/store/records.ts'
import { failureOf, openMemoryAudit } from '../../support/fakes.ts'
import { connectedRig, createRig } from '../../support/operations-rig.ts'
import { createShelf, createSnapshotRig } from '../../support/snapshot-rig.ts'

test('the wrap holds both database keys, and comes anew with each store and each recipient', async t => {
  const { rig } = await connectedRig()
  const { recovery, encrypted } = createSnapshotRig(rig, { cache: createShelf() })
  await recovery.ensureWrap()
  t.false(rig.store.hasRecoveryWrap(), 'nobody to encrypt to')
  await recovery.add('age1a')
  t.deepEqual(JSON.parse(encrypted.at(-1)?.text ?? ''), { store: '00'.repeat(32), audit: '00'.repeat(32) })
  await recovery.ensureWrap()
  t.is(encrypted.length, 1, 'it stands')
  await recovery.add('age1b')
  t.deepEqual(encrypted.at(-1)?.recipients, ['age1a', 'age1b'])
  rig.store.replace({})
  t.false(rig.store.hasRecoveryWrap())
  await Promise.all([recovery.ensureWrap(), recovery.ensureWrap()])
  t.true(rig.store.hasRecoveryWrap())
  t.is(encrypted.length, 3)
})

test('a store that comes while its predecessor is wrapped gets a wrap of its own, and not that one', async t => {
  const { rig } = await connectedRig()
  let next = (): void => {}
  const cache = createShelf()
  const { recovery } = createSnapshotRig(rig, { cache, configured: ['age1a'], onEncrypt: () => next() })
  next = () => rig.store.replace({})
  await recovery.ensureWrap()
  t.false(rig.store.hasRecoveryWrap())
  next = () => {}
  await recovery.ensureWrap()
  t.true(rig.store.hasRecoveryWrap())
})

test('a recovery key that cannot be encrypted to, is none, or is one too many is not taken', async t => {
  const { rig } = await connectedRig()
  const { recovery } = createSnapshotRig(rig, { cache: createShelf(), configured: ['age1configured'] })
  t.is((await failureOf(recovery.add('AGE-SECRET'))).code, 'configuration')
  t.is((await failureOf(recovery.add('age1configured'))).code, 'invalid-request')
  for (let at = 1; at < 20; at++) await recovery.add(`age1${at}`)
  t.is((await failureOf(recovery.add('age1more'))).code, 'configuration')
  t.is(recovery.recipients().length, 20, 'each later snapshot can be encrypted')
})

test('what cannot be audited is no recovery key', async t => {
  const { rig } = await connectedRig()
  const { recovery } = createSnapshotRig(rig, { cache: createShelf() })
  rig.disk.auditFailure = new Failure('audit-unavailable', 'full')
  t.is((await failureOf(recovery.add('age1a'))).code, 'audit-unavailable')
  t.deepEqual(recovery.recipients(), [])
})

test('recipients are those of the configuration, then those made here, each once', t => {
  t.deepEqual(
    recipientsOf(['age1a'], () => ['age1b', 'age1a', 7]),
    ['age1a', 'age1b'],
  )
  t.deepEqual(
    recipientsOf([], () => undefined),
    [],
  )
})

test('for a new store there are those that were made here and those that a bundle brings, without those of the configuration', async t => {
  const { rig } = await connectedRig()
  const { recovery } = createSnapshotRig(rig, { cache: createShelf(), configured: ['age1configured'] })
  t.deepEqual(recovery.factsWith(['age1configured']), {}, 'nothing to remember')
  await recovery.add('age1a')
  t.deepEqual(recovery.created(), ['age1a'])
  t.deepEqual(recovery.recipients(), ['age1configured', 'age1a'])
  t.deepEqual(recovery.factsWith(['age1b', 'age1configured', 'age1a']), { [RECIPIENTS]: ['age1a', 'age1b'] })
  t.deepEqual(rig.disk.audit.findLast(({ event }) => event === 'recovery-key.add')?.detail, 'age1a')
  recovery.setCreated(['age1c'])
  t.deepEqual(recovery.recipients(), ['age1configured', 'age1c'])
})

test('a kill while the wrap is written has it written for all recipients with the next start', async t => {
  for (let writes = 1; writes <= 3; writes += 1) {
    const { rig, premises } = await connectedRig()
    await createSnapshotRig(rig, { cache: createShelf() }).recovery.add('age1a')
    rig.killAfterWrites(writes)
    await t.throwsAsync(createSnapshotRig(rig, { cache: createShelf() }).recovery.add('age1b'))
    const again = createRig(premises)
    const { recovery } = createSnapshotRig(again, { cache: createShelf() })
    await recovery.ensureWrap()
    const wrap = Buffer.from(again.disk.recoveryWrap ?? []).toString()
    t.true(wrap.startsWith(`to ${recovery.recipients().join(' ')}: `), `after ${writes} writes`)
  }
})

test('a wrap that fails holds up none of those after it', async t => {
  const { rig } = await connectedRig()
  let isBroken = true
  const { recovery } = createSnapshotRig(rig, {
    cache: createShelf(),
    configured: ['age1a'],
    onEncrypt() {
      if (isBroken) throw new Failure('internal', 'no encryption')
    },
  })
  t.is((await failureOf(recovery.ensureWrap())).code, 'internal')
  isBroken = false
  await recovery.ensureWrap()
  t.true(rig.store.hasRecoveryWrap())
})

test('the signing key is made once and stored; one that cannot be stored serves until the next start', async t => {
  const { rig } = await connectedRig()
  let made = 0
  const signerOf = (pem: Secret) => ({ publicKey: pem.reveal(), privatePem: pem, sign: () => new Uint8Array() })
  const open = () =>
    createRecovery({
      store: rig.store,
      auditStore: openMemoryAudit(rig.disk),
      audit: rig.audit,
      log: rig.log,
      configured: () => [],
      assertRecipient: async () => {},
      encryptTo: async (_, bytes) => bytes,
      createSigner: () => signerOf(new Secret(`made ${(made += 1)}`)),
      readSigner: signerOf,
    })
  rig.disk.storeFailure = new Failure('disk-full', 'no space')
  const first = open()
  t.is(first.signer().publicKey, 'made 1')
  t.like(
    rig.log.lines.findLast(({ level }) => level === 'warn'),
    { fields: { error: { code: 'disk-full' } } },
  )
  t.is(first.signer().publicKey, 'made 1')
  delete rig.disk.storeFailure
  t.is(open().signer().publicKey, 'made 2')
  t.is(open().signer().publicKey, 'made 2')
})
