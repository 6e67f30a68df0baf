// What changed at GitHub between two looks: accounts that were renamed, installations, permissions, the App itself. Pure.

import type { Account, App, Installation, Live } from '../../protocol/connection.ts'
import { describePermissions, foldName, type Permissions, permissionsCover } from '../../protocol/scope.ts'

/** `event` is the name of the audit row; `subject` tells what the change is of, for those who count repeats. */
export type Change = {
  readonly event:
    | 'connection.renamed'
    | 'connection.installations'
    | 'connection.suspension'
    | 'connection.permissions'
    | 'connection.repositories'
    | 'connection.app'
  readonly subject: string
  readonly detail: string
}

/** In the order of the list as it is now, then what is gone. */
export const installationChanges = (before: readonly Installation[], after: readonly Installation[]): Change[] => {
  const known = new Map(before.map(one => [one.id, one]))
  const changes = after.flatMap(now => {
    const was = known.get(now.id)
    known.delete(now.id)
    return was ? changesOf(was, now, after.length > 1) : [arrival(now, before)]
  })
  const gone = [...known.values()].map(
    (was): Change => ({
      event: 'connection.installations',
      subject: String(was.id),
      detail: `${was.account.login}: installation ${was.id} is no more`,
    }),
  )
  return [...changes, ...gone]
}

/** Whose tokens may reach less than they say: repositories or permissions are others than before. */
export const narrowed = (before: readonly Installation[], after: readonly Installation[]): number[] => {
  const known = new Map(before.map(one => [one.id, one]))
  return after
    .filter(now => {
      const was = known.get(now.id)
      if (!was) return false
      return (
        (was.repositorySelection === 'all' && now.repositorySelection === 'selected') ||
        !permissionsCover(now.permissions, was.permissions)
      )
    })
    .map(({ id }) => id)
}

/** The connection's account under the name that it has now: an installation keeps its id when its account is renamed or transferred. */
export const followAccount = (
  account: Account,
  before: readonly Installation[],
  after: readonly Installation[],
): Account => {
  if (after.some(now => isSame(now.account, account))) return account
  const mine = before.find(was => isSame(was.account, account))
  return after.find(now => now.id === mine?.id)?.account ?? account
}

/** The App as GitHub describes it now, and what of it changed. */
export const appChanges = (was: App, now: App): Change[] => {
  const changes: Change[] = []
  const tell = (detail: string): void => void changes.push({ event: 'connection.app', subject: String(now.id), detail })
  if (was.name !== now.name || was.slug !== now.slug)
    tell(`the App ${was.name} is named ${now.name} now (${now.htmlUrl})`)
  if (!isSame(was.owner, now.owner))
    tell(`the App belongs to ${now.owner.login} now, not to ${was.owner.login}: renamed or transferred`)
  const permissions = permissionChanges(was.permissions, now.permissions)
  if (permissions) tell(`the App asks for other permissions: ${permissions}`)
  return changes
}

/** Where the App's owner is the connection's account, and took another name, the account has that name if the App is installed there. */
export const followOwner = ({ app, account }: Live, now: App, installations: readonly Installation[]): Account => {
  if (!isSame(app.owner, account) || isSame(now.owner, account)) return account
  const isThere = (login: Account): boolean => installations.some(one => isSame(one.account, login))
  return !isThere(account) && isThere(now.owner) ? now.owner : account
}

/** What the App asks for and the installation does not hold: its owner has to approve it. */
export const pendingPermissions = (app: Pick<App, 'permissions'>, { permissions }: Installation): Permissions =>
  Object.fromEntries(
    Object.entries(app.permissions).filter(([name, access]) => !permissionsCover(permissions, { [name]: access })),
  )

const isSame = (a: Account, b: Account): boolean => foldName(a.login) === foldName(b.login)

const arrival = (now: Installation, before: readonly Installation[]): Change => {
  const former = before.find(was => isSame(was.account, now.account))
  const detail = former
    ? `${now.account.login}: installation ${now.id} in place of ${former.id}`
    : `${now.account.login}: installation ${now.id} is new`
  return { event: 'connection.installations', subject: String(now.id), detail }
}

const changesOf = (was: Installation, now: Installation, isOneOfMany: boolean): Change[] => {
  const changes: Change[] = []
  const subject = String(now.id)
  const { login } = now.account
  if (!isSame(was.account, now.account)) {
    const detail = `${was.account.login} is named ${login} now: renamed or transferred; installation ${now.id} is the same`
    changes.push({ event: 'connection.renamed', subject, detail })
  }
  if (was.repositorySelection !== now.repositorySelection) {
    const detail = `${login}: ${SELECTION[now.repositorySelection]}`
    changes.push({ event: 'connection.repositories', subject, detail })
  }
  const permissions = permissionChanges(was.permissions, now.permissions)
  if (permissions) changes.push({ event: 'connection.permissions', subject, detail: `${login}: ${permissions}` })
  // Where there is one installation, it is the state of the connection.
  if (isOneOfMany && (was.suspendedAtMs === undefined) !== (now.suspendedAtMs === undefined)) {
    const detail = `${login}: ${now.suspendedAtMs === undefined ? 'no longer suspended' : 'suspended'}`
    changes.push({ event: 'connection.suspension', subject, detail })
  }
  return changes
}

const SELECTION = {
  all: 'all repositories, no longer some of them',
  selected: 'some repositories, no longer all of them',
} as const

/** Undefined where there is no difference. */
const permissionChanges = (was: Permissions, now: Permissions): string | undefined => {
  if (describePermissions(was) === describePermissions(now)) return undefined
  const names = [...new Set([...Object.keys(was), ...Object.keys(now)])].toSorted()
  return names
    .filter(name => was[name] !== now[name])
    .map(name => `${name}: ${was[name] ?? 'none'} → ${now[name] ?? 'none'}`)
    .join(', ')
}
