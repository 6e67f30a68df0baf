// The file of reviewed messages: a heading for each cell (state | callers | commands), its exit code, and all that it printed.

/** What differs in each run, by what it is. */
const VARYING: readonly (readonly [RegExp, string])[] = [
  [/\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z/g, 'TIME'],
  [/\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}Z/g, 'TIME'],
  [/\b\d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC \([^)]*\)/g, 'TIME (AGO)'],
  [/\bghs_[\w.-]+/g, 'TOKEN'],
  [/\bSHA256:[A-Za-z0-9+/]+=*/g, 'SHA256:FINGERPRINT'],
  [/\bghconnect-signer:[\w+/-]+/g, 'SIGNER'],
  [/\/enable\/[0-9a-f]{32}/g, '/enable/STATE'],
  [/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT'],
  [/\b(in )?\d+ (s|min|h|ms)( ago)?\b/g, 'DURATION'],
  [/\bin \d+ minutes?\b/g, 'in DURATION'],
  [/\bnow\b(?=, next|,|\n|:)/g, 'DURATION'],
  [/\b\d+ of 5000 requests/g, 'N of 5000 requests'],
  [/\((id) \d+, client \w+\)/g, '(id ID, client CLIENT)'],
  [/\bid \d+\b/g, 'id ID'],
  [/\b(Installation|installation) \d+/g, '$1 ID'],
  [/^(Installed +)\d+/gm, '$1ID'],
  [/\/installations\/\d+/g, '/installations/ID'],
  [/\bgeneration \d+/g, 'generation N'],
  [/\bprocess \d+/g, 'process PID'],
  [/\b\d+ live\b/g, 'N live'],
  [/\b\d+ tokens? refreshed/g, 'N tokens refreshed'],
  [/^(Version +)\S+$/gm, '$1VERSION'],
  [/"[A-Z0-9]{4}(?::[A-Z0-9]+){2,}"/g, 'REQUEST'],
  [/\brequest [0-9A-F:]+/g, 'request ID'],
]

export const plainText = (
  { code, stdout, stderr }: { code: number; stdout: string; stderr: string },
  places: readonly (readonly [string, string])[],
): string => {
  let text = [
    `exit ${code}`,
    stdout.trimEnd(),
    ...stderr
      .trimEnd()
      .split('\n')
      .map(line => line && `! ${line}`),
  ]
    .filter(Boolean)
    .join('\n')
  for (const [from, to] of places) text = text.replaceAll(from, to)
  for (const [pattern, to] of VARYING) text = text.replaceAll(pattern, to)
  // Columns are as wide as what varies in them.
  return text
    .split('\n')
    .map(line => line.replaceAll(/ {2,}/g, '  ').trimEnd())
    .join('\n')
}

/** Callers and commands that meet the same text are named together: what has to be read is written once. */
export const printTable = (cells: ReadonlyMap<string, string>): string => {
  const callersOf = new Map<string, string[]>()
  for (const [name, text] of cells) {
    const [state = '', caller = '', command = ''] = name.split(' | ')
    const key = JSON.stringify([state, command, text])
    callersOf.set(key, [...(callersOf.get(key) ?? []), caller])
  }
  const commandsOf = new Map<string, string[]>()
  for (const [key, callers] of callersOf) {
    const [state, command, text]: string[] = JSON.parse(key)
    const shared = JSON.stringify([state, callers.join(', '), text])
    commandsOf.set(shared, [...(commandsOf.get(shared) ?? []), command ?? ''])
  }
  return [...commandsOf]
    .map(([key, commands]) => {
      const [state, callers, text]: string[] = JSON.parse(key)
      return `## ${state} | ${callers} | ${commands.join('; ')}\n${text}\n`
    })
    .join('\n')
}

export const parseTable = (file: string): Map<string, string> =>
  new Map(
    file.split(/^## /m).flatMap((part): [string, string][] => {
      const at = part.indexOf('\n')
      if (at < 0) return []
      const [state = '', callers = '', commands = ''] = part.slice(0, at).split(' | ')
      const text = part.slice(at + 1).trimEnd()
      return commands
        .split('; ')
        .flatMap(command =>
          callers.split(', ').map((caller): [string, string] => [`${state} | ${caller} | ${command}`, text]),
        )
    }),
  )
