// What GitHub says of App and installations, and what follows for the connection: a pure reducer of state, observation and time.

import {
  type Account,
  type App,
  type Connection,
  type Installation,
  isLive,
  isTrouble,
  type Live,
  mayServe,
  type Trouble,
} from '../../protocol/connection.ts'
import type { Code, Failure } from '../../protocol/errors.ts'
import { describePermissions, foldName, type Permissions, permissionsCover } from '../../protocol/scope.ts'
import { established } from './connection-state.ts'

export type DriftState = {
  readonly connection: Connection
  readonly installations: readonly Installation[]
  /** Refusals with one code in a row: a single 401 or 404 proves nothing. */
  readonly suspicion?: { readonly code: Code; readonly firstAtMs: number; readonly count: number } | undefined
  /** When a trouble was entered, within the last half hour. */
  readonly enteredAtMs: readonly number[]
  /** Since when GitHub says that the trouble is over, while it is kept as the state for coming and going. */
  readonly calmSinceMs?: number | undefined
  /** GitHub wants no calls of the App before. */
  readonly restUntilMs?: number | undefined
  /** How often a change of one thing was told, and how often it was not since. */
  readonly told: ReadonlyMap<string, { readonly atMs: readonly number[]; readonly silent: number }>
  /** When the repositories of an installation were listed last; `twice`: also the time before there was the same hint. */
  readonly listed: ReadonlyMap<
    number,
    { readonly hintMs: number | undefined; readonly atMs: number; readonly twice: boolean }
  >
}

export const NOTHING_OBSERVED = { enteredAtMs: [], told: new Map(), listed: new Map() }

export type Observation =
  /** `force`: an administrator asked, so that a state that came and went does not count. */
  | { readonly kind: 'installations'; readonly found: readonly Installation[]; readonly force: boolean }
  | { readonly kind: 'app'; readonly app: App }
  | {
      readonly kind: 'repositories'
      readonly of: Installation
      readonly names: readonly string[]
      readonly before: readonly string[] | undefined
      readonly hintMs: number | undefined
    }
  | { readonly kind: 'refusal'; readonly failure: Failure }
  /** Whether GitHub accepts a token of the App that it says not to know; undefined where that cannot be asked. */
  | { readonly kind: 'token'; readonly failure: Failure; readonly isAccepted: boolean | undefined }

export type DriftEvent =
  | ({ readonly kind: 'change' } & Pick<Change, 'event' | 'detail'>)
  /** Tokens of the installation may reach less than they say. */
  | { readonly kind: 'narrowed'; readonly installation: number }
  | { readonly kind: 'selection'; readonly installation: number; readonly names: readonly string[] }
  /** An App that is gone took its tokens along: one of them is to be tried. */
  | { readonly kind: 'try-token'; readonly failure: Failure }
  | { readonly kind: 'look-again'; readonly afterMs: number }

/** By this machine's clocks. */
type Time = { readonly monotonicMs: number; readonly wallMs: number }
type Step = readonly [state: DriftState, events: readonly DriftEvent[]]

/** What a failure of GitHub's own means for the connection, where it means anything. */
export const TROUBLE_OF: Partial<Record<Code, Trouble>> = {
  'key-rejected': 'key-rejected',
  'app-not-found': 'app-deleted',
  'ip-blocked': 'blocked',
  'account-policy': 'blocked',
}
const CONFIRMATIONS = 3
const CONFIRM_MS = 30_000
/** GitHub's words that the App is gone count after this time where no token can prove it. */
const UNPROVEN_MS = 5 * 60_000
export const SOON_APART_MS = 60_000
/** So many times within the window are flapping. */
const FLAPPING = 3
const CALM_MS = 10 * 60_000
/** Of one thing so many changes are told within the window; then the next one tells how many there were. */
const MOST_TOLD = 3
const WINDOW_MS = 30 * 60_000
/** Without a hint: GitHub does not promise that its `updated_at` shows each change. */
const LIST_ANYWAY_MS = 60 * 60_000
/** A list of changes is for a person. */
const MOST_NAMES = 20

export const observe = (state: DriftState, observation: Observation, now: Time): Step => {
  switch (observation.kind) {
    case 'installations':
      return onInstallations(state, observation, now)
    case 'app':
      return onApp(state, observation.app, now)
    case 'repositories':
      return onRepositories(state, observation, now)
    case 'refusal':
      return onRefusal(state, observation.failure, now)
    case 'token':
      return onToken(state, observation, now)
    default:
      return observation satisfies never
  }
}

