// What the metrics read at this moment, gathered from status and figures of the operations.

import { TROUBLES } from '../../protocol/connection.ts'
import type { Code } from '../../protocol/errors.ts'
import type { Histogram, Tally } from '../../protocol/histogram.ts'
import type { Status } from '../../protocol/wire.ts'
import type { FigureReadings } from './figures.ts'
import type { Engine } from '../engine.ts'
import type { Clock } from '../../service/clock.ts'
import type { MetricName } from './metric-table.ts'
import { classOf } from './refusal-class.ts'

/** What was counted here; the rest is read when somebody looks. */
export type Counted = {
  readonly requests: ReadonlyMap<string, Histogram>
  readonly refusals: ReadonlyMap<Code, number>
  readonly refreshFailures: number
}

export type Labels = Readonly<Record<string, string>>
export type Reading = { readonly name: MetricName; readonly labels?: Labels; readonly value: number }
export type TallyReading = { readonly name: MetricName; readonly labels: Labels; readonly tally: Tally }

export const STATES = [
  'disconnected',
  'awaiting-app',
  'key-lost',
  'awaiting-installation',
  'connected',
  ...TROUBLES,
  'quarantined',
  'disconnecting',
  'locked',
  'awaiting-unlock',
  'isolated',
]
const ROLES = ['single', 'leader', 'follower', 'replica'] as const satisfies readonly Status['role'][]

/** Which of all there are it is in. */
const oneOf = (name: MetricName, label: string, { all, is }: { all: readonly string[]; is: string }): Reading[] =>
  all.map(one => ({ name, labels: { [label]: one }, value: one === is ? 1 : 0 }))

/** All that is known at this moment; while the store is closed that is little. */
export const gather = (from: {
  operations: () => Engine
  state: () => string
  clock: Pick<Clock, 'now'>
  version: string
  counted: Counted
}): { readings: readonly Reading[]; tallies: readonly TallyReading[] } => {
  const { counted, clock } = from
  const isOpen = from.state() !== 'locked'
  const figures = isOpen ? from.operations().figures() : undefined
  const requests = [...counted.requests]
    .map(([name, histogram]) => {
      const [method = '', path = ''] = name.split(' ')
      return { labels: { method, path }, tally: histogram.read() }
    })
    .filter(({ tally }) => countOf(tally) > 0)
  return {
    readings: [
      { name: 'ghconnect_build_info', labels: { version: from.version }, value: 1 },
      ...oneOf('ghconnect_state', 'state', { all: STATES, is: from.state() }),
      ...requests.map(
        ({ labels, tally }) => ({ name: 'ghconnect_requests_total', labels, value: countOf(tally) }) as const,
      ),
      ...[...counted.refusals].map(
        ([code, value]) =>
          ({ name: 'ghconnect_refusals_total', labels: { code, class: classOf(code) }, value }) as const,
      ),
      { name: 'ghconnect_refresh_failures_total', value: counted.refreshFailures },
      { name: 'process_resident_memory_bytes', value: process.memoryUsage.rss() },
      { name: 'process_start_time_seconds', value: seconds(clock.now()) - process.uptime() },
      ...(isOpen ? readStatus(from.operations()) : [{ name: 'ghconnect_ready', value: 0 } as const]),
      ...(figures ? readFigures(figures) : []),
    ],
    tallies: [
      ...requests.map(request => ({ ...request, name: 'ghconnect_request_duration_seconds' }) as const),
      ...(figures?.calls.durations ?? []).map(
        ({ route, tally }) => ({ name: 'ghconnect_github_call_duration_seconds', labels: { route }, tally }) as const,
      ),
    ],
  }
}

const countOf = ({ counts }: Tally): number => counts.reduce((sum, count) => sum + count, 0)

