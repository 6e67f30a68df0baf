// Signatures of bundles: the standard's own example, one name for one key, and nothing that throws on a bad name.

import test from 'ava'
import * as fc from 'fast-check'
import { Secret } from '../../../src/protocol/secret.ts'
import {
  assertSignerName,
  createSigner,
  isSignerName,
  readSigner,
  verifySignature,
} from '../../../src/core/snapshot/signing.ts'
import { codeOf, failureOf, SIGNER, TEST_PEM } from './samples.ts'

test('the example of RFC 8032, section 7.1, test 2 verifies under our spelling of its key', t => {
  const raw = Buffer.from('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c', 'hex')
  const signature = Buffer.from(
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    'hex',
  )
  const name = `ghconnect-signer:${raw.toString('base64url')}`
  t.true(verifySignature(name, Uint8Array.of(0x72), signature))
  t.false(verifySignature(name, Uint8Array.of(0x73), signature))
})

test('what a signer signed verifies under its name alone', t => {
  const other = createSigner()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      const signature = SIGNER.sign(bytes)
      t.is(signature.length, 64)
      t.true(verifySignature(SIGNER.publicKey, bytes, signature))
      t.false(verifySignature(other.publicKey, bytes, signature))
      t.false(verifySignature(SIGNER.publicKey, Buffer.concat([bytes, Buffer.of(0)]), signature))
    }),
  )
})

test('a signer is read back from its PEM', async t => {
  const again = readSigner(SIGNER.privatePem)
  t.is(again.publicKey, SIGNER.publicKey)
  t.true(verifySignature(SIGNER.publicKey, Buffer.from('x'), again.sign(Buffer.from('x'))))
  t.is(await codeOf(() => readSigner(new Secret('nonsense'))), 'store-corrupt')
  const wrongType = await failureOf(() => readSigner(new Secret(TEST_PEM)))
  t.is(wrongType?.code, 'store-corrupt')
  t.regex(wrongType?.message ?? '', /rsa/)
})

test('a key has one name, and whatever else is asked for verifies nothing', async t => {
  t.true(isSignerName(SIGNER.publicKey))
  t.notThrows(() => assertSignerName(SIGNER.publicKey))
  const signature = SIGNER.sign(Buffer.from('x'))
  const last = SIGNER.publicKey.at(-1) ?? ''
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const twin = SIGNER.publicKey.slice(0, -1) + alphabet[alphabet.indexOf(last) + 1]
  const names = [
    '',
    'ghconnect-signer:',
    SIGNER.publicKey.slice(17),
    `${SIGNER.publicKey}=`,
    `${SIGNER.publicKey}\n`,
    twin,
  ]
  for (const name of names) {
    t.false(isSignerName(name), name)
    t.false(verifySignature(name, Buffer.from('x'), signature))
    t.is(await codeOf(() => assertSignerName(name)), 'configuration')
  }
})

test('a signature of another length verifies nothing', t => {
  const signature = SIGNER.sign(Buffer.from('x'))
  for (const wrong of [signature.slice(0, 63), Buffer.concat([signature, Buffer.of(0)]), new Uint8Array()]) {
    t.false(verifySignature(SIGNER.publicKey, Buffer.from('x'), wrong))
  }
})
