// What the nodes of a cluster share in etcd: each value with its key, its schema and its seal. What is read is checked as any other input.

import { createHash } from 'node:crypto'
import { z } from 'zod'
import { canonicalJson } from '../../protocol/canonical-json.ts'
import { type Code, isCode } from '../../protocol/errors.ts'
import { scopeKey } from '../../protocol/scope.ts'
import { Secret } from '../../protocol/secret.ts'
import {
  generationSchema,
  isTokenLife,
  scopeSchema,
  storedConnection,
  storedInstallations,
  storedKey,
  tokenSchema as storedToken,
} from '../store/records.ts'
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

const count = z.int().min(0)
const texts = z.array(z.string()).readonly()

const versionSchema = z.strictObject({ generation: generationSchema, sequence: count, id: z.string() })

/**
 * Records are ordered by generation, which counts what administrators change, then by sequence, which counts every record of the cluster.
 * The id tells two histories apart that an etcd restored from a backup may have made of one.
 */
export type Version = Readonly<z.infer<typeof versionSchema>>

const recordSchema = z.strictObject({
  version: versionSchema,
  /** Of the App that it is of; in a tombstone, that it was of. */
  appId: z.exactOptional(z.int()),
  /** Tokens of lower generations are void: they were revoked, or belong to what was replaced. */
  floor: generationSchema,
  // What an earlier version wrote while its clock was wrong counts: a record that is refused would stand there for ever.
  connection: storedConnection,
  installations: storedInstallations,
  keys: z.array(storedKey).readonly(),
  /** Recovery keys that were made on any node, and the keys with which nodes sign their bundles. */
  recipients: texts,
  signers: texts,
  /** The node that wrote it. */
  by: z.string(),
})

/** The connection for all nodes. One that is `disconnected` is the tombstone: it clears the nodes that see it. */
export type SharedRecord = Readonly<z.infer<typeof recordSchema>>

const grantSchema = z.strictObject({ profile: z.string(), scope: scopeSchema })

const tokenSchema = storedToken
  .extend({ key: z.string() })
  .refine(isTokenLife, { path: ['expiresAtMs'] })
  // The key is worked out, never believed.
  .transform(token => ({ ...token, key: scopeKey(token.profile, token.scope) }))

export type SharedToken = Readonly<z.infer<typeof tokenSchema>>

const tokenOfSchema = z.strictObject({ appId: z.int(), generation: generationSchema, token: tokenSchema })

/** A token with what it belongs to. */
export type TokenOf = Readonly<z.infer<typeof tokenOfSchema>>

const memberSchema = z.strictObject({
  node: z.string(),
  host: z.strictObject({ machineId: z.string(), hostname: z.string() }),
  /** A replica holds the credentials, calls nobody and never leads. */
  role: z.enum(['member', 'replica']),
  /** Nothing keeps it from GitHub, as far as it knows: it may lead in place of one that does not get through. */
  able: z.boolean(),
  version: z.string(),
  generation: count,
  sequence: count,
  /** The marks of the secrets that it knows. */
  secrets: texts,
  sinceMs: z.number(),
})

export type Member = Readonly<z.infer<typeof memberSchema>>
export type NodeRole = Member['role']

/** What a follower asks of the leader: one token that it waits for, or that scopes are refreshed ahead. */
const askSchema = z.strictObject({
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
    z.strictObject({ kind: z.literal('ahead'), grants: z.array(grantSchema).readonly() }),
  ]),
})

export type Ask = Readonly<z.infer<typeof askSchema>>

const answerSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('working') }),
  z.strictObject({ kind: z.literal('token'), token: tokenSchema }),
  z.strictObject({
    kind: z.literal('failure'),
    code: z.custom<Code>(value => typeof value === 'string' && isCode(value)),
    detail: z.string(),
    retryAfterSeconds: z.exactOptional(z.number()),
  }),
])

export type Answer = Readonly<z.infer<typeof answerSchema>>

export type Read<T> =
  | { readonly kind: 'value'; readonly value: T }
  /**
   * Sealed with a secret that is not known here; sealed by a node of this cluster in a form that is not known here, so by a newer
   * version; or no value that a node of this cluster wrote there.
   */
  | { readonly kind: 'foreign' | 'newer' | 'damaged' }

export type Codecs = ReturnType<typeof createCodecs>

export const createCodecs = (keyring: Keyring) => {
  const codec = <T>(schema: z.ZodType<T>, stampOf: (value: T) => Stamp = () => ({ generation: 0, sequence: 0 })) => ({
    write: (key: string, value: T): Buffer =>
      keyring.seal(key, stampOf(value), Buffer.from(JSON.stringify(revealed(value)))),
    /** Never throws. */
    read(key: string, sealed: Buffer): Read<T> {
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
    /** Who holds `leader` or `lock`. */
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
