// The store key as the machine gives it, and the wrapped database keys.

import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import * as fc from 'fast-check'
import { readStoreKey, unwrapDatabaseKey, wrapDatabaseKey } from '../../src/store/key.ts'
import { codeOf, failureOf, makeState } from './samples.ts'

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
