// A handler for each endpoint of the table: which operation it calls, and what it makes of the result.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AnswerOf, BodyOf, EndpointName, QueryOf } from '../../protocol/endpoints.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { GIT_CREDENTIAL, readGitCredential, writeGitCredential } from '../../protocol/token-texts.ts'
import { allowNames } from '../../protocol/profile.ts'
import { Secret } from '../../protocol/secret.ts'
import { isoTime, parseWith, type ProfileBody, type StateAnswer, TokenRequest } from '../../protocol/wire.ts'
import { admits } from '../policy/decision.ts'
import type { AuditQuery } from '../../protocol/wire-policy.ts'
import type { Caller } from '../tokens/token-issuer.ts'
import { JSON_HEAD, parseJson, sendJson } from './body.ts'
import type { Api, Backend } from './context.ts'
import { createStreams } from './streams.ts'

export type Call<N extends EndpointName> = {
  readonly body: BodyOf<N>
  readonly query: QueryOf<N>
  readonly caller: Caller
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
}
/** The gateway answers for GitHub, and has no handler. */
export type HandledName = Exclude<EndpointName, 'ANY /v1/github/{path}'>
/** Undefined where the handler wrote the answer itself. */
type Answer<N extends HandledName> = (N extends 'POST /v1/snapshots' ? Uint8Array : AnswerOf<N>) | undefined
type Handlers = { readonly [N in HandledName]: (call: Call<N>) => Answer<N> | Promise<Answer<N>> }

export const createHandlers = (api: Api): Handlers => {
  const { operations, backend, metrics } = api
  const streams = createStreams(api)
  const state = (): StateAnswer => {
    const { state: kind, meaning, next } = operations().status.standing()
    return { state: kind, meaning, next }
  }
  const recoveryKeys = () => {
    const { recovery } = operations()
    return { recipients: [...recovery.recipients()], signer: recovery.signer().publicKey }
  }
  const openApi = openApiText(api)

  return {
    'GET /v1/status': ({ caller }) => backend.status(caller),
    async 'POST /v1/connection'({ body }) {
      const { url, expiresAtMs, how } = await operations().enable.begin(body.account)
      return { url, expires_at: isoTime(expiresAtMs), how }
    },
    async 'POST /v1/connection/completion'({ body }) {
      await operations().enable.complete({ ...backend.readRedirect(body.redirected), trusted: true })
      return state()
    },
    async 'POST /v1/connection/import'({ body }) {
      await operations().importApp({
        ...(body.app_id !== undefined && { appId: body.app_id }),
        ...(body.client_id !== undefined && { clientId: body.client_id }),
        ...(body.account !== undefined && { account: body.account }),
        pem: new Secret(body.private_key),
      })
      return state()
    },
    async 'DELETE /v1/connection'({ query }) {
      const wait = query.wait !== 'false' && query.yes !== 'true'
      await operations().disable.begin({ local: query.local === 'true', wait })
      return state()
    },
    'GET /v1/installations'({ caller }) {
      operations()
      const status = backend.status(caller)
      return { installations: 'installations' in status ? status.installations : [] }
    },
    'GET /v1/profiles': ({ caller }) => ({ profiles: visibleProfiles(backend, caller) }),
    'POST /v1/tokens': ({ body, caller }) => operations().issuer.answer(body, caller),
    'POST /v1/revoke': () => operations().revokeAll.begin(),
    'POST /v1/refresh': () => operations().refresh(),
    'POST /v1/ui-links'({ caller }) {
      const { url, expiresAtMs } = backend.issueLink(caller.attested.peer)
      return { url, expires_at: isoTime(expiresAtMs) }
    },
    'POST /v1/snapshots'({ query, caller }) {
      const { snapshots, recovery } = operations()
      if (recovery.recipients().length === 0 && !snapshots.exportsWaiting() && !isRootOrDaemon(caller, backend))
        throw new Failure('not-permitted', 'without a recovery key the bundle is in clear, and leaves to root only')
      return snapshots.export({ withConfig: query.config === 'true' })
    },
    async 'POST /v1/snapshots/restore'({ body }) {
      const identities = body.identity === undefined ? [] : await backend.readIdentities(body.identity)
      const bundle = Buffer.from(body.bundle, 'base64')
      const restored = await backend.restore(bundle, { identities, force: body.force === true })
      const { outcome, warnings, configuration } = restored
      return {
        outcome,
        warnings: [...warnings],
        ...state(),
        ...(configuration && { configuration: [...configuration] }),
      }
    },
    async 'POST /v1/unlock'({ body }) {
      await backend.unlock(await backend.readIdentities(body.identity))
      return state()
    },
    async 'POST /v1/adopt'() {
      await operations().snapshots.adopt()
      return state()
    },
    async 'POST /v1/recovery-keys'({ body }) {
      await operations().recovery.add(body.recipient)
      return recoveryKeys()
    },
    'GET /v1/recovery-keys': recoveryKeys,
    'GET /v1/keys': () => ({ keys: operations().keys.list() }),
    async 'POST /v1/keys'({ body }) {
      const { keys } = operations()
      const { added, alreadyHeld } = await keys.add(new Secret(body.private_key))
      return { added, already_held: alreadyHeld, keys: keys.list() }
    },
    async 'DELETE /v1/keys'({ query }) {
      const { keys } = operations()
      const { retired, deleteOnGitHub } = await keys.retire(query.fingerprint)
      return { retired: [...retired], keys: keys.list(), delete_on_github: deleteOnGitHub }
    },
    'POST /v1/policy/explain': ({ body, caller }) => operations().explain(body, caller.attested.peer),
    'GET /v1/audit'({ query, caller, outgoing }) {
      const page = pageOf(query)
      if (query.follow === 'true') return streams.audit(outgoing, caller, page)
      return { rows: [...operations().auditLog.read(page)] }
    },
    'GET /v1/audit/verdict': () => operations().auditLog.verify(),
    'GET /v1/cluster': async () => (await operations().cluster()).status(),
    async 'POST /v1/cluster'({ body }) {
      const cluster = await operations().cluster()
      await cluster.join({ replica: body.replica === true, force: body.force === true })
      return cluster.status()
    },
    async 'DELETE /v1/cluster'({ query }) {
      const cluster = await operations().cluster()
      await cluster.leave({ keep: query.keep === 'true' })
      return cluster.status()
    },
    async 'POST /v1/cluster/promotion'() {
      const cluster = await operations().cluster()
      await cluster.promote()
      return cluster.status()
    },
    'POST /v1/cluster/secret': async () => ({ resealed: await (await operations().cluster()).reseal() }),
    'GET /v1/features': async () => ({ features: await operations().features.list() }),
    'POST /v1/reload': () => ({ file: backend.reload() }),
    'GET /v1/check': ({ incoming, outgoing, caller }) =>
      incoming.headers.accept === 'text/event-stream' ? streams.check(outgoing, caller) : backend.check(),
    'GET /v1/events': ({ outgoing, caller }) => streams.events(outgoing, caller),
    async 'GET /v1/openapi.json'({ outgoing }) {
      const document = await openApi()
      outgoing.writeHead(200, { ...JSON_HEAD, 'content-length': document.length }).end(document)
      return undefined
    },
    'GET /livez': ({ outgoing }) => sendJson(outgoing, 200, { live: true }),
    'GET /readyz'({ outgoing }) {
      const reasons = reasonsNotReady(api)
      return sendJson(outgoing, reasons.length === 0 ? 200 : 503, { ready: reasons.length === 0, reasons })
    },
    'GET /metrics'({ outgoing }) {
      // Before the head, after which no problem can follow.
      const text = metrics.text()
      outgoing.writeHead(200, { 'content-type': metrics.contentType }).end(text)
      return undefined
    },
  }
}

