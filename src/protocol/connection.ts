// The states of the connection, and what each means and asks for.

import { type Code, Failure, isCode } from './errors.ts'
import type { Permissions } from './scope.ts'

export type AccountType = 'organization' | 'user' | 'enterprise'
/** `login` is the slug where the account is an enterprise. */
export type Account = { readonly type: AccountType; readonly login: string }

export type App = {
  readonly id: number
  readonly clientId: string
  readonly slug: string
  readonly name: string
  /** Login (or slug) of the account that owns the App. */
  readonly owner: Account
  readonly htmlUrl: string
  readonly permissions: Permissions
}

export type Installation = {
  readonly id: number
  readonly account: Account
  readonly repositorySelection: 'all' | 'selected'
  readonly permissions: Permissions
  readonly htmlUrl: string
  readonly suspendedAtMs?: number
}

/** A machine, told by two marks of which a rename or a rebuild changes one, and a clone both. */
export type Host = { readonly machineId: string; readonly hostname: string }

type Established = { readonly app: App; readonly account: Account; readonly host: Host; readonly enabledAtMs: number }

/** States that GitHub put the connection into, and takes it out of again. `evidence` is what GitHub said. */
export const TROUBLES = ['suspended', 'uninstalled', 'app-deleted', 'key-rejected', 'blocked'] as const
export type Trouble = (typeof TROUBLES)[number]

/** The steps of a disable, in order; each is durable before the next begins, so that it goes on after a kill. */
export type DisableStep = 'revoke' | 'uninstall' | 'delete-app'

export type Connection =
  | { readonly kind: 'disconnected'; readonly sinceMs: number; readonly remark?: string }
  | {
      readonly kind: 'awaiting-app'
      readonly sinceMs: number
      readonly account: Account
      /** Single use, 128 bits, in hexadecimal: binds GitHub's redirect to this enable. */
      readonly state: string
      readonly expiresAtMs: number
      /** Durable before GitHub is asked to convert: after a kill it is asked again, or the state becomes `key-lost`. */
      readonly conversion?: { readonly code: string; readonly startedAtMs: number }
    }
  | { readonly kind: 'key-lost'; readonly sinceMs: number; readonly account: Account; readonly evidence: string }
  | ({ readonly kind: 'awaiting-installation'; readonly sinceMs: number } & Established)
  | ({ readonly kind: 'connected'; readonly sinceMs: number } & Established)
  | ({ readonly kind: Trouble; readonly sinceMs: number; readonly evidence: string } & Established)
  | ({ readonly kind: 'quarantined'; readonly sinceMs: number; readonly evidence: string } & Established)
  | ({
      readonly kind: 'disconnecting'
      readonly sinceMs: number
      readonly step: DisableStep
      /** When the key goes even if GitHub never confirmed that the App is gone. */
      readonly deadlineMs: number
    } & Established)

export type ConnectionKind = Connection['kind']
/** What the daemon can be in: a state of the connection, a store that cannot be read, or a node that was cut off for too long. */
export type DaemonState = ConnectionKind | 'locked' | 'awaiting-unlock' | 'isolated'

/** A connection whose App and key are stored. */
export type Live = Extract<Connection, Established>

export const isLive = (connection: Connection): connection is Live => 'app' in connection

/**
 * States in which tokens are minted and served. In the troubles, what is still valid is served: GitHub may relent. An App that is gone
 * took its tokens along.
 */
export const mayServe = ({ kind }: Connection): boolean =>
  kind === 'connected' || (isTrouble(kind) && kind !== 'uninstalled' && kind !== 'app-deleted')

export const isTrouble = (kind: string | undefined): kind is Trouble =>
  (TROUBLES as readonly (string | undefined)[]).includes(kind)

/** No call leaves the machine in these states: a clone must not disturb its original. */
export const mayCallOut = (connection: Connection): boolean => connection.kind !== 'quarantined'

/** A machine is another one when both marks differ. Two machines without a machine-id have none in common. */
export const isOtherHost = (stored: Host, here: Host): boolean =>
  (stored.machineId !== here.machineId || here.machineId === '') && stored.hostname !== here.hostname

/** Whether the second is the first one's App on the same machine, enabled once: in another state or with other keys, perhaps. */
export const isSameApp = (before: Connection, after: Connection): boolean =>
  isLive(before) &&
  isLive(after) &&
  before.app.id === after.app.id &&
  before.enabledAtMs === after.enabledAtMs &&
  before.host.machineId === after.host.machineId &&
  before.host.hostname === after.host.hostname

/** What a JWT of the App names as `iss`: servers of before client ids take the id. */
export const issuerOf = ({ clientId, id }: Pick<App, 'clientId' | 'id'>): string => clientId || String(id)

/** The address of the App's settings page on GitHub, or of the list of Apps where its own is not known, where its owner makes keys and deletes it. */
export const appSettingsUrl = (app: Pick<App, 'slug' | 'owner' | 'htmlUrl'>): string => {
  const origin = new URL(app.htmlUrl).origin
  return `${origin}${ownerSettingsPath(app.owner)}${app.slug && `/${app.slug}`}`
}

/** The list of all Apps of an account: where to look when the App's own name is not known. */
export const appsSettingsUrl = (githubUrl: string, account: Account): string =>
  `${githubUrl.replace(/\/$/, '')}${ownerSettingsPath(account)}`

