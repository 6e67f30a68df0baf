// Metrics for Prometheus: one table of what there is and where it is read, and the text in its exposition format.

import { TROUBLES } from '../../protocol/connection.ts'
import { CATALOGUE, type Code } from '../../protocol/errors.ts'
import { createHistogram, type Histogram, type Tally } from '../../protocol/histogram.ts'
import type { Status } from '../../protocol/wire.ts'
import type { Clock } from '../../service/clock.ts'
import type { Events } from '../audit/events.ts'
import type { AppLink } from '../connection/app-link.ts'
import type { ConnectionState } from '../connection/connection-state.ts'
import type { CallTally, Quota } from '../github/calls.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { FactStore } from '../store/database.ts'
import { LAST_EXPORT } from '../store/records.ts'
import type { Tokens } from '../tokens/tokens.ts'

export type MetricValues = ReturnType<ReturnType<typeof createMetricValues>>

/** What an open store has to say. Times of tokens are by this machine's clock, and not by GitHub's. */
export const createMetricValues =
  (deps: {
    tokens: Pick<Tokens, 'counts'>
    calls: CallTally
    link: Pick<AppLink, 'findQuota'>
    connectionState: Pick<ConnectionState, 'read'>
    githubClock: Pick<GitHubClock, 'offsetMs'>
    facts: Pick<FactStore, 'find'>
    /** In bytes. */
    sizes: () => {
      readonly store: Readonly<Record<'db' | 'wal', number>>
      readonly audit: Readonly<Record<'db' | 'wal' | 'archive' | 'most', number>>
    }
  }) =>
  () => {
    const offset = deps.githubClock.offsetMs()
    const counts = deps.tokens.counts()
    const { oldestMintedAtMs, newestMintedAtMs, oldestExpiresAtMs, inUseExpiresAtMs } = counts
    const exported = deps.facts.find(LAST_EXPORT)
    const isTimed = typeof exported === 'object' && exported !== null && 'atMs' in exported
    return {
      ...counts,
      ...(oldestMintedAtMs !== undefined && { oldestMintedAtMs: oldestMintedAtMs - offset }),
      ...(newestMintedAtMs !== undefined && { newestMintedAtMs: newestMintedAtMs - offset }),
      ...(oldestExpiresAtMs !== undefined && { oldestExpiresAtMs: oldestExpiresAtMs - offset }),
      ...(inUseExpiresAtMs !== undefined && { inUseExpiresAtMs: inUseExpiresAtMs - offset }),
      calls: deps.calls.read(),
      quotas: deps.connectionState.read().installations.flatMap(({ id, account }) => {
        const quota = deps.link.findQuota(id)
        return quota ? [{ installation: id, account, quota }] : []
      }),
      sizes: deps.sizes(),
      /** 0 where there was none. */
      lastExportAtMs: isTimed && typeof exported.atMs === 'number' ? exported.atMs : 0,
    }
  }

/** What there is to read at one moment; `status` and `values` only while the store is open. */
type Seen = {
  readonly version: string
  readonly state: string
  readonly isReady: boolean
  readonly nowMs: number
  /** By method and path. */
  readonly requests: readonly { readonly of: readonly [method: string, path: string]; readonly tally: Tally }[]
  readonly refusals: ReadonlyMap<Code, number>
  readonly refreshFailures: number
  readonly status: Status | undefined
  readonly values: MetricValues | undefined
}

type Value = number | Tally
/** A value, or one for each set of labels; undefined: what is not known has no sample. */
type Samples = Value | undefined | readonly (readonly [value: Value, ...labels: string[]])[]
type Metric = {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
  read(seen: Seen): Samples
}

const metric =
  (type: Metric['type']) =>
  (help: string, read: Metric['read'], labels: readonly string[] = []): Metric => ({ type, help, labels, read })
const gauge = metric('gauge')
const counter = metric('counter')
const histogram = metric('histogram')

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

