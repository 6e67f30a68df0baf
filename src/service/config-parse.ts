// From the text of a configuration file to settings, past everything that is wrong in it. Owns smol-toml.

import { parse, TomlError } from 'smol-toml'
import type { z } from 'zod'
import { Failure } from '../protocol/errors.ts'
import { FEATURE_NAMES, FEATURES, type FeatureName } from '../protocol/features.ts'
import { doubtPermission, nearest } from '../protocol/spelling.ts'
import type { Principal, Profile } from '../protocol/profile.ts'
import { isCronExpression } from './clock.ts'
import { toClusterConfig } from './cluster-config.ts'
import type { Config, Examined, Surroundings, WebAddress } from './config-types.ts'
import { byPlace, createFinder, type Finding, type Report } from './config-findings.ts'
import { DEFAULT_SCHEDULE, FeatureTables, File, isPublicAddress, type ProfileTable } from './config-schema.ts'
import { shapeLeniently } from './config-shape.ts'
import { isLoopback, resolveAddresses } from '../protocol/github-addresses.ts'
import { isExclusion, parseProxyAddress, type ProxyAddress, showEntry } from './proxy.ts'

type Raw = z.infer<typeof File>

/** `features`: the text of the file `beside`. Never throws. */
export const examineText = (
  text: string,
  context: { file: string; beside: string; surroundings: Surroundings; features: string },
): Examined => {
  const { file, beside, surroundings } = context
  const findings: Finding[] = []
  let names: Names = () => undefined
  const find = createFinder({ file, text, nameOf: (table, index) => names(table, index) })
  const report: Report = (...finding) => void findings.push(find(...finding))
  const tables = examineFeatures(context.features, { file: beside, findings })
  const document = parseToml(text, { file, findings })
  if (document === undefined) return { config: undefined, findings, find }
  names = namesIn(document)
  const shaped = shapeLeniently(document, { schema: File, report })
  if (!shaped) return { config: undefined, findings, find }
  const findBeside = createFinder({ file: beside, text: context.features })
  const config = toConfig(shaped.data, {
    file,
    surroundings,
    report: (path, message, level) => report(shaped.origin(path), message, level),
    switched: { file: beside, report: (...finding) => void findings.push(findBeside(...finding)), tables },
  })
  return { config, findings: findings.toSorted(byPlace(file)), find }
}

/** Of a file that holds features alone. Never throws. */
export const examineFeatures = (
  text: string,
  { file, findings }: { file: string; findings: Finding[] },
): z.infer<typeof FeatureTables> => {
  const find = createFinder({ file, text })
  const report: Report = (...finding) => void findings.push(find(...finding))
  const document = parseToml(text, { file, findings })
  return (document && shapeLeniently(document, { schema: FeatureTables, report })?.data) ?? {}
}

const parseToml = (
  text: string,
  { file, findings }: { file: string; findings: Finding[] },
): Record<string, unknown> | undefined => {
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const message = error.message.split('\n')[0] ?? 'not TOML'
    findings.push({ level: 'error', file, line: error.line, key: '', name: undefined, message })
    return undefined
  }
}

/** Every text that is a value in it; undefined where it is not TOML. */
export const stringsIn = (text: string): readonly string[] | undefined => {
  const walk = (value: unknown): string[] =>
    typeof value === 'string'
      ? [value]
      : typeof value === 'object' && value !== null
        ? Object.values(value).flatMap(walk)
        : []
  const document = parseToml(text, { file: '', findings: [] })
  return document && walk(document)
}

type Names = (table: PropertyKey | undefined, index: number) => string | undefined

/** Before anything is taken away from the document. */
const namesIn = (document: Record<string, unknown>): Names => {
  const names = new Map(
    Object.entries(document).flatMap(([table, list]) =>
      Array.isArray(list) ? [[table, list.map((element: unknown) => nameIn(element))] as const] : [],
    ),
  )
  return (table, index) => names.get(String(table))?.[index]
}

const nameIn = (element: unknown): string | undefined =>
  typeof element === 'object' && element !== null && 'name' in element && typeof element.name === 'string'
    ? element.name || undefined
    : undefined

