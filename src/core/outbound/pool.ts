// The connections that calls are made over: kept alive, by way of the proxy, trusting the right roots. Owns proxy-agent.

import { Agent as HttpAgent, type ClientRequest } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import {
  checkServerIdentity,
  createSecureContext,
  getCACertificates,
  type PeerCertificate,
  type SecureContext,
} from 'node:tls'
import { ProxyAgent } from 'proxy-agent'

export type Pool = { readonly agent: ProxyAgent; destroy(): void }

/** Kept for the next calls. */
export const MOST_IDLE = 16

export type PoolDeps = {
  readonly secureContext: SecureContext
  /** The proxy with its password; empty: direct. */
  readonly proxyFor: (url: URL) => string
  /** Ends a connection to the proxy that is still being made. */
  readonly dials: WeakMap<ClientRequest, AbortController>
}

/** Idle connections end after this: firewalls forget them silently, and the next call would wait for nothing. */
const IDLE_MS = 20_000

export const createPool = (deps: PoolDeps): Pool => {
  const trust = { secureContext: deps.secureContext, rejectUnauthorized: true }
  const keep = { keepAlive: true, maxFreeSockets: MOST_IDLE }
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
  // Also those that proxy-agent forgets: of calls that are first together, each makes an agent, and the last one's is kept.
  const seen = new Set<HttpAgent>()
  agent.connect = async (request, options) => {
    const chosen = await choose(request, options)
    if (!seen.has(chosen)) prepare(chosen, deps.dials)
    seen.add(chosen)
    return chosen
  }
  return {
    agent,
    destroy() {
      for (const each of [agent, httpAgent, httpsAgent, ...seen]) each.destroy()
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

/**
 * What is trusted besides the system's roots, as PEM, makes a context. The last one is kept for reloads: each takes a megabyte that the
 * collector does not see, and milliseconds.
 */
export const createTrust = (): ((ca: string | undefined) => SecureContext) => {
  let last: { readonly ca: string | undefined; readonly secureContext: SecureContext } | undefined
  return ca => {
    if (!last || last.ca !== ca) last = { ca, secureContext: trusting(ca) }
    return last.secureContext
  }
}

/** The system's roots, or Node's own on a machine without any, and the private ones: for GitHub and an `https:` proxy alike. */
const trusting = (ca: string | undefined): SecureContext => {
  const system = getCACertificates('system')
  const roots = system.length > 0 ? [...system, ...getCACertificates('extra')] : getCACertificates('default')
  return createSecureContext({ ca: [...new Set(roots), ...(ca === undefined ? [] : [ca])] })
}
