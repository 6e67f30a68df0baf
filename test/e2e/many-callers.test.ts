// Many callers of one user at once: short-lived processes are all answered, and sinks beyond the allowed streams stay fresh.

import { join } from 'node:path'
import test from 'ava'
import { createClient } from '../../src/protocol/client.ts'
import { followToken } from '../../src/cli/watch.ts'
import { type Clock, createClock } from '../../src/service/clock.ts'
import { enabled, shell } from '../support/probes.ts'
import { until } from '../support/processes.ts'

const SINKS = 40
const STREAMS = 16

test.serial('200 processes of one service asking 20 times each are all answered', async t => {
  const appliance = await enabled()
  const curl = `curl -s -m 60 --unix-socket ${join(appliance.runtime, 'token.sock')} -o /dev/null -w '%{http_code}\\n'`
  const ask = `-H 'content-type: application/json' -d '{}' 'http://localhost/v1/tokens?[1-20]'`
  try {
    // One half keeps its connection for all of its requests, the other half makes a new one for each.
    const line = `for n in $(seq 100); do ${curl} ${ask} & ${curl} -H 'connection: close' ${ask} & done; wait`
    const { stdout } = await shell(line)
    const counts = new Map<string, number>()
    for (const status of stdout.trim().split('\n')) counts.set(status, (counts.get(status) ?? 0) + 1)
    t.deepEqual([...counts], [['200', 4_000]])
  } finally {
    await appliance.close()
  }
})

test.serial('40 sinks of one user all stay fresh though only 16 event streams are allowed', async t => {
  const appliance = await enabled()
  const end = new AbortController()
  const tokens = Array.from({ length: SINKS }, () => '')
  const failures: string[] = []
  let polling = 0
  const following = tokens.map((_, index) =>
    followToken({
      client: createClient(join(appliance.runtime, 'token.sock')),
      clock: QUICK,
      request: {},
      signal: end.signal,
      onToken({ token }) {
        tokens[index] = token
        return true
      },
      onPolling: () => (polling += 1),
      onFailure: failure => failures.push(failure.code),
    }),
  )
  const all = (token: string) => () => tokens.every(held => held === token)
  try {
    await until('a token for each', () => !tokens.includes(''))
    await until('those without a stream poll', () => polling === SINKS - STREAMS)
    for (let round = 0; round < 3; round += 1) {
      await appliance.call('POST', '/v1/refresh')
      const { body } = await appliance.ask('POST', '/v1/tokens', {})
      await until('the new token everywhere', all(String(body['token'])))
    }
    t.is(polling, SINKS - STREAMS, 'each says so once')
    t.deepEqual(failures, [])
  } finally {
    end.abort()
    await Promise.all(following)
    await appliance.close()
  }
})

const clock = createClock()
/** A minute takes a second: what polls is not waited for longer. */
const QUICK: Clock = {
  ...clock,
  monotonic: () => clock.monotonic() * 60,
  sleep: (ms, signal) => clock.sleep(ms / 60, signal),
}
