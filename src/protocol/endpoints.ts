// Every endpoint of the daemon's sockets, once: the server's dispatch, the OpenAPI document and the client's types come from this table.

import { z } from 'zod'
import { GIT_CREDENTIAL } from './token-texts.ts'
import * as wire from './wire.ts'
import { CheckReport, CheckRow } from './wire-check.ts'
import { AuditAnswer, AuditQuery, AuditVerdict, ExplainAnswer, ExplainRequest } from './wire-policy.ts'

export type SocketName = 'token' | 'admin'

export type Endpoint = {
  /** Who may: any local process asks on token.sock, administrators on admin.sock. */
  readonly sockets: readonly SocketName[]
  /** Of administrators, root and the daemon's own user alone; the text says so to the others. */
  readonly rootOnly?: string
  readonly summary: string
  /** Of a good answer, if not 200. */
  readonly status?: number
  readonly query?: z.ZodType
  readonly body?: z.ZodType
  /** More than the 64 KiB of other requests. */
  readonly maxBodyBytes?: number
  /** JSON. Without it, the answer is events or of another media type. */
  readonly answer?: z.ZodType
  /** The answer on token.sock, where it says less. */
  readonly reducedAnswer?: z.ZodType
  /** What clients accept as the answer, where that is more than one socket gives. */
  readonly seenAnswer?: z.ZodType
  /** The data of each server-sent event; beside an answer, for callers who accept `text/event-stream`. */
  readonly event?: z.ZodType
  /** The media type of an answer that is not JSON; beside an answer, that of body and answer for callers who accept it. */
  readonly media?: string
  /** The handler may answer with the same object again, and never changes one that it gave. */
  readonly repeats?: true
  /** Although it is not a GET: who asks for a change on admin.sock is in the audit log. */
  readonly changesNothing?: true
}

const BOTH = ['token', 'admin'] as const
const ADMIN = ['admin'] as const
/** A bundle of 16 MiB in base64, and the rest of the request. */
const MAX_RESTORE_BYTES = 24 * 2 ** 20

