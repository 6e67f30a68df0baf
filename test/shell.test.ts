// Each shell file of the repository passes shellcheck, and those that are run say in their first lines what they are.

import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'

const ROOT = resolve(import.meta.dirname, '..')

const isShell = (path: string): boolean => {
  if (!statSync(path).isFile()) return false
  const [first = '', second = ''] = readFileSync(path, 'latin1').slice(0, 300).split('\n')
  return /^#!.*\b(?:ba)?sh$/.test(first) || [first, second].some(line => line.startsWith('# shellcheck shell='))
}

/** What git knows or is about to: no results of builds, no installed packages. */
const FILES = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT })
  .toString()
  .split('\0')
  .filter(path => path !== '' && !path.endsWith('.ts'))
  .filter(path => statSync(join(ROOT, path), { throwIfNoEntry: false }) && isShell(join(ROOT, path)))

test('the shell files are found', t => {
  for (const path of ['scripts/test', 'scripts/backup-utils/common.sh', 'docs/examples/backup/restic.sh']) {
    t.true(FILES.includes(path), path)
  }
  t.true(FILES.length > 20, `${FILES.length}`)
})

test('shellcheck has nothing to say', t => {
  // `--external-sources`: a file that is sourced is looked into, so that what it defines is known.
  const args = ['--external-sources', '--format=gcc', ...FILES]
  t.notThrows(() => execFileSync('shellcheck', args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] }))
})

test('each program says below its first line what it is for', t => {
  for (const path of FILES) {
    const [first = '', second = ''] = readFileSync(join(ROOT, path), 'utf8').split('\n')
    if (first.startsWith('#!')) t.regex(second, /^# \S.{20,}/, path)
  }
})
