// `ghconnect audit` and `ghconnect audit verify`: who got what, and proof that no row of it is missing.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { Failure } from '../../protocol/errors.ts'
import { type AuditQuery, AuditRowBody, type AuditVerdict } from '../../protocol/wire-policy.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { count } from '../output.ts'
import { PATIENCE_MS } from '../watch.ts'

const RETRY_MS = 1_000
const PAGE = '1000'

export const audit: CommandSpec = {
  name: 'audit',
  summary: 'print the audit log: grants, denials, changes',
  options: {
    '--after SEQUENCE': 'rows after this sequence number; without it the last ones',
    '--limit N': 'how many rows at most; 100 if not said, 1000 at most',
    '--follow': 'print each new row as it comes',
    '--json': 'print each row as a line of JSON',
  },
  examples: ['ghconnect audit', 'ghconnect audit --follow --json | jq -c \'select(.event == "token.deny")\''],
  async run(context) {
    const { output, json, deps } = context
    const [after, limit] = [numberOf(context, 'after'), numberOf(context, 'limit')]
    const userName = json ? () => undefined : await deps.userNames()
    let isFirst = true
    const print = (row: AuditRowBody): void => {
      if (json) return output.line(JSON.stringify(row))
      if (isFirst) output.line(output.paint('bold', HEADER))
      isFirst = false
      output.line(describe(row, userName))
    }
    if (context.options.flag('follow')) await follow(context, { after, limit }, print)
    const { rows } = await context.ask('GET /v1/audit', { query: { after, limit } })
    for (const row of rows) print(row)
    if (rows.length === 0) output.note('There is no such row.')
  },
}

/** Goes on over a restart of the daemon; throws `daemon-absent` where it stays away. */
const follow = async (context: Context, first: AuditQuery, print: (row: AuditRowBody) => void): Promise<never> => {
  const { clock } = context.deps
  const client = await context.client('admin')
  let query: AuditQuery = { ...first, follow: 'true' }
  let lastSeenMs = clock.monotonic()
  for (;;) {
    try {
      await client.stream('GET /v1/audit', query, data => {
        lastSeenMs = clock.monotonic()
        const row = AuditRowBody.safeParse(JSON.parse(data))
        if (!row.success) return
        query = { follow: 'true', after: String(row.data.sequence) }
        print(row.data)
      })
      lastSeenMs = clock.monotonic()
    } catch (error) {
      const away = error instanceof Failure && error.code === 'daemon-absent'
      if (!away || clock.monotonic() - lastSeenMs > PATIENCE_MS) throw error
    }
    await clock.sleep(RETRY_MS)
  }
}

export const auditVerify: CommandSpec = {
  name: 'audit verify',
  summary: 'prove that no row of the audit log was changed, removed or moved',
  details: `Follows the chain of hashes through all rows that are held, and compares it with the copies in the journal: a tail that was cut
off leaves a whole chain, but not its copies. Exit code 65 where something is wrong. Ship the journal to another machine, and
give its lines with --journal, to be safe from whoever changes both here.`,
  options: {
    '--journal FILE': 'lines of the journal (journalctl -o json, or the text of it) in place of asking journalctl',
    '--since TIME': "only the journal's entries from then on, as journalctl takes it",
    '--unit UNIT': 'the unit whose entries they are; ghconnectd.service if not said',
    ...JSON_OPTION,
  },
  examples: ['ghconnect audit verify', 'ghconnect audit verify --journal /var/log/remote/ghe.example.com.json'],
  async run(context) {
    const { output, options } = context
    const file = options.text('journal')
    const since = options.text('since')
    const unit = options.text('unit') ?? 'ghconnectd.service'
    // The copies first: a row is in the log before its copy is in the journal.
    const copies = await copiesOf(context, file === undefined ? { unit, since } : { file })
    const verdict = await context.ask('GET /v1/audit/verdict')
    const journal = copies && (await compare(context, { copies, verdict }))
    const problems = [...(verdict.problem === undefined ? [] : [verdict.problem]), ...(journal?.problems ?? [])]
    const intact = problems.length === 0
    context.print({ ...verdict, intact, problems, compared: journal?.compared ?? 0 }, () => {
      for (const problem of problems) output.line(output.paint('red', `Wrong: ${problem}`))
      const rows = verdict.last === 0 ? 'no rows yet' : `rows ${verdict.first} to ${verdict.last}`
      if (intact) output.line(`${output.paint('green', 'Intact')}: ${rows}`)
      if (journal) output.line(`Compared with the journal: ${count(journal.compared, 'row')}`)
      if (verdict.first > 1 && intact)
        output.line(`Rows 1 to ${verdict.first - 1} were dropped: the log had reached [audit] max_size.`)
    })
    return intact ? 0 : 65
  },
}

