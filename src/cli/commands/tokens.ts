// Tokens for those who use them: `token`, `exec`, `sink`, and the scope that they ask for; `refresh` and `revoke`, which concern all tokens.

import { failureOfState } from '../../protocol/connection.ts'
import { CATALOGUE, Failure, isCode } from '../../protocol/errors.ts'
import { writeToken } from '../../protocol/token-texts.ts'
import { parseWith, TokenRequest } from '../../protocol/wire.ts'
import { adviceOn } from '../advice.ts'
import type { ChildRequest } from '../child.ts'
import { type CommandSpec, type Context, JSON_OPTION, YES_OPTION } from '../command.ts'
import { confirm } from '../input.ts'
import { count, describeTime } from '../output.ts'
import { createTokenFile, keepFile, type Keeping } from '../token-file.ts'
import type { TokenAnswer } from '../watch.ts'

/** What `explain` takes as well. */
export const SCOPE_OPTIONS = {
  '--profile NAME': 'the profile to ask under; needed where several would do',
  '--installation ID': 'an installation, by id or account; needed where there are several',
  '--repo NAME...': 'only this repository (may be given again)',
  '--permission NAME=ACCESS...': 'only this permission: read, write or admin (may be given again)',
}
export const SCOPE_VALUES = {
  '--profile': 'own-profiles',
  '--installation': 'installations',
  '--permission': 'permissions',
} as const
const TOKEN_OPTIONS = {
  ...SCOPE_OPTIONS,
  '--min-ttl TIME': 'how long the token must last at least, such as 10m; 40m at most',
  '--admin': 'ask the admin socket, where any scope is given',
}

export const token: CommandSpec = {
  name: 'token',
  summary: 'print an installation access token',
  details:
    'Which scopes you get is decided by the policy of the daemon. What you leave out is taken from your profile.',
  options: { ...TOKEN_OPTIONS, ...JSON_OPTION },
  complete: SCOPE_VALUES,
  examples: [
    'ghconnect token --repo web --permission contents=read',
    'ghconnect token --min-ttl 30m | gh auth login --with-token',
  ],
  async run(context) {
    const answer = await requestToken(context)
    context.print(answer, () => context.output.line(answer.token))
  },
}

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
  options: { ...TOKEN_OPTIONS, '--refresh-file PATH': 'a file that holds a good token all the time' },
  complete: SCOPE_VALUES,
  passThrough: true,
  examples: [
    'ghconnect exec --repo web --min-ttl 10m -- gh release list --repo octo-org/web',
    'ghconnect exec --refresh-file /run/user/1000/token -- ./nightly-job',
  ],
  async run(context) {
    const { deps, output, options } = context
    const [command, ...args] = context.args
    if (!command) throw new Failure('usage', 'the command is missing')
    const path = options.text('refreshFile')
    const file = path === undefined ? undefined : createTokenFile(path, TOKEN_FILE_MODE)
    file?.check()
    const { token: text } = await requestToken(context)
    file?.write(text)
    const named = path === undefined ? {} : { GHCONNECT_TOKEN_FILE: path }
    const child = { command, args, env: { ...deps.env, GH_TOKEN: text, GITHUB_TOKEN: text, ...named } }
    if (!file) await deps.replaceProcess?.(child)
    // How long it must last is said of the first token: the later ones come in time by themselves.
    const { min_ttl_seconds: _, ...request } = readScope(context)
    const outcome = await (file
      ? runBeside(context, child, { file, request, socket: socketOf(context) })
      : deps.runChild(child))
    if (outcome.kind === 'not-started') output.note(`ghconnect: ${command}: ${outcome.reason}`)
    return outcome.exitCode
  },
}

