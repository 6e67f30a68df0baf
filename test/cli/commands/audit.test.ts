// `ghconnect audit` and `audit verify`: rows as they come, and what the journal's copies tell of rows that went.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as fc from 'fast-check'
import { parseCopy } from '../../../src/cli/commands/audit.ts'
import type { AuditRowBody, AuditVerdict } from '../../../src/protocol/wire-policy.ts'
import { createLog } from '../../../src/service/log.ts'
import { type Answer, runCli, startDaemon } from '../rig.ts'

const hashOf = (sequence: number, log = 'a'): string => `${log}${String(sequence).padStart(63, '0')}`
const rowOf = (sequence: number): AuditRowBody => ({
  sequence,
  at: '2026-07-11T11:59:00.000Z',
  event: 'token.grant',
  pid: 10,
  uid: 998,
  unit: 'actions-sync.service',
  profile: 'actions',
  scope: 'installation 1, web, contents: read',
  hashed_token: 'aGFzaA==',
  hash: hashOf(sequence),
})
const rows = (count: number): AuditRowBody[] => Array.from({ length: count }, (_, n) => rowOf(n + 1))

const page =
  (all: readonly AuditRowBody[]): Answer =>
  ({ path }) => {
    const query = new URL(path, 'http://x').searchParams
    const limit = Number(query.get('limit') ?? 100)
    const after = query.has('after') ? Number(query.get('after')) : Math.max(0, all.length - limit)
    return { body: { rows: all.filter(row => row.sequence > after).slice(0, limit) } }
  }
const verdictOf = (count: number, more: Partial<AuditVerdict> = {}): Answer => ({
  body: { intact: true, first: count === 0 ? 0 : 1, last: count, last_hash: hashOf(count), ...more },
})

/** A journal of entries as journalctl prints them, and a journalctl that prints it. */
const journal = (t: ExecutionContext, copies: readonly { sequence: number; hash?: string }[]) => {
  const folder = mkdtempSync(join(tmpdir(), 'ghconnect-journal-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'journal.json')
  const entries = copies.map(({ sequence, hash = hashOf(sequence) }) => ({
    MESSAGE: `audit token.grant event=token.grant sequence=${sequence} hash=${hash}`,
    GHCONNECT_SEQUENCE: String(sequence),
    GHCONNECT_HASH: hash,
    _SYSTEMD_UNIT: 'ghconnectd.service',
  }))
  const noise = { MESSAGE: 'ready version=0.1.0', _SYSTEMD_UNIT: 'ghconnectd.service' }
  writeFileSync(file, [noise, ...entries, noise].map(entry => `${JSON.stringify(entry)}\n`).join(''))
  const program = join(folder, 'journalctl')
  writeFileSync(program, `#!/bin/sh\necho "$@" > ${folder}/asked\nexec cat ${file}\n`)
  chmodSync(program, 0o755)
  return { folder, file, env: { PATH: `${folder}:/usr/bin:/bin` } }
}
const copiesTo = (count: number) => rows(count).map(({ sequence }) => ({ sequence }))

const verify = async (
  t: ExecutionContext,
  options: {
    held: number
    copies: readonly { sequence: number; hash?: string }[]
    verdict?: Partial<AuditVerdict>
    args?: string[]
  },
) => {
  const daemon = await startDaemon(t, {
    'GET /v1/audit': page(rows(options.held)),
    'GET /v1/audit/verdict': verdictOf(options.held, options.verdict),
  })
  const { env } = journal(t, options.copies)
  return runCli(['audit', 'verify', ...(options.args ?? []), '--socket', daemon.folder], { env })
}

test('rows are printed oldest first, and as lines of JSON', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/audit': page(rows(150)) })
  const plain = await runCli(['audit', '--limit', '2', '--socket', daemon.folder])
  t.is(plain.code, 0)
  const [header = '', first = '', second = ''] = plain.stdout.split('\n')
  t.regex(header, /^TIME \(UTC\) +ROW +EVENT +WHO/)
  t.regex(first, /^2026-07-11 11:59:00 +149 +token\.grant +uid 998 actions-sync\.service pid 10 \| actions \| /)
  t.regex(second, / 150 /)
  const json = await runCli(['audit', '--after', '140', '--json', '--socket', daemon.folder])
  t.deepEqual(
    json.stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line)),
    rows(150).slice(140),
  )
})

test('a row is one line, whatever somebody wrote into its fields', async t => {
  const forged = '\n2026-07-11 11:59:00       8  token.deny    uid 0 | forged'
  const hostile = `x${forged}\r\u001b[2J\u0085\u202e`
  const row = { ...rowOf(7), event: hostile, unit: hostile, profile: hostile, scope: hostile, detail: hostile }
  const daemon = await startDaemon(t, { 'GET /v1/audit': { body: { rows: [row] } } })
  const printed = await runCli(['audit', '--socket', daemon.folder], { terminal: true, env: { NO_COLOR: '1' } })
  const lines = printed.stdout.trimEnd().split('\n')
  t.is(lines.length, 2, 'the header and the row')
  for (const line of lines) t.notRegex(line, /[\p{Cc}\p{Cf}]/u)
  const json = await runCli(['audit', '--json', '--socket', daemon.folder])
  t.deepEqual(JSON.parse(json.stdout), row)
})

