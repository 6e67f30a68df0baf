// The API's shape of a check: one row for each layer between this machine and a token, with verdict, evidence and advice.

import { z } from 'zod'
import { CATALOGUE, isCode } from './errors.ts'

/** From the machine outward, in the order in which they are shown. */
export const LAYERS = [
  'configuration',
  'store',
  'recovery-key',
  'backup',
  'clock',
  'dns',
  'proxy',
  'tls',
  'host',
  'egress',
  'key',
  'app',
  'installation',
  'permissions',
  'repositories',
  'quota',
  'cluster',
] as const

const took = z.int().min(0).describe('Milliseconds')

export const CheckRow = z.lazy(() =>
  z.strictObject({
    layer: z.enum(LAYERS),
    subject: z.string().optional().describe('Which of several: the name of a host, the account of an installation'),
    verdict: z.enum(['ok', 'warning', 'failed', 'skipped']).describe('`skipped`: not asked, and the evidence says why'),
    evidence: z.string().describe('One sentence: what was seen, with figures'),
    next: z.string().optional().describe('What to do about it'),
    code: z.string().optional().describe('The problem of the catalogue that a failed row stands for'),
    took_ms: took,
  }),
)
export type CheckRow = z.infer<typeof CheckRow>

export const CheckReport = z.lazy(() =>
  z.strictObject({
    verdict: z.enum(['ok', 'warning', 'failed']).describe('That of the worst row'),
    state: z.string(),
    checked_at: z.iso.datetime(),
    took_ms: took,
    rows: z.array(CheckRow),
  }),
)
export type CheckReport = z.infer<typeof CheckReport>

/** The same layer and subject once; the later row stands. */
export const orderRows = (rows: readonly CheckRow[]): CheckRow[] => {
  const latest = new Map(rows.map(row => [`${row.layer} ${row.subject ?? ''}`, row]))
  return [...latest.values()].toSorted((a, b) => LAYERS.indexOf(a.layer) - LAYERS.indexOf(b.layer))
}

const RANK = { skipped: 0, ok: 0, warning: 1, failed: 2 } as const

export const worstOf = (rows: readonly CheckRow[]): CheckRow | undefined =>
  rows.toSorted((a, b) => RANK[b.verdict] - RANK[a.verdict])[0]

/** Of the command line: that of the first row that failed, in the order of the layers. A warning is no failure. */
export const exitOf = (rows: readonly CheckRow[]): number => {
  const worst = worstOf(orderRows(rows))
  if (worst?.verdict !== 'failed') return 0
  return worst.code !== undefined && isCode(worst.code) ? CATALOGUE[worst.code].exit : CATALOGUE.internal.exit
}
