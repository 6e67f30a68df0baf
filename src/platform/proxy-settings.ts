// The settings of the web proxy, from the configuration or, where that names none, from the environment.

import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Failure } from '../domain/errors.ts'
import { createExclusions } from './proxy-exclusions.ts'

export type ProxySettings = {
  /** `http:`, `https:` or `socks5:` (the proxy resolves names) URL, user and percent-encoded password included; undefined: direct. */
  readonly url: string | undefined
  /** Hosts that are called directly: `.suffix`, a name, an address, a CIDR block, `*`. */
  readonly exclude: readonly string[]
  /** PEM of private CAs that are trusted beside the system's; undefined: none. */
  readonly ca: string | undefined
}

export type ProxyKeys = {
  readonly url: string | undefined
  readonly exclude: readonly string[]
  readonly caFile: string | undefined
  readonly passwordFile: string | undefined
}

/**
 * Reads the files that the keys name. `HTTPS_PROXY`, `ALL_PROXY`, `HTTP_PROXY` (in this order, in either case) and `NO_PROXY` serve
 * where `url` is not set. Throws `configuration`; no detail shows a password.
 */
export const proxySettingsFrom = (keys: ProxyKeys, env: Readonly<NodeJS.ProcessEnv>): ProxySettings => {
  const source = keys.url === undefined ? fromEnvironment(env) : { name: '[proxy] url', url: keys.url, exclude: [] }
  const exclude = [...keys.exclude, ...source.exclude]
  createExclusions(exclude)
  return {
    url: source.url && withPassword(parseProxyUrl(source.url, source.name), keys.passwordFile),
    exclude,
    ca: keys.caFile === undefined ? undefined : readCertificates(keys.caFile),
  }
}

type Source = { readonly name: string; readonly url: string | undefined; readonly exclude: readonly string[] }

const fromEnvironment = (env: Readonly<NodeJS.ProcessEnv>): Source => {
  const find = (name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined
  const name = ['HTTPS_PROXY', 'ALL_PROXY', 'HTTP_PROXY'].find(find)
  const entries = (find('NO_PROXY') ?? '').split(/[\s,]+/).filter(Boolean)
  return {
    name: name ?? 'HTTPS_PROXY',
    url: name && find(name),
    // By custom a bare name in NO_PROXY stands for all names below it too.
    exclude: entries.map(entry => (/^[a-z_][\w-]*(?:\.[\w-]+)*$/i.test(entry) ? `.${entry}` : entry)),
  }
}

/** Throws `configuration`. A URL without a scheme is `http:`, as other programs take it. */
export const parseProxyUrl = (text: string, name: string): URL => {
  const url = URL.parse(/^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `http://${text}`)
  if (!url?.hostname || !PROTOCOLS.has(url.protocol)) {
    throw new Failure('configuration', `${name}: must be http://, https:// or socks5:// with host and port`)
  }
  try {
    decodeURIComponent(`${url.username}:${url.password}`)
  } catch {
    // Without the cause: it would show the password.
    throw new Failure('configuration', `${name}: user and password must be percent-encoded`)
  }
  return url
}

const PROTOCOLS = new Set(['http:', 'https:', 'socks5:', 'socks5h:'])

const withPassword = (url: URL, file: string | undefined): string => {
  if (file === undefined) return url.href
  const password = readText(file, 'password_file').replace(/\r?\n$/, '')
  if (password === '') throw new Failure('configuration', `[proxy] password_file: ${file} is empty`)
  if (url.username === '') throw new Failure('configuration', '[proxy] password_file: [proxy] url names no user')
  // The setter leaves `%` alone, so it is encoded here.
  url.password = encodeURIComponent(password)
  return url.href
}

const readCertificates = (file: string): string => {
  const text = readText(file, 'ca_file')
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0) throw new Failure('configuration', `[proxy] ca_file: ${file} holds no PEM certificate`)
  try {
    return blocks.map(block => new X509Certificate(block).toString()).join('')
  } catch (cause) {
    throw new Failure('configuration', `[proxy] ca_file: ${file} holds a damaged certificate`, { cause })
  }
}

const readText = (file: string, key: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new Failure('configuration', `[proxy] ${key}: ${file} cannot be read`, { cause })
  }
}
