// The gateway's addresses: which path of GitHub's API a request is for, whose it may not be, and how GitHub's links lead back.

import { Failure } from '../../protocol/errors.ts'
import { PROFILE_NAME } from '../../protocol/profile.ts'

export const GATEWAY_PREFIX = '/v1/github'

export type RepositoryName = { readonly owner: string; readonly name: string }

export type GatewayTarget = {
  /** As the caller wrote it, below the API's address. */
  readonly path: string
  /** Without what is ours, and without the mark. */
  readonly query: string
  readonly profile?: string
  /** What the path names, for the choice of a profile: `/repos/OWNER/NAME`, or `/repositories/ID`. */
  readonly repository?: RepositoryName
  readonly repositoryId?: number
}

/**
 * Throws `invalid-request` for a path that something between could read as another one, `not-permitted` for what is the
 * daemon's own: the App, and the end of the token. A path is decoded once, and sent on as it came.
 */
export const readGatewayTarget = (path: string, query: string): GatewayTarget => {
  const rest = path.slice(GATEWAY_PREFIX.length)
  const parts = readParts(rest)
  refuseOwn(parts)
  const { profile, others } = readQuery(query)
  const [kind, owner, name] = parts
  const repositoryId = kind === 'repositories' && /^[1-9]\d{0,14}$/.test(owner ?? '') ? Number(owner) : undefined
  return {
    path: parts.length === 0 ? '/' : rest,
    query: others,
    ...(profile !== undefined && { profile }),
    ...(kind === 'repos' && owner !== undefined && name !== undefined && { repository: { owner, name } }),
    ...(repositoryId !== undefined && { repositoryId }),
  }
}

