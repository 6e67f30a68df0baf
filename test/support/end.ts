// Each test process, once its tests are over: what a test left open keeps nobody waiting, and is a failure of its own. Notes how long it took.

import { appendFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import test, { registerCompletionHandler } from 'ava'

const PATIENCE_MS = 10_000
const ROOT = resolve(import.meta.dirname, '../..')

registerCompletionHandler(() => {
  const times = process.env['TEST_TIMES']
  const file = relative(ROOT, fileURLToPath(test.meta.file))
  if (times !== undefined) appendFileSync(times, `${Math.round(performance.now())} ${file}\n`)
  setTimeout(() => {
    process.stderr.write(`A test left open: ${process.getActiveResourcesInfo().join(', ')}\n`)
    process.exit(1)
  }, PATIENCE_MS).unref()
})
