// CA files as they arrive: each form is read, or refused by its name with the command that converts it.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { readCertificates } from '../../src/service/ca-file.ts'
import { createAuthority } from '../support/certificates.ts'

const folder = mkdtempSync(join(tmpdir(), 'ca-file-'))
const authority = createAuthority('Corporate CA')
test.after.always(() => {
  rmSync(folder, { recursive: true })
  authority.remove()
})

const at = (name: string): string => join(folder, name)
const file = (name: string, content: string | Buffer): string => {
  writeFileSync(at(name), content)
  return at(name)
}
const openssl = (name: string, ...words: string[]): string => {
  execFileSync('openssl', [...words, '-out', at(name)], { stdio: 'pipe' })
  return at(name)
}
const plain = authority.ca
const KEY = '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'
const trusted = (): string => readFileSync(openssl('trusted.pem', 'x509', '-in', authority.caFile, '-trustout'), 'utf8')

test('a file of PEM gives all of its certificates, and only them', t => {
  t.deepEqual(readCertificates(file('two.pem', `# Corporate\n${plain}\r\nnonsense\n${plain}`)), { pem: plain + plain })
})

test('X509 CERTIFICATE, DER and UTF-16 are read like a plain PEM', t => {
  t.deepEqual(readCertificates(file('x509.pem', plain.replaceAll('CERTIFICATE', 'X509 CERTIFICATE'))), { pem: plain })
  t.is(readCertificates(openssl('ca.cer', 'x509', '-in', authority.caFile, '-outform', 'DER')).pem, plain)
  t.is(readCertificates(file('utf16.pem', Buffer.from(`\uFEFF${plain}`, 'utf16le'))).pem, plain)
})

test('other forms are refused by name, and the command that is given converts them', t => {
  const key = join(authority.caFile, '..', 'ca.key')
  const p7 = ['crl2pkcs7', '-nocrl', '-certfile', authority.caFile]
  const p12 = ['pkcs12', '-export', '-in', authority.caFile, '-inkey', key, '-passout', 'pass:']
  const forms = [
    [file('trust.pem', trusted()), 'holds a TRUSTED CERTIFICATE'],
    [openssl('ca.p7b', ...p7), 'holds a PKCS7'],
    [file('cms.pem', readFileSync(at('ca.p7b'), 'utf8').replaceAll('PKCS7', 'CMS')), 'holds a CMS'],
    [openssl('der.p7b', ...p7, '-outform', 'DER'), 'is PKCS#7 in DER'],
    [openssl('ca.pfx', ...p12), 'is PKCS#12'],
  ] as const
  for (const [path, name] of forms) {
    const message = t.throws(() => readCertificates(path), { code: 'configuration' })?.message ?? ''
    t.true(message.startsWith(`${path} ${name}; convert it: openssl `), message)
    const words = message.slice(message.indexOf(': openssl ') + ': openssl '.length).split(' ')
    t.not(words.at(-1), path, 'the file itself is not written over')
    if (name === 'is PKCS#12' || name === 'holds a CMS') continue
    execFileSync('openssl', words, { stdio: 'pipe' })
    t.is(readCertificates(words.at(-1) ?? '').pem, plain, message)
  }
})

test('a file of several kinds loses no certificate in silence', t => {
  t.throws(() => readCertificates(file('mixed.pem', plain + trusted())), { message: /TRUSTED CERTIFICATE/ })
  const torn = `${plain}${plain.slice(0, 120)}`
  t.throws(() => readCertificates(file('torn.pem', torn)), { message: /is damaged: a certificate in it has no end/ })
  const path = file('key.pem', KEY + plain)
  t.deepEqual(readCertificates(path), { pem: plain, warning: `${path}: not used: PRIVATE KEY` })
})

test('a file without a certificate, and a damaged one, are refused', t => {
  const damaged = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
  for (const [name, content, says] of [
    ['empty.pem', '', /holds no certificate in PEM or DER/],
    ['damaged.pem', damaged, /certificate 1 of .* is damaged/],
    ['second.pem', plain + damaged, /certificate 2 of .* is damaged/],
    ['only-key.pem', KEY, /only-key\.pem holds no certificate, but a PRIVATE KEY$/],
    ['damaged.cer', Buffer.of(0x30, 0x82, 1, 2), /is DER, and no certificate in it can be read/],
  ] as const) {
    t.throws(() => readCertificates(file(name, content)), { code: 'configuration', message: says })
  }
  t.throws(() => readCertificates(at('absent')), { message: `${at('absent')} does not exist` })
})
