// A second demonstration on one checkout is refused, and leaves the first one's state alone.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'

const ROOT = resolve(import.meta.dirname, '../..')
const OWNER = join(ROOT, '.state', 'demo.pid')
const MARK = join(ROOT, '.state', 'demo', 'mark-of-the-first')

test('a second ./scripts/start names the process of the first and wipes nothing', t => {
  // Its command line is what a running demonstration has.
  const first = spawn('sleep', ['60'], { argv0: 'scripts/demo.ts', stdio: 'ignore' })
  t.teardown(() => {
    first.kill()
    for (const path of [OWNER, MARK]) rmSync(path, { force: true })
  })
  mkdirSync(join(ROOT, '.state', 'demo'), { recursive: true })
  writeFileSync(MARK, '')
  writeFileSync(OWNER, String(first.pid))
  const { stdout, status } = spawnSync(process.execPath, [join(ROOT, 'scripts', 'demo.ts'), '--once'], {
    encoding: 'utf8',
  })
  t.is(status, 70)
  t.true(stdout.includes(`runs already, as process ${first.pid}`), stdout)
  t.true(existsSync(MARK))
})
