// The App manifest that GitHub makes the App from, the addresses where it is posted, and the redirect that brings the code back.

import { createHash } from 'node:crypto'
import type { Account } from '../../protocol/connection.ts'
import { ownerSettingsPath } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import { type Permissions, unitePermissions } from '../../protocol/scope.ts'
import type { Config } from '../../service/config.ts'

export type AppOutline = {
  readonly name: string
  /** The appliance's own address, shown as the App's home page. */
  readonly url: string
  readonly description: string
  readonly permissions: Permissions
  /** Where GitHub sends the browser after an installation. */
  readonly setupUrl?: string
}

/** As GitHub takes it. No `hook_attributes` and no `default_events`: either would ask for a webhook URL. */
export const appManifest = (outline: AppOutline & { readonly redirectUrl: string }) => ({
  name: appName(outline.name),
  url: outline.url,
  description: outline.description,
  redirect_url: outline.redirectUrl,
  ...(outline.setupUrl !== undefined && { setup_url: outline.setupUrl }),
  public: false,
  default_permissions: outline.permissions,
})

/** Where the form with the manifest is posted. Enterprises have no manifest flow: throws `invalid-request`. */
export const manifestAction = (githubUrl: string, account: Account, state: string): string => {
  if (account.type === 'enterprise') {
    throw new Failure(
      'invalid-request',
      'GitHub has no App manifests for enterprises: fill in the form and import the key',
    )
  }
  return `${newAppUrl(githubUrl, account)}?${new URLSearchParams({ state }).toString()}`
}

/** The form for a new App with its fields filled in. It gives no code and no key: those are made by hand and imported. */
export const enterprisePrefill = (githubUrl: string, account: Account, outline: AppOutline): string => {
  const query = new URLSearchParams({
    name: appName(outline.name),
    url: outline.url,
    description: outline.description,
    public: 'false',
    webhook_active: 'false',
  })
  if (outline.setupUrl !== undefined) query.set('setup_url', outline.setupUrl)
  for (const [name, access] of Object.entries(outline.permissions)) {
    if (!/^[a-z][a-z0-9_]*$/.test(name) || FORM_FIELDS.has(name)) {
      throw new Failure('invalid-request', `${JSON.stringify(name)} is no permission of an App`)
    }
    query.set(name, access)
  }
  return `${newAppUrl(githubUrl, account)}?${query.toString()}`
}

export type Redirect = { readonly code: string; readonly state?: string }

/**
 * Reads what the administrator pasted: the address that the browser was sent to, its query, or the code alone.
 * Throws `invalid-request`, without repeating the text: the code is good for a private key.
 */
export const readRedirect = (text: string): Redirect => {
  // Terminals break long lines, and mails put quotes or brackets around addresses.
  const pasted = text
    .slice(0, LONGEST_PASTE)
    .replaceAll(/[\r\n]\s*/g, '')
    .replaceAll(/^[\s"'<`]+|[\s"'>`]+$/g, '')
  if (CODE.test(pasted)) return { code: pasted }
  const query = queryOf(pasted)
  const codes = query?.getAll('code') ?? []
  const states = query?.getAll('state') ?? []
  const [code] = codes
  const [state] = states
  if (codes.length !== 1 || code === undefined || !CODE.test(code)) {
    throw new Failure(
      'invalid-request',
      'the text holds no code of GitHub: paste the whole address that the browser was sent to',
    )
  }
  if (states.length > 1 || (state !== undefined && !STATE.test(state))) {
    throw new Failure('invalid-request', 'the state in the address is not one of ours')
  }
  return state === undefined ? { code } : { code, state }
}

const LONGEST_NAME = 34

/** At most 34 characters, globally unique on GitHub: what is cut off lives on in a digest, so that two long names stay two. */
const appName = (wanted: string): string => {
  const name = wanted
    .toWellFormed()
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .trim()
  if (!/[\p{L}\p{N}]/u.test(name)) throw new Failure('invalid-request', 'the name of the App is empty')
  if (name.length <= LONGEST_NAME) return name
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 6)
  const kept = name.slice(0, LONGEST_NAME - 7).replace(/[^\p{L}\p{N}]+$/u, '')
  return `${kept || 'app'}-${digest}`
}

/** Fields of the form for a new App, which a permission must not pose as. */
const FORM_FIELDS = new Set([
  'name',
  'description',
  'url',
  'callback_urls',
  'request_oauth_on_install',
  'setup_url',
  'setup_on_update',
  'public',
  'webhook_active',
  'webhook_url',
  'webhook_secret',
  'events',
  'domain',
  'single_file_name',
  'device_flow_enabled',
])

/** The forms with which an App is created, as the configuration fills them in. */
export const createForms = (config: () => Config) => {
  const outline = () => {
    const { appliance, app, policy, web } = config()
    return {
      name: app.name,
      url: appliance.url,
      description: `GitHub Connect of ${appliance.hostname}`,
      permissions: unitePermissions([app.permissions, ...policy.profiles.map(profile => profile.permissions)]),
      setupUrl: `${web.publicUrl}/setup`,
    }
  }
  /** The form's address: our page for a manifest, GitHub's pre-filled form for an enterprise. */
  const formUrl = (account: Account, state: string): string =>
    account.type === 'enterprise'
      ? enterprisePrefill(config().github.url, account, outline())
      : `${config().web.publicUrl}/enable/${state}`
  const appForm = (account: Account, state: string) => ({
    action: manifestAction(config().github.url, account, state),
    manifest: appManifest({ ...outline(), redirectUrl: `${config().web.publicUrl}/callback` }),
    permissions: outline().permissions,
  })
  return { formUrl, appForm, wantedPermissions: () => outline().permissions }
}

const newAppUrl = (githubUrl: string, account: Account): string =>
  `${githubUrl.replace(/\/+$/, '')}${ownerSettingsPath({ ...account, login: encodeURIComponent(account.login) })}/new`

const LONGEST_PASTE = 8192
const CODE = /^[A-Za-z0-9_-]{8,200}$/
const STATE = /^[A-Za-z0-9_-]{1,200}$/

const queryOf = (text: string): URLSearchParams | undefined => {
  if (/^https?:\/\//i.test(text)) return URL.parse(text)?.searchParams
  return text.includes('=') ? new URLSearchParams(text.replace(/^[^?=]*\?/, '')) : undefined
}
