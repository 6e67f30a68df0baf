// The list of planted bugs stays good: each place is there once, each test file exists, and operators make mutants that fit.

import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'
import { PLANTED } from './mutants/planted.ts'
import { mutantIn, plantIn, sourcesOf, testsFor } from './support/mutation.ts'
import { createSeeded } from './support/seeded.ts'

const ROOT = resolve(import.meta.dirname, '..')
const sourceOf = (file: string): string => readFileSync(join(ROOT, 'src', file), 'utf8')

test('each planted bug has one place in its file, changes it, and names a test that there is', t => {
  t.is(new Set(PLANTED.map(({ file, what }) => `${file}: ${what}`)).size, PLANTED.length)
  for (const mutant of PLANTED) {
    const text = sourceOf(mutant.file)
    t.not(plantIn(text, mutant), text, mutant.what)
    const tests = testsFor(ROOT, mutant)
    t.true(tests.length > 0, mutant.what)
    for (const name of tests) t.true(existsSync(join(ROOT, name)), name)
  }
})

test('a place that is not there, or not the only one, is an error', t => {
  const mutant = { file: 'a.ts', what: 'x', find: 'b', put: 'c' }
  t.throws(() => plantIn('a', mutant), { message: /not there/ })
  t.throws(() => plantIn('bab', mutant), { message: /not the only one/ })
  t.is(plantIn('aba', mutant), 'aca')
})

test('operators make a mutant of one place, the same one for the same seed', t => {
  for (const file of sourcesOf(ROOT, ['core/connection', 'core/store'])) {
    const text = sourceOf(file)
    const made = mutantIn(text, file, createSeeded(3))
    if (!made) continue
    t.not(plantIn(text, made), text, made.what)
    t.deepEqual(mutantIn(text, file, createSeeded(3)), made)
  }
  t.is(mutantIn('// a && b\n', 'x.ts', createSeeded(1)), undefined)
})

test('the tests of a file come before those of its room, and those before the end-to-end ones', t => {
  const tests = testsFor(ROOT, { file: 'core/connection/disable.ts', what: '', find: '', put: '' })
  const at = (name: string): number => tests.findIndex(path => path.startsWith(name))
  t.is(at('test/core/connection/disable.test.ts'), 0)
  t.true(at('test/core/connection/import.test.ts') > 0)
  t.true(at('test/e2e/') > at('test/core/connection/walk.test.ts'))
})
