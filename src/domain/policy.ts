// Who may have which scope: profiles, the calling peer, and the decision. Deny by default, root included.

import { Failure } from './errors.ts'
import { foldName, isPattern, type Permissions, permissionsCover, repositoriesCover, type Scope } from './scope.ts'

/** The process at the other end of a unix socket, as the kernel tells it. `unit` is the systemd unit, if it can be told. */
export type Peer = {
  readonly pid: number
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
  readonly unit?: string
  /** Where it may well be in a unit, but this kernel has no proof of it and `[policy] weak_pid` does not stand in: no unit matches. */
  readonly unitWithheld?: true
  /** N where the process runs below `user-N.slice`: whose login it belongs to, whatever uid it shows. Never used to grant. */
  readonly userSlice?: number
  /** When the process started, in clock ticks since boot: with the pid it names the process. Undefined where /proc hides it. */
  readonly startTicks?: number
}

/** A user or group: the name that the administrator wrote, and the id that the system gave for it at load. */
export type Principal = { readonly name: string; readonly id: number }

export type Allow = {
  readonly users: readonly Principal[]
  readonly groups: readonly Principal[]
  readonly units: readonly string[]
}

export type Profile = {
  readonly name: string
  /** An account's login or slug, or an installation's id. May be left out where there is exactly one installation. */
  readonly installation?: string | number
  /** Names or patterns with `*`. None: all of the installation. */
  readonly repositories?: readonly string[]
  readonly permissions?: Permissions
  readonly allow: Allow
}

/** What a profile may be called, in the configuration and in each request. */
export const PROFILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
/** A unit that can run a process, by its full name. */
export const UNIT_NAME = /^[A-Za-z0-9:_.\\@-]{1,255}\.(?:service|scope)$/

export type Policy = { readonly profiles: readonly Profile[] }

/** Whom a profile admits, as the administrator wrote it. */
export const allowNames = ({ allow }: Profile): { users: string[]; groups: string[]; units: string[] } => ({
  users: allow.users.map(user => user.name),
  groups: allow.groups.map(group => group.name),
  units: [...allow.units],
})

/** Just enough of an installation to find it by id or account. */
export type InstallationName = { readonly id: number; readonly account: { readonly login: string } }

/** What a caller asks for, parsed, with ids already resolved to names. */
export type Wanted = {
  readonly profile?: string
  readonly installation?: string | number
  readonly repositories?: readonly string[]
  readonly permissions?: Permissions
}

export type Grant = { readonly profile: string; readonly scope: Scope }

/** The holder that admin.sock mints for; no profile can have this name (names are not empty). */
export const ADMIN_PROFILE = ''

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

/** A number is an id; a text is an account, or an id in digits. What two installations answer to is neither's name. */
export const findInstallation = <I extends InstallationName>(
  installations: readonly I[],
  wanted: string | number | undefined,
): I | undefined => {
  if (wanted === undefined) return installations.length === 1 ? installations[0] : undefined
  if (typeof wanted === 'number') return installations.find(i => i.id === wanted)
  const named = installations.filter(i => String(i.id) === wanted || foldName(i.account.login) === foldName(wanted))
  return named.length === 1 ? named[0] : undefined
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