/** GitHub decides on these states, and is asked in them. */
export const isWatched = ({ kind }: Connection): boolean => kind === 'connected' || isTrouble(kind)

/** Its repositories are some of the account's, and can be listed. */
export const hasSelection = ({ repositorySelection, suspendedAtMs }: Installation): boolean =>
  repositorySelection === 'selected' && suspendedAtMs === undefined

/** Whether to list an installation's repositories. GitHub's hint has whole seconds: what changed in the same one shows at the second look. */
export const isListDue = (
  { listed }: DriftState,
  { id }: Installation,
  hintMs: number | undefined,
  nowMs: number,
): boolean => {
  const last = listed.get(id)
  return !last?.twice || last.hintMs !== hintMs || nowMs - last.atMs >= LIST_ANYWAY_MS
}

const onInstallations = (
  was: DriftState,
  { found, force }: Extract<Observation, { kind: 'installations' }>,
  now: Time,
): Step => {
  const listed = new Map(found.filter(hasSelection).flatMap(({ id }) => [...was.listed].filter(([of]) => of === id)))
  const state = { ...was, suspicion: undefined, restUntilMs: undefined, listed }
  const { connection, installations } = state
  if (!isLive(connection)) return [state, []]
  if (JSON.stringify(installations) === JSON.stringify(found)) return [settle(state, { found, force }, now), []]
  const account = followAccount(connection.account, installations, found)
  const [told, changes] = tell(state, installationChanges(installations, found), now)
  const events = narrowed(installations, found).map(installation => ({ kind: 'narrowed', installation }) as const)
  const next = { ...told, connection: { ...connection, account }, installations: found }
  return [settle(next, { found, force }, now), [...changes, ...events]]
}

/** The state that the installations put the connection into. */
const settle = (
  state: DriftState,
  { found, force }: { found: readonly Installation[]; force: boolean },
  now: Time,
): DriftState => {
  const { connection } = state
  if (!isLive(connection)) return state
  const { account } = connection
  const mine = found.filter(one => account.type === 'enterprise' || isSame(one.account, account))
  const relevant = mine.length > 0 ? mine : found
  if (relevant.length === 0) return enter(state, 'uninstalled', 'GitHub lists no installation of the App', now)
  if (relevant.every(one => one.suspendedAtMs !== undefined)) {
    return enter(state, 'suspended', `GitHub says so for ${relevant.map(one => one.account.login).join(', ')}`, now)
  }
  if (!isTrouble(connection.kind)) return state
  const calmSinceMs = state.calmSinceMs ?? now.monotonicMs
  const isFlapping = recent(state.enteredAtMs, now).length >= FLAPPING
  // A state in which nothing is served is never kept for the sake of calm.
  const isKept = !force && mayServe(connection) && isFlapping && now.monotonicMs - calmSinceMs < CALM_MS
  if (isKept) return { ...state, calmSinceMs }
  return {
    ...state,
    calmSinceMs: undefined,
    connection: { ...established(connection), kind: 'connected', sinceMs: now.wallMs },
  }
}

const enter = (state: DriftState, trouble: Trouble, evidence: string, now: Time): DriftState => {
  const { connection, calmSinceMs } = state
  if (!isLive(connection) || !isWatched(connection)) return state
  const isNew = connection.kind !== trouble
  // It may have been said to be over, and come again while the state was kept.
  if (!isNew && calmSinceMs === undefined) return state
  const enteredAtMs = [...recent(state.enteredAtMs, now), now.monotonicMs]
  const next = { ...state, enteredAtMs, calmSinceMs: undefined }
  if (!isNew) return next
  return { ...next, connection: { ...established(connection), kind: trouble, sinceMs: now.wallMs, evidence } }
}

const onApp = (state: DriftState, app: App, now: Time): Step => {
  const { connection, installations } = state
  if (!isLive(connection) || JSON.stringify(connection.app) === JSON.stringify(app)) return [state, []]
  const [told, events] = tell(state, appChanges(connection.app, app), now)
  const account = followOwner(connection, app, installations)
  return [{ ...told, connection: { ...connection, app, account } }, events]
}

