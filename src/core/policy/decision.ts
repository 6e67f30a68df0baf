// The decision on a request: which profiles admit the caller, and which scope they give. Deny by default, root included.

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
} from '../../protocol/profile.ts'
import { isPattern, permissionsCover, repositoriesCover, type Scope } from '../../protocol/scope.ts'
import type { TokenRequest } from '../../protocol/wire.ts'

/** What a caller asks for; ids of repositories are resolved to names before. */
export type Wanted = Pick<TokenRequest, 'profile' | 'installation' | 'repositories' | 'permissions'>
export type Asked<I extends InstallationName = InstallationName> = {
  readonly wanted: Wanted
  readonly installations: readonly I[]
}

/** As much of a caller as is known: a peer is a whole one. What is absent could be anything; `unit: undefined` is in none. */
export type Subject = Partial<Pick<Peer, 'uid' | 'gid' | 'groups' | 'unitWithheld'>> & {
  readonly unit?: string | undefined
  /** Why the units of this machine's processes are not seen: then none matches. */
  readonly unitsHidden?: string
}

/** `any`: the list is empty and asks for nothing. `depends`: on something that is not known of the caller. */
export type Outcome = 'match' | 'no-match' | 'any' | 'depends'

/** Every list of `allow` that is not empty must match, within a list one match is enough. With no list at all nobody is admitted. */
export const LISTS = {
  users({ users, groups, units }: Allow, { uid }: Subject): Outcome {
    if (users.length === 0) return groups.length + units.length === 0 ? 'no-match' : 'any'
    if (uid === undefined) return 'depends'
    return users.some(({ id }) => id === uid) ? 'match' : 'no-match'
  },
  groups({ groups }: Allow, { gid, groups: held }: Subject): Outcome {
    if (groups.length === 0) return 'any'
    if (groups.some(({ id }) => id === gid || held?.includes(id))) return 'match'
    return held === undefined ? 'depends' : 'no-match'
  },
  units({ units }: Allow, subject: Subject): Outcome {
    if (units.length === 0) return 'any'
    if (subject.unitWithheld || subject.unitsHidden !== undefined) return 'no-match'
    if (!('unit' in subject)) return 'depends'
    const { unit } = subject
    return unit !== undefined && units.some(pattern => unitMatches(pattern, unit)) ? 'match' : 'no-match'
  },
}

/** `name@.service` stands for every instance of the template. */
const unitMatches = (pattern: string, unit: string): boolean => {
  const template = pattern.includes('@.') && /^([^@]+@)(\.[a-z]+)$/.exec(pattern)
  if (!template) return pattern === unit
  const [, head = '', tail = ''] = template
  return unit.startsWith(head) && unit.endsWith(tail) && unit.length > head.length + tail.length
}

const admission = (allow: Allow, subject: Subject): 'match' | 'no-match' | 'depends' => {
  const outcomes = [LISTS.users(allow, subject), LISTS.groups(allow, subject), LISTS.units(allow, subject)]
  if (outcomes.includes('no-match')) return 'no-match'
  return outcomes.includes('depends') ? 'depends' : 'match'
}

/** Whether `allow` admits the peer. One without a unit is in none. */
export const admits = (allow: Allow, peer: Peer): boolean => admission(allow, peer) === 'match'

/**
 * The scope that `profile` gives to this request, or what stands against it. A request narrows, never widens: what it leaves out
 * is taken from the profile.
 */
export const scopeUnder = (
  profile: Profile,
  { wanted, installations }: Asked,
): Scope | 'no-installation' | 'installation' | 'repositories' | 'permissions' => {
  const installation = findInstallation(installations, profile.installation)
  if (!installation) return 'no-installation'
  if (wanted.installation !== undefined && findInstallation(installations, wanted.installation) !== installation)
    return 'installation'
  const { repositories = profile.repositories, permissions = profile.permissions } = wanted
  if (!repositoriesCover(profile.repositories, repositories)) return 'repositories'
  if (!permissionsCover(profile.permissions, permissions)) return 'permissions'
  return scopeOf(installation, { repositories, permissions })
}

const scopeOf = (
  { id }: InstallationName,
  { repositories, permissions }: { readonly [K in 'repositories' | 'permissions']?: Scope[K] | undefined },
): Scope => ({
  installation: id,
  ...(repositories && { repositories }),
  ...(permissions && { permissions }),
})

