// Judges this machine's clock by the `Date` of an answer that is GitHub's own.

import { type Layer, ok, skipped, warning } from './check-rules.ts'
import { CATALOGUE } from '../protocol/errors.ts'
import type { PassageAnswer } from '../protocol/passage.ts'
import type { CheckRow } from '../protocol/wire-check.ts'

/** The daemon reckons with the difference, so that it is no failure; other programs do not. */
const WORTH_A_WORD_S = 30

/** `why` tells why there is no answer to judge by. */
export const clockRow = (answer: PassageAnswer | undefined, why: string): CheckRow => {
  const layer: Layer = 'clock'
  const githubMs = answer?.requestId === undefined ? Number.NaN : Date.parse(answer.date ?? '')
  if (!answer || Number.isNaN(githubMs)) return skipped({ layer }, why)
  const { sentAtMs, receivedAtMs } = answer
  // An HTTP date has whole seconds, and stands for the middle of one.
  const hereMs = (sentAtMs + receivedAtMs) / 2
  const behind = Math.round((githubMs + 500 - hereMs) / 1000)
  const apart = Math.abs(behind)
  if (apart < 2) return ok({ layer }, "It agrees with GitHub's.")
  const said = `This machine's clock is ${apart} s ${behind > 0 ? 'behind' : 'ahead of'} GitHub's`
  if (apart < WORTH_A_WORD_S) return ok({ layer }, `${said}.`)
  const times = `it says ${new Date(hereMs).toISOString()}, GitHub ${new Date(githubMs).toISOString()}`
  return warning({ layer }, `${said}: ${times}.`, CATALOGUE['clock-skew'].next)
}
