// The options that say which token is wanted, and the request made of them.

import { Failure } from '../protocol/errors.ts'
import { parseWith, TokenAnswer, TokenRequest } from '../protocol/wire.ts'
import type { Context, Options, OptionSpec } from './command.ts'

export const SCOPE_OPTIONS: readonly OptionSpec[] = [
  {
    flags: '--profile NAME',
    description: 'the profile to ask under; needed where several would do',
    complete: 'own-profiles',
  },
  {
    flags: '--installation ID',
    description: 'an installation, by id or account; needed where there are several',
    complete: 'installations',
  },
  { flags: '--repo NAME', description: 'only this repository (may be given again)', repeatable: true },
  {
    flags: '--permission NAME=ACCESS',
    description: 'only this permission: read, write or admin (may be given again)',
    repeatable: true,
    complete: 'permissions',
  },
  { flags: '--min-ttl TIME', description: 'how long the token must last at least, such as 10m; 40m at most' },
  { flags: '--admin', description: 'ask the admin socket, where any scope is given' },
]

/** Throws what the daemon says, `usage` for options that make no sense. */
export const requestToken = async (context: Context, options: Options): Promise<TokenAnswer> => {
  const body = readScope(options)
  const client = await context.client(options.flag('admin') ? 'admin' : 'token')
  return client.call({ method: 'POST', path: '/v1/tokens', body, answer: TokenAnswer })
}

/** Throws `usage`. */
export const readScope = (options: Options): TokenRequest => {
  const profile = options.text('profile')
  const installation = options.text('installation')
  const repositories = options.list('repo')
  const permissions = readPermissions(options.list('permission'))
  const minTtl = options.text('minTtl')
  try {
    return parseWith(TokenRequest, {
      ...(profile !== undefined && { profile }),
      ...(installation !== undefined && { installation }),
      ...(repositories.length > 0 && { repositories }),
      ...(permissions && { permissions }),
      ...(minTtl !== undefined && { min_ttl_seconds: parseSeconds(minTtl) }),
    })
  } catch (error) {
    if (error instanceof Failure && error.code === 'invalid-request') {
      throw new Failure('usage', error.message, { cause: error })
    }
    throw error
  }
}

const readPermissions = (pairs: readonly string[]): Record<string, string> | undefined => {
  if (pairs.length === 0) return undefined
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
export const parseSeconds = (text: string): number => {
  const [, digits, unit = 's'] = /^(\d{1,5})([smh])?$/.exec(text) ?? []
  const seconds = Number(digits) * (UNIT_SECONDS[unit] ?? Number.NaN)
  if (seconds <= MAX_SECONDS) return seconds
  throw new Failure('usage', `--min-ttl ${text}: must be a time up to 40m, such as 90s or 10m`)
}
