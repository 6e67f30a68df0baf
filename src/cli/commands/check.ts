// `ghconnect check`: the doctor. A row for each layer between this machine and a token, and what to do where one is wrong.

import { exitOf } from '../../domain/check.ts'
import { CATALOGUE, Failure } from '../../domain/errors.ts'
import { CheckReport, type CheckRow } from '../../domain/wire-check.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { alignColumns, type Output, type Style } from '../output.ts'

/** The daemon answers within five; one that does not is hung. */
const SILENCE_MS = 10_000
const WATCH_MS = 10_000

export const check: CommandSpec = {
  name: 'check',
  summary: 'look at each layer between this machine and a token, and say what is wrong',
  details: [
    'Configuration, store, recovery key, backup, clock, DNS, proxy, TLS, each host to allow, IP allow list, key, App, installations,',
    'permissions, repositories, quota and cluster: side by side, within five seconds, by the same way out as all calls of the',
    'daemon. What lies behind a layer that fails is not asked. The exit code is 0 where nothing failed, warnings or not, else that',
    'of the first layer that failed. Where no daemon answers, what can be seen without it is shown, and the exit code is 69 at least.',
  ].join('\n'),
  options: [{ flags: '--watch', description: 'again each ten seconds, until it is interrupted' }, JSON_OPTION],
  examples: ['ghconnect check', 'ghconnect check --json | jq -r \'.rows[] | select(.verdict == "failed") | .next\''],
  async run(context, { options }) {
    const json = options.flag('json')
    if (!options.flag('watch')) return once(context, { json, clear: false })
    const stop = context.deps.stopSignal()
    let code = 0
    while (!stop.aborted) {
      code = await once(context, { json, clear: !json && context.deps.stdout.isTTY })
      await context.deps.clock.sleep(WATCH_MS, stop)
    }
    return code
  },
}

/** Home, then everything below. */
const CLEAR = '\u001b[H\u001b[2J'

const once = async (context: Context, { json, clear }: { json: boolean; clear: boolean }): Promise<number> => {
  const { output, deps } = context
  const { report, absence } = await ask(context)
  if (clear) deps.stdout.write(CLEAR)
  if (absence) output.note(`ghconnect: ${absence.entry.title}: ${absence.message}; this is what can be seen without it`)
  if (json) output.json(report)
  else show(output, report)
  return exitOf(report.rows) || (absence ? CATALOGUE['daemon-absent'].exit : 0)
}

const ask = async (context: Context): Promise<{ report: CheckReport; absence?: Failure }> => {
  const { deps, configFile } = context
  try {
    const client = await context.client('admin')
    const call = { method: 'GET', path: '/v1/check', answer: CheckReport, silenceMs: SILENCE_MS } as const
    return { report: await client.call(call) }
  } catch (error) {
    if (!(error instanceof Failure) || context.socketGiven) throw error
    // The file may be what keeps the daemon from starting.
    if (error.code !== 'daemon-absent' && error.code !== 'configuration') throw error
    return { report: await deps.checkOffline({ configFile }), absence: error }
  }
}

const show = (output: Output, { rows, state, took_ms: tookMs, verdict }: CheckReport): void => {
  const lines = groupsOf(rows).flatMap(group => linesOf(output, group))
  for (const line of alignColumns(lines)) output.line(line)
  output.line()
  output.line(`${output.paint(STYLES[verdict], SUMMARIES[verdict])} State: ${state}. Took ${tookMs} ms.`)
}

/** One line for neighbours that were not asked for the same reason: first and last. */
type Group = { readonly row: CheckRow; last: CheckRow }

const groupsOf = (rows: readonly CheckRow[]): Group[] => {
  const groups: Group[] = []
  for (const row of rows) {
    const before = groups.at(-1)
    const isSame =
      before?.row.verdict === 'skipped' && row.verdict === 'skipped' && before.row.evidence === row.evidence
    if (before && isSame) before.last = row
    else groups.push({ row, last: row })
  }
  return groups
}

const linesOf = (output: Output, { row, last }: Group): string[][] => {
  const { layer, subject, verdict, evidence, next } = row
  const style = STYLES[verdict]
  const alone = subject === undefined ? layer : `${layer} ${subject}`
  const name = row === last ? alone : layer === last.layer ? layer : `${layer} to ${last.layer}`
  const first = [
    output.paint(style, MARKS[verdict]),
    name,
    verdict === 'skipped' ? output.paint('dim', evidence) : evidence,
  ]
  return verdict === 'ok' || next === undefined ? [first] : [first, ['', '', `→ ${next}`]]
}

const STYLES: Readonly<Record<CheckRow['verdict'], Style>> = {
  ok: 'green',
  warning: 'yellow',
  failed: 'red',
  skipped: 'dim',
}
const MARKS: Readonly<Record<CheckRow['verdict'], string>> = {
  ok: 'ok',
  warning: 'warning',
  failed: 'FAILED',
  skipped: '-',
}
const SUMMARIES: Readonly<Record<CheckReport['verdict'], string>> = {
  ok: 'All is well.',
  warning: 'It works, with warnings.',
  failed: 'Something is wrong.',
}
