// `ghconnect git-credential`: git's credential protocol on standard input and output, and git's own settings for it. It keeps nothing.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { Failure } from '../../protocol/errors.ts'
import type { CommandSpec, Context } from '../command.ts'
import { readAll } from '../input.ts'

const MAX_INPUT_BYTES = 65_536
/** The package's helper: the same protocol in sh, and three times as fast to start. */
const HELPER = '/usr/lib/ghconnectd/git-credential-ghconnect'

export const gitCredential: CommandSpec = {
  name: 'git-credential',
  summary: 'answer git as a credential helper, or set git up for it',
  details: `git calls it with get, store or erase, and ignores its answer to any other action. Only the configured GitHub's host is answered for; store does nothing.
The package has the same as ${HELPER}, which starts three times as fast.
"setup" makes it git's only helper for GitHub's host, so that no other helper stores the token. --undo removes what setup added.
With --system the helpers in a user's own ~/.gitconfig still come after it: git 2.46 and later does not hand them the token.`,
  arguments: [{ name: 'action', description: 'get, store or erase, as git says it; or setup' }],
  options: {
    '--profile NAME': 'the profile to ask under; needed where several would do',
    '--global': "setup: in this user's ~/.gitconfig (the default)",
    '--system': "setup: in the machine's /etc/gitconfig",
    '--undo': 'setup: remove what it added',
  },
  examples: ['ghconnect git-credential setup --global', 'sudo ghconnect git-credential setup --system --undo'],
  async run(context) {
    const [action = ''] = context.args
    if (action === 'setup') return setUp(context)
    if (action !== 'get' && action !== 'erase') return
    const input = await readAll(context.deps.stdin, MAX_INPUT_BYTES)
    if (input.length > MAX_INPUT_BYTES) throw new Failure('usage', 'standard input is no credential of git')
    const { password, attributes } = split(input.toString('utf8'))
    if (action === 'erase' && password === undefined) return
    const profile = context.options.text('profile')
    const text = [
      ...(profile === undefined ? [] : [`profile=${profile}`]),
      ...attributes,
      ...(action === 'erase' && password !== undefined ? [`rejected=${hash(password)}`] : []),
    ].join('\n')
    const client = await context.client('token')
    context.deps.stdout.write(await client.exchangeText('POST /v1/tokens', `${text}\n`))
  },
}

/** An empty entry resets the list that git has read so far, so that ours is the only helper for the host. */
const setUp = async (context: Context): Promise<void> => {
  const { deps, output, options } = context
  if (options.flag('global') && options.flag('system')) throw new Failure('usage', '--global and --system: choose one')
  const { origin } = new URL((await context.config()).github.url)
  const level = options.flag('system') ? '--system' : '--global'
  const git = createGitConfig({ level, key: `credential.${origin}.helper`, env: deps.env })
  const now = git.read()
  const others = withoutOurs(now)
  const profile = options.text('profile')
  if (profile !== undefined && !/^[\w.-]+$/.test(profile))
    throw new Failure(
      'usage',
      '--profile: git would run this name through a shell; use letters, digits, ".", "_" and "-"',
    )
  const helper = [existsSync(HELPER) ? HELPER : '!ghconnect git-credential', ...(profile ? ['--profile', profile] : [])]
  git.write(now, options.flag('undo') ? others : [...others, '', helper.join(' ')])
  output.line(
    options.flag('undo')
      ? `git no longer asks ghconnect for ${origin} (${level}).`
      : `git asks ghconnect, and no other helper, for ${origin} (${level}).`,
  )
}

/** Without our helper, and without the empty entry right before it. */
const withoutOurs = (helpers: readonly string[]): string[] => {
  const isOurs = (helper: string | undefined): boolean =>
    helper !== undefined && /(?:^|\/)git-credential-ghconnect(?: |$)|ghconnect git-credential(?: |$)/.test(helper)
  return helpers.filter((helper, at) => !isOurs(helper) && !(helper === '' && isOurs(helpers[at + 1])))
}

/** One setting with several values, by git itself, which knows where its files are and how they are quoted. */
const createGitConfig = (of: { level: string; key: string; env: Context['deps']['env'] }) => {
  const git = (...args: string[]): string => {
    try {
      return execFileSync('git', ['config', of.level, ...args], { encoding: 'utf8', env: of.env, stdio: 'pipe' })
    } catch (cause) {
      // 1: there is no such value.
      if (cause instanceof Error && 'status' in cause && cause.status === 1) return ''
      const words = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : ''
      throw new Failure('io', `git config ${of.level}: ${words || 'git cannot be run'}`, { cause })
    }
  }
  return {
    read: (): string[] => git('--null', '--get-all', of.key).split('\0').slice(0, -1),
    write(now: readonly string[], wanted: readonly string[]): void {
      const isLonger = now.every((value, at) => wanted[at] === value)
      if (!isLonger) git('--unset-all', of.key)
      for (const value of isLonger ? wanted.slice(now.length) : wanted) git('--add', of.key, value)
    },
  }
}

/** Whatever password git holds may be somebody else's: nothing but its hash leaves this process. */
const split = (input: string): { password?: string; attributes: string[] } => {
  const [block = ''] = input.split(/\r?\n\r?\n/)
  const lines = block.split(/\r?\n/).filter(line => line !== '')
  const password = lines.findLast(line => line.startsWith('password='))?.slice('password='.length)
  const attributes = lines.filter(line => !line.startsWith('password='))
  return { attributes, ...(password !== undefined && { password }) }
}

const hash = (password: string): string => createHash('sha256').update(password).digest('base64')
