// Writes the manual page of the command line, in the man macros of troff, from the commands' own definitions.

import type { Exit } from '../protocol/errors.ts'
import { type CommandSpec, GLOBAL_OPTIONS, type OptionTable, readFlags } from './command.ts'

/** ghconnect(1). */
export const manPage = (commands: readonly CommandSpec[], version: string): string =>
  [
    `.TH GHCONNECT 1 "" "ghconnectd ${escape(version)}" "User Commands"`,
    '.SH NAME',
    String.raw`ghconnect \- connect this machine to GitHub, and hand its tokens to local processes`,
    '.SH SYNOPSIS',
    String.raw`.B ghconnect\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]`,
    '.SH OPTIONS',
    ...options(GLOBAL_OPTIONS),
    '.SH COMMANDS',
    ...commands.flatMap(section),
    '.SH EXIT STATUS',
    ...EXITS.flatMap(([code, meaning]) => ['.TP', `.B ${code}`, meaning]),
    '.SH ENVIRONMENT',
    ...ENVIRONMENT.flatMap(([name, meaning]) => ['.TP', `.B ${name}`, meaning]),
    '',
  ].join('\n')

const section = (command: CommandSpec): string[] => [
  `.SS ${escape([`ghconnect ${command.name}`, ...(command.arguments ?? []).map(a => a.name.toUpperCase())].join(' '))}`,
  text(`${command.summary.charAt(0).toUpperCase()}${command.summary.slice(1)}.`),
  ...(command.details === undefined ? [] : ['.PP', ...command.details.split('\n').map(text)]),
  ...options(command.options),
  '.PP',
  command.examples.length > 1 ? 'Examples:' : 'Example:',
  '.PP',
  '.nf',
  '.RS',
  ...command.examples.map(text),
  '.RE',
  '.fi',
]

const options = (table: OptionTable = {}): string[] =>
  Object.entries(table).flatMap(([flags, description]) => {
    const { long, value } = readFlags(flags)
    const shown = value === undefined ? '' : String.raw` \fI${escape(value)}\fR`
    return ['.TP', String.raw`\fB${escape(long)}\fR${shown}`, text(description)]
  })

/** troff takes a backslash for a command, and a hyphen for one that may be set as a dash. */
const escape = (plain: string): string => plain.replaceAll('\\', String.raw`\e`).replaceAll('-', String.raw`\-`)

/** A line that begins with a dot or an apostrophe would be a command. */
const text = (line: string): string => escape(line).replace(/^(?=[.'])/, String.raw`\&`)

const MEANINGS: Readonly<Record<Exit, string>> = {
  64: 'Wrong usage.',
  65: 'The data are bad.',
  69: 'Something is unavailable: the daemon, the connection, the proxy.',
  70: 'Internal error.',
  74: 'Reading or writing failed.',
  75: 'It may work later: try again.',
  77: 'Not permitted.',
  78: 'The configuration is wrong.',
}

const EXITS: readonly (readonly [string, string])[] = [['0', 'It worked.'], ...Object.entries(MEANINGS)]

const ENVIRONMENT: readonly (readonly [string, string])[] = [
  ['GHCONNECT_SOCKET', String.raw`As \fB\-\-socket\fR.`],
  ['GHCONNECT_CONFIG', String.raw`As \fB\-\-config\fR.`],
  [
    'GHCONNECT_SEALED_STORE_KEY',
    String.raw`The sealed credential store.key, which root opens with \fBsystemd\-creds\fR where the daemon does not run and [store] key_file names no file; by default /etc/ghconnectd/credentials/store.key.`,
  ],
  ['NO_COLOR', 'No colour, where it is set.'],
]
