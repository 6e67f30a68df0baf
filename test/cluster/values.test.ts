// The values: what is written is read as it was, anything else is told apart and never believed.

import test from 'ava'
import type { SharedRecord, SharedToken } from '../../src/domain/cluster.ts'
import { scopeKey } from '../../src/domain/scope.ts'
import { Secret } from '../../src/domain/secret.ts'
import { createKeyring } from '../../src/cluster/sealing.ts'
import { createCodecs, digestOf, KEYS } from '../../src/cluster/values.ts'

const keyring = createKeyring({ cluster: 'test', secrets: [Buffer.from('a secret for all of them to know')] })
const codecs = createCodecs(keyring)

const record: SharedRecord = {
  version: { generation: 3, sequence: 9, id: 'x' },
  floor: 2,
  connection: { kind: 'disconnected', sinceMs: 5, remark: 'gone' },
  installations: [],
  keys: [{ fingerprint: 'SHA256:1', pem: new Secret('-----BEGIN'), addedAtMs: 7 }],
  recipients: ['age1'],
  signers: ['s'],
  by: 'a',
}
const scope = { installation: 4, permissions: { contents: 'read' } } as const
const token: SharedToken = {
  key: scopeKey('p', scope),
  profile: 'p',
  scope,
  token: new Secret('ghs_1'),
  granted: { permissions: { contents: 'read', metadata: 'read' } },
  mintedAtMs: 1,
  expiresAtMs: 2,
}

test('a record and a token are read as they were written, secrets included', t => {
  const back = codecs.record.read(KEYS.record, codecs.record.write(KEYS.record, record))
  const read = back.kind === 'value' ? back.value : undefined
  t.is(read?.keys[0]?.pem.reveal(), '-----BEGIN')
  t.deepEqual(read?.version, record.version)
  const given = codecs.token.read('tokens/1', codecs.token.write('tokens/1', { appId: 1, generation: 3, token }))
  const handed = given.kind === 'value' ? given.value.token : undefined
  t.is(handed?.token.reveal(), 'ghs_1')
  t.is(handed?.key, token.key)
})

test('a value whose seal bears another version than it says itself is damage', t => {
  const sealed = keyring.seal(KEYS.record, { generation: 9, sequence: 9 }, Buffer.from(JSON.stringify(record)))
  t.is(codecs.record.read(KEYS.record, sealed).kind, 'damaged')
})

test('a sealed value of an unknown form is of a newer version, one in clear is damage', t => {
  t.is(codecs.record.read(KEYS.record, codecs.holder.write(KEYS.record, { node: 'a', what: 'x' })).kind, 'newer')
  t.is(codecs.record.read(KEYS.record, Buffer.from(JSON.stringify(record))).kind, 'damaged')
  t.is(codecs.member.read('members/a', Buffer.alloc(0)).kind, 'damaged')
})

test('the key of a token is worked out from its scope, whatever the value says', t => {
  const lie = { ...token, key: scopeKey('other', scope) }
  const given = codecs.token.read('tokens/1', codecs.token.write('tokens/1', { appId: 1, generation: 3, token: lie }))
  t.is(given.kind === 'value' && given.value.token.key, token.key)
})

test('records that say the same have one digest; versions do not count, contents do', t => {
  const { version: _, ...content } = record
  const digest = digestOf({ ...content, generation: 3 })
  t.is(digestOf({ ...content, generation: 3, recipients: ['age1'] }), digest)
  t.not(digestOf({ ...content, generation: 4 }), digest)
  t.not(digestOf({ ...content, generation: 3, keys: [] }), digest)
  t.not(digestOf({ ...content, generation: 3, recipients: [] }), digest)
})
