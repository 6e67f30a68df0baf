// One token request from beginning to end: authorize, look up or mint, recheck the peer, audit, answer. In this order.

import type { Installation } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { ADMIN_PROFILE, findInstallation, type Grant, type Peer, type Policy } from '../../protocol/profile.ts'
import { describePermissions, describeScope } from '../../protocol/scope.ts'
import { isoTime, type TokenAnswer, type TokenRequest } from '../../protocol/wire.ts'
import type { StoredToken } from '../store/records.ts'
import type { Drift } from '../connection/drift.ts'
import { authorize, authorizeAdmin, notPermitted, reachable } from '../policy/decision.ts'
import type { Attested } from '../peers/peer.ts'
import type { RateLimit } from '../peers/rate-limit.ts'
import type { TokenDeps } from './minting.ts'
import { createRepositoryNames } from './repository-names.ts'
import type { TokenOptions, Tokens } from './tokens.ts'

/** Who asks, and by which socket. `attested` is one object for all requests of a connection. */
export type Caller = { readonly socket: 'token' | 'admin'; readonly attested: Attested }

type Asked = { readonly request: TokenRequest; readonly caller: Caller }

export type TokenIssuer = ReturnType<typeof createTokenIssuer>

export const createTokenIssuer = (
  deps: TokenDeps & { policy: () => Policy; tokens: Tokens; drift: Drift; rateLimit: Pick<RateLimit, 'takeMint'> },
) => {
  const { connectionState, tokens, audit } = deps
  const names = createRepositoryNames(deps)
  // A large request goes with its answer: its decision must not keep it.
  const decided = new WeakMap<Attested, WeakMap<TokenRequest, Decided>>()
  const answers = new WeakMap<StoredToken, TokenAnswer>()

  const authorizeFor = (wanted: TokenRequest, { socket, attested }: Caller): Grant => {
    const asked = { wanted, installations: connectionState.read().installations }
    return socket === 'admin' ? authorizeAdmin(deps.policy(), asked) : authorize(deps.policy(), attested.peer, asked)
  }

  /** Decided again as soon as anything that it is made of is another object: request, connection, policy, installations. */
  const decide = (request: TokenRequest, caller: Caller): Decided => {
    const policy = deps.policy()
    const { installations } = connectionState.read()
    const { socket, attested } = caller
    const known = decided.get(attested)?.get(request)
    if (known?.policy === policy && known.installations === installations && known.socket === socket) return known
    const grant = authorizeFor(request, caller)
    const made = { policy, installations, socket, grant, scope: describeScope(grant.scope) }
    const ofCaller = decided.get(attested) ?? new WeakMap<TokenRequest, Decided>()
    decided.set(attested, ofCaller.set(request, made))
    return made
  }

  /** Whose repositories an id may be of: GitHub is asked of nothing that no profile of the caller's reaches. */
  const reachedBy = (wanted: TokenRequest, caller: Caller): readonly Installation[] =>
    reachable(deps.policy(), policyPeer(caller), { wanted, installations: connectionState.read().installations })

  const installationOfIds = (request: TokenRequest, caller: Caller): number => {
    const { profile, installation: named } = request
    if (caller.socket === 'admin' && profile === undefined)
      return authorizeFor({ installation: named }, caller).scope.installation
    const [installation, ...others] = reachedBy(request, caller)
    if (!installation) throw notPermitted()
    if (others.length > 0) throw new Failure('profile-required', 'profiles of several installations admit this process')
    return installation.id
  }

  /** The same request with names in place of ids, so that one repository has one name in the policy and in the cache. */
  const nameRepositories = async (request: TokenRequest, caller: Caller): Promise<TokenRequest> => {
    const { repository_ids: ids, ...rest } = request
    if (!ids) return request
    const listed = await names.list(installationOfIds(request, caller), policyPeer(caller))
    const repositories = ids.map(id => listed.get(id)).filter(name => name !== undefined)
    if (repositories.length < ids.length) throw notPermitted()
    return { ...rest, repositories }
  }

  const findRepository = async (id: number, { request, caller }: Asked): Promise<TokenRequest> => {
    let failed: unknown
    for (const installation of reachedBy(request, caller)) {
      try {
        const name = await names.find(installation, id, policyPeer(caller))
        if (name !== undefined) return { ...request, installation: installation.id, repositories: [name] }
      } catch (error) {
        failed ??= error
      }
    }
    throw failed ?? notPermitted()
  }

  /** The state may have changed since: a disable stops serving at once. */
  const assertServed = ({ attested }: Caller): void => {
    connectionState.requireServing()
    attested.assertAlive()
  }

  /** The last steps, the same for a cached token and for one that was minted. */
  const handOver = (
    { grant, scope }: Decided,
    token: StoredToken,
    caller: Caller,
  ): TokenAnswer | Promise<TokenAnswer> => {
    assertServed(caller)
    const { attested } = caller
    const written = audit.granted({
      connection: attested,
      peer: attested.peer,
      profile: grant.profile,
      scope,
      token: token.token,
    })
    return written ? written.then(() => (assertServed(caller), answerWith(token))) : answerWith(token)
  }

  const answerWith = (token: StoredToken): TokenAnswer => {
    const account =
      findInstallation(connectionState.read().installations, token.scope.installation)?.account.login ?? ''
    const known = answers.get(token)
    if (known?.account === account) return known
    const answer = toAnswer(token, account)
    answers.set(token, answer)
    return answer
  }

  const findCached = (request: TokenRequest, caller: Caller): TokenAnswer | Promise<TokenAnswer> | undefined => {
    connectionState.requireServing()
    // Ids are authorized before they are looked up, and once more as names.
    if (request.repository_ids) return undefined
    const made = decide(request, caller)
    if (request.rejected !== undefined) return undefined
    const token = tokens.find(made.grant, optionsOf(request), policyPeer(caller))
    return token && handOver(made, token, caller)
  }

  const obtain = async (asked: TokenRequest, caller: Caller): Promise<TokenAnswer> => {
    const request = await nameRepositories(asked, caller)
    const peer = policyPeer(caller)
    const made = decide(request, caller)
    try {
      return await handOver(made, await tokens.obtain(made.grant, optionsOf(request), peer), caller)
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      if (error.code === 'repository-not-accessible') throw await names.explain(error, made.grant.scope, peer)
      // A reinstalled App has a new installation id: looked up once more, and authorized again.
      if (error.code !== 'installation-not-found' || !(await deps.drift.lookAgain())) throw error
      const renewed = decide(request, caller)
      return handOver(renewed, await tokens.obtain(renewed.grant, optionsOf(request), peer), caller)
    }
  }

  /** A denial is in the log before it is told. */
  const refuse = async (error: unknown, { request, caller }: Asked): Promise<never> => {
    const failure = asFailure(error)
    if (failure.code === 'not-permitted' || failure.code === 'peer-gone') {
      await audit.denied({ peer: caller.attested.peer, detail: failure.message, wanted: describeRequest(request) })
    }
    throw failure
  }

  return {
    /**
     * The token for a parsed request, at once where it is cached. The same token has the same answer object, which nobody changes.
     * Rejects with `not-permitted`, `peer-gone`, `audit-unavailable`, and what `Tokens.obtain` throws.
     */
    answer(request: TokenRequest, caller: Caller): TokenAnswer | Promise<TokenAnswer> {
      const refused = (error: unknown): Promise<never> => refuse(error, { request, caller })
      try {
        const answer = findCached(request, caller) ?? obtain(request, caller)
        return answer instanceof Promise ? answer.catch(refused) : answer
      } catch (error) {
        return refused(error)
      }
    },
    /** The same request for the one repository with this id. Unknown and denied ids reject alike with `not-permitted`. */
    narrowTo: (repositoryId: number, asked: Asked): Promise<TokenRequest> =>
      findRepository(repositoryId, asked).catch(error => refuse(error, asked)),
    /** For what is refused before a request could be made of it: rejects with `not-permitted`, which is in the log then. */
    deny: (detail: string, asked: Asked): Promise<never> => refuse(new Failure('not-permitted', detail), asked),
  }
}

