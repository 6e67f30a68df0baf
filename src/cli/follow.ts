// Follows a token for as long as somebody needs it: asks each minute and whenever the daemon tells of something new.

import { asFailure, type Code, type Failure } from '../protocol/errors.ts'
import { TokenAnswer, type TokenRequest } from '../protocol/wire.ts'
import type { Clock } from '../service/clock.ts'
import type { Client } from '../protocol/client.ts'

export type Following = {
  readonly client: Client
  readonly clock: Clock
  readonly request: TokenRequest
  /** Ends it. */
  readonly signal: AbortSignal
  /** Each token that differs from the one before; false: to be tried again soon. What it throws ends the following. */
  onToken(answer: TokenAnswer): boolean
  /** The daemon refuses its events: it is asked each minute instead, until it gives them. Told once. */
  onPolling?(): void
  /** `lost`: whatever token was had before is void. Otherwise it is good as long as it lasts. */
  onFailure(failure: Failure, options: { lost: boolean }): void
}

/** Often enough to be among the scopes in use, which are refreshed ahead, and to see a token that has settled after its event. */
const ASK_MS = 60_000
const RETRY_MS = 5_000
/** Between two questions, however fast events come. */
const PAUSE_MS = 250

const LOST = new Set<Code>(['not-connected', 'quarantined', 'key-lost', 'not-permitted', 'installation-not-found'])

/** Resolves when it is ended. Throws what `onToken` throws. */
export const followToken = async (following: Following): Promise<void> => {
  const { client, clock, signal } = following
  let known = ''
  let wake = new AbortController()
  let subscription: { close(): void } | undefined
  let refusedAtMs: number | undefined
  let isTold = false
  signal.addEventListener('abort', () => wake.abort(), { once: true })
  try {
    while (!signal.aborted) {
      wake = new AbortController()
      const waking = wake
      if (refusedAtMs === undefined || clock.monotonic() - refusedAtMs >= ASK_MS) {
        subscription ??= client.subscribe(
          () => wake.abort(),
          refused => {
            subscription = undefined
            refusedAtMs = refused ? clock.monotonic() : undefined
            // An end is news; a refusal is none, and asking at once would be answered the same.
            if (!refused) return wake.abort()
            if (!isTold) following.onPolling?.()
            isTold = true
          },
        )
      }
      const answer = await ask(following)
      if (signal.aborted) return
      let settled = true
      if ('token' in answer) {
        if (answer.token !== known) settled = following.onToken(answer)
        if (settled) known = answer.token
      } else {
        settled = false
        const lost = LOST.has(answer.code)
        if (lost) known = ''
        following.onFailure(answer, { lost })
      }
      await clock.sleep(PAUSE_MS, signal)
      await clock.sleep(settled ? ASK_MS : RETRY_MS, settled ? waking.signal : signal)
    }
  } finally {
    subscription?.close()
  }
}

const ask = async ({ client, request }: Following): Promise<TokenAnswer | Failure> => {
  try {
    return await client.call({ method: 'POST', path: '/v1/tokens', body: request, answer: TokenAnswer })
  } catch (error) {
    return asFailure(error)
  }
}
