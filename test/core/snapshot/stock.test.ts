// A customer with tar, age, openssl and the recovery key needs no code of ours; ours reads what it wrote itself.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { openBundle, writeBundle } from '../../../src/core/snapshot/bundle.ts'
import { failureOf, LIVE, optionsFor, RECOVERY, SIGNER, TEST_PEM } from './samples.ts'

const makeFolder = (t: ExecutionContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-bundle-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Whatever it prints is an error: a warning would frighten someone in a disaster. */
const shell = (folder: string, script: string): void => {
  const said = execFileSync('sh', ['-ec', `exec 2>&1\n${script}`], { cwd: folder, encoding: 'utf8' })
  if (said !== '') throw new Error(said)
}

test('tar and age give the private key of an encrypted bundle', async t => {
  const folder = makeFolder(t)
  writeFileSync(join(folder, 'bundle'), await writeBundle(LIVE, optionsFor([RECOVERY.recipient])))
  writeFileSync(join(folder, 'identity.txt'), RECOVERY.identity.reveal())
  shell(folder, 'tar xf bundle && age -d -i identity.txt payload.age | tar x')
  t.is(readFileSync(join(folder, 'private-key-1.pem'), 'utf8'), TEST_PEM)
  t.is(statSync(join(folder, 'private-key-1.pem')).mode & 0o777, 0o600)
  shell(folder, 'openssl pkey -in private-key-1.pem -noout')
  t.true(readFileSync(join(folder, 'token.json'), 'utf8').includes('ghs_'))
})

test('tar alone gives the private key of a bundle in clear', async t => {
  const folder = makeFolder(t)
  writeFileSync(join(folder, 'bundle'), await writeBundle(LIVE, optionsFor([])))
  shell(folder, 'tar xf bundle && tar xf payload.tar')
  t.is(readFileSync(join(folder, 'private-key-2.pem'), 'utf8'), TEST_PEM)
})

test('openssl verifies the signature over header.json', async t => {
  const folder = makeFolder(t)
  writeFileSync(join(folder, 'bundle'), await writeBundle(LIVE, optionsFor([])))
  const raw = Buffer.from(SIGNER.publicKey.replace('ghconnect-signer:', ''), 'base64url')
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw])
  writeFileSync(join(folder, 'signer.der'), spki)
  const verify =
    'openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey signer.der -in header.json -sigfile signature'
  t.notThrows(() => shell(folder, `tar xf bundle && ${verify} >verdict`))
  t.throws(() => shell(folder, `printf x >>header.json && ${verify} >verdict`))
})

for (const format of ['gnu', 'ustar', 'v7']) {
  test(`what stock tar took apart and packed again as ${format} is refused: a bundle has one spelling`, async t => {
    const folder = makeFolder(t)
    writeFileSync(join(folder, 'bundle'), await writeBundle(LIVE, optionsFor([RECOVERY.recipient])))
    shell(folder, `tar xf bundle && tar c --format=${format} header.json signature payload.age >again`)
    const failure = await failureOf(() => openBundle(readFileSync(join(folder, 'again')), [RECOVERY.identity]))
    t.is(failure?.code, 'bundle-corrupt')
    t.regex(failure?.message ?? '', /not as ghconnectd writes it/)
  })
}
