// Growth of the process with the key shows in review: the committed list of what it can load is the present one.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'

const ROOT = resolve(import.meta.dirname, '..')

test('docs/core.modules.txt lists what the process with the key can load; node scripts/modules.ts prints it anew', t => {
  const listed = readFileSync(join(ROOT, 'docs/core.modules.txt'), 'utf8')
  t.is(execFileSync(process.execPath, ['scripts/modules.ts'], { cwd: ROOT, encoding: 'utf8' }), listed)
})

test('one node without a cluster loads at most 70 packages', t => {
  const lines = readFileSync(join(ROOT, 'docs/core.modules.txt'), 'utf8').split('\n')
  const single = lines.filter(line => line.startsWith('  package '))
  t.true(single.length > 10)
  t.true(single.length <= 70, `${single.length}`)
})
