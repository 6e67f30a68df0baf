// The route table: what each socket serves, with the schemas that check it and describe it.

import { z } from 'zod'
import { admits } from '../policy/decision.ts'
import { allowNames, type Policy } from '../../protocol/profile.ts'
import {
  CompleteRequest,
  DisableQuery,
  EnableAnswer,
  EnableRequest,
  ImportRequest,
  InstallationsAnswer,
  isoTime,
  ProfilesAnswer,
  PublicStatus,
  RefreshAnswer,
  RevokeAnswer,
  RevokeRequest,
  StateAnswer,
  Status,
  TokenAnswer,
  TokenRequest,
  UiLinkAnswer,
} from '../../protocol/wire.ts'
import { Secret } from '../../protocol/secret.ts'
import type { Caller } from '../tokens/token-issuer.ts'
import { CHECK_ROUTES } from './check-routes.ts'
import { gitCredentialForm } from './git-credential.ts'
import { KEY_ROUTES } from './key-routes.ts'
import { type Route, route, stateOf } from './route.ts'
import { FEATURE_ROUTES } from './feature-routes.ts'
import { CLUSTER_ROUTES } from './cluster-routes.ts'
import { POLICY_ROUTES } from './policy-routes.ts'
import { SNAPSHOT_ROUTES } from './snapshot-routes.ts'

const BOTH = ['token', 'admin'] as const
const ADMIN = ['admin'] as const

export const ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/status',
    sockets: BOTH,
    summary:
      'State of the connection, what it means and what to do next; the short form on token.sock, and while the store is closed',
    answer: z.union([Status, PublicStatus]),
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
      await operations().disable.begin({
        local: query.local === 'true',
        wait: query.wait !== 'false' && query.yes !== 'true',
      })
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
    changesNothing: true,
    repeats: true,
    textForm: gitCredentialForm,
    handle: ({ body, caller, operations }) => operations().issuer.answer(body, caller),
  }),
  route({
    method: 'POST',
    path: '/v1/revoke',
    sockets: ADMIN,
    summary:
      'Revoke all live tokens at GitHub, on every node; the connection stays, and tokens are minted again on demand',
    body: RevokeRequest,
    answer: RevokeAnswer,
    handle: ({ operations }) => operations().revokeAll.begin(),
  }),
  route({
    method: 'POST',
    path: '/v1/refresh',
    sockets: ADMIN,
    summary: 'Look at GitHub anew and mint new tokens for all scopes that are held',
    answer: RefreshAnswer,
    handle: ({ operations }) => operations().refresh(),
  }),
  route({
    method: 'POST',
    path: '/v1/ui-links',
    sockets: ADMIN,
    summary: 'A one-time link to the settings page; what is done by way of it is noted as done by the caller',
    status: 201,
    answer: UiLinkAnswer,
    handle({ caller, backend }) {
      const { url, expiresAtMs } = backend.issueLink(caller.attested.peer)
      return { url, expires_at: isoTime(expiresAtMs) }
    },
  }),
  ...SNAPSHOT_ROUTES,
  ...KEY_ROUTES,
  ...POLICY_ROUTES,
  ...CLUSTER_ROUTES,
  ...FEATURE_ROUTES,
  ...CHECK_ROUTES,
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
