// What a command reads from its caller: answers to questions, and files or standard input, never without end.

import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { Failure } from '../protocol/errors.ts'
import { Secret } from '../protocol/secret.ts'
import type { Context } from './command.ts'

type Stdin = Context['deps']['stdin']

/**
 * The question before a command destroys something: the account's name, typed on a terminal. Throws `usage` unless the person typed
 * `name`; without a terminal only `--yes` answers it. `what` continues "This ...": what is about to be destroyed.
 */
export const confirm = async ({ output, deps, options }: Context, what: string, name: string): Promise<void> => {
  if (options.flag('yes')) return
  if (!deps.stdin.isTTY || !deps.stderr.isTTY) {
    throw new Failure('usage', `this ${what}; without a terminal to ask on, it needs --yes`, {
      next: 'Run it again with --yes, or on a terminal.',
    })
  }
  output.prompt(`This ${what}. Type ${name} to continue: `)
  if ((await readLine(deps.stdin))?.toLowerCase() !== name.toLowerCase()) {
    throw new Failure('usage', `that is not ${name}; nothing was changed`, {
      next: `Run it again, and type ${name}.`,
    })
  }
}

/** Trimmed; undefined where the input ended first. */
export const readLine = async (input: Stdin): Promise<string | undefined> => {
  const lines = createInterface({ input })
  const ended = once(lines, 'close').then((): unknown[] => [])
  const [typed] = await Promise.race([once(lines, 'line'), ended])
  lines.close()
  input.pause()
  return typeof typed === 'string' ? typed.trim() : undefined
}

/** All of it; one piece more than `limit` bytes where it is longer, so that the caller can tell. */
export const readAll = async (stdin: Stdin, limit: number): Promise<Buffer> => {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk)
    chunks.push(bytes)
    size += bytes.length
    if (size > limit) break
  }
  return Buffer.concat(chunks)
}

/** As the bundle's own limit; what is longer is none. */
const MAX_BUNDLE_BYTES = 16 * 2 ** 20
const MAX_IDENTITY_BYTES = 64 * 1024
/** A key of 8192 bits is 6 kB of PEM; what is longer is another file. */
const MAX_KEY_BYTES = 16_384
const OTHERS = 0o077

/** `-`, or no file: standard input. */
export const readBundle = async ({ deps }: Context, file: string | undefined): Promise<Buffer> => {
  const isFile = file !== undefined && file !== '-'
  if (!isFile && deps.stdin.isTTY) throw new Failure('usage', 'give the bundle on standard input, or name its file')
  const bytes = isFile ? await readNamed(file) : await readAll(deps.stdin, MAX_BUNDLE_BYTES)
  if (bytes.length <= MAX_BUNDLE_BYTES) return bytes
  throw new Failure('bundle-corrupt', isFile ? `${file} is too long` : 'standard input is too long for a bundle')
}

/** A recovery key, if a file is named. */
export const readIdentity = async (file: string | undefined): Promise<Secret | undefined> => {
  if (file === undefined) return undefined
  const bytes = await readNamed(file)
  if (bytes.length > MAX_IDENTITY_BYTES) throw new Failure('bundle-corrupt', `${file} is too long`)
  return new Secret(bytes.toString('utf8'))
}

const readNamed = (file: string): Promise<Buffer> =>
  readFile(file).catch((cause: unknown) => {
    const code = codeOf(cause)
    throw new Failure(code === 'EACCES' ? 'not-permitted' : 'usage', `${file}: cannot be read (${code})`, { cause })
  })

/** A private key; `-` is standard input. Throws `io`, `invalid-key`. */
export const readKeyFile = async ({ deps }: Context, file: string): Promise<Secret> => {
  const bytes = await (file === '-' ? readAll(deps.stdin, MAX_KEY_BYTES) : readFile(file)).catch((cause: unknown) => {
    throw new Failure('io', `${file}: cannot be read (${codeOf(cause)})`, { cause })
  })
  if (bytes.length === 0) throw new Failure('invalid-key', `${file}: is empty`)
  if (bytes.length > MAX_KEY_BYTES) throw new Failure('invalid-key', `${file}: is too long for a private key`)
  return new Secret(bytes.toString('utf8'))
}

const codeOf = (cause: unknown): string => (cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown')

/** The file's mode where group or others have any part in it. */
export const findLooseMode = async (file: string): Promise<string | undefined> => {
  if (file === '-') return undefined
  const { mode } = await stat(file)
  return (mode & OTHERS) === 0 ? undefined : `0${(mode & 0o777).toString(8)}`
}
