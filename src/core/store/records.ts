// The records that are kept in the store, in a bundle and in etcd, each with its one schema. What is read back is checked as any other input.

import { z } from 'zod'
import { type Connection, type Installation, TROUBLES } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import type { Granted, Scope, ScopeKey } from '../../protocol/scope.ts'
import { Secret } from '../../protocol/secret.ts'

const EARLIEST_MS = Date.UTC(2020, 0)
const LATEST_MS = Date.UTC(2200, 0)
/** GitHub's tokens live for 60 minutes; the rest is for clocks that differ. */
const MAX_TOKEN_LIFE_MS = 70 * 60_000
/** Of the counter that each change of an administrator raises. */
export const MAX_GENERATION = 2 ** 48 - 1

/** A time as it is written: a clock that begins in 1970, or is far ahead, leaves no record that cannot be read again. */
export const storedTime = (ms: number): number => clamp(ms, EARLIEST_MS)

const clamp = (ms: number, leastMs: number): number => Math.min(Math.max(ms, leastMs), LATEST_MS)

/** A token's times as they are written. */
export const storedTokenTimes = (token: { readonly mintedAtMs: number; readonly expiresAtMs: number }) => {
  const mintedAtMs = clamp(token.mintedAtMs, 0)
  return { mintedAtMs, expiresAtMs: Math.min(clamp(token.expiresAtMs, 0), mintedAtMs + MAX_TOKEN_LIFE_MS) }
}

/** Times before 2020 are accepted: a machine whose clock began in 1970 wrote them. */
export const timeSchema = z.number().min(0).max(LATEST_MS)
/** Between two clocks. */
export const offsetSchema = z.number().min(-LATEST_MS).max(LATEST_MS)

/** Whether a token may have these times. */
export const isTokenLife = (token: { readonly mintedAtMs: number; readonly expiresAtMs: number }): boolean =>
  [token.mintedAtMs, token.expiresAtMs].every(ms => ms >= 0 && ms <= LATEST_MS) &&
  token.expiresAtMs - token.mintedAtMs <= MAX_TOKEN_LIFE_MS

export const generationSchema = z.int().min(0).max(MAX_GENERATION)

const LONGEST_URL = 2048
const isWebUrl = (text: string): boolean =>
  text.length <= LONGEST_URL && /^https?:$/.test(URL.parse(text)?.protocol ?? '')
/** In place of an address that is none; GitHub's own is learned with its next answer. */
const UNKNOWN_URL = 'https://github.com'

const number = z.custom<number>(value => typeof value === 'number')

type Leaves = {
  readonly time: z.ZodType<number>
  /** A time by which something is decided. */
  readonly deadline: z.ZodType<number>
  readonly url: z.ZodType<string>
}

const STRICT: Leaves = { time: timeSchema, deadline: timeSchema, url: z.string().refine(isWebUrl) }

/** The same shapes, whose values are brought within their bounds. */
const REPAIRING: Leaves = {
  time: number.transform(storedTime),
  deadline: number.transform(ms => clamp(ms, 0)),
  url: z.string().transform(text => (isWebUrl(text) ? text : UNKNOWN_URL)),
}

const secret = z.string().transform(text => new Secret(text))
const permissions = z.record(z.string(), z.enum(['read', 'write', 'admin']))
const account = z.strictObject({ type: z.enum(['organization', 'user', 'enterprise']), login: z.string() })
const id = z.int().min(0)

const connectionOf = ({ time, deadline, url }: Leaves): z.ZodType<Connection> => {
  const established = {
    sinceMs: time,
    app: z.strictObject({
      id,
      clientId: z.string(),
      slug: z.string(),
      name: z.string(),
      owner: account,
      htmlUrl: url,
      permissions,
    }),
    account,
    host: z.strictObject({ machineId: z.string(), hostname: z.string() }),
    enabledAtMs: time,
  }
  return z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('disconnected'), sinceMs: time, remark: z.exactOptional(z.string()) }),
    z.strictObject({
      kind: z.literal('awaiting-app'),
      sinceMs: time,
      account,
      state: z.string(),
      expiresAtMs: deadline,
      conversion: z.exactOptional(z.strictObject({ code: z.string(), startedAtMs: deadline })),
    }),
    z.strictObject({ kind: z.literal('key-lost'), sinceMs: time, account, evidence: z.string() }),
    z.strictObject({ kind: z.literal('awaiting-installation'), ...established }),
    z.strictObject({ kind: z.literal('connected'), ...established }),
    z.strictObject({ kind: z.enum(TROUBLES), evidence: z.string(), ...established }),
    z.strictObject({ kind: z.literal('quarantined'), evidence: z.string(), ...established }),
    z.strictObject({
      kind: z.literal('disconnecting'),
      step: z.enum(['revoke', 'uninstall', 'delete-app']),
      deadlineMs: deadline,
      ...established,
    }),
  ])
}

