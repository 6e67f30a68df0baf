// Files that the configuration names: read whole or explained, with the command that opens them, and nothing hangs.

import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { explainUnreadable, readNamedFile } from '../../src/service/named-file.ts'
import { actAs } from '../../src/service/process.ts'
import { thrownBy } from '../support/fakes.ts'

const folder = mkdtempSync(join(tmpdir(), 'named-file-'))
chmodSync(folder, 0o755)
test.after.always(() => rmSync(folder, { recursive: true }))

const at = (name: string): string => join(folder, name)
const put = (name: string, content: string, mode = 0o644): string => {
  writeFileSync(at(name), content)
  chmodSync(at(name), mode)
  return at(name)
}
const complaint = (path: string): string | undefined => {
  const failure = thrownBy(() => readNamedFile(path))
  return failure?.code === 'configuration' ? failure.message : failure?.code
}

test.serial('what cannot be read is told, and keeps no descriptor', t => {
  symlinkSync('loop', at('loop'))
  put('file', 'x')
  put('large', '')
  truncateSync(at('large'), 8 * 2 ** 20 + 1)
  const before = readdirSync('/proc/self/fd').length
  t.is(complaint(at('absent')), `${at('absent')} does not exist`)
  t.is(complaint(at('file/below')), `${at('file/below')} does not exist`)
  t.is(complaint(at('loop')), `${at('loop')} cannot be read (ELOOP)`)
  t.is(complaint(folder), `${folder} is not a file`)
  t.is(complaint('/dev/null'), '/dev/null is not a file')
  t.is(complaint(at('large')), `${at('large')} is too large (8388609 bytes)`)
  t.is(readdirSync('/proc/self/fd').length, before)
})

test.serial('a file is read whole, up to 8 MiB', t => {
  t.is(readNamedFile(put('empty', '')).length, 0)
  t.is(String(readNamedFile(put('whole', 'a\u0000é\n'))), 'a\u0000é\n')
  put('most', 'begin')
  truncateSync(at('most'), 8 * 2 ** 20)
  const most = readNamedFile(at('most'))
  t.is(most.length, 8 * 2 ** 20)
  t.is(String(most.subarray(0, 5)), 'begin')
})

test.serial('a pipe in the place of a file does not hang whoever reads it', t => {
  execFileSync('mkfifo', [at('pipe')])
  // In a process of its own: one that hangs there can only be killed.
  const code = `
    import { readNamedFile } from '${join(import.meta.dirname, '../../src/service/named-file.ts')}'
    try { readNamedFile('${at('pipe')}') } catch (error) { console.log(error.message) }`
  const words = ['--input-type=module', '-e', code]
  const said = execFileSync(process.execPath, words, { encoding: 'utf8', timeout: 20_000 })
  t.is(said, `${at('pipe')} is not a file\n`)
})

test.serial('what is closed to this user is opened by the command that is told, a secret to it alone', async t => {
  if (process.getuid?.() !== 0) {
    t.pass('only root can act as another user')
    return
  }
  const path = put('closed', 'x', 0o600)
  const said = (secret: boolean): Promise<string | undefined> =>
    actAs({ uid: 65_534, gid: 65_534 }, async () => thrownBy(() => readNamedFile(path, { secret }))?.message)
  const closed = `${path} cannot be read by nobody (owner root:root, mode 0600); run: `
  t.is(await said(true), `${closed}chown nobody: ${path} && chmod 0600 ${path}`)
  t.is(await said(false), `${closed}chmod a+r ${path}`)
  chmodSync(path, 0o644)
  t.is(await said(false), undefined)
  t.is(explainUnreadable(path, { cause: new Error('x'), secret: false }), `${path} cannot be read (unknown)`)
})
