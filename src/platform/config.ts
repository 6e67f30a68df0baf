// The configuration file: TOML, every key optional, an unknown or wrong one an error with its line. Owns smol-toml.

import { readFileSync } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { Failure } from '../domain/errors.ts'
import type { Policy, Principal, Profile } from '../domain/policy.ts'
import { isRecipientSpelling } from '../domain/recovery-recipient.ts'
import type { Permissions } from '../domain/scope.ts'
import { isCronExpression } from './clock.ts'

export type SinkFormat = 'token' | 'env' | 'json' | 'netrc'
export type Sink = {
  readonly name: string
  readonly profile: string
  readonly path: string
  readonly mode: number
  readonly format: SinkFormat
}

export type Config = {
  readonly file: string
  readonly appliance: { readonly hostname: string; readonly url: string }
  readonly github: {
    readonly url: string
    readonly apiUrl: string
    readonly apiVersion: string
    readonly statelessTokens: 'default' | 'enabled' | 'disabled'
  }
  readonly app: { readonly name: string; readonly permissions: Permissions }
  readonly paths: { readonly state: string; readonly runtime: string }
  readonly store: { readonly keyFile: string | undefined }
  readonly proxy: {
    readonly url: string | undefined
    readonly exclude: readonly string[]
    readonly caFile: string | undefined
    readonly passwordFile: string | undefined
  }
  readonly refresh: { readonly schedule: string; readonly beforeExpiryMs: number; readonly settleMs: number }
  readonly snapshot: {
    readonly recipients: readonly string[]
    readonly trusted: readonly string[]
    readonly includeToken: boolean
  }
  readonly web: {
    readonly listen: { readonly host: string; readonly port: number }
    /** Where the administrator's browser reaches the page, without a slash at the end. */
    readonly publicUrl: string
    readonly frontUser: string | undefined
  }
  readonly policy: Policy & { readonly weakPid: boolean }
  readonly sinks: readonly Sink[]
}

/** What the file cannot say itself: the machine's name and its users, asked of the system. */
export type Surroundings = {
  readonly hostname: string
  findUser(name: string): number | undefined
  findGroup(name: string): number | undefined
}

export const DEFAULT_CONFIG_FILE = '/etc/ghconnectd/config.toml'

/** Throws `configuration`, naming file, line and key. An absent file is an error too, unless it is the default one. */
export const loadConfig = (file: string, surroundings: Surroundings): Config => {
  let text = ''
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const absent = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
    if (!absent || file !== DEFAULT_CONFIG_FILE)
      throw new Failure('configuration', `${file}: cannot be read`, { cause })
  }
  return parseConfig(text, { file, surroundings })
}

/** Throws `configuration`. */
export const parseConfig = (text: string, context: { file: string; surroundings: Surroundings }): Config => {
  const { file, surroundings } = context
  const complain = (path: readonly PropertyKey[], message: string): Failure => {
    const line = lineOf(text, path)
    return new Failure('configuration', `${file}${line ? `:${line}` : ''}: ${path.join('.') || 'file'}: ${message}`)
  }
  let raw: unknown
  try {
    raw = parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    throw new Failure('configuration', `${file}:${error.line}: ${error.message.split('\n')[0] ?? 'not TOML'}`, {
      cause: error,
    })
  }
  const result = File.safeParse(raw)
  if (!result.success) {
    const issue = result.error.issues[0]
    const path = issue?.code === 'unrecognized_keys' ? [...issue.path, ...issue.keys.slice(0, 1)] : (issue?.path ?? [])
    throw complain(path, issue?.code === 'unrecognized_keys' ? 'there is no such key' : (issue?.message ?? 'wrong'))
  }
  return toConfig(result.data, { file, surroundings, complain })
}

type Context = {
  file: string
  surroundings: Surroundings
  complain: (path: readonly PropertyKey[], message: string) => Failure
}

