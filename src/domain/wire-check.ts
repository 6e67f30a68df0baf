// The API's shape of a check: one row for each layer between this machine and a token, with verdict, evidence and advice.

import { z } from 'zod'

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
