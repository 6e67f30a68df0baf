// What a change of the policy means for its callers: who gains and who loses what.

import { describePermissions, type Permissions, permissionsCover } from '../protocol/scope.ts'

/** A profile as the API and the configuration both have it. */
export type Rule = {
  readonly name: string
  readonly installation?: string | number | undefined
  readonly repositories?: readonly string[] | undefined
  readonly permissions?: Permissions | undefined
  readonly allow: Readonly<Record<List, readonly string[]>>
}

export type PolicyChange = {
  readonly profile: string
  readonly effect: 'gains' | 'loses'
  readonly who: string
  readonly what: string
}

type List = 'users' | 'groups' | 'units'
const LISTS = ['users', 'groups', 'units'] as const satisfies readonly List[]

/** Empty where nobody gains or loses anything. */
export const comparePolicies = (before: readonly Rule[], after: readonly Rule[]): readonly PolicyChange[] => {
  const names = [...new Set([...before, ...after].map(({ name }) => name))]
  return names.flatMap(name => {
    const [old, next] = [before.find(rule => rule.name === name), after.find(rule => rule.name === name)]
    const changes = old && next ? compareRules(old, next) : old ? whole(old, 'loses') : next ? whole(next, 'gains') : []
    return changes.map(change => ({ profile: name, ...change }))
  })
}

type Change = Omit<PolicyChange, 'profile'>

const whole = (rule: Rule, effect: Change['effect']): Change[] =>
  admitsNobody(rule) ? [] : [{ effect, who: describeCallers(rule), what: describeScope(rule) }]

const compareRules = (old: Rule, next: Rule): Change[] => {
  if (admitsNobody(old) || admitsNobody(next)) return [...whole(old, 'loses'), ...whole(next, 'gains')]
  const sides = [['loses', old, next] as const, ['gains', next, old] as const]
  const callers = LISTS.flatMap(list =>
    sides.flatMap(([effect, rule, other]) =>
      callersBeyond(rule.allow[list], other.allow[list], list).map(who => ({ effect, who, what: describeScope(rule) })),
    ),
  )
  const who = describeCallers(next)
  if (old.installation !== next.installation) {
    return [...callers, ...sides.map(([effect, rule]) => ({ effect, who, what: describeScope(rule) }))]
  }
  const scopes = [repositoriesBeyond, permissionsBeyond].flatMap(beyond =>
    sides.flatMap(([effect, rule, other]) => beyond(rule, other, effect).map(what => ({ effect, who, what }))),
  )
  return [...callers, ...scopes]
}

/** Whom the first list admits and the second does not. Of a list that is not empty one name must match; an empty one excludes nobody. */
const callersBeyond = (names: readonly string[], others: readonly string[], list: List): string[] => {
  if (others.length === 0) return []
  if (names.length === 0) return [`callers outside ${list} ${others.join(', ')}`]
  return names.filter(name => !others.includes(name)).map(name => `${list.slice(0, -1)} ${name}`)
}

const EVERY = '(all)'

const repositoriesBeyond = (rule: Rule, other: Rule): string[] => {
  const names = (rule.repositories ?? [EVERY]).filter(name => !(other.repositories ?? [EVERY]).includes(name))
  return names.length > 0 ? [`repositories ${names.join(', ')}`] : []
}

/** None named: all that the installation has. */
const permissionsBeyond = (
  { permissions }: Rule,
  { permissions: others }: Rule,
  effect: Change['effect'],
): string[] => {
  if (others === undefined) return []
  if (permissions === undefined) {
    return [
      effect === 'gains' ? 'all permissions of the installation' : `all permissions but ${describePermissions(others)}`,
    ]
  }
  const beyond = Object.entries(permissions).filter(([name, access]) => !permissionsCover(others, { [name]: access }))
  return beyond.length > 0 ? [describePermissions(Object.fromEntries(beyond))] : []
}

const admitsNobody = ({ allow }: Rule): boolean => LISTS.every(list => allow[list].length === 0)

const describeCallers = ({ allow }: Rule): string =>
  LISTS.flatMap(list => (allow[list].length > 0 ? [`${list} ${allow[list].join(', ')}`] : [])).join(' and ')

const describeScope = ({ installation, repositories, permissions }: Rule): string => {
  const where = installation === undefined ? 'the installation' : String(installation)
  const what = permissions === undefined ? 'all permissions' : describePermissions(permissions)
  return `${what} on ${repositories === undefined ? `all repositories of ${where}` : `${repositories.join(', ')} of ${where}`}`
}

/** Why no installation can satisfy a profile for any caller; undefined where one can. */
export const doubtProfile = (
  { installation, permissions }: Pick<Rule, 'installation' | 'permissions'>,
  installations: readonly { id: number; account: { login: string }; permissions: Permissions }[],
): string | undefined => {
  const named = installations.filter(
    ({ id, account }) =>
      installation === undefined ||
      String(installation) === String(id) ||
      String(installation).toLowerCase() === account.login.toLowerCase(),
  )
  if (named.length === 0) return `the App is not installed on ${installation}`
  if (permissions === undefined || named.some(held => permissionsCover(held.permissions, permissions))) return undefined
  const lacking = Object.entries(permissions).filter(
    ([name, access]) => !named.some(held => permissionsCover(held.permissions, { [name]: access })),
  )
  const said = lacking.length > 0 ? describePermissions(Object.fromEntries(lacking)) : 'all of its permissions together'
  return `no installation grants ${said}`
}
