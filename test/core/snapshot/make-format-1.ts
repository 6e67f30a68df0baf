// Made test/core/snapshot/format-1/ once, when format 1 was new. It refuses to run again: those files are read by every later version.

import { generateKeyPairSync } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { writeBundle } from '../../../src/core/snapshot/bundle.ts'
import { createRecoveryKey } from '../../../src/core/snapshot/encryption.ts'
import { createSigner } from '../../../src/core/snapshot/signing.ts'

const put = (name: string, content: string | Uint8Array): void =>
  writeFileSync(new URL(`format-1/${name}`, import.meta.url), content, { flag: 'wx' })

if (existsSync(new URL('format-1/encrypted.tar', import.meta.url))) {
  throw new Error('format 1 is made; a change of it needs a format 2')
}
mkdirSync(new URL('format-1/', import.meta.url), { recursive: true })
if (!existsSync(new URL('format-1/test-key.pem', import.meta.url))) {
  put(
    'test-key.pem',
    generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
  )
}

// Needs the key above.
const { DISCONNECTED, LIVE, optionsFor, shown } = await import('./samples.ts')
const recovery = await createRecoveryKey()
const signer = createSigner()
put(
  'identity.txt',
  `# TEST KEY: opens encrypted.tar beside it and nothing else. Never encrypt anything to it.\n# public key: ${recovery.recipient}\n${recovery.identity.reveal()}\n`,
)
put('encrypted.tar', await writeBundle(LIVE, optionsFor([recovery.recipient], { signer })))
put('clear.tar', await writeBundle(LIVE, optionsFor([], { signer })))
put('disconnected.tar', await writeBundle(DISCONNECTED, optionsFor([], { signer })))
put(
  'expected.json',
  `${JSON.stringify(
    { recipient: recovery.recipient, signer: signer.publicKey, live: shown(LIVE), disconnected: shown(DISCONNECTED) },
    undefined,
    2,
  )}\n`,
)