type Context = {
  file: string
  surroundings: Surroundings
  report: Report
  /** The file beside. */
  switched: { file: string; tables: z.infer<typeof FeatureTables>; report: Report }
}

const toConfig = (raw: Raw, context: Context): Config => {
  const { report, surroundings } = context
  const hostname = raw.appliance.hostname ?? surroundings.hostname
  if (raw.refresh.schedule !== DEFAULT_SCHEDULE && !isCronExpression(raw.refresh.schedule))
    report(['refresh', 'schedule'], 'is not a cron expression')
  for (const [at, entry] of raw.proxy.exclude.entries()) {
    if (!isExclusion(entry))
      report(['proxy', 'exclude', at], `${showEntry(entry)} is not a host, a suffix or a block of addresses`)
  }
  examinePermissions(raw.app.permissions, ['app', 'permissions'], report)
  const profiles = toProfiles(raw, context)
  return {
    file: context.file,
    appliance: { hostname, url: raw.appliance.url ?? `https://${hostname}` },
    github: toGithub(raw.github, report),
    app: { name: raw.app.name ?? hostname.replaceAll('.', '-'), permissions: raw.app.permissions },
    paths: raw.paths,
    store: { keyFile: raw.store.key_file || undefined },
    proxy: {
      url: toProxyAddress(raw.proxy.url, report),
      exclude: raw.proxy.exclude.filter(isExclusion),
      caFile: raw.proxy.ca_file || undefined,
      passwordFile: raw.proxy.password_file || undefined,
    },
    refresh: {
      schedule: raw.refresh.schedule,
      beforeExpiryMs: raw.refresh.before_expiry,
      settleMs: raw.refresh.settle,
    },
    audit: { maxBytes: raw.audit.max_size },
    snapshot: {
      recipients: raw.snapshot.recipients,
      trusted: raw.snapshot.trusted,
      includeToken: raw.snapshot.include_token,
    },
    web: toWeb(raw.web, context),
    policy: { weakPid: raw.policy.weak_pid, profiles: profiles.all },
    features: profiles.features,
    cluster: toClusterConfig(raw.cluster, (key, message) => report(['cluster', key], message)),
    sinks: raw.sinks.map(sink => ({ ...sink, mode: Number.parseInt(sink.mode, 8) })),
  }
}

const toGithub = (raw: Raw['github'], report: Report): Config['github'] => {
  const given = { url: raw.url, apiUrl: raw.api_url }
  for (const [key, url] of [
    ['url', raw.url],
    ['api_url', raw.api_url],
  ] as const) {
    if (url !== undefined && !isSafeUrl(url)) {
      report(['github', key], 'must be https, or http on loopback')
      given[key === 'url' ? 'url' : 'apiUrl'] = undefined
    }
  }
  const found = resolveAddresses(given)
  if ('message' in found) report(['github', found.key], found.message)
  const addresses = 'message' in found ? resolveAddresses({ url: undefined, apiUrl: undefined }) : found
  if ('message' in addresses) throw new Failure('internal', 'the default addresses do not belong together')
  return { ...addresses, apiVersion: raw.api_version, statelessTokens: raw.stateless_tokens }
}

const toProxyAddress = (text: string, report: Report): ProxyAddress | undefined => {
  if (text === '') return undefined
  try {
    return parseProxyAddress(text)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    report(['proxy', 'url'], error.message)
    return undefined
  }
}

const toProfiles = (raw: Raw, context: Context) => {
  const { report } = context
  const written = raw.profiles.map((profile, at) => toProfile(profile, { ...context, path: ['profiles', at] }))
  const { features, profiles: presets } = toFeatures(raw.features, context)
  const all = [...written, ...presets]
  for (const [at, { name, permissions = {} }] of written.entries()) {
    if (written.findIndex(p => p.name === name) !== at) report(['profiles', at, 'name'], 'stands twice')
    if (Object.hasOwn(FEATURES, name)) report(['profiles', at, 'name'], 'is the name of a feature')
    examinePermissions(permissions, ['profiles', at, 'permissions'], report)
  }
  const names = all.map(({ name }) => name)
  for (const [at, { profile }] of raw.sinks.entries()) {
    if (names.includes(profile)) continue
    const guess = nearest(profile, names)
    report(['sinks', at, 'profile'], `there is no such profile${guess === undefined ? '' : `; did you mean ${guess}?`}`)
  }
  return { all, features }
}

