// `ghconnect exec`: runs a command that finds a token in its environment, and in no argument.

import { Failure } from '../../protocol/errors.ts'
import type { ChildOutcome, ChildRequest } from '../child.ts'
import type { CommandSpec, Context } from '../command.ts'
import { keepFile } from '../keep-file.ts'
import { readScope, requestToken, SCOPE_OPTIONS } from '../scope-options.ts'
import { createTokenFile } from '../token-file.ts'

const TOKEN_FILE_MODE = 0o600

export const exec: CommandSpec = {
  name: 'exec',
  summary: 'run a command with a token in GH_TOKEN and GITHUB_TOKEN',
  details: `The command takes the place of this process. Its token is not renewed: --min-ttl asks for one that lasts.
With --refresh-file this process stays, keeps a file with a good token for as long as the command runs, and removes it then;
GHCONNECT_TOKEN_FILE names the file. It exits with the command's code, 128 + N where signal N ended it.
The exit code is 127 where there is no such command, 126 where it cannot be executed.`,
  arguments: [
    { name: 'command', description: 'the command' },
    { name: 'args', description: 'its arguments', variadic: true },
  ],
  options: [
    ...SCOPE_OPTIONS,
    { flags: '--refresh-file PATH', description: 'a file that holds a good token all the time' },
  ],
  passThrough: true,
  examples: [
    'ghconnect exec --repo web --min-ttl 10m -- gh release list --repo octo-org/web',
    'ghconnect exec --refresh-file /run/user/1000/token -- ./nightly-job',
  ],
  async run(context, { options, args }) {
    const [command, ...rest] = args
    if (!command) throw new Failure('usage', 'the command is missing')
    const { deps, output } = context
    const path = options.text('refreshFile')
    const file = path === undefined ? undefined : createTokenFile(path, TOKEN_FILE_MODE)
    file?.check()
    const { token } = await requestToken(context, options)
    file?.write(token)
    const env = {
      ...deps.env,
      GH_TOKEN: token,
      GITHUB_TOKEN: token,
      ...(path !== undefined && { GHCONNECT_TOKEN_FILE: path }),
    }
    const child = { command, args: rest, env }
    if (!file) await deps.replaceProcess?.(child)
    // How long it must last is said of the first token: the later ones come in time by themselves.
    const { min_ttl_seconds: _, ...request } = readScope(options)
    const socket = options.flag('admin') ? 'admin' : 'token'
    const outcome = file ? await runBeside(context, child, { file, request, socket }) : await deps.runChild(child)
    if (outcome.kind === 'not-started') output.note(`ghconnect: ${command}: ${outcome.reason}`)
    return outcome.exitCode
  },
}

/** However the file fares, the command runs to its end. */
const runBeside = async (
  context: Context,
  child: ChildRequest,
  kept: Pick<Parameters<typeof keepFile>[1], 'file' | 'request' | 'socket'>,
): Promise<ChildOutcome> => {
  const { deps, output } = context
  const ended = new AbortController()
  const keeping = keepFile(context, { ...kept, signal: ended.signal, write: ({ token }) => token }).catch(
    (error: unknown) =>
      output.note(`ghconnect: the token file is not kept any more: ${error instanceof Error ? error.message : ''}`),
  )
  try {
    return await deps.runChild(child)
  } finally {
    ended.abort()
    await keeping
    removeQuietly(kept.file, output.note)
  }
}

const removeQuietly = (file: { remove(): void }, note: (text: string) => void): void => {
  try {
    file.remove()
  } catch (error) {
    note(`ghconnect: ${error instanceof Error ? error.message : 'the token file stays'}`)
  }
}
