// The question before a command destroys something: the account's name, typed on a terminal. Without a terminal only `--yes` answers it.

import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Failure } from '../protocol/errors.ts'
import type { Context, OptionSpec } from './command.ts'

export const YES_OPTION: OptionSpec = { flags: '--yes', description: 'do not ask' }

/** Throws `usage` unless the person typed `name`. `what` continues "This ...": what is about to be destroyed. */
export const confirm = async (
  { output, deps }: Context,
  { what, name, yes }: { what: string; name: string; yes: boolean },
): Promise<void> => {
  if (yes) return
  if (!deps.stdin.isTTY || !deps.stderr.isTTY) {
    throw new Failure('usage', `this ${what}; without a terminal to ask on, it needs --yes`, {
      next: 'Run it again with --yes, or on a terminal.',
    })
  }
  output.prompt(`This ${what}. Type ${name} to continue: `)
  if ((await readLine(deps.stdin))?.toLowerCase() !== name.toLowerCase()) {
    throw new Failure('usage', `that is not ${name}; nothing was changed`, {
      next: `Run it again, and type ${name}.`,
    })
  }
}

/** Trimmed; undefined where the input ended first. */
export const readLine = async (input: Context['deps']['stdin']): Promise<string | undefined> => {
  const lines = createInterface({ input })
  const ended = once(lines, 'close').then((): unknown[] => [])
  const [typed] = await Promise.race([once(lines, 'line'), ended])
  lines.close()
  input.pause()
  return typeof typed === 'string' ? typed.trim() : undefined
}
