// What pages are made of: plain data for the views, and the table of all pages and forms. No field of it is a secret of GitHub's.

import type { DaemonState, DisableStep } from '../protocol/connection.ts'
import type { Failure } from '../protocol/errors.ts'
import type { FeatureAssessment, FeatureName } from '../protocol/features.ts'
import type { allowNames, Profile } from '../protocol/profile.ts'
import type { Permissions } from '../protocol/scope.ts'
import type { KeysAnswer, Status } from '../protocol/wire.ts'
import type { CheckReport } from '../protocol/wire-check.ts'
import type { AuditRowBody } from '../protocol/wire-policy.ts'

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

/** What went wrong; its title and advice follow from the code. */
export type Problem = Pick<Failure, 'code' | 'message'>

/** Said once at the top, after something was done. */
export type Notice =
  | 'refreshed'
  | 'key-added'
  | 'key-retired'
  | 'recovery-key-added'
  | 'adopted'
  | 'canceled'
  | 'disabled'

/** What the last form ended with. */
export type Said = {
  readonly failure?: Problem
  readonly notice?: Notice
  /** What was typed into the form that failed, to be shown again; never a key. */
  readonly typed?: Readonly<Record<string, string>>
}

/** Beside the status of the API, what the API's other answers have, by their names, and what follows from the stored connection. */
type Details = {
  readonly state: DaemonState
  /** What GitHub said (troubles, key-lost, quarantined), or why the connection ended (disconnected). Quoted as it is. */
  readonly evidence?: string
  /** Host on which the credentials were enabled, where they are. */
  readonly enabledOn?: string
  /** Where the App's owner makes keys; `/advanced` below it deletes the App. */
  readonly appSettingsUrl?: string
  /** An enterprise's pre-filled form for a new App, while its enable is pending. */
  readonly createUrl?: string
  /** awaiting-app: until when, and whether GitHub was asked for the key already. */
  readonly pendingEnable?: { readonly expiresAt: string; readonly converting: boolean }
  readonly disabling?: { readonly step: DisableStep; readonly deadline: string }
  /** What the App asks for by now: an owner may not have approved all of it. */
  readonly askedPermissions: Permissions
  /** What a new App will be asked to have, united over all profiles. */
  readonly wantedPermissions: Permissions
  readonly keys: KeysAnswer['keys']
  readonly features: readonly {
    readonly name: FeatureName
    readonly title: string
    readonly state: FeatureAssessment['state']
    /** What it waits for. */
    readonly detail?: string
  }[]
  /** Newest first; the overview shows ten. */
  readonly audit: readonly AuditRowBody[]
  /** The last 7 days, oldest first; hours without any refresh may be left out. */
  readonly refreshHistory: readonly { readonly startMs: number; readonly refreshed: number; readonly failed: number }[]
}

/** All that a signed-in page shows. Times are in ISO 8601. While the store is closed most of it is empty. */
export type PageModel = Frame &
  Said &
  Details &
  Omit<Status, keyof Details | 'signer'> & {
    readonly nowMs: number
    readonly githubUrl: string
    /** Those that a firewall or proxy has to let pass on port 443. */
    readonly hosts: readonly string[]
    readonly profiles: readonly (Omit<Profile, 'allow'> & { readonly allow: ReturnType<typeof allowNames> })[]
    /** The last report of the doctor, if there is one. */
    readonly check?: CheckReport
  }

/** The page with the form that goes to GitHub. It is also shown without a session, by the link of `ghconnect enable`. */
export type ConfirmModel = Frame & {
  readonly account: NonNullable<PageModel['account']>
  readonly appName: string
  readonly permissions: Permissions
  readonly expiresAt: string
  readonly nowMs: number
  /** GitHub's address, and the text of its field `manifest`. */
  readonly action: string
  readonly manifest: string
}

export type SignInModel = Frame & { readonly expiresAt: string; readonly nowMs: number }

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
