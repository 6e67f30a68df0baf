// The shapes of what is kept (in the store, in a bundle): what is read back is checked as any other input.

import { z } from 'zod'
import { type Connection, type Installation, TROUBLES } from './connection.ts'
import type { Granted, Scope } from './scope.ts'

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
