// The App's private keys: the text in which one arrives, the JSON web tokens signed with it by GitHub's clock, and what GitHub said of it.

import type { KeyObject } from 'node:crypto'
import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { Failure } from '../../protocol/errors.ts'
import { Secret } from '../../protocol/secret.ts'
import type { GitHubClock } from './clock.ts'

export type AppKey = {
  /** As GitHub's settings page shows it: `SHA256:` and base64 of the DER public key's digest. */
  readonly fingerprint: string
  readonly privateKey: KeyObject
  /** PKCS#8, for the store and the bundle. */
  readonly pem: Secret
}

/** GitHub takes no `iat` of the future and no `exp` over 10 minutes ahead; a minute is left on either side. */
const BACKDATE_S = 60
const LIFE_S = 540
const REUSE_S = 60
/** An App has few keys; more entries are leftovers of rotations. */
const CACHED = 16

export const createAppJwts = (githubClock: GitHubClock) => {
  const cache = new Map<string, { jwt: string; expiresAtS: number; offsetMs: number }>()
  return {
    /** A JWT with at least a minute of life by GitHub's clock; `expiresAt` as ISO 8601. */
    issue(issuer: string, key: AppKey): { jwt: string; expiresAt: string } {
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

/** What GitHub last said of a key. */
export type KeyState = 'works' | 'rejected' | 'unknown'

/** GitHub answers many wrong signatures by refusing the right ones, too: a rejected key is not tried with each call. */
const REST_MS = 60_000
/** An App has at most 25 keys at a time; more entries are leftovers of rotations. */
const MOST_VERDICTS = 64

/** What GitHub last said of each private key, so that the one that works is tried first. */
export const createKeyVerdicts = (monotonic: () => number) => {
  const verdicts = new Map<string, { state: 'works' | 'rejected'; atMs: number }>()
  const rests = ({ fingerprint }: AppKey): boolean => {
    const verdict = verdicts.get(fingerprint)
    return verdict?.state === 'rejected' && monotonic() - verdict.atMs < REST_MS
  }
  return {
    /** The keys in the order in which to try them: as given, but a key that was rejected a moment ago comes last. */
    inOrder: (keys: readonly AppKey[]): readonly AppKey[] =>
      keys.some(rests) ? [...keys.filter(key => !rests(key)), ...keys.filter(rests)] : keys,
    note({ fingerprint }: AppKey, state: 'works' | 'rejected'): void {
      if (verdicts.size >= MOST_VERDICTS && !verdicts.has(fingerprint)) verdicts.clear()
      verdicts.set(fingerprint, { state, atMs: monotonic() })
    },
    find: (fingerprint: string): KeyState => verdicts.get(fingerprint)?.state ?? 'unknown',
  }
}

/** The longest PEM of an RSA key that anyone makes (16384 bits) is 13 kB. */
const LONGEST_TEXT = 64 * 1024
const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([^]*?)-----END \1-----/g
/** A PEM in base64, in base64 once more, and percent-encoded. */
const MOST_LAYERS = 4

/**
 * The PEM of a private key, however other tools wrapped or damaged it. Throws `invalid-key`, which names what the text is and the
 * command that converts it, and never repeats any of it.
 */
const findPrivatePem = (text: string): string => {
  if (text.length > LONGEST_TEXT) throw invalid('the text is too long for a PEM file')
  const layers = unwrap(text)
  const blocks = layers.flatMap(layer => [...layer.matchAll(BLOCK)])
  const [, label = '', body = ''] = blocks.find(([, name = '']) => name.endsWith('PRIVATE KEY')) ?? []
  // What is DER was read as UTF-8, which it is not.
  if (label === '' && text.startsWith('0\uFFFD'))
    throw invalid('this is a key in binary (DER); convert it: openssl rsa -inform DER -in KEY -out NEW')
  if (label === '') throw invalid(nameOf(layers, blocks[0]?.[1]))
  if (label.startsWith('ENCRYPTED') || body.includes('Proc-Type:'))
    throw invalid('the private key is protected by a passphrase; remove it first: openssl rsa -in KEY -out NEW')
  if (label === 'OPENSSH PRIVATE KEY')
    throw invalid('this is a key in the format of OpenSSH; convert a copy of it: ssh-keygen -p -m PEM -f COPY')
  if (label === 'EC PRIVATE KEY' || label === 'DSA PRIVATE KEY') throw invalid(notRsa(label.split(' ')[0] ?? ''))
  // A quotation mark, a line of mail or a string in source code adds nothing that could be part of a key.
  const base64 = body.replaceAll(/[\s>|"',]/g, '')
  return `-----BEGIN ${label}-----\n${base64.replaceAll(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`
}

const notRsa = (kind: string): string =>
  `this is an ${kind} key, and keys of an App are RSA: generate one on the App's settings page ("Generate a private key")`

const invalid = (detail: string, cause?: unknown): Failure =>
  new Failure('invalid-key', detail, cause === undefined ? {} : { cause })

/** The text as it is, and what it holds where it is wrapped as a whole. */
const unwrap = (text: string): string[] => {
  const layers = [plain(text)]
  while (layers.length < MOST_LAYERS) {
    const layer = layers.at(-1) ?? ''
    if (layer.includes('-----BEGIN ')) break
    const inner = fromPercent(layer) ?? fromBase64(layer)
    if (inner === undefined) break
    layers.push(plain(inner))
  }
  return layers
}

/**
 * UTF-16 that was read as UTF-8 has a NUL at each character; blanks without a width and marks of the byte order are none of a PEM's.
 * Line breaks may be escaped, more than once, or continue a line of a shell; an editor may have joined hyphens to dashes.
 */
const plain = (text: string): string =>
  text
    .replaceAll(/[\0\uFEFF\uFFFD\u00AD\u200B-\u200F\u2060]/g, '')
    .replaceAll(/\\+(?:r|n)|`n/g, '\n')
    .replaceAll(/[\\^`](?=\r?\n|$)/g, '')
    .replaceAll(
      /[-\u2010-\u2015\u2212]{2,}\s*(BEGIN|END) ([A-Z0-9 ]+?)\s*[-\u2010-\u2015\u2212]{2,}/g,
      '-----$1 $2-----',
    )

const fromPercent = (text: string): string | undefined => {
  if (!/BEGIN(?:%20|\+)/i.test(text)) return undefined
  // Of a form: blanks are plus signs, and plus signs are encoded.
  const form = /BEGIN\+/.test(text) ? text.replaceAll('+', ' ') : text
  return form.replaceAll(/%([0-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

const fromBase64 = (text: string): string | undefined => {
  const value = text.replaceAll(/[\s"']/g, '')
  if (value.length < 100 || !/^[A-Za-z0-9+/_-]+=*$/.test(value)) return undefined
  const bytes = Buffer.from(value, 'base64')
  if (bytes.includes('BEGIN') || bytes.includes('BEGIN', 0, 'utf16le')) return bytes.toString('utf8')
  const again = bytes.toString('latin1')
  if (/^[A-Za-z0-9+/_\s-]+=*\s*$/.test(again)) return again
  // The body alone, PKCS#8 or PKCS#1: a sequence that begins with version 0.
  if (bytes[0] !== 0x30 || bytes[1] !== 0x82 || bytes[4] !== 0x02 || bytes[6] !== 0x00) return undefined
  const label = bytes[7] === 0x30 ? 'PRIVATE KEY' : 'RSA PRIVATE KEY'
  return `-----BEGIN ${label}-----\n${bytes.toString('base64')}\n-----END ${label}-----\n`
}

const FROM_PAGE = "download the private key from the App's settings page"

/** What is no private key, by its looks. */
const nameOf = (layers: readonly string[], label: string | undefined): string => {
  const text = layers.at(-1)?.trim() ?? ''
  if (label?.includes('CERTIFICATE')) return `this is a certificate (${label}), and holds no private key: ${FROM_PAGE}`
  if (label?.endsWith('PUBLIC KEY') || /^ssh-\w+ |^ecdsa-/.test(text))
    return `this is a public key${label === undefined ? '' : ` (${label})`}, which GitHub has already: ${FROM_PAGE}`
  if (label !== undefined) return `the PEM holds a ${label}, not a private key`
  if (text === '') return 'the text is empty'
  if (text.startsWith('PuTTY-User-Key-File'))
    return 'this is a key in the format of PuTTY; convert it: puttygen KEY -O private-openssh -o NEW'
  if (/"kty"\s*:/.test(text)) return `this is a JSON Web Key, not a PEM: ${FROM_PAGE}`
  if (/^(?:gh[a-z]_|github_pat_|eyJ)/.test(text)) return `this is a token, not a private key: ${FROM_PAGE}`
  if (/^[0-9a-f]{40}$/.test(text)) return `this is a client secret, not a private key: ${FROM_PAGE}`
  if (text.includes('-----BEGIN')) return 'there is no PEM in the text: its END line is missing, so it was cut off'
  if (/^[\w./~-]+\.(?:pem|key)$/.test(text)) return 'this is the name of a file, not what it holds'
  return 'there is no PEM in the text'
}
