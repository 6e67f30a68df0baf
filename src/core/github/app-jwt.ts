// The App's private keys and the JSON web tokens signed with them, by GitHub's clock.

import type { KeyObject } from 'node:crypto'
import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { Secret } from '../../protocol/secret.ts'
import type { GitHubClock } from './clock.ts'
import { findPrivatePem, invalid, notRsa } from './key-text.ts'

export type AppKey = {
  /** As GitHub's settings page shows it: `SHA256:` and base64 of the DER public key's digest. */
  readonly fingerprint: string
  readonly privateKey: KeyObject
  /** PKCS#8, for the store and the bundle. */
  readonly pem: Secret
}

export type AppJwts = {
  /** A JWT with at least a minute of life by GitHub's clock; `expiresAt` as ISO 8601. */
  issue(issuer: string, key: AppKey): { jwt: string; expiresAt: string }
}

/** GitHub takes no `iat` of the future and no `exp` over 10 minutes ahead; a minute is left on either side. */
const BACKDATE_S = 60
const LIFE_S = 540
const REUSE_S = 60
/** An App has few keys; more entries are leftovers of rotations. */
const CACHED = 16

export const createAppJwts = (githubClock: GitHubClock): AppJwts => {
  const cache = new Map<string, { jwt: string; expiresAtS: number; offsetMs: number }>()
  return {
    issue(issuer, key) {
      const nowS = Math.floor(githubClock.now() / 1000)
      const offsetMs = githubClock.offsetMs()
      const name = JSON.stringify([issuer, key.fingerprint])
      let entry = cache.get(name)
      // What was signed under another offset is what GitHub may just have refused for its times.
      if (!entry || entry.offsetMs !== offsetMs || !isYoung(entry.expiresAtS - nowS)) {
        if (cache.size >= CACHED) cache.clear()
        entry = { jwt: signJwt(issuer, key, nowS), expiresAtS: nowS + LIFE_S, offsetMs }
        cache.set(name, entry)
      }
      return { jwt: entry.jwt, expiresAt: new Date(entry.expiresAtS * 1000).toISOString() }
    },
  }
}

/** Reads the PEM in `text` (PKCS#1 or PKCS#8), however it arrived. Throws `invalid-key`, also for what is no RSA key of 2048 bits or more. */
export const readPrivateKey = (text: string): AppKey => {
  const privateKey = parseKey(findPrivatePem(text))
  if (privateKey.asymmetricKeyType !== 'rsa')
    throw invalid(notRsa((privateKey.asymmetricKeyType ?? 'unknown').toUpperCase()))
  const bits = privateKey.asymmetricKeyDetails?.modulusLength ?? 0
  if (bits < 2048) throw invalid(`the RSA key has ${bits} bits, GitHub's have 2048`)
  const publicKey = proveKey(privateKey)
  const der = publicKey.export({ type: 'spki', format: 'der' })
  return {
    fingerprint: `SHA256:${createHash('sha256').update(der).digest('base64')}`,
    privateKey,
    pem: new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  }
}

const isYoung = (leftS: number): boolean => leftS > REUSE_S && leftS <= LIFE_S

const signJwt = (issuer: string, key: AppKey, nowS: number): string => {
  const claims = { iat: nowS - BACKDATE_S, exp: nowS + LIFE_S, iss: issuer }
  const head = `${encode({ alg: 'RS256', typ: 'JWT' })}.${encode(claims)}`
  return `${head}.${sign('sha256', Buffer.from(head), key.privateKey).toString('base64url')}`
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

const parseKey = (pem: string): KeyObject => {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    throw invalid('the PEM does not hold a readable private key', error)
  }
}

/** A number of the key that was damaged shows only in use. Returns the public half. */
const proveKey = (privateKey: KeyObject): KeyObject => {
  const sample = Buffer.from('ghconnectd')
  try {
    const publicKey = createPublicKey(privateKey)
    if (verify('sha256', sample, publicKey, sign('sha256', sample, privateKey))) return publicKey
  } catch (error) {
    throw invalid('the private key is damaged: it does not sign', error)
  }
  throw invalid('the private key is damaged: its signatures do not hold')
}