/** A slip makes one profile useless, and is no reason to stop the others; a name that is new may be right. */
const examinePermissions = (
  set: Readonly<Record<string, unknown>>,
  path: readonly PropertyKey[],
  report: Report,
): void => {
  for (const name of Object.keys(set)) {
    const doubt = doubtPermission(name)
    if (doubt) report([...path, name], doubt.message, doubt.isSlip ? 'fault' : 'warning')
  }
}

/** Each feature that is switched on is a profile of its name. */
const toFeatures = (tables: z.infer<typeof FeatureTables>, context: Context) => {
  const { switched, report } = context
  const features: { name: FeatureName; file: string }[] = []
  const profiles: Profile[] = []
  for (const name of FEATURE_NAMES) {
    const [own, beside] = [tables[name], switched.tables[name]]
    if (own && beside) report(['features', name], `is switched on in ${switched.file} too`)
    const table = own ?? beside
    if (!table) continue
    const place = own ? { path: ['features', name], report } : { path: [name], report: switched.report }
    features.push({ name, file: own ? context.file : switched.file })
    profiles.push(toProfile({ ...table, name, permissions: FEATURES[name].permissions }, { ...context, ...place }))
  }
  return { features, profiles }
}

const toProfile = (
  raw: z.infer<typeof ProfileTable>,
  context: Pick<Context, 'surroundings' | 'report'> & { path: readonly PropertyKey[] },
): Profile => {
  const { path, surroundings, report } = context
  const resolve = (list: 'users' | 'groups', find: (name: string) => number | undefined): Principal[] =>
    raw.allow[list].flatMap((name, index) => {
      const id = find(name)
      if (id !== undefined) return [{ name, id }]
      report([...path, 'allow', list, index], `there is no such name: ${name}`)
      return []
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

const toWeb = (raw: Raw['web'], { report, surroundings }: Context): Config['web'] => {
  const wrong = (key: keyof typeof raw, message: string): void => report(['web', key], message)
  const listen = parseListen(raw.listen)
  if (!listen) wrong('listen', 'must be ADDRESS:PORT or unix:/PATH')
  const isUnix = listen !== undefined && 'path' in listen
  if (isUnix && !raw.public_url)
    wrong('listen', 'is a unix socket, so [web] public_url has to say where browsers reach the page')
  const publicUrl = (raw.public_url || (listen && !isUnix ? `http://${raw.listen}` : 'http://localhost')).replace(
    /\/+$/,
    '',
  )
  if (!isSafeUrl(publicUrl)) wrong('public_url', 'must be https, or http on loopback')
  // Pages of others on the same origin could read this one.
  else if (new URL(publicUrl).pathname !== '/')
    wrong('public_url', 'must have no path: the page needs a host or port of its own')
  const web = { listen: listen ?? { host: '127.0.0.1', port: 0 }, publicUrl }
  if (!raw.front_user) return { ...web, frontUid: undefined }
  if (listen && !isUnix) wrong('front_user', 'needs a unix socket in listen: nobody can tell who connects to a port')
  const frontUid = surroundings.findUser(raw.front_user)
  if (frontUid === undefined) wrong('front_user', `there is no such name: ${raw.front_user}`)
  return { ...web, frontUid }
}

const parseListen = (text: string): WebAddress | undefined => {
  if (/^unix:\/./.test(text)) return { path: text.slice('unix:'.length) }
  const [, bracketed, plain, port] = /^(?:\[([0-9a-f:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  return host && Number(port) <= 65_535 ? { host, port: Number(port) } : undefined
}

const isSafeUrl = (text: string): boolean => {
  const url = URL.parse(text)
  if (!url || !isPublicAddress(text)) return false
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))
}
