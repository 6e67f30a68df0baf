// What a page is made of: plain data for the views, gathered by the server. No field of it is a secret of GitHub's.

import type { Account, DaemonState, DisableStep } from '../protocol/connection.ts'
import type { Code } from '../protocol/errors.ts'
import type { Permissions } from '../protocol/scope.ts'
import type { CheckReport } from '../protocol/wire-check.ts'

export const LANGUAGES = ['en', 'ja'] as const
export type Language = (typeof LANGUAGES)[number]

/** What any page needs, signed in or not. */
export type Frame = {
  readonly language: Language
  /** The unguessable path that the session's cookie is bound to, as `/s/0123abcd`; empty on pages without a session. */
  readonly prefix: string
  /** Put into each form as the field `csrf`; empty on pages without a session. */
  readonly csrf: string
  /** Whole path of this page, without a query: the language switch links to it with `?lang=`. */
  readonly path: string
  readonly hostname: string
}

export type Installed = {
  readonly id: number
  readonly account: Account
  readonly repositorySelection: 'all' | 'selected'
  readonly permissions: Permissions
  readonly htmlUrl: string
  readonly suspendedAtMs?: number
  /** What the App asks for by now and the account's owner has not approved yet. */
  readonly pending?: Permissions
}

export type AppFacts = {
  readonly id: number
  readonly clientId: string
  readonly name: string
  readonly htmlUrl: string
  /** `htmlUrl/installations/new` */
  readonly installUrl: string
  /** Where its owner makes keys; `/advanced` below it deletes the App, `/permissions` changes what it asks for. */
  readonly settingsUrl: string
}

export type KeyFacts = {
  readonly fingerprint: string
  readonly addedAtMs: number
  /** Whether GitHub was seen to refuse it. */
  readonly rejected?: boolean
}

export type TokenFacts = {
  readonly live: number
  /** How long GitHub lets a token live; the bar shows the oldest one's age within it. */
  readonly lifetimeMs: number
  readonly oldestExpiresAtMs?: number
  readonly lastMintedAtMs?: number
  readonly nextRefreshAtMs?: number
}

/** One hour of the history; hours without any refresh may be left out. */
export type RefreshHour = { readonly startMs: number; readonly refreshed: number; readonly failed: number }

export type ProfileFacts = {
  readonly name: string
  readonly installation?: string
  /** Absent: all repositories. */
  readonly repositories?: readonly string[]
  /** Absent: all that were granted. */
  readonly permissions?: Permissions
  readonly users: readonly string[]
  readonly groups: readonly string[]
  readonly units: readonly string[]
}

export type FeatureFacts = {
  readonly name: string
  readonly title: string
  readonly state: 'on' | 'off' | 'attention'
  readonly detail?: string
}

export type AuditFacts = {
  readonly sequence: number
  readonly atMs: number
  readonly event: string
  /** Who asked: the unit where it is known, else uid and pid, else nothing. */
  readonly who?: string
  readonly profile?: string
  readonly scope?: string
  readonly detail?: string
  readonly count: number
}

export type Prerequisites = {
  /** Hosts that a firewall or proxy has to let pass on port 443. */
  readonly hosts: readonly string[]
  /** As the outside sees this machine, where that is known: for the IP allow list. */
  readonly egressAddress?: string
  /** GitHub's clock minus this machine's, where GitHub has answered yet. */
  readonly clockOffsetSeconds?: number
}

export type ProgressStep = {
  readonly name: 'created' | 'installed' | 'first-token'
  readonly state: 'pending' | 'active' | 'done' | 'failed'
  readonly detail?: string
}

export type FailureFacts = {
  readonly code: Code
  /** English, from the catalogue; the views have it in the other languages by the code. */
  readonly title: string
  readonly detail: string
  readonly next: string
}

export type WarningFacts = { readonly code: string; readonly detail: string; readonly next: string }

/** Said once at the top, after something was done. */
export type Notice =
  | 'refreshed'
  | 'key-added'
  | 'key-retired'
  | 'recovery-key-added'
  | 'adopted'
  | 'canceled'
  | 'disabled'

/** All that a signed-in page shows. What the state does not have is absent or empty. */
export type PageModel = Frame & {
  readonly nowMs: number
  readonly version: string
  readonly githubUrl: string
  readonly state: DaemonState
  readonly sinceMs: number
  /** English sentences of the daemon; shown as they are where the views have no words of their own. */
  readonly meaning: string
  readonly next: string
  /** What GitHub said (troubles, key-lost, quarantined), or why the connection ended (disconnected). Quoted as it is. */
  readonly evidence?: string
  /** Host on which the credentials were enabled, where they are. */
  readonly enabledOn?: string
  readonly account?: Account
  readonly app?: AppFacts
  /** GitHub's list of the account's Apps, for `key-lost` and for an enterprise's import. */
  readonly appsUrl?: string
  /** An enterprise's pre-filled form for a new App, while its enable is pending. */
  readonly createUrl?: string
  /** GitHub's page of the account's IP allow list. */
  readonly allowListUrl?: string
  /** awaiting-app: until when, and whether GitHub was asked for the key already. */
  readonly pendingEnable?: { readonly expiresAtMs: number; readonly converting: boolean }
  readonly progress: readonly ProgressStep[]
  readonly disabling?: { readonly step: DisableStep; readonly deadlineMs: number }
  readonly installations: readonly Installed[]
  readonly keys: readonly KeyFacts[]
  readonly tokens: TokenFacts
  /** The last 7 days, oldest first. */
  readonly refreshHistory: readonly RefreshHour[]
  /** Without its password. */
  readonly proxy?: string
  readonly prerequisites: Prerequisites
  /** What the App will be asked to have, united over all profiles. */
  readonly wantedPermissions: Permissions
  /** age recipients (public) that snapshots are encrypted to. */
  readonly recoveryRecipients: readonly string[]
  readonly warnings: readonly WarningFacts[]
  readonly profiles: readonly ProfileFacts[]
  readonly features: readonly FeatureFacts[]
  readonly role: 'single' | 'leader' | 'follower' | 'replica'
  readonly generation: number
  /** Newest first; the overview shows ten. */
  readonly audit: readonly AuditFacts[]
  /** The last report of the doctor, if there is one. */
  readonly check?: CheckReport
  /** What the last form of this page ended with. */
  readonly failure?: FailureFacts
  readonly notice?: Notice
  /** What was typed into the form that failed, to be shown again; never a key. */
  readonly typed?: Readonly<Record<string, string>>
}

