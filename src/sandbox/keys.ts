// The private keys of Apps: made fresh, one pair always ready, only the public half kept.

import { createHash, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'

export type NewKey = { publicKey: KeyObject /** PKCS#1, as GitHub hands it out. */; pem: string; fingerprint: string }
export type KeyForge = { take(): Promise<NewKey> }

/** Keeps one pair made ahead, because making one takes longer than a whole conversion should. */
export const createKeyForge = (): KeyForge => {
  let next = makeKey()
  return {
    take: () => {
      const taken = next
      next = taken.then(makeKey, makeKey)
      return taken
    },
  }
}

/** The way GitHub's settings page names a key: SHA-256 over the public key's DER, in base64. */
export const fingerprintOf = (key: KeyObject): string => {
  const der = (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'der' })
  return `SHA256:${createHash('sha256').update(der).digest('base64')}`
}

const generate = promisify(generateKeyPair)

const makeKey = async (): Promise<NewKey> => {
  const { publicKey, privateKey } = await generate('rsa', { modulusLength: 2048 })
  return {
    publicKey,
    pem: privateKey.export({ type: 'pkcs1', format: 'pem' }),
    fingerprint: fingerprintOf(publicKey),
  }
}
