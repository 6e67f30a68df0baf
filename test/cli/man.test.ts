// The manual page: all of the program is in it, and troff takes every line.

import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import { COMMANDS } from '../../src/cli/commands.ts'
import { manPage } from '../../src/cli/man.ts'
import { CATALOGUE } from '../../src/protocol/errors.ts'

const page = manPage(COMMANDS, '1.2.3')

test('each command, option and exit code is in the page', t => {
  const plain = page.replaceAll('\\-', '-')
  for (const { name, options } of COMMANDS) {
    t.true(plain.includes(`.SS ghconnect ${name}`), name)
    for (const flags of Object.keys(options ?? {})) t.true(plain.includes(`\\fB${flags.split(' ')[0]}\\fR`), flags)
  }
  for (const { exit } of Object.values(CATALOGUE)) t.true(plain.includes(`.B ${exit}\n`), String(exit))
})

test('every line is text, a known macro, or empty', t => {
  const macro = /^\.(TH|SH|SS|TP|PP|B|nf|fi|RS|RE)( |$)/
  for (const line of page.split('\n')) t.true(macro.test(line) || !/^[.']/.test(line), line)
  for (const line of page.split('\n')) t.notRegex(line.replaceAll(/\\(-|e|&|f[BIR])/g, ''), /\\/)
})

const groff = ((): boolean => {
  try {
    execFileSync('groff', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

// Debian's base system has no groff; scripts/test does not need it for anything else.
const troffTest = groff ? test : undefined
troffTest?.('troff has nothing to warn of', async t => {
  const running = promisify(execFile)('groff', ['-man', '-Tascii', '-ww', '-z'])
  running.child.stdin?.end(page)
  t.is((await running).stderr, '')
})
