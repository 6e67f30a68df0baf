// Finds slips of the keyboard and the pen: what a misspelt word was meant to be, names of permissions, recipients of recovery keys.

/** The candidate that is fewest typing errors away, up to one for each three letters and three in all; undefined where none is so near. */
export const nearest = (word: string, candidates: readonly string[]): string | undefined => {
  let best: string | undefined
  let least = Math.min(3, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const count = distance(word.toLowerCase(), candidate.toLowerCase())
    if (count < least) [best, least] = [candidate, count]
  }
  return best
}

/** Letters left out, added, replaced or swapped with their neighbour (optimal string alignment). */
const distance = (a: string, b: string): number => {
  if (Math.abs(a.length - b.length) > 3) return Infinity
  let [before, last]: [number[], number[]] = [[], Array.from({ length: b.length + 1 }, (_, at) => at)]
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const differs = a[row - 1] === b[column - 1] ? 0 : 1
      const best = Math.min((last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, (last[column - 1] ?? 0) + differs)
      const isSwap = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      current.push(isSwap ? Math.min(best, (before[column - 2] ?? 0) + 1) : best)
    }
    ;[before, last] = [last, current]
  }
  return last[b.length] ?? 0
}

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

/** The public half of a recovery key, an X25519 recipient of age: `age1` and 58 more characters, in the Bech32 of BIP 173, lower case. */
export const isRecipientSpelling = (text: string): boolean => {
  const [, data] = /^age1([023456789acdefghjklmnpqrstuvwxyz]{58})$/.exec(text) ?? []
  if (data === undefined) return false
  return polymod([...PREFIX, ...data.split('').map(character => ALPHABET.indexOf(character))]) === 1
}

const ALPHABET = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
/** `age`, expanded as BIP 173 has it: the high bits of each character, a zero, the low bits. */
const PREFIX = [3, 3, 3, 0, 1, 7, 5]
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3]

const polymod = (values: readonly number[]): number => {
  let sum = 1
  for (const value of values) {
    const top = sum >>> 25
    sum = ((sum & 0x1ffffff) << 5) ^ value
    for (const [bit, factor] of GENERATOR.entries()) if ((top >> bit) & 1) sum ^= factor
  }
  return sum
}
