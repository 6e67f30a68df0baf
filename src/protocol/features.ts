// The features of GitHub Connect as named permission sets: what each is for, what it moves, and what its token must hold.

import { appSettingsUrl, type Connection, type Installation, isLive } from './connection.ts'
import { findInstallation, type Profile } from './profile.ts'
import { describePermissions, type Permissions, permissionsCover } from './scope.ts'

export const FEATURE_NAMES = [
  'license-user-sync',
  'dependabot-alerts',
  'dependabot-updates',
  'actions-from-github',
  'unified-search-public',
  'unified-search-private',
  'unified-contributions',
  'server-statistics',
] as const
export type FeatureName = (typeof FEATURE_NAMES)[number]

/** `reads` and `sends` are seen from this machine. `remark`: what GitHub's public App permissions do not cover. */
export type Feature = {
  readonly title: string
  readonly purpose: string
  readonly reads: string
  readonly sends: string
  readonly permissions: Permissions
  readonly consumer: string
  readonly remark?: string
}

export const FEATURES: Readonly<Record<FeatureName, Feature>> = {
  'license-user-sync': {
    title: 'License user sync',
    purpose: 'Counts a person who works both here and on GitHub once, and not twice.',
    reads: 'the members of the organization, and the seats of its plan',
    sends: 'ids and e-mail addresses of the users here, by the consumer',
    permissions: { members: 'read', organization_plan: 'read' },
    consumer: 'the job that compares the users here with the members there',
    remark:
      'GitHub has no public App permission that takes a list of users: the upload itself is done by an enterprise owner.',
  },
  'dependabot-alerts': {
    title: 'Dependabot alerts',
    purpose: 'Tells users here of known vulnerabilities in what their code depends on.',
    reads: 'the GitHub Advisory Database, and the Dependabot alerts of the account',
    sends: 'nothing',
    permissions: { vulnerability_alerts: 'read' },
    consumer: 'the job that mirrors advisories and alerts',
  },
  'dependabot-updates': {
    title: 'Dependabot updates',
    purpose: 'Lets Dependabot here look up new versions of dependencies that live on GitHub.',
    reads: 'files, tags and releases of repositories that code here depends on',
    sends: 'the names of these repositories',
    permissions: { contents: 'read', metadata: 'read' },
    consumer: 'the runner of Dependabot, by git or the gateway',
  },
  'actions-from-github': {
    title: 'Actions from GitHub.com',
    purpose: 'Lets workflows here use actions whose repositories are on GitHub.',
    reads: 'the repositories of actions, at the tag or commit that a workflow names',
    sends: 'the names of these repositories and of their tags',
    permissions: { contents: 'read', metadata: 'read' },
    consumer: 'the service that fetches actions, by git or the gateway',
  },
  'unified-search-public': {
    title: 'Unified search, public repositories',
    purpose: 'Shows public repositories of GitHub in the search here.',
    reads: 'results for what is public',
    sends: 'what users search for',
    permissions: { metadata: 'read' },
    consumer: 'the search of the appliance, by the gateway',
  },
  'unified-search-private': {
    title: 'Unified search, private repositories',
    purpose: 'Shows code, issues and pull requests of the private repositories of the account in the search here.',
    reads: 'results from repositories of the installation',
    sends: 'what users search for',
    permissions: { contents: 'read', issues: 'read', metadata: 'read', pull_requests: 'read' },
    consumer: 'the search of the appliance, by the gateway',
    remark:
      'The token sees all repositories of its scope, whoever searches: the consumer has to ask whether its user may see a result.',
  },
  'unified-contributions': {
    title: 'Unified contributions',
    purpose: 'Counts work that users do here in their contributions on GitHub.',
    reads: 'the members of the organization, to match users',
    sends: 'counts of contributions by user and day, by the consumer',
    permissions: { members: 'read' },
    consumer: 'the job that matches users and sends counts',
    remark: 'GitHub has no public App permission that takes counts: the token serves to match users.',
  },
  'server-statistics': {
    title: 'Server statistics',
    purpose: 'Sends aggregate figures on the use of this server, and reads back what was sent.',
    reads: 'the figures that GitHub holds',
    sends: 'aggregate figures, by the consumer',
    permissions: { organization_administration: 'read' },
    consumer: 'the job that collects figures',
    remark: "GitHub's API for these figures does not take the token of an App yet: an enterprise owner exports them.",
  },
}

/** Where the App's permissions are edited. GitHub has no API for it. */
export const appPermissionsUrl = (app: Parameters<typeof appSettingsUrl>[0]): string =>
  `${appSettingsUrl(app)}/permissions`

export type FeatureAssessment =
  | { readonly state: 'off' | 'on' }
  /** There is no App yet: it will be asked for when it is created. */
  | { readonly state: 'awaiting-connection' }
  | { readonly state: 'no-installation'; readonly detail: string }
  | { readonly state: 'app-lacks'; readonly missing: Permissions; readonly link: string }
  | { readonly state: 'awaiting-approval'; readonly missing: Permissions; readonly link: string }

/** How far a feature is, by what the App asks for and what the owner of its installation granted. */
export const assessFeature = (
  feature: Feature,
  profile: Profile | undefined,
  { connection, installations }: { connection: Connection; installations: readonly Installation[] },
): FeatureAssessment => {
  if (!profile) return { state: 'off' }
  if (!isLive(connection)) return { state: 'awaiting-connection' }
  const installation = findInstallation(installations, profile.installation)
  const lacks = missingFrom(installation?.permissions ?? {}, feature.permissions)
  if (installation && !lacks) return { state: 'on' }
  const missing = missingFrom(connection.app.permissions, feature.permissions)
  if (missing) return { state: 'app-lacks', missing, link: appPermissionsUrl(connection.app) }
  if (installation && lacks) return { state: 'awaiting-approval', missing: lacks, link: installation.htmlUrl }
  const detail =
    profile.installation === undefined
      ? `the App has ${installations.length} installations, and the feature names none`
      : `the App has no installation ${profile.installation}`
  return { state: 'no-installation', detail }
}

const missingFrom = (held: Permissions, wanted: Permissions): Permissions | undefined => {
  const missing = Object.entries(wanted).filter(([name, access]) => !permissionsCover(held, { [name]: access }))
  return missing.length === 0 ? undefined : Object.fromEntries(missing)
}

/** One sentence on where it stands, one on what to do. */
export const explainAssessment = (
  assessment: FeatureAssessment,
): { readonly detail: string; readonly next: string } => {
  switch (assessment.state) {
    case 'off':
      return { detail: 'It is switched off.', next: 'Run `ghconnect features enable NAME`.' }
    case 'on':
      return { detail: 'It is switched on, and its permissions are granted.', next: 'Nothing to do.' }
    case 'awaiting-connection':
      return {
        detail: 'It is switched on, and its permissions will be asked for when the App is created.',
        next: 'Run `ghconnect enable`.',
      }
    case 'no-installation':
      return {
        detail: `It is switched on, but ${assessment.detail}.`,
        next: 'Name one of `ghconnect installations` with `ghconnect features enable NAME --installation ACCOUNT`.',
      }
    case 'app-lacks':
      return {
        detail: `The App does not ask for ${describePermissions(assessment.missing)}.`,
        next: `Let the owner of the App add it, as GitHub has no API for that: ${assessment.link}; then approve it on the installation.`,
      }
    case 'awaiting-approval':
      return {
        detail: `The owner of the installation has not approved ${describePermissions(assessment.missing)} yet.`,
        next: `Let the owner accept the new permissions: ${assessment.link}; it is noticed by itself.`,
      }
    default:
      return assessment satisfies never
  }
}
