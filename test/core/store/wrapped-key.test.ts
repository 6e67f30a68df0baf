// A database key under two store keys: durable before it is counted on, and what no longer opens it is overwritten on the disk.

import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { wrapDatabaseKey } from '../../../src/core/store/key.ts'
import { readWrapped, settleWrapped, wrapBeside } from '../../../src/core/store/wrapped-key.ts'
import { recordDisk } from '../../support/recorded-disk.ts'
import { codeOf, digestsUnder, failureOf, makeState, modeOf } from './samples.ts'

const [FORMER, LATER, STRANGE] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2), Buffer.alloc(32, 3)]
const DATABASE_KEY = randomBytes(32)

/** The layer is the process's: one test after the other. */
const scene = (t: ExecutionContext) => {
  const folder = join(makeState(t), 'keys')
  mkdirSync(folder)
  const disk = recordDisk(folder)
  t.teardown(disk.release)
  const crash = (): string => {
    const after = join(makeState(t), 'keys')
    mkdirSync(after)
    disk.crash(after)
    return join(after, 'key')
  }
  const path = join(folder, 'key')
  writeFileSync(path, wrapDatabaseKey(FORMER, DATABASE_KEY), { mode: 0o600, flush: true })
  return { folder, path, disk, crash }
}

test.serial(
  'beside the key that there is, the new one is on the disk when it is acknowledged, for its owner alone',
  t => {
    const { path, crash } = scene(t)
    const umask = process.umask(0)
    t.teardown(() => void process.umask(umask))
    wrapBeside(path, DATABASE_KEY, LATER)
    process.umask(umask)
    t.is(modeOf(`${path}.next`), '600')
    for (const place of [path, crash()])
      for (const storeKey of [FORMER, LATER]) t.deepEqual(readWrapped(storeKey, place), DATABASE_KEY)
    t.throws(() => wrapBeside(path, DATABASE_KEY, STRANGE), { code: 'EEXIST' })
    t.deepEqual(readWrapped(LATER, path), DATABASE_KEY, 'a change that is under way is not made over')
  },
)

test.serial('whoever only reads leaves both keys where they are', t => {
  const { folder, path } = scene(t)
  wrapBeside(path, DATABASE_KEY, LATER)
  const before = digestsUnder(folder)
  for (const storeKey of [FORMER, LATER]) readWrapped(storeKey, path)
  t.is(
    codeOf(() => readWrapped(STRANGE, path)),
    'wrong-store-key',
  )
  t.deepEqual(digestsUnder(folder), before)
})

test.serial('the later key takes the place of the former one, which is overwritten first', t => {
  const { path, disk, crash } = scene(t)
  wrapBeside(path, DATABASE_KEY, LATER)
  const from = disk.changes.length
  t.deepEqual(settleWrapped(LATER, path), DATABASE_KEY)
  t.deepEqual(disk.changes.slice(from), ['zero key', 'fsync key', 'rename key.next key', 'fsync .'])
  t.deepEqual(readWrapped(LATER, crash()), DATABASE_KEY)
  t.is(
    codeOf(() => readWrapped(FORMER, path)),
    'wrong-store-key',
  )
})

test.serial('a change that was given up leaves the former key, and the later one is overwritten', t => {
  const { path, disk, crash } = scene(t)
  wrapBeside(path, DATABASE_KEY, LATER)
  const from = disk.changes.length
  t.deepEqual(settleWrapped(FORMER, path), DATABASE_KEY)
  t.deepEqual(disk.changes.slice(from), ['zero key.next', 'fsync key.next', 'rm key.next', 'fsync .'])
  t.false(existsSync(`${crash()}.next`))
  const settled = disk.changes.length
  t.deepEqual(settleWrapped(FORMER, path), DATABASE_KEY)
  t.is(disk.changes.length, settled, 'where there is one key nothing is changed')
})

test.serial('a key that opens nothing settles nothing, and half a key beside the whole one counts for nothing', t => {
  const { folder, path } = scene(t)
  writeFileSync(`${path}.next`, wrapDatabaseKey(LATER, DATABASE_KEY).subarray(0, 40))
  const before = digestsUnder(folder)
  for (const storeKey of [LATER, STRANGE]) {
    const failure = failureOf(() => settleWrapped(storeKey, path))
    t.is(failure?.code, 'wrong-store-key')
    t.true(failure?.message.startsWith(`${path} `), 'the key that stands there is named, not the one beside it')
  }
  t.deepEqual(digestsUnder(folder), before)
  t.deepEqual(settleWrapped(FORMER, path), DATABASE_KEY)
  t.false(existsSync(`${path}.next`))
})

test.serial('a key that is gone or damaged has its name, and the one beside it still opens', t => {
  const { path } = scene(t)
  const whole = readFileSync(path)
  writeFileSync(path, whole.with(40, (whole[40] ?? 0) ^ 1))
  t.is(
    codeOf(() => readWrapped(FORMER, path)),
    'store-corrupt',
  )
  wrapBeside(path, DATABASE_KEY, LATER)
  t.deepEqual(settleWrapped(LATER, path), DATABASE_KEY)
  const absent = join(path, '..', 'none')
  t.regex(failureOf(() => readWrapped(FORMER, absent))?.message ?? '', /none is gone$/)
})
