// Who wrote a bundle: Ed25519 keys, their spelling, signatures and their check.

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { Failure } from '../../protocol/errors.ts'
import { Secret } from '../../protocol/secret.ts'

/**
 * The signing key of a machine. `publicKey` is how it is named everywhere (header, `inspect`, `[snapshot] trusted`):
 * `ghconnect-signer:` and the 32 bytes of the Ed25519 public key (RFC 8032) in base64url without padding, 43 characters.
 */
export type Signer = {
  readonly publicKey: string
  /** PKCS#8, for the store. */
  readonly privatePem: Secret
  /** The 64 bytes of RFC 8032. */
  sign(bytes: Uint8Array): Uint8Array
}

export const createSigner = (): Signer => toSigner(generateKeyPairSync('ed25519').privateKey)

/** Reads a `privatePem`. Throws `store-corrupt`, since the store is where it comes from. */
export const readSigner = (privatePem: Secret): Signer => {
  const key = readKey(privatePem)
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new Failure('store-corrupt', `the signing key is of type ${key.asymmetricKeyType}, not ed25519`)
  }
  return toSigner(key)
}

/** False as well where `publicKey` is none: it never throws. */
export const verifySignature = (publicKey: string, bytes: Uint8Array, signature: Uint8Array): boolean => {
  const key = findPublicKey(publicKey)
  return key !== undefined && verify(null, bytes, key, signature)
}

export const isSignerName = (text: string): boolean => findPublicKey(text) !== undefined

/** For `[snapshot] trusted`. Throws `configuration`. */
export const assertSignerName = (text: string): void => {
  if (!isSignerName(text)) {
    throw new Failure(
      'configuration',
      `${JSON.stringify(text.slice(0, 80))} is no signer: "${PREFIX}" and 43 characters, as \`ghconnect snapshot inspect\` prints it`,
    )
  }
}

const PREFIX = 'ghconnect-signer:'
const NAME = /^ghconnect-signer:([A-Za-z0-9_-]{43})$/

const toSigner = (privateKey: KeyObject): Signer => ({
  publicKey: PREFIX + (createPublicKey(privateKey).export({ format: 'jwk' }).x ?? ''),
  privatePem: new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  sign: bytes => new Uint8Array(sign(null, bytes, privateKey)),
})

const readKey = (pem: Secret): KeyObject => {
  try {
    return createPrivateKey(pem.reveal())
  } catch (error) {
    throw new Failure('store-corrupt', 'the signing key is no private key in PEM', { cause: error })
  }
}

const findPublicKey = (name: string): KeyObject | undefined => {
  const x = NAME.exec(name)?.[1]
  // One key has one name: the two spare bits of the last character are zero.
  if (x === undefined || Buffer.from(x, 'base64url').toString('base64url') !== x) return undefined
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  } catch {
    return undefined
  }
}
