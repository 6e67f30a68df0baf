// The hosts that proxy and firewall must let pass, as they follow from the two addresses of GitHub in the configuration.

export type HostToAllow = {
  /** As a URL has it: the port only where it is not the scheme's. */
  readonly host: string
  /** What is asked of it: short, without credentials, and no charge on a rate limit. */
  readonly url: string
  readonly method: 'GET' | 'HEAD'
  /** `daemon`: without it there are no tokens. `others`: browsers and jobs go there. */
  readonly neededBy: 'daemon' | 'others'
  readonly what: string
}

/** The API first. GitHub.com has `uploads.` beside `api.`, as has each subdomain of ghe.com; a server with its API below `/api/v3` is one host. */
export const hostsToAllow = ({ url, apiUrl }: { url: string; apiUrl: string }): HostToAllow[] => {
  const api = new URL(apiUrl)
  const uploads = api.hostname.startsWith('api.') ? new URL(api.origin.replace('://api.', '://uploads.')) : undefined
  const hosts: HostToAllow[] = [
    {
      host: api.host,
      url: `${apiUrl.replace(/\/+$/, '')}/rate_limit`,
      method: 'GET',
      neededBy: 'daemon',
      what: "GitHub's API",
    },
    { ...pageOf(new URL(url)), what: "GitHub's pages and git" },
    ...(uploads ? [{ ...pageOf(uploads), what: 'uploads of release assets' }] : []),
  ]
  return hosts.filter(({ host }, at) => hosts.findIndex(other => other.host === host) === at)
}

const pageOf = ({ host, origin }: URL) => ({ host, url: `${origin}/`, method: 'HEAD', neededBy: 'others' }) as const

/** Where a private authority has no business but to read along. */
export const isPublicHost = (host: string): boolean => /(?:^|\.)(?:github\.com|ghe\.com)(?::\d+)?$/.test(host)
