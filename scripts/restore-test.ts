// The restore test from the command line: many rounds, their seed, progress and a summary.

import { runRestoreRounds } from '../test/support/restore-rounds.ts'
import { readNumbers, SEED } from './numbers.ts'

const USAGE = `usage: ./scripts/restore-test [--rounds N] [--seed S]

Makes N rounds (200) of mint, refresh, export, adopt and restore in random order and at once against the sandbox, and kills the
daemon with SIGKILL in two of three. After each round the daemon is connected, serves a token that GitHub takes, and holds the
private key that was enabled; the last restore brings back the key and the tokens that were exported. S is the seed; without it
a new one is taken, and printed. Ends with 1 where something did not hold.

Example: ./scripts/restore-test --rounds 50 --seed 7
`

const PROGRESS_EVERY = 20

const options = readNumbers(USAGE, { rounds: { fallback: 200, least: 1, most: 9_999_999 }, seed: SEED })
process.stdout.write(`restore test: ${options.rounds} rounds, seed ${options.seed}\n`)
const report = await runRestoreRounds({
  ...options,
  onRound(done, broken) {
    if (done % PROGRESS_EVERY === 0) process.stdout.write(`  ${done} rounds, ${broken.length} broken\n`)
  },
})
for (const what of report.broken) process.stdout.write(`BROKEN ${what}\n`)
const done = Object.entries(report.done).map(([deed, count]) => `${deed} ${count}`)
process.stdout.write(
  `restore test: ${report.rounds} rounds, seed ${report.seed}, ${report.seconds} s; ${done.join(', ')}; killed ${report.kills} times; ` +
    `${report.bundles} bundles opened, ${report.restores} restores answered; broken: ${report.broken.length}\n`,
)
process.exitCode = report.broken.length === 0 ? 0 : 1
