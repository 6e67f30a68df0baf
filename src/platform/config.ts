// The configuration file: TOML, every key optional, an unknown or wrong one an error with its line. Owns smol-toml.

import { readFileSync } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import type { z } from 'zod'
import { Failure } from '../domain/errors.ts'
import { FEATURE_NAMES, FEATURES, type FeatureName } from '../domain/features.ts'
import type { Policy, Principal, Profile } from '../domain/policy.ts'
import type { Permissions } from '../domain/scope.ts'
import { isCronExpression } from './clock.ts'
import { type ClusterConfig, toClusterConfig } from './cluster-config.ts'
import { DEFAULT_SCHEDULE, FeatureTables, File, type ProfileTable } from './config-schema.ts'

export type SinkFormat = 'token' | 'env' | 'json' | 'netrc'
export type Sink = {
  readonly name: string
  readonly profile: string
  readonly path: string
  readonly mode: number
  readonly format: SinkFormat
}

/** A port, or the path of a unix socket. */
export type WebAddress = { readonly host: string; readonly port: number } | { readonly path: string }

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
    readonly listen: WebAddress
    /** Where the administrator's browser reaches the page: an origin, without a slash at the end. */
    readonly publicUrl: string
    /** The web server before a unix socket: what it says of its visitors is believed. */
    readonly frontUid: number | undefined
  }
  readonly policy: Policy & { readonly weakPid: boolean }
  /** What is switched on, each with the file that says so; its profile is in the policy. */
  readonly features: readonly { readonly name: FeatureName; readonly file: string }[]
  readonly sinks: readonly Sink[]
  readonly cluster: ClusterConfig
}

/** What the file cannot say itself: the machine's name and its users, asked of the system. */
export type Surroundings = {
  readonly hostname: string
  findUser(name: string): number | undefined
  findGroup(name: string): number | undefined
}

export const DEFAULT_CONFIG_FILE = '/etc/ghconnectd/config.toml'

/** Beside the configuration, for features that were switched on by command: `config.toml` has `config.features.toml`. */
export const featuresFileOf = (configFile: string): string => `${configFile.replace(/\.toml$/, '')}.features.toml`

/** Throws `configuration`, naming file, line and key. An absent file is an error too, unless it is the default one. */
export const loadConfig = (file: string, surroundings: Surroundings): Config =>
  parseConfig(readConfig(file), { file, surroundings, features: readFeatures(file) })

/** Throws `configuration`. */
export const readConfig = (file: string): string => readText(file, file === DEFAULT_CONFIG_FILE)

/** The text of the file beside; none where it is absent. Throws `configuration`. */
export const readFeatures = (configFile: string): string => readText(featuresFileOf(configFile), true)

const readText = (file: string, mayBeAbsent: boolean): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    if (mayBeAbsent && cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return ''
    throw new Failure('configuration', `${file}: cannot be read`, { cause })
  }
}

/** `features`: the text of the file beside. Throws `configuration`. */
export const parseConfig = (
  text: string,
  context: { file: string; surroundings: Surroundings; features?: string },
): Config => {
  const { file, surroundings, features = '' } = context
  const complain = complaintsOf(file, text)
  const beside = featuresFileOf(file)
  return toConfig(parseToml(text, { schema: File, file, complain }), {
    file,
    surroundings,
    complain,
    switched: { file: beside, complain: complaintsOf(beside, features), tables: parseFeatures(features, beside) },
  })
}

/** Throws `configuration`. */
export const parseFeatures = (text: string, file: string): z.infer<typeof FeatureTables> =>
  parseToml(text, { schema: FeatureTables, file, complain: complaintsOf(file, text) })

const complaintsOf =
  (file: string, text: string): Complain =>
  (path, message) => {
    const line = lineOf(text, path)
    return new Failure('configuration', `${file}${line ? `:${line}` : ''}: ${path.join('.') || 'file'}: ${message}`)
  }

const parseToml = <T>(
  text: string,
  { schema, file, complain }: { schema: z.ZodType<T>; file: string; complain: Complain },
): T => {
  let raw: unknown
  try {
    raw = parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    throw new Failure('configuration', `${file}:${error.line}: ${error.message.split('\n')[0] ?? 'not TOML'}`, {
      cause: error,
    })
  }
  // Read once: to compile a parser takes longer than to do without.
  const result = schema.safeParse(raw, { jitless: true })
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const path = issue?.code === 'unrecognized_keys' ? [...issue.path, ...issue.keys.slice(0, 1)] : (issue?.path ?? [])
  throw complain(path, issue?.code === 'unrecognized_keys' ? 'there is no such key' : (issue?.message ?? 'wrong'))
}

type Complain = (path: readonly PropertyKey[], message: string) => Failure

