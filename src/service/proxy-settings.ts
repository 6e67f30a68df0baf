// The settings of the web proxy, from the configuration or, where that names none, from the environment.

import { Failure } from '../protocol/errors.ts'
import { Secret } from '../protocol/secret.ts'
import { readCertificates } from './ca-file.ts'
import { readNamedFile } from './named-file.ts'
import { type ProxyAddress, parseProxyAddress } from './proxy-address.ts'
import { isExclusion, showEntry } from './proxy-exclusions.ts'

export type ProxySettings = {
  /** Undefined: direct. */
  readonly proxy: ProxyAddress | undefined
  /** Hosts that are called directly: `.suffix`, a name, an address, a CIDR block, `*`. */
  readonly exclude: readonly string[]
  /** PEM of private CAs that are trusted beside the system's; undefined: none. */
  readonly ca: string | undefined
}

export type ProxyKeys = {
  readonly url: ProxyAddress | undefined
  readonly exclude: readonly string[]
  readonly caFile: string | undefined
  readonly passwordFile: string | undefined
}

/** A fault of a key of [proxy], or of a variable of the environment. */
export type ProxyFault = { readonly key: keyof typeof KEYS | 'environment'; readonly message: string }

const KEYS = { ca_file: true, password_file: true } as const

export type ProxyExamination = {
  readonly settings: ProxySettings
  /** With any of these the settings must not be used. */
  readonly faults: readonly ProxyFault[]
  readonly warnings: readonly ProxyFault[]
}

/**
 * Reads the files that the keys name. `HTTPS_PROXY`, `ALL_PROXY`, `HTTP_PROXY` (in this order, in either case) and `NO_PROXY` serve
 * where `url` is not set; entries of `NO_PROXY` that make no sense here are left aside with a warning. Never throws; no message shows a password.
 */
export const examineProxy = (keys: ProxyKeys, env: Readonly<NodeJS.ProcessEnv>): ProxyExamination => {
  const faults: ProxyFault[] = []
  const warnings: ProxyFault[] = []
  const attempt = <T>(key: ProxyFault['key'], work: () => T): T | undefined => {
    try {
      return work()
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      faults.push({ key, message: error.message })
      return undefined
    }
  }
  const source =
    keys.url === undefined ? attempt('environment', () => fromEnvironment(env)) : { proxy: keys.url, exclude: [] }
  const { proxy, exclude = [], leftAside } = { leftAside: undefined, ...source }
  if (leftAside) warnings.push({ key: 'environment', message: leftAside })
  const { caFile, passwordFile } = keys
  const ca = caFile === undefined ? undefined : attempt('ca_file', () => readCertificates(caFile))
  if (ca?.warning) warnings.push({ key: 'ca_file', message: ca.warning })
  const withLogin =
    proxy === undefined || passwordFile === undefined
      ? proxy
      : attempt('password_file', () => withPassword(proxy, passwordFile))
  return {
    settings: { proxy: withLogin, exclude: [...keys.exclude, ...exclude], ca: ca?.pem },
    faults,
    warnings,
  }
}

/** As `examineProxy`. Throws `configuration` for the first fault. */
export const proxySettingsFrom = (keys: ProxyKeys, env: Readonly<NodeJS.ProcessEnv>): ProxySettings => {
  const { settings, faults } = examineProxy(keys, env)
  const [fault] = faults
  if (!fault) return settings
  throw new Failure(
    'configuration',
    fault.key === 'environment' ? fault.message : `[proxy] ${fault.key}: ${fault.message}`,
  )
}

type Source = {
  readonly proxy: ProxyAddress | undefined
  readonly exclude: readonly string[]
  readonly leftAside?: string
}

const fromEnvironment = (env: Readonly<NodeJS.ProcessEnv>): Source => {
  const find = (name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined
  const name = ['HTTPS_PROXY', 'ALL_PROXY', 'HTTP_PROXY'].find(find)
  const text = name && find(name)
  if (text === undefined) return { proxy: undefined, exclude: [] }
  let proxy: ProxyAddress
  try {
    proxy = parseProxyAddress(text, { defaultScheme: 'http' })
  } catch (error) {
    throw error instanceof Failure ? new Failure('configuration', `${name} ${error.message}`) : error
  }
  const entries = (find('NO_PROXY') ?? '').split(/[\s,]+/).filter(Boolean)
  const [known, unknown] = [entries.filter(isExclusion), entries.filter(entry => !isExclusion(entry))]
  return {
    proxy,
    // By custom a bare name in NO_PROXY stands for all names below it too.
    exclude: known.map(entry => (BARE_NAME.test(entry) ? `.${entry}` : entry)),
    ...(unknown.length > 0 && { leftAside: `NO_PROXY: not used: ${list(unknown)}` }),
  }
}

const BARE_NAME = /^[a-z_][\w-]*(?:\.[\w-]+)*(?::\d+)?$/i

const list = (entries: readonly string[]): string => {
  const shown = entries.slice(0, 10).map(showEntry)
  return [...shown, ...(entries.length > 10 ? [`${entries.length - 10} more`] : [])].join(', ')
}

/** The password in a file: an editor's byte order mark and line ends are not part of it. */
export const passwordIn = (bytes: Buffer): string =>
  bytes
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .replace(/[\r\n]+$/, '')

const withPassword = (proxy: ProxyAddress, file: string): ProxyAddress => {
  const password = passwordIn(readNamedFile(file, { secret: true }))
  if (password === '') throw new Failure('configuration', `${file} is empty`)
  if (proxy.user === '') throw new Failure('configuration', 'the address of the proxy names no user')
  return proxy.withPassword(new Secret(password))
}
