// The cluster's fault run in short; `scripts/cluster-test` makes many more rounds of it.

import test from 'ava'
import { runClusterRounds } from '../support/cluster-rounds.ts'

const ROUNDS = 20

test('a cluster that is tormented serves nothing expired, nothing after a disable, and comes to one mind', async t => {
  t.timeout(300_000)
  const seed = Number(process.env['CLUSTER_SEED'] ?? 2026)
  const { broken, faults, changes, answers, seconds, mints } = await runClusterRounds({ rounds: ROUNDS, seed })
  t.log({ seconds, faults, changes, answers, mints })
  t.deepEqual(broken, [], `seed ${seed}`)
  t.true(Object.keys(faults).length > 7, 'the rounds reach most faults')
  t.true(Object.keys(changes).length > 1)
  t.true((answers['200'] ?? 0) > 100)
})
