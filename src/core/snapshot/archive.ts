// The tar that a bundle and its payload are: plain files, of which one content has one archive. Owns tar.

import { createHash } from 'node:crypto'
import { Header } from 'tar/header'
import { Failure } from '../../protocol/errors.ts'

export type Entry = { readonly name: string; readonly bytes: Uint8Array }

const BLOCK = 512
/** GNU tar warns of files from 1970. */
const MTIME = new Date(Date.UTC(2000, 0, 1))

/** Of plain files, in this order. */
export const pack = (entries: readonly Entry[]): Buffer =>
  Buffer.concat([
    ...entries.flatMap(({ name, bytes }) => [
      headerOf(name, bytes.length),
      bytes,
      Buffer.alloc(padded(bytes.length) - bytes.length),
    ]),
    Buffer.alloc(2 * BLOCK),
  ])

const headerOf = (name: string, size: number): Buffer => {
  const block = Buffer.alloc(BLOCK)
  const header = new Header({ path: name, type: 'File', mode: 0o600, uid: 0, gid: 0, size, mtime: MTIME })
  if (header.encode(block)) throw new Failure('internal', `${name} does not fit a plain tar header`)
  return block
}

const padded = (size: number): number => Math.ceil(size / BLOCK) * BLOCK

/** SHA-256 in hexadecimal. */
export const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/**
 * Plain files of known names and sizes, each at most once, with the very bytes that `pack` writes. Throws `bundle-corrupt`.
 * Header by header: tar's own reader would decompress, follow extension headers and skip what it does not like, and its
 * decompressors and streams would be loaded at each start.
 */
export function* unpack(
  bytes: Uint8Array,
  what: string,
  findLimit: (name: string) => number | undefined,
): Generator<Entry, undefined> {
  const archive = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const seen = new Set<string>()
  let offset = 0
  for (;;) {
    if (offset + BLOCK > archive.length) throw corrupt(`${what} is cut short`)
    const block = archive.subarray(offset, offset + BLOCK)
    if (isZero(block)) break
    const { name, size } = readHeader(block, what)
    const limit = findLimit(name)
    if (limit === undefined) throw corrupt(`${what} holds ${quote(name)}, which has no place in it`)
    if (seen.has(name)) throw corrupt(`${what} holds ${name} twice`)
    if (size > limit) throw corrupt(`${name} has ${size} bytes, ${limit} are the most`)
    if (!block.equals(headerOf(name, size))) {
      throw corrupt(`the header of ${name} in ${what} is not as ghconnectd writes it`)
    }
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

const readHeader = (block: Buffer, what: string): { name: string; size: number } => {
  const detail = `${what} is no plain tar, or damaged`
  let header: Header
  try {
    header = new Header(block)
  } catch (error) {
    throw corrupt(detail, error)
  }
  const name = header.path ?? ''
  if (!header.cksumValid) throw corrupt(detail)
  if (header.type !== 'File') throw corrupt(`${quote(name)} in ${what} is no plain file but ${header.type}`)
  if (header.linkpath) throw corrupt(`${quote(name)} in ${what} links elsewhere`)
  // Octal digits only: other spellings of a size are read differently by different programs.
  if (!/^[0-7]{1,11}[ \0]*$/.test(block.toString('latin1', 124, 136)) || header.size === undefined) {
    throw corrupt(`the size of ${quote(name)} in ${what} is spelled wrongly`)
  }
  return { name, size: header.size }
}

const isZero = (bytes: Uint8Array): boolean => bytes.every(byte => byte === 0)

const quote = (name: string): string => JSON.stringify(name.slice(0, 100).replaceAll(/[^\x20-\x7e]/g, '?'))

export const corrupt = (detail: string, cause?: unknown): Failure => new Failure('bundle-corrupt', detail, { cause })
