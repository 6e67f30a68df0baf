// Gathers what a page shows: from the API's status, the stored connection, the policy and the audit log. Nothing that it takes is a secret.

import { appSettingsUrl, type Connection, type DaemonState, isLive } from '../protocol/connection.ts'
import { Failure } from '../protocol/errors.ts'
import { assessFeature, FEATURE_NAMES, FEATURES } from '../protocol/features.ts'
import { allowNames } from '../protocol/profile.ts'
import { isoTime } from '../protocol/wire.ts'
import type { Engine } from '../core/engine.ts'
import type { ConfirmModel, Frame, PageModel, Said } from './model.ts'
import type { WebDeps } from './requests.ts'

const AUDIT_ROWS = 10

/** What a page has to show while the store is closed. */
const CLOSED = {
  keys: [],
  installations: [],
  tokens: { live: 0 },
  clock_offset_seconds: 0,
  generation: 0,
  role: 'single',
  recovery_recipients: [],
  warnings: [],
  features: [],
  audit: [],
  refreshHistory: [],
  askedPermissions: {},
  wantedPermissions: {},
} satisfies Partial<PageModel>

export const modelOf = (deps: WebDeps, frame: Frame, said: Said & Pick<PageModel, 'check'>): PageModel => {
  const status = deps.status()
  const { githubUrl, apiUrl, policy } = deps.settings()
  const always = {
    ...frame,
    ...said,
    nowMs: deps.clock.now(),
    githubUrl,
    hosts: hostsOf(githubUrl, apiUrl),
    profiles: policy.profiles.map(profile => ({ ...profile, allow: allowNames(profile) })),
  }
  if (!('keys' in status)) return { ...CLOSED, ...status, ...always, state: 'locked' }
  const { connectionState, history, auditLog, keys, formUrl, wantedPermissions } = deps.operations()
  const { connection } = connectionState.read()
  return {
    ...status,
    ...always,
    ...detailsOf(connection, formUrl),
    // Of an open store it is one of these.
    state: status.state as DaemonState,
    keys: keys.list(),
    features: featuresOf(deps),
    audit: auditLog.read({ limit: AUDIT_ROWS }).toReversed(),
    refreshHistory: history.hours(),
    wantedPermissions: wantedPermissions(),
  }
}

const detailsOf = (connection: Connection, formUrl: Engine['formUrl']) => ({
  ...('evidence' in connection && { evidence: connection.evidence }),
  ...(connection.kind === 'disconnected' && connection.remark !== undefined && { evidence: connection.remark }),
  ...(isLive(connection) && {
    enabledOn: connection.host.hostname,
    appSettingsUrl: appSettingsUrl(connection.app),
  }),
  askedPermissions: isLive(connection) ? connection.app.permissions : {},
  ...(connection.kind === 'awaiting-app' && {
    pendingEnable: {
      expiresAt: isoTime(connection.expiresAtMs),
      converting: connection.conversion !== undefined,
    },
    // For an enterprise: the form on which its owner makes the App, filled in.
    ...(connection.account.type === 'enterprise' && { createUrl: formUrl(connection.account, connection.state) }),
  }),
  ...(connection.kind === 'disconnecting' && {
    disabling: { step: connection.step, deadline: isoTime(connection.deadlineMs) },
  }),
})

const featuresOf = (deps: WebDeps): PageModel['features'] => {
  const { features: switched, policy } = deps.settings()
  const standing = deps.operations().connectionState.read()
  return FEATURE_NAMES.map(name => {
    const profile = switched.includes(name) ? policy.profiles.find(one => one.name === name) : undefined
    const assessment = assessFeature(FEATURES[name], profile, standing)
    const { state } = assessment
    const isSettled = state === 'off' || state === 'on'
    return {
      name,
      title: FEATURES[name].title,
      state,
      ...(!isSettled && { detail: assessment.detail }),
    }
  })
}

const hostsOf = (githubUrl: string, apiUrl: string): string[] => {
  const [web, api] = [new URL(githubUrl).host, new URL(apiUrl).host]
  const uploads = api.startsWith('api.') ? [`uploads.${api.slice('api.'.length)}`] : []
  return [...new Set([api, web, ...uploads])]
}

/** The last page before GitHub: what will be created there, and the form that takes it along. Throws `no-enable-pending`. */
export const confirmModelOf = (deps: WebDeps, frame: Frame, state: string): ConfirmModel => {
  const { enable, appForm } = deps.operations()
  const pending = enable.findPending(state)
  if (!pending || pending.conversion || pending.account.type === 'enterprise')
    throw new Failure('no-enable-pending', 'the link was used or has run out')
  const { action, manifest, permissions } = appForm(pending.account, state)
  return {
    ...frame,
    account: pending.account,
    appName: manifest.name,
    permissions,
    expiresAt: isoTime(pending.expiresAtMs),
    nowMs: deps.clock.now(),
    action,
    manifest: JSON.stringify(manifest),
  }
}
