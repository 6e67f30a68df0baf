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

export type FeatureAssessment = {
  readonly state: 'off' | 'on' | 'awaiting-connection' | 'no-installation' | 'app-lacks' | 'awaiting-approval'
  /** Where it stands, in a sentence. */
  readonly detail: string
  /** What to do; NAME stands for the feature. */
  readonly next: string
  readonly missing?: Permissions
  /** The page of GitHub where the owner gives what is missing. */
  readonly link?: string
}

/** How far a feature is, by what the App asks for and what the owner of its installation granted. */
export const assessFeature = (
  feature: Feature,
  profile: Profile | undefined,
  { connection, installations }: { connection: Connection; installations: readonly Installation[] },
): FeatureAssessment => {
  if (!profile) return { state: 'off', detail: 'It is switched off.', next: 'Run `ghconnect features enable NAME`.' }
  if (!isLive(connection)) {
    const detail = 'It is switched on, and its permissions will be asked for when the App is created.'
    return { state: 'awaiting-connection', detail, next: 'Run `ghconnect enable`.' }
  }
  const installation = findInstallation(installations, profile.installation)
  const lacks = missingFrom(installation?.permissions ?? {}, feature.permissions)
  if (installation && !lacks) {
    return { state: 'on', detail: 'It is switched on, and its permissions are granted.', next: 'Nothing to do.' }
  }
  const missing = missingFrom(connection.app.permissions, feature.permissions)
  if (missing) {
    const link = appPermissionsUrl(connection.app)
    const detail = `The App does not ask for ${describePermissions(missing)}.`
    const next = `Let the owner of the App add it, as GitHub has no API for that: ${link}; then approve it on the installation.`
    return { state: 'app-lacks', detail, next, missing, link }
  }
  if (installation && lacks) {
    const link = installation.htmlUrl
    const detail = `The owner of the installation has not approved ${describePermissions(lacks)} yet.`
    const next = `Let the owner accept the new permissions: ${link}; it is noticed by itself.`
    return { state: 'awaiting-approval', detail, next, missing: lacks, link }
  }
  const why =
    profile.installation === undefined
      ? `the App has ${installations.length} installations, and the feature names none`
      : `the App has no installation ${profile.installation}`
  const next = 'Name one of `ghconnect installations` with `ghconnect features enable NAME --installation ACCOUNT`.'
  return { state: 'no-installation', detail: `It is switched on, but ${why}.`, next }
}

const missingFrom = (held: Permissions, wanted: Permissions): Permissions | undefined => {
  const missing = Object.entries(wanted).filter(([name, access]) => !permissionsCover(held, { [name]: access }))
  return missing.length === 0 ? undefined : Object.fromEntries(missing)
}