/** RFC 3986's pchar, and what Go and browsers do not encode either. */
const PATH = /^(?:\/(?:[A-Za-z0-9._~!$&'()*+,;=:@|[\]-]|%[0-9A-Fa-f]{2})*)*$/

const readParts = (rest: string): string[] => {
  if (!PATH.test(rest)) throw wrongPath('has a character that has to be encoded')
  const parts = rest.split('/').slice(1).map(decodeOnce)
  // A slash at the end names nothing else.
  if (parts.at(-1) === '') parts.pop()
  const ofRoute = parts.splice(0, parts[0] === 'repositories' ? 3 : 4)
  for (const part of ofRoute) checkRoutePart(part)
  for (const part of parts) checkName(part)
  return ofRoute
}

const decodeOnce = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    throw new Failure('invalid-request', 'path: is not UTF-8', { cause })
  }
}

/** The first parts name repository and route: they mean one thing, however often somebody decodes them. */
const checkRoutePart = (part: string): void => {
  if (part === '') throw wrongPath('has an empty part')
  if (part.includes('/')) throw wrongPath('has an encoded slash')
  if (part.includes('%') || isMisleading(part)) throw wrongPath(MISLEADING)
}

/** Names of files and branches follow: a percent sign or a slash in them is theirs, but no decoding may lead out of them. */
const checkName = (part: string): void => {
  let layer = part
  for (let depth = 0; depth < MOST_LAYERS; depth++) {
    if (layer.split('/').some(isMisleading)) throw wrongPath(MISLEADING)
    const next = layer.replaceAll(/%([0-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
    if (next === layer) return
    layer = next
  }
  throw wrongPath('is encoded too often')
}

const MOST_LAYERS = 5
const MISLEADING = 'has a part that could be taken for another'

/** Steps up, and what other systems take for a slash. */
const isMisleading = (part: string): boolean => /^\.{1,2}(?:;|$)|[\\\p{Cc}]/u.test(part)

const wrongPath = (what: string): Failure => new Failure('invalid-request', `path: ${what}`)

const OWN = new Set(['app', 'app-manifests', 'applications'])

const refuseOwn = (parts: readonly string[]): void => {
  // Behind a dot a format may be named.
  const [first = '', second = ''] = parts.map(part => part.toLowerCase().replace(/[.;].*$/, ''))
  if (OWN.has(first)) throw new Failure('not-permitted', `/${first} is for the daemon alone`)
  if (first === 'installation' && second === 'token')
    throw new Failure('not-permitted', 'the token is shared: the daemon alone ends it')
}

/** Credentials of the caller's that GitHub took in a query once. */
const CREDENTIALS = ['access_token', 'client_secret']

/** Without `profile`, which is ours, and without credentials. */
const readQuery = (query: string): { profile?: string; others: string } => {
  const pairs = query.split('&').filter(pair => pair !== '')
  const has = (pair: string, ...names: string[]): boolean => names.some(name => new URLSearchParams(pair).has(name))
  const [ours, ...more] = pairs.filter(pair => has(pair, 'profile'))
  if (more.length > 0) throw new Failure('invalid-request', 'profile: stands twice')
  const profile = ours === undefined ? undefined : (new URLSearchParams(ours).get('profile') ?? '')
  if (profile !== undefined && !PROFILE_NAME.test(profile))
    throw new Failure('invalid-request', 'profile: must be a name of letters, digits and . _ -')
  return {
    others: pairs.filter(pair => !has(pair, 'profile', ...CREDENTIALS)).join('&'),
    ...(profile !== undefined && { profile }),
  }
}

/** GitHub's address for a target. Where the API is below `/api/v3`, GraphQL is not. */
export const addressOf = ({ path, query }: GatewayTarget, apiUrl: string): string => {
  const base = apiUrl.replace(/\/+$/, '')
  const isGraphQl = path === '/graphql' && base.endsWith('/api/v3')
  return `${isGraphQl ? base.slice(0, -'/v3'.length) : base}${path}${query === '' ? '' : `?${query}`}`
}

/**
 * The gateway's path for a request that a client sends as if the socket were GitHub, as `gh` does. Undefined where the
 * host is not the API's; throws `unknown-route` where the path is not below it.
 */
export const readGitHubRequest = (
  { host, path }: { host: string; path: string },
  apiUrl: string,
): string | undefined => {
  const api = new URL(apiUrl)
  if (URL.parse(`${api.protocol}//${host}`)?.host !== api.host || !/^[A-Za-z0-9.:[\]-]+$/.test(host)) return undefined
  const base = api.pathname.replace(/\/+$/, '')
  if (path === '/api/graphql' && base === '/api/v3') return `${GATEWAY_PREFIX}/graphql`
  if (path !== base && !path.startsWith(`${base}/`))
    throw new Failure('unknown-route', `${path} is not below ${apiUrl}`)
  return GATEWAY_PREFIX + path.slice(base.length)
}

export type Rewrite = {
  readonly apiUrl: string
  /** Where the caller finds the API. */
  readonly ours: string
  /** Under which profile, and of which repository, the answer is. */
  readonly profile?: string
  readonly repository?: RepositoryName
}

/** An address of GitHub's API as the caller is to write it; any other as it is. */
export const rewriteAddress = (address: string, { apiUrl, ours, profile }: Rewrite): string => {
  const base = apiUrl.replace(/\/+$/, '')
  if (!address.startsWith(base) || !/^(?:[/?#]|$)/.test(address.slice(base.length))) return address
  const back = `${ours}${address.slice(base.length)}`
  if (profile === undefined) return back
  const [plain = '', fragment] = back.split('#')
  const named = `${plain}${plain.includes('?') ? '&' : '?'}profile=${encodeURIComponent(profile)}`
  return fragment === undefined ? named : `${named}#${fragment}`
}

/** The same for each address in a `Link` header (RFC 8288). GitHub words further pages by id: they are of the repository asked for. */
export const rewriteLinks = (header: string, rewrite: Rewrite): string => {
  const { apiUrl, repository } = rewrite
  const byId = `${apiUrl.replace(/\/+$/, '')}/repositories/`
  const named = (address: string): string => {
    const rest = address.startsWith(byId) ? /^\d+(\/.*)$/.exec(address.slice(byId.length))?.[1] : undefined
    if (!repository || rest === undefined) return address
    const [owner, name] = [repository.owner, repository.name].map(encodeURIComponent)
    return `${byId.replace(/repositories\/$/, 'repos')}/${owner}/${name}${rest}`
  }
  return header.replaceAll(/<([^<>]*)>/g, (_, address: string) => `<${rewriteAddress(named(address), rewrite)}>`)
}
