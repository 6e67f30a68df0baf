// Status: what the daemon is in, what that means, and what to do next.

import { explainConnection, explainWaiting, type Host, type Installation, isLive } from '../protocol/connection.ts'
import { CATALOGUE, type Failure, isCode } from '../protocol/errors.ts'
import { isoTime, type PublicStatus, type Status } from '../protocol/wire.ts'
import type { GitHubClock } from './github/clock.ts'
import type { Clock } from '../service/clock.ts'
import type { ConnectionRecord } from './store/records.ts'
import type { AppLink } from './connection/app-link.ts'
import type { ConnectionState } from './connection/connection-state.ts'
import type { Policy } from '../protocol/profile.ts'
import type { Drift } from './connection/drift.ts'
import { connectionWarnings } from './connection/warnings.ts'
import type { Recovery } from './snapshot/recovery.ts'
import type { RevokeAll } from './tokens/revoke-all.ts'
import type { Membership } from './connection/membership.ts'
import type { Snapshots } from './snapshot/snapshots.ts'
import type { Tokens } from './tokens/tokens.ts'
import type { AuditWriter } from './audit/audit-writer.ts'

export type StatusReport = {
  /** Of the record that holds, or of one that is to take its place. */
  whole(record?: ConnectionRecord): Status
  /** What any local process may see. */
  brief(): PublicStatus
  /** The same for an administrator: where the state asks for nothing, the next step is that of the worst warning. */
  standing(): PublicStatus
  /** Why tokens cannot be served, or are about to run out; empty: all is well. */
  reasonsNotReady(): string[]
}

type Warning = Status['warnings'][number]

const CLOCK_WARNING_S = 30
const PUBLIC_NEXT = 'Ask an administrator: `sudo ghconnect status` says what is wrong.'

