// kill -9 at random moments; `scripts/kill-test` makes many more rounds of it.

import test from 'ava'
import { runKillRounds } from '../support/kill-rounds.ts'

const ROUNDS = 25

test('a daemon that is killed at random moments loses no key and explains each state', async t => {
  const seed = Number(process.env['KILL_SEED'] ?? 2026)
  const { broken, kills, states } = await runKillRounds({ rounds: ROUNDS, seed })
  t.deepEqual(broken, [], `seed ${seed}`)
  const sum = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((a, b) => a + b, 0)
  t.is(sum(kills), ROUNDS)
  t.is(sum(states), ROUNDS)
  t.true(Object.keys(states).length > 2, 'the rounds reach more than the first states')
})
