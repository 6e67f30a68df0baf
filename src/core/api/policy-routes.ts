// The routes of policy and audit, for administrators: who would get what, and who got it.

import { AuditAnswer, AuditQuery, AuditVerdict, ExplainAnswer, ExplainRequest } from '../../protocol/wire-policy.ts'
import { type Route, route } from './route.ts'

const ADMIN = ['admin'] as const
const ROWS = 100
const MOST_ROWS = 1_000

export const POLICY_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/policy/explain',
    sockets: ADMIN,
    summary: 'Who would get what, and why not: for a user, group and unit, or for a live process',
    changesNothing: true,
    body: ExplainRequest,
    answer: ExplainAnswer,
    handle: ({ body, caller, operations }) => operations().explain(body, caller.attested.peer),
  }),
  route({
    method: 'GET',
    path: '/v1/audit',
    sockets: ADMIN,
    summary: 'Rows of the audit log, oldest first; with follow=true as server-sent events, which go on',
    query: AuditQuery,
    answer: AuditAnswer,
    handle: ({ query, operations }) => ({ rows: operations().auditLog.read(pageOf(query)) }),
  }),
  route({
    method: 'GET',
    path: '/v1/audit/verdict',
    sockets: ADMIN,
    summary: 'Follows the chain of the audit log through all rows that are held, the archived ones too',
    answer: AuditVerdict,
    handle: ({ operations }) => operations().auditLog.verify(),
  }),
]

/** Which rows a query asks for. */
export const pageOf = ({ after, limit }: AuditQuery): { after?: number; limit: number } => ({
  ...(after !== undefined && { after: Number(after) }),
  limit: Math.min(MOST_ROWS, limit === undefined ? ROWS : Number(limit)),
})
