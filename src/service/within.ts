// A question with a limit of time.

import { asFailure, Failure } from '../protocol/errors.ts'

/** What was asked, and how it ended. */
export type Asked<T> = { readonly tookMs: number } & (
  | { readonly value: T; readonly failure?: undefined }
  | { readonly failure: Failure }
)

/** How a question ended, by `untilMs` of the monotonic clock at the latest. Never rejects; a later result is discarded. */
export const within = async <T>(
  question: Promise<T>,
  {
    clock,
    untilMs,
    what,
  }: {
    clock: { monotonic(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> }
    untilMs: number
    what: string
  },
): Promise<Asked<T>> => {
  const beganMs = clock.monotonic()
  const tookMs = (): number => clock.monotonic() - beganMs
  const answered = new AbortController()
  const late = clock.sleep(Math.max(0, untilMs - beganMs), answered.signal).then((): Asked<T> => {
    const failure = new Failure('timeout', `${what} did not answer in ${Math.round(tookMs() / 100) / 10} s`)
    return { failure, tookMs: tookMs() }
  })
  const answer = question.then(
    (value): Asked<T> => ({ value, tookMs: tookMs() }),
    (error: unknown): Asked<T> => ({ failure: asFailure(error), tookMs: tookMs() }),
  )
  try {
    return await Promise.race([answer, late])
  } finally {
    answered.abort()
  }
}
