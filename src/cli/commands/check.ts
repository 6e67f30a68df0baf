// `ghconnect check`: the doctor, a row for each layer between this machine and a token; `ghconnect debug bundle`: all of that in one file.

import { asFailure, CATALOGUE, Failure, toProblem } from '../../protocol/errors.ts'
import { type CheckReport, type CheckRow, exitOf } from '../../protocol/wire-check.ts'
import { writeDurably } from '../../service/files.ts'
import { adviceOn, forPerson } from '../advice.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { alignColumns, type Output, type Style } from '../output.ts'
import { assertWritable } from '../token-file.ts'

/** The daemon answers within five; one that does not is hung. */
const SILENCE_MS = 10_000
const WATCH_MS = 10_000

export const check: CommandSpec = {
  name: 'check',
  summary: 'look at each layer between this machine and a token, and say what is wrong',
  details: `Configuration, store, recovery key, backup, clock, DNS, proxy, TLS, each host to allow, IP allow list, key, App, installations,
permissions, repositories, quota and cluster: side by side, within five seconds, by the same way out as all calls of the
daemon. Layers behind one that fails are skipped. The exit code is 0 only while tokens are available; otherwise it is that
of the first layer that failed, or 69 before \`enable\`. Without a daemon it shows what this process can see and ends with at least 69.`,
  options: {
    '--watch': 'again each ten seconds, until it is interrupted',
    ...JSON_OPTION,
  },
  examples: ['ghconnect check', 'ghconnect check --json | jq -r \'.rows[] | select(.verdict == "failed") | .next\''],
  async run(context) {
    const { deps, json, options } = context
    if (!options.flag('watch')) return once(context, false)
    const stop = deps.stopSignal()
    let code = 0
    while (!stop.aborted) {
      code = await once(context, !json && deps.stdout.isTTY)
      await deps.clock.sleep(WATCH_MS, stop)
    }
    return code
  },
}

/** Home, then everything below. */
const CLEAR = '\u001b[H\u001b[2J'

const once = async (context: Context, clear: boolean): Promise<number> => {
  const { output, deps } = context
  const { report, absence } = await askDoctor(context)
  if (clear) deps.stdout.write(CLEAR)
  if (absence) {
    output.note(`ghconnect: ${absence.entry.title}: ${absence.message}`)
    const who = await deps.who()
    const fault = report.rows.find(({ layer, verdict }) => layer === 'configuration' && verdict === 'failed')
    // With this file it would not start.
    const advice =
      absence.code === 'daemon-absent' && fault?.next
        ? forPerson(fault.next, { who, isTheirs: false })
        : adviceOn(absence, { command: 'check', who, socketGiven: false })
    output.note(`  What to do: ${advice} This is what can be seen without the daemon:`)
  }
  context.print(report, () => show(output, report))
  return exitOf(report.rows) || (absence || !isServing(report) ? CATALOGUE['not-connected'].exit : 0)
}

/** Nothing may be wrong, and there is still no token: before `enable`, and after `disable`. */
const isServing = ({ state }: CheckReport): boolean => state === 'connected'

const askDoctor = async (context: Context): Promise<{ report: CheckReport; absence?: Failure }> => {
  const { deps, configFile } = context
  try {
    return { report: await context.ask('GET /v1/check', { silenceMs: SILENCE_MS }) }
  } catch (error) {
    if (!(error instanceof Failure) || context.socketGiven) throw error
    // The file may be what keeps the daemon from starting.
    if (error.code !== 'daemon-absent' && error.code !== 'configuration') throw error
    return { report: await deps.checkOffline({ configFile }), absence: error }
  }
}

const show = (output: Output, report: CheckReport): void => {
  const { rows, state, took_ms: tookMs, verdict } = report
  const summary = verdict === 'failed' || isServing(report) ? SUMMARIES[verdict] : NOT_SERVING
  const lines = groupsOf(rows).flatMap(group => linesOf(output, group))
  for (const line of alignColumns(lines)) output.line(line)
  output.line()
  output.line(`${output.paint(STYLES[verdict], summary)} State: ${state}. Took ${tookMs} ms.`)
}

/** One line for neighbours that were not asked for the same reason. */
type Group = { readonly row: CheckRow; readonly folded: CheckRow[] }

const groupsOf = (rows: readonly CheckRow[]): Group[] => {
  const groups: Group[] = []
  for (const row of rows) {
    const before = groups.at(-1)
    const isSame =
      before?.row.verdict === 'skipped' && row.verdict === 'skipped' && before.row.evidence === row.evidence
    if (before && isSame) before.folded.push(row)
    else groups.push({ row, folded: [] })
  }
  return groups
}

const linesOf = (output: Output, { row, folded }: Group): string[][] => {
  const { layer, subject, verdict, evidence, next } = row
  const style = STYLES[verdict]
  const others = [...new Set(folded.map(other => other.layer))].filter(other => other !== layer)
  const name = subject === undefined || folded.length > 0 ? layer : `${layer} ${subject}`
  const rest = others.length === 0 ? '' : ` The same for ${others.join(', ')}.`
  const first = [
    output.paint(style, MARKS[verdict]),
    name,
    verdict === 'skipped' ? output.paint('dim', `${evidence}${rest}`) : evidence,
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
const NOT_SERVING =
  'Nothing is wrong, but this machine is not connected: no token is available. `ghconnect status` shows the next step.'
const SUMMARIES: Readonly<Record<CheckReport['verdict'], string>> = {
  ok: 'All is well.',
  warning: 'Working, with warnings.',
  failed: 'Something is wrong.',
}

export const debugBundle: CommandSpec = {
  name: 'debug bundle',
  summary: 'write versions, configuration, status, check and journal into one file, without secrets',
  details: `Works without the daemon and with a configuration that it refuses; what cannot be read says why. Run it with sudo for all of it.
Passwords, tokens, keys and links to the settings page are left out. Names of accounts, repositories, hosts, users and services are in it: read it before you send it.`,
  options: {
    '--output FILE': 'write this file (0600) instead of ghconnect-debug-TIME.tar.gz here',
  },
  examples: ['sudo ghconnect debug bundle', 'sudo ghconnect debug bundle --output /tmp/ghconnect-debug.tar.gz'],
  async run(context) {
    const { deps, output, configFile, options } = context
    const time = new Date(deps.clock.now()).toISOString().replaceAll(/[-:]|\.\d+/g, '')
    const file = options.text('output') ?? `ghconnect-debug-${time}.tar.gz`
    if (file === '-') throw new Failure('usage', '--output -: give a file')
    assertWritable(file)
    output.progress('Asking the daemon, or the machine in its place.')
    const [status, report, findings] = await Promise.all([
      attempt(() => context.ask('GET /v1/status')),
      // Where the daemon that was named is away, the machine is looked at all the same.
      attempt(() => askDoctor({ ...context, socketGiven: false })),
      attempt(async () => (await deps.checkConfig({ configFile })).findings),
    ])
    const bytes = await deps.debugBundle({ configFile, answers: { status, check: report, 'config-check': findings } })
    writeDurably(file, bytes, 0o600)
    output.line(file)
    output.note(
      'It has no passwords, tokens or keys, but names of accounts, repositories and hosts: read it before you send it.',
    )
  },
}

const attempt = async (ask: () => Promise<unknown>): Promise<unknown> => {
  try {
    return await ask()
  } catch (error) {
    return toProblem(asFailure(error))
  }
}
