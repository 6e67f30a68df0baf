// Reads TAP from standard input: prints what failed, whole, as it comes, a sign of life now and then, and last the counts.

import { createInterface } from 'node:readline'

const SIGN_EVERY = 100

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
process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)
// A run in which nothing passed proves nothing.
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
