// Each test process, once its tests are over: what a test left open keeps nobody waiting, and is a failure of its own.

import { registerCompletionHandler } from 'ava'

const PATIENCE_MS = 10_000

registerCompletionHandler(() => {
  setTimeout(() => {
    process.stderr.write(`A test left open: ${process.getActiveResourcesInfo().join(', ')}\n`)
    process.exit(1)
  }, PATIENCE_MS).unref()
})
