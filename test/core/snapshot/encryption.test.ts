// age encryption: keys, identity files, and the difference between a wrong key and a damaged file; against stock age as well.

import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as fc from 'fast-check'
import { Secret } from '../../../src/protocol/secret.ts'
import {
  assertRecipient,
  createRecoveryKey,
  decryptWith,
  encryptTo,
  readIdentities,
  recipientOf,
} from '../../../src/core/snapshot/encryption.ts'
import { MAX_RECIPIENTS } from '../../../src/core/snapshot/content.ts'
import { codeOf, failureOf, OTHER_RECOVERY, RECOVERY } from './samples.ts'

const IDENTITY = RECOVERY.identity.reveal()
/** Well spelled, but the point is zero. */
const LOW_ORDER = 'age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z'

const makeFolder = (t: ExecutionContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-age-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('a recovery key is an X25519 identity and its recipient', async t => {
  const { identity, recipient } = await createRecoveryKey()
  t.regex(identity.reveal(), /^AGE-SECRET-KEY-1[0-9A-Z]{58}$/)
  t.regex(recipient, /^age1[0-9a-z]{58}$/)
  t.is(await recipientOf(identity), recipient)
  t.not(recipient, RECOVERY.recipient)
  t.is(await codeOf(() => recipientOf(new Secret('AGE-SECRET-KEY-1ABC'))), 'invalid-request')
})

test('only X25519 recipients pass, and an identity in their place is not printed', async t => {
  t.notThrows(() => assertRecipient(RECOVERY.recipient))
  const damaged = RECOVERY.recipient.replace(/.$/, last => (last === 'q' ? 'p' : 'q'))
  for (const text of [
    '',
    'age1',
    damaged,
    ` ${RECOVERY.recipient}`,
    RECOVERY.recipient.toUpperCase(),
    'ssh-ed25519 AAAA',
  ]) {
    t.is(await codeOf(() => assertRecipient(text)), 'configuration', text)
  }
  for (const text of ['age1yubikey1qwertyuiop', `age1pq1${'q'.repeat(1900)}`, `age1tag1${'q'.repeat(54)}`]) {
    t.is(await codeOf(() => assertRecipient(text)), 'configuration', text)
  }
  const failure = await failureOf(() => assertRecipient(IDENTITY))
  t.is(failure?.code, 'configuration')
  t.false(failure?.message.includes(IDENTITY.slice(0, 30)))
})

test('an identity file is read with its comments, blank lines and CRLF', t => {
  const text = `# created: 2026-01-02\r\n# public key: ${RECOVERY.recipient}\r\n\r\n  ${IDENTITY}\r\n${OTHER_RECOVERY.identity.reveal()}`
  t.deepEqual(
    readIdentities(text).map(identity => identity.reveal()),
    [IDENTITY, OTHER_RECOVERY.identity.reveal()],
  )
})

test('what is no identity file is refused by line, without its text', async t => {
  const cases: [string, RegExp][] = [
    ['', /no identity in/],
    ['# only a comment\n', /no identity in/],
    [`# x\n${IDENTITY.slice(0, -1)}Q9\n`, /^line 2 .* is no X25519 identity/],
    [`${IDENTITY} trailing\n`, /^line 1 /],
    [`${IDENTITY.toLowerCase()}\n`, /^line 1 /],
    [`${IDENTITY}\n${RECOVERY.recipient}\n`, /^line 2 .* is a recipient/],
    ['AGE-PLUGIN-YUBIKEY-1QQQQ\n', /^line 1 /],
    ['age-encryption.org/v1\n-> scrypt ', /itself encrypted/],
    ['-----BEGIN AGE ENCRYPTED FILE-----\n', /itself encrypted/],
  ]
  for (const [text, expected] of cases) {
    const failure = await failureOf(() => readIdentities(text))
    t.is(failure?.code, 'invalid-request')
    t.regex(failure?.message ?? '', expected)
    t.false((failure?.message ?? '').includes(IDENTITY.slice(17, 40)))
  }
})

test('what is encrypted is decrypted, at any size', async t => {
  const size = fc.oneof(fc.nat(300), fc.constantFrom(0, 65_535, 65_536, 65_537, 131_072, 200_000))
  await fc.assert(
    fc.asyncProperty(size, fc.nat(255), async (length, fill) => {
      const bytes = new Uint8Array(length).fill(fill)
      const encrypted = await encryptTo([RECOVERY.recipient], bytes)
      t.deepEqual(await decryptWith([RECOVERY.identity], encrypted), bytes)
    }),
    { numRuns: 60 },
  )
})

test('each of several recipients opens it, and nobody else', async t => {
  const third = await createRecoveryKey()
  const encrypted = await encryptTo([RECOVERY.recipient, OTHER_RECOVERY.recipient], Buffer.from('x'))
  t.is(Buffer.from(await decryptWith([RECOVERY.identity], encrypted)).toString(), 'x')
  t.is(Buffer.from(await decryptWith([third.identity, OTHER_RECOVERY.identity], encrypted)).toString(), 'x')
  t.is(await codeOf(() => decryptWith([third.identity], encrypted)), 'bundle-wrong-identity')
  t.is(await codeOf(() => decryptWith([], encrypted)), 'bundle-wrong-identity')
  t.is(await codeOf(() => decryptWith([RECOVERY.identity, new Secret('x')], encrypted)), 'invalid-request')
  for (const [identities, expected] of [
    [[third.identity], 'the identity is not one that it was encrypted to'],
    [[third.identity, third.identity], 'none of the 2 identities is one that it was encrypted to'],
  ] as const)
    t.is((await failureOf(() => decryptWith(identities, encrypted)))?.message, expected)
})

test('recipients that cannot be encrypted to are errors of the configuration', async t => {
  const bytes = Buffer.from('x')
  t.is(await codeOf(() => encryptTo([], bytes)), 'configuration')
  t.is(await codeOf(() => encryptTo(['age1nonsense'], bytes)), 'configuration')
  t.notThrows(() => assertRecipient(LOW_ORDER))
  t.is(await codeOf(() => encryptTo([LOW_ORDER], bytes)), 'configuration')
  t.is(await codeOf(() => encryptTo(Array(MAX_RECIPIENTS + 1).fill(RECOVERY.recipient), bytes)), 'configuration')
  const most = await encryptTo(Array(MAX_RECIPIENTS).fill(RECOVERY.recipient), bytes)
  t.is(Buffer.from(await decryptWith([RECOVERY.identity], most)).toString(), 'x')
})

test('a file that is cut or changed anywhere never opens, and says which it is', async t => {
  const encrypted = await encryptTo([RECOVERY.recipient], Buffer.from('forty-two'))
  const seen = new Set<string | undefined>()
  for (let at = 0; at < encrypted.length; at += 1) {
    const flipped = Uint8Array.from(encrypted, (byte, index) => (index === at ? byte ^ (1 << (at % 8)) : byte))
    for (const damaged of [encrypted.slice(0, at), flipped]) {
      seen.add(await codeOf(() => decryptWith([RECOVERY.identity], damaged)))
    }
  }
  t.deepEqual(seen, new Set(['bundle-corrupt', 'bundle-wrong-identity']))
  t.is(
    await codeOf(() => decryptWith([RECOVERY.identity], Buffer.concat([encrypted, Buffer.from('x')]))),
    'bundle-corrupt',
  )
})

test('a header with more stanzas than there can be recipients is not even tried', async t => {
  const others = Array.from({ length: 100 }, () => ['-r', OTHER_RECOVERY.recipient]).flat()
  const bytes = execFileSync('age', [...others, '-r', RECOVERY.recipient], { input: 'x' })
  t.is(await codeOf(() => decryptWith([RECOVERY.identity], bytes)), 'bundle-corrupt')
})

test('stock age opens what is written here, and the other way round', async t => {
  const folder = makeFolder(t)
  const identityFile = join(folder, 'identity.txt')
  const file = join(folder, 'x.age')
  writeFileSync(identityFile, `# a comment\n${IDENTITY}\n`, { mode: 0o600 })
  const bytes = Buffer.alloc(100_000, 'abc')
  writeFileSync(file, await encryptTo([OTHER_RECOVERY.recipient, RECOVERY.recipient], bytes))
  t.true(execFileSync('age', ['-d', '-i', identityFile, file], { maxBuffer: 1e6 }).equals(bytes))

  const theirs = execFileSync('age', ['-r', RECOVERY.recipient], { input: bytes, maxBuffer: 1e6 })
  t.true(Buffer.from(await decryptWith([RECOVERY.identity], theirs)).equals(bytes))
  const generated = execFileSync('age-keygen', { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const [identity] = readIdentities(generated)
  t.true(identity !== undefined && generated.includes(await recipientOf(identity)))
})

const CHUNK = 64 * 1024
const SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK + 17]
const sampleOf = (size: number): Buffer => Buffer.alloc(size, createHash('sha256').update(String(size)).digest())

test('stock age opens it, and writes the same, at each edge of a chunk', async t => {
  const input = (bytes: Uint8Array) => ({ input: bytes, stdio: 'pipe', maxBuffer: 2 ** 24 }) as const
  for (const size of SIZES) {
    const plain = sampleOf(size)
    const opened = execFileSync(
      'sh',
      ['-c', 'f=$(mktemp); echo "$0" > $f; age -d -i $f; rm $f', IDENTITY],
      input(await encryptTo([RECOVERY.recipient], plain)),
    )
    t.deepEqual(opened, plain, `written ${size}`)
    const sealed = execFileSync('age', ['-r', RECOVERY.recipient], input(plain))
    t.deepEqual(Buffer.from(await decryptWith([RECOVERY.identity], sealed)), plain, `read ${size}`)
  }
})

test('a body that was cut, extended, flipped or put in another order never opens', async t => {
  const file = Buffer.from(await encryptTo([RECOVERY.recipient], sampleOf(2 * CHUNK + 100)))
  const start = file.indexOf('\n', file.indexOf('\n---') + 1) + 1
  const [header, body] = [file.subarray(0, start), file.subarray(start)]
  const codeOfBody = (bytes: Uint8Array) =>
    codeOf(() => decryptWith([RECOVERY.identity], Buffer.concat([header, bytes])))
  t.is(await codeOfBody(body), undefined)
  const sealed = CHUNK + 16
  const first = body.subarray(16, 16 + sealed)
  const second = body.subarray(16 + sealed, 16 + 2 * sealed)
  const rest = body.subarray(16 + 2 * sealed)
  const wrong: Record<string, Uint8Array> = {
    'without its last chunk': body.subarray(0, -rest.length),
    'without its last byte': body.subarray(0, -1),
    'with a byte more': Buffer.concat([body, Buffer.alloc(1)]),
    'with an empty chunk more': Buffer.concat([body, Buffer.alloc(16)]),
    'with the chunks exchanged': Buffer.concat([body.subarray(0, 16), second, first, rest]),
    'with a chunk twice': Buffer.concat([body.subarray(0, 16), first, first, second, rest]),
    'with another nonce': Buffer.concat([randomBytes(16), body.subarray(16)]),
    'nothing but a nonce': body.subarray(0, 16),
    empty: new Uint8Array(),
  }
  for (const [what, bytes] of Object.entries(wrong)) t.is(await codeOfBody(bytes), 'bundle-corrupt', what)
  for (let at = 0; at < body.length; at += 9_973) {
    const copy = Buffer.from(body)
    copy[at] = (copy[at] ?? 0) ^ 1
    t.is(await codeOfBody(copy), 'bundle-corrupt', `flipped at ${at}`)
  }
  const whole = Buffer.from(await encryptTo([RECOVERY.recipient], sampleOf(CHUNK)))
  t.is(await codeOf(() => decryptWith([RECOVERY.identity], whole.subarray(0, -16 - CHUNK))), 'bundle-corrupt')
})
