// Installation access tokens: minting with GitHub's scoping rules, both formats, and who may use them.

import { createHash } from 'node:crypto'
import { z } from 'zod'
import { signOpaqueJwt } from './jwt.ts'
import { covers, isKnown, withMetadata, type Permissions } from './permissions.ts'
import type { Random } from './random.ts'
import type { Installation, Repository, Token } from './records.ts'
import { badCredentials, Refusal } from './refusal.ts'
import type { World } from './world.ts'

export const TOKEN_LIFE_MS = 3_600_000
const MAX_REPOSITORIES = 500
const PRUNE_ABOVE = 20_000

export const NO_SUCH_REPOSITORY =
  'There is at least one repository that does not exist or is not accessible to the parent installation.'
export const NOT_GRANTED = 'The permissions requested are not granted to this installation.'

const TokenRequest = z.object({
  repositories: z.array(z.string()).optional(),
  repository_ids: z.array(z.int()).optional(),
  permissions: z.record(z.string(), z.unknown()).optional(),
})
export type TokenRequest = z.infer<typeof TokenRequest>

export type Mint = {
  nowMs: number
  random: Random
  stateless: boolean
  /** Replication lag, as a fault. */
  lag?: { ms: number; status: 401 | 403 }
}

export const parseTokenRequest = (body: unknown): TokenRequest => {
  const parsed = TokenRequest.safeParse(body)
  if (parsed.success) return parsed.data
  const at = parsed.error.issues[0]
  throw new Refusal(422, `Invalid request.\n\nFor 'properties/${at?.path.join('/') ?? ''}', ${at?.message ?? ''}.`)
}

/** Throws a Refusal: 403 where suspended, 422 where the scope is not to be had. */
export const mintToken = (world: World, installation: Installation, asked: TokenRequest, how: Mint): Token => {
  if (installation.suspendedAtMs !== undefined) throw new Refusal(403, 'This installation has been suspended')
  const repositories = chooseRepositories(world, installation, asked)
  const permissions = choosePermissions(installation, asked.permissions)
  const expiresAtMs = Math.floor((how.nowMs + TOKEN_LIFE_MS) / 1000) * 1000
  const text = how.stateless
    ? statelessText(installation, how.random, Math.floor(how.nowMs / 1000))
    : `ghs_${how.random.alphanumeric(36)}`
  const token: Token = {
    token: text,
    hashed: createHash('sha256').update(text).digest('base64'),
    format: how.stateless ? 'stateless' : 'classic',
    installation,
    permissions,
    ...(repositories === undefined ? {} : { repositoryIds: new Set(repositories.map(r => r.id)) }),
    createdAtMs: how.nowMs,
    expiresAtMs,
    visibleAtMs: how.nowMs + (how.lag?.ms ?? 0),
    lagStatus: how.lag?.status ?? 401,
    revoked: false,
  }
  if (world.tokens.size > PRUNE_ABOVE)
    for (const [key, old] of world.tokens) if (old.expiresAtMs <= how.nowMs) world.tokens.delete(key)
  world.tokens.set(text, token)
  return token
}

/** The live token that `text` is. Throws a Refusal: unknown, expired, revoked, not yet replicated. */
export const authenticateToken = (world: World, text: string, nowMs: number): Token => {
  const token = world.tokens.get(text)
  if (!token || token.revoked || token.expiresAtMs <= nowMs) throw badCredentials()
  if (nowMs < token.visibleAtMs)
    throw token.lagStatus === 401 ? badCredentials() : new Refusal(403, 'Resource not accessible by integration')
  return token
}

/** What the token reaches now: its own list, within what the installation still has. */
export const repositoriesOfToken = (world: World, token: Token): Repository[] =>
  world.repositoriesOf(token.installation).filter(r => token.repositoryIds?.has(r.id) ?? true)

/** An empty list counts as none given, so a caller that empties its own list finds out here. */
const chooseRepositories = (
  world: World,
  installation: Installation,
  asked: TokenRequest,
): Repository[] | undefined => {
  const names = asked.repositories ?? []
  const ids = asked.repository_ids ?? []
  if (names.length + ids.length === 0) return undefined
  if (names.length + ids.length > MAX_REPOSITORIES) throw new Refusal(422, NO_SUCH_REPOSITORY)
  const reachable = world.repositoriesOf(installation)
  const byName = new Map(reachable.map(r => [r.name.toLowerCase(), r]))
  const byId = new Map(reachable.map(r => [r.id, r]))
  const chosen = [...names.map(name => byName.get(name.toLowerCase())), ...ids.map(id => byId.get(id))]
  const found = chosen.filter(r => r !== undefined)
  if (found.length < chosen.length) throw new Refusal(422, NO_SUCH_REPOSITORY)
  return [...new Set(found)]
}

const choosePermissions = (installation: Installation, asked: Record<string, unknown> = {}): Permissions => {
  const wanted: Record<string, string> = {}
  for (const [name, level] of Object.entries(asked)) {
    if (!isKnown(name, level) || !covers(installation.permissions, name, level)) throw new Refusal(422, NOT_GRANTED)
    wanted[name] = level
  }
  return Object.keys(wanted).length === 0 ? installation.permissions : withMetadata(wanted)
}

/** `ghs_APPID_JWT`, about 520 characters. */
const statelessText = (installation: Installation, random: Random, nowS: number): string => {
  const claims = {
    iss: 'https://github.com/sandbox',
    sub: `integration_installation:${installation.id}`,
    aud: 'https://api.github.com',
    jti: random.hex(64),
    iat: nowS,
    exp: nowS + TOKEN_LIFE_MS / 1000,
    app: installation.app.id,
    scope: random.alphanumeric(30),
  }
  return `ghs_${installation.app.id}_${signOpaqueJwt(claims, random.bytes(32))}`
}
