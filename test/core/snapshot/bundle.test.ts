// Bundles, whole: written, described without a key, opened; and who may have written them.

import { generateKeyPairSync } from 'node:crypto'
import test from 'ava'
import * as fc from 'fast-check'
import { type Live, TROUBLES } from '../../../src/protocol/connection.ts'
import { scopeKey } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { openBundle, readHeader, writeBundle } from '../../../src/core/snapshot/bundle.ts'
import type { BundleContent } from '../../../src/core/snapshot/content.ts'
import { createSigner } from '../../../src/core/snapshot/signing.ts'
import { forge } from '../../support/forged-bundles.ts'
import {
  anyContent,
  codeOf,
  CONNECTED,
  DISCONNECTED,
  entriesOf,
  entryOf,
  failureOf,
  LIVE,
  OTHER_RECOVERY,
  optionsFor,
  rawTar,
  RECOVERY,
  shown,
  signedBundle,
  SIGNER,
  TEST_PEM,
  tokenFor,
} from './samples.ts'

const SEALED = await writeBundle(LIVE, optionsFor([RECOVERY.recipient]))
const CLEAR = await writeBundle(LIVE, optionsFor([]))

const LIVE_STATES: readonly Live[] = [
  CONNECTED,
  { ...CONNECTED, kind: 'quarantined', evidence: 'another host' },
  ...TROUBLES.map(kind => ({ ...CONNECTED, kind, evidence: 'what GitHub said' })),
  { ...CONNECTED, kind: 'awaiting-installation' },
  { ...CONNECTED, kind: 'disconnecting', step: 'revoke', deadlineMs: 9 },
]

const sealedTar = (header: Uint8Array, signature: Uint8Array, payload: Uint8Array): Buffer =>
  rawTar([
    { name: 'header.json', bytes: header },
    { name: 'signature', bytes: signature },
    { name: 'payload.age', bytes: payload },
  ])

test('any content comes back as it was, in clear and encrypted', async t => {
  await fc.assert(
    fc.asyncProperty(anyContent, fc.boolean(), async (content, sealed) => {
      const bundle = await writeBundle(content, optionsFor(sealed ? [RECOVERY.recipient] : []))
      t.deepEqual(shown(await openBundle(bundle, [RECOVERY.identity])), shown(content))
    }),
    { numRuns: 60 },
  )
})

test('the header tells format, time, state, App, account, host, recipients and signer without any key', t => {
  const { payload, ...header } = readHeader(SEALED)
  t.deepEqual(header, {
    account: { type: 'organization', login: 'octo-org' },
    app_id: 918_273,
    created: '2026-01-02T03:04:05.006Z',
    format: 1,
    generation: 7,
    hostname: 'ghe.example.com',
    recipients: [RECOVERY.recipient],
    signer: SIGNER.publicKey,
    state: 'connected',
  })
  t.is(payload.name, 'payload.age')
  t.is(payload.size, entryOf(SEALED, 'payload.age').length)
})

test('a disconnected machine has a bundle too, without App and keys', async t => {
  const bundle = await writeBundle(DISCONNECTED, optionsFor([]))
  const header = readHeader(bundle)
  t.is(header.state, 'disconnected')
  t.false('app_id' in header)
  t.false('account' in header)
  t.deepEqual(await openBundle(bundle), DISCONNECTED)
  t.deepEqual(
    entriesOf(entryOf(bundle, 'payload.tar')).map(({ name }) => name),
    ['inventory.json', 'connection.json', 'settings.json'],
  )
})

test('each state of the connection has its bundle', async t => {
  const account = { type: 'enterprise', login: 'octo-corp' } as const
  const states: BundleContent['connection'][] = [
    {
      kind: 'awaiting-app',
      sinceMs: 1,
      account,
      state: 'ab',
      expiresAtMs: 2,
      conversion: { code: 'c', startedAtMs: 1 },
    },
    { kind: 'key-lost', sinceMs: 1, account, evidence: 'killed' },
  ]
  for (const connection of states) {
    const bundle = await writeBundle({ ...DISCONNECTED, connection }, optionsFor([RECOVERY.recipient]))
    t.deepEqual((await openBundle(bundle, [RECOVERY.identity])).connection, connection)
    t.deepEqual(readHeader(bundle).account, account)
  }
  for (const connection of LIVE_STATES) {
    const bundle = await writeBundle({ ...LIVE, connection }, optionsFor([]))
    t.is(readHeader(bundle).state, connection.kind)
    t.deepEqual((await openBundle(bundle)).connection, connection)
  }
})

