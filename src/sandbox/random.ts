// Where ids, codes and tokens come from: a stream of SHA-256 blocks that a seed makes reproducible.

import { createHash, randomBytes } from 'node:crypto'

export type Random = {
  bytes(length: number): Buffer
  /** A whole number in [min, max). */
  int(min: number, max: number): number
  hex(length: number): string
  /** Letters and digits, as in GitHub's classic tokens. */
  alphanumeric(length: number): string
  /** Starts the stream again, so that a reset sandbox repeats itself. */
  rewind(): void
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** One stream for each purpose, so that one more request does not change the next token; without a seed, by chance. */
export const createRandom = (purpose: string, seed?: number): Random => {
  const start = `${purpose}/${seed ?? randomBytes(32).toString('hex')}`
  let block = 0
  let pool = Buffer.alloc(0)
  const bytes = (length: number): Buffer => {
    while (pool.length < length) {
      pool = Buffer.concat([pool, createHash('sha256').update(`${start}/${block}`).digest()])
      block += 1
    }
    const taken = pool.subarray(0, length)
    pool = pool.subarray(length)
    return Buffer.from(taken)
  }
  return {
    bytes,
    int: (min, max) => min + Math.floor((bytes(6).readUIntBE(0, 6) / 2 ** 48) * (max - min)),
    hex: length =>
      bytes(Math.ceil(length / 2))
        .toString('hex')
        .slice(0, length),
    alphanumeric: length => [...bytes(length)].map(byte => ALPHABET[byte % ALPHABET.length]).join(''),
    rewind: () => {
      block = 0
      pool = Buffer.alloc(0)
    },
  }
}
