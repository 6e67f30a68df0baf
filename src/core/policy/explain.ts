// Explains the decisions of the policy: who would get what and why not, for a caller that is described, or for a live process.

import { asFailure, Failure } from '../../protocol/errors.ts'
import {
  type Allow,
  findInstallation,
  type InstallationName,
  type Peer,
  type Policy,
  type Profile,
} from '../../protocol/profile.ts'
import { describePermissions, type Scope } from '../../protocol/scope.ts'
import type { ExplainAnswer, ExplainRequest } from '../../protocol/wire-policy.ts'
import { type Asked, type Decision, decide, LISTS, namesOf, scopeUnder, type Subject } from './decision.ts'

/** What the system knows of users, groups and processes. */
export type Directory = {
  findUser(name: string): { uid: number; gid: number } | undefined
  findGroup(name: string): number | undefined
  userName(uid: number): string | undefined
  groupName(gid: number): string | undefined
  groupsOfUser(name: string, gid: number): readonly number[]
  findProcess(pid: number): Peer | undefined
  /** Why a process that is there cannot be seen; without a pid, those of other users. */
  findHiding(pid?: number): string | undefined
  /** What to do about it. */
  readonly hidingNext: string
}

/** The answer throws `invalid-request` for users, groups and processes that there are not. */
export const createExplain = (deps: {
  policy: () => Policy
  connectionState: { read(): { readonly installations: readonly InstallationName[] }; requireServing(): unknown }
  directory: Directory
}) => {
  const { policy, connectionState, directory } = deps

  /** Whatever the policy says: why no token is served now. */
  const findWithheld = (): Pick<ExplainAnswer, 'withheld'> => {
    try {
      connectionState.requireServing()
      return {}
    } catch (error) {
      const { code, message, next } = asFailure(error)
      return { withheld: { code, detail: message, next } }
    }
  }

  return (request: ExplainRequest, asker: Peer): ExplainAnswer => {
    const subject = subjectOf(request, directory)
    // The kernel is the same for all: what it cannot prove of the one who asks it cannot prove of anybody.
    const hiding = request.pid === undefined ? directory.findHiding() : undefined
    const believed: Subject = {
      ...subject,
      ...(asker.unitWithheld && { unitWithheld: true }),
      ...(hiding !== undefined && { unitsHidden: hiding }),
    }
    const { installations } = connectionState.read()
    const { decision, profiles } = explain(policy(), believed, { wanted: request, installations })
    const { uid, unit } = subject
    const held = [...new Set(groupsOf(subject))]
    const user = request.user ?? (uid === undefined ? undefined : directory.userName(uid))
    return {
      caller: {
        ...(request.pid !== undefined && { pid: request.pid }),
        ...(uid !== undefined && { uid }),
        ...(user !== undefined && { user }),
        ...(held.length > 0 && { groups: held.map(id => directory.groupName(id) ?? String(id)) }),
        ...(unit !== undefined && { unit }),
      },
      decision,
      ...findWithheld(),
      profiles,
    }
  }
}

/** `decide` in words, with a reason for each list of each profile. */
export const explain = (
  policy: Policy,
  subject: Subject,
  asked: Asked,
): Pick<ExplainAnswer, 'decision' | 'profiles'> => {
  const decision = decide(policy, subject, asked)
  const isIn = (grants: Decision['granted'], { name }: Profile): boolean => grants.some(g => g.profile === name)
  const profiles = policy.profiles
    .filter(({ name }) => asked.wanted.profile === undefined || name === asked.wanted.profile)
    .map(profile => {
      const scope = scopeUnder(profile, asked)
      const outcome = isIn(decision.granted, profile) ? 'granted' : isIn(decision.open, profile) ? 'depends' : 'denied'
      const reasons = [...LIST_NAMES.map(list => reasonOf(list, profile.allow, subject)), reasonOfScope(profile, asked)]
      return {
        profile: profile.name,
        outcome,
        reasons,
        ...(typeof scope === 'object' && { scope: bodyOf(scope) }),
      } as const
    })
  return { decision: { outcome: decision.outcome, detail: describe(decision, asked, profiles.length) }, profiles }
}

const bodyOf = ({ repositories, permissions, ...scope }: Scope): ExplainAnswer['profiles'][number]['scope'] => ({
  ...scope,
  ...(repositories && { repositories: [...repositories] }),
  ...(permissions && { permissions: { ...permissions } }),
})

const describe = ({ outcome, granted, open }: Decision, { wanted }: Asked, looked: number): string => {
  switch (outcome) {
    case 'depends':
      return `on what is not known of the caller: ${namesOf([...granted, ...open])}`
    case 'not-permitted':
      return wanted.profile !== undefined && looked === 0
        ? `there is no profile ${wanted.profile}`
        : 'no profile allows this request to this caller'
    case 'profile-required':
      return `these profiles would allow it: ${namesOf(granted)}`
    case 'repositories-required':
      return `profile ${namesOf(granted)} holds patterns: the request has to name its repositories`
    case 'granted':
      return `by profile ${namesOf(granted)}`
    default:
      return outcome satisfies never
  }
}

type Reason = ExplainAnswer['profiles'][number]['reasons'][number]
type ListName = keyof typeof LISTS

const LIST_NAMES = ['users', 'groups', 'units'] as const satisfies readonly ListName[]
const ANY: Readonly<Record<ListName, string>> = { users: 'any user', groups: 'any group', units: 'any unit, or none' }

