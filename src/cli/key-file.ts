// Reads a private key from a file or from standard input, and tells where others can read the file, too.

import { readFile, stat } from 'node:fs/promises'
import { Failure } from '../protocol/errors.ts'
import { Secret } from '../protocol/secret.ts'
import type { Context } from './command.ts'

/** A key of 8192 bits is 6 kB of PEM; what is longer is another file. */
const MAX_KEY_BYTES = 16_384
const OTHERS = 0o077

/** `-` is standard input. Throws `io`, `invalid-key`. */
export const readKeyFile = async ({ deps }: Context, file: string): Promise<Secret> => {
  const bytes = file === '-' ? await readAll(deps.stdin) : await readFile(file).catch(explain(file))
  if (bytes.length === 0) throw new Failure('invalid-key', `${file}: is empty`)
  if (bytes.length > MAX_KEY_BYTES) throw new Failure('invalid-key', `${file}: is too long for a private key`)
  return new Secret(bytes.toString('utf8'))
}

/** The file's mode where group or others have any part in it. */
export const findLooseMode = async (file: string): Promise<string | undefined> => {
  if (file === '-') return undefined
  const { mode } = await stat(file)
  return (mode & OTHERS) === 0 ? undefined : `0${(mode & 0o777).toString(8)}`
}

const explain =
  (file: string) =>
  (cause: unknown): never => {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
    throw new Failure('io', `${file}: cannot be read (${why})`, { cause })
  }

const readAll = async (stream: AsyncIterable<Buffer | string>): Promise<Buffer> => {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk)
    chunks.push(bytes)
    size += bytes.length
    if (size > MAX_KEY_BYTES) break
  }
  return Buffer.concat(chunks)
}
