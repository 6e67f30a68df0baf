// The address of a web proxy: parsed strictly, and printed without its password wherever text is made of it.

import { Failure } from '../protocol/errors.ts'
import { Secret } from '../protocol/secret.ts'

const INSPECT = Symbol.for('nodejs.util.inspect.custom')

type Parts = {
  readonly scheme: string
  /** Of an IPv6 address with its brackets. */
  readonly host: string
  /** Empty: the scheme's own. */
  readonly port: string
  readonly user: string
  readonly password: Secret | undefined
}

export class ProxyAddress {
  readonly scheme: string
  readonly host: string
  readonly port: string
  /** Decoded; empty where the address names none. */
  readonly user: string
  readonly #password: Secret | undefined

  constructor({ scheme, host, port, user, password }: Parts) {
    this.scheme = scheme
    this.host = host
    this.port = port
    this.user = user
    this.#password = password
  }

  get isSocks(): boolean {
    return this.scheme === 'socks5'
  }

  get hasPassword(): boolean {
    return this.#password !== undefined
  }

  withPassword(password: Secret): ProxyAddress {
    const { scheme, host, port, user } = this
    return new ProxyAddress({ scheme, host, port, user, password })
  }

  /** With user and password, percent-encoded: for the agent that connects, and for nothing else. */
  reveal(): string {
    const password = this.#password === undefined ? '' : `:${encodeURIComponent(this.#password.reveal())}`
    // The proxy resolves the names: an appliance behind a firewall often cannot.
    const scheme = this.isSocks ? 'socks5h' : this.scheme
    return `${scheme}://${login(this.user, password)}${this.host}${this.#portPart}`
  }

  /** Scheme, host, port and user: a URL again. */
  toString(): string {
    return `${this.scheme}://${login(this.user, '')}${this.host}${this.#portPart}`
  }

  toJSON(): string {
    return this.toString()
  }

  [INSPECT](): string {
    return this.toString()
  }

  get #portPart(): string {
    return this.port && `:${this.port}`
  }
}

const login = (user: string, password: string): string =>
  user || password ? `${encodeURIComponent(user)}${password}@` : ''

/**
 * `scheme://[user[:password]@]host[:port]`. User and password end at the last `@`, and a backslash is part of the user (a Windows
 * domain), as curl reads them. Throws `configuration`; no detail repeats any part of the text, since each may be a piece of the password.
 * `defaultScheme`: what a text without a scheme gets, as variables of the environment are commonly written.
 */
export const parseProxyAddress = (text: string, options: { defaultScheme?: 'http' } = {}): ProxyAddress => {
  const [, written, rest = ''] = /^(?:([a-z][a-z\d+.-]*):\/\/)?([^]*)$/i.exec(text) ?? []
  const scheme = written?.toLowerCase() ?? options.defaultScheme
  if (scheme === undefined) throw wrong('has no scheme: begin it with http://, https:// or socks5://')
  const known = SCHEMES.get(scheme)
  if (known === undefined) throw wrong('must begin with http://, https:// or socks5://')
  const at = rest.lastIndexOf('@')
  const { user, password } = parseLogin(at < 0 ? '' : rest.slice(0, at))
  return new ProxyAddress({ scheme: known, ...parseHost(rest.slice(at + 1)), user, password })
}

const SCHEMES: ReadonlyMap<string, string> = new Map([
  ['http', 'http'],
  ['https', 'https'],
  ['socks5', 'socks5'],
  ['socks5h', 'socks5'],
])

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