const readStatus = ({ status }: Engine): Reading[] => {
  const whole = status.whole()
  const warned = Map.groupBy(whole.warnings, ({ code }) => code)
  return [
    { name: 'ghconnect_state_since_timestamp_seconds', value: seconds(Date.parse(whole.since)) },
    { name: 'ghconnect_ready', value: status.reasonsNotReady().length === 0 ? 1 : 0 },
    ...[...warned].map(
      ([code, { length }]) => ({ name: 'ghconnect_warning', labels: { code }, value: length }) as const,
    ),
    ...oneOf('ghconnect_role', 'role', { all: ROLES, is: whole.role }),
    { name: 'ghconnect_generation', value: whole.generation },
    { name: 'ghconnect_clock_offset_seconds', value: whole.clock_offset_seconds },
    { name: 'ghconnect_recovery_keys', value: whole.recovery_recipients.length },
    ...whole.keys.map(
      ({ fingerprint, added_at }) =>
        ({
          name: 'ghconnect_key_added_timestamp_seconds',
          labels: { fingerprint },
          value: seconds(Date.parse(added_at)),
        }) as const,
    ),
    ...maybe('ghconnect_next_refresh_timestamp_seconds', nextRefresh(whole)),
  ]
}

const nextRefresh = ({ tokens, clock_offset_seconds: offset }: Status): number | undefined =>
  tokens.next_refresh_at === undefined ? undefined : Date.parse(tokens.next_refresh_at) - offset * 1000

const readFigures = (figures: FigureReadings): Reading[] => {
  const { store, audit } = figures.sizes
  return [
    { name: 'ghconnect_tokens_live', value: figures.live },
    { name: 'ghconnect_token_cache_entries', value: figures.cache.entries },
    { name: 'ghconnect_token_cache_bytes', value: figures.cache.bytes },
    { name: 'ghconnect_token_cache_evictions_total', value: figures.cache.evicted },
    ...maybe('ghconnect_token_oldest_minted_timestamp_seconds', figures.oldestMintedAtMs),
    ...maybe('ghconnect_token_newest_minted_timestamp_seconds', figures.newestMintedAtMs),
    ...maybe('ghconnect_token_oldest_expiry_timestamp_seconds', figures.oldestExpiresAtMs),
    ...maybe('ghconnect_token_in_use_expiry_timestamp_seconds', figures.inUseExpiresAtMs),
    ...Object.entries(figures.minted).map(
      ([cause, value]) => ({ name: 'ghconnect_mints_total', labels: { cause }, value }) as const,
    ),
    ...[...figures.failed].map(
      ([code, value]) => ({ name: 'ghconnect_mint_failures_total', labels: { code }, value }) as const,
    ),
    { name: 'ghconnect_mints_in_flight', value: figures.minting },
    { name: 'ghconnect_mints_waiting', value: figures.waiting },
    { name: 'ghconnect_github_unanswered_total', value: figures.calls.unanswered },
    ...maybe('ghconnect_github_last_answer_timestamp_seconds', figures.calls.lastAnswerAtMs),
    ...figures.quotas.flatMap(({ installation, account, quota }): Reading[] => {
      const labels = { installation: String(installation), account: account.login }
      return [
        { name: 'ghconnect_github_quota_limit', labels, value: quota.limit },
        { name: 'ghconnect_github_quota_remaining', labels, value: quota.remaining },
      ]
    }),
    { name: 'ghconnect_last_export_timestamp_seconds', value: seconds(figures.lastExportAtMs) },
    { name: 'ghconnect_store_bytes', labels: { file: 'db' }, value: store.db },
    { name: 'ghconnect_store_bytes', labels: { file: 'wal' }, value: store.wal },
    { name: 'ghconnect_audit_bytes', labels: { file: 'db' }, value: audit.db },
    { name: 'ghconnect_audit_bytes', labels: { file: 'wal' }, value: audit.wal },
    { name: 'ghconnect_audit_bytes', labels: { file: 'archive' }, value: audit.archive },
    { name: 'ghconnect_audit_max_bytes', value: audit.most },
  ]
}

const seconds = (ms: number): number => ms / 1000

/** What is not known has no sample. */
const maybe = (name: MetricName, ms: number | undefined): Reading[] =>
  ms === undefined ? [] : [{ name, value: seconds(ms) }]
