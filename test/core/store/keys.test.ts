// The store key as the machine gives it, and the wrapped database keys: under two store keys, each is durable before it is counted on, and
// what no longer opens it is overwritten on the disk.

import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as fc from 'fast-check'
import {
  readStoreKey,
  readWrapped,
  settleWrapped,
  unwrapDatabaseKey,
  WITHOUT_RECOVERY_KEY,
  wrapBeside,
  wrapDatabaseKey,
} from '../../../src/core/store/keys.ts'
import { recordDisk } from '../../support/recorded-disk.ts'
import { codeOf, digestsUnder, failureOf, makeState, modeOf, openFilesBelow } from './samples.ts'

const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i * 7 + 3))

test('a store key is 32 raw bytes or 64 hexadecimal digits, with or without a newline', t => {
  const path = join(makeState(t), 'key')
  for (const content of [
    key,
    key.toString('hex'),
    `${key.toString('hex').toUpperCase()}\n`,
    `${key.toString('hex')}\r\n`,
  ]) {
    writeFileSync(path, content, { mode: 0o600 })
    t.deepEqual(readStoreKey({ keyFile: path, mayMake: true }), key)
    t.deepEqual(readStoreKey({ credential: Buffer.from(content) }), key)
  }
})

test('raw keys that happen to end in a newline are taken as they are', t => {
  const raw = Buffer.concat([key.subarray(0, 31), Buffer.from('\n')])
  t.deepEqual(readStoreKey({ credential: raw }), raw)
})

test('the credential comes before the file', t => {
  const path = join(makeState(t), 'key')
  writeFileSync(path, randomBytes(32), { mode: 0o600 })
  t.deepEqual(readStoreKey({ credential: key, keyFile: path }), key)
})

test('a key of another length is locked, and the detail says how to make one', t => {
  const path = join(makeState(t), 'key')
  const wrong = [
    '',
    'a',
    randomBytes(31),
    randomBytes(33),
    'ab'.repeat(16),
    'ab'.repeat(31),
    'g'.repeat(64),
    randomBytes(5000),
  ]
  for (const content of wrong) {
    writeFileSync(path, content, { mode: 0o600 })
    const failure = failureOf(() => readStoreKey({ keyFile: path, mayMake: true }))
    t.is(failure?.code, 'locked')
    t.regex(failure?.message ?? '', /openssl rand -out .*key 32/)
    t.is(
      codeOf(() => readStoreKey({ credential: Buffer.from(content) })),
      'locked',
    )
  }
})

test('an absent file, a folder or a pipe in its place is locked, and none is waited for', t => {
  const state = makeState(t)
  mkdirSync(join(state, 'folder'), { mode: 0o700 })
  execFileSync('mkfifo', ['-m', '600', join(state, 'pipe')])
  for (const name of ['absent', 'folder', 'pipe']) {
    const failure = failureOf(() => readStoreKey({ keyFile: join(state, name), mayMake: true }))
    t.is(failure?.code, 'locked')
    t.true(failure?.message.includes(join(state, name)))
  }
  t.is(
    codeOf(() => readStoreKey({})),
    'locked',
  )
  t.is(
    codeOf(() => readStoreKey({ keyFile: '', mayMake: true })),
    'locked',
  )
})

test('a key file that others may read is an error of the configuration', t => {
  const path = join(makeState(t), 'key')
  writeFileSync(path, key)
  for (const mode of [0o640, 0o604, 0o620, 0o601]) {
    chmodSync(path, mode)
    t.is(
      codeOf(() => readStoreKey({ keyFile: path, mayMake: true })),
      'configuration',
    )
  }
  chmodSync(path, 0o400)
  t.deepEqual(readStoreKey({ keyFile: path, mayMake: true }), key)
})

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(bytes => Buffer.from(bytes))

test('what is wrapped is unwrapped by its store key and by no other', t => {
  fc.assert(
    fc.property(bytes32, bytes32, bytes32, (storeKey, other, databaseKey) => {
      const wrapped = wrapDatabaseKey(storeKey, databaseKey)
      t.deepEqual(unwrapDatabaseKey(storeKey, wrapped, 'key'), databaseKey)
      if (!other.equals(storeKey))
        t.is(
          codeOf(() => unwrapDatabaseKey(other, wrapped, 'key')),
          'wrong-store-key',
        )
    }),
  )
})

