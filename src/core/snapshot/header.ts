// The header of a bundle: what can be told of it without any key. Canonical JSON, so that its signed bytes have one spelling.

import { z } from 'zod'
import { canonicalJson } from '../../protocol/canonical-json.ts'
import { type ConnectionKind, TROUBLES } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import { generationSchema } from '../store/records.ts'
import { isSignerName } from './signing.ts'

export const FORMAT = 1
/** More would not fit the header of an age file that we are ready to read. */
export const MAX_RECIPIENTS = 20
export const MAX_HEADER_BYTES = 64 * 1024

/** The payload's name tells whether it is encrypted. */
export const SEALED = 'payload.age'
export const CLEAR = 'payload.tar'

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

const schema = z.lazy(() =>
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
export type BundleHeader = Readonly<z.infer<typeof schema>>

export const isSealed = (header: BundleHeader): boolean => header.payload.name === SEALED

export const encodeHeader = (header: BundleHeader): Uint8Array => Buffer.from(`${canonicalJson(header)}\n`)

/** Throws `bundle-newer` for any format above ours, whatever else it holds, and `bundle-corrupt`. */
export const decodeHeader = (bytes: Uint8Array): BundleHeader => {
  const value = parseJson(bytes, 'header.json')
  const format = z.object({ format: z.int() }).safeParse(value).data?.format
  if (format !== undefined && format > FORMAT) {
    throw new Failure('bundle-newer', `the bundle has format ${format}, and this program knows format ${FORMAT}`)
  }
  const header = parseShape(schema, value, 'header.json')
  if (!Buffer.from(bytes).equals(encodeHeader(header))) {
    throw new Failure('bundle-corrupt', 'header.json is not spelled canonically')
  }
  if (isSealed(header) !== header.recipients.length > 0) {
    throw new Failure(
      'bundle-corrupt',
      `header.json names ${header.recipients.length} recipients for ${header.payload.name}`,
    )
  }
  return header
}

/** UTF-8 JSON. Throws `bundle-corrupt` without a cause, since JSON.parse quotes what it reads, secrets too. */
export const parseJson = (bytes: Uint8Array, name: string): unknown => {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    throw new Failure('bundle-corrupt', `${name} is no JSON`)
  }
}

/** Throws `bundle-corrupt`; names the place, never the content. */
export const parseShape = <T>(shape: z.ZodType<T>, value: unknown, name: string): T => {
  const result = shape.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new Failure('bundle-corrupt', `${name} is malformed at ${issue?.path.join('.') || 'its top'}`)
}
