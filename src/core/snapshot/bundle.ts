// The bundle: one signed tar that is written, read back, described without a key and opened, all in memory. The header is canonical JSON, so
// that its signed bytes have one spelling.

import { z } from 'zod'
import { canonicalJson } from '../../protocol/canonical-json.ts'
import { type ConnectionKind, TROUBLES } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import type { Secret } from '../../protocol/secret.ts'
import { generationSchema, storedTime } from '../store/records.ts'
import { corrupt, digestOf, pack, unpack } from './archive.ts'
import {
  type BundleContent,
  contentToPayload,
  MAX_RECIPIENTS,
  parseJson,
  parseShape,
  payloadToContent,
} from './content.ts'
import { isSignerName, type Signer, verifySignature } from './signing.ts'

const FORMAT = 1
const MAX_HEADER_BYTES = 64 * 1024

/** The payload's name tells whether it is encrypted. */
const SEALED = 'payload.age'
const CLEAR = 'payload.tar'

const STATES = [
  'disconnected',
  'awaiting-app',
  'key-lost',
  'awaiting-installation',
  'connected',
  ...TROUBLES,
  'quarantined',
  'disconnecting',
] as const satisfies readonly ConnectionKind[]

/** Whatever is printed of an unknown signer's bundle must not steer a terminal. */
const printable = z.lazy(() => z.string().regex(/^\P{C}{1,255}$/u))

const headerSchema = z.lazy(() =>
  z.strictObject({
    account: z.exactOptional(
      z.strictObject({ login: printable, type: z.enum(['organization', 'user', 'enterprise']) }),
    ),
    app_id: z.exactOptional(z.int().positive()),
    /** ISO 8601 in UTC, milliseconds included. */
    created: z.iso.datetime({ precision: 3 }),
    format: z.literal(FORMAT),
    generation: generationSchema,
    hostname: printable,
    payload: z.strictObject({
      name: z.enum([SEALED, CLEAR]),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
      size: z.int().nonnegative(),
    }),
    /** age recipients that open the payload; none where it is in clear. */
    recipients: z.array(z.string().regex(/^age1[0-9a-z]{58}$/)).max(MAX_RECIPIENTS),
    /** The public key that made `signature`. */
    signer: z.string().refine(isSignerName),
    state: z.enum(STATES),
  }),
)

/** As it stands in `header.json`. */
export type BundleHeader = Readonly<z.infer<typeof headerSchema>>

const isSealed = (header: BundleHeader): boolean => header.payload.name === SEALED

export const encodeHeader = (header: BundleHeader): Uint8Array => Buffer.from(`${canonicalJson(header)}\n`)

/** Throws `bundle-newer` for any format above ours, whatever else it holds, and `bundle-corrupt`. */
export const decodeHeader = (bytes: Uint8Array): BundleHeader => {
  const value = parseJson(bytes, 'header.json')
  const format = z.object({ format: z.int() }).safeParse(value).data?.format
  if (format !== undefined && format > FORMAT) {
    throw new Failure('bundle-newer', `the bundle has format ${format}, and this program knows format ${FORMAT}`)
  }
  const header = parseShape(headerSchema, value, 'header.json')
  if (!Buffer.from(bytes).equals(encodeHeader(header))) {
    throw corrupt('header.json is not spelled canonically')
  }
  if (isSealed(header) !== header.recipients.length > 0) {
    throw corrupt(`header.json names ${header.recipients.length} recipients for ${header.payload.name}`)
  }
  return header
}

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
 * The same content and options give the same bytes, but for age's randomness. What is returned was read back: nothing of it is encrypted to
 * a recipient of our own, so the payload is read before it is encrypted. Throws `configuration` for a recipient that is none, `internal`
 * for content that would not restore, such as a live connection without a readable key.
 */
export const writeBundle = async (content: BundleContent, options: BundleOptions): Promise<Uint8Array> => {
  const { recipients, signer, createdMs, hostname } = options
  const subject = subjectOf(content)
  const plain = await proving(async () => {
    const sample = await contentToPayload({ ...content, tokens: sampleOf(content.tokens) })
    if (!(await contentToPayload(readPayload(sample, subject))).equals(sample)) throw corrupt(OTHERWISE)
    return contentToPayload(content)
  })
  const sealed = recipients.length > 0
  const payload = {
    name: sealed ? SEALED : CLEAR,
    bytes: sealed ? await (await age()).encryptTo(recipients, plain) : plain,
  } as const
  const header = encodeHeader({
    ...subject,
    created: new Date(storedTime(createdMs)).toISOString(),
    format: FORMAT,
    hostname,
    payload: { name: payload.name, sha256: digestOf(payload.bytes), size: payload.bytes.length },
    recipients: [...recipients],
    signer: signer.publicKey,
  })
  const bundle = pack([
    { name: 'header.json', bytes: header },
    { name: 'signature', bytes: signer.sign(header) },
    payload,
  ])
  await proving(async () => {
    if (Buffer.compare(readBundle(bundle).payload, payload.bytes) !== 0) throw corrupt(OTHERWISE)
  })
  return bundle
}

/** Needs no key: signature and digest of the payload are verified. Whether `signer` is to be trusted is for the caller. Throws `bundle-newer`, `bundle-corrupt`. */
export const readHeader = (bundle: Uint8Array): BundleHeader => readBundle(bundle).header

/** Throws as `readHeader`, and `bundle-sealed` (no identity given for an encrypted one), `bundle-wrong-identity`. */
export const openBundle = async (bundle: Uint8Array, identities: readonly Secret[] = []): Promise<BundleContent> => {
  const { header, payload } = readBundle(bundle)
  if (!isSealed(header)) return readPayload(payload, header)
  if (identities.length === 0) {
    throw new Failure('bundle-sealed', `the bundle is encrypted to ${header.recipients.join(', ')}`)
  }
  return readPayload(await (await age()).decryptWith(identities, payload), header)
}

const OTHERWISE = 'what was read back is not what was written'

/** What is read back as tokens: of thousands, which are alike, so many. */
const TOKENS_PROVEN = 50

const sampleOf = (tokens: BundleContent['tokens']): BundleContent['tokens'] => {
  const apart = Math.ceil(tokens.length / TOKENS_PROVEN)
  return tokens.filter((_, at) => at % apart === 0)
}

const proving = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    const why = error instanceof Error ? error.message : 'unknown'
    throw new Failure('internal', `the bundle would not restore: ${why}`, { cause: error })
  }
}

/** Format first: of a newer one nothing more is known. */
const readBundle = (bundle: Uint8Array): { header: BundleHeader; payload: Uint8Array } => {
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
  if (payload.bytes.length !== header.payload.size || digestOf(payload.bytes) !== header.payload.sha256) {
    throw corrupt(`${header.payload.name} is not as header.json describes it`)
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