test('in each state that has an App, a bundle without a private key is neither written nor opened', async t => {
  const empty = await writeBundle(DISCONNECTED, optionsFor([]))
  for (const connection of LIVE_STATES) {
    const why = `the connection is ${connection.kind}, and there is no private key`
    const unwritten = await failureOf(() => writeBundle({ ...LIVE, connection, keys: [] }, optionsFor([])))
    t.deepEqual([unwritten?.code, unwritten?.message], ['internal', `the bundle would not restore: ${why}`])
    const forged = forge(empty, ({ header, connection: file }) => {
      file['connection'] = connection
      Object.assign(header, { state: connection.kind, app_id: connection.app.id, account: connection.account })
    })
    const unopened = await failureOf(() => openBundle(forged))
    t.deepEqual([unopened?.code, unopened?.message], ['bundle-corrupt', why])
  }
})

test('the same content gives the same bytes, and age alone makes a difference', async t => {
  t.deepEqual(await writeBundle(LIVE, optionsFor([])), CLEAR)
  const again = await writeBundle(LIVE, optionsFor([RECOVERY.recipient]))
  t.notDeepEqual(again, SEALED)
  t.is(again.length, SEALED.length)
})

test('an encrypted bundle hides keys and tokens', t => {
  const bytes = Buffer.from(SEALED)
  for (const secret of ['PRIVATE KEY', 'ghs_', 'SHA256:first', 'Iv23liTest']) t.false(bytes.includes(secret), secret)
  t.true(Buffer.from(CLEAR).includes('PRIVATE KEY'))
})

test('a token is written alike, in whatever order its fields came', async t => {
  const scope = { permissions: { contents: 'read' }, repositories: ['web'], installation: 42 } as const
  const token = tokenFor(scope, { granted: { permissions: { contents: 'read' }, repositories: ['web'] } })
  const content = { ...LIVE, tokens: [token] }
  const bundle = await writeBundle(content, optionsFor([RECOVERY.recipient]))
  const [read] = (await openBundle(bundle, [RECOVERY.identity])).tokens
  t.deepEqual(shown(read), shown(token), 'none of them is lost')
})

test('each key comes back under its own fingerprint', async t => {
  const other = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
  const keys = [other, TEST_PEM, other].map((pem, index) => ({
    fingerprint: `SHA256:${index}`,
    pem: new Secret(pem),
    addedAtMs: index,
  }))
  const bundle = await writeBundle({ ...LIVE, keys }, optionsFor([]))
  t.deepEqual(shown((await openBundle(bundle)).keys), shown(keys))
  t.is(entryOf(entryOf(bundle, 'payload.tar'), 'private-key-2.pem').toString(), TEST_PEM)
})

test('keys that are named in another order than they lie in are refused', async t => {
  const turned = forge(CLEAR, ({ connection }) => {
    const keys = connection['keys'] as { file: string }[]
    for (const [index, key] of keys.entries()) key.file = `private-key-${keys.length - index}.pem`
  })
  const failure = await failureOf(() => openBundle(turned))
  t.is(failure?.code, 'bundle-corrupt')
  t.regex(failure?.message ?? '', /names private-key-1\.pem otherwise/)
})

test('a connection with thousands of installations, and long settings, find room, together and each for itself', async t => {
  const [installation] = LIVE.installations
  if (!installation) throw new Error('no installation')
  const installations = Array.from({ length: 3_000 }, (_, id) => ({ ...installation, id }))
  const settings = { configuration: [{ path: '/x', text: 'x'.repeat(200_000) }] }
  for (const large of [{ installations, settings }, { installations }, { settings }]) {
    const content = { ...LIVE, ...large }
    for (const recipients of [[], [RECOVERY.recipient]]) {
      const bundle = await writeBundle(content, optionsFor(recipients))
      t.true(bundle.length > 200_000)
      t.deepEqual(shown(await openBundle(bundle, [RECOVERY.identity])), shown(content))
    }
  }
})

test('the key of a token is made anew', async t => {
  const stale = tokenFor({ installation: 1 }, { key: scopeKey('other', { installation: 2 }) })
  const { tokens } = await openBundle(await writeBundle({ ...LIVE, tokens: [stale] }, optionsFor([])))
  t.is(tokens[0]?.key, scopeKey('actions', { installation: 1 }))
})

