// Commands that ask the daemon, and work without it where there is none.

import { z } from 'zod'
import { Failure } from '../protocol/errors.ts'
import type { Client } from '../protocol/client.ts'

/** One that is hung is told apart within this time. */
const PROBE_MS = 3_000

/** Whether a daemon answers. Throws `not-permitted` where its socket may not be opened. */
export const isDaemonUp = async (client: Client): Promise<boolean> => {
  try {
    await client.call({ method: 'GET', path: '/livez', answer: z.unknown(), silenceMs: PROBE_MS })
    return true
  } catch (error) {
    if (!(error instanceof Failure) || error.code === 'not-permitted') throw error
    return error.code !== 'daemon-absent'
  }
}
