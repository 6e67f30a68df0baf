// The metrics: each figure under its name, with its labels and in its unit, and no sample of what is not known.

import test from 'ava'
import { createMetrics, METRICS, type MetricValues } from '../../../src/core/api/metrics.ts'
import { createHistogram } from '../../../src/protocol/histogram.ts'
import type { Status } from '../../../src/protocol/wire.ts'
import { createEvents } from '../../../src/core/audit/events.ts'
import type { Engine } from '../../../src/core/engine.ts'
import { createFakeClock, createFakeLog, START_MS } from '../../support/fakes.ts'

const SECOND = 1_000
const START = START_MS / SECOND
const at = (seconds: number): string => new Date(START_MS + seconds * SECOND).toISOString()

const STATUS: Partial<Status> = {
  state: 'connected',
  since: at(-100),
  warnings: [
    { code: 'clock', detail: '', next: '' },
    { code: 'approval', detail: 'one', next: '' },
    { code: 'approval', detail: 'another', next: '' },
  ],
  role: 'follower',
  generation: 4,
  // By GitHub's clock, which is 2.5 s ahead.
  clock_offset_seconds: 2.5,
  tokens: { live: 1, next_refresh_at: at(1_202.5) },
  recovery_recipients: ['age1a', 'age1b', 'age1c'],
  keys: [
    { fingerprint: 'SHA256:a', added_at: at(-7_000) },
    { fingerprint: 'SHA256:b', added_at: at(-8_000) },
  ],
}

const call = createHistogram([0.1, 1])
for (const seconds of [0.25, 0.5, 4]) call.observe(seconds)

const VALUES: MetricValues = {
  live: 11,
  minting: 12,
  waiting: 13,
  cache: { entries: 14, bytes: 15, evicted: 16 },
  oldestMintedAtMs: START_MS - 17 * SECOND,
  newestMintedAtMs: START_MS - 18 * SECOND,
  oldestExpiresAtMs: START_MS + 19 * SECOND,
  inUseExpiresAtMs: START_MS + 20 * SECOND,
  minted: { demand: 21, refresh: 22, forced: 23, rejected: 24, proof: 25 },
  failed: new Map([
    ['quota', 26],
    ['dns', 0],
  ]),
  calls: {
    durations: [{ route: 'GET /app', tally: call.read() }],
    unanswered: 27,
    lastAnswerAtMs: START_MS - 28 * SECOND,
  },
  quotas: [
    {
      installation: 7,
      account: { type: 'organization', login: 'octo-org' },
      quota: { limit: 5_000, remaining: 29, resetAtMs: START_MS },
    },
  ],
  sizes: { store: { db: 30, wal: 31 }, audit: { db: 32, wal: 33, archive: 34, most: 35 } },
  lastExportAtMs: START_MS - 36 * SECOND,
}

const setUp = (status: Partial<Status> = STATUS, values: MetricValues = VALUES) => {
  const clock = createFakeClock()
  const events = createEvents({ clock, log: createFakeLog() })
  const now = { state: 'connected', reasons: [] as string[] }
  const operations = {
    status: { whole: () => status, reasonsNotReady: () => now.reasons },
    metricValues: () => values,
  } as unknown as Engine
  const metrics = createMetrics({
    clock,
    events,
    operations() {
      if (now.state === 'locked') throw new Error('the store is closed')
      return operations
    },
    state: () => now.state,
    version: '1.2.3',
  })
  /** Each sample by its name and labels. */
  const read = (): Record<string, number> => {
    const lines = metrics
      .text()
      .split('\n')
      .filter(line => line !== '' && !line.startsWith('#'))
    return Object.fromEntries(lines.map(line => [line.replace(/ \S+$/, ''), Number(/\S+$/.exec(line)?.[0])]))
  }
  return { clock, events, metrics, now, read }
}
const NO_PROCESS = (samples: Record<string, number>): Record<string, number> =>
  Object.fromEntries(Object.entries(samples).filter(([name]) => !name.startsWith('process_')))

const STATES_OF_ALL = [
  'disconnected awaiting-app key-lost awaiting-installation connected suspended uninstalled app-deleted key-rejected',
  'blocked quarantined disconnecting locked awaiting-unlock isolated',
].flatMap(line => line.split(' '))
const statesWith = (is: string): Record<string, number> =>
  Object.fromEntries(STATES_OF_ALL.map(state => [`ghconnect_state{state="${state}"}`, Number(state === is)]))

