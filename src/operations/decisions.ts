// The decision on a token request: whose it is, which scope it names, what the policy grants. The tokens at hand have no part in it.

import type { Installation } from '../domain/connection.ts'
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
import type { Secret } from '../domain/secret.ts'
import type { TokenRequest } from '../domain/wire.ts'
import type { Clock } from '../platform/clock.ts'
import type { Attested } from '../platform/peer.ts'
import type { AppLink } from './app-link.ts'
import type { Journey } from './journey.ts'
import type { Tokens } from './tokens.ts'

/** Who asks, and by which socket. `connection` is the same object for all requests of one socket connection. */
export type Caller = { readonly socket: 'token' | 'admin'; readonly attested: Attested; readonly connection: object }

export type Decisions = {
  /** For a request that names its repositories, or none. Throws `not-permitted`, `profile-required` and their like. */
  decide(request: TokenRequest, caller: Caller): Grant
  /** The same request with names in place of ids, so that one repository has one name in the policy and in the cache. */
  nameRepositories(request: TokenRequest, caller: Caller): Promise<TokenRequest>
}

export const createDecisions = (deps: {
  policy: () => Policy
  journey: Journey
  tokens: Tokens
  link: AppLink
  clock: Pick<Clock, 'monotonic'>
}): Decisions => {
  const { journey, tokens } = deps
  const listed = new Map<number, { names: ReadonlyMap<number, string>; atMs: number }>()
  const made = new WeakMap<Attested, WeakMap<TokenRequest, Made>>()

  const authorizeFor = (request: TokenRequest, caller: Caller): Grant => {
    const { installations } = journey.read()
    const policy = deps.policy()
    const wanted = toWanted(request)
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

  /** Asked for once a minute: who may ask for tokens is not to make calls to GitHub at will. */
  const namesIn = async (installation: number, token: Secret): Promise<ReadonlyMap<number, string>> => {
    const known = listed.get(installation)
    if (known && deps.clock.monotonic() - known.atMs < LISTED_MS) return known.names
    const atMs = deps.clock.monotonic()
    const names = new Map((await deps.link.listRepositories(token)).map(({ id, name }) => [id, name]))
    listed.set(installation, { names, atMs })
    return names
  }

  const namesOf = async (ids: readonly number[], request: TokenRequest, caller: Caller): Promise<string[]> => {
    const scope = { installation: installationOfIds(request, caller), permissions: { metadata: 'read' } } as const
    const { token } = await tokens.obtain({ profile: ADMIN_PROFILE, scope })
    const names = await namesIn(scope.installation, token)
    return ids.map(id => {
      const name = names.get(id)
      if (name === undefined) throw new Failure('not-permitted', NOT_PERMITTED)
      return name
    })
  }

  return {
    /** Taken anew as soon as anything that it is made of is another object: request, connection, policy, installations. */
    decide(request, caller) {
      const policy = deps.policy()
      const { installations } = journey.read()
      const known = made.get(caller.attested)?.get(request)
      if (known?.policy === policy && known.installations === installations && known.socket === caller.socket) {
        return known.grant
      }
      const grant = authorizeFor(request, caller)
      const ofCaller = made.get(caller.attested) ?? new WeakMap<TokenRequest, Made>()
      made.set(caller.attested, ofCaller.set(request, { policy, installations, socket: caller.socket, grant }))
      return grant
    },
    async nameRepositories(request, caller) {
      const { repository_ids: ids, ...rest } = request
      return ids ? { ...rest, repositories: await namesOf(ids, request, caller) } : request
    },
  }
}

const LISTED_MS = 60_000

type Made = {
  readonly policy: Policy
  readonly installations: readonly Installation[]
  readonly socket: Caller['socket']
  readonly grant: Grant
}

export const NOT_PERMITTED = 'no profile allows this request to this process'

const toWanted = (request: TokenRequest): Wanted => ({
  ...(request.profile !== undefined && { profile: request.profile }),
  ...(request.installation !== undefined && { installation: request.installation }),
  ...(request.repositories && { repositories: request.repositories }),
  ...(request.permissions && { permissions: request.permissions }),
})
