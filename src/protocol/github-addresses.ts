// The two addresses of one GitHub, its pages and its API: each follows from the other, and two that are given must belong together.

import type { Connection } from './connection.ts'
import { Failure } from './errors.ts'

export type GithubAddresses = { readonly url: string; readonly apiUrl: string }

export type GithubAddressFault = { readonly key: 'url' | 'api_url'; readonly message: string }

/** Both without a slash at the end. What is not given follows; GitHub.com where nothing is. Both are valid URLs. */
export const resolveAddresses = (given: {
  readonly url: string | undefined
  readonly apiUrl: string | undefined
}): GithubAddresses | GithubAddressFault => {
  const [url, apiUrl] = [given.url?.replace(/\/+$/, ''), given.apiUrl?.replace(/\/+$/, '')]
  if (apiUrl === undefined) {
    const pages = url ?? 'https://github.com'
    if (isApi(pages))
      return { key: 'url', message: `is an address of the API: write ${pagesOf(pages)}, or set api_url` }
    return { url: pages, apiUrl: apiOf(pages) }
  }
  if (url === undefined) return { url: pagesOf(apiUrl), apiUrl }
  if (belongTogether(url, apiUrl)) return { url, apiUrl }
  return { key: 'api_url', message: `belongs to another GitHub than [github] url (${url}), whose API is ${apiOf(url)}` }
}

/** Ghe.com is data residency; every other host is a GitHub Enterprise Server. */
const apiOf = (url: string): string => {
  const { origin, hostname } = new URL(url)
  if (/^(?:www\.)?github\.com$/.test(hostname)) return 'https://api.github.com'
  return /^[^.]+\.ghe\.com$/.test(hostname) ? `https://api.${hostname}` : `${origin}/api/v3`
}

const pagesOf = (apiUrl: string): string => {
  const { origin, hostname } = new URL(apiUrl)
  return isApi(apiUrl) ? `https://${hostname.replace(/^api\./, '')}` : origin
}

const isApi = (text: string): boolean => /^api\.(?:github\.com|[^.]+\.ghe\.com)$/.test(new URL(text).hostname)

const belongTogether = (url: string, apiUrl: string): boolean => {
  const [pages, api] = [new URL(url), new URL(apiUrl)]
  // A stand-in for GitHub, in development: names and ports say nothing, so `enable` asks the API for its pages.
  if (isLoopback(pages.hostname) || isLoopback(api.hostname)) return true
  const isOwnHost = api.host === `api.${pages.host}` && api.pathname === '/'
  return isOwnHost || api.href === new URL(apiOf(url)).href
}

export const isLoopback = (hostname: string): boolean => /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(hostname)

/**
 * Whether the connection in a bundle belongs to the configured GitHub. Its API address decides, as that is where its key is used. Every
 * version writes both addresses: without them the answer is no. A `disconnected` bundle belongs to no GitHub. Returns a warning where
 * `force` overrules the answer. Throws `bundle-other-github`.
 */
export const assertSameGithub = (
  { connection, settings }: { connection: Connection; settings: BundleAddresses },
  configured: GithubAddresses,
  { force }: { force: boolean },
): string[] => {
  if (connection.kind === 'disconnected') return []
  const { github_url: url = 'an unknown GitHub', api_url: apiUrl = 'unknown' } = settings
  if (isSameGithub(configured, apiUrl)) return []
  const what = `the bundle belongs to ${shortened(url)} (API ${shortened(apiUrl)}), the configuration names ${configured.url} (API ${configured.apiUrl})`
  if (!force) throw new Failure('bundle-other-github', what)
  return [`${what.replace(/^t/, 'T')}.`]
}

/** As the settings of a bundle name them. */
export type BundleAddresses = { readonly github_url?: string | undefined; readonly api_url?: string | undefined }

const isSameGithub = ({ url, apiUrl: configured }: GithubAddresses, apiUrl: string): boolean => {
  if (!URL.canParse(apiUrl)) return false
  const [api, own] = [new URL(apiUrl), new URL(configured)]
  if (api.href.replace(/\/+$/, '') === own.href.replace(/\/+$/, '')) return true
  // Stand-ins on this machine are told apart by their whole address.
  return !isLoopback(api.hostname) && !isLoopback(own.hostname) && belongTogether(url, apiUrl)
}

/** A bundle's text is as long as its writer liked. */
const shortened = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}...` : text)