/** 1 for the one that it is, 0 for all others. */
const oneOf = (all: readonly string[], is: string): Samples => all.map(one => [one === is ? 1 : 0, one] as const)

const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000)
const secondsOf = (time: string | undefined): number | undefined =>
  time === undefined ? undefined : Date.parse(time) / 1000
const countOf = ({ counts }: Tally): number => counts.reduce((sum, count) => sum + count, 0)

/** The names that sysexits.h gives to the exit codes of problems: a few classes, for graphs. */
const CLASSES = {
  64: 'usage',
  65: 'data',
  69: 'unavailable',
  70: 'internal',
  74: 'io',
  75: 'later',
  77: 'not-permitted',
  78: 'configuration',
} as const satisfies Record<(typeof CATALOGUE)[Code]['exit'], string>

/** Times are seconds since the epoch by this machine's clock. docs/observability.md has a row for each. */
export const METRICS = {
  ghconnect_build_info: gauge('1, with the version that runs', ({ version }) => [[1, version]], ['version']),
  ghconnect_state: gauge('1 for the state that it is in, 0 for all others', ({ state }) => oneOf(STATES, state), [
    'state',
  ]),
  ghconnect_state_since_timestamp_seconds: gauge('Since when it is in that state', ({ status }) =>
    secondsOf(status?.since),
  ),
  ghconnect_ready: gauge('1 where tokens can be served, as /readyz says', ({ isReady }) => (isReady ? 1 : 0)),
  ghconnect_warning: gauge(
    'Warnings that status shows, by code',
    ({ status }) =>
      [...Map.groupBy(status?.warnings ?? [], ({ code }) => code)].map(([code, { length }]) => [length, code] as const),
    ['code'],
  ),
  ghconnect_role: gauge(
    '1 for the role in the cluster, 0 for all others',
    ({ status }) => status && oneOf(ROLES, status.role),
    ['role'],
  ),
  ghconnect_generation: gauge('How often an administrator changed the connection', ({ status }) => status?.generation),

  ghconnect_tokens_live: gauge('Tokens that GitHub accepts', ({ values }) => values?.live),
  ghconnect_token_cache_entries: gauge('Scopes in the token cache', ({ values }) => values?.cache.entries),
  ghconnect_token_cache_bytes: gauge('Memory that the token cache is charged for', ({ values }) => values?.cache.bytes),
  ghconnect_token_cache_evictions_total: counter(
    'Scopes that left the full cache',
    ({ values }) => values?.cache.evicted,
  ),
  ghconnect_token_oldest_minted_timestamp_seconds: gauge(
    'When the oldest of the live tokens was minted',
    ({ values }) => seconds(values?.oldestMintedAtMs),
  ),
  ghconnect_token_newest_minted_timestamp_seconds: gauge(
    'When the newest of the live tokens was minted',
    ({ values }) => seconds(values?.newestMintedAtMs),
  ),
  ghconnect_token_oldest_expiry_timestamp_seconds: gauge('When the first of the live tokens ends', ({ values }) =>
    seconds(values?.oldestExpiresAtMs),
  ),
  ghconnect_token_in_use_expiry_timestamp_seconds: gauge(
    'When the first of those ends that were asked for within ten minutes',
    ({ values }) => seconds(values?.inUseExpiresAtMs),
  ),
  ghconnect_next_refresh_timestamp_seconds: gauge(
    'When the first of those in use is due to be replaced',
    // The status has it by GitHub's clock.
    ({ status }) => {
      const at = secondsOf(status?.tokens.next_refresh_at)
      return status && at !== undefined ? at - status.clock_offset_seconds : undefined
    },
  ),
  ghconnect_mints_total: counter(
    'Tokens minted, by what caused it: demand, refresh, forced, rejected, proof',
    ({ values }) => Object.entries(values?.minted ?? {}).map(([cause, value]) => [value, cause] as const),
    ['cause'],
  ),
  ghconnect_mint_failures_total: counter(
    'Mints that failed, by problem',
    ({ values }) => [...(values?.failed ?? [])].map(([code, value]) => [value, code] as const),
    ['code'],
  ),
  ghconnect_refresh_failures_total: counter('Refreshes ahead that failed', ({ refreshFailures }) => refreshFailures),
  ghconnect_mints_in_flight: gauge('Tokens that GitHub is asked for at this moment', ({ values }) => values?.minting),
  ghconnect_mints_waiting: gauge('Requests that wait for one of these', ({ values }) => values?.waiting),

  ghconnect_requests_total: counter(
    'Requests that were answered, problems apart',
    ({ requests }) => requests.map(({ of, tally }) => [countOf(tally), ...of] as const),
    ['method', 'path'],
  ),
  ghconnect_request_duration_seconds: histogram(
    'How long it took to answer them',
    ({ requests }) => requests.map(({ of, tally }) => [tally, ...of] as const),
    ['method', 'path'],
  ),
  ghconnect_refusals_total: counter(
    'Requests refused, by problem and by the class of its exit code',
    ({ refusals }) => [...refusals].map(([code, value]) => [value, code, CLASSES[CATALOGUE[code].exit]] as const),
    ['code', 'class'],
  ),

  ghconnect_github_call_duration_seconds: histogram(
    "How long GitHub took to answer the daemon's own calls, or nobody did",
    ({ values }) => values?.calls.durations.map(({ route, tally }) => [tally, route] as const),
    ['route'],
  ),
  ghconnect_github_unanswered_total: counter(
    'Calls that GitHub did not answer',
    ({ values }) => values?.calls.unanswered,
  ),
  ghconnect_github_last_answer_timestamp_seconds: gauge(
    'When GitHub itself answered last, be it with a refusal',
    ({ values }) => seconds(values?.calls.lastAnswerAtMs),
  ),
  ghconnect_github_quota_limit: gauge(
    "Requests an hour that GitHub allows the installation, where GitHub said so within the limit's window",
    ({ values }) => quotasOf(values, ({ limit }) => limit),
    ['installation', 'account'],
  ),
  ghconnect_github_quota_remaining: gauge(
    'How many of them are left',
    ({ values }) => quotasOf(values, ({ remaining }) => remaining),
    ['installation', 'account'],
  ),
  ghconnect_clock_offset_seconds: gauge(
    "GitHub's clock minus this machine's",
    ({ status }) => status?.clock_offset_seconds,
  ),

  ghconnect_key_added_timestamp_seconds: gauge(
    'When the private key was added here',
    ({ status }) => status?.keys.map(key => [Date.parse(key.added_at) / 1000, key.fingerprint] as const),
    ['fingerprint'],
  ),
  ghconnect_recovery_keys: gauge(
    'Recovery keys that snapshots are encrypted to',
    ({ status }) => status?.recovery_recipients.length,
  ),
  ghconnect_last_export_timestamp_seconds: gauge('When the last snapshot left; 0 where none ever did', ({ values }) =>
    seconds(values?.lastExportAtMs),
  ),
  ghconnect_store_bytes: gauge(
    'Size of the store: db, and wal, which is what is not merged into it yet',
    ({ values }) => sizesOf(values?.sizes.store, ['db', 'wal']),
    ['file'],
  ),
  ghconnect_audit_bytes: gauge(
    'Size of the audit log: db, wal, and archive',
    ({ values }) => sizesOf(values?.sizes.audit, ['db', 'wal', 'archive']),
    ['file'],
  ),
  ghconnect_audit_max_bytes: gauge(
    'What the audit log may take of the disk before its oldest rows are dropped: [audit] max_size',
    ({ values }) => values?.sizes.audit.most,
  ),
  process_resident_memory_bytes: gauge('Memory of the daemon', () => process.memoryUsage.rss()),
  process_start_time_seconds: gauge('When the daemon was started', ({ nowMs }) => nowMs / 1000 - process.uptime()),
} satisfies Readonly<Record<string, Metric>>