type Decided = {
  readonly policy: Policy
  readonly installations: readonly Installation[]
  readonly socket: Caller['socket']
  readonly grant: Grant
  /** In the words of the audit log. */
  readonly scope: string
}

/** Whom the policy and the allowances are for. Administrators obey neither, and have a share of the cache of their own. */
const policyPeer = ({ socket, attested }: Caller): Peer | undefined => (socket === 'token' ? attested.peer : undefined)

/** Names are short, but there may be 500 of them. */
const MAX_DESCRIPTION = 500

const describeRequest = (request: TokenRequest): string =>
  [
    ...(request.profile === undefined ? [] : [`profile ${request.profile}`]),
    ...(request.installation === undefined ? [] : [`installation ${request.installation}`]),
    (request.repositories ?? request.repository_ids)?.join(' ') ?? 'repositories of the profile',
    request.permissions ? describePermissions(request.permissions) : 'permissions of the profile',
  ]
    .join(', ')
    .slice(0, MAX_DESCRIPTION)

const optionsOf = (request: TokenRequest): TokenOptions => ({
  ...(request.min_ttl_seconds !== undefined && { minTtlMs: request.min_ttl_seconds * 1000 }),
  ...(request.rejected !== undefined && { rejected: request.rejected }),
})

const toAnswer = (token: StoredToken, account: string): TokenAnswer => ({
  token: token.token.reveal(),
  expires_at: isoTime(token.expiresAtMs),
  installation: token.scope.installation,
  account,
  ...(token.profile !== ADMIN_PROFILE && { profile: token.profile }),
  ...(token.granted.repositories && { repositories: [...token.granted.repositories] }),
  permissions: token.granted.permissions,
})