/** However the file fares, the command runs to its end. */
const runBeside = async (
  context: Context,
  child: ChildRequest,
  kept: Pick<Keeping, 'file' | 'request' | 'socket'>,
): ReturnType<Context['deps']['runChild']> => {
  const { deps, output } = context
  const ended = new AbortController()
  const keeping = keepFile(context, { ...kept, signal: ended.signal, write: answer => answer.token }).catch(
    (error: unknown) =>
      output.note(`ghconnect: the token file is not kept any more: ${error instanceof Error ? error.message : ''}`),
  )
  try {
    return await deps.runChild(child)
  } finally {
    ended.abort()
    await keeping
    try {
      kept.file.remove()
    } catch (error) {
      output.note(`ghconnect: ${error instanceof Error ? error.message : 'the token file stays'}`)
    }
  }
}

export const sink: CommandSpec = {
  name: 'sink',
  summary: 'keep a file with a token, as a sink of the configuration says',
  details: `An ordinary client of the daemon, for ghconnect-sink@NAME.service: it runs as the owner of the file, whom the profile admits.
The file is written whole at each new token, stays where writing fails, and is removed when tokens are no longer served.
A path that is a link, a folder, a mount of its own or another user's is refused, as is a folder where it cannot be replaced, with exit code 78.`,
  arguments: [{ name: 'name', description: 'the name of the sink' }],
  complete: { name: 'sinks' },
  examples: ['ghconnect sink actions'],
  async run(context) {
    const { deps, configFile } = context
    const [name = ''] = context.args
    const { createNotifier } = await import('../../service/systemd.ts')
    const config = await context.config()
    const found = config.sinks.find(known => known.name === name)
    if (!found) throw new Failure('configuration', `${configFile}: sinks: there is none of the name ${name}`)
    const file = createTokenFile(found.path, found.mode)
    file.check()
    const notifier = createNotifier(deps.env)
    await keepFile(context, {
      request: { profile: found.profile },
      file,
      socket: 'token',
      signal: deps.stopSignal(),
      write: answer => writeToken(found.format, answer, config.github),
      // Whoever is started after this finds the file, or the reason in the status why there is none.
      onNews: news => notifier.ready(`${found.path}: ${news}`),
    })
  },
}

const socketOf = ({ options }: Context): 'admin' | 'token' => (options.flag('admin') ? 'admin' : 'token')

const requestToken = async (context: Context): Promise<TokenAnswer> => {
  const body = readScope(context)
  const client = await context.client(socketOf(context))
  return client.ask('POST /v1/tokens', { body })
}

/** Throws `usage`. */
export const readScope = ({ options }: Context): TokenRequest => {
  const [repositories, permissions] = [options.list('repo'), options.list('permission')]
  const minTtl = options.text('minTtl')
  try {
    return parseWith(TokenRequest, {
      profile: options.text('profile'),
      installation: options.text('installation'),
      repositories: repositories.length > 0 ? repositories : undefined,
      permissions: permissions.length > 0 ? readPermissions(permissions) : undefined,
      min_ttl_seconds: minTtl === undefined ? undefined : parseSeconds(minTtl),
    })
  } catch (error) {
    if (error instanceof Failure && error.code === 'invalid-request') {
      throw new Failure('usage', error.message, { cause: error })
    }
    throw error
  }
}

const readPermissions = (pairs: readonly string[]): Record<string, string> => {
  const permissions = new Map<string, string>()
  for (const pair of pairs) {
    const [, name, access] = /^([a-z][a-z0-9_]*)=(read|write|admin)$/.exec(pair) ?? []
    if (name === undefined || access === undefined) {
      throw new Failure('usage', `--permission ${pair}: write it as contents=read (or write, or admin)`)
    }
    if (permissions.has(name)) throw new Failure('usage', `--permission ${pair}: ${name} stands twice`)
    permissions.set(name, access)
  }
  return Object.fromEntries(permissions)
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 }
const MAX_SECONDS = 2400

