// One token request from beginning to end: authorize, look up or mint, recheck the peer, audit, answer. In this order.

import { asFailure, Failure } from '../../protocol/errors.ts'
import { ADMIN_PROFILE, findInstallation, type Grant, type Policy } from '../../protocol/profile.ts'
import { describePermissions, describeScope } from '../../protocol/scope.ts'
import { isoTime, type TokenAnswer, type TokenRequest } from '../../protocol/wire.ts'
import type { Clock } from '../../service/clock.ts'
import type { StoredToken } from '../store/token-store.ts'
import type { AppLink } from '../connection/app-link.ts'
import { type Caller, chargedTo, createDecisions } from './decisions.ts'
import type { Drift } from '../connection/drift.ts'
import type { ConnectionState } from '../connection/connection-state.ts'
import { createRepositoryNames } from './repository-names.ts'
import type { RateLimit } from '../peers/rate-limit.ts'
import type { TokenWish } from './token-wishes.ts'
import type { Tokens } from './tokens.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'

export type { Caller } from './decisions.ts'

export type TokenIssuer = {
  /**
   * The token for a parsed request, at once where one is at hand. The same token has the same answer object, which nobody changes.
   * Rejects with `not-permitted`, `peer-gone`, `audit-unavailable`, and what `Tokens.obtain` throws.
   */
  answer(request: TokenRequest, caller: Caller): TokenAnswer | Promise<TokenAnswer>
  /** The same request for the one repository with this id. Unknown and denied ids reject alike with `not-permitted`. */
  narrowTo(repositoryId: number, asked: { request: TokenRequest; caller: Caller }): Promise<TokenRequest>
  /** For what is refused before a request could be made of it: rejects with `not-permitted`, which is in the log then. */
  deny(detail: string, asked: { request: TokenRequest; caller: Caller }): Promise<never>
}

export const createTokenIssuer = (deps: {
  policy: () => Policy
  connectionState: ConnectionState
  tokens: Tokens
  drift: Drift
  link: AppLink
  audit: AuditWriter
  rateLimit: Pick<RateLimit, 'takeMint'>
  clock: Pick<Clock, 'monotonic'>
}): TokenIssuer => {
  const { connectionState, tokens, audit } = deps
  const names = createRepositoryNames(deps)
  const decisions = createDecisions({ ...deps, names })
  const answers = new WeakMap<StoredToken, TokenAnswer>()
  const descriptions = new WeakMap<Grant, string>()

  const describe = (grant: Grant): string => {
    const known = descriptions.get(grant)
    if (known !== undefined) return known
    const text = describeScope(grant.scope)
    descriptions.set(grant, text)
    return text
  }

  /** The state may have changed since: a disable stops serving at once. */
  const assertServed = ({ attested }: Caller): void => {
    connectionState.requireServing()
    attested.assertAlive()
  }

  /** The last steps, the same for a token at hand and for one that was minted. */
  const handOver = (grant: Grant, token: StoredToken, caller: Caller): TokenAnswer | Promise<TokenAnswer> => {
    assertServed(caller)
    const { attested } = caller
    const written = audit.granted({
      connection: attested,
      peer: attested.peer,
      profile: grant.profile,
      scope: describe(grant),
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

  const obtain = async (request: TokenRequest, caller: Caller): Promise<{ grant: Grant; token: StoredToken }> => {
    const grant = decisions.decide(request, caller)
    try {
      return { grant, token: await tokens.obtain(grant, wishOf(request), chargedTo(caller)) }
    } catch (error) {
      if (error instanceof Failure && error.code === 'repository-not-accessible')
        throw await names.explain(error, grant.scope, chargedTo(caller))
      // A reinstalled App has a new installation id: looked up once more, and authorized anew.
      const stale = error instanceof Failure && error.code === 'installation-not-found'
      if (!stale || !(await deps.drift.lookAgain())) throw error
      const renewed = decisions.decide(request, caller)
      return { grant: renewed, token: await tokens.obtain(renewed, wishOf(request), chargedTo(caller)) }
    }
  }

  const answerAtHand = (request: TokenRequest, caller: Caller): TokenAnswer | Promise<TokenAnswer> | undefined => {
    connectionState.requireServing()
    // Ids are authorized before they are looked up, and once more as names.
    if (request.repository_ids) return undefined
    const grant = decisions.decide(request, caller)
    if (request.rejected !== undefined) return undefined
    const token = tokens.find(grant, wishOf(request), chargedTo(caller))
    return token && handOver(grant, token, caller)
  }

  const answerLater = async (request: TokenRequest, caller: Caller): Promise<TokenAnswer> => {
    const { grant, token } = await obtain(await decisions.nameRepositories(request, caller), caller)
    return handOver(grant, token, caller)
  }

  /** A denial is in the log before it is told. */
  const refuse = async (
    error: unknown,
    { request, caller }: { request: TokenRequest; caller: Caller },
  ): Promise<never> => {
    const failure = asFailure(error)
    if (failure.code === 'not-permitted' || failure.code === 'peer-gone') {
      await audit.denied({ peer: caller.attested.peer, detail: failure.message, wanted: describeRequest(request) })
    }
    throw failure
  }

  return {
    narrowTo(repositoryId, asked) {
      const { request, caller } = asked
      return decisions.narrowTo(repositoryId, request, caller).catch(error => refuse(error, asked))
    },
    deny: (detail, asked) => refuse(new Failure('not-permitted', detail), asked),
    answer(request, caller) {
      const refused = (error: unknown): Promise<never> => refuse(error, { request, caller })
      try {
        const answer = answerAtHand(request, caller) ?? answerLater(request, caller)
        return answer instanceof Promise ? answer.catch(refused) : answer
      } catch (error) {
        return refused(error)
      }
    },
  }
}

const describeRequest = (request: TokenRequest): string =>
  [
    ...(request.profile === undefined ? [] : [`profile ${request.profile}`]),
    ...(request.installation === undefined ? [] : [`installation ${request.installation}`]),
    (request.repositories ?? request.repository_ids)?.join(' ') ?? 'repositories of the profile',
    request.permissions ? describePermissions(request.permissions) : 'permissions of the profile',
  ]
    .join(', ')
    .slice(0, MAX_DESCRIPTION)

/** Names are short, but there may be 500 of them. */
const MAX_DESCRIPTION = 500

const wishOf = (request: TokenRequest): TokenWish => ({
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
