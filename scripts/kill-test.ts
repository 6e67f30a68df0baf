// The kill test from the command line: many rounds, their seed, progress and a summary.

import { type KillReport, runKillRounds } from '../test/support/kill-rounds.ts'
import { readNumbers, SEED } from './numbers.ts'

const USAGE = `usage: ./scripts/kill-test [--rounds N] [--seed S]

Kills the daemon with SIGKILL at N random moments (1000) of enable, mint, refresh and disable against the sandbox, restarts it
each time, and checks that the store opens, that status explains the state, that no stored key is lost, that the tokens are
good, and that a finished disable left no key. S is the seed; without it a new one is taken, and printed. Ends with 1 where
something did not hold.

Example: ./scripts/kill-test --rounds 100 --seed 7
`

const PROGRESS_EVERY = 50

const list = (counts: KillReport['kills']): string =>
  Object.entries(counts)
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')

const options = readNumbers(USAGE, { rounds: { fallback: 1000, least: 1, most: 9_999_999 }, seed: SEED })
process.stdout.write(`kill test: ${options.rounds} rounds, seed ${options.seed}\n`)
const report = await runKillRounds({
  ...options,
  onRound(done, broken) {
    if (done % PROGRESS_EVERY === 0) process.stdout.write(`  ${done} rounds, ${broken.length} broken\n`)
  },
})
for (const what of report.broken) process.stdout.write(`BROKEN ${what}\n`)
process.stdout.write(
  `kill test: ${report.rounds} rounds, seed ${report.seed}, ${report.seconds} s; killed during: ${list(report.kills)}; ` +
    `states after restart: ${list(report.states)}; broken: ${report.broken.length}\n`,
)
process.exitCode = report.broken.length === 0 ? 0 : 1