test('without an identity an encrypted bundle is sealed; with another one it stays shut', async t => {
  const sealed = await failureOf(() => openBundle(SEALED))
  t.deepEqual([sealed?.code, sealed?.message], ['bundle-sealed', `the bundle is encrypted to ${RECOVERY.recipient}`])
  t.is(await codeOf(() => openBundle(SEALED, [OTHER_RECOVERY.identity])), 'bundle-wrong-identity')
  t.is((await openBundle(SEALED, [OTHER_RECOVERY.identity, RECOVERY.identity])).generation, 7)
})

test('of two recipients one may be lost', async t => {
  const bundle = await writeBundle(LIVE, optionsFor([OTHER_RECOVERY.recipient, RECOVERY.recipient]))
  t.deepEqual(readHeader(bundle).recipients, [OTHER_RECOVERY.recipient, RECOVERY.recipient])
  for (const { identity } of [RECOVERY, OTHER_RECOVERY]) {
    t.deepEqual(shown(await openBundle(bundle, [identity])), shown(LIVE))
  }
})

test('someone who knows the recipient alone can forge a bundle only under a name of his own', async t => {
  const forger = createSigner()
  const forged = await writeBundle({ ...LIVE, generation: 99 }, optionsFor([RECOVERY.recipient], { signer: forger }))
  t.is(readHeader(forged).signer, forger.publicKey)
  t.not(readHeader(forged).signer, SIGNER.publicKey)

  const renamed = Buffer.from(entryOf(forged, 'header.json').toString().replace(forger.publicKey, SIGNER.publicKey))
  const stolen = entryOf(SEALED, 'signature')
  for (const signature of [entryOf(forged, 'signature'), stolen, forger.sign(renamed)]) {
    const bundle = sealedTar(renamed, signature, entryOf(forged, 'payload.age'))
    const failure = await failureOf(() => readHeader(bundle))
    t.is(failure?.code, 'bundle-corrupt')
    t.regex(failure?.message ?? '', /signature/)
  }
})

test('headers of two bundles cannot be exchanged', async t => {
  const other = await writeBundle({ ...LIVE, generation: 6 }, optionsFor([RECOVERY.recipient]))
  const header = entryOf(other, 'header.json')
  const payload = entryOf(SEALED, 'payload.age')
  const both = await failureOf(() => readHeader(sealedTar(header, entryOf(other, 'signature'), payload)))
  t.is(both?.code, 'bundle-corrupt')
  t.regex(both?.message ?? '', /payload\.age is not as header\.json describes it/)
  t.is(await codeOf(() => readHeader(sealedTar(header, entryOf(SEALED, 'signature'), payload))), 'bundle-corrupt')
})

test('a header that tells another connection than the payload is refused, though it is rightly signed', async t => {
  const payload = entryOf(await writeBundle(DISCONNECTED, optionsFor([])), 'payload.tar')
  t.deepEqual(await openBundle(signedBundle(payload)), DISCONNECTED)
  const account = { login: 'octo-org', type: 'organization' }
  for (const header of [{ state: 'connected' }, { generation: 9 }, { app_id: 1 }, { account }]) {
    const failure = await failureOf(() => openBundle(signedBundle(payload, { header })))
    t.is(failure?.code, 'bundle-corrupt')
    t.regex(failure?.message ?? '', /different connections/)
  }
})

test('a header that tells another kind of account, or another account of that kind, is refused', async t => {
  const { account } = CONNECTED
  const right = { state: 'connected', generation: 7, app_id: CONNECTED.app.id, account }
  const payload = entryOf(CLEAR, 'payload.tar')
  t.is((await openBundle(signedBundle(payload, { header: right }))).generation, 7)
  for (const change of [{ type: 'user' }, { login: 'elsewhere' }]) {
    const header = { ...right, account: { ...account, ...change } }
    const failure = await failureOf(() => openBundle(signedBundle(payload, { header })))
    t.is(failure?.code, 'bundle-corrupt')
    t.regex(failure?.message ?? '', /different connections/)
  }
})

test('a newer format is told apart, whatever it looks like inside', async t => {
  const bytes = Buffer.from('{"format":2,"new":"fields"}')
  const bundle = rawTar([
    { name: 'header.json', bytes },
    { name: 'signature-v2', bytes: 'x'.repeat(4000) },
    { name: 'more' },
  ])
  t.is(await codeOf(() => readHeader(bundle)), 'bundle-newer')
  t.is(await codeOf(() => openBundle(bundle, [RECOVERY.identity])), 'bundle-newer')
})