type Context = {
  file: string
  surroundings: Surroundings
  complain: Complain
  /** The file beside. */
  switched: { file: string; tables: z.infer<typeof FeatureTables>; complain: Complain }
}

const toConfig = (raw: z.infer<typeof File>, context: Context): Config => {
  const { complain, surroundings } = context
  const hostname = raw.appliance.hostname ?? surroundings.hostname
  const web = toWeb(raw.web, context)
  for (const key of ['url', 'api_url'] as const) {
    if (!isSafeUrl(raw.github[key])) throw complain(['github', key], 'must be https, or http on loopback')
  }
  if (raw.refresh.schedule !== DEFAULT_SCHEDULE && !isCronExpression(raw.refresh.schedule))
    throw complain(['refresh', 'schedule'], 'is not a cron expression')
  if (raw.proxy.url && !/^(https?|socks5):\/\/[^/]+\/?$/.test(raw.proxy.url)) {
    throw complain(['proxy', 'url'], 'must be http://, https:// or socks5:// with host and port')
  }
  const written = raw.profiles.map((profile, at) => toProfile(profile, { ...context, path: ['profiles', at] }))
  const { features, profiles: presets } = toFeatures(raw.features, context)
  const profiles = [...written, ...presets]
  for (const [at, { name }] of written.entries()) {
    if (written.findIndex(p => p.name === name) !== at) throw complain(['profiles', at, 'name'], 'stands twice')
    if (Object.hasOwn(FEATURES, name)) throw complain(['profiles', at, 'name'], 'is the name of a feature')
  }
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
    web,
    policy: { weakPid: raw.policy.weak_pid, profiles },
    features,
    cluster: toClusterConfig(raw.cluster, complain),
    sinks: raw.sinks.map(sink => ({ ...sink, mode: Number.parseInt(sink.mode, 8) })),
  }
}

/** Each feature that is switched on is a profile of its name. */
const toFeatures = (tables: z.infer<typeof FeatureTables>, context: Context) => {
  const { switched, complain } = context
  const features: { name: FeatureName; file: string }[] = []
  const profiles: Profile[] = []
  for (const name of FEATURE_NAMES) {
    const [own, beside] = [tables[name], switched.tables[name]]
    if (own && beside) throw complain(['features', name], `is switched on in ${switched.file} too`)
    const table = own ?? beside
    if (!table) continue
    const place = own ? { path: ['features', name], complain } : { path: [name], complain: switched.complain }
    features.push({ name, file: own ? context.file : switched.file })
    profiles.push(toProfile({ ...table, name, permissions: FEATURES[name].permissions }, { ...context, ...place }))
  }
  return { features, profiles }
}

const toProfile = (
  raw: z.infer<typeof ProfileTable>,
  context: Pick<Context, 'surroundings' | 'complain'> & { path: readonly PropertyKey[] },
): Profile => {
  const { path, surroundings, complain } = context
  const resolve = (list: 'users' | 'groups', find: (name: string) => number | undefined): Principal[] =>
    raw.allow[list].map((name, index) => {
      const id = find(name)
      if (id === undefined) throw complain([...path, 'allow', list, index], `there is no such name: ${name}`)
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

const toWeb = (raw: z.infer<typeof File>['web'], { complain, surroundings }: Context): Config['web'] => {
  const listen = parseListen(raw.listen)
  if (!listen) throw complain(['web', 'listen'], 'must be ADDRESS:PORT or unix:/PATH')
  if ('path' in listen && !raw.public_url)
    throw complain(['web', 'listen'], 'is a unix socket, so [web] public_url has to say where browsers reach the page')
  const publicUrl = (raw.public_url || `http://${raw.listen}`).replace(/\/+$/, '')
  if (!isSafeUrl(publicUrl)) throw complain(['web', 'public_url'], 'must be https, or http on loopback')
  // Pages of others on the same origin could read this one.
  if (new URL(publicUrl).pathname !== '/')
    throw complain(['web', 'public_url'], 'must have no path: the page needs a host or port of its own')
  if (!raw.front_user) return { listen, publicUrl, frontUid: undefined }
  if (!('path' in listen))
    throw complain(['web', 'front_user'], 'needs a unix socket in listen: nobody can tell who connects to a port')
  const frontUid = surroundings.findUser(raw.front_user)
  if (frontUid === undefined) throw complain(['web', 'front_user'], `there is no such name: ${raw.front_user}`)
  return { listen, publicUrl, frontUid }
}

const parseListen = (text: string): WebAddress | undefined => {
  if (/^unix:\/./.test(text)) return { path: text.slice('unix:'.length) }
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
    if (header && keys[0] !== undefined && header[1] === `${String(table)}.${keys[0]}`) return at + 1
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
