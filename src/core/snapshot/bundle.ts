// The bundle: one signed tar that is written, proven, described and opened, all in memory.

import { Failure } from '../../protocol/errors.ts'
import { storedTime } from '../store/records.ts'
import type { Secret } from '../../protocol/secret.ts'
import { digestOf, memoryBefore, pack, unpack } from './archive.ts'
import { type BundleContent, contentToPayload, payloadToContent } from './content.ts'
import {
  type BundleHeader,
  CLEAR,
  decodeHeader,
  encodeHeader,
  FORMAT,
  isSealed,
  MAX_HEADER_BYTES,
  SEALED,
} from './header.ts'
import { type Signer, verifySignature } from './signing.ts'

export type BundleOptions = {
  /** None: the payload stands in clear. */
  readonly recipients: readonly string[]
  readonly signer: Signer
  readonly createdMs: number
  readonly hostname: string
}

/** Loaded with the first bundle that is encrypted: its curves take a tenth of a start, and most starts see none. */
const age = () => import('./encryption.ts')

export const MAX_BUNDLE_BYTES = 16 * 1024 * 1024

/**
 * The same content and options give the same bytes, but for age's randomness. What is returned was read back. Throws `configuration` for a
 * recipient that is none, `internal` for content that would not restore, such as a live connection without a readable key.
 */
export const writeBundle = async (content: BundleContent, options: BundleOptions): Promise<Uint8Array> => {
  const { recipients, signer, createdMs, hostname } = options
  const subject = subjectOf(content)
  assertReadable(content, subject)
  const plain = proving(() => contentToPayload(content))
  // In the place of the plain one: there is no second of this size.
  const { file, sha256 } =
    recipients.length > 0
      ? await (await age()).sealTo(recipients, plain, memoryBefore(plain))
      : { file: plain, sha256: digestOf(plain) }
  const payload = { name: recipients.length > 0 ? SEALED : CLEAR, bytes: file, isRoomy: true } as const
  const header: BundleHeader = {
    ...subject,
    created: new Date(storedTime(createdMs)).toISOString(),
    format: FORMAT,
    hostname,
    payload: { name: payload.name, sha256, size: file.length },
    recipients: [...recipients],
    signer: signer.publicKey,
  }
  const headerBytes = encodeHeader(header)
  const bundle = pack([
    { name: 'header.json', bytes: headerBytes },
    { name: 'signature', bytes: signer.sign(headerBytes) },
    payload,
  ])
  assertWritten(bundle, file)
  return bundle
}

/** Needs no key: signature and digest of the payload are verified. Whether `signer` is to be trusted is for the caller. Throws `bundle-newer`, `bundle-corrupt`. */
export const readHeader = (bundle: Uint8Array): BundleHeader => readOuter(bundle).header

/** Throws as `readHeader`, and `bundle-sealed` (no identity given for an encrypted one), `bundle-wrong-identity`. */
export const openBundle = async (bundle: Uint8Array, identities: readonly Secret[] = []): Promise<BundleContent> => {
  const { header, payload } = readOuter(bundle)
  if (!isSealed(header)) return readPayload(payload, header)
  if (identities.length === 0) {
    throw new Failure('bundle-sealed', `the bundle is encrypted to ${header.recipients.join(', ')}`)
  }
  return readPayload(await (await age()).decryptWith(identities, payload), header)
}

/**
 * All that has to come back, keys and connection, is written, parsed and written again; of the tokens, each a row by itself,
 * `TOKENS_PROVEN` are. No recipient is ever added for our own sake.
 */
const assertReadable = (content: BundleContent, subject: Subject): void =>
  proving(() => {
    const step = Math.ceil(content.tokens.length / TOKENS_PROVEN)
    const sample = { ...content, tokens: content.tokens.filter((_, at) => at % step === 0) }
    const written = contentToPayload(sample)
    if (!contentToPayload(readPayload(written, subject)).equals(written)) throw corrupt(OTHERWISE)
  })

/** The outer tar is read back with its signature; the digest in its header is that of these very bytes of a payload. */
const assertWritten = (bundle: Uint8Array, payload: Uint8Array): void =>
  proving(() => {
    const read = readSigned(bundle).payload
    const isInPlace =
      read.buffer === payload.buffer && read.byteOffset === payload.byteOffset && read.length === payload.length
    if (!isInPlace && Buffer.compare(read, payload) !== 0) throw corrupt(OTHERWISE)
  })

