// The bundle: one signed tar that is written, proven, described and opened, all in memory.

import { createHash } from 'node:crypto'
import { Failure } from '../domain/errors.ts'
import type { Secret } from '../domain/secret.ts'
import { digestOf, type Entry, pack, unpack } from './archive.ts'
import { assertInventory, type BundleContent, contentToFiles, filesToContent, findPayloadLimit } from './content.ts'
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
  const { connection, generation } = content
  const plain = pack(await contentToFiles(content))
  const [payload] = await Promise.all([seal(plain, recipients), assertDescribed(plain)])
  const header: BundleHeader = {
    ...('account' in connection ? { account: connection.account } : {}),
    ...('app' in connection ? { app_id: connection.app.id } : {}),
    created: new Date(createdMs).toISOString(),
    format: FORMAT,
    generation,
    hostname,
    payload: { name: payload.name, sha256: payload.sha256, size: payload.bytes.length },
    recipients: [...recipients],
    signer: signer.publicKey,
    state: connection.kind,
  }
  const headerBytes = encodeHeader(header)
  const bundle = pack([
    { name: 'header.json', bytes: headerBytes },
    { name: 'signature', bytes: signer.sign(headerBytes) },
    { name: payload.name, bytes: payload.bytes, isRoomy: true },
  ])
  await verifyWritten(bundle, { content, payload: payload.bytes })
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

/** The payload as it goes into the bundle. What was encrypted is opened again while its digest is reckoned. */
const seal = async (
  plain: Uint8Array,
  recipients: readonly string[],
): Promise<Entry & { readonly name: typeof SEALED | typeof CLEAR; readonly sha256: string }> => {
  if (recipients.length === 0) return { name: CLEAR, bytes: plain, sha256: await digestOf(plain) }
  const { file, opens } = await (await age()).sealTo(recipients, plain)
  const digest = digestOf(file)
  if (!opens(file)) throw doubtful('what was encrypted does not open to what was to be')
  return { name: SEALED, bytes: file, sha256: await digest }
}

/** Each file is as the inventory says. */
const assertDescribed = (plain: Uint8Array): Promise<void> =>
  proving(async () => {
    const [inventory, ...files] = unpack(plain, 'the payload', findPayloadLimit)
    await assertInventory(inventory, files)
  })

/**
 * The outer tar is read back with its signature. All that has to come back, keys and connection, is parsed and written again; of the
 * tokens, each a row by itself, `TOKENS_PROVEN` are. No recipient is ever added for our own sake.
 */
const verifyWritten = (
  bundle: Uint8Array,
  { content, payload }: { content: BundleContent; payload: Uint8Array },
): Promise<void> =>
  proving(async () => {
    const read = readSigned(bundle)
    // Its digest is that of these very bytes.
    if (Buffer.compare(read.payload, payload) !== 0) throw corrupt('what was read back is not what was written')
    const step = Math.ceil(content.tokens.length / TOKENS_PROVEN)
    const sample = { ...content, tokens: content.tokens.filter((_, at) => at % step === 0) }
    const proven = pack(await contentToFiles(sample))
    if (!pack(await contentToFiles(await readPayload(proven, read.header))).equals(proven)) {
      throw corrupt('what was read back is not what was written')
    }
  })

const proving = async (work: () => Promise<void>): Promise<void> => {
  try {
    await work()
  } catch (error) {
    throw doubtful(error instanceof Error ? error.message : 'unknown', error)
  }
}

const doubtful = (why: string, cause?: unknown): Failure =>
  new Failure('internal', `the bundle would not restore: ${why}`, { cause })

const TOKENS_PROVEN = 250

const readOuter = (bundle: Uint8Array): { header: BundleHeader; payload: Uint8Array } => {
  const { header, payload } = readSigned(bundle)
  if (payload.length !== header.payload.size || sha256(payload) !== header.payload.sha256) {
    throw corrupt(`${header.payload.name} is not as header.json describes it`)
  }
  return { header, payload }
}

/** Format first: of a newer one nothing more is known. The payload's digest is not looked at. */
const readSigned = (bundle: Uint8Array): { header: BundleHeader; payload: Uint8Array } => {
  if (bundle.length === 0) throw corrupt('the bundle is empty')
  if (bundle.length > MAX_BUNDLE_BYTES) throw corrupt(`the bundle has more than ${MAX_BUNDLE_BYTES} bytes`)
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

const readPayload = async (plain: Uint8Array, header: BundleHeader): Promise<BundleContent> => {
  const content = await filesToContent([...unpack(plain, 'the payload', findPayloadLimit)])
  const { connection, generation } = content
  const app = 'app' in connection ? connection.app.id : undefined
  const account = 'account' in connection ? connection.account : undefined
  if (
    header.state !== connection.kind ||
    header.generation !== generation ||
    header.app_id !== app ||
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

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const corrupt = (detail: string, cause?: unknown): Failure => new Failure('bundle-corrupt', detail, { cause })
