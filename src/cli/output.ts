// What the command line writes: data to standard output, the rest to standard error; colour and progress for terminals.

import { randomBytes } from 'node:crypto'
import { type Failure, toProblem } from '../protocol/errors.ts'
import { inOptions } from './advice.ts'

export type Sink = { write(text: string): void; readonly isTTY: boolean }

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow'

export type Output = ReturnType<typeof createOutput>

type Environment = Readonly<Record<string, string | undefined>>

export const createOutput = (streams: { stdout: Sink; stderr: Sink; env: Environment }) => {
  const { stdout, stderr, env } = streams
  const coloured = stdout.isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb'
  const paint = (style: Style, text: string): string => (coloured ? `${OWN}${CODES[style]};${text}${OWN}0;` : text)
  /** One line of data, whatever the text holds: see `escapeText`. */
  const line = (text = ''): void => stdout.write(`${printable(text)}\n`)
  /** Something that the person has to know, on standard error. */
  const note = (text: string): void => stderr.write(`${plain(text)}\n`)
  const table = (rows: readonly (readonly string[])[], header?: readonly string[]): void => {
    const all = header ? [header, ...rows] : rows
    for (const [at, text] of alignColumns(all).entries()) line(header && at === 0 ? paint('bold', text) : text)
  }
  return {
    line,
    paint,
    note,
    table,
    /** Labels, each with the lines beside it. */
    fields: (rows: readonly (readonly string[])[]): void =>
      table(rows.flatMap(([label = '', ...lines]) => lines.map((text, at) => [at === 0 ? label : '', text]))),
    json: (value: unknown): void =>
      stdout.write(`${escapeJson(JSON.stringify(value, undefined, stdout.isTTY ? 2 : 0))}\n`),
    /** What is going on, on standard error, where that is a terminal. */
    progress(text: string): void {
      if (stderr.isTTY) note(text)
    },
    /** Asks for a line; for terminals only. No line end is written. */
    prompt: (text: string): void => stderr.write(plain(text)),
    /** `forBackups`: in lines that backup programs count. */
    failure(failure: Failure, options: { json: boolean; forBackups?: boolean; advice?: string }): void {
      const { json, forBackups = false, advice = failure.next } = options
      if (json) {
        stderr.write(`${escapeJson(JSON.stringify({ ...toProblem(failure), next: advice }))}\n`)
        return
      }
      const retry = failure.retryAfterSeconds === undefined ? '' : ` (in ${failure.retryAfterSeconds} s)`
      note(`${forBackups ? 'Fatal' : 'ghconnect'}: ${oneLine(headline(failure), forBackups)}`)
      note(`${forBackups ? 'Fatal:' : ' '} What to do: ${advice}${retry}`)
    },
  }
}

/** What was typed wrong says enough by itself. */
const headline = ({ code, entry, message }: Failure): string =>
  code === 'usage' ? message : `${entry.title}: ${code === 'invalid-request' ? inOptions(message) : message}`

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

/** Control and format characters (bidirectional marks among them), line and paragraph separators, halves of surrogate pairs. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/**
 * The text as a terminal may show it: what would move the cursor, begin a line, reorder or hide text is written as JSON escapes it. Names
 * come from elsewhere, and no text may pose as several lines.
 */
export const escapeText = (text: string): string =>
  text.replaceAll(
    UNSAFE,
    found =>
      SHORT[found] ??
      Array.from({ length: found.length }, (_, at) => `\\u${found.charCodeAt(at).toString(16).padStart(4, '0')}`).join(
        '',
      ),
  )

/** Line ends of JSON are its layout; within a text they are escaped already. */
const escapeJson = (json: string): string => json.split('\n').map(escapeText).join('\n')

/** Stands for the colours that `paint` gives, until they are written: no text from elsewhere can contain it. */
const OWN = `\u0000${randomBytes(8).toString('hex')}:`
const OWN_COLOUR = new RegExp(`${OWN}(\\d+);`)

const printable = (text: string): string =>
  text
    .split(OWN_COLOUR)
    .map((part, at) => (at % 2 === 1 ? `\u001b[${part}m` : escapeText(part)))
    .join('')

const plain = (text: string): string =>
  text
    .split(OWN_COLOUR)
    .filter((_, at) => at % 2 === 0)
    .map(escapeText)
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
