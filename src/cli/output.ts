// What the command line writes: data to standard output, the rest to standard error; colour and progress for terminals.

import { type Failure, toProblem } from '../domain/errors.ts'

export type Sink = { write(text: string): void; readonly isTTY: boolean }

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow'

export type Output = {
  /** A line of data. Control characters are taken out: names come from elsewhere, and terminals obey them. */
  line(text?: string): void
  json(value: unknown): void
  table(rows: readonly (readonly string[])[], header?: readonly string[]): void
  /** Something that the person has to know, on standard error. */
  note(text: string): void
  /** What is going on, on standard error, where that is a terminal. */
  progress(text: string): void
  /** Asks for a line; for terminals only. No line end is written. */
  prompt(text: string): void
  /** `forBackups`: in lines that backup programs count. */
  failure(failure: Failure, options: { json: boolean; forBackups?: boolean }): void
  paint(style: Style, text: string): string
}

type Environment = Readonly<Record<string, string | undefined>>

export const createOutput = (streams: { stdout: Sink; stderr: Sink; env: Environment }): Output => {
  const { stdout, stderr, env } = streams
  const coloured = stdout.isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb'
  const paint = (style: Style, text: string): string => (coloured ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text)
  const line = (text = ''): void => stdout.write(`${printable(text)}\n`)
  const note = (text: string): void => stderr.write(`${plain(text)}\n`)
  return {
    line,
    paint,
    note,
    json: value => stdout.write(`${JSON.stringify(value, undefined, stdout.isTTY ? 2 : 0)}\n`),
    table(rows, header) {
      const all = header ? [header, ...rows] : rows
      for (const [at, text] of alignColumns(all).entries()) line(header && at === 0 ? paint('bold', text) : text)
    },
    progress(text) {
      if (stderr.isTTY) note(text)
    },
    prompt: text => stderr.write(plain(text)),
    failure(failure, { json, forBackups = false }) {
      if (json) {
        stderr.write(`${JSON.stringify(toProblem(failure))}\n`)
        return
      }
      const retry = failure.retryAfterSeconds === undefined ? '' : ` (in ${failure.retryAfterSeconds} s)`
      note(
        `${forBackups ? 'Fatal' : 'ghconnect'}: ${oneLine(`${failure.entry.title}: ${failure.message}`, forBackups)}`,
      )
      note(`${forBackups ? 'Fatal:' : ' '} What to do: ${failure.entry.next}${retry}`)
    },
  }
}

const oneLine = (text: string, wanted: boolean): string => (wanted ? text.replaceAll(/\s+/g, ' ') : text)

const CODES: Readonly<Record<Style, number>> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 }

/** Lines of columns two spaces apart, without blanks at their ends. */
export const alignColumns = (rows: readonly (readonly string[])[]): string[] => {
  const widths: number[] = []
  for (const row of rows)
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, plain(cell).length)
  return rows.map(row =>
    row
      .map((cell, at) => cell + ' '.repeat((widths[at] ?? 0) - plain(cell).length))
      .join('  ')
      .trimEnd(),
  )
}

const isControl = (character: string): boolean => {
  const code = character.codePointAt(0) ?? 0
  return (
    (code < 0x20 && code !== 0x09 && code !== 0x0a) ||
    (code >= 0x7f && code < 0xa0) ||
    (code >= 0x202a && code <= 0x202e) ||
    (code >= 0x2066 && code <= 0x2069)
  )
}

const withoutControls = (text: string): string =>
  Array.from(text)
    .filter(character => !isControl(character))
    .join('')

/** Our own colours, and nothing else that a terminal would obey. */
const OWN_COLOUR = new RegExp(`(${String.fromCharCode(27)}\\[(?:0|1|2|31|32|33)m)`)
const printable = (text: string): string =>
  text
    .split(OWN_COLOUR)
    .map((part, at) => (at % 2 === 1 ? part : withoutControls(part)))
    .join('')

const plain = (text: string): string =>
  text
    .split(OWN_COLOUR)
    .filter((_, at) => at % 2 === 0)
    .map(withoutControls)
    .join('')

/** `in 38 min`, `3 days ago`, `now`: the larger unit alone, rounded down. */
export const relativeTime = (atMs: number, nowMs: number): string => {
  const distance = Math.abs(atMs - nowMs)
  const [size, unit] = UNITS.find(([ms]) => distance >= ms) ?? [0, '']
  if (size === 0) return 'now'
  const count = Math.floor(distance / size)
  const text = `${count} ${unit}${unit === 'day' && count !== 1 ? 's' : ''}`
  return atMs > nowMs ? `in ${text}` : `${text} ago`
}

const UNITS: readonly (readonly [number, string])[] = [
  [86_400_000, 'day'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
]

/** `2026-07-11 09:12 UTC (3 days ago)`, from ISO 8601. */
export const describeTime = (iso: string, nowMs: number): string =>
  `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC (${relativeTime(Date.parse(iso), nowMs)})`

export const count = (many: number, noun: string): string => `${many} ${noun}${many === 1 ? '' : 's'}`
