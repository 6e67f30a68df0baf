// Mutants of a clear and of a sealed bundle, through the reader and through a live daemon, with progress and a summary.

import { createVictim, mutantsOf, readMutants, restoreMutants, type Tally } from '../test/support/bundle-mutants.ts'
import { forgedBundles } from '../test/support/forged-bundles.ts'
import { readNumbers } from './numbers.ts'

const USAGE = `usage: ./scripts/mutate-bundle [--every N] [--restart-every N]

Exports a bundle in clear and one that is sealed from a connected daemon, flips every byte of both with three masks, and cuts
them at every length. All go through the reader, then through POST /v1/snapshots/restore of the one daemon, whose generation and
store folder must stay as they are. The daemon restarts after one in 500, after each that it accepts, and after each bundle
with a forged field. --every 10 takes one mutant of ten. Ends with 1 where one was accepted or the daemon failed.

Example: ./scripts/mutate-bundle --every 100
`

const PROGRESS_EVERY = 10_000

const { every, 'restart-every': restartEvery } = readNumbers(USAGE, {
  every: { fallback: 1, least: 1, most: 9_999_999 },
  'restart-every': { fallback: 500, least: 1, most: 9_999_999 },
})

let isWrong = false
const tell = (what: string, tally: Tally & { readonly restarts?: number }, since: number): void => {
  const refused = [...tally.refused].map(([code, count]) => `${code} ${count}`).join(', ')
  const seconds = Math.round((performance.now() - since) / 1000)
  const restarts = tally.restarts === undefined ? '' : `, ${tally.restarts} restarts`
  process.stdout.write(
    `${what}: ${tally.count} in ${seconds} s, refused: ${refused}${restarts}; wrong: ${tally.wrong.length}\n`,
  )
  for (const line of tally.wrong.slice(0, 20)) process.stdout.write(`WRONG ${line}\n`)
  isWrong ||= tally.wrong.length > 0
}

const victim = await createVictim()
try {
  const bundles = { clear: victim.clear, sealed: victim.sealed }
  for (const [name, bundle] of Object.entries(bundles)) {
    const since = performance.now()
    tell(
      `reader, ${name} (${bundle.length} bytes)`,
      await readMutants(mutantsOf(bundle, every), [victim.identity]),
      since,
    )
  }
  const since = performance.now()
  tell(
    'daemon, forged fields',
    await restoreMutants(victim, { mutants: forgedBundles(victim.clear), restartEvery: 1 }),
    since,
  )
  for (const [name, bundle] of Object.entries(bundles)) {
    const begun = performance.now()
    const onProgress = (count: number): void => {
      if (count % PROGRESS_EVERY < 8) process.stdout.write(`  ${name}: ${count}\n`)
    }
    const mutants = mutantsOf(bundle, every)
    tell(`daemon, ${name}`, await restoreMutants(victim, { mutants, restartEvery, onProgress }), begun)
  }
} finally {
  await victim.close()
}
process.exitCode = isWrong ? 1 : 0
