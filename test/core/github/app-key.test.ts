// Keys are read however damaged, bad ones are named, and JWTs hold by GitHub's clock.

import { createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import test from 'ava'
import * as fc from 'fast-check'
import { Failure } from '../../../src/protocol/errors.ts'
import { createAppJwts, createKeyVerdicts, readPrivateKey } from '../../../src/core/github/app-key.ts'
import { claimsOf, makeKey, makePem } from './fakes.ts'

const pkcs1 = makePem()
const original = readPrivateKey(pkcs1)
const pkcs8 = original.privateKey.export({ type: 'pkcs8', format: 'pem' })

const damages: Record<string, (pem: string) => string> = {
  'nothing done to it': pem => pem,
  'CRLF line ends': pem => pem.replaceAll('\n', '\r\n'),
  'CR line ends': pem => pem.replaceAll('\n', '\r'),
  'blanks at the ends of lines': pem => pem.replaceAll('\n', ' \t\n'),
  'indented lines': pem => pem.replaceAll('\n', '\n    '),
  'blank lines before': pem => `\n\r\n  ${pem}`,
  'blank lines between': pem => pem.replaceAll('\n', '\n\n'),
  'line breaks written as \\n': pem => pem.replaceAll('\n', '\\n'),
  'line breaks written as \\r\\n, in quotes': pem => `"${pem.replaceAll('\n', '\\r\\n')}"`,
  'line breaks turned into blanks': pem => pem.replaceAll('\n', ' '),
  'no last line break': pem => pem.trimEnd(),
  'its certificate before and after': pem =>
    `-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n${pem}-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n`,
  'a byte order mark and bag attributes before': pem => `\uFEFFBag Attributes\n    friendlyName: app\n${pem}`,
}

const base64 = (text: string | Buffer): string => Buffer.from(text).toString('base64')
const utf16 = (text: string): Buffer => Buffer.from(text, 'utf16le')
const quoted = (pem: string): string => encodeURIComponent(pem).replaceAll('%2F', '/')

const wrappings: Readonly<Record<string, (pem: string) => string>> = {
  'all of it in base64': base64,
  'all of it in lines of base64': pem => base64(pem).replaceAll(/.{76}/g, '$&\n'),
  'all of it in base64url': pem => Buffer.from(pem).toString('base64url'),
  'all of it in base64, twice': pem => base64(base64(pem)),
  'the body alone': pem => pem.replaceAll(/-----.*-----/g, ''),
  'UTF-16 that was read as UTF-8': pem => utf16(pem).toString('utf8'),
  'UTF-16 with a byte order mark that was read as UTF-8': pem => utf16(`\uFEFF${pem}`).toString('utf8'),
  'UTF-16 of the other byte order': pem => utf16(`\uFEFF${pem}`).swap16().toString('utf8'),
  'UTF-16 in base64': pem => base64(utf16(pem)),
  'line breaks escaped twice': pem => pem.replaceAll('\n', '\\\\n'),
  'line breaks of a PowerShell string': pem => pem.replaceAll('\n', '`n'),
  'lines continued as in a shell': pem => pem.replaceAll('\n', '\\\n'),
  'marks of a quoted mail': pem => pem.replaceAll(/^/gm, '> '),
  'quotes around each line': pem => pem.replaceAll(/^(.+)$/gm, '"$1",'),
  'percent signs': quoted,
  'percent signs as in a form': pem => quoted(pem).replaceAll('%20', '+'),
  'blanks without a width': pem => pem.replaceAll('\n', '\u200B\n'),
  'dashes for hyphens': pem => pem.replaceAll('-----', '\u2014\u2014-'),
}
Object.assign(damages, wrappings)

for (const [name, damage] of Object.entries(damages)) {
  test(`a PEM with ${name} is read, PKCS#1 and PKCS#8`, t => {
    t.is(readPrivateKey(damage(pkcs1)).fingerprint, original.fingerprint)
    t.is(readPrivateKey(damage(pkcs8)).fingerprint, original.fingerprint)
  })
}

test('the fingerprint is the one that the settings page of the App shows', t => {
  const der = createPublicKey(pkcs1).export({ type: 'spki', format: 'der' })
  t.is(original.fingerprint, `SHA256:${createHash('sha256').update(der).digest('base64')}`)
})

test('what is exported for the store is PKCS#8 and reads back as the same key', t => {
  const { pem } = original
  t.true(pem.reveal().startsWith('-----BEGIN PRIVATE KEY-----'))
  t.is(String(pem), '[secret]')
  t.is(readPrivateKey(pem.reveal()).fingerprint, original.fingerprint)
})

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const bad: Readonly<Record<string, [pem: string, says: RegExp]>> = {
  'an empty text': ['', /is empty/],
  'a text that is no PEM': ['anything else', /no PEM/],
  'a token': ['ghs_0123456789', /is a token/],
  'a client secret': ['0123456789abcdef'.repeat(3).slice(0, 40), /client secret/],
  'the name of a file': ['./octo-app.2026-07-01.private-key.pem', /name of a file/],
  'a public key': [
    createPublicKey(pkcs1).export({ type: 'spki', format: 'pem' }),
    /public key \(PUBLIC KEY\).*settings page/,
  ],
  'a public key in base64': [base64(createPublicKey(pkcs1).export({ type: 'spki', format: 'pem' })), /public key/],
  'a public key of OpenSSH': ['ssh-rsa AAAAB3NzaC1yc2E user@host', /public key/],
  'a certificate': ['-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n', /certificate.*settings page/],
  'a key of OpenSSH': [
    '-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n',
    /OpenSSH.*ssh-keygen -p -m PEM/,
  ],
  'a key of PuTTY': ['PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n', /PuTTY.*puttygen/],
  'a JSON Web Key': [JSON.stringify(original.privateKey.export({ format: 'jwk' })), /JSON Web Key/],
  'a key in binary': [
    original.privateKey.export({ type: 'pkcs1', format: 'der' }).toString('utf8'),
    /binary \(DER\).*openssl rsa -inform DER/,
  ],
  'a key on an elliptic curve': [ec.privateKey.export({ type: 'pkcs8', format: 'pem' }), /EC key.*RSA/],
  'an old key on an elliptic curve': [ec.privateKey.export({ type: 'sec1', format: 'pem' }), /EC key.*RSA/],
  'an RSA key of 1024 bits': [makePem(1024), /1024 bits/],
  'a key under a passphrase': [
    original.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }),
    /passphrase.*openssl rsa -in/,
  ],
  'an old key under a passphrase': [
    original.privateKey.export({ type: 'pkcs1', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }),
    /passphrase/,
  ],
  'an old DSA key': ['-----BEGIN DSA PRIVATE KEY-----\nMIIB\n-----END DSA PRIVATE KEY-----\n', /DSA key.*RSA/],
  'a message of PGP': [
    '-----BEGIN PGP MESSAGE-----\nhQEM\n-----END PGP MESSAGE-----\n',
    /holds a PGP MESSAGE, not a private key/,
  ],
  'a token of the newer form': ['github_pat_0123456789', /is a token/],
  'a JWT': ['eyJhbGciOiJSUzI1NiJ9.e30.c2ln', /is a token/],
  'a public key of OpenSSH on a curve': ['ecdsa-sha2-nistp256 AAAAE2Vj user@host', /public key, which GitHub has/],
  'half a PEM': [pkcs1.slice(0, 800), /END line is missing/],
  'a PEM without a middle': [`${pkcs1.slice(0, 500)}${pkcs1.slice(900)}`, /readable/],
  'a text of a megabyte': ['-'.repeat(1e6), /too long/],
}

