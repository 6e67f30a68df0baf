// The gateway's addresses: which path of GitHub's API a request is for, whose it may not be, and how GitHub's links lead back.

import { Failure } from './errors.ts'

export const GATEWAY_PREFIX = '/v1/github'

export type GatewayTarget = {
  /** As the caller wrote it, below the API's address. */
  readonly path: string
  /** Without what is ours, and without the mark. */
  readonly query: string
  readonly profile?: string
  /** What the path names, for the choice of a profile. */
  readonly repository?: { readonly owner: string; readonly name: string }
}

/**
 * Throws `invalid-request` for a path that somebody on the way could read as another one, `not-permitted` for what is the
 * daemon's own: the App, and the end of the token. A path is decoded once, and sent on as it came.
 */
export const readGatewayTarget = (path: string, query: string): GatewayTarget => {
  const rest = path.slice(GATEWAY_PREFIX.length)
  const parts = rest === '' || rest === '/' ? [] : readParts(rest)
  refuseOwn(parts)
  const { profile, others } = takeProfile(query)
  const [kind, owner, name] = parts
  return {
    path: parts.length === 0 ? '/' : rest,
    query: others,
    ...(profile !== undefined && { profile }),
    ...(kind === 'repos' && owner !== undefined && name !== undefined && { repository: { owner, name } }),
  }
}

/** RFC 3986's pchar. */
const PATH = /^(?:\/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+$/
/** Up to here a path says which route is meant; behind it come names of files and branches, in which a slash may be encoded. */
const ROUTE_PARTS = 4

const readParts = (rest: string): string[] => {
  if (!PATH.test(rest)) throw wrongPath('has an empty part, or a character that has to be encoded')
  return rest
    .slice(1)
    .split('/')
    .flatMap((part, at) => {
      const decoded = decodeOnce(part)
      const inner = decoded.split('/')
      if (inner.length > 1 && at < ROUTE_PARTS) throw wrongPath('has an encoded slash')
      if (inner.some(isMisleading)) throw wrongPath('has a part that could be taken for another')
      return inner
    })
}

const decodeOnce = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    throw new Failure('invalid-request', 'path: is not UTF-8', { cause })
  }
}

/** Steps up, nothing, what other systems take for a slash, and what a second decoding would make one of these. */
const isMisleading = (part: string): boolean =>
  part === '' || /^\.{1,2}(?:;|$)|[\\\p{Cc}]|%(?:2e|2f|5c|25|[01][0-9a-f]|7f)/iu.test(part)

const wrongPath = (what: string): Failure => new Failure('invalid-request', `path: ${what}`)

const OWN = new Set(['app', 'app-manifests', 'applications'])

const refuseOwn = (parts: readonly string[]): void => {
  // Behind a dot a format may be named.
  const [first = '', second = ''] = parts.map(part => part.toLowerCase().replace(/[.;].*$/, ''))
  if (OWN.has(first)) throw new Failure('not-permitted', `/${first} is for the daemon alone`)
  if (first === 'installation' && second === 'token')
    throw new Failure('not-permitted', 'the token is shared: the daemon alone ends it')
}

const takeProfile = (query: string): { profile?: string; others: string } => {
  const pairs = query.split('&').filter(pair => pair !== '')
  const isOurs = (pair: string): boolean => new URLSearchParams(pair).has('profile')
  const [ours, ...more] = pairs.filter(isOurs)
  if (more.length > 0) throw new Failure('invalid-request', 'profile: stands twice')
  const profile = ours === undefined ? undefined : (new URLSearchParams(ours).get('profile') ?? '')
  if (profile === '') throw new Failure('invalid-request', 'profile: is empty')
  return { others: pairs.filter(pair => !isOurs(pair)).join('&'), ...(profile !== undefined && { profile }) }
}

/** GitHub's address for a target. Where the API is below `/api/v3`, GraphQL is not. */
export const addressOf = ({ path, query }: GatewayTarget, apiUrl: string): string => {
  const base = apiUrl.replace(/\/+$/, '')
  const isGraphQl = path === '/graphql' && base.endsWith('/api/v3')
  return `${isGraphQl ? base.slice(0, -'/v3'.length) : base}${path}${query === '' ? '' : `?${query}`}`
}

export type Way = { readonly apiUrl: string; readonly host: string; readonly profile?: string }

/** An address of GitHub's API as one of the gateway's; any other as it is. */
export const leadBack = (address: string, { apiUrl, host, profile }: Way): string => {
  const base = apiUrl.replace(/\/+$/, '')
  if (!address.startsWith(base) || !/^(?:[/?#]|$)/.test(address.slice(base.length))) return address
  const ours = `http://${host}${GATEWAY_PREFIX}${address.slice(base.length)}`
  if (profile === undefined) return ours
  const [plain = '', fragment] = ours.split('#')
  const named = `${plain}${plain.includes('?') ? '&' : '?'}profile=${encodeURIComponent(profile)}`
  return fragment === undefined ? named : `${named}#${fragment}`
}

/** The same for each address in a `Link` header (RFC 8288). */
export const leadLinksBack = (header: string, way: Way): string =>
  header.replaceAll(/<([^<>]*)>/g, (_, address: string) => `<${leadBack(address, way)}>`)
