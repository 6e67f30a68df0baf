// The numbers that a script is given as options.

import { parseArgs } from 'node:util'

/** `fallback`: what holds where the option is not given. */
type Range = { readonly fallback: number; readonly least: number; readonly most: number }

export const SEED: Range = { fallback: Math.floor(Math.random() * 1_000_000), least: 0, most: 999_999_999 }

/** `--NAME N` for each range. Prints `usage` and ends the process with 0 for `--help`, with 64 where an option is wrong or unknown. */
export const readNumbers = <Name extends string>(
  usage: string,
  ranges: Readonly<Record<Name, Range>>,
): Record<Name, number> => {
  const names = Object.keys(ranges)
  const read = (): Record<string, string | boolean | undefined> => {
    const options = Object.fromEntries(names.map(name => [name, { type: 'string' }] as const))
    return parseArgs({ options: { ...options, help: { type: 'boolean' } } }).values
  }
  const refuse = (): never => {
    process.stderr.write(usage)
    return process.exit(64)
  }
  const numberOf = (text: unknown, { fallback, least, most }: Range): number => {
    if (text === undefined) return fallback
    const number = typeof text === 'string' && /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    return number >= least && number <= most ? number : refuse()
  }
  let values: ReturnType<typeof read>
  try {
    values = read()
  } catch {
    return refuse()
  }
  if (values['help']) {
    process.stdout.write(usage)
    process.exit(0)
  }
  const numbers: Partial<Record<Name, number>> = {}
  let name: Name
  for (name in ranges) numbers[name] = numberOf(values[name], ranges[name])
  return numbers as Record<Name, number>
}
