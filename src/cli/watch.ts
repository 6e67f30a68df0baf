// Follows the daemon's state while something long goes on: polls, and asks sooner when an event comes.

import { Failure, isCode } from '../protocol/errors.ts'
import { SeenStatus } from '../protocol/wire.ts'
import type { Clock } from '../service/clock.ts'
import type { Client } from '../protocol/client.ts'

export const POLL_MS = 1_000
/** A daemon that is being restarted is back long before. */
const PATIENCE_MS = 15_000

/**
 * Looks at the status again and again until `look` gives something. Throws what `look` throws, `daemon-absent` where the
 * daemon stays away, and whatever else `client` throws. `onPolling`: the daemon refuses its events, and is only asked each second.
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
      const answer = await askPatiently(client)
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

/** What a command says then, once. */
export const POLLING = 'ghconnect: the daemon refuses an event stream; asking for its status each second instead'

const askPatiently = async (client: Client): Promise<SeenStatus | Failure> => {
  try {
    return await getStatus(client)
  } catch (error) {
    if (error instanceof Failure && error.code === 'daemon-absent') return error
    throw error
  }
}

export const getStatus = (client: Client): Promise<SeenStatus> =>
  client.call({ method: 'GET', path: '/v1/status', answer: SeenStatus })

/** What stood between the machine and GitHub at the last call, as a failure of ours. */
export const failureOfLastCall = (status: SeenStatus): Failure | undefined => {
  const last = status.last_failure
  return last && new Failure(isCode(last.code) ? last.code : 'unreachable', last.detail)
}