/** POST /v1/tokens in git's words: from git's attributes, or the same JSON as ever. Undefined: another helper is to be asked, or there is nothing to say. */
export const answerGit = async (
  asked: { readonly text: string; readonly type: string },
  caller: Caller,
  { operations, backend }: Api,
): Promise<string | undefined> => {
  const { text, type } = asked
  const read =
    type === GIT_CREDENTIAL
      ? readGitCredential(text, backend.githubUrl())
      : { request: parseJson(text), knowsEphemeral: false }
  if (read === undefined) return undefined
  const request = parseWith(TokenRequest, read.request)
  const answer = await operations().issuer.answer(request, caller)
  return request.rejected === undefined ? writeGitCredential(answer, read.knowsEphemeral) : undefined
}

export const isRootOrDaemon = ({ attested: { peer } }: Caller, { ownUid }: Backend): boolean =>
  peer.uid === 0 || peer.uid === ownUid

/** Each caller sees the profiles that admit it; who else is admitted is for administrators. */
const visibleProfiles = (backend: Backend, { socket, attested }: Caller): ProfileBody[] =>
  backend
    .policy()
    .profiles.filter(({ allow }) => socket === 'admin' || admits(allow, attested.peer))
    .map(profile => ({
      name: profile.name,
      ...(profile.installation !== undefined && { installation: profile.installation }),
      ...(profile.repositories && { repositories: [...profile.repositories] }),
      ...(profile.permissions && { permissions: profile.permissions }),
      ...(socket === 'admin' && { allow: allowNames(profile) }),
    }))

const ROWS = 100
const MOST_ROWS = 1_000

const pageOf = ({ after, limit }: AuditQuery): { after?: number; limit: number } => ({
  ...(after !== undefined && { after: Number(after) }),
  limit: Math.min(MOST_ROWS, limit === undefined ? ROWS : Number(limit)),
})

const reasonsNotReady = ({ operations }: Api): string[] => {
  try {
    return operations().status.reasonsNotReady()
  } catch (error) {
    const { code, message } = asFailure(error)
    return [`${code}: ${message}`]
  }
}

/**
 * It takes milliseconds to make, and is the same until the end of the process. In bytes: as a text it would be put together with the
 * head, and copied, for each answer.
 */
const openApiText = ({ socket, version }: Api): (() => Promise<Buffer>) => {
  let bytes: Promise<Buffer> | undefined
  const make = async (): Promise<Buffer> => {
    const { openApiDocument } = await import('./openapi.ts')
    return Buffer.from(JSON.stringify(openApiDocument({ socket, version })))
  }
  return () =>
    (bytes ??= make().catch((error: unknown) => {
      bytes = undefined
      throw error
    }))
}