const onRepositories = (
  was: DriftState,
  { of, names, before, hintMs }: Extract<Observation, { kind: 'repositories' }>,
  now: Time,
): Step => {
  const { id } = of
  const twice = was.listed.get(id)?.hintMs === hintMs
  const listed = new Map(was.listed).set(id, { hintMs, atMs: now.monotonicMs, twice })
  const state = { ...was, listed }
  if (before && JSON.stringify(before) === JSON.stringify(names)) return [state, []]
  const selection = { kind: 'selection', installation: id, names } as const
  if (!before) return [state, [selection]]
  const added = names.filter(name => !before.includes(name))
  const removed = before.filter(name => !names.includes(name))
  const parts = [
    ...(added.length > 0 ? [`added ${shorten(added)}`] : []),
    ...(removed.length > 0 ? [`removed ${shorten(removed)}`] : []),
  ]
  const detail = `${of.account.login}: repositories ${parts.join('; ')}`
  const [told, changes] = tell(state, [{ event: 'connection.repositories', subject: String(id), detail }], now)
  const doubts = removed.length > 0 ? [{ kind: 'narrowed', installation: id } as const] : []
  return [told, [selection, ...changes, ...doubts]]
}

const shorten = (names: readonly string[]): string =>
  names.length <= MOST_NAMES
    ? names.join(', ')
    : `${names.slice(0, MOST_NAMES).join(', ')} and ${names.length - MOST_NAMES} more`

const onRefusal = (was: DriftState, failure: Failure, now: Time): Step => {
  const { code, message, retryAfterSeconds = 60 } = failure
  const state = code === 'quota' ? { ...was, restUntilMs: now.monotonicMs + retryAfterSeconds * 1_000 } : was
  const trouble = TROUBLE_OF[code]
  if (!trouble) return [state, []]
  // A policy names itself; the others need repeats, spread over a time.
  if (trouble === 'blocked') return [enter(state, trouble, message, now), []]
  const held = state.suspicion?.code === code ? state.suspicion : { code, firstAtMs: now.monotonicMs, count: 0 }
  const suspicion = { ...held, count: held.count + 1 }
  const suspecting = { ...state, suspicion }
  const isConfirmed = suspicion.count >= CONFIRMATIONS && now.monotonicMs - suspicion.firstAtMs >= CONFIRM_MS
  if (!isConfirmed) return [suspecting, [lookAgain(suspecting, now)]]
  if (trouble === 'app-deleted') return [suspecting, [{ kind: 'try-token', failure }]]
  return [enter(suspecting, trouble, message, now), []]
}

const onToken = (
  state: DriftState,
  { failure, isAccepted }: Extract<Observation, { kind: 'token' }>,
  now: Time,
): Step => {
  const lastsMs = now.monotonicMs - (state.suspicion?.firstAtMs ?? now.monotonicMs)
  const isGone = isAccepted === undefined ? lastsMs >= UNPROVEN_MS : !isAccepted
  if (isGone) return [enter(state, 'app-deleted', failure.message, now), []]
  const next = isAccepted ? { ...state, suspicion: undefined } : state
  return [next, [lookAgain(next, now)]]
}

const lookAgain = ({ suspicion }: DriftState, { monotonicMs }: Time): DriftEvent => {
  const lastsMs = suspicion ? monotonicMs - suspicion.firstAtMs : 0
  return { kind: 'look-again', afterMs: lastsMs < UNPROVEN_MS ? CONFIRM_MS / 2 + 1_000 : SOON_APART_MS }
}

const recent = (timesMs: readonly number[], { monotonicMs }: Time): number[] =>
  timesMs.filter(atMs => monotonicMs - atMs < WINDOW_MS)

/** No flood where something goes to and fro. */
const tell = (state: DriftState, changes: readonly Change[], now: Time): Step => {
  const told = new Map(state.told)
  const events = changes.flatMap(({ event, subject, detail }): DriftEvent[] => {
    const key = `${event} ${subject}`
    const known = told.get(key) ?? { atMs: [], silent: 0 }
    const atMs = recent(known.atMs, now)
    const isSilent = atMs.length >= MOST_TOLD
    told.set(key, isSilent ? { atMs, silent: known.silent + 1 } : { atMs: [...atMs, now.monotonicMs], silent: 0 })
    if (isSilent) return []
    const after = known.silent === 0 ? '' : ` (after ${known.silent} changes that were not told)`
    return [{ kind: 'change', event, detail: detail + after }]
  })
  return [{ ...state, told }, events]
}

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
  const add = (detail: string): void => void changes.push({ event: 'connection.app', subject: String(now.id), detail })
  if (was.name !== now.name || was.slug !== now.slug)
    add(`the App ${was.name} is named ${now.name} now (${now.htmlUrl})`)
  if (!isSame(was.owner, now.owner))
    add(`the App belongs to ${now.owner.login} now, not to ${was.owner.login}: renamed or transferred`)
  const permissions = permissionChanges(was.permissions, now.permissions)
  if (permissions) add(`the App asks for other permissions: ${permissions}`)
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
