// The doctor's findings: the layer that a problem is attributed to, a row for each verdict, and what all rows amount to.

import type { Code, Failure } from '../protocol/errors.ts'
import { type CheckReport, type CheckRow, LAYERS, worstOf } from '../protocol/wire-check.ts'

export type Layer = CheckRow['layer']
export type Verdict = CheckReport['verdict']

/** What only GitHub's API can say, for one who asks as the App. */
export const OF_GITHUB: readonly Layer[] = LAYERS.slice(LAYERS.indexOf('egress'), LAYERS.indexOf('cluster'))
export const OF_NETWORK: readonly Layer[] = ['clock', 'dns', 'proxy', 'tls', 'host']

/** The layer at which a failure is fixed. */
export const layerOf = (code: Code): Layer => LAYER_OF.get(code) ?? 'host'

const CODES: Partial<Record<Layer, readonly Code[]>> = {
  configuration: ['configuration'],
  store: [
    'locked',
    'wrong-store-key',
    'store-corrupt',
    'store-newer',
    'state-in-use',
    'disk-full',
    'io',
    'audit-unavailable',
  ],
  clock: ['clock-skew'],
  dns: ['dns'],
  proxy: ['proxy-unreachable', 'proxy-authentication', 'proxy-auth-scheme', 'proxy-refused'],
  tls: ['tls'],
  egress: ['ip-blocked'],
  key: ['key-rejected', 'invalid-key'],
  app: ['app-not-found'],
  installation: ['installation-not-found', 'suspended', 'bad-credentials', 'account-policy'],
  permissions: ['forbidden', 'permission-not-granted', 'scope-mismatch'],
  repositories: ['repository-not-accessible'],
  quota: ['quota'],
  cluster: [
    'cluster-unreachable',
    'cluster-refused',
    'cluster-conflict',
    'cluster-secret',
    'cluster-behind',
    'cluster-member',
    'isolated',
    'replica',
  ],
}
const LAYER_OF = new Map(LAYERS.flatMap(layer => (CODES[layer] ?? []).map(code => [code, layer])))

type Of = { readonly layer: Layer; readonly subject?: string | undefined; readonly tookMs?: number }

const base = ({ layer, subject, tookMs = 0 }: Of) => ({
  layer,
  ...(subject !== undefined && { subject }),
  took_ms: Math.max(0, Math.round(tookMs)),
})

export const ok = (of: Of, evidence: string): CheckRow => ({ ...base(of), verdict: 'ok', evidence })

export const warning = (of: Of, evidence: string, next: string): CheckRow => ({
  ...base(of),
  verdict: 'warning',
  evidence,
  next,
})

export const failed = (of: Of, failure: Failure, next: string = failure.next): CheckRow => ({
  ...base(of),
  verdict: 'failed',
  evidence: sentence(failure.message),
  next,
  code: failure.code,
})

export const skipped = (of: Of, why: string): CheckRow => ({
  ...base(of),
  verdict: 'skipped',
  evidence: `Not asked: ${why}.`,
})

/** For all that lies behind `cause`. */
export const skipAll = (layers: readonly Layer[], why: string, subject?: string): CheckRow[] =>
  layers.map(layer => skipped({ layer, subject }, why))

/** `DNS fails`, `the proxy fails`: why another layer was not asked. */
export const fails = (layer: Layer, subject?: string): string =>
  `${NAMES[layer] ?? layer} fails${subject === undefined ? '' : ` for ${subject}`}`

const NAMES: Partial<Record<Layer, string>> = {
  dns: 'DNS',
  tls: 'TLS',
  proxy: 'the proxy',
  host: 'the host',
  clock: 'the clock',
  key: 'the key',
  app: 'the App',
  installation: 'the installation',
  egress: 'the IP allow list',
  quota: "GitHub's rate limit",
  store: 'the store',
}

const sentence = (text: string): string => {
  const whole = /[.!?]$/.test(text) ? text : `${text}.`
  // Not where it begins with the name of a host.
  return /^[a-z]+ /.test(whole) ? whole.charAt(0).toUpperCase() + whole.slice(1) : whole
}

export const verdictOf = (rows: readonly CheckRow[]): Verdict => {
  const worst = worstOf(rows)?.verdict ?? 'ok'
  return worst === 'skipped' ? 'ok' : worst
}