export const ownerSettingsPath = (owner: Account): string => {
  switch (owner.type) {
    case 'organization':
      return `/organizations/${owner.login}/settings/apps`
    case 'enterprise':
      return `/enterprises/${owner.login}/settings/apps`
    case 'user':
      return '/settings/apps'
    default:
      return owner.type satisfies never
  }
}

/** One sentence on what the state means, one on what to do. */
export type Explanation = { readonly meaning: string; readonly next: string }

/** Of a sealed bundle that was restored without the key that opens it. */
export const explainWaiting = (whose: string): Explanation => ({
  meaning: `A sealed bundle of ${whose} was restored without its recovery key.`,
  next: 'Run `ghconnect unlock --identity FILE` with the recovery key.',
})

export const NOTHING_TO_DO = 'Nothing to do.'

export const explainConnection = (connection: Connection, githubUrl: string): Explanation => {
  switch (connection.kind) {
    case 'disconnected':
      return {
        meaning: connection.remark ?? 'This machine is not connected to GitHub.',
        next: 'Run `ghconnect enable --organization ORG`.',
      }
    case 'awaiting-app':
      return connection.conversion
        ? {
            meaning: 'The App was created. GitHub was asked for its key, and the answer is not here yet.',
            next: 'Nothing is lost, and you can close this page: the daemon keeps asking for an hour, and continues automatically.',
          }
        : {
            meaning: `The App is to be created on GitHub by an owner of ${connection.account.login}.`,
            next: 'Open the link that `ghconnect enable` printed, or run `ghconnect enable` again for a new one.',
          }
    case 'key-lost':
      return {
        meaning: `GitHub made an App for ${connection.account.login}, but its key never reached this disk (${connection.evidence}).`,
        next: `Under ${appsSettingsUrl(githubUrl, connection.account)} either generate a new key for it and run \`ghconnect import --app-id ID --key FILE\`, or delete it and run \`ghconnect enable\` again.`,
      }
    case 'awaiting-installation':
      return {
        meaning: `The App ${connection.app.name} exists and is not installed yet.`,
        next: `Install it: ${connection.app.htmlUrl}/installations/new`,
      }
    case 'connected':
      return { meaning: `Connected to ${connection.account.login} as ${connection.app.name}.`, next: NOTHING_TO_DO }
    case 'suspended':
      return {
        meaning: `The installation is suspended: ${connection.evidence}.`,
        next: `Let an owner of ${connection.account.login} unsuspend the App in the account's settings; it is noticed by itself.`,
      }
    case 'uninstalled':
      return {
        meaning: `The App is no longer installed: ${connection.evidence}.`,
        next: `Install it again: ${connection.app.htmlUrl}/installations/new, or run \`ghconnect disable\`.`,
      }
    case 'app-deleted':
      return {
        meaning: `GitHub does not know the App any more: ${connection.evidence}.`,
        next: 'Run `ghconnect disable --local`, then `ghconnect enable` again for a new App.',
      }
    case 'key-rejected':
      return {
        meaning: `GitHub rejects the private key: ${connection.evidence}.`,
        next: `Generate a key under ${appSettingsUrl(connection.app)} and run \`ghconnect keys add FILE\`.`,
      }
    case 'blocked':
      return explainBlocked(connection.account, connection.evidence)
    case 'quarantined':
      return {
        meaning: `These credentials were enabled on another machine (${connection.host.hostname}); nothing is served and no call goes out.`,
        next: 'If this machine replaces it, run `ghconnect adopt`; if it is a copy, `ghconnect disable --local`.',
      }
    case 'disconnecting':
      return {
        meaning: `Disabling: ${DISABLE_MEANING[connection.step]}.`,
        next:
          connection.step === 'delete-app'
            ? `Delete the App under ${appSettingsUrl(connection.app)}/advanced; it is noticed by itself. \`ghconnect disable --no-wait\` does not wait for it.`
            : 'Wait: it is tried again by itself. `ghconnect disable --local` does not wait for GitHub.',
      }
    default:
      return connection satisfies never
  }
}

/** The account keeps the App out: by its allow list, which names itself, or by another of its policies. */
const explainBlocked = ({ login }: Account, evidence: string): Explanation =>
  /IP allow list/i.test(evidence)
    ? {
        meaning: `The IP allow list of ${login} does not admit this machine: ${evidence}.`,
        next: "Add this machine's egress address to the allow list; it is noticed by itself.",
      }
    : {
        meaning: `A policy of ${login} keeps the App out: ${evidence}.`,
        next: `Let an owner of ${login} look at its policies on Apps and its single sign-on; it is noticed by itself.`,
      }

const DISABLE_MEANING: Readonly<Record<DisableStep, string>> = {
  revoke: 'the tokens are being revoked',
  uninstall: 'the App is being uninstalled',
  'delete-app': 'the App has to be deleted by its owner, as GitHub has no API for that',
}

/** The problem that a state is to somebody who wants a token. Undefined where tokens are served, or the person is just about to connect. */
export const failureOfState = (of: { readonly state: string } & Explanation): Failure | undefined => {
  const code = PROBLEM_OF_STATE.get(of.state) ?? of.state
  return isCode(code) ? new Failure(code, of.meaning, { next: of.next }) : undefined
}

/** The others have the name of their problem: `locked`, `suspended`. */
const PROBLEM_OF_STATE = new Map<string, Code>([
  ['disconnected', 'not-connected'],
  ['disconnecting', 'not-connected'],
  ['awaiting-unlock', 'locked'],
  ['uninstalled', 'installation-not-found'],
  ['app-deleted', 'app-not-found'],
  ['blocked', 'ip-blocked'],
])
