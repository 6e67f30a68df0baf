// Mutated requests by the hundred thousand: the daemon stays, answers, never fails within, and gives its memory back.
// `./scripts/fuzz-http` sends as many as one likes, and sends a finding again.

import test from 'ava'
import { fuzz, RSS_GROWTH } from '../support/fuzz-http.ts'
import { FUZZ_SOCKETS } from '../support/fuzz-target.ts'

const REQUESTS = 100_000
const SEED = 1

for (const socket of FUZZ_SOCKETS) {
  test.serial(
    `${socket}: ${REQUESTS} mutated requests end nothing, break nothing, and leave nothing behind`,
    async t => {
      t.timeout(20 * 60_000)
      const { findings, ...result } = await fuzz(socket, { requests: REQUESTS, seed: SEED })
      t.log(JSON.stringify(result))
      const { exits, internal, hangs, unreadable } = result
      t.deepEqual(
        { exits, internal, hangs, unreadable },
        { exits: 0, internal: 0, hangs: 0, unreadable: 0 },
        JSON.stringify(findings.slice(0, 5)),
      )
      t.true(result.answered > REQUESTS * 0.6, `${result.answered} were answered`)
      t.true(
        result.rssAfterMb <= result.rssBeforeMb * RSS_GROWTH,
        `${result.rssBeforeMb} MB before, ${result.rssAfterMb} after`,
      )
    },
  )
}