const quotasOf = (values: MetricValues | undefined, read: (quota: Quota) => number): Samples =>
  values?.quotas.map(({ installation, account, quota }) => [read(quota), String(installation), account.login] as const)

const sizesOf = <File extends string>(
  sizes: Readonly<Record<File, number>> | undefined,
  files: readonly File[],
): Samples => sizes && files.map(file => [sizes[file], file] as const)

export type Metrics = ReturnType<typeof createMetrics>

export const createMetrics = (deps: {
  clock: Pick<Clock, 'monotonic' | 'now'>
  events: Events
  /** Throws while the store is closed. */
  operations: () => {
    readonly status: { whole(): Status; reasonsNotReady(): string[] }
    metricValues(): MetricValues
  }
  state: () => string
  version: string
}) => {
  const { clock, version } = deps
  /** Plain numbers, counted here; the rest is read when somebody looks. */
  const requests = new Map<string, Histogram>()
  const refusals = new Map<Code, number>()
  let refreshFailures = 0
  deps.events.subscribe(({ event }) => {
    if (event === 'refresh-failed') refreshFailures += 1
  })

  const see = (): Seen => {
    const state = deps.state()
    const operations = state === 'locked' ? undefined : deps.operations()
    const answered = [...requests].flatMap(([endpoint, durations]) => {
      const [method = '', path = ''] = endpoint.split(' ')
      const tally = durations.read()
      return countOf(tally) > 0 ? [{ of: [method, path] as const, tally }] : []
    })
    return {
      version,
      state,
      isReady: operations?.status.reasonsNotReady().length === 0,
      nowMs: clock.now(),
      requests: answered,
      refusals,
      refreshFailures,
      status: operations?.status.whole(),
      values: operations?.metricValues(),
    }
  }

  return {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    text: (): string => expose(see()),
    /** Begins to time a request of an endpoint; the end of it is the call of what is returned. */
    timer(endpoint: string): () => () => void {
      // Both sockets serve some of them.
      const durations = requests.get(endpoint) ?? createHistogram()
      requests.set(endpoint, durations)
      return () => {
        const began = clock.monotonic()
        return () => durations.observe((clock.monotonic() - began) / 1000)
      }
    },
    refused: (code: Code): void => void refusals.set(code, (refusals.get(code) ?? 0) + 1),
  }
}

