// The one door out: every call that leaves the machine goes through here, by way of the web proxy.

import { Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import { createExclusions, type ProxyAddress, type ProxySettings } from '../../service/proxy.ts'
import { createFetch } from './fetch.ts'
import type { Pool, Route } from './pool.ts'
import type { Examination, Probe } from './probe.ts'
import type { OutboundRequest, OutboundResponse } from './request.ts'

export type { Fetch } from './fetch.ts'
export type { OutboundRequest, OutboundResponse } from './request.ts'
export { type ProxySettings, proxySettingsFrom } from '../../service/proxy.ts'

export type Outbound = ReturnType<typeof createOutbound>

export type OutboundDeps = {
  readonly clock: Clock
  /** For `send` without a deadline of its own, and for `fetch` as a whole. */
  readonly deadlineMs?: number
  /** The largest answer that `fetch` takes. */
  readonly maxBytes?: number
}

/** Throws `configuration` for an exclusion that makes no sense. Nothing is connected before the first call. */
export const createOutbound = (
  settings: ProxySettings,
  { clock, deadlineMs = 30_000, maxBytes = 16 * 2 ** 20 }: OutboundDeps,
) => {
  const closing = new AbortController()
  let route = routeOf(settings)
  let pool: Pool | undefined
  let probe: Probe | undefined

  /** Its code is loaded with the first call: a start makes none. */
  const load = async () => {
    const [{ createPool }, { travel }] = await Promise.all([import('./pool.ts'), import('./request.ts')])
    if (closing.signal.aborted) throw new Failure('unreachable', 'the way out is closed: the daemon is stopping')
    pool ??= createPool({ clock, route: () => route })
    const way = { pool, clock, closing: closing.signal }
    return (request: OutboundRequest) => travel(way, { ...request, deadlineMs: request.deadlineMs ?? deadlineMs })
  }

  /**
   * One request, no redirects followed, the body streamed. An aborted signal rethrows its reason, and breaks off the body.
   * Throws `proxy-unreachable`, `proxy-authentication`, `proxy-auth-scheme`, `proxy-refused`, `dns`, `tls`, `portal`, `unreachable`, `timeout`.
   */
  const send = async (request: OutboundRequest): Promise<OutboundResponse> => (await load())(request)

  return {
    send,
    /**
     * `fetch` for Octokit: follows up to 5 redirects (GET and HEAD; credentials are dropped when the host changes), the answer's
     * body is read whole, up to 16 MiB, within the deadline. Same errors as `send`, and `github-unexpected`.
     */
    fetch: createFetch({ send, clock, deadlineMs, maxBytes }),
    /** The proxy for a URL, as `status` shows it; undefined: direct. */
    proxyFor: (url: string): ProxyAddress | undefined => route.proxyFor(new URL(url)),
    /** How far a request comes under the settings in force, on a connection of its own. Never throws. */
    async examine(examination: Examination) {
      const { createProbe } = await import('./probe.ts')
      probe ??= createProbe({ send, clock, route: () => route })
      return probe(examination)
    },
    /** New settings for all calls that begin after it; those under way end as they began. */
    reload(next: ProxySettings): void {
      route = routeOf(next)
      pool?.endIdle()
    },
    /** Ends what is under way; calls after it throw `unreachable`. */
    close(): void {
      closing.abort()
      pool?.endIdle()
    },
  }
}

const routeOf = ({ proxy, exclude, ca }: ProxySettings): Route => {
  const isExcluded = createExclusions(exclude)
  return { ca, proxyFor: url => (proxy === undefined || isExcluded(url) ? undefined : proxy) }
}
