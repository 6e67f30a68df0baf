// What was written is on the disk when it is said to be: over a disk that loses what was not synced, fails, or writes in pieces.

import fs, {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { switchFeature } from '../../src/service/features-file.ts'
import { writeDurably } from '../../src/service/files.ts'
import { lockStateFolder } from '../../src/service/lock.ts'
import { openSealed, seal } from '../../src/service/sealed-credential.ts'
import { recordDisk } from '../support/recorded-disk.ts'

/** A disk of its own, and a folder for what a crash would leave of it. */
const prepare = (t: ExecutionContext) => {
  const folder = mkdtempSync(join(tmpdir(), 'durable-'))
  const root = join(folder, 'root')
  mkdirSync(root)
  const disk = recordDisk(root)
  t.teardown(() => {
    disk.release()
    rmSync(folder, { recursive: true })
  })
  let crashes = 0
  const leftByCrash = (): string => {
    const left = join(folder, `crash-${++crashes}`)
    mkdirSync(left)
    disk.crash(left)
    return left
  }
  return { root, disk, leftByCrash }
}

const openFiles = (): number => readdirSync('/proc/self/fd').length

test.serial('a file is synced before it takes its name, and its name before anybody is told', t => {
  const { root, disk, leftByCrash } = prepare(t)
  writeDurably(join(root, 'token'), 'first', 0o640)
  const beside = `.token.${process.pid}.new`
  t.deepEqual(disk.changes, [`write ${beside}`, `fsync ${beside}`, `rename ${beside} token`, 'fsync .'])
  const left = leftByCrash()
  t.is(readFileSync(join(left, 'token'), 'utf8'), 'first')
  t.is(statSync(join(left, 'token')).mode & 0o777, 0o640)
})

test.serial('a disk that fails leaves the old file, names the new one, and holds nothing open', t => {
  const { root, disk } = prepare(t)
  const path = join(root, 'token')
  writeDurably(path, 'first', 0o600)
  const before = openFiles()
  for (const change of [/^write/, /^fsync \.token/, /^rename/]) {
    disk.failAt(change)
    const error = t.throws(() => writeDurably(path, 'second', 0o600), { code: 'EIO' }, String(change))
    t.is(Reflect.get(error ?? {}, 'path'), path)
    t.is(readFileSync(path, 'utf8'), 'first')
    t.deepEqual(readdirSync(root), ['token'])
  }
  disk.failAt(/^fsync \.$/)
  t.throws(() => writeDurably(path, 'second', 0o600), { code: 'EIO' }, 'the name may be lost yet')
  t.is(openFiles(), before)
})

test.serial("what a process of the same pid left beside it is in nobody's way", t => {
  const { root } = prepare(t)
  writeFileSync(join(root, `.token.${process.pid}.new`), 'torn')
  writeDurably(join(root, 'token'), 'whole', 0o600)
  t.deepEqual(readdirSync(root), ['token'])
  t.is(readFileSync(join(root, 'token'), 'utf8'), 'whole')
})

test.serial('a file has the mode that was asked for, whatever the umask of this process', t => {
  const { root } = prepare(t)
  const umask = process.umask(0o077)
  try {
    writeDurably(join(root, 'shared'), '', 0o664)
  } finally {
    process.umask(umask)
  }
  t.is(statSync(join(root, 'shared')).mode & 0o777, 0o664)
})

test.serial('a write that takes a part of it is gone on with', t => {
  const { root } = prepare(t)
  const { writeSync } = fs
  const inPieces = (fd: number, bytes: Uint8Array, offset = 0): number =>
    writeSync(fd, bytes, offset, Math.min(3, bytes.length - offset))
  Object.assign(fs, { writeSync: inPieces })
  syncBuiltinESMExports()
  try {
    writeDurably(join(root, 'token'), 'ten bytes.', 0o600)
  } finally {
    Object.assign(fs, { writeSync })
    syncBuiltinESMExports()
  }
  t.is(readFileSync(join(root, 'token'), 'utf8'), 'ten bytes.')
})

test.serial('a feature that was switched on or off is so after a crash, too', t => {
  const { root, leftByCrash } = prepare(t)
  const surroundings = { hostname: 'ghe.example.com', findUser: () => 0, findGroup: () => 0 }
  const context = { configFile: join(root, 'config.toml'), surroundings }
  writeDurably(context.configFile, '', 0o644)
  const allow = { users: [], groups: [], units: [] }
  switchFeature('server-statistics', { allow }, context)
  t.regex(readFileSync(join(leftByCrash(), 'config.features.toml'), 'utf8'), /server-statistics/)
  switchFeature('server-statistics', undefined, context)
  t.deepEqual(readdirSync(leftByCrash()), ['config.toml'])
})

test.serial('a sealed key is synced before it takes its name, which is never without a file', t => {
  const { root, disk, leftByCrash } = prepare(t)
  // Sealed to nothing, so that no secret of this machine is touched.
  const credential = { path: join(root, 'store.key'), name: 'store.key', withKey: 'tpm2-absent' }
  seal(Buffer.from('first'), credential, 0)
  const before = disk.changes.length
  disk.onChange(change => t.true(existsSync(credential.path), change))
  seal(Buffer.from('second'), credential, 0)
  const beside = `store.key.${process.pid}.new`
  const lost = 'store.key.lost-19700101T000000Z'
  t.deepEqual(disk.changes.slice(before), [
    `fsync ${beside}`,
    `link store.key ${lost}`,
    `rename ${beside} store.key`,
    'fsync .',
  ])
  const left = leftByCrash()
  t.deepEqual(readdirSync(left).toSorted(), ['store.key', lost])
  t.is(String(openSealed({ ...credential, path: join(left, 'store.key') })), 'second')
  t.is(String(openSealed({ ...credential, path: join(left, lost) })), 'first')
})

test.serial('a full disk is no reason not to start: the pid in the lock is for messages alone', t => {
  const { root, disk } = prepare(t)
  disk.failAt(/^write lock$/)
  const lock = lockStateFolder(root)
  t.throws(() => lockStateFolder(root), { code: 'state-in-use', message: `${root} is held by another process` })
  lock.release()
})