/** The text format, version 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/ */
const expose = (seen: Seen): string => {
  const lines = Object.entries<Metric>(METRICS).flatMap(([name, { type, help, labels, read }]) => {
    const found = read(seen)
    const samples = typeof found === 'object' && 'map' in found ? found : [[found] as const]
    const texts = samples.flatMap(([value, ...values]) => sampleLines(name, pairs(labels, values), value))
    return texts.length === 0 ? [] : [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...texts]
  })
  return lines.map(line => `${line}\n`).join('')
}

const sampleLines = (name: string, labels: readonly string[], value: Value | undefined): string[] => {
  if (value === undefined) return []
  if (typeof value === 'number') return [`${name}${labelText(labels)} ${value}`]
  const { bounds, counts, sum } = value
  let count = 0
  const buckets = counts.map((own, at) => {
    count += own
    return `${name}_bucket${labelText([...labels, `le="${bounds[at] ?? '+Inf'}"`])} ${count}`
  })
  return [...buckets, `${name}_sum${labelText(labels)} ${sum}`, `${name}_count${labelText(labels)} ${count}`]
}

const labelText = (labels: readonly string[]): string => (labels.length === 0 ? '' : `{${labels.join(',')}}`)

const pairs = (names: readonly string[], values: readonly string[]): string[] =>
  names.map((name, at) => `${name}="${escape(values[at] ?? '')}"`)

const escape = (value: string): string =>
  value.replaceAll('\\', String.raw`\\`).replaceAll('"', String.raw`\"`).replaceAll('\n', String.raw`\n`)
