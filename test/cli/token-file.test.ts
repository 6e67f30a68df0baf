// A token file that cannot be replaced is refused before anything starts, with path, cause and a way out.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { assertWritable, createTokenFile } from '../../src/cli/token-file.ts'
import { asFailure, Failure } from '../../src/protocol/errors.ts'
import { writeDurably } from '../../src/service/files.ts'

const folderOf = (t: { teardown(task: () => void): void }): string => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-token file-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('a file that can be replaced passes, and nothing is left beside it', t => {
  const folder = folderOf(t)
  t.notThrows(() => createTokenFile(join(folder, 'token'), 0o600).check())
  t.deepEqual(readdirSync(folder), [])
})

test('a file that is a mount of its own, and one on a file system that is read-only, are refused', t => {
  const folder = folderOf(t)
  const [mounted, sealed] = [join(folder, 'token'), join(folder, 'sealed')]
  writeFileSync(join(folder, 'other'), '')
  writeFileSync(mounted, '')
  mkdirSync(sealed)
  execFileSync('mount', ['--bind', join(folder, 'other'), mounted])
  t.teardown(() => execFileSync('umount', [mounted]))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', sealed])
  t.teardown(() => execFileSync('umount', [sealed]))
  const refusal = (path: string): string => {
    const failure = t.throws(() => createTokenFile(path, 0o600).check(), { instanceOf: Failure })
    t.is(failure.code, 'configuration')
    t.true(failure.message.startsWith(`${path}: `), failure.message)
    return failure.message
  }
  const ofOutput = (path: string): string => {
    const failure = t.throws(() => assertWritable(path), { instanceOf: Failure })
    t.is(failure.code, 'io')
    t.true(failure.message.startsWith(`--output ${path}: `), failure.message)
    return failure.message
  }
  t.regex(ofOutput(mounted), /mount of its own.*mount the folder .* instead/)
  t.regex(ofOutput(join(sealed, 'bundle')), /EROFS.*must own/)
  t.regex(refusal(mounted), /mount of its own.*mount the folder .* instead/)
  t.regex(refusal(join(sealed, 'token')), /EROFS.*must own/)
  t.regex(refusal(join(folder, 'absent', 'token')), /ENOENT/)
})

test('what a file system refuses is an error of I/O that names the path, and never an internal one', t => {
  for (const code of [
    'EBUSY',
    'EXDEV',
    'ETXTBSY',
    'ESTALE',
    'EROFS',
    'ENXIO',
    'ELOOP',
    'ENAMETOOLONG',
    'EDQUOT',
    'ENOSPC',
  ]) {
    const failure = asFailure(Object.assign(new Error(`${code}: refused, open '/a/token'`), { code, path: '/a/token' }))
    t.is(failure.code, code === 'EDQUOT' || code === 'ENOSPC' ? 'disk-full' : 'io', code)
    t.regex(failure.message, /\/a\/token/, code)
  }
})

test('a file system that fills up in the middle of a write is named by the path, which keeps its content', t => {
  const folder = folderOf(t)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder])
  t.teardown(() => execFileSync('umount', [folder]))
  const path = join(folder, 'bundle')
  writeDurably(path, 'former', 0o600)
  const thrown = t.throws(() => writeDurably(path, Buffer.alloc(100_000), 0o600))
  const failure = asFailure(thrown)
  t.is(failure.code, 'disk-full')
  t.is(failure.message, `${path}: no space left on the device`)
  t.is(readFileSync(path, 'utf8'), 'former')
  t.deepEqual(readdirSync(folder), ['bundle'])
})

test('a quota that is used up is not called a full device, and an error without a path in its words gets it', t => {
  const of = (code: string) =>
    asFailure(Object.assign(new Error(`${code}: refused, write`), { code, path: '/a/token' }))
  t.is(of('EDQUOT').message, "/a/token: this user's disk quota is used up")
  t.is(of('EIO').message, '/a/token: EIO: refused, write')
})