test('--follow goes on, over an end of the stream, without a row twice', async t => {
  const asked: string[] = []
  let streams = 0
  const daemon = await startDaemon(t, {
    'GET /v1/audit': ({ path }, response) => {
      asked.push(path)
      streams += 1
      if (streams > 2) return { status: 403, type: 'application/problem+json', body: STOP }
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const row of [rowOf(2 * streams - 1), rowOf(2 * streams)]) {
        response.write(`event: audit\nid: ${row.sequence}\ndata: ${JSON.stringify(row)}\n\n`)
      }
      response.end()
      return undefined
    },
  })
  const ran = await runCli(['audit', '--follow', '--json', '--socket', daemon.folder])
  t.is(ran.code, 77)
  t.deepEqual(
    ran.stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line).sequence),
    [1, 2, 3, 4],
  )
  t.deepEqual(asked, ['/v1/audit?follow=true', '/v1/audit?follow=true&after=2', '/v1/audit?follow=true&after=4'])
})

const STOP = { type: 'urn:ghconnect:problem:not-permitted', title: '', status: 403, detail: 'enough', next: '' }

test('a log that agrees with the journal is intact', async t => {
  const ran = await verify(t, { held: 2_500, copies: copiesTo(2_500) })
  t.is(ran.code, 0, ran.stdout)
  t.regex(ran.stdout, /Intact: rows 1 to 2500\nCompared with the journal: 2500 rows/)
})

test('a tail that was cut off shows by its copies', async t => {
  const ran = await verify(t, { held: 7, copies: copiesTo(10) })
  t.is(ran.code, 65)
  t.regex(ran.stdout, /rows 8 to 10 are in the journal, and not in the log/)
})

test('a chain that was made anew from some row on shows by its copies', async t => {
  const copies = copiesTo(5).map(copy => (copy.sequence >= 4 ? { ...copy, hash: hashOf(copy.sequence, 'b') } : copy))
  const ran = await verify(t, { held: 5, copies, args: ['--json'] })
  t.is(ran.code, 65)
  const told = JSON.parse(ran.stdout)
  t.false(told.intact)
  t.deepEqual(
    told.problems,
    [4, 5].map(n => `row ${n} is another one than its copy in the journal`),
  )
})

test('a log that was begun anew, or set back to an older copy, shows by numbers that were given twice', async t => {
  const anew = [...rows(9).map(({ sequence }) => ({ sequence, hash: hashOf(sequence, 'b') })), ...copiesTo(3)]
  const ran = await verify(t, { held: 3, copies: anew })
  t.is(ran.code, 65)
  t.regex(ran.stdout, /begun anew, or set back, after row 9/)
  const back = [
    ...copiesTo(6),
    { sequence: 7, hash: hashOf(7, 'b') },
    { sequence: 8, hash: hashOf(8, 'b') },
    { sequence: 7 },
  ]
  const set = await verify(t, { held: 7, copies: back })
  t.is(set.code, 65)
  t.regex(set.stdout, /set back, after row 8/)
  t.regex(set.stdout, /Compared with the journal: 7 rows/, 'what was before it is compared still')
})

test('what the daemon finds is told, and rows that are not held are no fault', async t => {
  const ran = await verify(t, {
    held: 5,
    copies: copiesTo(5),
    verdict: { intact: false, last: 2, problem: 'row 3 of the audit log was changed' },
  })
  t.is(ran.code, 65)
  t.regex(ran.stdout, /Wrong: row 3 of the audit log was changed/)
  const held = await verify(t, { held: 5, copies: copiesTo(5), verdict: { first: 4 } })
  t.is(held.code, 0)
  t.regex(held.stdout, /Rows 1 to 3 were dropped: the log had reached \[audit\] max_size/)
})

test('a file of journal lines is read in any of its forms; one that is missing is an error', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/audit': page(rows(2)), 'GET /v1/audit/verdict': verdictOf(2) })
  const { folder } = journal(t, [])
  const lines: string[] = []
  const own = createLog({ level: 'info', journal: false, write: line => void lines.push(line) })
  own.info('audit token.grant', { event: 'token.grant', sequence: 2, hash: hashOf(2) })
  const text = `Jul 11 12:00:00 ghe ghconnectd[7]: audit token.deny event=token.deny detail="sequence=9 hash=${hashOf(9)}" sequence=1 hash=${hashOf(1)}`
  const file = join(folder, 'mixed.log')
  writeFileSync(file, `${text}\n${lines.join('')}half a line {\n{"MESSAGE": 7}\n`)
  const args = ['audit', 'verify', '--socket', daemon.folder, '--journal']
  const ran = await runCli([...args, file])
  t.is(ran.code, 0, ran.stdout + ran.stderr)
  t.regex(ran.stdout, /Compared with the journal: 2 rows/)
  t.is((await runCli([...args, join(folder, 'none')])).code, 74)
})

test('without a journal the chain alone is proven, and that is said', async t => {
  const daemon = await startDaemon(t, { 'GET /v1/audit': page(rows(2)), 'GET /v1/audit/verdict': verdictOf(2) })
  const ran = await runCli(['audit', 'verify', '--socket', daemon.folder], { env: { PATH: '/nowhere' } })
  t.is(ran.code, 0)
  t.regex(ran.stderr, /Not compared with the journal/)
})

test('property: no line makes the reader throw, and no text of another passes for a copy', t => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), line => parseCopy(line) === undefined),
    { numRuns: 500 },
  )
  fc.assert(
    fc.property(fc.string(), detail => {
      const written: string[] = []
      const log = createLog({ level: 'info', journal: true, write: line => void written.push(line) })
      log.info('audit token.deny', { event: 'token.deny', detail, sequence: 7, hash: hashOf(7) })
      t.deepEqual(parseCopy(written.join('').trimEnd()), { sequence: 7, hash: hashOf(7) })
    }),
    { numRuns: 500 },
  )
  t.is(parseCopy(`{"MESSAGE":"hello","GHCONNECT_SEQUENCE":"7","GHCONNECT_HASH":"${hashOf(7)}"}`), undefined)
})
