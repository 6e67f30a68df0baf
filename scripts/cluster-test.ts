// The cluster's fault run from the command line: many rounds, their seed, progress and a summary.

import { runClusterRounds } from '../test/support/cluster-rounds.ts'
import { readNumbers, SEED } from './numbers.ts'

const USAGE = `usage: ./scripts/cluster-test [--rounds N] [--seed S] [--nodes N]

Starts three members of etcd and five daemons, each in a network namespace of its own (so as root), and the sandbox; then makes
N rounds (500) of faults: daemons killed, stopped, cut off from etcd or from GitHub, their clocks set, members of etcd killed,
stopped, cut off, all of etcd gone or restored from an old backup, with an administrator disabling and restoring meanwhile.
All the while nodes are asked for tokens. It checks that no expired token is served, none after a disable on a node that reaches
etcd, that there is one App and one order of generations, and that all nodes come to one mind after each round. S is the seed;
without it a new one is taken, and printed. Ends with 1 where something did not hold.

Example: ./scripts/cluster-test --rounds 50 --seed 7
`

const PROGRESS_EVERY = 10

const list = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')

const options = readNumbers(USAGE, {
  rounds: { fallback: 500, least: 1, most: 9_999_999 },
  seed: SEED,
  nodes: { fallback: 5, least: 2, most: 9 },
})
process.stdout.write(`cluster test: ${options.rounds} rounds, seed ${options.seed}\n`)
const report = await runClusterRounds({
  ...options,
  onRound(done, broken) {
    if (done % PROGRESS_EVERY === 0) process.stdout.write(`  ${done} rounds, ${broken.length} broken\n`)
  },
})
for (const what of report.broken) process.stdout.write(`BROKEN ${what}\n`)
process.stdout.write(
  `cluster test: ${report.rounds} rounds, seed ${report.seed}, ${report.seconds} s; faults: ${list(report.faults)}; ` +
    `changes: ${list(report.changes)}; answers: ${list(report.answers)}; mints: ${report.mints}; broken: ${report.broken.length}\n`,
)
process.exitCode = report.broken.length === 0 ? 0 : 1
