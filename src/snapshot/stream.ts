// The body of an age file (its STREAM construction) by node:crypto: the library's own takes twenty times as long for a large bundle.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { roomFor } from './archive.ts'

/** https://c2sp.org/age#payload: 64 KiB chunks, each with a tag; the nonce of a chunk is its number and a mark on the last. */
const CHUNK = 64 * 1024
const TAG = 16
const NONCE = 16
const CIPHER = 'chacha20-poly1305'

/** `header`, then nonce and chunks, in one buffer with room around it: a whole age file. */
export const sealFile = (header: Uint8Array, fileKey: Uint8Array, plain: Uint8Array): Buffer => {
  const nonce = randomBytes(NONCE)
  const key = streamKey(fileKey, nonce)
  const chunks = Math.max(1, Math.ceil(plain.length / CHUNK))
  const body = roomFor(header.length + NONCE + plain.length + TAG * chunks)
  body.set(header)
  let offset = header.length
  offset += nonce.copy(body, offset)
  for (let number = 0; number < chunks; number++) {
    const cipher = createCipheriv(CIPHER, key, chunkNonce(number, number === chunks - 1), { authTagLength: TAG })
    offset += cipher.update(plain.subarray(number * CHUNK, (number + 1) * CHUNK)).copy(body, offset)
    offset += cipher.final().copy(body, offset)
    offset += cipher.getAuthTag().copy(body, offset)
  }
  return body
}

/** Throws an Error where anything was changed, cut off or added. */
export const openBody = (fileKey: Uint8Array, body: Uint8Array): Buffer => {
  // Not of the pool that all share: it bears secrets.
  const plain = Buffer.allocUnsafeSlow(Math.max(0, body.length - NONCE - TAG * countChunks(body)))
  let offset = 0
  for (const chunk of openChunks(fileKey, body)) offset += chunk.copy(plain, offset)
  return plain
}

/** Whether the body opens, and to this; without a second copy of a large one. */
export const opensTo = (plain: Uint8Array, fileKey: Uint8Array, body: Uint8Array): boolean => {
  let offset = 0
  for (const chunk of openChunks(fileKey, body)) {
    if (!chunk.equals(plain.subarray(offset, offset + chunk.length))) return false
    offset += chunk.length
  }
  return offset === plain.length
}

function* openChunks(fileKey: Uint8Array, body: Uint8Array): Generator<Buffer, void> {
  if (body.length < NONCE + TAG) throw new Error('the body is cut short')
  const key = streamKey(fileKey, body.subarray(0, NONCE))
  const sealed = body.subarray(NONCE)
  const chunks = countChunks(body)
  for (let number = 0; number < chunks; number++) {
    const chunk = sealed.subarray(number * (CHUNK + TAG), (number + 1) * (CHUNK + TAG))
    if (chunk.length < TAG || (chunk.length === TAG && number > 0)) throw new Error('the last chunk is empty')
    const decipher = createDecipheriv(CIPHER, key, chunkNonce(number, number === chunks - 1), { authTagLength: TAG })
    decipher.setAuthTag(chunk.subarray(-TAG))
    const plain = decipher.update(chunk.subarray(0, -TAG))
    decipher.final()
    yield plain
  }
}

const countChunks = (body: Uint8Array): number => Math.max(1, Math.ceil((body.length - NONCE) / (CHUNK + TAG)))

const streamKey = (fileKey: Uint8Array, nonce: Uint8Array): Buffer =>
  Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32))

/** 11 bytes of the chunk's number, big-endian, and one that is 1 in the last. */
const chunkNonce = (number: number, isLast: boolean): Buffer => {
  const nonce = Buffer.alloc(12)
  nonce.writeUIntBE(number, 5, 6)
  nonce[11] = isLast ? 1 : 0
  return nonce
}
