// `ghconnect exec`: runs a command that finds a token in its environment, and in no argument.

import { Failure } from '../../domain/errors.ts'
import type { CommandSpec } from '../command.ts'
import { requestToken, SCOPE_OPTIONS } from '../scope-options.ts'

export const exec: CommandSpec = {
  name: 'exec',
  summary: 'run a command with a token in GH_TOKEN and GITHUB_TOKEN',
  details: `The token is not renewed while the command runs: --min-ttl asks for one that lasts.
The exit code is the command's own, 128 + N where signal N ended it, 127 where there is no such command, 126 where it cannot be executed.`,
  arguments: [
    { name: 'command', description: 'the command' },
    { name: 'args', description: 'its arguments', variadic: true },
  ],
  options: SCOPE_OPTIONS,
  passThrough: true,
  examples: ['ghconnect exec --repo web --min-ttl 10m -- gh release list --repo octo-org/web'],
  async run(context, { options, args }) {
    const [command, ...rest] = args
    if (!command) throw new Failure('usage', 'the command is missing')
    const { deps, output } = context
    const { token } = await requestToken(context, options)
    const env = { ...deps.env, GH_TOKEN: token, GITHUB_TOKEN: token }
    const outcome = await deps.runChild({ command, args: rest, env })
    if (outcome.kind === 'not-started') output.note(`ghconnect: ${command}: ${outcome.reason}`)
    return outcome.exitCode
  },
}
