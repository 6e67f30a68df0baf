// Every metric there is: its type, its labels, and what it says. docs/observability.md has a row for each.

type MetricSpec = {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
}

/** Times are seconds since the epoch by this machine's clock; what is not known has no sample. */
export const METRICS = {
  ghconnect_build_info: { type: 'gauge', labels: ['version'], help: '1, with the version that runs' },
  ghconnect_state: { type: 'gauge', labels: ['state'], help: '1 for the state that it is in, 0 for all others' },
  ghconnect_state_since_timestamp_seconds: { type: 'gauge', labels: [], help: 'Since when it is in that state' },
  ghconnect_ready: { type: 'gauge', labels: [], help: '1 where tokens can be served, as /readyz says' },
  ghconnect_warning: { type: 'gauge', labels: ['code'], help: 'Warnings that status shows, by code' },
  ghconnect_role: { type: 'gauge', labels: ['role'], help: '1 for the role in the cluster, 0 for all others' },
  ghconnect_generation: { type: 'gauge', labels: [], help: 'How often an administrator changed the connection' },

  ghconnect_tokens_live: { type: 'gauge', labels: [], help: 'Tokens that GitHub accepts' },
  ghconnect_token_cache_entries: { type: 'gauge', labels: [], help: 'Scopes in the token cache' },
  ghconnect_token_cache_bytes: { type: 'gauge', labels: [], help: 'Memory that the token cache is charged for' },
  ghconnect_token_cache_evictions_total: { type: 'counter', labels: [], help: 'Scopes that left the full cache' },
  ghconnect_token_oldest_minted_timestamp_seconds: {
    type: 'gauge',
    labels: [],
    help: 'When the oldest of the live tokens was minted',
  },
  ghconnect_token_newest_minted_timestamp_seconds: {
    type: 'gauge',
    labels: [],
    help: 'When the newest of the live tokens was minted',
  },
  ghconnect_token_oldest_expiry_timestamp_seconds: {
    type: 'gauge',
    labels: [],
    help: 'When the first of the live tokens ends',
  },
  ghconnect_token_in_use_expiry_timestamp_seconds: {
    type: 'gauge',
    labels: [],
    help: 'When the first of those ends that were asked for within ten minutes',
  },
  ghconnect_next_refresh_timestamp_seconds: {
    type: 'gauge',
    labels: [],
    help: 'When the first of those in use is due to be replaced',
  },
  ghconnect_mints_total: {
    type: 'counter',
    labels: ['cause'],
    help: 'Tokens minted, by what caused it: demand, refresh, forced, rejected, proof',
  },
  ghconnect_mint_failures_total: { type: 'counter', labels: ['code'], help: 'Mints that failed, by problem' },
  ghconnect_refresh_failures_total: { type: 'counter', labels: [], help: 'Refreshes ahead that failed' },
  ghconnect_mints_in_flight: { type: 'gauge', labels: [], help: 'Tokens that GitHub is asked for at this moment' },
  ghconnect_mints_waiting: { type: 'gauge', labels: [], help: 'Requests that wait for one of these' },

  ghconnect_requests_total: {
    type: 'counter',
    labels: ['method', 'path'],
    help: 'Requests that were answered, problems apart',
  },
  ghconnect_request_duration_seconds: {
    type: 'histogram',
    labels: ['method', 'path'],
    help: 'How long it took to answer them',
  },
  ghconnect_refusals_total: {
    type: 'counter',
    labels: ['code', 'class'],
    help: 'Requests refused, by problem and by the class of its exit code',
  },

  ghconnect_github_call_duration_seconds: {
    type: 'histogram',
    labels: ['route'],
    help: "How long GitHub took to answer the daemon's own calls, or nobody did",
  },
  ghconnect_github_unanswered_total: { type: 'counter', labels: [], help: 'Calls that GitHub did not answer' },
  ghconnect_github_last_answer_timestamp_seconds: {
    type: 'gauge',
    labels: [],
    help: 'When GitHub itself answered last, be it with a refusal',
  },
  ghconnect_github_quota_limit: {
    type: 'gauge',
    labels: ['installation', 'account'],
    help: "Requests an hour that GitHub allows the installation, where GitHub said so within the limit's window",
  },
  ghconnect_github_quota_remaining: {
    type: 'gauge',
    labels: ['installation', 'account'],
    help: 'How many of them are left',
  },
  ghconnect_clock_offset_seconds: { type: 'gauge', labels: [], help: "GitHub's clock minus this machine's" },

  ghconnect_key_added_timestamp_seconds: {
    type: 'gauge',
    labels: ['fingerprint'],
    help: 'When the private key was added here',
  },
  ghconnect_recovery_keys: { type: 'gauge', labels: [], help: 'Recovery keys that snapshots are encrypted to' },
  ghconnect_last_export_timestamp_seconds: {
    type: 'gauge',
    labels: [],
    help: 'When the last snapshot left; 0 where none ever did',
  },
  ghconnect_store_bytes: {
    type: 'gauge',
    labels: ['file'],
    help: 'Size of the store: db, and wal, which is what is not merged into it yet',
  },
  ghconnect_audit_bytes: {
    type: 'gauge',
    labels: ['file'],
    help: 'Size of the audit log: db, wal, and archive',
  },
  ghconnect_audit_max_bytes: {
    type: 'gauge',
    labels: [],
    help: 'What the audit log may take of the disk before its oldest rows are dropped: [audit] max_size',
  },
  process_resident_memory_bytes: { type: 'gauge', labels: [], help: 'Memory of the daemon' },
  process_start_time_seconds: { type: 'gauge', labels: [], help: 'When the daemon was started' },
} as const satisfies Record<string, MetricSpec>

export type MetricName = keyof typeof METRICS
