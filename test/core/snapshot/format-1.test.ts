// Format 1 is read forever: bundles that were written when it was new, with the contents they had. Keys in them are test keys.

import { readFileSync } from 'node:fs'
import test from 'ava'
import { openBundle, readHeader } from '../../../src/core/snapshot/bundle.ts'
import { readIdentities, recipientOf } from '../../../src/core/snapshot/encryption.ts'
import { codeOf, shown } from './samples.ts'

const read = (name: string): Buffer => readFileSync(new URL(`format-1/${name}`, import.meta.url))

const EXPECTED: { recipient: string; signer: string; live: unknown; disconnected: unknown } = JSON.parse(
  read('expected.json').toString(),
)
const IDENTITIES = readIdentities(read('identity.txt').toString())

test('the encrypted bundle of format 1 opens with its test identity', async t => {
  const bundle = read('encrypted.tar')
  t.deepEqual(shown(await openBundle(bundle, IDENTITIES)), EXPECTED.live)
  t.deepEqual(readHeader(bundle).recipients, [EXPECTED.recipient])
  t.is(readHeader(bundle).signer, EXPECTED.signer)
  t.deepEqual(await Promise.all(IDENTITIES.map(recipientOf)), [EXPECTED.recipient])
  t.is(await codeOf(() => openBundle(bundle)), 'bundle-sealed')
})

test('the bundle of format 1 in clear opens without any identity', async t => {
  t.deepEqual(shown(await openBundle(read('clear.tar'))), EXPECTED.live)
  t.is(readHeader(read('clear.tar')).app_id, 918_273)
})

test('the bundle of format 1 of a disconnected machine opens', async t => {
  t.deepEqual(shown(await openBundle(read('disconnected.tar'))), EXPECTED.disconnected)
  t.is(readHeader(read('disconnected.tar')).state, 'disconnected')
})
