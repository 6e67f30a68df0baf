// Gathers what a page shows: from the status, the stored connection, the policy and the audit log. Nothing that it takes is a secret.

import { appsSettingsUrl, type Connection, isLive, isTrouble } from '../protocol/connection.ts'
import type { Failure } from '../protocol/errors.ts'
import type { Status } from '../protocol/wire.ts'
import type { Operations } from '../core/operations.ts'
import type { WebDeps } from './deps.ts'
import {
  allowListOf,
  appFacts,
  auditFacts,
  featureFacts,
  installed,
  profileFacts,
  TOKEN_LIFETIME_MS,
  tokenFacts,
} from './facts.ts'
import type { FailureFacts, Frame, PageModel, Prerequisites, ProgressStep } from './model.ts'

type Told = Pick<PageModel, 'failure' | 'notice' | 'typed' | 'check'>

const AUDIT_ROWS = 10
/** What an open store is in besides the states of its connection. */
const OF_DAEMON = ['awaiting-unlock', 'isolated'] as const

export const modelOf = (deps: WebDeps, frame: Frame, told: Told): PageModel => {
  const status = deps.status()
  const { githubUrl, policy } = deps.settings()
  const always = {
    ...frame,
    ...told,
    nowMs: deps.clock.now(),
    version: deps.version,
    githubUrl,
    sinceMs: Date.parse(status.since),
    meaning: status.meaning,
    next: status.next,
    profiles: policy.profiles.map(profileFacts),
  }
  if (!('keys' in status)) return { ...always, ...CLOSED, prerequisites: prerequisitesOf(deps, undefined) }
  const operations = deps.operations()
  return {
    ...always,
    ...connectionFacts(deps, operations.connectionState.read().connection),
    ...statusFacts(deps, status, operations),
    state: OF_DAEMON.find(state => state === status.state) ?? operations.connectionState.read().connection.kind,
    progress: progressOf(operations.connectionState.read().connection, status),
    prerequisites: prerequisitesOf(deps, status),
    wantedPermissions: deps.wantedPermissions(),
  }
}

export const failureFacts = (failure: Failure): FailureFacts => ({
  code: failure.code,
  title: failure.entry.title,
  detail: failure.message,
  next: failure.entry.next,
})

/** What a page has to show while the store is closed. */
const CLOSED = {
  state: 'locked',
  progress: [],
  installations: [],
  keys: [],
  tokens: { live: 0, lifetimeMs: TOKEN_LIFETIME_MS },
  refreshHistory: [],
  wantedPermissions: {},
  recoveryRecipients: [],
  warnings: [],
  features: [],
  role: 'single',
  generation: 0,
  audit: [],
} as const

const connectionFacts = (deps: WebDeps, connection: Connection) => {
  const { githubUrl } = deps.settings()
  const account = 'account' in connection ? connection.account : undefined
  return {
    ...(account && {
      account,
      appsUrl: appsSettingsUrl(githubUrl, account),
      ...allowListOf(githubUrl, account),
    }),
    ...(isLive(connection) && { app: appFacts(connection.app), enabledOn: connection.host.hostname }),
    ...createUrlOf(deps, connection),
    ...evidenceOf(connection),
    ...(connection.kind === 'awaiting-app' && {
      pendingEnable: { expiresAtMs: connection.expiresAtMs, converting: connection.conversion !== undefined },
    }),
    ...(connection.kind === 'disconnecting' && {
      disabling: { step: connection.step, deadlineMs: connection.deadlineMs },
    }),
  }
}

/** For an enterprise: the form on which its owner makes the App, filled in. */
const createUrlOf = (deps: WebDeps, connection: Connection): { createUrl?: string } =>
  connection.kind === 'awaiting-app' && connection.account.type === 'enterprise'
    ? { createUrl: deps.formUrl(connection.account, connection.state) }
    : {}

const evidenceOf = (connection: Connection): { evidence?: string } => {
  if (connection.kind === 'disconnected') return connection.remark === undefined ? {} : { evidence: connection.remark }
  if (isTrouble(connection.kind) || connection.kind === 'key-lost' || connection.kind === 'quarantined')
    return 'evidence' in connection ? { evidence: connection.evidence } : {}
  return {}
}

const statusFacts = (deps: WebDeps, status: Status, { connectionState, history, auditLog, keys }: Operations) => {
  const { policy, features } = deps.settings()
  const standing = connectionState.read()
  const asked = isLive(standing.connection) ? standing.connection.app.permissions : {}
  return {
    installations: standing.installations.map(one => installed(one, asked)),
    keys: keys.list().map(({ fingerprint, added_at, state }) => ({
      fingerprint,
      addedAtMs: Date.parse(added_at),
      ...(state === 'rejected' && { rejected: true }),
    })),
    tokens: tokenFacts(status),
    refreshHistory: history.hours(),
    ...(status.proxy !== undefined && { proxy: status.proxy }),
    recoveryRecipients: status.recovery_recipients,
    warnings: status.warnings,
    features: featureFacts(features, policy, standing),
    role: status.role,
    generation: status.generation,
    audit: auditLog.read({ limit: AUDIT_ROWS }).map(auditFacts).toReversed(),
  }
}

const progressOf = (connection: Connection, { tokens, last_failure: trouble }: Status): ProgressStep[] => {
  const steps = (app: ProgressStep['state'], installation: ProgressStep['state'], token: ProgressStep['state']) =>
    [
      { name: 'created', state: app },
      { name: 'installed', state: installation },
      { name: 'first-token', state: token, ...(token === 'failed' && trouble && { detail: trouble.detail }) },
    ] as const satisfies ProgressStep[]
  if (connection.kind === 'awaiting-app') return steps('active', 'pending', 'pending')
  if (connection.kind === 'key-lost') return steps('failed', 'pending', 'pending')
  if (connection.kind === 'awaiting-installation') return steps('done', 'active', 'pending')
  if (connection.kind !== 'connected') return []
  return steps('done', 'done', tokens.live > 0 ? 'done' : trouble ? 'failed' : 'active')
}

const prerequisitesOf = (deps: WebDeps, status: Status | undefined): Prerequisites => {
  const { githubUrl, apiUrl } = deps.settings()
  const [web, api] = [new URL(githubUrl).host, new URL(apiUrl).host]
  const uploads = api.startsWith('api.') ? [`uploads.${api.slice('api.'.length)}`] : []
  return {
    hosts: [...new Set([api, web, ...uploads])],
    ...(status && status.clock_offset_seconds !== 0 && { clockOffsetSeconds: status.clock_offset_seconds }),
  }
}
