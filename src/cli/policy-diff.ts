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
  return [...LISTS.flatMap(list => compareLists(list, { old, next })), ...compareScopes(old, next)]
}

/** Of a list that is not empty one name must match; an empty one excludes nobody. */
const compareLists = (list: List, { old, next }: { old: Rule; next: Rule }): Change[] => {
  const [had, has] = [old.allow[list], next.allow[list]]
  const gains = (who: string): Change => ({ effect: 'gains', who, what: describeScope(next) })
  const loses = (who: string): Change => ({ effect: 'loses', who, what: describeScope(old) })
  if (had.length === 0 && has.length === 0) return []
  if (had.length === 0) return [loses(`callers outside ${list} ${has.join(', ')}`)]
  if (has.length === 0) return [gains(`callers outside ${list} ${had.join(', ')}`)]
  return [
    ...had.filter(name => !has.includes(name)).map(name => loses(`${list.slice(0, -1)} ${name}`)),
    ...has.filter(name => !had.includes(name)).map(name => gains(`${list.slice(0, -1)} ${name}`)),
  ]
}

const compareScopes = (old: Rule, next: Rule): Change[] => {
  const who = describeCallers(next)
  const gains = (what: string): Change => ({ effect: 'gains', who, what })
  const loses = (what: string): Change => ({ effect: 'loses', who, what })
  if (old.installation !== next.installation) return [loses(describeScope(old)), gains(describeScope(next))]
  const changes: Change[] = []
  const [had, has] = [old.repositories ?? [EVERY], next.repositories ?? [EVERY]]
  const lost = had.filter(name => !has.includes(name))
  const won = has.filter(name => !had.includes(name))
  if (lost.length > 0) changes.push(loses(`repositories ${lost.join(', ')}`))
  if (won.length > 0) changes.push(gains(`repositories ${won.join(', ')}`))
  return [
    ...changes,
    ...comparePermissions(old.permissions, next.permissions).map(([sign, what]) => (sign ? gains : loses)(what)),
  ]
}

const EVERY = '(all)'

/** None named: all that the installation has. */
const comparePermissions = (
  had: Permissions | undefined,
  has: Permissions | undefined,
): (readonly [isGain: boolean, what: string])[] => {
  if (had === undefined && has === undefined) return []
  if (had === undefined) return [[false, `all permissions but ${describePermissions(has)}`]]
  if (has === undefined) return [[true, 'all permissions of the installation']]
  const beyond = (a: Permissions, b: Permissions): Permissions =>
    Object.fromEntries(Object.entries(a).filter(([name, access]) => !permissionsCover(b, { [name]: access })))
  const [lost, won] = [beyond(had, has), beyond(has, had)]
  return [
    ...(Object.keys(lost).length > 0 ? [[false, describePermissions(lost)] as const] : []),
    ...(Object.keys(won).length > 0 ? [[true, describePermissions(won)] as const] : []),
  ]
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
