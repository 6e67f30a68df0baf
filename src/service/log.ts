// The journal: structured lines on standard error, without secrets.

export type Fields = Readonly<Record<string, unknown>>

export type Log = {
  debug(message: string, fields?: Fields): void
  info(message: string, fields?: Fields): void
  warn(message: string, fields?: Fields): void
  error(message: string, fields?: Fields): void
}

export type LogLevel = keyof Log

/** Tokens in both formats, and whatever GitHub appends to them; App JWTs; PEM, also torn; age identities. What is known to be secret is a `Secret`. */
const SECRETS = new RegExp(
  [
    /gh[a-z]_[A-Za-z0-9._-]{36,}/,
    /eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/,
    /-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/,
    /AGE-SECRET-KEY-[0-9A-Z-]+/,
  ]
    .map(pattern => pattern.source)
    .join('|'),
  'g',
)

export const redact = (text: string): string => text.replaceAll(SECRETS, '[secret]')

/** syslog's priorities as sd-daemon(3) reads them at the start of a line. */
const PRIORITY: Readonly<Record<LogLevel, number>> = { debug: 7, info: 6, warn: 4, error: 3 }

export type LogOptions = {
  readonly level: LogLevel
  /** Standard error goes to the journal: lines begin with `<N>`, which journald takes for their priority. */
  readonly journal: boolean
  /** Hands the journal an entry with its fields. Where it throws, a line is written in its place. */
  readonly send?: (fields: Readonly<Record<string, string>>) => void
  readonly write?: (line: string) => void
}

export const createLog = (options: LogOptions): Log => {
  const write = options.write ?? writeToStderr
  const enter = (level: LogLevel, message: string, fields: Fields = {}): void => {
    if (PRIORITY[level] > PRIORITY[options.level]) return
    const told = Object.entries(fields).map(
      ([key, value]) => [key, value instanceof Error ? describeError(value) : value] as const,
    )
    if (!options.journal) {
      const line = { level, time: new Date().toISOString(), ...Object.fromEntries(told), message }
      return write(redact(`${JSON.stringify(line)}\n`))
    }
    const text = redact(sentence(message, told))
    try {
      if (options.send) return options.send(entry(level, text, told))
    } catch {
      // Written below: the journal may be starting anew, and an entry may be too long for it.
    }
    write(`<${PRIORITY[level]}>${text}\n`)
  }
  const at = (level: LogLevel) => (message: string, fields?: Fields) => enter(level, message, fields)
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

let isOwned = false

/** Whoever reads the lines may go, as journald does when it starts anew: that is no reason to end with them. */
const writeToStderr = (line: string): void => {
  if (!isOwned) process.stderr.on('error', () => undefined)
  isOwned = true
  process.stderr.write(line)
}

type Pairs = readonly (readonly [string, unknown])[]

/** What a person reads, its priority, and each field under a name of ours: `journalctl GHCONNECT_INSTALLATION=7`. */
const entry = (level: LogLevel, text: string, fields: Pairs): Record<string, string> => ({
  MESSAGE: text,
  PRIORITY: String(PRIORITY[level]),
  SYSLOG_IDENTIFIER: 'ghconnectd',
  ...Object.fromEntries(
    fields.flatMap(([key, value]) =>
      value === undefined ? [] : [[fieldName(key), redact(typeof value === 'string' ? value : JSON.stringify(value))]],
    ),
  ),
})

const fieldName = (key: string): string =>
  `GHCONNECT_${key
    .replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_')
    .replaceAll(/[^A-Za-z0-9]/g, '_')
    .toUpperCase()}`

/** For journald: the message first, as a person reads it, then the fields as `key=value`. */
const sentence = (message: string, fields: Pairs): string => {
  const pairs = fields.map(
    ([key, value]) => `${key}=${typeof value === 'string' ? quoted(value) : JSON.stringify(value)}`,
  )
  return [message, ...pairs].join(' ').replaceAll('\n', ' ')
}

const quoted = (value: string): string => (/^[\w.:/@-]+$/.test(value) ? value : JSON.stringify(value))

/** An error and its causes in one line; stacks are for `internal` errors only, where nothing else tells the place. */
export const describeError = (error: Error): string => {
  const parts: string[] = []
  let current: unknown = error
  while (current instanceof Error && parts.length < 8) {
    parts.push(
      'code' in current && typeof current.code === 'string' ? `${current.code}: ${current.message}` : current.message,
    )
    current = current.cause
  }
  if (error.name !== 'Failure' || ('code' in error && error.code === 'internal')) {
    const deepest = error.cause instanceof Error ? error.cause : error
    parts.push(
      deepest.stack
        ?.split('\n')
        .slice(1, 6)
        .map(line => line.trim())
        .join(' < ') ?? '',
    )
  }
  return parts.join(' <- ')
}