export const createStatusReport = (deps: {
  connectionState: ConnectionState
  tokens: Tokens
  link: AppLink
  revokeAll: Pick<RevokeAll, 'findRemaining'>
  drift: Pick<Drift, 'findFlapping' | 'findRest'>
  policy: () => Policy
  recovery: Recovery
  audit: Pick<AuditWriter, 'findTrouble'>
  snapshots: Snapshots
  clock: Clock
  githubClock: GitHubClock
  settings: () => { githubUrl: string; apiUrl: string; beforeExpiryMs: number }
  proxyFor: (url: string) => string | undefined
  featureWarnings: () => readonly Warning[]
  /** Why the configuration of the last reload was refused, until one is accepted. */
  refused?: () => string | undefined
  /** What is not as it was meant in the configuration, and units of the policy that systemd does not know. */
  doubts: () => Readonly<Record<'settings' | 'units', readonly { readonly said: string; readonly next: string }[]>>
  /** Why the settings page listens nowhere, if it does not. */
  pageFault?: () => Failure | undefined
  host: () => Host
  version: string
  membership?: () => Membership | undefined
}): StatusReport => {
  const { connectionState, tokens, link, clock } = deps

  const brief = ({ connection } = connectionState.read()): PublicStatus => {
    const waiting = deps.snapshots.findWaiting()
    if (waiting && connection.kind === 'disconnected') {
      const { meaning, next } = explainWaiting(waiting.account?.login ?? waiting.hostname)
      return { state: 'awaiting-unlock', since: isoTime(connection.sinceMs), meaning, next, version: deps.version }
    }
    const shut = deps.membership?.()?.whyNotServing()
    if (shut?.code === 'isolated') {
      const meaning = `${shut.entry.title}: ${shut.message}.`
      return {
        state: 'isolated',
        since: isoTime(connection.sinceMs),
        meaning,
        next: shut.entry.next,
        version: deps.version,
      }
    }
    const { meaning, next } = explainConnection(connection, deps.settings().githubUrl)
    return { state: connection.kind, since: isoTime(connection.sinceMs), meaning, next, version: deps.version }
  }

  const warnings = (record = connectionState.read()): Warning[] => {
    const { connection } = record
    const found: Warning[] = []
    const trouble = link.findTrouble()
    if (trouble) {
      const { code, message, entry } = trouble.failure
      found.push({ code, detail: `${entry.title}: ${message}`, next: entry.next })
    }
    const unwritten = deps.audit.findTrouble()
    if (unwritten) {
      const { code, message, entry, next } = unwritten
      found.push({ code, detail: `${entry.title}: ${message}`, next })
    }
    const unrevoked = deps.revokeAll.findRemaining()
    if (unrevoked) {
      const { failure, endsAtMs } = unrevoked
      const why = failure ? `: ${failure.entry.title}: ${failure.message}` : ''
      const detail = `Revoked tokens that GitHub still accepts: ${unrevoked.tokens}, until ${isoTime(endsAtMs)} at most${why}.`
      const next = `They are tried again with each refresh. ${failure?.entry.next ?? ''}`.trim()
      found.push({ code: 'tokens-unrevoked', detail, next })
    }
    const offset = Math.round(deps.githubClock.offsetMs() / 1000)
    if (Math.abs(offset) >= CLOCK_WARNING_S) {
      const detail = `This machine's clock is ${Math.abs(offset)} s ${offset > 0 ? 'behind' : 'ahead of'} GitHub's.`
      found.push({ code: 'clock', detail, next: CATALOGUE['clock-skew'].next })
    }
    // Before there is an App, nothing would be lost, and `enable` asks for one.
    if (isLive(connection) && connection.kind !== 'disconnecting' && deps.recovery.recipients().length === 0) {
      found.push({
        code: 'no-recovery-key',
        detail:
          'No recovery key exists: snapshots are unencrypted, and losing the store key means losing the connection.',
        next: 'Run `ghconnect recovery-key create` and keep what it prints away from this machine.',
      })
    }
    const refused = deps.refused?.()
    if (refused !== undefined) {
      const detail = `The changed configuration was refused, and the previous settings still apply: ${refused}`
      found.push({ code: 'config-refused', detail, next: 'Correct the file, then run `ghconnect reload`.' })
    }
    const absent = deps.pageFault?.()
    if (absent)
      found.push({ code: absent.code, detail: `There is no settings page: ${absent.message}.`, next: absent.next })
    found.push(...deps.featureWarnings())
    const { settings, units } = deps.doubts()
    for (const { said, next } of settings) found.push({ code: 'config-doubt', detail: `${said}.`, next })
    for (const { said, next } of units) found.push({ code: 'unknown-unit', detail: `${said}.`, next })
    if (deps.snapshots.findWaiting() && connection.kind !== 'disconnected') {
      const detail = 'A sealed bundle waits for its identity; it would replace the connection.'
      found.push({ code: 'waiting-bundle', detail, next: 'Run `ghconnect unlock --identity FILE`.' })
    }
    const { policy, drift } = deps
    found.push(
      ...connectionWarnings(record, { link, policy: policy(), drift, waits: tokens.waits(), nowMs: clock.now() }),
    )
    found.push(...(deps.membership?.()?.warnings() ?? []))
    const isHome = isLive(connection) && deps.membership?.()?.isHome(connection.host)
    if (isLive(connection) && connection.kind !== 'quarantined' && !isHome) {
      const here = deps.host()
      const half = (connection.host.hostname === here.hostname) !== (connection.host.machineId === here.machineId)
      if (half) {
        const detail = `Enabled on ${connection.host.hostname}; this machine is ${here.hostname}, with ${connection.host.machineId === here.machineId ? 'the same' : 'another'} machine-id.`
        found.push({ code: 'moved', detail, next: 'If that is as it should be, run `ghconnect adopt`.' })
      }
    }
    return found
  }

  const standing = (record = connectionState.read()): PublicStatus => {
    const seen = brief(record)
    if (seen.state === 'connected') return { ...seen, next: worstWarning(warnings(record))?.next ?? seen.next }
    // Whatever another state asks for would be refused.
    const unwritten = deps.audit.findTrouble()
    return unwritten ? { ...seen, next: unwritten.next } : seen
  }

  /** What any local process may see. It learns that there is a fault, not which one. */
  const publicly = (): PublicStatus => {
    const fault = deps.audit.findTrouble() ?? link.findTrouble()
    const seen = brief()
    return fault && seen.state === 'connected' ? { ...seen, next: PUBLIC_NEXT } : seen
  }

  return {
    brief: publicly,
    standing,
    whole(record = connectionState.read()) {
      const { connection, generation, installations, keys } = record
      const counts = tokens.counts()
      const trouble = link.findTrouble()
      const { apiUrl, beforeExpiryMs } = deps.settings()
      const proxy = deps.proxyFor(apiUrl)
      return {
        ...standing(record),
        ...('account' in connection && { account: connection.account }),
        ...(isLive(connection) && {
          app: {
            id: connection.app.id,
            client_id: connection.app.clientId,
            slug: connection.app.slug,
            name: connection.app.name,
            html_url: connection.app.htmlUrl,
          },
        }),
        keys: keys.map(key => ({ fingerprint: key.fingerprint, added_at: isoTime(key.addedAtMs) })),
        installations: installations.map(toInstallationBody),
        tokens: {
          live: counts.live,
          ...(counts.oldestExpiresAtMs !== undefined && {
            oldest_expires_at: isoTime(counts.oldestExpiresAtMs),
            next_refresh_at: isoTime(counts.oldestExpiresAtMs - beforeExpiryMs),
          }),
          ...(counts.lastMintedAtMs !== undefined && { last_minted_at: isoTime(counts.lastMintedAtMs) }),
        },
        ...(trouble && {
          last_failure: {
            code: trouble.failure.code,
            detail: trouble.failure.message,
            next: trouble.failure.entry.next,
            at: isoTime(trouble.atMs),
          },
        }),
        ...(proxy !== undefined && { proxy }),
        clock_known: deps.githubClock.findTold() !== undefined,
        clock_offset_seconds: Math.round(deps.githubClock.offsetMs() / 100) / 10,
        generation,
        role: deps.membership?.()?.role() ?? 'single',
        hostname: deps.host().hostname,
        recovery_recipients: [...deps.recovery.recipients()],
        signer: deps.recovery.signer().publicKey,
        warnings: warnings(),
      }
    },
    reasonsNotReady() {
      const shut = deps.membership?.()?.whyNotServing()
      if (shut) return [`${shut.code}: ${shut.message}`]
      const { connection } = connectionState.read()
      if (connection.kind !== 'connected') {
        const { meaning, next } = explainConnection(connection, deps.settings().githubUrl)
        return [`${connection.kind} since ${isoTime(connection.sinceMs)}: ${meaning} ${next}`]
      }
      const trouble = link.findTrouble()
      if (trouble && tokens.counts().live === 0) return [`${trouble.failure.code}: ${trouble.failure.message}`]
      return []
    },
  }
}

export const toInstallationBody = (installation: Installation): Status['installations'][number] => ({
  id: installation.id,
  account: installation.account,
  repository_selection: installation.repositorySelection,
  permissions: installation.permissions,
  html_url: installation.htmlUrl,
  ...(installation.suspendedAtMs !== undefined && { suspended_at: isoTime(installation.suspendedAtMs) }),
})

/** A fault that is met now comes before everything else; what only makes a later loss worse comes last. */
const rank = ({ code }: Warning): number => (isCode(code) ? 0 : code === 'no-recovery-key' ? 2 : 1)

/** Of which the next step of the status is. */
export const worstWarning = (warnings: readonly Warning[]): Warning | undefined =>
  warnings.toSorted((a, b) => rank(a) - rank(b))[0]
