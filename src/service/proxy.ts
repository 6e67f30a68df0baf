// The web proxy: its settings from the configuration or the environment, its address, and the hosts that are called past it.

import { BlockList, isIP } from 'node:net'
import { Failure } from '../protocol/errors.ts'
import { Secret } from '../protocol/secret.ts'
import { readCertificates } from './ca-file.ts'
import { passwordIn, readNamedFile } from './named-file.ts'

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
export type ProxyFault = { readonly key: 'ca_file' | 'password_file' | 'environment'; readonly message: string }

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
  const found = keys.url === undefined ? attempt('environment', () => fromEnvironment(env)) : undefined
  const { proxy = keys.url, exclude = [], leftAside = [] } = found ?? {}
  if (leftAside.length > 0) warnings.push({ key: 'environment', message: `NO_PROXY: not used: ${list(leftAside)}` })
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

/** `leftAside`: entries of NO_PROXY. */
const fromEnvironment = (env: Readonly<NodeJS.ProcessEnv>) => {
  const find = (name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined
  const name = ['HTTPS_PROXY', 'ALL_PROXY', 'HTTP_PROXY'].find(find)
  const text = name && find(name)
  if (text === undefined) return undefined
  let proxy: ProxyAddress
  try {
    proxy = parseProxyAddress(text, { defaultScheme: 'http' })
  } catch (error) {
    throw error instanceof Failure ? new Failure('configuration', `${name} ${error.message}`) : error
  }
  const entries = (find('NO_PROXY') ?? '').split(/[\s,]+/).filter(Boolean)
  return {
    proxy,
    // By custom a bare name in NO_PROXY stands for all names below it too.
    exclude: entries.filter(isExclusion).map(entry => (BARE_NAME.test(entry) ? `.${entry}` : entry)),
    leftAside: entries.filter(entry => !isExclusion(entry)),
  }
}

const BARE_NAME = /^[a-z_][\w-]*(?:\.[\w-]+)*(?::\d+)?$/i

const list = (entries: readonly string[]): string => {
  const shown = entries.slice(0, 10).map(showEntry)
  return [...shown, ...(entries.length > 10 ? [`${entries.length - 10} more`] : [])].join(', ')
}

const withPassword = (proxy: ProxyAddress, file: string): ProxyAddress => {
  const password = passwordIn(readNamedFile(file, { secret: true }))
  if (password === '') throw new Failure('configuration', `${file} is empty`)
  if (proxy.user === '') throw new Failure('configuration', 'the address of the proxy names no user')
  return proxy.withPassword(new Secret(password))
}

const INSPECT = Symbol.for('nodejs.util.inspect.custom')

type Parts = {
  readonly scheme: string
  /** Of an IPv6 address with its brackets. */
  readonly host: string
  /** Empty: the scheme's own. */
  readonly port: string
  /** Decoded; empty where the address names none. */
  readonly user: string
  readonly password: Secret | undefined
}

export class ProxyAddress {
  readonly #parts: Parts
  readonly host: string
  readonly user: string

  constructor(parts: Parts) {
    this.#parts = parts
    this.host = parts.host
    this.user = parts.user
  }

  get isSocks(): boolean {
    return this.#parts.scheme === 'socks5'
  }

  get hasPassword(): boolean {
    return this.#parts.password !== undefined
  }

  withPassword(password: Secret): ProxyAddress {
    return new ProxyAddress({ ...this.#parts, password })
  }

  /** With user and password, percent-encoded: for the agent that connects, and for nothing else. */
  reveal(): string {
    const { scheme, password } = this.#parts
    // The proxy resolves the names: an appliance behind a firewall often cannot.
    return this.#print(this.isSocks ? 'socks5h' : scheme, password && `:${encodeURIComponent(password.reveal())}`)
  }

  /** Scheme, host, port and user: a URL again. */
  toString(): string {
    return this.#print(this.#parts.scheme)
  }

  toJSON(): string {
    return this.toString()
  }

  [INSPECT](): string {
    return this.toString()
  }

  #print(scheme: string, password = ''): string {
    const { user, host, port } = this.#parts
    const login = user || password ? `${encodeURIComponent(user)}${password}@` : ''
    return `${scheme}://${login}${host}${port && `:${port}`}`
  }
}

/**
 * `scheme://[user[:password]@]host[:port]`. User and password end at the last `@`, and a backslash is part of the user (a Windows
 * domain), as curl reads them. Throws `configuration`; no detail repeats any part of the text, since each may be a piece of the password.
 * `defaultScheme`: what a text without a scheme gets, as variables of the environment are commonly written.
 */
export const parseProxyAddress = (text: string, options: { defaultScheme?: 'http' } = {}): ProxyAddress => {
  const [, written, rest = ''] = /^(?:([a-z][a-z\d+.-]*):\/\/)?([^]*)$/i.exec(text) ?? []
  const scheme = (written?.toLowerCase() ?? options.defaultScheme)?.replace('socks5h', 'socks5')
  if (scheme === undefined) throw wrong('has no scheme: begin it with http://, https:// or socks5://')
  if (!['http', 'https', 'socks5'].includes(scheme)) throw wrong('must begin with http://, https:// or socks5://')
  const at = rest.lastIndexOf('@')
  const login = parseLogin(at < 0 ? '' : rest.slice(0, at))
  return new ProxyAddress({ scheme, ...login, ...parseHost(rest.slice(at + 1)) })
}

const parseLogin = (text: string): Pick<Parts, 'user' | 'password'> => {
  const [delimiter] = /[/?#]/.exec(text) ?? []
  if (delimiter !== undefined) {
    const encoded = encodeURIComponent(delimiter)
    throw wrong(`has "${delimiter}" in the user or password: write ${encoded} for it`)
  }
  const colon = text.indexOf(':')
  const user = decode(colon < 0 ? text : text.slice(0, colon))
  const password = colon < 0 ? '' : decode(text.slice(colon + 1))
  // Basic authentication ends the user at the first colon.
  if (user.includes(':')) throw wrong('has a colon in the user, which no proxy accepts')
  if (user === '' && password !== '') throw wrong('has a password without a user')
  return { user, password: password === '' ? undefined : new Secret(password) }
}

const decode = (text: string): string => {
  let decoded: string
  try {
    decoded = decodeURIComponent(text.toWellFormed())
  } catch {
    // Without the cause: it would show the password.
    throw wrong('has a "%" in the user or password that begins no two hexadecimal digits: write %25 for it')
  }
  if (/\p{Cc}/u.test(decoded)) throw wrong('has a control character in the user or password')
  return decoded
}

const parseHost = (text: string): Pick<Parts, 'host' | 'port'> => {
  const [, host, port = '', rest = ''] = /^(\[[\da-f:.]*\]|[^/?#:[\]\\]*)(?::(\d*))?([^]*)$/i.exec(text) ?? []
  if (rest.startsWith('\\')) throw wrong('has a "\\" in the host: a user with its domain ends with "@"')
  if (rest !== '' && rest !== '/') {
    if (/^[/?#]/.test(rest)) throw wrong('must end after the port: a path, "?" or "#" is not allowed')
    throw wrong('must be http://, https:// or socks5:// with host and port')
  }
  if (port !== '' && !(Number(port) >= 1 && Number(port) <= 65_535)) throw wrong('has a port that is not 1 to 65535')
  const parsed = host && !/[\s%]/.test(host) ? URL.parse(`http://${host}`) : null
  if (!parsed?.hostname) throw wrong('must be http://, https:// or socks5:// with host and port')
  return { host: parsed.hostname, port: port === '' ? '' : String(Number(port)) }
}

const wrong = (message: string): Failure => new Failure('configuration', message)

/** Whether a URL goes past the proxy. Names are never resolved for it: a block matches addresses written as such. */
export type Exclusions = (url: URL) => boolean

type Rule = { readonly port: string | undefined; matches(host: string): boolean }

/**
 * `*` (everything), `name`, `.suffix` and `*.suffix` (below that name; with the dot alone also the name itself, as curl has it),
 * an address, a CIDR block; all but blocks with `:port` if wanted. Throws `configuration` for an entry that is none of these.
 */
export const createExclusions = (entries: readonly string[]): Exclusions => {
  const rules = entries.map(parseRule)
  return url => {
    const host = bareHost(url.hostname)
    const port = url.port || (url.protocol === 'http:' ? '80' : '443')
    return rules.some(rule => (rule.port === undefined || rule.port === port) && rule.matches(host))
  }
}

/** Whether `createExclusions` accepts it. */
export const isExclusion = (entry: string): boolean => findRule(entry) !== undefined

/** An entry as messages show it: only where nothing but a host is written so, as any other may be an address with a password. */
export const showEntry = (entry: string): string =>
  LIKE_A_HOST.test(entry) ? JSON.stringify(entry.slice(0, 80)) : 'an entry (not shown, as it may hold a password)'

const LIKE_A_HOST = /^(?:[\w.*<>[\]"';-]*(?::\d*)?|(?:[\da-f]*:){2,}[\da-f.]*)(?:\/\d*)?$/i

const parseRule = (entry: string): Rule => {
  const rule = findRule(entry)
  if (!rule) throw new Failure('configuration', `[proxy] exclude: ${showEntry(entry)} is no host, suffix or block`)
  return rule
}

const findRule = (entry: string): Rule | undefined =>
  entry === '*' ? { port: undefined, matches: () => true } : (addressRule(entry) ?? nameRule(entry))

const ADDRESS =
  /^(?:\[(?<bracketed>[0-9a-f:.]+)\]|(?<v4>[\d.]+)|(?<v6>[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*))(?:\/(?<bits>\d{1,3})|(?<=[\d.\]]):(?<port>\d{1,5}))?$/i

const addressRule = (entry: string): Rule | undefined => {
  // An IPv6 address without brackets has no port: its last colon would be taken for one.
  const { bracketed, v4, v6, bits, port } = (isIP(entry) === 6 ? { v6: entry } : ADDRESS.exec(entry)?.groups) ?? {}
  const address = bracketed ?? v4 ?? v6
  const family = address === undefined ? 0 : isIP(address)
  if (address === undefined || family === 0) return undefined
  const type = family === 4 ? 'ipv4' : 'ipv6'
  const width = family === 4 ? 32 : 128
  if (bits !== undefined && Number(bits) > width) return undefined
  const block = new BlockList()
  block.addSubnet(address, bits === undefined ? width : Number(bits), type)
  return { port, matches: host => isIP(host) !== 0 && block.check(host, isIP(host) === 4 ? 'ipv4' : 'ipv6') }
}

const NAME = /^(?<dot>\*?\.)?(?<name>[\w-]+(?:\.[\w-]+)*)\.?(?::(?<port>\d{1,5}))?$/

const nameRule = (entry: string): Rule | undefined => {
  const { dot, name: written, port } = NAME.exec(entry)?.groups ?? {}
  // What consists of digits and dots is a broken address, not a name.
  if (written === undefined || /^[\d.]+$/.test(written)) return undefined
  const name = written.toLowerCase()
  const below = `.${name}`
  if (dot === undefined) return { port, matches: host => host === name }
  return { port, matches: host => host.endsWith(below) || (dot === '.' && host === name) }
}

const bareHost = (hostname: string): string =>
  hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase()
