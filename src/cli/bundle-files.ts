// Bundles and identity files, as commands read them: from a file or from standard input, never without end.

import { lstatSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Failure } from '../protocol/errors.ts'
import { Secret } from '../protocol/secret.ts'
import type { CliDeps } from './command.ts'
import { findObstacle } from './token-file.ts'

/** As the bundle's own limit; what is longer is none. */
const MAX_BUNDLE_BYTES = 16 * 2 ** 20
const MAX_IDENTITY_BYTES = 64 * 1024

/** `-`, or no file: standard input. */
export const readBundle = async (deps: CliDeps, file: string | undefined): Promise<Buffer> => {
  if (file !== undefined && file !== '-') return readWhole(file, MAX_BUNDLE_BYTES)
  if (deps.stdin.isTTY) throw new Failure('usage', 'give the bundle on standard input, or name its file')
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of deps.stdin) {
    const bytes = Buffer.from(chunk)
    chunks.push(bytes)
    size += bytes.length
    if (size > MAX_BUNDLE_BYTES) throw new Failure('bundle-corrupt', 'standard input is too long for a bundle')
  }
  return Buffer.concat(chunks)
}

export const readIdentityFile = async (file: string): Promise<Secret> =>
  new Secret((await readWhole(file, MAX_IDENTITY_BYTES)).toString('utf8'))

/** Before anything starts. A rename over a device or a pipe would put a file in its place. Throws `usage` and `io`. */
export const assertWritable = (file: string): void => {
  const status = lstatSync(file, { throwIfNoEntry: false })
  if (status && !status.isFile()) throw new Failure('usage', `--output ${file}: is no file`)
  const found = findObstacle(file)
  if (found) throw new Failure('io', `--output ${file}: ${found.why}`, { cause: found.cause, next: OTHER_FILE })
}

const OTHER_FILE = 'Correct that, or name a file in another folder. Nothing was exported.'

const readWhole = async (file: string, limit: number): Promise<Buffer> => {
  const bytes = await readFile(file).catch((cause: unknown) => {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
    throw new Failure(code === 'EACCES' ? 'not-permitted' : 'usage', `${file}: cannot be read (${code})`, { cause })
  })
  if (bytes.length > limit) throw new Failure('bundle-corrupt', `${file} is too long`)
  return bytes
}
