// The bundle: one signed tar that is written, proven, described and opened, all in memory. Owns tar.

import { createHash } from 'node:crypto'
import { Header } from 'tar/header'
import { Failure } from '../domain/errors.ts'
import type { Secret } from '../domain/secret.ts'
import { type BundleContent, contentToFiles, type Entry, filesToContent, findPayloadLimit } from './content.ts'
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
  const files = contentToFiles(content)
  const plain = pack(files)
  const sealed = recipients.length > 0
  const payload = sealed ? await (await age()).encryptTo(recipients, plain) : plain
  const header: BundleHeader = {
    ...('account' in connection ? { account: connection.account } : {}),
    ...('app' in connection ? { app_id: connection.app.id } : {}),
    created: new Date(createdMs).toISOString(),
    format: FORMAT,
    generation,
    hostname,
    payload: { name: sealed ? SEALED : CLEAR, sha256: sha256(payload), size: payload.length },
    recipients: [...recipients],
    signer: signer.publicKey,
    state: connection.kind,
  }
  const headerBytes = encodeHeader(header)
  const bundle = pack([
    { name: 'header.json', bytes: headerBytes },
    { name: 'signature', bytes: signer.sign(headerBytes) },
    { name: header.payload.name, bytes: payload },
  ])
  verifyWritten(bundle, { content, files, plain, payload })
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
 * The outer tar is read back with signature and digest, the inner one byte by byte. All that has to come back, keys and connection, is
 * parsed and written again; of the tokens, each a line by itself, `TOKENS_PROVEN` are. `encryptTo` has opened what it encrypted; no
 * recipient is ever added for our own sake.
 */
const verifyWritten = (
  bundle: Uint8Array,
  written: { content: BundleContent; files: readonly Entry[]; plain: Uint8Array; payload: Uint8Array },
): void => {
  const { content, files, plain } = written
  try {
    const { header, payload } = readSigned(bundle)
    // Its digest is that of these very bytes.
    if (Buffer.compare(payload, written.payload) !== 0) throw corrupt('what was read back is not what was written')
    const entries = [...unpack(plain, 'the payload', findPayloadLimit)]
    const isWhole =
      entries.length === files.length &&
      entries.every(({ name, bytes }, at) => name === files[at]?.name && Buffer.compare(bytes, files[at].bytes) === 0)
    if (!isWhole) throw corrupt('what was read back is not what was written')
    const step = Math.ceil(content.tokens.length / TOKENS_PROVEN)
    const sample = { ...content, tokens: content.tokens.filter((_, at) => at % step === 0) }
    const proven = pack(contentToFiles(sample))
    if (!pack(contentToFiles(readPayload(proven, header))).equals(proven)) {
      throw corrupt('what was read back is not what was written')
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : 'unknown'
    throw new Failure('internal', `the bundle would not restore: ${why}`, { cause: error })
  }
}

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

const readPayload = (plain: Uint8Array, header: BundleHeader): BundleContent => {
  const content = filesToContent([...unpack(plain, 'the payload', findPayloadLimit)])
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

const BLOCK = 512
/** GNU tar warns of files from 1970. */
const MTIME = new Date(Date.UTC(2000, 0, 1))

const padded = (size: number): number => Math.ceil(size / BLOCK) * BLOCK

const pack = (entries: readonly Entry[]): Buffer => {
  const blocks = entries.map(({ bytes }) => BLOCK + padded(bytes.length))
  const archive = Buffer.alloc(blocks.reduce((sum, size) => sum + size, 2 * BLOCK))
  let offset = 0
  for (const { name, bytes } of entries) {
    const header = new Header({
      path: name,
      type: 'File',
      mode: 0o600,
      uid: 0,
      gid: 0,
      size: bytes.length,
      mtime: MTIME,
    })
    if (header.encode(archive, offset)) throw new Failure('internal', `${name} does not fit a plain tar header`)
    archive.set(bytes, offset + BLOCK)
    offset += BLOCK + padded(bytes.length)
  }
  return archive
}

/**
 * Plain files of known names and sizes, each at most once; no more than zeros after the end. node-tar decodes the header blocks alone:
 * its parser would decompress, follow extension headers and skip what it does not like.
 */
function* unpack(
  bytes: Uint8Array,
  what: string,
  findLimit: (name: string) => number | undefined,
): Generator<Entry, undefined> {
  const archive = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const seen = new Set<string>()
  let offset = 0
  for (;;) {
    if (offset + BLOCK > archive.length) throw corrupt(`${what} is cut short`)
    const block = archive.subarray(offset, offset + BLOCK)
    if (isZero(block)) break
    const { name, size } = readBlock(block, what)
    const limit = findLimit(name)
    if (limit === undefined) throw corrupt(`${what} holds ${quote(name)}, which has no place in it`)
    if (seen.has(name)) throw corrupt(`${what} holds ${name} twice`)
    if (size > limit) throw corrupt(`${name} has ${size} bytes, ${limit} are the most`)
    seen.add(name)
    const start = offset + BLOCK
    offset = start + padded(size)
    if (offset > archive.length) throw corrupt(`${what} is cut short within ${name}`)
    if (!isZero(archive.subarray(start + size, offset))) throw corrupt(`${what} hides bytes after ${name}`)
    yield { name, bytes: archive.subarray(start, start + size) }
  }
  const rest = archive.subarray(offset)
  if (rest.length < 2 * BLOCK || rest.length % BLOCK !== 0) throw corrupt(`the end of ${what} is cut short`)
  if (!isZero(rest)) throw corrupt(`${what} goes on after its end`)
}

const readBlock = (block: Buffer, what: string): { name: string; size: number } => {
  const header = decodeBlock(block, what)
  const name = header.path ?? ''
  if (header.type !== 'File') throw corrupt(`${quote(name)} in ${what} is no plain file but ${header.type}`)
  if (header.linkpath) throw corrupt(`${quote(name)} in ${what} links elsewhere`)
  // Octal digits only: other spellings of a size are read differently by different programs.
  if (!/^[0-7]{1,11}[ \0]*$/.test(block.toString('latin1', 124, 136)) || header.size === undefined) {
    throw corrupt(`the size of ${quote(name)} in ${what} is spelled wrongly`)
  }
  return { name, size: header.size }
}

const decodeBlock = (block: Buffer, what: string): Header => {
  const detail = `${what} is no plain tar, or damaged`
  let header: Header | undefined
  try {
    header = new Header(block)
  } catch (error) {
    throw corrupt(detail, error)
  }
  if (!header.cksumValid) throw corrupt(detail)
  return header
}

const isZero = (bytes: Uint8Array): boolean => bytes.every(byte => byte === 0)

const quote = (name: string): string => JSON.stringify(name.slice(0, 100).replaceAll(/[^\x20-\x7e]/g, '?'))

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const corrupt = (detail: string, cause?: unknown): Failure => new Failure('bundle-corrupt', detail, { cause })
