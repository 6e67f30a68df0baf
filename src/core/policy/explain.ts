// Who would get what, and why not: the decision of policy.ts told profile by profile, with one reason for each list.

import { scopeUnder, unitMatches } from './policy.ts'
import {
  type Allow,
  findInstallation,
  type InstallationName,
  type Policy,
  type Profile,
  type Wanted,
} from '../../protocol/profile.ts'
import {
  describePermissions,
  isPattern,
  permissionsCover,
  repositoriesCover,
  type Scope,
} from '../../protocol/scope.ts'

/** As much of a caller as is known: a peer is a whole one. What is absent could be anything; `unit: undefined` is in none. */
export type Subject = {
  readonly uid?: number
  readonly gid?: number
  readonly groups?: readonly number[]
  readonly unit?: string | undefined
  readonly unitWithheld?: true
  /** Why the units of this machine's processes are not seen: then none matches. */
  readonly unitsHidden?: string
}

export type Reason = {
  readonly list: 'users' | 'groups' | 'units' | 'scope'
  /** `any`: the list is empty and asks for nothing. `depends`: on something that is not known of the caller. */
  readonly outcome: 'match' | 'no-match' | 'any' | 'depends'
  readonly detail: string
}

export type ProfileExplanation = {
  readonly profile: string
  readonly outcome: 'granted' | 'denied' | 'depends'
  readonly reasons: readonly Reason[]
  /** What a request would get under this profile, where the caller is admitted. */
  readonly scope?: Scope
}

export type Decision = {
  /** The problem's code where it is none of the others. */
  readonly outcome: 'granted' | 'depends' | 'not-permitted' | 'profile-required' | 'repositories-required'
  readonly detail: string
}

export type Explanation = { readonly profiles: readonly ProfileExplanation[]; readonly decision: Decision }

/** The same decision as `authorize` for a subject of which all is known. */
export const explain = (
  policy: Policy,
  subject: Subject,
  request: { wanted: Wanted; installations: readonly InstallationName[] },
): Explanation => {
  const { wanted } = request
  const profiles = policy.profiles
    .filter(profile => wanted.profile === undefined || profile.name === wanted.profile)
    .map(profile => explainProfile(profile, subject, request))
  return { profiles, decision: decide(profiles, wanted) }
}

const decide = (profiles: readonly ProfileExplanation[], wanted: Wanted): Decision => {
  const granted = profiles.filter(({ outcome }) => outcome === 'granted')
  const open = profiles.filter(({ outcome }) => outcome === 'depends')
  const [first, ...others] = granted
  if (open.length > 0) {
    return { outcome: 'depends', detail: `on what is not known of the caller: ${namesOf([...granted, ...open])}` }
  }
  if (!first) {
    const none = wanted.profile !== undefined && profiles.length === 0
    return {
      outcome: 'not-permitted',
      detail: none ? `there is no profile ${wanted.profile}` : 'no profile allows this request to this caller',
    }
  }
  if (others.length > 0) {
    return { outcome: 'profile-required', detail: `these profiles would allow it: ${namesOf(granted)}` }
  }
  if (first.scope?.repositories?.some(isPattern)) {
    const detail = `profile ${first.profile} holds patterns: the request has to name its repositories`
    return { outcome: 'repositories-required', detail }
  }
  return { outcome: 'granted', detail: `by profile ${first.profile}` }
}

const namesOf = (profiles: readonly ProfileExplanation[]): string => profiles.map(({ profile }) => profile).join(', ')

const explainProfile = (
  profile: Profile,
  subject: Subject,
  request: { wanted: Wanted; installations: readonly InstallationName[] },
): ProfileExplanation => {
  const { allow } = profile
  const scope = scopeUnder(profile, request.wanted, request.installations)
  const reasons: Reason[] = [
    explainUsers(allow, subject),
    explainGroups(allow, subject),
    explainUnits(allow, subject),
    scope
      ? { list: 'scope', outcome: 'match', detail: describe(scope) }
      : { list: 'scope', outcome: 'no-match', detail: whyNoScope(profile, request) },
  ]
  const admitsNobody = allow.users.length + allow.groups.length + allow.units.length === 0
  const outcome =
    admitsNobody || reasons.some(reason => reason.outcome === 'no-match')
      ? 'denied'
      : reasons.some(reason => reason.outcome === 'depends')
        ? 'depends'
        : 'granted'
  return { profile: profile.name, outcome, reasons, ...(scope && { scope }) }
}

