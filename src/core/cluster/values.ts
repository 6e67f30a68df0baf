// The values in etcd: each with its key, its schema and its seal. What is read is checked as any other input.

import { createHash } from 'node:crypto'
import { z } from 'zod'
import { canonicalJson } from '../../protocol/canonical-json.ts'
import type { Answer, Ask, Member, SharedRecord, SharedToken, TokenOf } from '../store/generations.ts'
import { type Code, isCode } from '../../protocol/errors.ts'
import {
  generationSchema,
  grantedSchema,
  isTokenLife,
  scopeSchema,
  storedConnection,
  storedInstallations,
  storedTimeSchema,
} from '../store/record-shapes.ts'
import { scopeKey } from '../../protocol/scope.ts'
import { Secret } from '../../protocol/secret.ts'
import type { Keyring, Stamp } from './sealing.ts'

export const KEYS = {
  record: 'connection',
  leader: 'leader',
  lock: 'lock',
  tokens: 'tokens/',
  members: 'members/',
  asks: 'asks/',
  answers: 'answers/',
} as const

export type Read<T> =
  | { readonly kind: 'value'; readonly value: T }
  /** Sealed with a secret that is not known here. */
  | { readonly kind: 'foreign' }
  /** Sealed by a node of this cluster, in a form that is not known here: by a newer version. */
  | { readonly kind: 'newer' }
  /** No value that a node of this cluster wrote there. */
  | { readonly kind: 'damaged' }

export type Codec<T> = {
  write(key: string, value: T): Buffer
  /** Never throws. */
  read(key: string, sealed: Buffer): Read<T>
}

export type Codecs = {
  readonly record: Codec<SharedRecord>
  readonly token: Codec<TokenOf>
  readonly member: Codec<Member>
  /** Who holds `leader` or `lock`. */
  readonly holder: Codec<{ readonly node: string; readonly what: string }>
  readonly ask: Codec<Ask>
  readonly answer: Codec<Answer>
}

export const createCodecs = (keyring: Keyring): Codecs => {
  const codec = <T>(schema: z.ZodType<T>, stampOf: (value: T) => Stamp = () => NO_STAMP): Codec<T> => ({
    write: (key, value) => keyring.seal(key, stampOf(value), Buffer.from(JSON.stringify(revealed(value)))),
    read(key, sealed) {
      const opened = keyring.open(key, sealed)
      if (opened.kind !== 'opened') return { kind: opened.kind }
      const parsed = schema.safeParse(parseJson(opened.plain))
      if (!parsed.success) return { kind: 'newer' }
      const { generation, sequence } = stampOf(parsed.data)
      const same = generation === opened.stamp.generation && sequence === opened.stamp.sequence
      return same ? { kind: 'value', value: parsed.data } : { kind: 'damaged' }
    },
  })
  return {
    record: codec(recordSchema, ({ version }) => version),
    token: codec(tokenOfSchema, ({ generation }) => ({ generation, sequence: 0 })),
    member: codec(memberSchema),
    holder: codec(z.strictObject({ node: z.string(), what: z.string() })),
    ask: codec(askSchema),
    answer: codec(answerSchema),
  }
}

/** What a record says, whatever its version: two nodes that hold the same have the same digest. */
export const digestOf = (
  content: Pick<SharedRecord, 'connection' | 'installations' | 'keys' | 'recipients' | 'signers'> & {
    readonly generation: number
  },
): string => {
  const { generation, connection, installations, keys, recipients, signers } = content
  const told = {
    generation,
    connection,
    installations,
    keys: keys.map(({ fingerprint, addedAtMs }) => ({ fingerprint, addedAtMs })),
    recipients: recipients.toSorted(),
    signers: signers.toSorted(),
  }
  return createHash('sha256')
    .update(canonicalJson(JSON.parse(JSON.stringify(told))))
    .digest('hex')
}

const NO_STAMP: Stamp = { generation: 0, sequence: 0 }

/** The value for the seal, secrets included. */
const revealed = (value: unknown): unknown => {
  if (value instanceof Secret) return value.reveal()
  if (Array.isArray(value)) return value.map(revealed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, revealed(inner)]))
}

const parseJson = (plain: Buffer): unknown => {
  try {
    return JSON.parse(plain.toString())
  } catch {
    return undefined
  }
}

const secret = z.string().transform(text => new Secret(text))
const count = z.int().min(0)

const recordSchema: z.ZodType<SharedRecord> = z.strictObject({
  version: z.strictObject({ generation: generationSchema, sequence: count, id: z.string() }),
  appId: z.exactOptional(z.int()),
  floor: generationSchema,
  // What an earlier version wrote while its clock was wrong counts: a record that is refused would stand there for ever.
  connection: storedConnection,
  installations: storedInstallations,
  keys: z.array(z.strictObject({ fingerprint: z.string(), pem: secret, addedAtMs: storedTimeSchema })),
  recipients: z.array(z.string()),
  signers: z.array(z.string()),
  by: z.string(),
})

const grantSchema = z.strictObject({ profile: z.string(), scope: scopeSchema })

const tokenSchema: z.ZodType<SharedToken> = z
  .strictObject({
    profile: z.string(),
    scope: scopeSchema,
    token: secret,
    granted: grantedSchema,
    mintedAtMs: z.number(),
    expiresAtMs: z.number(),
    key: z.string(),
  })
  .refine(isTokenLife, { path: ['expiresAtMs'] })
  // The key is worked out, never believed.
  .transform(token => ({ ...token, key: scopeKey(token.profile, token.scope) }))

const tokenOfSchema: z.ZodType<TokenOf> = z.strictObject({
  appId: z.int(),
  generation: generationSchema,
  token: tokenSchema,
})

const memberSchema: z.ZodType<Member> = z.strictObject({
  node: z.string(),
  host: z.strictObject({ machineId: z.string(), hostname: z.string() }),
  role: z.enum(['member', 'replica']),
  able: z.boolean(),
  version: z.string(),
  generation: count,
  sequence: count,
  secrets: z.array(z.string()),
  sinceMs: z.number(),
})

const askSchema: z.ZodType<Ask> = z.strictObject({
  id: z.string(),
  from: z.string(),
  atMs: z.number(),
  want: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('token'),
      grant: grantSchema,
      wish: z.strictObject({
        minTtlMs: z.exactOptional(z.number()),
        rejected: z.exactOptional(z.string()),
        renew: z.exactOptional(z.boolean()),
      }),
    }),
    z.strictObject({ kind: z.literal('ahead'), grants: z.array(grantSchema) }),
  ]),
})

const answerSchema: z.ZodType<Answer> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('working') }),
  z.strictObject({ kind: z.literal('token'), token: tokenSchema }),
  z.strictObject({
    kind: z.literal('failure'),
    code: z.custom<Code>(value => typeof value === 'string' && isCode(value)),
    detail: z.string(),
    retryAfterSeconds: z.exactOptional(z.number()),
  }),
])
