// The one door out: every call that leaves the machine goes through here, by way of the web proxy.

import type { ClientRequest } from 'node:http'
import { Failure } from '../../protocol/errors.ts'
import { createFetch, type Fetch } from './fetch.ts'
import type { createTrust, Pool, PoolDeps } from './pool.ts'
import type { Probe } from './probe.ts'
import type { OutboundRequest, OutboundResponse, Way } from './request.ts'
import type { ProxyAddress } from '../../service/proxy-address.ts'
import { createExclusions } from '../../service/proxy-exclusions.ts'
import type { ProxySettings } from '../../service/proxy-settings.ts'

export type { Fetch } from './fetch.ts'
export type { OutboundRequest, OutboundResponse } from './request.ts'
export { type ProxySettings, proxySettingsFrom } from '../../service/proxy-settings.ts'

export type Outbound = {
  /**
   * One request, no redirects followed, the body streamed. An aborted signal rethrows its reason, and breaks off the body.
   * Throws `proxy-unreachable`, `proxy-authentication`, `proxy-auth-scheme`, `proxy-refused`, `dns`, `tls`, `portal`, `unreachable`, `timeout`.
   */
  send(request: OutboundRequest): Promise<OutboundResponse>
  /**
   * `fetch` for Octokit: follows up to 5 redirects (GET and HEAD; credentials are dropped when the host changes), the answer's
   * body is read whole, up to 16 MiB, within the deadline. Same errors as `send`, and `github-unexpected`.
   */
  readonly fetch: Fetch
  /** The proxy for a URL, as `status` shows it; undefined: direct. */
  proxyFor(url: string): ProxyAddress | undefined
  /** How far a request comes under the settings in force, on a connection of its own. Never throws. */
  readonly examine: Probe
  /** New settings for all calls that begin after it; those under way end as they began. */
  reload(settings: ProxySettings): void
  /** Ends what is under way; calls after it throw `unreachable`. */
  close(): void
}

export type OutboundDeps = {
  /** For `send` without a deadline of its own, and for `fetch` as a whole. */
  readonly deadlineMs?: number
  /** The largest answer that `fetch` takes. */
  readonly maxBytes?: number
}

/** Throws `configuration` for an exclusion that makes no sense. Nothing is connected before the first call. */
export const createOutbound = (settings: ProxySettings, deps: OutboundDeps = {}): Outbound => {
  const { deadlineMs = 30_000, maxBytes = 16 * 2 ** 20 } = deps
  const openPool = createPools()
  let active = settings
  let current = openLine(settings, openPool)
  const lines = new Set([current])
  let isClosed = false
  let probe: Promise<Probe> | undefined
  const openProbe = async (): Promise<Probe> => {
    const { createProbe } = await import('./probe.ts')
    return createProbe(() => ({ ...openLine(active, openPool), ca: active.ca }))
  }
  const send = async (request: OutboundRequest): Promise<OutboundResponse> => {
    if (isClosed) throw new Failure('unreachable', 'the way out is closed: the daemon is stopping')
    const line = current
    const leave = line.enter()
    try {
      const { travel } = await import('./request.ts')
      const response = await travel(line, { ...request, deadlineMs: request.deadlineMs ?? deadlineMs })
      response.body.once('close', leave)
      return response
    } catch (error) {
      leave()
      throw error
    }
  }
  return {
    send,
    fetch: createFetch({ send, deadlineMs, maxBytes }),
    examine: async examination => (await (probe ??= openProbe()))(examination),
    proxyFor: url => current.proxyFor(new URL(url)),
    reload(next) {
      const old = current
      current = openLine(next, openPool)
      active = next
      lines.add(current)
      old.retire(() => lines.delete(old))
    },
    close() {
      isClosed = true
      for (const line of lines) line.destroy()
    },
  }
}

/** One set of settings and the connections made under it. */
type Line = Way & {
  /** Counts a call; what it returns ends the call. */
  enter(): () => void
  /** Ends the line when its last call has ended. */
  retire(onEnd: () => void): void
  destroy(): void
}

const openLine = (settings: ProxySettings, openPool: OpenPool): Line => {
  const { proxy } = settings
  const isExcluded = createExclusions(settings.exclude)
  const proxyFor = (url: URL) => (proxy === undefined || isExcluded(url) ? undefined : proxy)
  const closing = new AbortController()
  const dials = new WeakMap<ClientRequest, AbortController>()
  let pool: Promise<Pool> | undefined
  let calls = 0
  let onIdle: (() => void) | undefined
  const destroy = (): void => {
    closing.abort()
    pool?.then(made => made.destroy()).catch(() => undefined)
  }
  return {
    async agent() {
      pool ??= openPool({ ca: settings.ca, dials, proxyFor: url => proxyFor(url)?.reveal() ?? '' })
      return (await pool).agent
    },
    proxyFor,
    abandon: request => dials.get(request)?.abort(),
    closing: closing.signal,
    enter() {
      calls++
      let isOver = false
      return () => {
        if (isOver) return
        isOver = true
        if (--calls === 0) onIdle?.()
      }
    },
    retire(onEnd) {
      onIdle = () => (destroy(), onEnd())
      if (calls === 0) onIdle()
    },
    destroy,
  }
}

type OpenPool = (
  options: Omit<PoolDeps, 'secureContext'> & {
    /** Trusted besides the system's roots, as PEM. */
    readonly ca: string | undefined
  },
) => Promise<Pool>

/** Its code is loaded with the first call: a start makes none. */
const createPools = (): OpenPool => {
  let trust: ReturnType<typeof createTrust> | undefined
  return async ({ ca, ...deps }) => {
    const pool = await import('./pool.ts')
    trust ??= pool.createTrust()
    return pool.createPool({ ...deps, secureContext: trust(ca) })
  }
}