test('a wrapped key with one bit flipped, cut or lengthened is damaged, not wrong', t => {
  fc.assert(
    fc.property(bytes32, fc.nat(), fc.nat(7), (databaseKey, at, bit) => {
      const wrapped = wrapDatabaseKey(key, databaseKey)
      const flipped = Buffer.from(wrapped)
      flipped[at % wrapped.length]! ^= 1 << bit
      t.is(
        codeOf(() => unwrapDatabaseKey(key, flipped, 'key')),
        'store-corrupt',
      )
      const cut = wrapped.subarray(0, at % wrapped.length)
      t.is(
        codeOf(() => unwrapDatabaseKey(key, cut, 'key')),
        'store-corrupt',
      )
      t.is(
        codeOf(() => unwrapDatabaseKey(key, Buffer.concat([wrapped, cut, key]), 'key')),
        'store-corrupt',
      )
    }),
  )
})

test('two wrappings of one key have nothing in common', t => {
  const [a, b] = [wrapDatabaseKey(key, key), wrapDatabaseKey(key, key)]
  t.notDeepEqual(a, b)
  t.false(a.includes(key))
})

test('what is advised makes a key only where no store is, and names `unlock` only where it could help', t => {
  const state = makeState(t)
  const short = join(state, 'short')
  writeFileSync(short, 'ab', { mode: 0o600 })
  mkdirSync(join(state, 'folder'))
  const circumstances = [
    [{ mayMake: true, mayUnlock: false }, /make one with `openssl rand -out (\S+) 32` and `chmod 600 \1`$/, undefined],
    [
      { mayUnlock: true },
      /bring back the key .* `ghconnect unlock --identity FILE` .* do not make a new key/,
      undefined,
    ],
    [{}, /bring back the key .* `ghconnect unlock --identity FILE` .* do not make a new key/, undefined],
    [
      { mayUnlock: false },
      /bring back the key that the store was made with; do not make a new key/,
      WITHOUT_RECOVERY_KEY,
    ],
  ] as const
  for (const [circumstance, advice, next] of circumstances)
    for (const source of [
      {},
      { credential: Buffer.from('x') },
      { keyFile: join(state, 'absent') },
      { keyFile: join(state, 'folder') },
      { keyFile: short },
    ]) {
      const failure = failureOf(() => readStoreKey({ ...source, ...circumstance }))
      t.is(failure?.code, 'locked')
      t.regex(failure?.message ?? '', advice)
      t.is(failure?.next, next ?? failure?.entry.next)
    }
})

test('what was found in place of a key is told by its length, and by none of its bytes', t => {
  const path = join(makeState(t), 'key')
  for (const [content, found] of [
    ['', 'is empty'],
    ['ab'.repeat(16), 'holds 32 hexadecimal digits'],
    ['secret text', 'holds 11 bytes'],
    ['x'.repeat(1025), 'holds too many bytes'],
  ] as const) {
    writeFileSync(path, content, { mode: 0o600 })
    for (const [source, from, file] of [
      [{ keyFile: path }, path, path],
      [{ credential: Buffer.from(content) }, 'the systemd credential store.key', 'FILE'],
    ] as const)
      t.is(
        failureOf(() => readStoreKey({ ...source, mayMake: true }))?.message,
        `${from} ${found} in place of 32 bytes or 64 hexadecimal digits; make one with \`openssl rand -out ${file} 32\` and \`chmod 600 ${file}\``,
      )
  }
})

test('a key file that cannot be read is no absent one, and none is held open', t => {
  const state = makeState(t)
  symlinkSync('loop', join(state, 'loop'))
  const failure = failureOf(() => readStoreKey({ keyFile: join(state, 'loop'), mayMake: true }))
  t.is(failure?.code, 'locked')
  t.regex(failure?.message ?? '', /loop cannot be read; `sudo ghconnect config check` prints the command/)
  const path = join(state, 'key')
  writeFileSync(path, key, { mode: 0o600 })
  readStoreKey({ keyFile: path })
  chmodSync(path, 0o644)
  t.regex(failureOf(() => readStoreKey({ keyFile: path }))?.message ?? '', /open to others; run `chmod 600 /)
  t.deepEqual(openFilesBelow(state), [])
})

test('a wrapped key of a later format is damaged for this program, and not under a wrong key', t => {
  const body = wrapDatabaseKey(key, key).subarray(0, -32)
  body[15] = '2'.charCodeAt(0)
  const later = Buffer.concat([body, createHash('sha256').update(body).digest()])
  const failure = failureOf(() => unwrapDatabaseKey(key, later, 'store/1/key'))
  t.is(failure?.code, 'store-corrupt')
  t.is(failure?.message, 'store/1/key is a wrapped key of an unknown format')
})

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