const explainUsers = ({ users, groups, units }: Allow, { uid }: Subject): Reason => {
  const list = 'users'
  if (users.length === 0) {
    const nobody = groups.length + units.length === 0
    return nobody
      ? { list, outcome: 'no-match', detail: 'allow has no list at all: nobody is admitted' }
      : { list, outcome: 'any', detail: 'any user' }
  }
  const wanted = users.map(({ name, id }) => `${name} (${id})`).join(', ')
  if (uid === undefined) return { list, outcome: 'depends', detail: `one of ${wanted}` }
  return users.some(({ id }) => id === uid)
    ? { list, outcome: 'match', detail: `uid ${uid} is one of ${wanted}` }
    : { list, outcome: 'no-match', detail: `uid ${uid} is none of ${wanted}` }
}

const explainGroups = ({ groups }: Allow, subject: Subject): Reason => {
  const list = 'groups'
  if (groups.length === 0) return { list, outcome: 'any', detail: 'any group' }
  const wanted = groups.map(({ name, id }) => `${name} (${id})`).join(', ')
  const held = [...(subject.gid === undefined ? [] : [subject.gid]), ...(subject.groups ?? [])]
  const found = groups.find(({ id }) => held.includes(id))
  if (found) return { list, outcome: 'match', detail: `it is in ${found.name} (${found.id})` }
  if (subject.groups === undefined) return { list, outcome: 'depends', detail: `one of ${wanted}` }
  return { list, outcome: 'no-match', detail: `of its groups ${held.join(', ')} none is of ${wanted}` }
}

const explainUnits = ({ units }: Allow, subject: Subject): Reason => {
  const list = 'units'
  if (units.length === 0) return { list, outcome: 'any', detail: 'any unit, or none' }
  const wanted = units.join(', ')
  if (subject.unitWithheld) return { list, outcome: 'no-match', detail: WITHHELD }
  if (subject.unitsHidden !== undefined) {
    return { list, outcome: 'no-match', detail: `no unit is known: ${subject.unitsHidden}` }
  }
  if (!('unit' in subject)) return { list, outcome: 'depends', detail: `one of ${wanted}` }
  const { unit } = subject
  if (unit === undefined) {
    const detail = `it is in no unit of the system's own manager that could be told; wanted is ${wanted}`
    return { list, outcome: 'no-match', detail }
  }
  if (units.some(pattern => unitMatches(pattern, unit))) {
    return { list, outcome: 'match', detail: `${unit} is one of ${wanted}` }
  }
  const inner = /^(?:user@.*\.service|.*\.scope|systemd-nspawn@.*\.service)$/.test(unit)
  const hint = inner ? ' (a unit that was named within a login, a user manager or a container does not count)' : ''
  return { list, outcome: 'no-match', detail: `${unit} is none of ${wanted}${hint}` }
}

const WITHHELD =
  'this kernel (below 6.5) cannot prove which process is calling, so no unit is believed unless [policy] weak_pid = true'

/** The first of the conditions of `scopeUnder` that does not hold. */
const whyNoScope = (
  profile: Profile,
  { wanted, installations }: { wanted: Wanted; installations: readonly InstallationName[] },
): string => {
  const installation = findInstallation(installations, profile.installation)
  if (!installation) {
    return profile.installation === undefined
      ? `the profile names no installation, and there is not exactly one (${installations.length} are known)`
      : `no installation ${profile.installation} is known`
  }
  if (wanted.installation !== undefined && findInstallation(installations, wanted.installation) !== installation) {
    return `the profile is for ${installation.account.login}, not for ${wanted.installation}`
  }
  if (!repositoriesCover(profile.repositories, wanted.repositories ?? profile.repositories)) {
    return `the profile holds the repositories ${profile.repositories?.join(', ')}, not all of ${wanted.repositories?.join(', ')}`
  }
  if (!permissionsCover(profile.permissions, wanted.permissions ?? profile.permissions)) {
    return `the profile holds ${describePermissions(profile.permissions)}, not ${describePermissions(wanted.permissions)}`
  }
  return 'the profile does not hold this scope'
}

const describe = ({ installation, repositories, permissions }: Scope): string =>
  `installation ${installation}, ${repositories?.join(', ') ?? 'all repositories'}, ${describePermissions(permissions)}`