const installationsOf = ({ time, url }: Leaves): z.ZodType<readonly Installation[]> =>
  z.array(
    z.strictObject({
      id,
      account,
      repositorySelection: z.enum(['all', 'selected']),
      permissions,
      htmlUrl: url,
      suspendedAtMs: z.exactOptional(time),
    }),
  )

/** For a bundle: what is out of bounds is refused. */
export const connectionSchema = connectionOf(STRICT)
export const installationsSchema = installationsOf(STRICT)

/** For the store and for etcd: what is out of bounds is brought within them, in both directions. */
export const storedConnection = connectionOf(REPAIRING)
export const storedInstallations = installationsOf(REPAIRING)

/** A private key of the App as PEM (PKCS#8). The first of a record signs; the others are fallbacks. */
export const storedKey = z.strictObject({ fingerprint: z.string(), pem: secret, addedAtMs: REPAIRING.time })

/** Names of the fields by which something is decided: one out of bounds is damage, and never repaired. */
const DECIDING: ReadonlySet<string> = new Set(['deadlineMs', 'expiresAtMs', 'startedAtMs'])

export const scopeSchema: z.ZodType<Scope> = z.strictObject({
  installation: id,
  repositories: z.exactOptional(z.array(z.string())),
  permissions: z.exactOptional(permissions),
})

export const grantedSchema: z.ZodType<Granted> = z.strictObject({
  repositories: z.exactOptional(z.array(z.string())),
  permissions,
})

/** A token without what tells it from others: store and bundle add the slot, etcd the key. */
export const tokenSchema = z.strictObject({
  profile: z.string(),
  scope: scopeSchema,
  token: secret,
  granted: grantedSchema,
  mintedAtMs: z.number(),
  /** By GitHub's clock. */
  expiresAtMs: z.number(),
})

/** `next` was minted ahead and is handed out once it has settled. */
export const slotSchema = z.enum(['current', 'next'])

/** Its key is worked out of profile and scope. */
export type StoredToken = Readonly<z.infer<typeof tokenSchema> & { key: ScopeKey; slot: z.infer<typeof slotSchema> }>

export type StoredKey = Readonly<z.infer<typeof storedKey>>

export type ConnectionRecord = {
  /** Counts what the administrator changed: enable, disable, restore, adopt, keys. */
  readonly generation: number
  readonly connection: Connection
  readonly installations: readonly Installation[]
  readonly keys: readonly StoredKey[]
}

/** Told of what was out of its bounds and was brought within them. */
export type OnRepaired = (what: string) => void

/**
 * What the store holds, parsed. With `onRepaired`, for a schema that repairs: a value that decides nothing is brought within its bounds, and
 * told. Throws `store-corrupt`; the detail names the place, never the content.
 */
export const decode = <T>(
  schema: z.ZodType<T>,
  raw: unknown,
  { what, onRepaired }: { what: string; onRepaired?: OnRepaired },
): T => {
  const result = schema.safeParse(raw)
  if (!result.success) throw malformed(what, result.error.issues[0]?.path ?? [])
  if (!onRepaired) return result.data
  for (const path of differences(raw, result.data)) {
    if (DECIDING.has(path.at(-1) ?? '')) throw malformed(what, path)
    onRepaired(`${path.join('.')} of ${what}`)
  }
  return result.data
}

/** The text of a value that `decode` reads back, its numbers within their bounds. A value that it would not is an internal error, found before it is stored. */
export const encode = <T>(schema: z.ZodType<T>, value: T, what: string): string => {
  const text = JSON.stringify(value)
  const result = schema.safeParse(text === undefined ? undefined : JSON.parse(text))
  if (result.success) return JSON.stringify(result.data)
  const [issue] = result.error.issues
  throw new Failure('internal', `${what} cannot be stored: ${issue?.path.join('.')} is malformed`)
}

export const parseJson = (text: string, what: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Failure('store-corrupt', `${what} in the store is no JSON`, { cause: error })
  }
}

const malformed = (what: string, path: readonly PropertyKey[]): Failure =>
  new Failure('store-corrupt', `${what} in the store is malformed at ${path.map(String).join('.') || 'its top'}`)

/** The places of values that are not the same. A secret is as it was. */
const differences = (before: unknown, after: unknown): string[][] => {
  if (after instanceof Secret) return []
  if (typeof before !== 'object' || before === null || typeof after !== 'object' || after === null) {
    return Object.is(before, after) ? [] : [[]]
  }
  return Object.entries(after).flatMap(([name, value]) =>
    differences(Reflect.get(before, name), value).map(path => [name, ...path]),
  )
}

/** A fact: when the last bundle left, and what it held. */
export const LAST_EXPORT = 'last-export'
export type LastExport = { readonly atMs: number; readonly generation: number }

/** The fact in the store that holds the recovery keys made here. */
export const RECIPIENTS = 'recovery.recipients'
