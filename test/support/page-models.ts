// One model for each view and state, as the daemon would fill it: for tests of the views and for a look at them.

import { CATALOGUE, type Code } from '../../src/protocol/errors.ts'
import { FEATURES } from '../../src/protocol/features.ts'
import { isoTime } from '../../src/protocol/wire.ts'
import type { CheckReport } from '../../src/protocol/wire-check.ts'
import type { ConfirmModel, Frame, Language, PageModel, Problem, SignInModel } from '../../src/page/model.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
export const NOW_MS = Date.parse('2026-11-22T14:36:00Z')
/** A time from now on, or before now. */
const timeIn = (ms: number): string => isoTime(NOW_MS + ms)

export const frameOf = (language: Language, path = '/s/5f2c9a/'): Frame => ({
  language,
  prefix: '/s/5f2c9a',
  csrf: 'c5rf-0f-th15-5e5510n',
  path,
  hostname: 'ghe.example.com',
})

const openFrame = (language: Language, path: string): Frame => ({ ...frameOf(language, path), prefix: '', csrf: '' })

/** A working week: busy by day, two bad hours. */
const history = (): PageModel['refreshHistory'] =>
  Array.from({ length: 158 }, (_, index) => {
    const startMs = Math.floor(NOW_MS / HOUR_MS) * HOUR_MS - (157 - index) * HOUR_MS
    const hour = new Date(startMs).getUTCHours()
    const busy = hour > 7 && hour < 19 ? 9 : 2
    const failed = index === 61 ? 7 : index === 62 ? 3 : 0
    return { startMs, refreshed: failed > 0 ? 1 : busy + ((index * 7) % 4), failed }
  })

const GITHUB = 'https://github.com'
const app = {
  id: 2400372,
  client_id: 'Iv23ligRD9zrJHJDrpjD',
  slug: 'ghe-example-com',
  name: 'ghe-example-com',
  html_url: `${GITHUB}/apps/ghe-example-com`,
}

const permissions = { contents: 'read', metadata: 'read', pull_requests: 'write', actions: 'read' } as const
const asked = { ...permissions, checks: 'write', deployments: 'read' } as const
const installation = {
  id: 98000008,
  account: { type: 'organization', login: 'octo-org' },
  repository_selection: 'selected',
  permissions: asked,
  html_url: `${GITHUB}/organizations/octo-org/settings/installations/98000008`,
} as const

const fingerprint = (letter: string): string => `SHA256:${letter.repeat(20)}9s0xkQmVtEr3wYb1c2d4=`

export const connectedModel = (language: Language): PageModel => ({
  ...frameOf(language),
  nowMs: NOW_MS,
  version: '0.1.0',
  githubUrl: GITHUB,
  state: 'connected',
  since: timeIn(-41 * DAY_MS),
  meaning: 'Connected to octo-org as ghe-example-com.',
  next: 'Nothing to do.',
  account: { type: 'organization', login: 'octo-org' },
  app,
  appSettingsUrl: `${GITHUB}/organizations/octo-org/settings/apps/ghe-example-com`,
  askedPermissions: asked,
  installations: [
    installation,
    {
      ...installation,
      id: 98000009,
      account: { type: 'organization', login: 'octo-labs' },
      repository_selection: 'all',
      permissions,
    },
  ],
  keys: [{ fingerprint: fingerprint('k'), added_at: timeIn(-41 * DAY_MS), signs: true, state: 'works' }],
  tokens: {
    live: 14,
    oldest_expires_at: timeIn(43 * MINUTE_MS),
    last_minted_at: timeIn(-2 * MINUTE_MS),
    next_refresh_at: timeIn(3 * MINUTE_MS),
  },
  refreshHistory: history(),
  proxy: 'http://ghconnect@proxy.example.com:3128',
  hosts: ['github.com', 'api.github.com', 'codeload.github.com'],
  clock_offset_seconds: 0.3,
  wantedPermissions: permissions,
  recovery_recipients: ['age1x4q8w0vz3y6c5r7t9n2m0l8k6j4h2g0f8d6s4a2p0e8u6y4t2r0sq9qy7c'],
  warnings: [],
  profiles: [
    {
      name: 'backup',
      installation: 'octo-org',
      repositories: ['infrastructure', 'docs-*'],
      permissions: { contents: 'read' },
      allow: { users: ['backup'], groups: [], units: [] },
    },
    {
      name: 'actions',
      allow: { users: ['git'], groups: ['runners'], units: ['actions-sync.service', 'actions-*.service'] },
    },
  ],
  features: [
    { name: 'actions-from-github', title: FEATURES['actions-from-github'].title, state: 'on' },
    { name: 'unified-search-private', title: FEATURES['unified-search-private'].title, state: 'off' },
    {
      name: 'license-user-sync',
      title: FEATURES['license-user-sync'].title,
      state: 'app-lacks',
      detail: 'The App does not ask for members: read, organization_plan: read.',
    },
  ],
  role: 'single',
  generation: 3,
  audit: [
    {
      event: 'token.grant',
      unit: 'actions-sync.service',
      profile: 'actions',
      scope: 'octo-org, all repositories',
      count: 41,
    },
    { event: 'dotcom_connection.token_updated', scope: 'octo-org/infrastructure, contents: read' },
    {
      event: 'token.deny',
      uid: 1001,
      pid: 4242,
      detail: 'no profile allows this request to this process',
      count: 3,
    },
    { event: 'snapshot.export', unit: 'ghe-backup.service', detail: 'connected, generation 3' },
    {
      event: 'connection.connected',
      detail: 'from awaiting-installation: Connected to octo-org as ghe-example-com.',
    },
  ].map((row, index) => ({
    ...row,
    sequence: 512 - index,
    at: timeIn(-(index * index * 17 + 1) * MINUTE_MS),
    hash: '',
  })),
})

