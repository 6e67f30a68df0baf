// The decision on a token request: whose it is, which scope it names, what the policy grants. The tokens at hand have no part in it.

import type { Installation } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import { admits, authorize, authorizeAdmin } from '../policy/policy.ts'
import { findInstallation, type Grant, type Peer, type Policy, type Wanted } from '../../protocol/profile.ts'
import type { TokenRequest } from '../../protocol/wire.ts'
import type { Attested } from '../peers/peer.ts'
import type { ConnectionState } from '../connection/connection-state.ts'
import type { RepositoryNames } from './repository-names.ts'

/** Who asks, and by which socket. `connection` is the same object for all requests of one socket connection. */
/** `attested`: one object for each connection. */
export type Caller = { readonly socket: 'token' | 'admin'; readonly attested: Attested }

/** Administrators have no allowance, and a share of the cache of their own. */
export const chargedTo = ({ socket, attested }: Caller): Peer | undefined =>
  socket === 'token' ? attested.peer : undefined

export type Decisions = {
  /** For a request that names its repositories, or none. Throws `not-permitted`, `profile-required` and their like. */
  decide(request: TokenRequest, caller: Caller): Grant
  /** The same request with names in place of ids, so that one repository has one name in the policy and in the cache. */
  nameRepositories(request: TokenRequest, caller: Caller): Promise<TokenRequest>
  /**
   * The same request for the one repository with this id. Throws `not-permitted` where no installation that the caller's profiles
   * reach has it, `rate-limited` where the caller has looked up too many.
   */
  narrowTo(repositoryId: number, request: TokenRequest, caller: Caller): Promise<TokenRequest>
}

export const createDecisions = (deps: {
  policy: () => Policy
  connectionState: ConnectionState
  names: Pick<RepositoryNames, 'list' | 'find'>
}): Decisions => {
  const { connectionState } = deps
  // A large request goes with its answer: its decision must not keep it.
  const made = new WeakMap<Attested, WeakMap<TokenRequest, Made>>()

  const authorizeFor = (request: TokenRequest, caller: Caller): Grant => {
    const { installations } = connectionState.read()
    const policy = deps.policy()
    const wanted = toWanted(request)
    if (caller.socket === 'admin') return authorizeAdmin(policy, { wanted, installations })
    return authorize(policy, caller.attested.peer, { wanted, installations })
  }

  /** Whose repositories an id may be of: GitHub is asked of nothing that no profile of the caller's reaches. */
  const reachedBy = ({ profile, installation: wanted }: TokenRequest, caller: Caller): readonly Installation[] => {
    const { installations } = connectionState.read()
    const named = wanted === undefined ? installations : [findInstallation(installations, wanted)]
    const admitting =
      caller.socket === 'admin' && profile === undefined
        ? installations
        : deps
            .policy()
            .profiles.filter(p => profile === undefined || p.name === profile)
            .filter(p => caller.socket === 'admin' || admits(p.allow, caller.attested.peer))
            .map(p => findInstallation(installations, p.installation))
    return [...new Set(admitting)].filter(i => i !== undefined).filter(i => named.includes(i))
  }

  const installationOfIds = (request: TokenRequest, caller: Caller): number => {
    const { profile, installation: wanted } = request
    if (caller.socket === 'admin' && profile === undefined) {
      const anything = wanted === undefined ? {} : { installation: wanted }
      const { installations } = connectionState.read()
      return authorizeAdmin(deps.policy(), { wanted: anything, installations }).scope.installation
    }
    const [installation, ...others] = reachedBy(request, caller)
    if (!installation) throw new Failure('not-permitted', NOT_PERMITTED)
    if (others.length > 0) throw new Failure('profile-required', 'profiles of several installations admit this process')
    return installation.id
  }

  const namesOf = async (ids: readonly number[], request: TokenRequest, caller: Caller): Promise<string[]> => {
    const names = await deps.names.list(installationOfIds(request, caller), chargedTo(caller))
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
      const { installations } = connectionState.read()
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
    async narrowTo(repositoryId, request, caller) {
      let failed: unknown
      for (const installation of reachedBy(request, caller)) {
        try {
          const name = await deps.names.find(installation, repositoryId, chargedTo(caller))
          if (name !== undefined) return { ...request, installation: installation.id, repositories: [name] }
        } catch (error) {
          failed ??= error
        }
      }
      throw failed ?? new Failure('not-permitted', NOT_PERMITTED)
    },
  }
}

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