const toConfig = (raw: z.infer<typeof File>, context: Context): Config => {
  const { complain, surroundings } = context
  const hostname = raw.appliance.hostname ?? surroundings.hostname
  const listen = parseListen(raw.web.listen)
  if (!listen) throw complain(['web', 'listen'], 'must be ADDRESS:PORT')
  const publicUrl = (raw.web.public_url || `http://${raw.web.listen}`).replace(/\/+$/, '')
  if (!isSafeUrl(publicUrl)) throw complain(['web', 'public_url'], 'must be https, or http on loopback')
  for (const key of ['url', 'api_url'] as const) {
    if (!isSafeUrl(raw.github[key])) throw complain(['github', key], 'must be https, or http on loopback')
  }
  if (!isCronExpression(raw.refresh.schedule)) throw complain(['refresh', 'schedule'], 'is not a cron expression')
  if (raw.proxy.url && !/^(https?|socks5):\/\/[^/]+\/?$/.test(raw.proxy.url)) {
    throw complain(['proxy', 'url'], 'must be http://, https:// or socks5:// with host and port')
  }
  const profiles = raw.profiles.map((profile, at) => toProfile(profile, { at, ...context }))
  const twice = profiles.findIndex((profile, at) => profiles.findIndex(p => p.name === profile.name) !== at)
  if (twice >= 0) throw complain(['profiles', twice, 'name'], 'stands twice')
  for (const [at, sink] of raw.sinks.entries()) {
    if (!profiles.some(p => p.name === sink.profile))
      throw complain(['sinks', at, 'profile'], 'there is no such profile')
  }
  return {
    file: context.file,
    appliance: { hostname, url: raw.appliance.url ?? `https://${hostname}` },
    github: {
      url: raw.github.url.replace(/\/+$/, ''),
      apiUrl: raw.github.api_url.replace(/\/+$/, ''),
      apiVersion: raw.github.api_version,
      statelessTokens: raw.github.stateless_tokens,
    },
    app: { name: raw.app.name ?? hostname.replaceAll('.', '-'), permissions: raw.app.permissions },
    paths: raw.paths,
    store: { keyFile: raw.store.key_file || undefined },
    proxy: {
      url: raw.proxy.url || undefined,
      exclude: raw.proxy.exclude,
      caFile: raw.proxy.ca_file || undefined,
      passwordFile: raw.proxy.password_file || undefined,
    },
    refresh: {
      schedule: raw.refresh.schedule,
      beforeExpiryMs: raw.refresh.before_expiry,
      settleMs: raw.refresh.settle,
    },
    snapshot: {
      recipients: raw.snapshot.recipients,
      trusted: raw.snapshot.trusted,
      includeToken: raw.snapshot.include_token,
    },
    web: { listen, publicUrl, frontUser: raw.web.front_user || undefined },
    policy: { weakPid: raw.policy.weak_pid, profiles },
    sinks: raw.sinks.map(sink => ({ ...sink, mode: Number.parseInt(sink.mode, 8) })),
  }
}

const toProfile = (raw: z.infer<typeof ProfileTable>, context: Context & { at: number }): Profile => {
  const { at, surroundings, complain } = context
  const resolve = (list: 'users' | 'groups', find: (name: string) => number | undefined): Principal[] =>
    raw.allow[list].map((name, index) => {
      const id = find(name)
      if (id === undefined) throw complain(['profiles', at, 'allow', list, index], `there is no such name: ${name}`)
      return { name, id }
    })
  return {
    name: raw.name,
    ...(raw.installation !== undefined && { installation: raw.installation }),
    ...(raw.repositories && { repositories: raw.repositories }),
    ...(raw.permissions && { permissions: raw.permissions }),
    allow: {
      users: resolve('users', surroundings.findUser),
      groups: resolve('groups', surroundings.findGroup),
      units: raw.allow.units,
    },
  }
}

const DURATION_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 }

const duration = (least: number, most: number) =>
  z.string().transform((text, context): number => {
    const [, count, unit = ''] = /^(\d{1,5})([smh])$/.exec(text) ?? []
    const ms = Number(count) * (DURATION_MS[unit] ?? Number.NaN)
    if (ms >= least && ms <= most) return ms
    context.addIssue({
      code: 'custom',
      message: `must be a time from ${least / 1000}s to ${most / 60_000}m, such as "20m" or "30s"`,
    })
    return z.NEVER
  })

const webUrl = z.url({ protocol: /^https?$/, message: 'must be an http or https URL' })
const access = z.enum(['read', 'write', 'admin'])
const permissions = z.record(z.string().regex(/^[a-z][a-z0-9_]*$/, 'permissions are spelt with a-z, 0-9 and _'), access)
const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be a name of letters, digits and . _ -')
/** The suffixes of units that can run a process. */
const unit = z
  .string()
  .regex(/^[A-Za-z0-9:_.\\@-]+\.(service|scope)$/, 'must be the full name of a .service or .scope unit')

const ProfileTable = z.strictObject({
  name,
  installation: z.union([z.string().min(1), z.int().positive()]).optional(),
  repositories: z
    .array(z.string().regex(/^[A-Za-z0-9._*-]+$/, 'must be the name of a repository, without its owner'))
    .min(1)
    .optional(),
  permissions: permissions.refine(set => Object.keys(set).length > 0, 'must not be empty').optional(),
  allow: z
    .strictObject({
      users: z.array(z.string().min(1)).default([]),
      groups: z.array(z.string().min(1)).default([]),
      units: z.array(unit).default([]),
    })
    .prefault({}),
})

