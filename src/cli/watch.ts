// Follows the daemon's state while something long goes on: polls, and asks sooner when an event comes.

import { type Code, Failure, isCode } from '../domain/errors.ts'
import { Status } from '../domain/wire.ts'
import type { Clock } from '../platform/clock.ts'
import type { Client } from './client.ts'

const POLL_MS = 1_000
/** A daemon that is being restarted is back long before. */
const PATIENCE_MS = 15_000

/**
 * Looks at the status again and again until `look` gives something. Throws what `look` throws, `daemon-absent` where the
 * daemon stays away, and whatever else `client` throws.
 */
export const followStatus = async <T>(
  client: Client,
  { clock, look }: { clock: Clock; look: (status: Status) => T | undefined },
): Promise<T> => {
  let wake = new AbortController()
  const subscription = client.subscribe(() => wake.abort())
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

const askPatiently = async (client: Client): Promise<Status | Failure> => {
  try {
    return await getStatus(client)
  } catch (error) {
    if (error instanceof Failure && error.code === 'daemon-absent') return error
    throw error
  }
}

export const getStatus = (client: Client): Promise<Status> =>
  client.call({ method: 'GET', path: '/v1/status', answer: Status })

/** The failure that a state is to somebody who wants to be connected; undefined where it is none, or not yet. */
export const failureOfState = (status: Pick<Status, 'state' | 'meaning'>): Failure | undefined => {
  const code = STATE_CODES.get(status.state)
  return code && new Failure(code, status.meaning)
}

const STATE_CODES = new Map<string, Code>([
  ['disconnected', 'not-connected'],
  ['disconnecting', 'not-connected'],
  ['key-lost', 'key-lost'],
  ['quarantined', 'quarantined'],
  ['locked', 'locked'],
  ['awaiting-unlock', 'locked'],
  ['suspended', 'suspended'],
  ['uninstalled', 'installation-not-found'],
  ['app-deleted', 'app-not-found'],
  ['key-rejected', 'key-rejected'],
  ['blocked', 'ip-blocked'],
])

/** What stood between the machine and GitHub at the last call, as a failure of ours. */
export const failureOfLastCall = (status: Status): Failure | undefined => {
  const last = status.last_failure
  return last && new Failure(isCode(last.code) ? last.code : 'unreachable', last.detail)
}
