// Reads TAP from a file: prints what failed, whole, and as the last line the counts.

import { readFileSync } from 'node:fs'

const [file = ''] = process.argv.slice(2)
const text = readFileSync(file, 'utf8')

let passed = 0
let failed = 0
let skipped = 0
let failing = false
for (const line of text.split('\n')) {
  const [, not, , directive] = /^(not )?ok \d+ (.*?)(?: # (SKIP|TODO).*)?$/.exec(line) ?? []
  if (/^(not )?ok \d+/.test(line)) {
    failing = not !== undefined
    if (directive) skipped += 1
    else if (failing) failed += 1
    else passed += 1
  }
  if (failing || line.startsWith('Bail out')) process.stdout.write(`${line}\n`)
}
process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)
// A run in which nothing passed proves nothing.
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
