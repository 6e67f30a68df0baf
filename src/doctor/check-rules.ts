// The doctor's rules: which layer a problem is laid at, what is not asked because of it, and what all rows come to.

import type { Code, Failure } from '../protocol/errors.ts'
import { type CheckReport, type CheckRow, worstOf } from '../protocol/wire-check.ts'

export type Layer = CheckRow['layer']
export type Verdict = CheckReport['verdict']

/** In the order of the layers: what must work before a token is got. */
const ON_THE_WAY: readonly Layer[] = ['dns', 'proxy', 'tls', 'host']
/** What only GitHub's API can say, for one who asks as the App. */
export const OF_GITHUB: readonly Layer[] = [
  'egress',
  'key',
  'app',
  'installation',
  'permissions',
  'repositories',
  'quota',
]
export const OF_NETWORK: readonly Layer[] = ['clock', ...ON_THE_WAY]

/** The layer at which a failure is mended. */
export const layerOf = (code: Code): Layer => LAYER_OF[code] ?? 'host'

const LAYER_OF: Partial<Record<Code, Layer>> = {
  configuration: 'configuration',
  locked: 'store',
  'wrong-store-key': 'store',
  'store-corrupt': 'store',
  'store-newer': 'store',
  'state-in-use': 'store',
  'disk-full': 'store',
  io: 'store',
  'audit-unavailable': 'store',
  'clock-skew': 'clock',
  dns: 'dns',
  'proxy-unreachable': 'proxy',
  'proxy-authentication': 'proxy',
  'proxy-auth-scheme': 'proxy',
  'proxy-refused': 'proxy',
  tls: 'tls',
  'ip-blocked': 'egress',
  'key-rejected': 'key',
  'invalid-key': 'key',
  'app-not-found': 'app',
  'installation-not-found': 'installation',
  suspended: 'installation',
  'bad-credentials': 'installation',
  'account-policy': 'installation',
  forbidden: 'permissions',
  'permission-not-granted': 'permissions',
  'scope-mismatch': 'permissions',
  'repository-not-accessible': 'repositories',
  quota: 'quota',
  'cluster-unreachable': 'cluster',
  'cluster-refused': 'cluster',
  'cluster-conflict': 'cluster',
  'cluster-secret': 'cluster',
  'cluster-behind': 'cluster',
  'cluster-member': 'cluster',
  isolated: 'cluster',
  replica: 'cluster',
}

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
