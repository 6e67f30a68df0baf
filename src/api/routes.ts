// The route table: what each socket serves, with the schemas that check it and describe it.

import type { z } from 'zod'
import { Failure } from '../domain/errors.ts'
import { admits, type Policy, type Profile } from '../domain/policy.ts'
import {
  CompleteRequest,
  DisableQuery,
  EnableAnswer,
  EnableRequest,
  ImportRequest,
  InstallationsAnswer,
  isoTime,
  ProfilesAnswer,
  type PublicStatus,
  RefreshAnswer,
  StateAnswer,
  Status,
  TokenAnswer,
  TokenRequest,
} from '../domain/wire.ts'
import { Secret } from '../domain/secret.ts'
import type { Operations } from '../operations/operations.ts'
import type { Caller } from '../operations/token-desk.ts'

export type SocketName = Caller['socket']

/** What a handler is given: parsed input, who calls, and the operations (which throw while the store is closed). */
export type Call<Body, Query> = {
  readonly body: Body
  readonly query: Query
  readonly caller: Caller
  readonly operations: () => Operations
  readonly backend: Backend
}

/** What the routes need besides the operations: it answers while the store is closed, too. */
export type Backend = {
  policy(): Policy
  status(caller: Caller): Status | PublicStatus
  /** Splits what was pasted into code and state; throws `invalid-request`. */
  readRedirect(text: string): { code: string; state?: string }
}

export type Route = {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly sockets: readonly SocketName[]
  readonly summary: string
  readonly status: number
  readonly body?: z.ZodType
  readonly query?: z.ZodType
  readonly answer: z.ZodType
  handle(call: Call<unknown, unknown>): unknown
}

type Spec<B extends z.ZodType, Q extends z.ZodType> = Omit<Route, 'body' | 'query' | 'handle' | 'status'> & {
  readonly status?: number
  readonly body?: B
  readonly query?: Q
  handle(call: Call<z.infer<B>, z.infer<Q>>): unknown
}

const route = <B extends z.ZodType = z.ZodUndefined, Q extends z.ZodType = z.ZodUndefined>(
  spec: Spec<B, Q>,
): Route => ({
  status: 200,
  ...spec,
  handle: call => spec.handle(call as Call<z.infer<B>, z.infer<Q>>),
})

const BOTH = ['token', 'admin'] as const
const ADMIN = ['admin'] as const

const stateOf = ({ journey }: Operations): StateAnswer => ({
  state: journey.read().connection.kind,
  ...journey.explain(),
})

export const ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/status',
    sockets: BOTH,
    summary: 'State of the connection, what it means and what to do next; token.sock gets the short form',
    answer: Status,
    handle: ({ backend, caller }) => backend.status(caller),
  }),
  route({
    method: 'POST',
    path: '/v1/connection',
    sockets: ADMIN,
    summary: 'Begin to enable: answers with the page that an owner of the account opens',
    status: 202,
    body: EnableRequest,
    answer: EnableAnswer,
    async handle({ body, operations }) {
      const { url, expiresAtMs, how } = await operations().enable.begin(body.account)
      return { url, expires_at: isoTime(expiresAtMs), how }
    },
  }),
  route({
    method: 'POST',
    path: '/v1/connection/completion',
    sockets: ADMIN,
    summary: "Give the address that GitHub redirected to, where the administrator's browser cannot reach this machine",
    body: CompleteRequest,
    answer: StateAnswer,
    async handle({ body, operations, backend }) {
      await operations().enable.complete({ ...backend.readRedirect(body.redirected), trusted: true })
      return stateOf(operations())
    },
  }),
  route({
    method: 'POST',
    path: '/v1/connection/import',
    sockets: ADMIN,
    summary: 'Take over an App that exists, by its id and a private key; proven with GitHub before it is stored',
    body: ImportRequest,
    answer: StateAnswer,
    async handle({ body, operations }) {
      await operations().importApp({
        ...(body.app_id !== undefined && { appId: body.app_id }),
        ...(body.client_id !== undefined && { clientId: body.client_id }),
        ...(body.account !== undefined && { account: body.account }),
        pem: new Secret(body.private_key),
      })
      return stateOf(operations())
    },
  }),
  route({
    method: 'DELETE',
    path: '/v1/connection',
    sockets: ADMIN,
    summary: 'Disable: serving stops at once, then tokens, installation and App go, then the key',
    status: 202,
    query: DisableQuery,
    answer: StateAnswer,
    async handle({ query, operations }) {
      await operations().disable.begin({ local: query.local === 'true', yes: query.yes === 'true' })
      return stateOf(operations())
    },
  }),
  route({
    method: 'GET',
    path: '/v1/installations',
    sockets: ADMIN,
    summary: 'Where the App is installed',
    answer: InstallationsAnswer,
    handle: ({ backend, caller, operations }) => {
      operations()
      const status = backend.status(caller)
      return { installations: 'installations' in status ? status.installations : [] }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/profiles',
    sockets: BOTH,
    summary: 'The profiles of the policy; token.sock shows those that admit the caller',
    answer: ProfilesAnswer,
    handle: ({ backend, caller }) => ({ profiles: visibleProfiles(backend.policy(), caller) }),
  }),
  route({
    method: 'POST',
    path: '/v1/tokens',
    sockets: BOTH,
    summary: 'An installation access token for a scope that the policy grants to the caller',
    body: TokenRequest,
    answer: TokenAnswer,
    handle: ({ body, caller, operations }) => operations().desk.answer(body, caller),
  }),
  route({
    method: 'POST',
    path: '/v1/refresh',
    sockets: ADMIN,
    summary: 'Look at GitHub anew and mint new tokens for all scopes that are held',
    answer: RefreshAnswer,
    handle: ({ operations }) => operations().refresh(),
  }),
]

/** Everybody sees what is his own; who else is admitted is for administrators. */
const visibleProfiles = (policy: Policy, caller: Caller): z.infer<typeof ProfilesAnswer>['profiles'] =>
  policy.profiles
    .filter(profile => caller.socket === 'admin' || admits(profile.allow, caller.attested.peer))
    .map(profile => ({
      name: profile.name,
      ...(profile.installation !== undefined && { installation: profile.installation }),
      ...(profile.repositories && { repositories: [...profile.repositories] }),
      ...(profile.permissions && { permissions: profile.permissions }),
      ...(caller.socket === 'admin' && { allow: allowNames(profile) }),
    }))

const allowNames = ({ allow }: Profile) => ({
  users: allow.users.map(user => user.name),
  groups: allow.groups.map(group => group.name),
  units: [...allow.units],
})

/** Throws `not-permitted`: a route of the other socket is told apart from one that does not exist. */
export const refuseOtherSocket = (path: string): never => {
  throw new Failure('not-permitted', `${path} is served on admin.sock only`)
}