const reasonOf = (list: ListName, allow: Allow, subject: Subject): Reason => {
  const outcome = LISTS[list](allow, subject)
  const wanted = list === 'units' ? allow.units.join(', ') : allow[list].map(nameWithId).join(', ')
  if (outcome === 'any') return { list, outcome, detail: ANY[list] }
  if (outcome === 'depends') return { list, outcome, detail: `one of ${wanted}` }
  return { list, outcome, detail: DETAILS[list](allow, subject, { isMet: outcome === 'match', wanted }) }
}

type Met = { readonly isMet: boolean; readonly wanted: string }

const DETAILS: Readonly<Record<ListName, (allow: Allow, subject: Subject, met: Met) => string>> = {
  users({ users }, { uid }, { isMet, wanted }) {
    if (users.length === 0) return 'allow has no list at all: nobody is admitted'
    return `uid ${uid} is ${isMet ? 'one' : 'none'} of ${wanted}`
  },
  groups({ groups }, subject, { wanted }) {
    const held = groupsOf(subject)
    const found = groups.find(({ id }) => held.includes(id))
    return found ? `it is in ${nameWithId(found)}` : `of its groups ${held.join(', ')} none is of ${wanted}`
  },
  units(_, { unit, unitWithheld, unitsHidden }, { isMet, wanted }) {
    if (unitWithheld)
      return 'this kernel (below 6.5) cannot prove which process is calling, so no unit is believed unless [policy] weak_pid = true'
    if (unitsHidden !== undefined) return `no unit is known: ${unitsHidden}`
    if (unit === undefined)
      return `it is in no unit of the system's own manager that could be told; wanted is ${wanted}`
    if (isMet) return `${unit} is one of ${wanted}`
    const isInner = /^(?:user@.*\.service|.*\.scope|systemd-nspawn@.*\.service)$/.test(unit)
    const hint = isInner ? ' (a unit that was named within a login, a user manager or a container does not count)' : ''
    return `${unit} is none of ${wanted}${hint}`
  },
}

const nameWithId = ({ name, id }: Allow['users'][number]): string => `${name} (${id})`

const groupsOf = ({ gid, groups = [] }: Subject): readonly number[] => (gid === undefined ? groups : [gid, ...groups])

const reasonOfScope = (profile: Profile, asked: Asked): Reason => {
  const { wanted, installations } = asked
  const list = 'scope'
  const scope = scopeUnder(profile, asked)
  if (typeof scope === 'object') {
    const { installation, repositories, permissions } = scope
    const names = repositories?.join(', ') ?? 'all repositories'
    const detail = `installation ${installation}, ${names}, ${describePermissions(permissions)}`
    return { list, outcome: 'match', detail }
  }
  const why = {
    'no-installation': () =>
      profile.installation === undefined
        ? `the profile names no installation, and there is not exactly one (${installations.length} are known)`
        : `no installation ${profile.installation} is known`,
    installation: () => {
      const account = findInstallation(installations, profile.installation)?.account.login
      return `the profile is for ${account}, not for ${wanted.installation}`
    },
    repositories: () =>
      `the profile holds the repositories ${profile.repositories?.join(', ')}, not all of ${wanted.repositories?.join(', ')}`,
    permissions: () =>
      `the profile holds ${describePermissions(profile.permissions)}, not ${describePermissions(wanted.permissions)}`,
  }
  return { list, outcome: 'no-match', detail: why[scope]() }
}

const subjectOf = (request: ExplainRequest, directory: Directory): Subject => {
  if (request.pid !== undefined) {
    const peer = directory.findProcess(request.pid)
    if (peer) return { uid: peer.uid, gid: peer.gid, groups: peer.groups, unit: peer.unit }
    const hiding = directory.findHiding(request.pid)
    if (hiding === undefined) throw new Failure('invalid-request', `pid: there is no process ${request.pid}`)
    const { hidingNext: next } = directory
    throw new Failure('invalid-request', `pid: process ${request.pid} is hidden: ${hiding}`, { next })
  }
  const user = request.user === undefined ? undefined : userOf(request.user, directory)
  const group = request.group === undefined ? undefined : groupOf(request.group, directory)
  return {
    ...(user && { uid: user.uid, groups: [...user.groups, ...(group === undefined ? [] : [group])] }),
    // A group alone does not tell which others there are.
    ...(!user && group !== undefined && { gid: group }),
    ...(request.unit !== undefined && { unit: request.unit }),
  }
}

const userOf = (name: string, directory: Directory): { uid: number; groups: readonly number[] } => {
  const found = directory.findUser(name)
  if (found) return { uid: found.uid, groups: directory.groupsOfUser(name, found.gid) }
  if (!/^\d{1,9}$/.test(name)) throw new Failure('invalid-request', `user: there is no user ${name}`)
  // A container's user may have an id and no name here.
  const uid = Number(name)
  const known = directory.userName(uid)
  const user = known === undefined ? undefined : directory.findUser(known)
  return { uid, groups: known !== undefined && user ? directory.groupsOfUser(known, user.gid) : [] }
}

const groupOf = (name: string, directory: Directory): number => {
  const id = directory.findGroup(name) ?? (/^\d{1,9}$/.test(name) ? Number(name) : undefined)
  if (id === undefined) throw new Failure('invalid-request', `group: there is no group ${name}`)
  return id
}