const bare = (language: Language): PageModel => {
  const { account: _, app: __, appSettingsUrl: ___, ...model } = connectedModel(language)
  return {
    ...model,
    state: 'disconnected',
    meaning: 'This machine is not connected to GitHub.',
    next: 'Run `ghconnect enable --organization ORG`.',
    installations: [],
    keys: [],
    tokens: { live: 0 },
    refreshHistory: [],
    audit: [],
    features: [],
    recovery_recipients: [],
  }
}

export const warnings = [
  {
    code: 'no-recovery-key',
    detail: 'No recovery key exists: snapshots leave in clear, and a lost store key loses everything.',
    next: 'Run `ghconnect recovery-key create` and keep what it prints away from this machine.',
  },
  {
    code: 'proxy-unreachable',
    detail: 'The web proxy cannot be reached: connect ECONNREFUSED 192.0.2.9:3128',
    next: CATALOGUE['proxy-unreachable'].next,
  },
  {
    code: 'unknown-unit',
    detail: 'The policy names actions-snyc.service: there is no such unit.',
    next: 'Correct it in the configuration, or install the unit: until then it admits nobody.',
  },
]

export const report: CheckReport = {
  verdict: 'failed',
  state: 'connected',
  checked_at: new Date(NOW_MS - 20_000).toISOString(),
  took_ms: 1840,
  rows: [
    {
      layer: 'configuration',
      verdict: 'ok',
      evidence: '/etc/ghconnectd/config.toml was read, 2 profiles.',
      took_ms: 1,
    },
    { layer: 'clock', verdict: 'ok', evidence: "This machine is 0.3 s behind GitHub's clock.", took_ms: 0 },
    { layer: 'dns', subject: 'proxy.example.com', verdict: 'ok', evidence: '192.0.2.9', took_ms: 12 },
    { layer: 'proxy', verdict: 'ok', evidence: 'CONNECT to api.github.com:443 was answered with 200.', took_ms: 41 },
    {
      layer: 'tls',
      subject: 'api.github.com',
      verdict: 'warning',
      evidence: 'The certificate is signed by CN=Corporate Inspection CA, not by a public authority.',
      next: 'If that is meant, leave it; [proxy] ca_file trusts it.',
      took_ms: 88,
    },
    { layer: 'egress', verdict: 'ok', evidence: 'GitHub sees this machine as 203.0.113.17.', took_ms: 120 },
    { layer: 'key', verdict: 'ok', evidence: 'GitHub accepts the key.', took_ms: 214 },
    {
      layer: 'permissions',
      subject: 'octo-labs',
      verdict: 'failed',
      evidence: 'The profile actions wants checks: write, which was not granted.',
      next: 'Let an owner of octo-labs approve the permissions, then run `ghconnect check` again.',
      took_ms: 190,
    },
    {
      layer: 'quota',
      subject: 'octo-org',
      verdict: 'ok',
      evidence: '4,812 of 5,000 calls are left until 15:02 UTC.',
      took_ms: 97,
    },
    { layer: 'cluster', verdict: 'skipped', evidence: 'No cluster is configured.', took_ms: 0 },
  ],
}

const troubleEvidence = {
  suspended: 'This installation has been suspended',
  uninstalled: '404 Not Found',
  'app-deleted': 'Integration not found',
  'key-rejected': 'A JSON web token could not be decoded',
  blocked:
    'Although you appear to have the correct authorization credentials, the `octo-org` organization has an IP allow list enabled, and your IP address is not permitted to access this resource.',
} as const

const failureOf = (code: Code, message: string): Problem => ({ code, message })

