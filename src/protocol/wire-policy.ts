// The API's shapes for policy and audit, beside those of wire.ts.

import { z } from 'zod'
import { UNIT_NAME } from './profile.ts'
import { TokenRequest } from './wire.ts'

export const ExplainRequest = z.lazy(() => {
  const { profile, installation, repositories, permissions } = TokenRequest.unwrap().shape
  const name = z
    .string()
    .max(256)
    .regex(/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+$/u, 'must be a name without control characters')
  return z
    .strictObject({
      profile,
      user: name.optional().describe('A user, as if a process of his asked'),
      group: name.optional().describe('A group that the process is in'),
      unit: z
        .string()
        .regex(UNIT_NAME, 'must be the full name of a .service or .scope unit')
        .optional()
        .describe('The systemd unit that the process is in'),
      pid: z.int().positive().optional().describe('A live process: what it would get if it asked now'),
      installation,
      repositories,
      permissions,
    })
    .refine(r => r.pid === undefined || !(r.user ?? r.group ?? r.unit), 'give either pid or user, group and unit')
})
export type ExplainRequest = z.infer<typeof ExplainRequest>

const ReasonBody = z.lazy(() =>
  z.strictObject({
    list: z.enum(['users', 'groups', 'units', 'scope']),
    outcome: z.enum(['match', 'no-match', 'any', 'depends']),
    detail: z.string(),
  }),
)

export const ExplainAnswer = z.lazy(() =>
  z.strictObject({
    caller: z
      .strictObject({
        pid: z.int().optional(),
        uid: z.int().optional(),
        user: z.string().optional(),
        groups: z.array(z.string()).optional(),
        unit: z.string().optional(),
      })
      .describe('As much of the caller as was given or found out'),
    decision: z.strictObject({
      outcome: z.enum(['granted', 'depends', 'not-permitted', 'profile-required', 'repositories-required']),
      detail: z.string(),
    }),
    withheld: z
      .strictObject({ code: z.string(), detail: z.string(), next: z.string() })
      .optional()
      .describe('Why no token is served now, whatever the policy says'),
    profiles: z.array(
      z.strictObject({
        profile: z.string(),
        outcome: z.enum(['granted', 'denied', 'depends']),
        reasons: z.array(ReasonBody),
        scope: z
          .strictObject({
            installation: z.int(),
            repositories: z.array(z.string()).optional(),
            permissions: z.record(z.string(), z.string()).optional(),
          })
          .optional(),
      }),
    ),
  }),
)
export type ExplainAnswer = z.infer<typeof ExplainAnswer>

const sequence = z.string().regex(/^\d{1,15}$/, 'must be a number')

export const AuditQuery = z.lazy(() =>
  z.strictObject({
    after: sequence.optional().describe('Rows with a higher sequence; without it the last ones'),
    limit: z
      .string()
      .regex(/^\d{1,4}$/, 'must be a number up to 9999')
      .optional()
      .describe('How many rows at most; 100 without it, and never more than 1000'),
    follow: z.enum(['true', 'false']).optional().describe('Server-sent events: the rows, then each new one'),
  }),
)

export type AuditQuery = z.infer<typeof AuditQuery>

export const AuditRowBody = z.lazy(() =>
  z.strictObject({
    sequence: z.int(),
    at: z.iso.datetime(),
    event: z.string(),
    pid: z.int().optional(),
    uid: z.int().optional(),
    unit: z.string().optional(),
    profile: z.string().optional(),
    scope: z.string().optional(),
    hashed_token: z.string().optional().describe("GitHub's own: base64 of the token's SHA-256"),
    detail: z.string().optional(),
    count: z.int().optional().describe('How many equal events this row stands for, when more than one'),
    hash: z.string(),
  }),
)
export type AuditRowBody = z.infer<typeof AuditRowBody>

export const AuditAnswer = z.lazy(() => z.strictObject({ rows: z.array(AuditRowBody) }))

export const AuditVerdict = z.lazy(() =>
  z.strictObject({
    intact: z.boolean(),
    first: z.int().describe('The first row that is held; 0 where there is none'),
    last: z.int(),
    last_hash: z.string(),
    problem: z.string().optional().describe('The first row that was changed, removed or moved'),
  }),
)
export type AuditVerdict = z.infer<typeof AuditVerdict>
