// Single things of a page, from the shapes that the daemon holds them in.

import { appSettingsUrl, type Account, type App, type Connection, type Installation } from '../protocol/connection.ts'
import { assessFeature, explainAssessment, FEATURE_NAMES, FEATURES, type FeatureName } from '../protocol/features.ts'
import { allowNames, type Policy, type Profile } from '../protocol/profile.ts'
import { type Permissions, permissionsCover } from '../protocol/scope.ts'
import type { Status } from '../protocol/wire.ts'
import type { AuditRowBody } from '../protocol/wire-policy.ts'
import type { AppFacts, AuditFacts, FeatureFacts, Installed, ProfileFacts, TokenFacts } from './model.ts'

export const TOKEN_LIFETIME_MS = 60 * 60_000

export const appFacts = (app: App): AppFacts => ({
  id: app.id,
  clientId: app.clientId,
  name: app.name,
  htmlUrl: app.htmlUrl,
  installUrl: `${app.htmlUrl}/installations/new`,
  settingsUrl: appSettingsUrl(app),
})

/** A user has no such list. */
export const allowListOf = (githubUrl: string, { type, login }: Account): { allowListUrl?: string } =>
  type === 'user'
    ? {}
    : {
        allowListUrl: `${githubUrl}/${type === 'enterprise' ? 'enterprises' : 'organizations'}/${login}/settings/security`,
      }

export const tokenFacts = ({ tokens }: Status): TokenFacts => ({
  live: tokens.live,
  lifetimeMs: TOKEN_LIFETIME_MS,
  ...(tokens.oldest_expires_at !== undefined && { oldestExpiresAtMs: Date.parse(tokens.oldest_expires_at) }),
  ...(tokens.last_minted_at !== undefined && { lastMintedAtMs: Date.parse(tokens.last_minted_at) }),
  ...(tokens.next_refresh_at !== undefined && { nextRefreshAtMs: Date.parse(tokens.next_refresh_at) }),
})

export const profileFacts = (profile: Profile): ProfileFacts => {
  const { name, installation, repositories, permissions } = profile
  return {
    name,
    ...(installation !== undefined && { installation: String(installation) }),
    ...(repositories && { repositories }),
    ...(permissions && { permissions }),
    ...allowNames(profile),
  }
}

export const auditFacts = ({
  sequence,
  at,
  event,
  unit,
  uid,
  pid,
  profile,
  scope,
  detail,
  count,
}: AuditRowBody): AuditFacts => {
  const who = unit ?? (uid === undefined ? undefined : `uid ${uid}, pid ${pid}`)
  return {
    sequence,
    atMs: Date.parse(at),
    event,
    ...(who !== undefined && { who }),
    ...(profile !== undefined && { profile }),
    ...(scope !== undefined && { scope }),
    ...(detail !== undefined && { detail }),
    count: count ?? 1,
  }
}

/** What the App asks for by now and the owner of the installation has not approved shows as `pending`. */
export const installed = (installation: Installation, asked: Permissions): Installed => {
  const missing = Object.entries(asked).filter(
    ([name, access]) => !permissionsCover(installation.permissions, { [name]: access }),
  )
  return { ...installation, ...(missing.length > 0 && { pending: Object.fromEntries(missing) }) }
}

type Standing = { readonly connection: Connection; readonly installations: readonly Installation[] }

export const featureFacts = (switched: readonly FeatureName[], policy: Policy, standing: Standing): FeatureFacts[] =>
  FEATURE_NAMES.map(name => {
    const profile = switched.includes(name) ? policy.profiles.find(one => one.name === name) : undefined
    const assessment = assessFeature(FEATURES[name], profile, standing)
    const { title } = FEATURES[name]
    if (assessment.state === 'off' || assessment.state === 'on') return { name, title, state: assessment.state }
    return { name, title, state: 'attention', detail: explainAssessment(assessment).detail }
  })
