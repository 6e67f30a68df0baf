// What there is to say of a connection that works: permissions to be approved, installations suspended, names that fit no more, rests.

import { pendingPermissions } from './changes.ts'
import { appSettingsUrl, isLive } from '../../protocol/connection.ts'
import { findInstallation, type Policy } from '../../protocol/profile.ts'
import { describePermissions } from '../../protocol/scope.ts'
import { isoTime, type Status } from '../../protocol/wire.ts'
import type { ConnectionRecord } from '../store/connection-store.ts'
import type { Drift } from './drift.ts'
import type { Rest } from '../tokens/restraint.ts'

type Warning = Status['warnings'][number]

export const driftWarnings = (
  { connection, installations }: ConnectionRecord,
  deps: { policy: Policy; drift: Pick<Drift, 'findFlapping' | 'findRest'>; rests: readonly Rest[] },
): Warning[] => {
  if (!isLive(connection) || connection.kind === 'quarantined') return []
  const found: Warning[] = []
  for (const installation of installations) {
    const pending = pendingPermissions(connection.app, installation)
    if (Object.keys(pending).length === 0) continue
    found.push({
      code: 'permissions-pending',
      detail: `${installation.account.login} has not approved what the App asks for: ${describePermissions(pending)}.`,
      next: `Let an owner approve it under ${installation.htmlUrl}, or take it back under ${appSettingsUrl(connection.app)}/permissions.`,
    })
  }
  if (connection.kind === 'connected') found.push(...partsOf(installations, deps.policy))
  const times = deps.drift.findFlapping()
  if (times !== undefined) {
    found.push({
      code: 'flapping',
      detail: `GitHub says that the trouble is over; it came ${times} times within half an hour, so it stays until that holds for ten minutes.`,
      next: 'Ask the owner who keeps changing it; `ghconnect refresh` does not wait.',
    })
  }
  const appRest = deps.drift.findRest()
  if (appRest !== undefined) found.push(restWarning('The App', appRest))
  for (const { installation, untilMs } of deps.rests) {
    const name = installations.find(({ id }) => id === installation)?.account.login ?? String(installation)
    found.push(restWarning(`The installation of ${name}`, untilMs))
  }
  return found
}

/** What concerns some installations or profiles only, and so is no state of the whole. */
const partsOf = (installations: ConnectionRecord['installations'], policy: Policy): Warning[] => [
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

const restWarning = (who: string, untilMs: number): Warning => ({
  code: 'quota-rest',
  detail: `${who} asks GitHub for nothing until ${isoTime(untilMs)}, as its rate limit said.`,
  next: 'It goes on by itself then; `ghconnect refresh` asks now.',
})
