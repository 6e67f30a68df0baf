// The one door out: every call that leaves the machine goes through here, by way of the web proxy. Owns proxy-agent.

import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'

export type ProxySettings = {
  /** `http:`, `https:` or `socks5:` URL, user and percent-encoded password included; undefined: direct. */
  readonly url: string | undefined
  /** Hosts that are called directly: `.suffix`, a name, an address, a CIDR block, `*`. */
  readonly exclude: readonly string[]
  /** PEM of private CAs that are trusted beside the system's; undefined: none. */
  readonly ca: string | undefined
}

export type OutboundRequest = {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string | Readable
  readonly signal?: AbortSignal
  /** For connection, TLS and the head of the answer together. */
  readonly deadlineMs?: number
}

export type OutboundResponse = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** The caller reads it to the end or destroys it. */
  readonly body: Readable
}

export type Outbound = {
  /**
   * One request, no redirects followed, the body streamed.
   * Throws `proxy-unreachable`, `proxy-authentication`, `proxy-refused`, `dns`, `tls`, `unreachable`, `timeout`.
   */
  send(request: OutboundRequest): Promise<OutboundResponse>
  /**
   * `fetch` for Octokit: follows up to 5 redirects (GET and HEAD; credentials are dropped when the host changes), the answer's
   * body is read whole, up to 16 MiB, within the deadline. Same errors as `send`.
   */
  readonly fetch: typeof globalThis.fetch
  /** The proxy for a URL, without its password, as `status` shows it; undefined: direct. */
  proxyFor(url: string): string | undefined
  /** New settings for all calls that begin after it; those under way end as they began. */
  reload(settings: ProxySettings): void
  close(): void
}
