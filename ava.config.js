import { relative } from 'node:path'

/** Where daemons, browsers and machines are waited for: begun first, so that what only computes fills the gaps. */
// The attacks come first, beside what has no clock of its own to keep.
const WAITING = ['test/e2e/hostile.test.ts', 'test/e2e/', 'test/page/']

const rank = file => {
  const path = relative(import.meta.dirname, file)
  const found = WAITING.findIndex(folder => path.startsWith(folder))
  return found === -1 ? WAITING.length : found
}

export default {
  // Long runs are for scripts/night.
  files: ['test/**/*.test.ts', ...(process.env.NIGHT === 'true' ? [] : ['!test/night/**'])],
  extensions: ['ts'],
  workerThreads: false,
  require: ['./test/support/end.ts'],
  timeout: '120s',
  // One more than the two cores of a small machine, as half of a test's time is waiting.
  concurrency: 3,
  sortTestFiles: (a, b) => rank(a) - rank(b) || (a < b ? -1 : 1),
}