const OTHERWISE = 'what was read back is not what was written'

const proving = <T>(work: () => T): T => {
  try {
    return work()
  } catch (error) {
    throw doubtful(error instanceof Error ? error.message : 'unknown', error)
  }
}

const doubtful = (why: string, cause?: unknown): Failure =>
  new Failure('internal', `the bundle would not restore: ${why}`, { cause })

const TOKENS_PROVEN = 50

const readOuter = (bundle: Uint8Array): { header: BundleHeader; payload: Uint8Array } => {
  const { header, payload } = readSigned(bundle)
  if (payload.length !== header.payload.size || digestOf(payload) !== header.payload.sha256) {
    throw corrupt(`${header.payload.name} is not as header.json describes it`)
  }
  return { header, payload }
}

/** Format first: of a newer one nothing more is known. The payload's digest is not looked at. */
const readSigned = (bundle: Uint8Array): { header: BundleHeader; payload: Uint8Array } => {
  if (bundle.length === 0) throw corrupt('the bundle is empty')
  if (bundle.length > MAX_BUNDLE_BYTES) throw corrupt(`the bundle has more than ${MAX_BUNDLE_BYTES} bytes`)
  const bytes = Buffer.from(bundle.buffer, bundle.byteOffset, bundle.length)
  const start = bytes.indexOf('header.json\0')
  const isTar = bytes.toString('latin1', 257, 262) === 'ustar'
  if (start > 0 && !isTar) throw corrupt(describeNoise(bytes.subarray(0, start)))
  const entries = unpack(bundle, 'the bundle', findOuterLimit)
  const first = entries.next().value
  if (first?.name !== 'header.json') throw corrupt('the bundle does not begin with header.json')
  const header = decodeHeader(first.bytes)
  const [signature, payload, ...more] = [...entries]
  if (signature?.name !== 'signature' || payload?.name !== header.payload.name || more.length > 0) {
    throw corrupt(`after header.json the bundle does not hold signature and ${header.payload.name}, in this order`)
  }
  if (!verifySignature(header.signer, first.bytes, signature.bytes)) {
    throw corrupt(`the signature is not that of ${header.signer} over header.json`)
  }
  return { header, payload: payload.bytes }
}

/** A login shell that prints, on ssh. Long words are left out, as they may be a token or a part of a key. */
const describeNoise = (noise: Uint8Array): string => {
  const text = Buffer.from(noise.subarray(0, 65_536)).toString('latin1')
  const shown = text.replaceAll(/[A-Za-z0-9+/_=-]{24,}/g, '[...]').slice(0, 80)
  const escaped = JSON.stringify(shown).replaceAll(
    /[^\x20-\x7e]/g,
    byte => `\\u${byte.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return `${noise.length} bytes come before the bundle and begin ${escaped}; a login shell that prints is the usual cause`
}

/** What the header tells of the payload's content. */
type Subject = Pick<BundleHeader, 'account' | 'app_id' | 'generation' | 'state'>

const subjectOf = ({ connection, generation }: BundleContent): Subject => ({
  ...('account' in connection ? { account: connection.account } : {}),
  ...('app' in connection ? { app_id: connection.app.id } : {}),
  generation,
  state: connection.kind,
})

const readPayload = (plain: Uint8Array, header: Subject): BundleContent => {
  const content = payloadToContent(plain)
  const { account, app_id, generation, state } = subjectOf(content)
  if (
    header.state !== state ||
    header.generation !== generation ||
    header.app_id !== app_id ||
    header.account?.type !== account?.type ||
    header.account?.login !== account?.login
  ) {
    throw corrupt('header.json and the payload describe different connections')
  }
  return content
}

const findOuterLimit = (name: string): number | undefined => {
  if (name === 'header.json') return MAX_HEADER_BYTES
  if (name === 'signature') return 64
  return name === SEALED || name === CLEAR ? MAX_BUNDLE_BYTES : undefined
}

const corrupt = (detail: string, cause?: unknown): Failure => new Failure('bundle-corrupt', detail, { cause })
