// Who may have which scope: profiles, the calling peer, and the decision. Deny by default, root included.

import { Failure } from '../../protocol/errors.ts'
import {
  ADMIN_PROFILE,
  type Allow,
  findInstallation,
  type Grant,
  type InstallationName,
  type Peer,
  type Policy,
  type Profile,
  type Wanted,
} from '../../protocol/profile.ts'
import { isPattern, permissionsCover, repositoriesCover, type Scope } from '../../protocol/scope.ts'

/**
 * Whether `allow` admits the peer: every list that is not empty must match, within a list one match is enough.
 * An `allow` with no list at all admits nobody.
 */
export const admits = (allow: Allow, peer: Peer): boolean => {
  const { users, groups, units } = allow
  if (users.length + groups.length + units.length === 0) return false
  return (
    (users.length === 0 || users.some(user => user.id === peer.uid)) &&
    (groups.length === 0 || groups.some(group => group.id === peer.gid || peer.groups.includes(group.id))) &&
    (units.length === 0 || (peer.unit !== undefined && units.some(unit => unitMatches(unit, peer.unit ?? ''))))
  )
}

/** `name@.service` stands for every instance of the template. */
export const unitMatches = (pattern: string, unit: string): boolean => {
  const template = /^([^@]+@)(\.[a-z]+)$/.exec(pattern)
  if (!template) return pattern === unit
  const [, head = '', tail = ''] = template
  return unit.startsWith(head) && unit.endsWith(tail) && unit.length > head.length + tail.length
}

/**
 * The scope that `profile` gives to this request, or undefined where it gives none. A request narrows, never widens:
 * what it leaves out is taken from the profile.
 */
export const scopeUnder = (
  profile: Profile,
  wanted: Wanted,
  installations: readonly InstallationName[],
): Scope | undefined => {
  const installation = findInstallation(installations, profile.installation)
  if (!installation) return undefined
  if (wanted.installation !== undefined && findInstallation(installations, wanted.installation) !== installation)
    return undefined
  const repositories = wanted.repositories ?? profile.repositories
  const permissions = wanted.permissions ?? profile.permissions
  if (!repositoriesCover(profile.repositories, repositories)) return undefined
  if (!permissionsCover(profile.permissions, permissions)) return undefined
  return {
    installation: installation.id,
    ...(repositories && { repositories }),
    ...(permissions && { permissions }),
  }
}

/**
 * What the peer gets for its request, by the policy alone: the cache is never looked at here.
 * Throws `not-permitted` (alike for what is absent and what is not allowed), `profile-required`, `repositories-required`.
 */
export const authorize = (
  policy: Policy,
  peer: Peer,
  request: { wanted: Wanted; installations: readonly InstallationName[] },
): Grant => {
  const { wanted, installations } = request
  const grants: Grant[] = []
  for (const profile of policy.profiles) {
    if (wanted.profile !== undefined && profile.name !== wanted.profile) continue
    if (!admits(profile.allow, peer)) continue
    const scope = scopeUnder(profile, wanted, installations)
    if (scope) grants.push({ profile: profile.name, scope })
  }
  const [grant, ...others] = grants
  if (!grant) throw new Failure('not-permitted', 'no profile allows this request to this process')
  if (others.length > 0) {
    throw new Failure('profile-required', `these profiles would allow it: ${grants.map(g => g.profile).join(', ')}`)
  }
  return checked(grant)
}

/** The grant of admin.sock: any scope, of a profile where one is named. */
export const authorizeAdmin = (
  policy: Policy,
  request: { wanted: Wanted; installations: readonly InstallationName[] },
): Grant => {
  const { wanted, installations } = request
  if (wanted.profile !== undefined) {
    const profile = policy.profiles.find(p => p.name === wanted.profile)
    const scope = profile && scopeUnder(profile, wanted, installations)
    if (!profile || !scope) {
      throw new Failure('not-permitted', `profile ${wanted.profile} does not exist or does not hold this scope`)
    }
    return checked({ profile: profile.name, scope })
  }
  const installation = findInstallation(installations, wanted.installation)
  if (!installation) {
    if (wanted.installation === undefined && installations.length > 1) {
      throw new Failure(
        'installation-required',
        `it is installed on ${installations.map(i => i.account.login).join(', ')}`,
      )
    }
    throw new Failure(
      'installation-not-found',
      `no installation ${wanted.installation ?? ''} is known`.replace('  ', ' '),
    )
  }
  return {
    profile: ADMIN_PROFILE,
    scope: {
      installation: installation.id,
      ...(wanted.repositories && { repositories: wanted.repositories }),
      ...(wanted.permissions && { permissions: wanted.permissions }),
    },
  }
}

const checked = (grant: Grant): Grant => {
  if (grant.scope.repositories?.some(isPattern)) {
    throw new Failure('repositories-required', `profile ${grant.profile} holds patterns, and a token needs names`)
  }
  return grant
}
