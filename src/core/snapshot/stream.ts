// The body of an age file (its STREAM construction) by node:crypto: the library's own takes twenty times as long for a large bundle.

import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import { giveBack } from '../../service/memory.ts'

/** https://c2sp.org/age#payload: 64 KiB chunks, each with a tag; the nonce of a chunk is its number and a mark on the last. */
const CHUNK = 64 * 1024
const TAG = 16
const NONCE = 16
const CIPHER = 'chacha20-poly1305'

/** `sha256`: of the file, in hexadecimal. */
export type Sealed = { readonly file: Buffer; readonly sha256: string }

/**
 * A whole age file: `header`, then nonce and chunks. Each chunk is opened again where it lies before the next is sealed; throws an Error
 * where it opens to anything else. The file takes the end of `place`, if it is large enough. That may be the end of `plain` too: what is
 * written lies before what is still to be read.
 */
export const sealFile = (header: Uint8Array, fileKey: Uint8Array, plain: Uint8Array, place?: Buffer): Sealed => {
  const nonce = randomBytes(NONCE)
  const key = streamKey(fileKey, nonce)
  const chunks = Math.max(1, Math.ceil(plain.length / CHUNK))
  const size = header.length + NONCE + plain.length + TAG * chunks
  const file = place && place.length >= size ? place.subarray(-size) : Buffer.allocUnsafeSlow(size)
  const scratch = Buffer.allocUnsafeSlow(Math.min(CHUNK, plain.length))
  let offset = 0
  const hash = createHash('sha256')
  const put = (bytes: Uint8Array): void => {
    file.set(bytes, offset)
    offset += bytes.length
  }
  put(header)
  put(nonce)
  hash.update(file.subarray(0, offset))
  for (let number = 0; number < chunks; number++) {
    const start = offset
    const chunk = scratch.subarray(0, Math.min(CHUNK, plain.length - number * CHUNK))
    chunk.set(plain.subarray(number * CHUNK, number * CHUNK + chunk.length))
    const mark = chunkNonce(number, number === chunks - 1)
    const cipher = createCipheriv(CIPHER, key, mark, { authTagLength: TAG })
    const sealed = cipher.update(chunk)
    put(sealed)
    giveBack(sealed)
    put(cipher.final())
    put(cipher.getAuthTag())
    const opened = openChunk(key, mark, file.subarray(start, offset))
    if (!opened.equals(chunk)) throw new Error(`chunk ${number} opens to something else`)
    giveBack(opened)
    // While the processor has it at hand: by itself the hash would take half as long again.
    hash.update(file.subarray(start, offset))
  }
  return { file, sha256: hash.digest('hex') }
}

/** Throws an Error where anything was changed, cut off or added. */
export const openBody = (fileKey: Uint8Array, body: Uint8Array): Buffer => {
  // Not of the pool that all share: it bears secrets.
  const plain = Buffer.allocUnsafeSlow(Math.max(0, body.length - NONCE - TAG * countChunks(body)))
  let offset = 0
  for (const chunk of openChunks(fileKey, body)) {
    offset += chunk.copy(plain, offset)
    giveBack(chunk)
  }
  return plain
}

function* openChunks(fileKey: Uint8Array, body: Uint8Array): Generator<Buffer, void> {
  if (body.length < NONCE + TAG) throw new Error('the body is cut short')
  const key = streamKey(fileKey, body.subarray(0, NONCE))
  const sealed = body.subarray(NONCE)
  const chunks = countChunks(body)
  for (let number = 0; number < chunks; number++) {
    const chunk = sealed.subarray(number * (CHUNK + TAG), (number + 1) * (CHUNK + TAG))
    if (chunk.length < TAG || (chunk.length === TAG && number > 0)) throw new Error('the last chunk is empty')
    yield openChunk(key, chunkNonce(number, number === chunks - 1), chunk)
  }
}

/** In memory of its own. */
const openChunk = (key: Uint8Array, nonce: Uint8Array, chunk: Uint8Array): Buffer => {
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG })
  decipher.setAuthTag(chunk.subarray(-TAG))
  const plain = decipher.update(chunk.subarray(0, -TAG))
  decipher.final()
  return plain
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