const SinkTable = z.strictObject({
  name,
  profile: z.string(),
  path: z.string().startsWith('/', 'must be an absolute path'),
  mode: z
    .string()
    .regex(/^0?[0-7]{3}$/, 'must be an octal string such as "0600"')
    .default('0600'),
  format: z.enum(['token', 'env', 'json', 'netrc']).default('token'),
})

/** Never quoted: somebody may have put the secret half in its place. */
const recipient = z
  .string()
  .refine(isRecipientSpelling, 'must be an age recipient, "age1" and 58 more characters without a slip')
const signer = z
  .string()
  .regex(/^ghconnect-signer:[A-Za-z0-9_-]{43}$/, 'must be a signer as `ghconnect snapshot inspect` prints it')

/** What the file may hold; the README has a row for each key. */
export const File = z.strictObject({
  appliance: z.strictObject({ hostname: z.string().min(1).optional(), url: webUrl.optional() }).prefault({}),
  github: z
    .strictObject({
      url: webUrl.default('https://github.com'),
      api_url: webUrl.default('https://api.github.com'),
      api_version: z
        .string()
        .regex(/^\d{4}-\d{2}-\d{2}$/, 'must be a date such as 2026-03-10')
        .default('2026-03-10'),
      stateless_tokens: z.enum(['default', 'enabled', 'disabled']).default('default'),
    })
    .prefault({}),
  app: z
    .strictObject({
      name: z.string().min(1).max(34).optional(),
      permissions: permissions.default({ metadata: 'read' }),
    })
    .prefault({}),
  paths: z
    .strictObject({
      state: z.string().startsWith('/').default('/var/lib/ghconnectd'),
      runtime: z.string().startsWith('/').default('/run/ghconnectd'),
    })
    .prefault({}),
  store: z.strictObject({ key_file: z.string().default('') }).prefault({}),
  proxy: z
    .strictObject({
      url: z.string().default(''),
      exclude: z.array(z.string().min(1)).default([]),
      ca_file: z.string().default(''),
      password_file: z.string().default(''),
    })
    .prefault({}),
  refresh: z
    .strictObject({
      schedule: z.string().default('*/5 * * * *'),
      // 40 minutes, so that with a tick each 5 minutes a token in use always has 35 left when GitHub goes away.
      before_expiry: duration(60_000, 55 * 60_000).prefault('40m'),
      settle: duration(0, 10 * 60_000).prefault('30s'),
    })
    .prefault({}),
  snapshot: z
    .strictObject({
      recipients: z.array(recipient).max(20, 'are too many: 20 at most').default([]),
      trusted: z.array(signer).default([]),
      include_token: z.boolean().default(true),
    })
    .prefault({}),
  web: z
    .strictObject({
      listen: z.string().default('127.0.0.1:8470'),
      public_url: z.string().default(''),
      front_user: z.string().default(''),
    })
    .prefault({}),
  policy: z.strictObject({ weak_pid: z.boolean().default(false) }).prefault({}),
  profiles: z.array(ProfileTable).default([]),
  sinks: z.array(SinkTable).default([]),
  cluster: z
    .strictObject({
      name: z.string().default(''),
      endpoints: z.array(webUrl).default([]),
      ca_file: z.string().default(''),
      cert_file: z.string().default(''),
      key_file: z.string().default(''),
      secret_file: z.string().default(''),
    })
    .prefault({}),
})

const parseListen = (text: string): { host: string; port: number } | undefined => {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-f:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  return host && Number(port) <= 65_535 ? { host, port: Number(port) } : undefined
}

const isSafeUrl = (text: string): boolean => {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  if (url.search || url.hash || url.username || url.password) return false
  return (
    url.protocol === 'https:' ||
    (url.protocol === 'http:' && /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(url.hostname))
  )
}

/** The line of a key, found by its table and name; of the table where the key stands in an inline one. */
const lineOf = (text: string, path: readonly PropertyKey[]): number | undefined => {
  const [table, second] = path
  const occurrence = typeof second === 'number' ? second : 0
  const keys = path.slice(typeof second === 'number' ? 2 : 1).filter(part => typeof part === 'string')
  let seen = -1
  let best: number | undefined
  for (const [at, line] of text.split('\n').entries()) {
    const header = /^\s*\[\[?\s*([\w.-]+)\s*\]\]?/.exec(line)
    if (header) {
      if (header[1] === table) seen += 1
      else if (seen === occurrence) break
      if (header[1] === table && seen === occurrence) best = at + 1
    } else if (
      seen === occurrence &&
      keys[0] !== undefined &&
      new RegExp(`^\\s*"?${escape(keys[0])}"?\\s*[.=]`).test(line)
    ) {
      return at + 1
    } else if (seen < 0 && path.length === 1 && new RegExp(`^\\s*"?${escape(String(table))}"?\\s*=`).test(line))
      return at + 1
  }
  return best
}

const escape = (text: string): string => text.replaceAll(/[^\w-]/g, String.raw`\$&`)
