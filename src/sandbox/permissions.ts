// Which permissions GitHub knows, at which levels, and what covers what. Source: GitHub's `app-permissions` schema.

export type Permissions = Readonly<Record<string, string>>

const READ_WRITE =
  'actions administration artifact_metadata attestations checks code_quality codespaces contents dependabot_secrets deployments discussions environments issues merge_queues metadata packages pages pull_requests repository_custom_properties repository_hooks secret_scanning_alerts secrets security_events single_file statuses vulnerability_alerts custom_properties_for_organizations members organization_administration organization_custom_roles organization_custom_org_roles organization_copilot_seat_management organization_copilot_agent_settings organization_announcement_banners organization_hooks organization_personal_access_tokens organization_personal_access_token_requests organization_packages organization_secrets organization_self_hosted_runners organization_user_blocking email_addresses followers git_ssh_keys gpg_keys interaction_limits starring enterprise_administration enterprise_organization_installations enterprise_organization_installation_repositories'
const READ_WRITE_ADMIN =
  'repository_projects organization_custom_properties organization_projects enterprise_custom_properties_for_organizations'
const READ_ONLY = 'organization_events organization_plan'
const WRITE_ONLY = 'workflows profile'

const levels = (names: string, ...known: string[]): [string, readonly string[]][] =>
  names.split(' ').map(name => [name, known])

/** Every permission and its levels, weakest first. */
export const PERMISSION_LEVELS: ReadonlyMap<string, readonly string[]> = new Map([
  ...levels(READ_WRITE, 'read', 'write'),
  ...levels(READ_WRITE_ADMIN, 'read', 'write', 'admin'),
  ...levels(READ_ONLY, 'read'),
  ...levels(WRITE_ONLY, 'write'),
])

const RANK = ['read', 'write', 'admin']

export const isKnown = (name: string, level: unknown): level is string =>
  typeof level === 'string' && (PERMISSION_LEVELS.get(name)?.includes(level) ?? false)

/** True when `granted` holds `name` at `level` or above. */
export const covers = (granted: Permissions, name: string, level: string): boolean => {
  const held = Object.hasOwn(granted, name) ? granted[name] : undefined
  return held !== undefined && RANK.indexOf(held) >= RANK.indexOf(level)
}

/** GitHub grants `metadata: read` with everything. */
export const withMetadata = (permissions: Permissions): Permissions =>
  Object.hasOwn(permissions, 'metadata') ? permissions : { ...permissions, metadata: 'read' }

/** What is left of `held` where no more than `limit` may be held. */
export const narrowed = (held: Permissions, limit: Permissions): Permissions =>
  Object.fromEntries(
    Object.entries(held).flatMap(([name, level]) => {
      if (covers(limit, name, level)) return [[name, level]]
      const most = Object.hasOwn(limit, name) ? limit[name] : undefined
      return most === undefined ? [] : [[name, most]]
    }),
  )