/** The page with the form that goes to GitHub. It is also shown without a session, by the link of `ghconnect enable`. */
export type ConfirmModel = Frame & {
  readonly account: Account
  readonly appName: string
  readonly permissions: Permissions
  readonly expiresAtMs: number
  readonly nowMs: number
  /** GitHub's address, and the text of its field `manifest`. */
  readonly action: string
  readonly manifest: string
}

export type SignInModel = Frame & { readonly expiresAtMs: number; readonly nowMs: number }
export type ErrorModel = Frame & { readonly failure: FailureFacts }

type Route = {
  readonly path: string
  readonly method: 'GET' | 'POST'
  /** Besides `csrf`, which each POST under the prefix bears. `?` marks what may be left out. */
  readonly fields: readonly string[]
}

/**
 * Pages and forms under the session's prefix. A form ends with 303 to the page it came from, or with that page, the failure in it.
 * Forms with a `..._file` field are multipart: the pasted text and the file say the same, one of them is enough.
 */
export const ROUTES = {
  overview: { path: '/', method: 'GET', fields: [] },
  /** SSE: each event of the daemon; the script then fetches the page anew. */
  events: { path: '/events', method: 'GET', fields: [] },
  /** `terms` is `on`. → 303 confirm (organization, user) or import (enterprise). `without_recovery_key` is `on` where there is none. */
  enable: { path: '/enable', method: 'POST', fields: ['type', 'login', 'terms', 'without_recovery_key?'] },
  confirm: { path: '/enable', method: 'GET', fields: [] },
  /** Ends a pending enable. → 303 overview */
  cancel: { path: '/cancel', method: 'POST', fields: [] },
  importForm: { path: '/import', method: 'GET', fields: [] },
  /** `id`: digits are an App ID, anything else is a client ID. */
  import: { path: '/import', method: 'POST', fields: ['id', 'private_key?', 'key_file?', 'account?'] },
  disableForm: { path: '/disable', method: 'GET', fields: [] },
  /** `account` is the login typed again. `local` is `on`: GitHub is not called. → 303 overview */
  disable: { path: '/disable', method: 'POST', fields: ['account', 'local?'] },
  /** Does not wait any longer for the App's deletion. */
  finishDisable: { path: '/disable/finish', method: 'POST', fields: [] },
  checkPage: { path: '/check', method: 'GET', fields: [] },
  /**
   * → 303 checkPage; with `accept: application/x-ndjson` a line for each row as it comes, `{"row": HTML}`, and at the end
   * `{"summary": HTML}` (`checkRow` and `checkSummary` of the views).
   */
  check: { path: '/check', method: 'POST', fields: [] },
  keysPage: { path: '/keys', method: 'GET', fields: [] },
  addKey: { path: '/keys', method: 'POST', fields: ['private_key?', 'key_file?'] },
  retireKey: { path: '/keys/retire', method: 'POST', fields: ['fingerprint'] },
  /** An age recipient; its identity is made in the browser or elsewhere and never sent here. */
  recoveryKey: { path: '/recovery-key', method: 'POST', fields: ['recipient'] },
  refresh: { path: '/refresh', method: 'POST', fields: [] },
  adopt: { path: '/adopt', method: 'POST', fields: [] },
  unlock: { path: '/unlock', method: 'POST', fields: ['identity?', 'identity_file?'] },
  signOut: { path: '/sign-out', method: 'POST', fields: [] },
} as const satisfies Record<string, Route>

export type RouteName = keyof typeof ROUTES

/** Without a session; from the root of the server. The one-time code is the last part of `signIn`. */
export const OPEN_ROUTES = {
  style: '/style.css',
  script: '/client.js',
  icon: '/icon.svg',
  signIn: '/sign-in/',
  signedOut: '/signed-out',
} as const

export const to = (frame: Frame, route: RouteName): string => frame.prefix + ROUTES[route].path

/** What each view is called with. All are pure functions to HTML. */
export type ViewInputs = {
  /** The overview of whatever state there is. */
  overview: PageModel
  importApp: PageModel
  disable: PageModel
  check: PageModel
  keys: PageModel
  confirm: ConfirmModel
  signIn: SignInModel
  signedOut: Frame
  error: ErrorModel
}
