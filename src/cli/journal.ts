// The copies of the audit log's rows that the journal holds: each bears sequence and hash, so that rows that went show.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { Failure } from '../protocol/errors.ts'

export type Copy = { readonly sequence: number; readonly hash: string }

export type Copies = {
  /** Of the log as it went on last. */
  readonly hashes: ReadonlyMap<number, string>
  /** Where a later row has a number that was given already: the last row before the log was begun anew, or an older one put back. */
  readonly breaks: readonly number[]
}

export type JournalSource = { readonly file: string } | { readonly unit: string; readonly since?: string }

/** Throws `io` where a file cannot be read, `daemon-absent` where there is no journal to ask. */
export const readCopies = async (source: JournalSource, env: NodeJS.ProcessEnv): Promise<Copies> => {
  const lines = 'file' in source ? linesOf(createReadStream(source.file), source.file) : journalLines(source, env)
  const breaks: number[] = []
  let hashes = new Map<number, string>()
  let last = 0
  for await (const line of lines) {
    const copy = parseCopy(line)
    if (!copy || hashes.get(copy.sequence) === copy.hash) continue
    if (copy.sequence <= last) {
      breaks.push(last)
      // What was before the number that is given anew may stand in the log still.
      hashes = new Map([...hashes].filter(([sequence]) => sequence < copy.sequence))
    }
    hashes.set(copy.sequence, copy.hash)
    last = copy.sequence
  }
  return { hashes, breaks }
}

/** Of an entry in `journalctl -o json`, of the daemon's own line in JSON, or of a line of text; undefined for all others. */
export const parseCopy = (line: string): Copy | undefined => {
  const entry = line.startsWith('{') ? parseEntry(line) : { message: line }
  if (!entry) return undefined
  if (entry.sequence !== undefined && entry.hash !== undefined) {
    return entry.message.startsWith('audit ') ? copyOf(entry.sequence, entry.hash) : undefined
  }
  // Both are the last fields of a line: a text from elsewhere that looks like them stands before.
  const [, sequence = '', hash = ''] =
    /\baudit [\w.-]+ .*\bsequence=(\d+) hash=([0-9a-f]{64})\s*$/.exec(entry.message) ?? []
  return copyOf(sequence, hash)
}

const copyOf = (sequence: string, hash: string): Copy | undefined =>
  /^[1-9]\d{0,14}$/.test(sequence) && /^[0-9a-f]{64}$/.test(hash) ? { sequence: Number(sequence), hash } : undefined

const parseEntry = (line: string): { message: string; sequence?: string; hash?: string } | undefined => {
  try {
    const entry: unknown = JSON.parse(line)
    const field = (...names: string[]): string | undefined => {
      const found = names.map(name => Reflect.get(Object(entry), name)).find(value => value !== undefined)
      return typeof found === 'string' || typeof found === 'number' ? String(found) : undefined
    }
    const [sequence, hash] = [field('GHCONNECT_SEQUENCE', 'sequence'), field('GHCONNECT_HASH', 'hash')]
    return {
      message: field('MESSAGE', 'message') ?? '',
      ...(sequence !== undefined && { sequence }),
      ...(hash !== undefined && { hash }),
    }
  } catch {
    return undefined
  }
}

/** `_SYSTEMD_UNIT` is set by journald itself: nobody else writes copies. */
async function* journalLines(source: { unit: string; since?: string }, env: NodeJS.ProcessEnv): AsyncGenerator<string> {
  const since = source.since === undefined ? [] : [`--since=${source.since}`]
  const args = ['-o', 'json', '--no-pager', '--quiet', ...since, `_SYSTEMD_UNIT=${source.unit}`]
  const child = spawn('journalctl', args, { stdio: ['ignore', 'pipe', 'ignore'], env: { ...env } })
  const ended = once(child, 'close')
  // Awaited below; until then a program that is missing must not be an unhandled rejection.
  ended.catch(() => undefined)
  yield* linesOf(child.stdout, 'journalctl')
  const exitCode: unknown = await ended.then(
    ([code]) => code,
    (cause: unknown) => {
      throw new Failure('daemon-absent', 'there is no journalctl to ask', { cause })
    },
  )
  if (exitCode !== 0) throw new Failure('daemon-absent', `journalctl ended with ${String(exitCode)}`)
}

async function* linesOf(stream: Readable, name: string): AsyncGenerator<string> {
  try {
    yield* createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })
  } catch (cause) {
    throw new Failure('io', `${name} cannot be read`, { cause })
  }
}
