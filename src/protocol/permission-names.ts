// The names of permissions that GitHub documents, to tell a misspelt one from one that is new. GitHub adds names without notice.

import { nearest } from './nearest.ts'

/** Of GitHub's OpenAPI description (`app-permissions`) and of its pages on permissions of GitHub Apps. */
export const PERMISSION_NAMES: readonly string[] = `
actions actions_variables administration artifact_metadata attestations blocking checks code_quality codespaces
codespaces_lifecycle_admin codespaces_metadata codespaces_secrets contents copilot_editor_context copilot_messages copilot_requests
custom_properties_for_organizations dependabot_alerts dependabot_secrets deployments discussions email_addresses emails
enterprise_administration enterprise_custom_properties enterprise_custom_properties_for_organizations
enterprise_organization_installation_repositories enterprise_organization_installations enterprise_people enterprise_scim
enterprise_sso environments followers gists git_ssh_keys gpg_keys interaction_limits issues keys knowledge_bases members
merge_queues metadata models organization_actions_variables organization_administration organization_announcement_banners
organization_codespaces organization_codespaces_secrets organization_codespaces_settings organization_copilot_agent_settings
organization_copilot_seat_management organization_custom_org_roles organization_custom_properties organization_custom_roles
organization_dependabot_secrets organization_events organization_hooks organization_models organization_packages
organization_personal_access_token_requests organization_personal_access_tokens organization_plan organization_projects
organization_secrets organization_self_hosted_runners organization_user_blocking packages pages plan profile pull_requests
repository_advisories repository_custom_properties repository_hooks repository_projects secret_scanning_alerts secrets
security_events single_file starring statuses team_discussions vulnerability_alerts watching workflows`
  .trim()
  .split(/\s+/)

/** What is to be said of a name; undefined: it is known. A near miss of a known name is taken for a slip of the keyboard. */
export const doubtPermission = (name: string): { isSlip: boolean; message: string } | undefined => {
  if (PERMISSION_NAMES.includes(name)) return undefined
  const guess = nearest(name, PERMISSION_NAMES)
  if (guess === undefined) return { isSlip: false, message: 'is not a permission that this version knows' }
  return { isSlip: true, message: `is not a permission of GitHub; did you mean ${guess}?` }
}
