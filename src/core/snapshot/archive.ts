// The tar that a bundle and its payload are: packed, around its largest file where there is room, and read back strictly. Owns tar.

import { createHash } from 'node:crypto'
import { Header } from 'tar/header'
import { Failure } from '../../protocol/errors.ts'

export type Entry = {
  readonly name: string
  readonly bytes: Uint8Array
  /** The bytes lie in a buffer of `roomFor`, which is theirs alone: an archive may be written around them, instead of copying them. */
  readonly isRoomy?: boolean
}

const BLOCK = 512
/** GNU tar warns of files from 1970. */
const MTIME = new Date(Date.UTC(2000, 0, 1))
/** Where a tar keeps the content of its first file. */
export const FIRST_CONTENT = BLOCK
/** For the other files of an archive on either side of the large one; where they need more, it is copied. */
const ROOM = 128 * 1024

/** `size` bytes, not cleared, with room on either side. Memory that is not written to is never had. */
export const roomFor = (size: number): Buffer => Buffer.allocUnsafeSlow(ROOM + size + ROOM).subarray(ROOM, ROOM + size)

/** Of plain files, in this order. At most one is roomy, and ends up in the archive that is returned. */
export const pack = (entries: readonly Entry[]): Buffer => {
  const total = entries.reduce((sum, { bytes }) => sum + BLOCK + padded(bytes.length), 2 * BLOCK)
  const archive = findRoom(entries, total) ?? Buffer.allocUnsafeSlow(total)
  let offset = 0
  for (const { name, bytes } of entries) {
    const start = offset + BLOCK
    const end = start + padded(bytes.length)
    writeBlock(archive.fill(0, offset, start), offset, { name, size: bytes.length })
    if (!isInPlace(bytes, archive, start)) archive.set(bytes, start)
    archive.fill(0, start + bytes.length, end)
    offset = end
  }
  return archive.fill(0, offset)
}

/** The part of the roomy file's buffer that the archive takes; undefined: there is no such file, or too little room. */
const findRoom = (entries: readonly Entry[], total: number): Buffer | undefined => {
  let before = BLOCK
  for (const { bytes, isRoomy } of entries) {
    const start = bytes.byteOffset - before
    if (isRoomy && start >= 0 && start + total <= bytes.buffer.byteLength)
      return Buffer.from(bytes.buffer, start, total)
    before += BLOCK + padded(bytes.length)
  }
  return undefined
}

const isInPlace = (bytes: Uint8Array, archive: Buffer, start: number): boolean =>
  bytes.buffer === archive.buffer && bytes.byteOffset === archive.byteOffset + start

const writeBlock = (archive: Buffer, offset: number, { name, size }: { name: string; size: number }): void => {
  const header = new Header({ path: name, type: 'File', mode: 0o600, uid: 0, gid: 0, size, mtime: MTIME })
  if (header.encode(archive, offset)) throw new Failure('internal', `${name} does not fit a plain tar header`)
}

const padded = (size: number): number => Math.ceil(size / BLOCK) * BLOCK

/** All memory up to the end of an archive that `pack` gave, which is its own. */
export const memoryBefore = ({ buffer, byteOffset, length }: Buffer): Buffer =>
  Buffer.from(buffer, 0, byteOffset + length)

/** SHA-256 in hexadecimal. */
export const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/**
 * Plain files of known names and sizes, each at most once, with the very bytes that `pack` writes: for one content there is one archive.
 * node-tar decodes the header blocks alone: its parser would decompress, follow extension headers and skip what it does not like.
 */
export function* unpack(
  bytes: Uint8Array,
  what: string,
  findLimit: (name: string) => number | undefined,
): Generator<Entry, undefined> {
  const archive = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const seen = new Set<string>()
  const expected = Buffer.alloc(BLOCK)
  let offset = 0
  for (;;) {
    if (offset + BLOCK > archive.length) throw corrupt(`${what} is cut short`)
    const block = archive.subarray(offset, offset + BLOCK)
    if (isZero(block)) break
    const { name, size } = readBlock(block, what)
    const limit = findLimit(name)
    if (limit === undefined) throw corrupt(`${what} holds ${quote(name)}, which has no place in it`)
    if (seen.has(name)) throw corrupt(`${what} holds ${name} twice`)
    if (size > limit) throw corrupt(`${name} has ${size} bytes, ${limit} are the most`)
    writeBlock(expected.fill(0), 0, { name, size })
    if (!block.equals(expected)) throw corrupt(`the header of ${name} in ${what} is not as ghconnectd writes it`)
    seen.add(name)
    const start = offset + BLOCK
    offset = start + padded(size)
    if (offset > archive.length) throw corrupt(`${what} is cut short within ${name}`)
    if (!isZero(archive.subarray(start + size, offset))) throw corrupt(`${what} hides bytes after ${name}`)
    yield { name, bytes: archive.subarray(start, start + size) }
  }
  const rest = archive.subarray(offset)
  if (rest.length < 2 * BLOCK) throw corrupt(`the end of ${what} is cut short`)
  if (rest.length > 2 * BLOCK || !isZero(rest)) throw corrupt(`${what} goes on after its end`)
}

const readBlock = (block: Buffer, what: string): { name: string; size: number } => {
  const header = decodeBlock(block, what)
  const name = header.path ?? ''
  if (header.type !== 'File') throw corrupt(`${quote(name)} in ${what} is no plain file but ${header.type}`)
  if (header.linkpath) throw corrupt(`${quote(name)} in ${what} links elsewhere`)
  // Octal digits only: other spellings of a size are read differently by different programs.
  if (!/^[0-7]{1,11}[ \0]*$/.test(block.toString('latin1', 124, 136)) || header.size === undefined) {
    throw corrupt(`the size of ${quote(name)} in ${what} is spelled wrongly`)
  }
  return { name, size: header.size }
}

const decodeBlock = (block: Buffer, what: string): Header => {
  const detail = `${what} is no plain tar, or damaged`
  let header: Header | undefined
  try {
    header = new Header(block)
  } catch (error) {
    throw corrupt(detail, error)
  }
  if (!header.cksumValid) throw corrupt(detail)
  return header
}

const isZero = (bytes: Uint8Array): boolean => bytes.every(byte => byte === 0)

const quote = (name: string): string => JSON.stringify(name.slice(0, 100).replaceAll(/[^\x20-\x7e]/g, '?'))

const corrupt = (detail: string, cause?: unknown): Failure => new Failure('bundle-corrupt', detail, { cause })