for (const [name, [pem, says]] of Object.entries(bad)) {
  test(`${name} is refused as invalid-key, and says why`, t => {
    const failure = t.throws(() => readPrivateKey(pem), { instanceOf: Failure, message: says })
    t.is(failure.code, 'invalid-key')
  })
}

test('a key with one character changed is either the same key or refused, and never named in the detail', t => {
  const lines = pkcs1.split('\n')
  fc.assert(
    fc.property(
      fc.integer({ min: 30, max: pkcs1.length - 34 }),
      fc.constantFrom(...'AQgw4/'.split('')),
      (at, character) => {
        const changed = pkcs1.slice(0, at) + character + pkcs1.slice(at + 1)
        try {
          t.is(readPrivateKey(changed).fingerprint, original.fingerprint)
        } catch (error) {
          if (!(error instanceof Failure)) throw error
          t.is(error.code, 'invalid-key')
          t.false(lines.slice(1, -2).some(line => error.message.includes(line.slice(0, 20))))
        }
      },
    ),
    { numRuns: 60 },
  )
})

const NOW = Date.parse('2026-06-01T12:00:00.750Z')
const clockAt = (state: { now: number; offset: number }) => ({
  now: () => state.now,
  offsetMs: () => state.offset,
  findTold: () => undefined,
  learn: () => undefined,
})

