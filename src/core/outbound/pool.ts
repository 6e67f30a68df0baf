// The connections that calls are made over: direct or by way of the proxy, trusting the right roots, kept for the next call. Owns proxy-agent.

import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'
import { ProxyAgent } from 'proxy-agent'
import type { Clock, Timer } from '../../service/clock.ts'
import type { ProxyAddress } from '../../service/proxy.ts'

/** Where calls go under one set of settings. */
export type Route = {
  /** Undefined: direct. */
  proxyFor(url: URL): ProxyAddress | undefined
  /** Trusted besides the system's roots, as PEM. */
  readonly ca: string | undefined
}

/** An agent for one connection at a time, so that ending it ends that connection. One to a SOCKS proxy that does not answer lasts for 30 seconds more. */
export type Connector = {
  readonly agent: ProxyAgent
  readonly proxy: ProxyAddress | undefined
  /** The call is over, and its connection is good for the next one. */
  release(): void
  end(): void
}

type Idle = { readonly origin: string; readonly connector: Connector; readonly timer: Timer }

export type Pool = ReturnType<typeof createPool>

/** Kept for the next calls. */
const MOST_IDLE = 16
/** Idle connections end after this: firewalls forget them silently, and the next call would wait for nothing. */
const IDLE_MS = 20_000

/** `route`: the one in force. */
export const createPool = ({ clock, route }: { clock: Pick<Clock, 'after'>; route: () => Route }) => {
  const idle: Idle[] = []
  let last: { readonly ca: string | undefined; readonly secureContext: SecureContext } | undefined

  /** The last one is kept for reloads: each takes a megabyte that the collector does not see, and milliseconds. */
  const trust = (ca: string | undefined): SecureContext => {
    if (!last || last.ca !== ca) last = { ca, secureContext: trusting(ca) }
    return last.secureContext
  }

  const leave = (entry: Idle): void => {
    entry.timer.cancel()
    idle.splice(idle.indexOf(entry), 1)
  }

  const drop = (entry: Idle): void => {
    leave(entry)
    entry.connector.end()
  }

  const open = (url: URL): Connector => {
    const opened = route()
    const proxy = opened.proxyFor(url)
    const ending = new AbortController()
    const { signal } = ending
    const agent = new ProxyAgent({
      keepAlive: true,
      maxFreeSockets: 1,
      secureContext: trust(opened.ca),
      rejectUnauthorized: true,
      signal,
      getProxyForUrl: () => proxy?.reveal() ?? '',
    })
    const connector = {
      agent,
      proxy,
      release(): void {
        if (signal.aborted || route() !== opened || idle.length >= MOST_IDLE) return connector.end()
        const entry: Idle = { origin: url.origin, connector, timer: clock.after(IDLE_MS, () => drop(entry)) }
        idle.push(entry)
      },
      end(): void {
        ending.abort()
        agent.destroy()
      },
    }
    return connector
  }

  return {
    trust,
    /** One that is kept, the youngest first, or a new one. */
    take(url: URL, { fresh }: { fresh: boolean }): Connector {
      const kept = fresh ? undefined : idle.findLast(({ origin }) => origin === url.origin)
      if (!kept) return open(url)
      leave(kept)
      return kept.connector
    },
    endIdle(): void {
      while (idle[0]) drop(idle[0])
    },
  }
}

/** The system's roots, or Node's own on a machine without any, and the private ones: for GitHub and an `https:` proxy alike. */
const trusting = (ca: string | undefined): SecureContext => {
  const system = getCACertificates('system')
  const roots = system.length > 0 ? [...system, ...getCACertificates('extra')] : getCACertificates('default')
  return createSecureContext({ ca: [...new Set(roots), ...(ca === undefined ? [] : [ca])] })
}