/** `90s`, `10m`, `600` (seconds). Throws `usage`. */
const parseSeconds = (text: string): number => {
  const [, digits, unit = 's'] = /^(\d{1,5})([smh])?$/.exec(text) ?? []
  const seconds = Number(digits) * (UNIT_SECONDS[unit] ?? Number.NaN)
  if (seconds <= MAX_SECONDS) return seconds
  throw new Failure('usage', `--min-ttl ${text}: must be a time up to 40m, such as 90s or 10m`)
}

/** Of a failure with a code that this version does not know, or where GitHub was not asked yet: another try may help. */
const TRY_AGAIN = 75

export const refresh: CommandSpec = {
  name: 'refresh',
  summary: 'refresh all tokens in use now',
  details: 'The exit code is that of the first failure, where there was one; the old token of its scope is kept.',
  options: JSON_OPTION,
  examples: ['ghconnect refresh'],
  async run(context) {
    const { output, deps, socketGiven } = context
    const answer = await context.ask('POST /v1/refresh')
    context.print(answer, () => output.line(`${count(answer.refreshed, 'token')} refreshed.`))
    const [first] = answer.failed
    if (!first) return 0
    if (!context.json) {
      for (const { scope, code, detail } of answer.failed) output.note(`ghconnect: ${scope}: ${code}: ${detail}`)
      if (isCode(first.code)) {
        const asked = { command: 'refresh', who: await deps.who(), socketGiven }
        output.note(`  What to do: ${adviceOn(new Failure(first.code, first.detail), asked)}`)
      }
    }
    return isCode(first.code) ? CATALOGUE[first.code].exit : TRY_AGAIN
  },
}

/** The daemon answers a revocation after a minute. */
const REVOKE_MS = 180_000

export const revoke: CommandSpec = {
  name: 'revoke',
  summary: 'revoke all tokens at GitHub, as after a leak',
  details: `The connection and the private key stay, and whoever asks for a token gets a new one. Jobs that use an old one fail.
In a cluster the tokens of every node are revoked. The daemon tries again what GitHub did not revoke; the exit code is then that of the failure.
If the private key leaked, too: add a new one with \`ghconnect keys add\`, retire the old one, and delete it on GitHub.
Asks for the account's name first; without a terminal, --yes is required.`,
  options: { '--all': 'required: every live token is revoked', ...YES_OPTION, ...JSON_OPTION },
  examples: ['ghconnect revoke --all', 'ghconnect revoke --all --yes --json'],
  async run(context) {
    const { output, deps } = context
    if (!context.options.flag('all')) throw new Failure('usage', 'give --all: single tokens cannot be revoked')
    const client = await context.client('admin')
    const status = await client.ask('GET /v1/status')
    const name = status.account?.login
    if (name === undefined) throw failureOfState(status) ?? new Failure('not-connected', status.meaning)
    await confirm(context, `revokes every token of ${name} that is in use`, name)
    const steps = client.subscribe(({ event, detail }) => {
      if (event === 'step' && detail !== undefined) output.progress(detail)
    })
    const asked = client.ask('POST /v1/revoke', { body: { all: true }, silenceMs: REVOKE_MS })
    const answer = await asked.finally(() => steps.close())
    const { revoked, remaining, remaining_end_at: end, failed } = answer
    context.print(answer, () => output.line(`${count(revoked, 'token')} revoked. New tokens are minted on demand.`))
    if (remaining === 0) return 0
    const [first] = failed
    const entry = first && isCode(first.code) ? CATALOGUE[first.code] : undefined
    if (!context.json) {
      const until = end === undefined ? '' : ` until ${describeTime(end, deps.clock.now())} at most`
      output.note(
        `ghconnect: ${count(remaining, 'token')} not revoked yet: no longer served, and accepted by GitHub${until}.`,
      )
      for (const { code, detail, tokens } of failed)
        output.note(`ghconnect: ${count(tokens, 'token')}: ${code}: ${detail}`)
      output.note(
        `  What to do: ${entry ? `${entry.next} ` : ''}The daemon tries again with each refresh; see \`ghconnect status\`.`,
      )
    }
    return entry?.exit ?? TRY_AGAIN
  },
}