test('a JWT is RS256 by the key, issued a minute ago, good for nine more', t => {
  const { jwt, expiresAt } = createAppJwts(clockAt({ now: NOW, offset: 0 })).issue('Iv23li', original)
  const [header = '', claims = '', signature = ''] = jwt.split('.')
  t.deepEqual(JSON.parse(Buffer.from(header, 'base64url').toString()), { alg: 'RS256', typ: 'JWT' })
  const nowS = Math.floor(NOW / 1000)
  t.deepEqual(claimsOf(jwt), { iat: nowS - 60, exp: nowS + 540, iss: 'Iv23li' })
  t.is(Date.parse(expiresAt), (nowS + 540) * 1000)
  t.true(
    verify('sha256', Buffer.from(`${header}.${claims}`), createPublicKey(pkcs1), Buffer.from(signature, 'base64url')),
  )
})

test('a JWT is used again until a minute before its end, by issuer and key, and only under the offset it was signed with', t => {
  const state = { now: NOW, offset: 0 }
  const jwts = createAppJwts(clockAt(state))
  const first = jwts.issue('1', original).jwt
  t.is(jwts.issue('1', original).jwt, first)
  t.not(jwts.issue('2', original).jwt, first)
  t.not(jwts.issue('1', makeKey()).jwt, first)
  state.now += 470_000
  t.is(jwts.issue('1', original).jwt, first)
  state.now += 20_000
  const second = jwts.issue('1', original).jwt
  t.not(second, first)
  state.offset = -300_000
  state.now -= 300_000
  t.not(jwts.issue('1', original).jwt, second)
})

test('a key whose numbers do not belong together is refused, though its public half is the right one', t => {
  const { d = '', dp = '' } = original.privateKey.export({ format: 'jwk' })
  const der = original.privateKey.export({ type: 'pkcs1', format: 'der' })
  for (const number of [d, dp]) {
    const at = der.indexOf(Buffer.from(number, 'base64url')) + 20
    der[at] = (der[at] ?? 0) ^ 1
  }
  const pem = `-----BEGIN RSA PRIVATE KEY-----\n${base64(der)}\n-----END RSA PRIVATE KEY-----\n`
  const failure = t.throws(() => readPrivateKey(pem), {
    instanceOf: Failure,
    message: /^the private key is damaged: /,
  })
  t.is(failure.code, 'invalid-key')
})

test('JWTs of a few identities are kept, and of a flood of them none for ever', t => {
  const state = { now: NOW, offset: 0 }
  const jwts = createAppJwts(clockAt(state))
  const first = jwts.issue('1', original).jwt
  for (let issuer = 2; issuer <= 16; issuer++) jwts.issue(String(issuer), original)
  state.now += 10_000
  t.is(jwts.issue('1', original).jwt, first)
  jwts.issue('17', original)
  t.not(jwts.issue('1', original).jwt, first)
})

const made = makeKey()
const keyOf = (fingerprint: string) => ({ ...made, fingerprint })
const keys = ['a', 'b', 'c'].map(keyOf)

const setUp = () => {
  let nowMs = 0
  const verdicts = createKeyVerdicts(() => nowMs)
  const order = (): string =>
    verdicts
      .inOrder(keys)
      .map(({ fingerprint }) => fingerprint)
      .join('')
  const pass = (ms: number): void => void (nowMs += ms)
  return { verdicts, order, pass }
}

test('keys are tried as they are given, but those that were rejected within the last minute come last', t => {
  const { verdicts, order, pass } = setUp()
  t.is(order(), 'abc')
  verdicts.note(keyOf('c'), 'works')
  t.is(order(), 'abc', 'one that works comes no earlier')
  verdicts.note(keyOf('a'), 'rejected')
  t.is(order(), 'bca')
  pass(30_000)
  verdicts.note(keyOf('b'), 'rejected')
  t.is(order(), 'cab')
  pass(30_000)
  t.is(order(), 'acb')
  pass(30_000)
  t.is(order(), 'abc')
  verdicts.note(keyOf('a'), 'rejected')
  verdicts.note(keyOf('a'), 'works')
  t.is(order(), 'abc', 'what was said last counts')
})

test('what was said of a key stays after its rest, and of a flood of keys not for ever', t => {
  const { verdicts, pass } = setUp()
  t.is(verdicts.find('a'), 'unknown')
  verdicts.note(keyOf('a'), 'rejected')
  pass(3_600_000)
  t.is(verdicts.find('a'), 'rejected')
  for (let at = 1; at < 64; at++) verdicts.note(keyOf(String(at)), 'works')
  verdicts.note(keyOf('a'), 'works')
  t.is(verdicts.find('63'), 'works')
  verdicts.note(keyOf('64'), 'works')
  t.is(verdicts.find('a'), 'unknown')
  t.is(verdicts.find('64'), 'works')
})