/** Every state of the overview, by name. */
export const overviewModels = (language: Language): Record<string, PageModel> => {
  const whole = connectedModel(language)
  const pending: PageModel = {
    ...bare(language),
    account: { type: 'organization', login: 'octo-org' },
    state: 'awaiting-app',
    recovery_recipients: whole.recovery_recipients,
    pendingEnable: { expiresAt: timeIn(51 * MINUTE_MS), converting: false },
  }
  const trouble = (state: keyof typeof troubleEvidence): PageModel => ({
    ...whole,
    state,
    evidence: troubleEvidence[state],
  })
  return {
    'not-enabled': bare(language),
    'not-enabled-again': {
      ...bare(language),
      evidence: 'Nobody finished enabling for octo-org within the hour.',
      failure: failureOf('already-connected', 'the state is connected, with octo-org'),
      typed: { type: 'enterprise', login: 'octo-corp' },
      clock_offset_seconds: 94,
    },
    'awaiting-app': pending,
    'awaiting-app-enterprise': { ...pending, account: { type: 'enterprise', login: 'octo-corp' } },
    'awaiting-app-converting': {
      ...pending,
      pendingEnable: { expiresAt: timeIn(0), converting: true },
      warnings: warnings.slice(1, 2),
    },
    'awaiting-installation': {
      ...pending,
      state: 'awaiting-installation',
      app,
    },
    'connected-first-token': {
      ...whole,
      since: timeIn(-4_000),
      tokens: { live: 0 },
      refreshHistory: [],
      last_failure: {
        code: 'unreachable',
        detail: 'GitHub cannot be reached: connect ETIMEDOUT',
        next: CATALOGUE.unreachable.next,
        at: timeIn(-1_000),
      },
    },
    connected: whole,
    'connected-warnings': {
      ...whole,
      warnings,
      recovery_recipients: [],
      notice: 'refreshed',
      tokens: { live: 0 },
      refreshHistory: [],
      profiles: [],
      audit: [],
      features: [],
    },
    suspended: { ...trouble('suspended'), installations: [{ ...installation, suspended_at: timeIn(-HOUR_MS) }] },
    uninstalled: { ...trouble('uninstalled'), installations: [] },
    'app-deleted': trouble('app-deleted'),
    'key-rejected': {
      ...trouble('key-rejected'),
      keys: whole.keys.map(key => ({ ...key, state: 'rejected' })),
    },
    blocked: trouble('blocked'),
    'blocked-policy': {
      ...trouble('blocked'),
      evidence: 'Resource protected by organization SAML enforcement.',
    },
    quarantined: { ...whole, state: 'quarantined', enabledOn: 'ghe-primary.example.com' },
    locked: {
      ...bare(language),
      state: 'locked',
      meaning: 'The store is locked: its key cannot be had: no credential store.key, and [store] key_file is not set.',
    },
    'awaiting-unlock': {
      ...bare(language),
      state: 'awaiting-unlock',
      meaning: 'A sealed bundle of octo-org was restored without its identity.',
    },
    'key-lost': {
      ...bare(language),
      state: 'key-lost',
      account: { type: 'organization', login: 'octo-org' },
      evidence: 'GitHub says that the code was used',
    },
    'disconnecting-revoke': {
      ...whole,
      state: 'disconnecting',
      warnings: warnings.slice(1, 2),
      disabling: { step: 'revoke', deadline: timeIn(DAY_MS) },
    },
    'disconnecting-delete': {
      ...whole,
      state: 'disconnecting',
      disabling: { step: 'delete-app', deadline: timeIn(DAY_MS) },
    },
  }
}

export const confirmModel = (language: Language): ConfirmModel => ({
  ...frameOf(language, '/s/5f2c9a/enable'),
  account: { type: 'organization', login: 'octo-org' },
  appName: 'ghe-example-com',
  permissions: connectedModel(language).wantedPermissions,
  expiresAt: timeIn(51 * MINUTE_MS),
  nowMs: NOW_MS,
  action: `${GITHUB}/organizations/octo-org/settings/apps/new?state=00`,
  manifest: JSON.stringify({ name: 'ghe-example-com', url: 'https://ghe.example.com' }),
})

export const signInModel = (language: Language): SignInModel => ({
  ...openFrame(language, '/sign-in/9d0c'),
  nowMs: NOW_MS,
  expiresAt: timeIn(5 * MINUTE_MS),
})

export const signedOutModel = (language: Language): Frame => openFrame(language, '/signed-out')

export const errorFrame = (language: Language): Frame => openFrame(language, '/callback')
export const problem = failureOf('no-enable-pending', 'the link was used, has run out, or belongs to another enable')

export const importModel = (language: Language): PageModel => ({
  ...(overviewModels(language)['awaiting-app-enterprise'] ?? bare(language)),
  path: '/s/5f2c9a/import',
  createUrl: `${GITHUB}/enterprises/octo-corp/settings/apps/new?name=ghe-example-com`,
  failure: failureOf('key-mismatch', 'App 2400372 with key SHA256:kkk: A JSON web token could not be decoded'),
  typed: { id: '2400372' },
})

export const checkModel = (language: Language): PageModel => ({ ...connectedModel(language), check: report })

export const keysModel = (language: Language): PageModel => ({
  ...connectedModel(language),
  keys: [
    { fingerprint: fingerprint('k'), added_at: timeIn(-2 * DAY_MS), signs: true, state: 'works' },
    { fingerprint: fingerprint('z'), added_at: timeIn(-402 * DAY_MS), signs: false, state: 'rejected' },
  ],
})
