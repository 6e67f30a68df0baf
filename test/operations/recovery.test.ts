// Recovery keys: taken only where they can be encrypted to, wrapped around the keys of whichever store is current.

import test from 'ava'
import { recipientsOf } from '../../src/operations/recovery.ts'
import { failureOf } from '../support/fakes.ts'
import { connectedRig } from '../support/operations-rig.ts'
import { createShelf, createSnapshotRig } from '../support/snapshot-rig.ts'

test('the wrap holds both database keys, and comes anew with each store and each recipient', async t => {
  const { rig } = await connectedRig()
  const { recovery, encrypted } = createSnapshotRig(rig, { shelf: createShelf() })
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
  const shelf = createShelf()
  const { recovery } = createSnapshotRig(rig, { shelf, configured: ['age1a'], onEncrypt: () => next() })
  next = () => rig.store.replace({})
  await recovery.ensureWrap()
  t.false(rig.store.hasRecoveryWrap())
  next = () => {}
  await recovery.ensureWrap()
  t.true(rig.store.hasRecoveryWrap())
})

test('a recovery key that cannot be encrypted to, is none, or is one too many is not taken', async t => {
  const { rig } = await connectedRig()
  const { recovery } = createSnapshotRig(rig, { shelf: createShelf(), configured: ['age1configured'] })
  t.is((await failureOf(recovery.add('AGE-SECRET'))).code, 'configuration')
  t.is((await failureOf(recovery.add('age1configured'))).code, 'invalid-request')
  for (let at = 1; at < 20; at++) await recovery.add(`age1${at}`)
  t.is((await failureOf(recovery.add('age1more'))).code, 'configuration')
  t.is(recovery.recipients().length, 20, 'each later snapshot can be encrypted')
})

test('what cannot be audited is no recovery key', async t => {
  const { rig } = await connectedRig()
  const { recovery } = createSnapshotRig(rig, { shelf: createShelf() })
  const { Failure } = await import('../../src/domain/errors.ts')
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
