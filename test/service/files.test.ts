import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { syncFolder, writeDurably } from '../../src/service/files.ts'

const makeFolder = (t: ExecutionContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'files-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

test('a file is written whole, with its mode, over an older one, and nothing is left beside it', t => {
  const folder = makeFolder(t)
  const path = join(folder, 'token')
  writeDurably(path, 'first', 0o600)
  chmodSync(path, 0o644)
  writeDurably(path, Buffer.from([0, 255]), 0o600)
  t.deepEqual(readFileSync(path), Buffer.from([0, 255]))
  t.is(statSync(path).mode & 0o777, 0o600)
  t.deepEqual(readdirSync(folder), ['token'])
})

test('a link is replaced, not followed', t => {
  const folder = makeFolder(t)
  const elsewhere = join(folder, 'elsewhere')
  writeFileSync(elsewhere, 'untouched')
  symlinkSync(elsewhere, join(folder, 'token'))
  writeDurably(join(folder, 'token'), 'new', 0o600)
  t.is(readFileSync(elsewhere, 'utf8'), 'untouched')
  t.is(readFileSync(join(folder, 'token'), 'utf8'), 'new')
})

test('where it cannot be put in place the old one stays, and nothing is left beside it', t => {
  const folder = makeFolder(t)
  mkdirSync(join(folder, 'taken', 'full'), { recursive: true })
  t.throws(() => writeDurably(join(folder, 'taken'), 'new', 0o600), { code: 'EISDIR' })
  t.throws(() => writeDurably(join(folder, 'absent', 'x'), 'new', 0o600), { code: 'ENOENT' })
  t.deepEqual(readdirSync(folder), ['taken'])
})

test('whoever reads meanwhile sees the old content or the new, never a part', async t => {
  const folder = makeFolder(t)
  const path = join(folder, 'token')
  const room = join(import.meta.dirname, '../../src/service/files.ts')
  writeDurably(path, 'a'.repeat(50_000), 0o600)
  const code = `
    import { writeDurably } from ${JSON.stringify(room)}
    for (let i = 0; i < 30; i++) writeDurably(${JSON.stringify(path)}, (i % 2 ? 'a' : 'b').repeat(50_000), 0o600)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'inherit' })
  const exit = once(child, 'exit')
  const seen = new Set<string>()
  while (child.exitCode === null) {
    const text = readFileSync(path, 'utf8')
    seen.add(`${text.length}${[...new Set(text)].join('')}`)
    await new Promise(resolve => setImmediate(resolve))
  }
  t.deepEqual(await exit, [0, null])
  t.deepEqual(
    [...seen].filter(one => one !== '50000a' && one !== '50000b'),
    [],
  )
})

test('only a folder can be made durable as one', t => {
  const folder = makeFolder(t)
  writeFileSync(join(folder, 'file'), '')
  t.notThrows(() => syncFolder(folder))
  t.throws(() => syncFolder(join(folder, 'file')), { code: 'ENOTDIR' })
})
