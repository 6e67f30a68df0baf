// A token as the texts that others read: git's credential protocol (git-credential(1)), and the formats of files and systemd credentials.

import { Failure } from './errors.ts'
import type { TokenAnswer, TokenRequest } from './wire.ts'

/** The media type by which a caller says that it speaks git's protocol. */
export const GIT_CREDENTIAL = 'text/x-git-credential'

/** GitHub's name for whoever bears an installation access token. */
const USER = 'x-access-token'
/** A clone shows its credential again with each request: with LFS that goes on for a while. */
const MIN_TTL_SECONDS = 600

/** `knowsEphemeral`: git offers the capability (2.46 and later) by which a credential can be marked as not to be stored. */
export type GitRequest = { readonly request: TokenRequest; readonly knowsEphemeral: boolean }

/**
 * The request in git's words, with two attributes of our helper's: `profile`, and `rejected` for what git erases. Undefined
 * where host or user are none of ours, so that git asks its other helpers. Throws `invalid-request`.
 */
export const readGitCredential = (text: string, githubUrl: string): GitRequest | undefined => {
  const { attributes, capabilities } = readAttributes(text)
  if (originOf(attributes) !== new URL(githubUrl).origin) return undefined
  const user = attributes.get('username')
  if (user !== undefined && user !== USER) return undefined
  const repository = readPath(attributes.get('path') ?? '')
  const profile = attributes.get('profile')
  const rejected = attributes.get('rejected')
  const request = {
    min_ttl_seconds: MIN_TTL_SECONDS,
    ...(repository && { installation: repository.owner, repositories: [repository.name] }),
    ...(profile !== undefined && { profile }),
    ...(rejected !== undefined && { rejected }),
  }
  return { request, knowsEphemeral: capabilities.has('authtype') }
}

/**
 * Other helpers are handed what one of them answers: git 2.40 and later tells them when it ends, and 2.46 and later does not hand
 * on what is `ephemeral`.
 */
export const writeGitCredential = (
  { token, expires_at: expiresAt }: Pick<TokenAnswer, 'token' | 'expires_at'>,
  knowsEphemeral: boolean,
): string => {
  const ephemeral = knowsEphemeral ? ['capability[]=authtype', 'ephemeral=1'] : []
  const expiry = Math.floor(Date.parse(expiresAt) / 1000)
  return [...ephemeral, `username=${USER}`, `password=${token}`, `password_expiry_utc=${expiry}`, ''].join('\n')
}

type Attributes = { readonly attributes: ReadonlyMap<string, string>; readonly capabilities: ReadonlySet<string> }

/** `key=value` lines up to the first empty one; of a key that stands twice the last counts. Of a list (`key[]`) all do, since its last empty value. */
const readAttributes = (text: string): Attributes => {
  if (text.includes('\0')) throw new Failure('invalid-request', 'body: holds a NUL')
  const [block = ''] = text.split(/\r?\n\r?\n/)
  const attributes = new Map<string, string>()
  const capabilities = new Set<string>()
  for (const line of block.split(/\r?\n/)) {
    if (line === '') continue
    const mark = line.indexOf('=')
    if (mark < 1) throw new Failure('invalid-request', 'body: a line is not KEY=VALUE')
    const [key, value] = [line.slice(0, mark), line.slice(mark + 1)]
    attributes.set(key, value)
    if (key !== 'capability[]') continue
    if (value === '') capabilities.clear()
    else capabilities.add(value)
  }
  return { attributes, capabilities }
}

/** Only what is plainly a host: what a URL parser would make something else of is nobody's. */
const originOf = (attributes: ReadonlyMap<string, string>): string | undefined => {
  const protocol = attributes.get('protocol') ?? ''
  const host = attributes.get('host') ?? ''
  if (!/^https?$/.test(protocol) || !/^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?$/.test(host)) return undefined
  return URL.parse(`${protocol}://${host}`)?.origin
}

/** `OWNER/NAME`, with `.git`, and with what LFS adds. A wiki goes with its repository. Undefined for anything else: then the whole profile is meant. */
const readPath = (path: string): { owner: string; name: string } | undefined => {
  const [, owner, whole = ''] =
    /^\/*([A-Za-z0-9][A-Za-z0-9_-]{0,99})\/([A-Za-z0-9._-]{1,110})(?:\/.*)?$/.exec(path) ?? []
  const name = whole.replace(/\.git$/, '').replace(/\.wiki$/, '')
  return owner === undefined || !/^[A-Za-z0-9._-]{1,100}$/.test(name) ? undefined : { owner, name }
}

export type TokenFormat = 'token' | 'env' | 'json' | 'netrc'

/** `token`: nothing but the token, without a line end, as programs send it on as it is. */
export const writeToken = (
  format: TokenFormat,
  answer: TokenAnswer,
  github: { readonly url: string; readonly apiUrl: string },
): string => {
  const { token } = answer
  switch (format) {
    case 'token':
      return token
    case 'env':
      return `GH_TOKEN=${token}\nGITHUB_TOKEN=${token}\n`
    case 'json':
      return `${JSON.stringify(answer)}\n`
    case 'netrc':
      return [...new Set([github.url, github.apiUrl].map(url => new URL(url).hostname))]
        .map(host => `machine ${host} login ${USER} password ${token}\n`)
        .join('')
    default:
      return format satisfies never
  }
}
