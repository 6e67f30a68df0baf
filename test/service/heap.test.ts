// The collector's flags: V8 keeps compiled code for the flags that it was made with, and Node's own was made with none.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test, { type ExecutionContext } from 'ava'

const ROOT = resolve(import.meta.dirname, '../..')
const SOURCE = 'const twice = n => n * 2; twice(21)'

/** Whether a process with these flags takes code that was compiled by one without, after it has run `before`. */
const takesCode = (t: ExecutionContext, flags: readonly string[], before = ''): boolean => {
  const folder = mkdtempSync(join(tmpdir(), 'heap-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'code')
  const made = `require('node:fs').writeFileSync(process.argv[1], new (require('node:vm').Script)(process.argv[2]).createCachedData())`
  t.is(spawnSync(process.execPath, ['-e', made, file, SOURCE]).status, 0)
  const program = join(folder, 'take.mjs')
  writeFileSync(
    program,
    `${before}
    import { readFileSync } from 'node:fs'
    import { Script } from 'node:vm'
    const { cachedDataRejected } = new Script(${JSON.stringify(SOURCE)}, { cachedData: readFileSync(${JSON.stringify(file)}) })
    console.log(cachedDataRejected)`,
  )
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, program], { encoding: 'utf8' })
  t.regex(stdout, /^(true|false)\n$/, stderr)
  return stdout === 'false\n'
}

test("no flag of the daemon's unit makes V8 compile Node's own code again", t => {
  const unit = readFileSync(join(ROOT, 'systemd/ghconnectd.service'), 'utf8')
  const [, flags = ''] = /^ExecStart=\S+\/node (.*) \S+\.cjs$/m.exec(unit) ?? []
  t.regex(flags, /--max-old-space-size=\d+/)
  t.true(takesCode(t, flags.split(' ')))
  t.false(takesCode(t, ['--heap-growing-percent=40']), 'where one does, it shows here')
})

test('V8 takes the flags of a daemon that has started', t => {
  const heap = join(ROOT, 'src/service/heap.ts')
  t.false(takesCode(t, [], `const { settleHeap } = await import(${JSON.stringify(heap)}); settleHeap();`))
})
