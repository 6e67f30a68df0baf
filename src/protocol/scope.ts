// A scope is what a token may do: an installation, repositories in it, permissions on them.

import { Failure } from './errors.ts'

export type Access = 'read' | 'write' | 'admin'
export type Permissions = Readonly<Record<string, Access>>

/**
 * No `repositories`: all of the installation. No `permissions`: all that the installation was granted.
 * Names only: ids are resolved before a scope is made, so that one thing has one name.
 */
export type Scope = {
  readonly installation: number
  readonly repositories?: readonly string[]
  readonly permissions?: Permissions
}

/** Identifies a cached token. Equal exactly where the scopes mean the same and the holder's profile is the same. */
export type ScopeKey = string & { readonly brand: 'ScopeKey' }

const RANK: Readonly<Record<Access, number>> = { read: 1, write: 2, admin: 3 }

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
  a < b ? -1 : a > b ? 1 : 0

/** GitHub compares names of repositories without case; so do we, everywhere. */
export const foldName = (name: string): string => name.toLowerCase()

/** The same scope in its one spelling: names folded, sorted and without repeats. */
export const canonicalScope = (scope: Scope): Scope => ({
  installation: scope.installation,
  ...(scope.repositories && { repositories: [...new Set(scope.repositories.map(foldName))].toSorted() }),
  ...(scope.permissions && { permissions: Object.fromEntries(Object.entries(scope.permissions).toSorted(byName)) }),
})

export const scopeKey = (profile: string, scope: Scope): ScopeKey => {
  const { installation, repositories, permissions } = canonicalScope(scope)
  const parts = [profile, installation, repositories ?? null, permissions ? Object.entries(permissions) : null]
  return JSON.stringify(parts) as ScopeKey
}

/** Whether `held` allows at least what `asked` does. GitHub adds `metadata: read` to each token, so it is always allowed. */
export const permissionsCover = (held: Permissions | undefined, asked: Permissions | undefined): boolean => {
  if (held === undefined) return true
  if (asked === undefined) return false
  return Object.entries(asked).every(([name, access]) => {
    if (name === 'metadata' && access === 'read') return true
    const limit = Object.hasOwn(held, name) ? held[name] : undefined
    return limit !== undefined && RANK[access] <= RANK[limit]
  })
}

/** A pattern is a name in which `*` stands for any run of characters. */
export const isPattern = (name: string): boolean => name.includes('*')

export const matchesPattern = (pattern: string, name: string): boolean => {
  const [first = '', ...rest] = foldName(pattern).split('*')
  let tail = foldName(name)
  if (rest.length === 0) return tail === first
  if (!tail.startsWith(first)) return false
  tail = tail.slice(first.length)
  const last = rest.pop() ?? ''
  for (const piece of rest) {
    const at = tail.indexOf(piece)
    if (at < 0) return false
    tail = tail.slice(at + piece.length)
  }
  return tail.length >= last.length && tail.endsWith(last)
}

export const repositoriesCover = (
  patterns: readonly string[] | undefined,
  asked: readonly string[] | undefined,
): boolean => {
  if (patterns === undefined) return true
  if (asked === undefined) return false
  return asked.every(name => patterns.some(pattern => matchesPattern(pattern, name)))
}

/** What GitHub says it granted: names of repositories where it was asked for some, and permissions. */
export type Granted = { readonly repositories?: readonly string[]; readonly permissions: Permissions }

/** The same grant with the list of names that the scope holds already, where they are equal: in memory once, not twice. */
export const shareNames = ({ repositories: asked }: Scope, granted: Granted): Granted => {
  const names = granted.repositories
  const isSame = asked && names?.length === asked.length && names.every((name, at) => name === asked[at])
  return isSame ? { ...granted, repositories: asked } : granted
}

/**
 * Throws `scope-mismatch` unless the grant is what was asked for, plus `metadata: read` at most. Where all was
 * asked for (no repositories, or no permissions), there is nothing to compare.
 */
export const assertGranted = (asked: Scope, granted: Granted): void => {
  if (asked.permissions) {
    const expected = { ...METADATA_READ, ...asked.permissions }
    const got = { ...METADATA_READ, ...granted.permissions }
    if (!samePermissions(expected, got)) {
      throw new Failure(
        'scope-mismatch',
        `asked for permissions ${describePermissions(asked.permissions)}, granted ${describePermissions(granted.permissions)}`,
      )
    }
  }
  if (asked.repositories) {
    const expected = new Set(asked.repositories.map(foldName))
    const got = new Set((granted.repositories ?? []).map(foldName))
    if (expected.symmetricDifference(got).size > 0) {
      throw new Failure(
        'scope-mismatch',
        `asked for repositories ${[...expected].join(', ')}, granted ${[...got].join(', ') || 'none by name'}`,
      )
    }
  }
}

/** GitHub adds this to each token, asked for or not. */
const METADATA_READ: Permissions = { metadata: 'read' }

const samePermissions = (a: Permissions, b: Permissions): boolean =>
  JSON.stringify(Object.entries(a).toSorted(byName)) === JSON.stringify(Object.entries(b).toSorted(byName))

export const describePermissions = (permissions: Permissions | undefined): string =>
  permissions === undefined
    ? 'all granted'
    : Object.entries(permissions)
        .toSorted(byName)
        .map(([name, access]) => `${name}: ${access}`)
        .join(', ') || 'none'

/** The union of several sets, the higher access winning: what the App must hold to serve all of them. */
export const unitePermissions = (sets: readonly (Permissions | undefined)[]): Permissions => {
  const united = new Map<string, Access>()
  for (const set of sets) {
    for (const [name, access] of Object.entries(set ?? {})) {
      const held = united.get(name)
      if (held === undefined || RANK[access] > RANK[held]) united.set(name, access)
    }
  }
  return Object.fromEntries(united)
}

/** A scope for a person, whole: the audit log's words. */
export const describeScope = ({ installation, repositories, permissions }: Scope): string =>
  `installation ${installation}, ${repositories?.join(' ') ?? 'all repositories'}, ${describePermissions(permissions)}`

const MAX_NAMES = 10

/** The same for events and answers: of 500 repositories the first few. */
export const summarizeScope = (scope: Scope): string => {
  const { repositories = [] } = scope
  if (repositories.length <= MAX_NAMES) return describeScope(scope)
  const first = repositories.slice(0, MAX_NAMES)
  return describeScope({ ...scope, repositories: [...first, `and ${repositories.length - MAX_NAMES} more`] })
}
