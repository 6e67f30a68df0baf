// Everything that a start would refuse, and more: one function for the daemon's start, its reload and `ghconnect config check`.

import { type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import { etcdOptionsOf, secretsOf } from '../service/cluster-config.ts'
import { Failure } from '../protocol/errors.ts'
import { FEATURES } from '../protocol/features.ts'
import type { Profile } from '../protocol/profile.ts'
import { type Config, DEFAULT_CONFIG_FILE, examineTexts, type Surroundings } from '../service/config.ts'
import { byPlace, type Finding, refusalOf, type Report } from '../service/config-findings.ts'
import { findUser, groupsOfUser, userName } from '../service/libc.ts'
import { explainUnreadable } from '../service/named-file.ts'
import { actAs, isRoot, type Owner, ownerOf } from '../service/process.ts'
import { examineProxy, type ProxySettings } from '../service/proxy.ts'
import { credentialFile, readCredential } from '../service/systemd.ts'
import { doubtfulUnits } from '../service/units.ts'
import { storeKeyOf } from './store/machine-key.ts'

export type ConfigOptions = {
  readonly configFile: string
  readonly surroundings: Surroundings
  readonly env: NodeJS.ProcessEnv
}

export type Examination = {
  readonly findings: readonly Finding[]
  /** Only where `findings` has no error. */
  readonly usable: { readonly config: Config; readonly proxy: ProxySettings } | undefined
}

/** As the user of this process, with all files that the configuration names. Never throws for what it is to find. */
export const examineConfig = ({ configFile, surroundings, env }: ConfigOptions): Examination => {
  const { config, findings: texts, find } = examineTexts(configFile, surroundings)
  if (!config) return { findings: texts, usable: undefined }
  const findings = [...texts]
  const report: Report = (...finding) => void findings.push(find(...finding))
  const { settings, faults, warnings } = examineProxy(proxyKeysOf(config, env), env)
  for (const [list, level] of [
    [faults, 'error'],
    [warnings, 'warning'],
  ] as const) {
    for (const { key, message } of list) {
      if (key !== 'environment') report(['proxy', key], message, level)
      else findings.push({ level, file: undefined, line: undefined, key: 'environment', name: undefined, message })
    }
  }
  examinePaths(config, report)
  examineStoreKey(config, { env, report })
  examineCluster(config, { env, report })
  for (const [at, { name, allow }] of config.policy.profiles.entries()) {
    const path = Object.hasOwn(FEATURES, name) ? ['features', name] : ['profiles', at, 'allow', 'units']
    for (const { unit, doubt } of doubtfulUnits(allow.units)) report(path, `${unit}: ${doubt}`, 'warning')
  }
  findings.sort(byPlace(configFile))
  return { findings, usable: refusalOf(findings) ? undefined : { config, proxy: settings } }
}

/** `examineConfig`, or its refusal for all errors at once. Throws `configuration`. */
export const loadUsableConfig = (
  options: ConfigOptions,
): NonNullable<Examination['usable']> & Pick<Examination, 'findings'> => {
  const { findings, usable } = examineConfig(options)
  if (usable) return { ...usable, findings }
  throw refusalOf(findings) ?? new Failure('internal', 'a configuration without errors has no settings')
}

/** `examineConfig` as the daemon's user: switches to it where this process is root. `profiles`: undefined where there is an error. */
export const checkConfig = async (
  options: ConfigOptions,
): Promise<{ readonly findings: readonly Finding[]; readonly profiles: readonly Profile[] | undefined }> => {
  const user = daemonUser(options)
  const isOther = user !== undefined && user.uid !== process.geteuid?.()
  if (!isOther || isRoot()) {
    const examine = async (): Promise<Examination> => examineConfig(options)
    const { findings, usable } = await (isOther ? actAs(user, examine) : examine())
    return { findings, profiles: usable?.config.policy.profiles }
  }
  // Files that are closed to this user may be open to the daemon's.
  const { configFile: file, surroundings } = options
  const { findings, config } = examineTexts(file, surroundings)
  const message = `only the text was checked: run it with sudo to check the files as ${nameOf(user.uid)}, the daemon's user`
  const unchecked: Finding = { level: 'warning', file, line: undefined, key: '', name: undefined, message }
  return { findings: [...findings, unchecked], profiles: refusalOf(findings) ? undefined : config?.policy.profiles }
}

/** That of the package for its own file, else the owner of the state folder; undefined: not known. */
const daemonUser = ({ configFile, surroundings }: ConfigOptions): Owner | undefined => {
  const packaged = configFile === DEFAULT_CONFIG_FILE ? findUser('ghconnectd') : undefined
  if (packaged) return { uid: packaged.uid, gid: packaged.gid, groups: groupsOfUser('ghconnectd', packaged.gid) }
  const { config } = examineTexts(configFile, surroundings)
  try {
    return config && ownerOf(config.paths.state)
  } catch {
    return undefined
  }
}

const nameOf = (uid: number): string => userName(uid) ?? String(uid)

/** A password that was sealed for the daemon serves where the URL names a user, and neither it nor a file gives one. */
const proxyKeysOf = ({ proxy }: Config, env: NodeJS.ProcessEnv): Config['proxy'] => {
  const sealed = proxy.url?.user && !proxy.url.hasPassword ? credentialFile('proxy.password', env) : undefined
  return { ...proxy, passwordFile: proxy.passwordFile ?? sealed }
}

/** The longest path of a unix socket (sun_path) without the zero at its end. */
const LONGEST_SOCKET_PATH = 107

/** What is wrong with the state folder ends the start as an error of I/O, once it comes to that. */
const examinePaths = ({ paths, web }: Config, report: Report): void => {
  const socket = join(paths.runtime, 'credentials.sock')
  if (Buffer.byteLength(socket) > LONGEST_SOCKET_PATH)
    report(
      ['paths', 'runtime'],
      `is too long: a path of a socket has at most ${LONGEST_SOCKET_PATH} bytes, and [paths] runtime gives ${socket}`,
    )
  if ('path' in web.listen && Buffer.byteLength(web.listen.path) > LONGEST_SOCKET_PATH)
    report(['web', 'listen'], `is too long: a path of a socket has at most ${LONGEST_SOCKET_PATH} bytes`)
  const own = process.geteuid?.() ?? 0
  const state = statusOf(paths.state)
  if (state && !state.isDirectory()) report(['paths', 'state'], `${paths.state} is not a folder`, 'fault')
  else if (state && own !== 0 && state.uid !== own)
    report(
      ['paths', 'state'],
      `${paths.state} belongs to ${nameOf(state.uid)}, not to ${nameOf(own)}; run: chown -R ${nameOf(own)}: ${paths.state}`,
      'fault',
    )
}

/** Undefined where it is absent, or cannot be looked at. */
const statusOf = (path: string): Stats | undefined => {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

/** Without it the daemon starts, is `locked`, and says what to do. */
const examineStoreKey = (config: Config, { env, report }: { env: NodeJS.ProcessEnv; report: Report }): void => {
  const { keyFile } = config.store
  if (keyFile === undefined || credentialFile('store.key', env) !== undefined) return
  try {
    storeKeyOf(config, env)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    const { cause } = error
    const isClosed = cause instanceof Error && 'code' in cause && cause.code === 'EACCES'
    report(
      ['store', 'key_file'],
      isClosed ? explainUnreadable(keyFile, { cause, secret: true }) : error.message,
      'fault',
    )
  }
}

/** Without them the daemon starts, and serves what it holds. */
const examineCluster = ({ cluster }: Config, { env, report }: { env: NodeJS.ProcessEnv; report: Report }): void => {
  if (cluster.endpoints.length === 0) return
  const attempt = (work: () => unknown): void => {
    try {
      work()
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      const [, key = 'endpoints', message = error.message] = /^\[cluster\] (\w+): ([^]*)$/.exec(error.message) ?? []
      report(['cluster', key], message, 'fault')
    }
  }
  attempt(() => etcdOptionsOf(cluster))
  // A sealed secret is passed to the daemon alone.
  if (cluster.secret_file || env['CREDENTIALS_DIRECTORY'])
    attempt(() => secretsOf(cluster, readCredential('cluster.secret', env)))
}