test('each figure has its sample, under its name and labels, times as seconds by the clock of this machine', t => {
  const { read } = setUp()
  t.deepEqual(NO_PROCESS(read()), {
    'ghconnect_build_info{version="1.2.3"}': 1,
    ...statesWith('connected'),
    ghconnect_state_since_timestamp_seconds: START - 100,
    ghconnect_ready: 1,
    'ghconnect_warning{code="clock"}': 1,
    'ghconnect_warning{code="approval"}': 2,
    'ghconnect_role{role="single"}': 0,
    'ghconnect_role{role="leader"}': 0,
    'ghconnect_role{role="follower"}': 1,
    'ghconnect_role{role="replica"}': 0,
    ghconnect_generation: 4,
    ghconnect_tokens_live: 11,
    ghconnect_mints_in_flight: 12,
    ghconnect_mints_waiting: 13,
    ghconnect_token_cache_entries: 14,
    ghconnect_token_cache_bytes: 15,
    ghconnect_token_cache_evictions_total: 16,
    ghconnect_token_oldest_minted_timestamp_seconds: START - 17,
    ghconnect_token_newest_minted_timestamp_seconds: START - 18,
    ghconnect_token_oldest_expiry_timestamp_seconds: START + 19,
    ghconnect_token_in_use_expiry_timestamp_seconds: START + 20,
    ghconnect_next_refresh_timestamp_seconds: START + 1_200,
    'ghconnect_mints_total{cause="demand"}': 21,
    'ghconnect_mints_total{cause="refresh"}': 22,
    'ghconnect_mints_total{cause="forced"}': 23,
    'ghconnect_mints_total{cause="rejected"}': 24,
    'ghconnect_mints_total{cause="proof"}': 25,
    'ghconnect_mint_failures_total{code="quota"}': 26,
    'ghconnect_mint_failures_total{code="dns"}': 0,
    ghconnect_refresh_failures_total: 0,
    'ghconnect_github_call_duration_seconds_bucket{route="GET /app",le="0.1"}': 0,
    'ghconnect_github_call_duration_seconds_bucket{route="GET /app",le="1"}': 2,
    'ghconnect_github_call_duration_seconds_bucket{route="GET /app",le="+Inf"}': 3,
    'ghconnect_github_call_duration_seconds_sum{route="GET /app"}': 4.75,
    'ghconnect_github_call_duration_seconds_count{route="GET /app"}': 3,
    ghconnect_github_unanswered_total: 27,
    ghconnect_github_last_answer_timestamp_seconds: START - 28,
    'ghconnect_github_quota_limit{installation="7",account="octo-org"}': 5_000,
    'ghconnect_github_quota_remaining{installation="7",account="octo-org"}': 29,
    ghconnect_clock_offset_seconds: 2.5,
    'ghconnect_key_added_timestamp_seconds{fingerprint="SHA256:a"}': START - 7_000,
    'ghconnect_key_added_timestamp_seconds{fingerprint="SHA256:b"}': START - 8_000,
    ghconnect_recovery_keys: 3,
    ghconnect_last_export_timestamp_seconds: START - 36,
    'ghconnect_store_bytes{file="db"}': 30,
    'ghconnect_store_bytes{file="wal"}': 31,
    'ghconnect_audit_bytes{file="db"}': 32,
    'ghconnect_audit_bytes{file="wal"}': 33,
    'ghconnect_audit_bytes{file="archive"}': 34,
    ghconnect_audit_max_bytes: 35,
  })
})

test('what is not known has no sample, and a daemon that serves nothing is not ready', t => {
  const { oldestMintedAtMs: _o, newestMintedAtMs: _n, oldestExpiresAtMs: _e, inUseExpiresAtMs: _u, ...rest } = VALUES
  const { read, now } = setUp(
    { ...STATUS, tokens: { live: 0 } },
    { ...rest, calls: { durations: [], unanswered: 0 }, quotas: [], lastExportAtMs: 0 },
  )
  now.reasons = ['not-connected: enable it']
  const samples = read()
  t.is(samples['ghconnect_ready'], 0)
  t.is(samples['ghconnect_last_export_timestamp_seconds'], 0, 'which says that none ever left')
  for (const name of Object.keys(samples))
    t.notRegex(name, /_minted_|_expiry_|next_refresh|last_answer|quota_(?:limit|remaining)|duration/)
})

