// `ghconnect audit` and `ghconnect audit verify`: who got what, and proof that no row of it is missing.

import { Failure } from '../../protocol/errors.ts'
import { AuditAnswer, AuditRowBody, AuditVerdict } from '../../protocol/wire-policy.ts'
import type { Client } from '../../protocol/client.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { type Copies, type JournalSource, readCopies } from '../journal.ts'
import { count } from '../output.ts'

const RETRY_MS = 1_000
/** A daemon that is being restarted is back long before. */
const PATIENCE_MS = 15_000
const PAGE = 1_000

export const audit: CommandSpec = {
  name: 'audit',
  summary: 'print the audit log: grants, denials, changes',
  options: [
    { flags: '--after SEQUENCE', description: 'rows after this sequence number; without it the last ones' },
    { flags: '--limit N', description: 'how many rows at most; 100 if not said, 1000 at most' },
    { flags: '--follow', description: 'print each new row as it comes' },
    { flags: '--json', description: 'print each row as a line of JSON' },
  ],
  examples: ['ghconnect audit', 'ghconnect audit --follow --json | jq -c \'select(.event == "token.deny")\''],
  async run(context, { options }) {
    const after = numberOf('after', options.text('after'))
    const limit = numberOf('limit', options.text('limit'))
    const client = await context.client('admin')
    const query = [
      ...(after === undefined ? [] : [`after=${after}`]),
      ...(limit === undefined ? [] : [`limit=${limit}`]),
    ].join('&')
    const json = options.flag('json')
    const userName = json ? () => undefined : await context.deps.userNames()
    let isFirst = true
    const print = (row: AuditRowBody): void => {
      if (json) return context.output.line(JSON.stringify(row))
      if (isFirst) context.output.line(context.output.paint('bold', HEADER))
      isFirst = false
      context.output.line(describe(row, userName))
    }
    if (options.flag('follow')) return follow(client, { context, query, print })
    const { rows } = await client.call({ method: 'GET', path: `/v1/audit?${query}`, answer: AuditAnswer })
    for (const row of rows) print(row)
    if (rows.length === 0) context.output.note('There is no such row.')
    return 0
  },
}

/** Goes on over a restart of the daemon; throws `daemon-absent` where it stays away. */
const follow = async (
  client: Client,
  { context, query, print }: { context: Context; query: string; print: (row: AuditRowBody) => void },
): Promise<number> => {
  const { clock } = context.deps
  let from = query
  let lastSeenMs = clock.monotonic()
  for (;;) {
    try {
      await client.stream(`/v1/audit?follow=true&${from}`, data => {
        lastSeenMs = clock.monotonic()
        const row = AuditRowBody.safeParse(JSON.parse(data))
        if (!row.success) return
        from = `after=${row.data.sequence}`
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
  details: [
    'Follows the chain of hashes through all rows that are held, and compares it with the copies in the journal: a tail that was cut',
    'off leaves a whole chain, but not its copies. Exit code 65 where something is wrong. Ship the journal to another machine, and',
    'give its lines with --journal, to be safe from whoever changes both here.',
  ].join('\n'),
  options: [
    {
      flags: '--journal FILE',
      description: 'lines of the journal (journalctl -o json, or the text of it) in place of asking journalctl',
    },
    { flags: '--since TIME', description: "only the journal's entries from then on, as journalctl takes it" },
    { flags: '--unit UNIT', description: 'the unit whose entries they are; ghconnectd.service if not said' },
    JSON_OPTION,
  ],
  examples: ['ghconnect audit verify', 'ghconnect audit verify --journal /var/log/remote/ghe.example.com.json'],
  async run(context, { options }) {
    const { output } = context
    const file = options.text('journal')
    const since = options.text('since')
    const unit = options.text('unit') ?? 'ghconnectd.service'
    const source = file === undefined ? { unit, ...(since !== undefined && { since }) } : { file }
    const client = await context.client('admin')
    // The copies first: a row is in the log before its copy is in the journal.
    const copies = await copiesOf(context, source)
    const verdict = await client.call({ method: 'GET', path: '/v1/audit/verdict', answer: AuditVerdict })
    const journal = copies && (await compare(client, { copies, verdict }))
    const problems = [...(verdict.problem === undefined ? [] : [verdict.problem]), ...(journal?.problems ?? [])]
    if (options.flag('json')) {
      output.json({ ...verdict, intact: problems.length === 0, problems, compared: journal?.compared ?? 0 })
    } else {
      for (const problem of problems) output.line(output.paint('red', `Wrong: ${problem}`))
      const rows = verdict.last === 0 ? 'no rows yet' : `rows ${verdict.first} to ${verdict.last}`
      if (problems.length === 0) output.line(`${output.paint('green', 'Intact')}: ${rows}`)
      if (journal) output.line(`Compared with the journal: ${count(journal.compared, 'row')}`)
      if (verdict.first > 1 && problems.length === 0)
        output.line(`Rows 1 to ${verdict.first - 1} were dropped: the log had reached [audit] max_size.`)
    }
    return problems.length === 0 ? 0 : 65
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
  client: Client,
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
    const path = `/v1/audit?after=${after}&limit=${PAGE}`
    const { rows } = await client.call({ method: 'GET', path, answer: AuditAnswer })
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

const numberOf = (name: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined
  if (/^\d{1,15}$/.test(text)) return Number(text)
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
