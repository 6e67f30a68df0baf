// The one door out: every call that leaves the machine goes through here, by way of the web proxy. Owns proxy-agent.

import { Agent as HttpAgent, type ClientRequest } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { checkServerIdentity, createSecureContext, getCACertificates, type PeerCertificate } from 'node:tls'
import { ProxyAgent } from 'proxy-agent'
import { Failure } from '../domain/errors.ts'
import { createFetch } from './outbound-fetch.ts'
import { createProbe, type Probe } from './outbound-probe.ts'
import { type OutboundRequest, type OutboundResponse, travel, type Way } from './outbound-request.ts'
import { createExclusions } from './proxy-exclusions.ts'
import { parseProxyUrl, type ProxySettings } from './proxy-settings.ts'

export type { OutboundRequest, OutboundResponse } from './outbound-request.ts'
export { type ProxySettings, proxySettingsFrom } from './proxy-settings.ts'

export type Outbound = {
  /**
   * One request, no redirects followed, the body streamed. An aborted signal rethrows its reason, and breaks off the body.
   * Throws `proxy-unreachable`, `proxy-authentication`, `proxy-refused`, `dns`, `tls`, `portal`, `unreachable`, `timeout`.
   */
  send(request: OutboundRequest): Promise<OutboundResponse>
  /**
   * `fetch` for Octokit: follows up to 5 redirects (GET and HEAD; credentials are dropped when the host changes), the answer's
   * body is read whole, up to 16 MiB, within the deadline. Same errors as `send`, and `github-unexpected`.
   */
  readonly fetch: typeof globalThis.fetch
  /** The proxy for a URL, without its password, as `status` shows it; undefined: direct. */
  proxyFor(url: string): string | undefined
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

/** Throws `configuration` for a URL or an exclusion that makes no sense. Nothing is connected before the first call. */
export const createOutbound = (settings: ProxySettings, deps: OutboundDeps = {}): Outbound => {
  const { deadlineMs = 30_000, maxBytes = 16 * 2 ** 20 } = deps
  let active = settings
  let current = openLine(settings)
  const lines = new Set([current])
  let isClosed = false
  const examine = createProbe(() => ({ ...openLine(active), ca: active.ca }))
  const send = async (request: OutboundRequest): Promise<OutboundResponse> => {
    if (isClosed) throw new Failure('unreachable', 'the way out is closed: the daemon is stopping')
    const line = current
    const leave = line.enter()
    try {
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
    examine,
    proxyFor: url => current.proxyFor(new URL(url))?.shown,
    reload(next) {
      const old = current
      current = openLine(next)
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

const openLine = (settings: ProxySettings): Line => {
  const proxy = settings.url === undefined ? undefined : parseProxy(settings.url)
  const isExcluded = createExclusions(settings.exclude)
  const proxyFor = (url: URL) => (proxy === undefined || isExcluded(url) ? undefined : proxy)
  const closing = new AbortController()
  const dials = new WeakMap<ClientRequest, AbortController>()
  let pool: Pool | undefined
  let calls = 0
  let onIdle: (() => void) | undefined
  const destroy = (): void => {
    closing.abort()
    pool?.destroy()
  }
  return {
    agent: () => (pool ??= createPool({ ca: settings.ca, dials, proxyFor: url => proxyFor(url)?.url ?? '' })).agent,
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

type Pool = { readonly agent: ProxyAgent; destroy(): void }

/** Idle connections end after this: firewalls forget them silently, and the next call would wait for nothing. */
const IDLE_MS = 20_000

const createPool = (deps: {
  ca: string | undefined
  proxyFor: (url: URL) => string
  dials: WeakMap<ClientRequest, AbortController>
}): Pool => {
  const trust = { secureContext: trusting(deps.ca), rejectUnauthorized: true }
  const keep = { keepAlive: true, maxFreeSockets: 16 }
  const httpAgent = new HttpAgent({ ...keep, timeout: IDLE_MS })
  const httpsAgent = new HttpsAgent({ ...keep, ...trust, timeout: IDLE_MS })
  const agent = new ProxyAgent({
    ...keep,
    ...trust,
    httpAgent,
    httpsAgent,
    getProxyForUrl: url => deps.proxyFor(new URL(url)),
  })
  const choose = agent.connect.bind(agent)
  const seen = new WeakSet<HttpAgent>()
  agent.connect = async (request, options) => {
    const chosen = await choose(request, options)
    if (!seen.has(chosen)) prepare(chosen, deps.dials)
    seen.add(chosen)
    return chosen
  }
  return {
    agent,
    destroy() {
      for (const each of [agent, httpAgent, httpsAgent]) each.destroy()
    },
  }
}

/** What each agent of proxy-agent lacks: an end for idle connections, and for one to a proxy that never answers; the host that is an address. */
const prepare = (agent: HttpAgent, dials: WeakMap<ClientRequest, AbortController>): void => {
  // http.Agent has these options, and reads them when a connection falls idle; its types do not show them.
  Object.assign(Reflect.get(agent, 'options'), { timeout: IDLE_MS })
  if (!isTunneler(agent)) return
  const dial = agent.connect.bind(agent)
  const base = agent.connectOpts
  agent.connect = (request, options) => {
    const controller = new AbortController()
    dials.set(request, controller)
    // Read by `dial` before it first waits.
    if (base) agent.connectOpts = { ...base, signal: controller.signal }
    const ours = { checkServerIdentity: identityOf(options.host) }
    return dial(request, { ...options, ...ours })
  }
}

/** HttpProxyAgent and HttpsProxyAgent have `connectOpts`; the one for SOCKS gives up by itself after 30 s. */
type Tunneler = HttpAgent & {
  connectOpts?: object
  connect(request: ClientRequest, options: { host?: string }): Promise<unknown>
}

const isTunneler = (agent: HttpAgent): agent is Tunneler => 'connect' in agent

/** In a tunnel Node knows the host by its name for SNI alone, which an address has not, and would look for `localhost` in the certificate. */
const identityOf =
  (host: string | undefined) =>
  (known: string, certificate: PeerCertificate): Error | undefined =>
    checkServerIdentity(host ?? known, certificate)

/** The system's roots, or Node's own on a machine without any, and the private ones: for GitHub and an `https:` proxy alike. */
const trusting = (ca: string | undefined) => {
  const system = getCACertificates('system')
  const roots = system.length > 0 ? [...system, ...getCACertificates('extra')] : getCACertificates('default')
  return createSecureContext({ ca: [...new Set(roots), ...(ca === undefined ? [] : [ca])] })
}

type Proxy = { readonly url: string; readonly shown: string }

const parseProxy = (text: string): Proxy => {
  const url = parseProxyUrl(text, '[proxy] url')
  // The proxy resolves the names: an appliance behind a firewall often cannot.
  const href = url.protocol === 'socks5:' ? url.href.replace('socks5:', 'socks5h:') : url.href
  url.password = ''
  return { url: href, shown: url.href.replace(/\/$/, '') }
}
