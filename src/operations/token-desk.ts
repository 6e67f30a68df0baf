// One token request from beginning to end: authorize, look up or mint, recheck the peer, audit, answer. In this order.

import { Failure } from '../domain/errors.ts'
import {
  ADMIN_PROFILE,
  admits,
  authorize,
  authorizeAdmin,
  findInstallation,
  type Grant,
  type Policy,
  type Wanted,
} from '../domain/policy.ts'
import { isoTime, type TokenAnswer, type TokenRequest } from '../domain/wire.ts'
import type { Attested } from '../platform/peer.ts'
import type { StoredToken } from '../store/token-store.ts'
import type { AppLink } from './app-link.ts'
import type { Drift } from './drift.ts'
import type { Journey } from './journey.ts'
import { describeScope, type Tokens } from './tokens.ts'
import type { Trail } from './trail.ts'

/** Who asks, and by which socket. `connection` is the same object for all requests of one socket connection. */
export type Caller = { readonly socket: 'token' | 'admin'; readonly attested: Attested; readonly connection: object }

export type TokenDesk = {
  /** The token for a parsed request. Throws `not-permitted`, `peer-gone`, `audit-unavailable`, and what `Tokens.obtain` throws. */
  answer(request: TokenRequest, caller: Caller): Promise<TokenAnswer>
}

export const createTokenDesk = (deps: {
  policy: () => Policy
  journey: Journey
  tokens: Tokens
  drift: Drift
  link: AppLink
  trail: Trail
}): TokenDesk => {
  const { journey, tokens, trail } = deps

  const authorizeFor = (caller: Caller, wanted: Wanted): Grant => {
    const { installations } = journey.read()
    const policy = deps.policy()
    if (caller.socket === 'admin') return authorizeAdmin(policy, { wanted, installations })
    return authorize(policy, caller.attested.peer, { wanted, installations })
  }

  /** Whose repositories the ids are of: nothing is listed that no profile of the caller's reaches. */
  const installationOfIds = ({ profile, installation: wanted }: TokenRequest, caller: Caller): number => {
    const { installations } = journey.read()
    const policy = deps.policy()
    if (caller.socket === 'admin' && profile === undefined) {
      const anything = wanted === undefined ? {} : { installation: wanted }
      return authorizeAdmin(policy, { wanted: anything, installations }).scope.installation
    }
    const reached = policy.profiles
      .filter(p => profile === undefined || p.name === profile)
      .filter(p => caller.socket === 'admin' || admits(p.allow, caller.attested.peer))
      .map(p => findInstallation(installations, p.installation))
      .filter(i => i !== undefined && (wanted === undefined || findInstallation(installations, wanted) === i))
    const [installation, ...others] = new Set(reached)
    if (!installation) throw new Failure('not-permitted', NOT_PERMITTED)
    if (others.length > 0) throw new Failure('profile-required', 'profiles of several installations admit this process')
    return installation.id
  }

  /** Ids become names before anything is authorized, so that one repository has one name in the policy and in the cache. */
  const resolveIds = async (request: TokenRequest, caller: Caller): Promise<readonly string[] | undefined> => {
    const ids = request.repository_ids
    if (!ids) return request.repositories
    const scope = { installation: installationOfIds(request, caller), permissions: { metadata: 'read' } } as const
    const { token } = await tokens.obtain({ profile: ADMIN_PROFILE, scope })
    const names = new Map((await deps.link.listRepositories(token)).map(({ id, name }) => [id, name]))
    return ids.map(id => {
      const name = names.get(id)
      if (name === undefined) throw new Failure('not-permitted', NOT_PERMITTED)
      return name
    })
  }

  const obtain = async (request: TokenRequest, { caller, wanted }: { caller: Caller; wanted: Wanted }) => {
    const grant = authorizeFor(caller, wanted)
    const wish = {
      ...(request.min_ttl_seconds !== undefined && { minTtlMs: request.min_ttl_seconds * 1000 }),
      ...(request.rejected !== undefined && { rejected: request.rejected }),
    }
    try {
      return { grant, token: await tokens.obtain(grant, wish) }
    } catch (error) {
      // A reinstalled App has a new installation id: looked up once more, and authorized anew.
      const stale = error instanceof Failure && error.code === 'installation-not-found'
      if (!stale || !(await deps.drift.lookAgain())) throw error
      const renewed = authorizeFor(caller, wanted)
      return { grant: renewed, token: await tokens.obtain(renewed, wish) }
    }
  }

  return {
    async answer(request, caller) {
      const { peer } = caller.attested
      let served: { grant: Grant; token: StoredToken }
      try {
        journey.requireServing()
        const repositories = await resolveIds(request, caller)
        served = await obtain(request, { caller, wanted: toWanted(request, repositories) })
      } catch (error) {
        if (error instanceof Failure && error.code === 'not-permitted') trail.denied({ peer, detail: error.message })
        throw error
      }
      const { grant, token } = served
      // The state may have changed while GitHub was asked: a disable stops serving at once.
      journey.requireServing()
      caller.attested.assertAlive()
      trail.granted({
        connection: caller.connection,
        peer,
        profile: grant.profile,
        scope: describeScope(grant.scope),
        token: token.token,
      })
      return toAnswer(
        token,
        findInstallation(journey.read().installations, token.scope.installation)?.account.login ?? '',
      )
    },
  }
}

const NOT_PERMITTED = 'no profile allows this request to this process'

const toWanted = (request: TokenRequest, repositories: readonly string[] | undefined): Wanted => ({
  ...(request.profile !== undefined && { profile: request.profile }),
  ...(request.installation !== undefined && { installation: request.installation }),
  ...(repositories && { repositories }),
  ...(request.permissions && { permissions: request.permissions }),
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