export type Decision = {
  /** The problem's code where it is none of the others. */
  readonly outcome: 'granted' | 'depends' | 'not-permitted' | 'profile-required' | 'repositories-required'
  /** By one profile each. */
  readonly granted: readonly Grant[]
  /** Granted or not, by what is not known of the subject. */
  readonly open: readonly Grant[]
}

/** Who gets what, by the policy alone: the cache is never looked at here. Of a whole subject nothing is `open`. */
export const decide = (policy: Policy, subject: Subject, asked: Asked): Decision => {
  const granted: Grant[] = []
  const open: Grant[] = []
  for (const profile of policy.profiles) {
    if (asked.wanted.profile !== undefined && profile.name !== asked.wanted.profile) continue
    const admitted = admission(profile.allow, subject)
    if (admitted === 'no-match') continue
    const scope = scopeUnder(profile, asked)
    if (typeof scope === 'string') continue
    const grants = admitted === 'match' ? granted : open
    grants.push({ profile: profile.name, scope })
  }
  return { outcome: open.length > 0 ? 'depends' : outcomeOf(granted), granted, open }
}

const outcomeOf = ([grant, ...others]: readonly Grant[]): Exclude<Decision['outcome'], 'depends'> => {
  if (!grant) return 'not-permitted'
  if (others.length > 0) return 'profile-required'
  return grant.scope.repositories?.some(isPattern) ? 'repositories-required' : 'granted'
}

export const namesOf = (grants: readonly Grant[]): string => grants.map(({ profile }) => profile).join(', ')

/** The same for what is absent and what is not allowed. */
export const notPermitted = (): Failure =>
  new Failure('not-permitted', 'no profile allows this request to this process')

/** What the peer gets on token.sock. Throws `not-permitted`, `profile-required`, `repositories-required`. */
export const authorize = (policy: Policy, peer: Peer, asked: Asked): Grant => {
  const { granted } = decide(policy, { unit: undefined, ...peer }, asked)
  const [grant] = granted
  if (!grant) throw notPermitted()
  if (granted.length > 1) throw new Failure('profile-required', `these profiles would allow it: ${namesOf(granted)}`)
  return withNames(grant)
}

/** What admin.sock gets: any scope, of a profile where one is named. Throws `installation-required` and `-not-found`, too. */
export const authorizeAdmin = (policy: Policy, asked: Asked): Grant => {
  const { wanted, installations } = asked
  if (wanted.profile !== undefined) {
    const profile = policy.profiles.find(({ name }) => name === wanted.profile)
    const scope = profile && scopeUnder(profile, asked)
    if (typeof scope !== 'object')
      throw new Failure('not-permitted', `profile ${wanted.profile} does not exist or does not hold this scope`)
    return withNames({ profile: wanted.profile, scope })
  }
  const installation = findInstallation(installations, wanted.installation)
  if (installation) return { profile: ADMIN_PROFILE, scope: scopeOf(installation, wanted) }
  if (wanted.installation !== undefined)
    throw new Failure('installation-not-found', `no installation ${wanted.installation} is known`)
  if (installations.length === 0) throw new Failure('installation-not-found', 'no installation is known')
  const accounts = installations.map(({ account }) => account.login).join(', ')
  throw new Failure('installation-required', `it is installed on ${accounts}`)
}

const withNames = (grant: Grant): Grant => {
  if (outcomeOf([grant]) === 'granted') return grant
  throw new Failure('repositories-required', `profile ${grant.profile} holds patterns, and a token needs names`)
}

/**
 * The installations of which the caller may name a repository by its id: those of profiles that admit it, before the repository is
 * known. `peer`: none on admin.sock, which reaches all of them.
 */
export const reachable = <I extends InstallationName>(
  { profiles }: Policy,
  peer: Peer | undefined,
  { wanted: { profile, installation }, installations }: Asked<I>,
): readonly I[] => {
  const named = installation === undefined ? installations : [findInstallation(installations, installation)]
  const reached =
    !peer && profile === undefined
      ? installations
      : profiles
          .filter(p => profile === undefined || p.name === profile)
          .filter(p => !peer || admits(p.allow, peer))
          .map(p => findInstallation(installations, p.installation))
  return [...new Set(reached)].filter(i => i !== undefined).filter(i => named.includes(i))
}
