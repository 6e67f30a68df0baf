// Watches the daemon: whether it answers, its status while something long goes on, and a token for as long as somebody needs it.

import type { Client } from '../protocol/client.ts'
import type { SeenOf } from '../protocol/endpoints.ts'
import { asFailure, type Code, Failure, isCode } from '../protocol/errors.ts'
import type { SeenStatus, TokenRequest } from '../protocol/wire.ts'
import type { Clock } from '../service/clock.ts'

export type TokenAnswer = SeenOf<'POST /v1/tokens'>

/** One that is hung is told apart within this time. */
const PROBE_MS = 3_000
export const POLL_MS = 1_000
/** A daemon that is being restarted is back long before. */
export const PATIENCE_MS = 15_000

/** Whether a daemon answers. Throws `not-permitted` where its socket may not be opened. */
export const isDaemonUp = async (client: Client): Promise<boolean> => {
  try {
    await client.ask('GET /livez', { silenceMs: PROBE_MS })
    return true
  } catch (error) {
    if (!(error instanceof Failure) || error.code === 'not-permitted') throw error
    return error.code !== 'daemon-absent'
  }
}

/** What stood between the machine and GitHub at the last call, as a failure of ours. */
export const failureOfLastCall = ({ last_failure: last }: SeenStatus): Failure | undefined =>
  last && new Failure(isCode(last.code) ? last.code : 'unreachable', last.detail)

/** What a command says, once, where the daemon refuses its events. */
export const POLLING = 'ghconnect: the daemon refuses an event stream; asking for its status each second instead'

/**
 * Looks at the status each second, and at once when an event comes, until `look` gives something. Throws what `look` throws,
 * `daemon-absent` where the daemon stays away, and whatever else the client throws.
 */
export const followStatus = async <T>(
  client: Client,
  options: { clock: Clock; look: (status: SeenStatus) => T | undefined; onPolling: () => void },
): Promise<T> => {
  const { clock, look, onPolling } = options
  let wake = new AbortController()
  const subscription = client.subscribe(
    () => wake.abort(),
    refused => {
      if (refused) onPolling()
    },
  )
  let absentSinceMs: number | undefined
  try {
    for (;;) {
      // Made before the question, so that an event that comes between answer and sleep is not slept through.
      wake = new AbortController()
      const answer = await client.ask('GET /v1/status').catch(asAbsence)
      if (answer instanceof Failure) {
        absentSinceMs ??= clock.monotonic()
        if (clock.monotonic() - absentSinceMs >= PATIENCE_MS) throw answer
      } else {
        absentSinceMs = undefined
        const found = look(answer)
        if (found !== undefined) return found
      }
      await clock.sleep(POLL_MS, wake.signal)
    }
  } finally {
    subscription.close()
  }
}

const asAbsence = (error: unknown): Failure => {
  if (error instanceof Failure && error.code === 'daemon-absent') return error
  throw error
}

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
  /** `lost`: whatever token was held before is void. Otherwise it is good as long as it lasts. */
  onFailure(failure: Failure, options: { lost: boolean }): void
}

/** Often enough to be among the scopes in use, which are refreshed ahead, and to see a token that has settled after its event. */
const ASK_MS = 60_000
const RETRY_MS = 5_000
/** Between two questions, however fast events come. */
const PAUSE_MS = 250

const LOST = new Set<Code>(['not-connected', 'quarantined', 'key-lost', 'not-permitted', 'installation-not-found'])

/** Asks each minute and whenever the daemon has something new. Resolves when it is ended. Throws what `onToken` throws. */
export const followToken = async (following: Following): Promise<void> => {
  const { client, clock, request, signal } = following
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
      const answer = await client.ask('POST /v1/tokens', { body: request }).catch(asFailure)
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