test('while the store is closed there is little to say: the state, that it is not ready, and what was counted', t => {
  const { read, metrics, now } = setUp()
  now.state = 'locked'
  metrics.refused('locked')
  t.deepEqual(NO_PROCESS(read()), {
    'ghconnect_build_info{version="1.2.3"}': 1,
    ...statesWith('locked'),
    ghconnect_ready: 0,
    'ghconnect_refusals_total{code="locked",class="unavailable"}': 1,
    ghconnect_refresh_failures_total: 0,
  })
})

test('the process is shown by its memory and its start', t => {
  const { read } = setUp()
  const before = process.uptime()
  const { process_resident_memory_bytes: memory = 0, process_start_time_seconds: start = 0 } = read()
  t.true(memory > 10_000_000)
  t.true(start <= START - before && start >= START - process.uptime())
})

test('a request is counted and timed once it is answered, for both sockets together; one that was not yet is not shown', async t => {
  const { clock, metrics, read } = setUp()
  const endpoint = 'POST /v1/tokens'
  const [token, admin] = [metrics.timer(endpoint), metrics.timer(endpoint)]
  const unanswered = metrics.timer('GET /v1/status')()
  t.is(typeof unanswered, 'function')
  const first = token()
  await clock.advance(2)
  const second = admin()
  await clock.advance(98)
  first()
  second()
  token()()
  const samples = read()
  const of = (name: string): number | undefined => samples[`${name}{method="POST",path="/v1/tokens"}`]
  const within = (le: string): number | undefined =>
    samples[`ghconnect_request_duration_seconds_bucket{method="POST",path="/v1/tokens",le="${le}"}`]
  t.is(of('ghconnect_requests_total'), 3)
  t.is(of('ghconnect_request_duration_seconds_count'), 3)
  t.is(Number(of('ghconnect_request_duration_seconds_sum')?.toFixed(6)), 0.198)
  t.deepEqual(
    ['0.00025', '0.001', '0.005', '0.025', '0.1', '0.25', '0.5', '1', '2.5', '5', '10', '30', '+Inf'].map(within),
    [1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3],
  )
  t.deepEqual(
    Object.keys(samples).filter(name => name.includes('/v1/status')),
    [],
  )
})

test('refusals are counted by problem and class, refreshes that failed by their events, and both stay counted', t => {
  const { events, metrics, read } = setUp()
  for (const code of ['rate-limited', 'rate-limited', 'not-permitted', 'invalid-request', 'internal'] as const)
    metrics.refused(code)
  events.emit({ event: 'refresh-failed', scope: 'x', detail: 'x' })
  events.emit({ event: 'token-refreshed', scope: 'x' })
  read()
  events.emit({ event: 'refresh-failed', scope: 'x', detail: 'x' })
  const samples = read()
  t.is(samples['ghconnect_refresh_failures_total'], 2)
  t.deepEqual(
    Object.entries(samples).filter(([name]) => name.startsWith('ghconnect_refusals_total')),
    [
      ['ghconnect_refusals_total{code="rate-limited",class="later"}', 2],
      ['ghconnect_refusals_total{code="not-permitted",class="not-permitted"}', 1],
      ['ghconnect_refusals_total{code="invalid-request",class="data"}', 1],
      ['ghconnect_refusals_total{code="internal",class="internal"}', 1],
    ],
  )
})

test('each metric that is shown says its type and what it means, and text within a label cannot end it', t => {
  const { metrics } = setUp(STATUS, {
    ...VALUES,
    calls: { durations: [{ route: 'a "b"\\\nc', tally: call.read() }], unanswered: 0 },
  })
  metrics.timer('GET /v1/status')()()
  const text = metrics.text()
  t.is(metrics.contentType, 'text/plain; version=0.0.4; charset=utf-8')
  for (const [name, { type, help }] of Object.entries(METRICS)) {
    if (name === 'ghconnect_refusals_total' || name === 'ghconnect_github_last_answer_timestamp_seconds') continue
    t.true(text.includes(`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`), name)
  }
  t.true(text.includes(String.raw`ghconnect_github_call_duration_seconds_count{route="a \"b\"\\\nc"} 3`))
  t.true(text.endsWith('\n'))
})