/** A file that was named must be there; a machine without a journal has none to compare with. */
const copiesOf = async ({ deps, output }: Context, source: JournalSource): Promise<Copies | undefined> => {
  try {
    return await readCopies(source, deps.env)
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'daemon-absent') throw error
    output.note(`Not compared with the journal: ${error.message}.`)
    return undefined
  }
}

const compare = async (
  context: Context,
  { copies, verdict }: { copies: Copies; verdict: AuditVerdict },
): Promise<{ compared: number; problems: string[] }> => {
  const sequences = [...copies.hashes.keys()].filter(sequence => sequence >= verdict.first)
  const problems = copies.breaks.map(
    last => `the log was begun anew, or set back, after row ${last} (if that was you: --since leaves it out)`,
  )
  const beyond = sequences.filter(sequence => sequence > verdict.last)
  if (beyond.length > 0) {
    problems.push(
      `rows ${Math.min(...beyond)} to ${Math.max(...beyond)} are in the journal, and not in the log: its tail was cut`,
    )
  }
  let compared = 0
  const wanted = sequences.filter(sequence => sequence <= verdict.last)
  let after = Math.min(...wanted) - 1
  while (wanted.length > 0) {
    const { rows } = await context.ask('GET /v1/audit', { query: { after: String(after), limit: PAGE } })
    for (const { sequence, hash } of rows) {
      const copy = copies.hashes.get(sequence)
      if (copy === undefined) continue
      compared += 1
      if (copy !== hash) problems.push(`row ${sequence} is another one than its copy in the journal`)
    }
    after = rows.at(-1)?.sequence ?? after
    if (rows.length === 0 || after >= verdict.last) break
  }
  return { compared, problems }
}

const numberOf = ({ options }: Context, name: string): string | undefined => {
  const text = options.text(name)
  if (text === undefined) return undefined
  if (/^\d{1,15}$/.test(text)) return String(Number(text))
  throw new Failure('usage', `--${name} ${text}: must be a number`)
}

const HEADER = `${'TIME (UTC)'.padEnd(19)}  ${'ROW'.padStart(6)}  ${'EVENT'.padEnd(12)}  WHO | PROFILE | SCOPE | TOKEN | DETAIL`

const describe = (row: AuditRowBody, userName: (uid: number) => string | undefined): string => {
  const who = [
    ...(row.uid === undefined ? [] : [userName(row.uid) ?? `uid ${row.uid}`]),
    ...(row.unit === undefined ? [] : [row.unit]),
    ...(row.pid === undefined ? [] : [`pid ${row.pid}`]),
  ].join(' ')
  const what = [
    who,
    row.profile,
    row.scope,
    row.hashed_token,
    row.detail,
    row.count === undefined ? undefined : `${row.count} times`,
  ]
  const texts = what.filter(text => text !== undefined && text !== '')
  return `${row.at.slice(0, 19).replace('T', ' ')}  ${String(row.sequence).padStart(6)}  ${row.event.padEnd(12)}  ${texts.join(' | ')}`
}

// The copies of the log's rows that the journal holds: each has sequence and hash, so that rows that went show.

type Copy = { readonly sequence: number; readonly hash: string }

type Copies = {
  /** Of the log as it went on last. */
  readonly hashes: ReadonlyMap<number, string>
  /** Where a later row has a number that was given already: the last row before the log was begun anew, or an older one put back. */
  readonly breaks: readonly number[]
}

type JournalSource = { readonly file: string } | { readonly unit: string; readonly since?: string | undefined }

/** Throws `io` where a file cannot be read, `daemon-absent` where there is no journal to ask. */
const readCopies = async (source: JournalSource, env: NodeJS.ProcessEnv): Promise<Copies> => {
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
async function* journalLines(
  source: { unit: string; since?: string | undefined },
  env: NodeJS.ProcessEnv,
): AsyncGenerator<string> {
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
