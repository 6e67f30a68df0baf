// One request to the API on its way through: who asks, under which version and request id.

import type { Context } from 'hono'
import { undecodable, verifyAppJwt } from './jwt.ts'
import type { Parts } from './parts.ts'
import { ANYONE, type Holder } from './quotas.ts'
import type { Random } from './random.ts'
import type { App, Installation, Token } from './records.ts'
import { badCredentials, Refusal } from './refusal.ts'
import { authenticateToken } from './tokens.ts'

export type Caller = { kind: 'none' } | { kind: 'app'; app: App } | { kind: 'token'; token: Token }

export type Exchange = {
  readonly requestId: string
  readonly method: string
  /** Without the API's prefix. */
  readonly path: string
  version: string
  caller: Caller
  /** What the caller claimed to be, also where it was refused. */
  claimed: 'none' | 'app' | 'token'
  /** The installation that the token or the path names. */
  installation: Installation | undefined
  /** The body of a request for a token, for the log. */
  scope: unknown
}

export type ApiEnv = { Bindings: { exchange: Exchange } }
export type ApiContext = Context<ApiEnv>

/** The versions of the REST API; without the header the first is meant. */
const VERSIONS = ['2022-11-28', '2026-03-10'] as const

export const newExchange = (random: Random, method: string, path: string, nowMs: number): Exchange => ({
  requestId: requestId(random, nowMs),
  method,
  path,
  version: VERSIONS[0],
  caller: { kind: 'none' },
  claimed: 'none',
  installation: undefined,
  scope: null,
})

/** Reads version and credentials into `exchange`. Throws a Refusal. */
export const admit = (parts: Parts, exchange: Exchange, headers: Headers): void => {
  const { path } = exchange
  const id = /^\/app\/installations\/(\d+)/.exec(path)?.[1]
  exchange.installation = id === undefined ? undefined : parts.world.installations.get(Number(id))
  const version = headers.get('x-github-api-version')
  if (version !== null) {
    if (!VERSIONS.some(known => known === version)) throw unsupported(version)
    exchange.version = version
  }
  const authorization = headers.get('authorization')
  if (authorization === null) return
  const { scheme, secret } = credentialOf(authorization)
  exchange.claimed = secret.startsWith('ghs_') ? 'token' : 'app'
  if (path.startsWith('/app-manifests/')) throw badCredentials()
  const nowMs = parts.clock.nowMs()
  if (exchange.claimed === 'token') {
    if (isAppPath(path)) throw undecodable()
    const token = authenticateToken(parts.world, secret, nowMs)
    exchange.caller = { kind: 'token', token }
    exchange.installation = token.installation
    return
  }
  if (scheme !== 'bearer' || secret.split('.').length !== 3) throw isAppPath(path) ? undecodable() : badCredentials()
  exchange.caller = { kind: 'app', app: verifyAppJwt(parts.world, secret, nowMs) }
}

/** The App that calls. Throws a Refusal where no App does. */
export const appOf = (c: ApiContext): App => {
  const { caller } = c.env.exchange
  if (caller.kind !== 'app') throw undecodable()
  return caller.app
}

/** The token that calls. Throws a Refusal where none does. */
export const tokenOf = (c: ApiContext): Token => {
  const { caller } = c.env.exchange
  if (caller.kind === 'none') throw new Refusal(401, 'Requires authentication')
  if (caller.kind === 'app')
    throw new Refusal(403, 'You must authenticate with an installation access token in order to use this endpoint.')
  return caller.token
}

/** Tokens share their installation's quota; an App's own calls have another, for each installation that they name. */
export const holderOf = ({ caller, installation }: Exchange): Holder => {
  if (caller.kind === 'none') return ANYONE
  const named = installation === undefined ? {} : { installation }
  const key = caller.kind === 'token' ? 'tokens' : `app ${caller.app.id}`
  return { key: `${key} ${installation?.id ?? ''}`, ...named }
}

/** Paths that only a JWT opens. */
const isAppPath = (path: string): boolean =>
  /^\/app(\/|$)/.test(path) || /^\/(orgs|users|enterprises|repos\/[^/]+)\/[^/]+\/installation$/.test(path)

const credentialOf = (authorization: string): { scheme: string; secret: string } => {
  const [scheme = '', value = ''] = authorization.trim().split(/\s+/, 2)
  if (scheme.toLowerCase() !== 'basic') return { scheme: scheme.toLowerCase(), secret: value }
  const pair = Buffer.from(value, 'base64').toString()
  return { scheme: 'basic', secret: pair.slice(pair.indexOf(':') + 1) }
}

const unsupported = (version: string): Refusal => {
  const known = VERSIONS.toReversed().map((v, i) => `"${v}"${i === 0 ? ' (most recent)' : ''}`)
  return new Refusal(
    400,
    `The version you specified in the "X-GitHub-API-Version" request header, "${version}", is not a supported version. The following versions are currently supported: ${known.join(', ')}.`,
  )
}

/** Like `C1B2:2F3A4B:12345AB:678CDEF:66ABCDEF`: the last part is the time. */
export const requestId = (random: Random, nowMs: number): string =>
  [
    random.hex(4),
    random.hex(6),
    random.hex(7),
    random.hex(7),
    Math.floor(nowMs / 1000)
      .toString(16)
      .padStart(8, '0'),
  ]
    .join(':')
    .toUpperCase()
