// The values: what is written is read as it was, anything else is told apart and never believed.

import test from 'ava'
import { scopeKey } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createKeyring } from '../../../src/core/cluster/sealing.ts'
import {
  type Ask,
  type Codecs,
  createCodecs,
  digestOf,
  KEYS,
  type Member,
  type SharedRecord,
  type SharedToken,
} from '../../../src/core/cluster/values.ts'

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

/** Secrets compare as equal whatever they hold. */
const shown = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, function (this: Record<string, unknown>, name, plain: unknown) {
      const held = this[name]
      return held instanceof Secret ? held.reveal() : plain
    }),
  )

test('whatever nodes tell each other is read as it was written, with all of its fields and without those it lacks', t => {
  const grant = { profile: 'p', scope: { ...scope, repositories: ['web'] } }
  const ask = (want: Ask['want']): Ask => ({ id: 'x', from: 'b', atMs: 7, want })
  const member: Member = {
    node: 'a',
    host: { machineId: 'm', hostname: 'h' },
    role: 'replica',
    able: false,
    version: '1',
    generation: 3,
    sequence: 9,
    secrets: ['mark'],
    sinceMs: 5,
  }
  const account = { type: 'organization', login: 'octo-org' } as const
  const installation = {
    id: 4,
    account,
    repositorySelection: 'all',
    permissions: { contents: 'read' },
    htmlUrl: 'https://github.com/x',
    suspendedAtMs: 1_700_000_000_000,
  } as const
  const keys = [{ fingerprint: 'x', pem: new Secret('pem'), addedAtMs: 1_700_000_000_000 }]
  const held = { ...record, connection: { ...record.connection, sinceMs: 1_700_000_000_000 }, keys }
  const cases: readonly (readonly [keyof Codecs, unknown])[] = [
    ['record', { ...held, appId: 7, installations: [installation] }],
    ['record', held],
    ['token', { appId: 1, generation: 3, token: { ...token, granted: { ...token.granted, repositories: ['web'] } } }],
    ['member', member],
    ['member', { ...member, role: 'member', able: true }],
    ['holder', { node: 'a', what: 'leader' }],
    ['ask', ask({ kind: 'token', grant, wish: {} })],
    ['ask', ask({ kind: 'token', grant, wish: { minTtlMs: 5, rejected: 'hash', renew: true } })],
    ['ask', ask({ kind: 'ahead', grants: [grant] })],
    ['answer', { kind: 'working' }],
    ['answer', { kind: 'token', token }],
    ['answer', { kind: 'failure', code: 'quota', detail: 'used up' }],
    ['answer', { kind: 'failure', code: 'quota', detail: 'used up', retryAfterSeconds: 7 }],
  ]
  for (const [name, value] of cases) {
    const codec = codecs[name] as unknown as Codecs['holder']
    const read = codec.read('k', codec.write('k', value as never))
    t.is(read.kind, 'value', name)
    t.deepEqual(shown(read.kind === 'value' && read.value), shown(value), name)
  }
})

test('an answer with a code that is not known here, and a token that lives for hours, are of a newer version', t => {
  const sealed = (value: unknown, stamp = { generation: 0, sequence: 0 }) =>
    keyring.seal('k', stamp, Buffer.from(JSON.stringify(value)))
  t.is(codecs.answer.read('k', sealed({ kind: 'failure', code: 'of-next-year', detail: '' })).kind, 'newer')
  const long = { ...token, token: 'ghs_1', expiresAtMs: 71 * 60_000 + token.mintedAtMs }
  t.is(
    codecs.token.read('k', sealed({ appId: 1, generation: 3, token: long }, { generation: 3, sequence: 0 })).kind,
    'newer',
  )
})

test('a token whose seal bears another generation is damage', t => {
  const value = JSON.stringify({ appId: 1, generation: 3, token: { ...token, token: 'ghs_1' } })
  const read = (generation: number) =>
    codecs.token.read('k', keyring.seal('k', { generation, sequence: 0 }, Buffer.from(value))).kind
  t.deepEqual([read(3), read(4)], ['value', 'damaged'])
})

test('each part of a record counts in its digest, but for the text of its keys and the order of its lists', t => {
  const { version: _, ...content } = record
  const account = { type: 'organization', login: 'octo-org' } as const
  const installation = { id: 4, account, repositorySelection: 'all', permissions: {}, htmlUrl: 'https://x' } as const
  const [key] = content.keys
  if (!key) throw new Error('it has a key')
  const base = { ...content, generation: 3, recipients: ['age1', 'age2'], signers: ['s', 'u'] }
  const digest = digestOf(base)
  for (const [what, change] of [
    ['the connection', { connection: { kind: 'disconnected', sinceMs: 6, remark: 'gone' } }],
    ['an installation', { installations: [installation] }],
    ['a fingerprint', { keys: [{ ...key, fingerprint: 'SHA256:2' }] }],
    ['since when a key is here', { keys: [{ ...key, addedAtMs: 8 }] }],
    ['who signs', { signers: ['s'] }],
    ['who can open a bundle', { recipients: ['age1', 'age3'] }],
  ] as const)
    t.not(digestOf({ ...base, ...change }), digest, what)
  t.is(digestOf({ ...base, recipients: ['age2', 'age1'], signers: ['u', 's'] }), digest)
  t.is(digestOf({ ...base, keys: [{ ...key, pem: new Secret('another spelling') }] }), digest)
})
