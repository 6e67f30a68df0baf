// What there is to say of a connection that works: of its keys, permissions to be approved, installations, names that fit no more, rests.

import { appSettingsUrl, type Installation, isLive } from '../../protocol/connection.ts'
import { findInstallation, type Policy } from '../../protocol/profile.ts'
import { describePermissions } from '../../protocol/scope.ts'
import { isoTime, type Status } from '../../protocol/wire.ts'
import type { ConnectionRecord, StoredKey } from '../store/records.ts'
import type { QuotaWait } from '../tokens/mint-limits.ts'
import type { AppLink } from './app-link.ts'
import type { Drift } from './drift.ts'
import { pendingPermissions } from './drift-rules.ts'

type Warning = Status['warnings'][number]

const DAY_MS = 24 * 60 * 60_000
const OLD_MS = 365 * DAY_MS
/** Long enough to see a rotation through on every node, and to forget about it. */
const TWO_KEYS_MS = 7 * DAY_MS

export const connectionWarnings = (
  { connection, installations, keys }: ConnectionRecord,
  deps: {
    link: Pick<AppLink, 'keyState'>
    policy: Policy
    drift: Pick<Drift, 'findFlapping' | 'findRest'>
    waits: readonly QuotaWait[]
    nowMs: number
  },
): Warning[] => {
  const found = keyWarnings(keys, deps)
  if (!isLive(connection) || connection.kind === 'quarantined') return found
  for (const installation of installations) {
    const pending = pendingPermissions(connection.app, installation)
    if (Object.keys(pending).length === 0) continue
    found.push({
      code: 'permissions-pending',
      detail: `${installation.account.login} has not approved what the App asks for: ${describePermissions(pending)}.`,
      next: `Let an owner approve it under ${installation.htmlUrl}, or take it back under ${appSettingsUrl(connection.app)}/permissions.`,
    })
  }
  if (connection.kind === 'connected') found.push(...partWarnings(installations, deps.policy))
  const times = deps.drift.findFlapping()
  if (times !== undefined) {
    found.push({
      code: 'flapping',
      detail: `GitHub says that the trouble is over; it came ${times} times within half an hour, so it stays until that holds for ten minutes.`,
      next: 'Ask the owner who keeps changing it; `ghconnect refresh` does not wait.',
    })
  }
  const loginOf = (id: number): string => installations.find(one => one.id === id)?.account.login ?? String(id)
  const appRest = deps.drift.findRest()
  const rests = [
    ...(appRest === undefined ? [] : [['The App', appRest] as const]),
    ...deps.waits.map(wait => [`The installation of ${loginOf(wait.installation)}`, wait.untilMs] as const),
  ]
  for (const [who, untilMs] of rests) {
    found.push({
      code: 'quota-rest',
      detail: `${who} asks GitHub for nothing until ${isoTime(untilMs)}, as its rate limit said.`,
      next: 'It goes on by itself then; `ghconnect refresh` asks now.',
    })
  }
  return found
}

/** What concerns some installations or profiles only, and so is no state of the whole. */
const partWarnings = (installations: readonly Installation[], policy: Policy): Warning[] => [
  ...installations
    .filter(({ suspendedAtMs }) => suspendedAtMs !== undefined)
    .map(({ account, htmlUrl }) => ({
      code: 'installation-suspended',
      detail: `The installation of ${account.login} is suspended; others work.`,
      next: `Let an owner of ${account.login} unsuspend it: ${htmlUrl}`,
    })),
  ...policy.profiles
    .filter(({ installation }) => installation !== undefined && !findInstallation(installations, installation))
    .map(({ name, installation }) => ({
      code: 'profile-unmatched',
      detail: `The profile ${name} is for ${installation}, where the App is not installed: it admits nobody.`,
      next: `Installed on: ${installations.map(({ account }) => account.login).join(', ')}. Correct the profile, or install the App there.`,
    })),
]

const keyWarnings = (
  [signs, ...others]: readonly StoredKey[],
  { link, nowMs }: { link: Pick<AppLink, 'keyState'>; nowMs: number },
): Warning[] => {
  if (!signs) return []
  const found: Warning[] = []
  const fallback = others.find(({ fingerprint }) => link.keyState(fingerprint) === 'works')
  if (fallback && link.keyState(signs.fingerprint) === 'rejected') {
    found.push({
      code: 'key-fallback',
      detail: `GitHub rejects the key ${signs.fingerprint}; ${fallback.fingerprint} works in its place.`,
      next: `If it was deleted on GitHub: \`ghconnect keys retire --fingerprint ${signs.fingerprint}\`, then add a new one.`,
    })
  }
  const ageMs = nowMs - signs.addedAtMs
  if (ageMs >= OLD_MS) {
    found.push({
      code: 'key-old',
      detail: `The key ${signs.fingerprint} is older than a year.`,
      next: "Generate a new one on the App's settings page and run `ghconnect keys add FILE`.",
    })
  }
  if (others.length > 0 && ageMs >= TWO_KEYS_MS) {
    found.push({
      code: 'key-retire',
      detail: `${others.map(({ fingerprint }) => fingerprint).join(' and ')} is still held beside the key that signs.`,
      next: 'Run `ghconnect keys retire`, and delete it on GitHub.',
    })
  }
  return found
}
