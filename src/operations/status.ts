// Status: what the daemon is in, what that means, and what to do next.

import { explainConnection, type Host, type Installation, isLive } from '../domain/connection.ts'
import { isoTime, type PublicStatus, type Status } from '../domain/wire.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { Clock } from '../platform/clock.ts'
import type { AppLink } from './app-link.ts'
import type { Journey } from './journey.ts'
import type { Policy } from '../domain/policy.ts'
import type { Drift } from './drift.ts'
import { driftWarnings } from './drift-warnings.ts'
import { keyWarnings } from './key-warnings.ts'
import type { Recovery } from './recovery.ts'
import type { Seat } from './seat.ts'
import type { Snapshots } from './snapshots.ts'
import type { Tokens } from './tokens.ts'
import type { Trail } from './trail.ts'

export type StatusReport = {
  whole(): Status
  /** What any local process may see. */
  brief(): PublicStatus
  /** Why tokens cannot be served, or are about to run out; empty: all is well. */
  reasonsNotReady(): string[]
}

type Warning = Status['warnings'][number]

const CLOCK_WARNING_S = 30

export const createStatusReport = (deps: {
  journey: Journey
  tokens: Tokens
  link: AppLink
  drift: Pick<Drift, 'findFlapping' | 'findRest'>
  policy: () => Policy
  recovery: Recovery
  trail: Pick<Trail, 'findTrouble'>
  snapshots: Snapshots
  clock: Clock
  githubClock: GitHubClock
  settings: () => { githubUrl: string; apiUrl: string; beforeExpiryMs: number }
  proxyFor: (url: string) => string | undefined
  featureWarnings: () => readonly Warning[]
  /** Units of the policy that systemd does not know. */
  doubtfulUnits: () => readonly { readonly unit: string; readonly doubt: string }[]
  host: () => Host
  version: string
  seat?: () => Seat | undefined
}): StatusReport => {
  const { journey, tokens, link, clock } = deps

  const brief = (): PublicStatus => {
    const { connection } = journey.read()
    const waiting = deps.snapshots.findWaiting()
    if (waiting && connection.kind === 'disconnected') {
      const meaning = `A sealed bundle of ${waiting.account?.login ?? waiting.hostname} was restored without its identity.`
      const next = 'Run `ghconnect unlock --identity FILE` with the recovery key.'
      return { state: 'awaiting-unlock', since: isoTime(connection.sinceMs), meaning, next, version: deps.version }
    }
    const shut = deps.seat?.()?.findShut()
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

  const warnings = (): Warning[] => {
    const found: Warning[] = []
    const trouble = link.findTrouble()
    if (trouble) {
      const { code, message, entry } = trouble.failure
      found.push({ code, detail: `${entry.title}: ${message}`, next: entry.next })
    }
    const unwritten = deps.trail.findTrouble()
    if (unwritten) {
      const { code, message, entry } = unwritten
      found.push({ code, detail: `${entry.title}: ${message}`, next: entry.next })
    }
    const { connection, keys } = journey.read()
    const offset = Math.round(deps.githubClock.offsetMs() / 1000)
    if (Math.abs(offset) >= CLOCK_WARNING_S) {
      const detail = `This machine's clock is ${Math.abs(offset)} s ${offset > 0 ? 'behind' : 'ahead of'} GitHub's.`
      found.push({ code: 'clock', detail, next: 'Set the clock (NTP). The daemon reckons with the offset meanwhile.' })
    }
    if (deps.recovery.recipients().length === 0) {
      found.push({
        code: 'no-recovery-key',
        detail: 'No recovery key exists: snapshots leave in clear, and a lost store key loses everything.',
        next: 'Run `ghconnect recovery-key create` and keep what it prints away from this machine.',
      })
    }
    found.push(...deps.featureWarnings())
    for (const { unit, doubt } of deps.doubtfulUnits()) {
      const next = 'Correct it in the configuration, or install the unit: until then it admits nobody.'
      found.push({ code: 'unknown-unit', detail: `The policy names ${unit}: ${doubt}.`, next })
    }
    if (deps.snapshots.findWaiting() && connection.kind !== 'disconnected') {
      const detail = 'A sealed bundle waits for its identity; it would replace the connection.'
      found.push({ code: 'waiting-bundle', detail, next: 'Run `ghconnect unlock --identity FILE`.' })
    }
    found.push(...keyWarnings(keys, { link, nowMs: clock.now() }))
    found.push(...driftWarnings(journey.read(), { policy: deps.policy(), drift: deps.drift, rests: tokens.rests() }))
    found.push(...(deps.seat?.()?.warnings() ?? []))
    const isHome = isLive(connection) && deps.seat?.()?.isHome(connection.host)
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

  return {
    brief,
    whole() {
      const { connection, generation, installations, keys } = journey.read()
      const counts = tokens.counts()
      const trouble = link.findTrouble()
      const { apiUrl, beforeExpiryMs } = deps.settings()
      const proxy = deps.proxyFor(apiUrl)
      return {
        ...brief(),
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
        clock_offset_seconds: Math.round(deps.githubClock.offsetMs() / 100) / 10,
        generation,
        role: deps.seat?.()?.role() ?? 'single',
        hostname: deps.host().hostname,
        recovery_recipients: [...deps.recovery.recipients()],
        signer: deps.recovery.signer().publicKey,
        warnings: warnings(),
      }
    },
    reasonsNotReady() {
      const shut = deps.seat?.()?.findShut()
      if (shut) return [`${shut.code}: ${shut.message}`]
      const { connection } = journey.read()
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