test('content that would not restore is not written', async t => {
  const key = { fingerprint: 'x', pem: new Secret('no PEM'), addedAtMs: 1 }
  const whole = { fingerprint: 'x', pem: new Secret(TEST_PEM), addedAtMs: 1 }
  const long = tokenFor({ installation: 1 }, { mintedAtMs: 0, expiresAtMs: 71 * 60_000 })
  const cases: [Partial<BundleContent>, RegExp][] = [
    [{ keys: [] }, /no private key/],
    [{ keys: [key] }, /private-key-1\.pem is no private key/],
    [{ keys: Array.from({ length: 26 }, () => whole) }, /private-key-26\.pem/],
    [{ keys: [{ ...whole, pem: new Secret(TEST_PEM + ' '.repeat(20_000)) }] }, /private-key-1\.pem has \d+ bytes/],
    [{ generation: -1 }, /generation/],
    [{ settings: { large: 'x'.repeat(300_000) } }, /settings\.json has/],
    [{ facts: JSON.parse('{"__proto__": 1}') }, /./],
    [{ tokens: [LIVE.tokens[0] ?? long, long] }, /token\.json is malformed at 1\.expiresAtMs/],
  ]
  for (const [change, expected] of cases) {
    const failure = await failureOf(() => writeBundle({ ...LIVE, ...change }, optionsFor([RECOVERY.recipient])))
    t.is(failure?.code, 'internal')
    t.regex(failure?.message ?? '', expected)
    t.false((failure?.message ?? '').includes('no PEM'))
  }
  t.is(await codeOf(() => writeBundle(LIVE, optionsFor(['age1nonsense']))), 'configuration')
})

test('25 keys find room', async t => {
  const keys = Array.from({ length: 25 }, (_, index) => ({
    fingerprint: `SHA256:${index}`,
    pem: new Secret(TEST_PEM),
    addedAtMs: index,
  }))
  t.deepEqual(shown(await openBundle(await writeBundle({ ...LIVE, keys }, optionsFor([])))), shown({ ...LIVE, keys }))
})

test('tokens that find no room are left out, the shortest-lived first, and the bundle is still written', async t => {
  const tokens = Array.from({ length: 24_000 }, (_, index) =>
    tokenFor(
      { installation: index },
      { token: new Secret(`ghs_${'x'.repeat(520)}`), expiresAtMs: 1_700_000_000_000 + ((index * 7919) % 24_000) },
    ),
  )
  const bundle = await writeBundle({ ...LIVE, tokens }, optionsFor([RECOVERY.recipient]))
  const kept = (await openBundle(bundle, [RECOVERY.identity])).tokens
  t.true(kept.length > 10_000 && kept.length < 24_000)
  const latest = new Set(tokens.toSorted((a, b) => b.expiresAtMs - a.expiresAtMs).slice(0, kept.length))
  t.deepEqual(
    kept.map(token => token.key),
    tokens.filter(token => latest.has(token)).map(token => token.key),
  )
})

test('a bundle with another entry behind its payload is refused, whatever it is', async t => {
  const entries = entriesOf(CLEAR)
  for (const name of ['payload.age', 'extra']) {
    t.is(await codeOf(() => openBundle(rawTar([...entries, { name, bytes: 'x' }]))), 'bundle-corrupt', name)
    t.is(await codeOf(() => readHeader(rawTar([...entries, { name, bytes: '' }]))), 'bundle-corrupt', name)
  }
})

test('what is written is read back: a signature that does not hold is found before the bundle leaves', async t => {
  const other = createSigner()
  for (const signer of [
    { ...SIGNER, sign: () => new Uint8Array(64) },
    { ...SIGNER, sign: other.sign },
    { ...SIGNER, sign: (bytes: Uint8Array) => SIGNER.sign(bytes).subarray(1) },
  ]) {
    for (const recipients of [[], [RECOVERY.recipient]]) {
      const failure = await failureOf(() => writeBundle(LIVE, optionsFor(recipients, { signer })))
      t.is(failure?.code, 'internal')
      t.regex(failure?.message ?? '', /would not restore/)
    }
  }
})

test('bytes before a bundle are counted and shown, escaped and without long words', async t => {
  const noise = `Welcome!\u001b[31m\r\nghs_${'x'.repeat(36)} ${'long '.repeat(100)}`
  const failure = await failureOf(() => readHeader(Buffer.concat([Buffer.from(noise), CLEAR])))
  t.is(failure?.code, 'bundle-corrupt')
  const message = failure?.message ?? ''
  t.true(message.startsWith(`${noise.length} bytes come before the bundle and begin "Welcome!\\u001b[31m\\r\\n[...]`))
  t.false(message.includes('xxxx'))
  t.true(message.length < 250, message)
})
