// Rounds of mint, refresh, export, kill and restore; `scripts/restore-test` makes many more of them.

import test from 'ava'
import { runRestoreRounds } from '../support/restore-rounds.ts'

const ROUNDS = 15

test('whatever order things come in and wherever the daemon is killed, the credentials that were exported come back', async t => {
  const seed = Number(process.env['RESTORE_SEED'] ?? 2026)
  const { broken, bundles, kills, restores } = await runRestoreRounds({ rounds: ROUNDS, seed })
  t.deepEqual(broken, [], `seed ${seed}`)
  t.true(bundles > ROUNDS)
  t.true(kills > 3)
  t.true(restores >= 2, 'the two at the end at least; how many kills leave time for depends on the machine')
})
