// Reads TAP from standard input: prints what failed, whole, as it comes, a sign of life now and then, how long each suite took, and last the counts.

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const SIGN_EVERY = 100
const SLOWEST = 20

let passed = 0
let failed = 0
let skipped = 0
let failing = false
for await (const line of createInterface({ input: process.stdin })) {
  const [result, not, , directive] = /^(not )?ok \d+ (.*?)(?: # (SKIP|TODO).*)?$/.exec(line) ?? []
  if (result !== undefined) {
    failing = not !== undefined
    if (directive) skipped += 1
    else if (failing) failed += 1
    else passed += 1
    if ((passed + failed) % SIGN_EVERY === 0) process.stderr.write(`   ${passed + failed} tests so far\n`)
  }
  if (failing || line.startsWith('Bail out')) process.stdout.write(`${line}\n`)
}

/** By folder and by file, from what each test process noted (`test/support/end.ts`): milliseconds and file, a line each. */
const tellTimes = (lines: readonly string[]): void => {
  const times = lines.map(line => ({ ms: Number.parseInt(line, 10), file: line.slice(line.indexOf(' ') + 1) }))
  const tell = (ms: number, what: string): boolean =>
    process.stderr.write(`${`${Math.round(ms / 1000)}`.padStart(6)} s  ${what}\n`)
  const folders = Map.groupBy(times, ({ file }) => file.split('/').slice(0, -1).join('/'))
  const sums = [...folders].map(([folder, files]) => ({
    folder,
    files,
    ms: files.reduce((sum, { ms }) => sum + ms, 0),
  }))
  process.stderr.write('== time of the test processes, three at a time\n')
  for (const { folder, files, ms } of sums.toSorted((a, b) => b.ms - a.ms)) tell(ms, `${folder}: ${files.length} files`)
  process.stderr.write(`== the ${SLOWEST} slowest\n`)
  for (const { file, ms } of times.toSorted((a, b) => b.ms - a.ms).slice(0, SLOWEST)) tell(ms, file)
}
const noted = process.env['TEST_TIMES']
if (noted !== undefined) tellTimes(readFileSync(noted, 'utf8').trim().split('\n'))

process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)
// A run in which nothing passed proves nothing.
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
