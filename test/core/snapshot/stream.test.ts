// The body of an age file: the same as the library's and as stock age's, at each edge of a chunk, and shut to any change.

import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { Decrypter, Encrypter } from 'age-encryption'
import test from 'ava'
import { createRecoveryKey, decryptWith, encryptTo } from '../../../src/core/snapshot/encryption.ts'
import { openBody, sealFile } from '../../../src/core/snapshot/stream.ts'

const sealBody = (key: Uint8Array, plain: Uint8Array): Buffer => sealFile(new Uint8Array(), key, plain).file
const CHUNK = 64 * 1024
const SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK + 17]
const sampleOf = (size: number): Buffer => Buffer.alloc(size, createHash('sha256').update(String(size)).digest())

test('the library opens what is written here, and what it writes opens here, at each edge of a chunk', async t => {
  const { identity, recipient } = await createRecoveryKey()
  for (const size of SIZES) {
    const plain = sampleOf(size)
    const theirs = new Decrypter()
    theirs.addIdentity(identity.reveal())
    t.deepEqual(Buffer.from(await theirs.decrypt(await encryptTo([recipient], plain))), plain, `written ${size}`)
    const encrypter = new Encrypter()
    encrypter.addRecipient(recipient)
    t.deepEqual(Buffer.from(await decryptWith([identity], await encrypter.encrypt(plain))), plain, `read ${size}`)
  }
})

test('stock age opens it, and writes the same', async t => {
  const { identity, recipient } = await createRecoveryKey()
  const input = (bytes: Uint8Array) => ({ input: bytes, stdio: 'pipe', maxBuffer: 2 ** 24 }) as const
  for (const size of SIZES) {
    const plain = sampleOf(size)
    const opened = execFileSync(
      'sh',
      ['-c', 'f=$(mktemp); echo "$0" > $f; age -d -i $f; rm $f', identity.reveal()],
      input(await encryptTo([recipient], plain)),
    )
    t.deepEqual(opened, plain, `written ${size}`)
    const sealed = execFileSync('age', ['-r', recipient], input(plain))
    t.deepEqual(Buffer.from(await decryptWith([identity], sealed)), plain, `read ${size}`)
  }
})

test('a body that was cut, extended, flipped or put in another order never opens', t => {
  const key = randomBytes(16)
  const body = sealBody(key, sampleOf(2 * CHUNK + 100))
  const sealed = CHUNK + 16
  t.deepEqual(openBody(key, body), sampleOf(2 * CHUNK + 100))
  const first = body.subarray(16, 16 + sealed)
  const second = body.subarray(16 + sealed, 16 + 2 * sealed)
  const rest = body.subarray(16 + 2 * sealed)
  const wrong: Record<string, Uint8Array> = {
    'without its last chunk': body.subarray(0, -rest.length),
    'without its last byte': body.subarray(0, -1),
    'with a byte more': Buffer.concat([body, Buffer.alloc(1)]),
    'with an empty chunk more': Buffer.concat([body, Buffer.alloc(16)]),
    'with the chunks exchanged': Buffer.concat([body.subarray(0, 16), second, first, rest]),
    'with a chunk twice': Buffer.concat([body.subarray(0, 16), first, first, second, rest]),
    'with another nonce': Buffer.concat([randomBytes(16), body.subarray(16)]),
    'nothing but a nonce': body.subarray(0, 16),
    empty: new Uint8Array(),
  }
  for (const [what, bytes] of Object.entries(wrong)) t.throws(() => openBody(key, bytes), { any: true }, what)
  for (let at = 0; at < body.length; at += 997) {
    const copy = Buffer.from(body)
    copy[at] = (copy[at] ?? 0) ^ 1
    t.throws(() => openBody(key, copy), { any: true }, `flipped at ${at}`)
  }
  t.throws(() => openBody(randomBytes(16), body), { any: true }, 'another key')
  const whole = sealBody(key, sampleOf(CHUNK))
  t.throws(() => openBody(key, Buffer.concat([whole, sealBody(key, Buffer.alloc(0)).subarray(16)])), { any: true })
})

test('a file that takes the place of what it was sealed from is a whole one, and nothing behind it is touched', t => {
  const key = randomBytes(16)
  const header = Buffer.from('a header\n')
  for (const size of SIZES) {
    for (const spare of [0, 1, 4096]) {
      const sealedSize = header.length + 16 + size + 16 * Math.max(1, Math.ceil(size / CHUNK))
      const memory = Buffer.alloc(spare + sealedSize + 100, 0xaa)
      const place = memory.subarray(0, spare + sealedSize)
      const plain = place.subarray(place.length - size)
      plain.set(sampleOf(size))
      const { file, sha256 } = sealFile(header, key, plain, place)
      t.is(sha256, createHash('sha256').update(file).digest('hex'))
      t.is(file.buffer, memory.buffer)
      t.deepEqual(openBody(key, file.subarray(header.length)), sampleOf(size), `size ${size}, ${spare} to spare`)
      t.true(file.subarray(0, header.length).equals(header))
      t.true(memory.subarray(place.length).every(byte => byte === 0xaa))
      t.true(memory.subarray(0, spare).every(byte => byte === 0xaa))
    }
    const narrow = Buffer.alloc(size + 8)
    narrow.set(sampleOf(size), 8)
    const { file } = sealFile(header, key, narrow.subarray(8), narrow)
    t.not(file.buffer, narrow.buffer)
    t.deepEqual(openBody(key, file.subarray(header.length)), sampleOf(size))
    t.deepEqual(narrow.subarray(8), sampleOf(size), 'with too little room it stays as it was')
  }
})
