// What is read back from the store is checked here as any other input: unknown or malformed content is damage.

import { z } from 'zod'
import { type Connection, type Installation, TROUBLES } from '../domain/connection.ts'
import { Failure } from '../domain/errors.ts'
import type { Granted, Scope } from '../domain/scope.ts'

const permissions = z.record(z.string(), z.enum(['read', 'write', 'admin']))
const account = z.strictObject({ type: z.enum(['organization', 'user', 'enterprise']), login: z.string() })

const established = {
  sinceMs: z.number(),
  app: z.strictObject({
    id: z.int(),
    clientId: z.string(),
    slug: z.string(),
    name: z.string(),
    owner: account,
    htmlUrl: z.string(),
    permissions,
  }),
  account,
  host: z.strictObject({ machineId: z.string(), hostname: z.string() }),
  enabledAtMs: z.number(),
}

export const connectionSchema: z.ZodType<Connection> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('disconnected'), sinceMs: z.number(), remark: z.exactOptional(z.string()) }),
  z.strictObject({
    kind: z.literal('awaiting-app'),
    sinceMs: z.number(),
    account,
    state: z.string(),
    expiresAtMs: z.number(),
    conversion: z.exactOptional(z.strictObject({ code: z.string(), startedAtMs: z.number() })),
  }),
  z.strictObject({ kind: z.literal('key-lost'), sinceMs: z.number(), account, evidence: z.string() }),
  z.strictObject({ kind: z.literal('awaiting-installation'), ...established }),
  z.strictObject({ kind: z.literal('connected'), ...established }),
  z.strictObject({ kind: z.enum(TROUBLES), evidence: z.string(), ...established }),
  z.strictObject({ kind: z.literal('quarantined'), evidence: z.string(), ...established }),
  z.strictObject({
    kind: z.literal('disconnecting'),
    step: z.enum(['revoke', 'uninstall', 'delete-app']),
    deadlineMs: z.number(),
    ...established,
  }),
])

export const installationsSchema: z.ZodType<readonly Installation[]> = z.array(
  z.strictObject({
    id: z.int(),
    account,
    repositorySelection: z.enum(['all', 'selected']),
    permissions,
    htmlUrl: z.string(),
    suspendedAtMs: z.exactOptional(z.number()),
  }),
)

export const scopeSchema: z.ZodType<Scope> = z.strictObject({
  installation: z.int(),
  repositories: z.exactOptional(z.array(z.string())),
  permissions: z.exactOptional(permissions),
})

export const grantedSchema: z.ZodType<Granted> = z.strictObject({
  repositories: z.exactOptional(z.array(z.string())),
  permissions,
})

/** What a column holds. Throws `store-corrupt`; the detail names the place, never the content. */
export const decode = <T>(schema: z.ZodType<T>, text: string, what: string): T => {
  const result = schema.safeParse(parseJson(text, what))
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new Failure('store-corrupt', `${what} in the store is malformed at ${issue?.path.join('.') || 'its top'}`)
}

/** The text of a value that `decode` reads back. A value that it would not is an error of the program, found before it is stored. */
export const encode = <T>(schema: z.ZodType<T>, value: T, what: string): string => {
  const text = JSON.stringify(value)
  const result = schema.safeParse(text === undefined ? undefined : JSON.parse(text))
  if (result.success) return text
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