/** By method and path. `ANY`: each method that the gateway passes on. */
export const ENDPOINTS = {
  'GET /v1/status': {
    sockets: BOTH,
    summary:
      'State of the connection, what it means and what to do next; the short form on token.sock, and while the store is closed',
    answer: z.lazy(() => z.union([wire.Status, wire.PublicStatus])),
    reducedAnswer: wire.PublicStatus,
    seenAnswer: wire.SeenStatus,
  },
  'POST /v1/connection': {
    sockets: ADMIN,
    summary: 'Begin to enable: answers with the page that an owner of the account opens',
    status: 202,
    body: wire.EnableRequest,
    answer: wire.EnableAnswer,
  },
  'POST /v1/connection/completion': {
    sockets: ADMIN,
    summary: "Give the address that GitHub redirected to, where the administrator's browser cannot reach this machine",
    body: wire.CompleteRequest,
    answer: wire.StateAnswer,
  },
  'POST /v1/connection/import': {
    sockets: ADMIN,
    summary: 'Take over an App that exists, by its id and a private key; proven with GitHub before it is stored',
    body: wire.ImportRequest,
    answer: wire.StateAnswer,
  },
  'DELETE /v1/connection': {
    sockets: ADMIN,
    summary: 'Disable: serving stops at once, then tokens, installation and App go, then the key',
    status: 202,
    query: wire.DisableQuery,
    answer: wire.StateAnswer,
  },
  'GET /v1/installations': {
    sockets: ADMIN,
    summary: 'Where the App is installed',
    answer: wire.InstallationsAnswer,
  },
  'GET /v1/profiles': {
    sockets: BOTH,
    summary: 'The profiles of the policy; token.sock shows those that admit the caller',
    answer: wire.ProfilesAnswer,
  },
  'POST /v1/tokens': {
    sockets: BOTH,
    summary: 'An installation access token for a scope that the policy grants to the caller',
    body: wire.TokenRequest,
    answer: wire.TokenAnswer,
    media: GIT_CREDENTIAL,
    repeats: true,
    changesNothing: true,
  },
  'POST /v1/revoke': {
    sockets: ADMIN,
    summary:
      'Revoke all live tokens at GitHub, on every node; the connection stays, and tokens are minted again on demand',
    body: wire.RevokeRequest,
    answer: wire.RevokeAnswer,
  },
  'POST /v1/refresh': {
    sockets: ADMIN,
    summary: 'Look at GitHub anew and mint new tokens for all scopes that are held',
    answer: wire.RefreshAnswer,
  },
  'POST /v1/ui-links': {
    sockets: ADMIN,
    summary: 'A one-time link to the settings page; what is done by way of it is noted as done by the caller',
    status: 201,
    answer: wire.UiLinkAnswer,
  },
  'POST /v1/snapshots': {
    sockets: ADMIN,
    summary: 'Export: the bundle, encrypted to the recovery keys; in clear, for root alone, where there are none',
    query: wire.ExportQuery,
    media: 'application/octet-stream',
  },
  'POST /v1/snapshots/restore': {
    sockets: ADMIN,
    summary: 'Restore: everything is verified, then takes the place of what stands here in one step',
    body: wire.RestoreRequest,
    maxBodyBytes: MAX_RESTORE_BYTES,
    answer: wire.RestoreAnswer,
  },
  'POST /v1/unlock': {
    sockets: ADMIN,
    summary: 'Open with a recovery key what is locked: a store whose key was lost, or a sealed bundle that waits',
    body: wire.UnlockRequest,
    answer: wire.StateAnswer,
  },
  'POST /v1/adopt': {
    sockets: ADMIN,
    summary: 'This machine takes the place of the one that the credentials were enabled on',
    answer: wire.StateAnswer,
  },
  'POST /v1/recovery-keys': {
    sockets: ADMIN,
    // A recovery key opens every later snapshot: to add one is for those who could read the store anyway.
    rootOnly: 'recovery keys are added by root only',
    summary: 'Add a recovery key by its public half; the identity never reaches the daemon',
    body: wire.RecoveryKeyRequest,
    answer: wire.RecoveryKeysAnswer,
  },
  'GET /v1/recovery-keys': {
    sockets: ADMIN,
    summary: 'The recovery keys, and the key that signs the bundles of this machine',
    answer: wire.RecoveryKeysAnswer,
  },
  'GET /v1/keys': {
    sockets: ADMIN,
    summary: "The App's private keys by fingerprint: which one signs, and what GitHub said of each",
    answer: wire.KeysAnswer,
  },
  'POST /v1/keys': {
    sockets: ADMIN,
    summary: 'Add a second private key: proven with GitHub, it signs from then on, and the other one is the fallback',
    body: wire.AddKeyRequest,
    answer: wire.AddKeyAnswer,
  },
  'DELETE /v1/keys': {
    sockets: ADMIN,
    summary: 'Retire the fallback, or the key that is named, once GitHub took a signature of the one that stays',
    query: wire.RetireKeyQuery,
    answer: wire.RetireKeyAnswer,
  },
  'POST /v1/policy/explain': {
    sockets: ADMIN,
    summary: 'Who would get what, and why not: for a user, group and unit, or for a live process',
    body: ExplainRequest,
    answer: ExplainAnswer,
    changesNothing: true,
  },
  'GET /v1/audit': {
    sockets: ADMIN,
    summary: 'Rows of the audit log, oldest first; with follow=true as server-sent events, which go on',
    query: AuditQuery,
    answer: AuditAnswer,
  },
  'GET /v1/audit/verdict': {
    sockets: ADMIN,
    summary: 'Follows the chain of the audit log through all rows that are held, the archived ones too',
    answer: AuditVerdict,
  },
  'GET /v1/cluster': {
    sockets: ADMIN,
    summary: 'Members, leader, and how far each node has come',
    answer: wire.ClusterStatus,
  },
  'POST /v1/cluster': {
    sockets: ADMIN,
    summary:
      'Join the cluster of the configuration: the first node brings its credentials, each other one takes them over',
    body: wire.ClusterJoinRequest,
    answer: wire.ClusterStatus,
  },
  'DELETE /v1/cluster': {
    sockets: ADMIN,
    summary: 'Leave the cluster: nothing of it stays here, unless it is to be kept; the other nodes go on',
    query: wire.ClusterLeaveQuery,
    answer: wire.ClusterStatus,
  },
  'POST /v1/cluster/promotion': {
    sockets: ADMIN,
    summary: 'Make a member of a replica: it may lead, and call GitHub',
    answer: wire.ClusterStatus,
  },
  'POST /v1/cluster/secret': {
    sockets: ADMIN,
    summary: "Seal all values with the first of this node's cluster secrets, once every member knows it",
    answer: wire.ResealAnswer,
  },
  'GET /v1/features': {
    sockets: ADMIN,
    summary: 'The features of GitHub Connect: which are switched on, what each may do, and what it waits for',
    answer: wire.FeaturesAnswer,
  },
  'POST /v1/reload': {
    sockets: ADMIN,
    summary: 'Reads the configuration again, as SIGHUP does, and says why where it is refused',
    answer: wire.ReloadAnswer,
  },
  'GET /v1/check': {
    sockets: ADMIN,
    summary:
      'A row for each layer between this machine and a token, within 5 seconds; with `Accept: text/event-stream` as events: `row` as each is known (a later row of the same layer and subject takes the place of the earlier one), then `report`',
    answer: CheckReport,
    event: z.lazy(() => z.union([CheckRow, CheckReport])),
  },
  'GET /v1/events': {
    sockets: BOTH,
    summary: 'Server-sent events: state changes and refreshes, never a secret',
    event: wire.EventBody,
  },
  'ANY /v1/github/{path}': {
    sockets: BOTH,
    summary: "GitHub's API with a token of the profile, which the caller never sees; the answer is GitHub's",
    query: wire.GatewayQuery,
  },
  'GET /v1/openapi.json': {
    sockets: BOTH,
    summary: 'This document',
    answer: z.lazy(() => z.looseObject({})),
  },
  'GET /livez': {
    sockets: BOTH,
    summary: 'Whether the process answers',
    answer: wire.LiveAnswer,
  },
  'GET /readyz': {
    sockets: BOTH,
    summary: 'Whether tokens can be served, with the reasons where not',
    answer: wire.ReadyAnswer,
  },
  'GET /metrics': {
    sockets: ADMIN,
    summary: 'Metrics for Prometheus',
    media: 'text/plain',
  },
} as const satisfies Readonly<Record<`${string} /${string}`, Endpoint>>

export type EndpointName = keyof typeof ENDPOINTS
type In<N extends EndpointName, Part extends string> =
  (typeof ENDPOINTS)[N] extends Readonly<Record<Part, infer S extends z.ZodType>> ? z.infer<S> : undefined
export type QueryOf<N extends EndpointName> = In<N, 'query'>
export type BodyOf<N extends EndpointName> = In<N, 'body'>
export type AnswerOf<N extends EndpointName> = In<N, 'answer'>
/** What a client is given. */
export type SeenOf<N extends EndpointName> = In<N, 'seenAnswer'> extends undefined ? AnswerOf<N> : In<N, 'seenAnswer'>

/** For where all rows are looked at alike. */
export const endpointNames = Object.keys(ENDPOINTS) as EndpointName[]
export const endpointOf = (name: EndpointName): Endpoint => ENDPOINTS[name]
