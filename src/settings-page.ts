// Serves the settings page: binds its address, and loads its code with the first request, as the page is opened a few times in the life of an appliance.

import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { attestPeers, createHttpServer, type Handler, listenUnix } from './api/sockets.ts'
import { Failure } from './domain/errors.ts'
import type { Peer } from './domain/policy.ts'
import type { Keeper } from './engine-keeper.ts'
import type { Events } from './operations/events.ts'
import type { Clock } from './platform/clock.ts'
import type { Config } from './platform/config.ts'
import type { Log } from './platform/log.ts'
import type { Attest } from './platform/peer.ts'
import { VERSION } from './platform/version.ts'
import { createLinks } from './web/links.ts'
import type { WebDeps } from './web/server.ts'

export type SettingsPage = {
  /** A one-time link for whoever asked for it. */
  issueLink(peer: Peer): { readonly url: string; readonly expiresAtMs: number }
  /**
   * Throws `socket-in-use`, unless the sockets are the service manager's: a service goes on with its others, as tokens are worth more
   * than the page. Then there is no server.
   */
  listen(): Promise<Server | undefined>
}

/** The policy of what may be done on it is that of admin.sock; who may connect is everybody's, as with a port. */
const WEB_SOCKET_MODE = 0o666

export const createSettingsPage = (deps: {
  config: () => Config
  keeper: Keeper
  events: Events
  attest: Attest
  readIdentities: WebDeps['readIdentities']
  check: WebDeps['check']
  /** What the service manager passed, if it passed any sockets at all. */
  activated: ReadonlyMap<string, number>
  ownerOf: (socket: Socket) => string
  clock: Clock
  log: Log
}): SettingsPage => {
  const { config, keeper, clock, log, activated } = deps
  const links = createLinks({ clock })
  const { listen } = config().web

  const webDeps = (peerOf: WebDeps['peerOf']): WebDeps => ({
    links,
    operations: keeper.operations,
    status: () => keeper.status({ socket: 'admin' }),
    appForm: (account, state) => keeper.engine().appForm(account, state),
    formUrl: (account, state) => keeper.engine().formUrl(account, state),
    wantedPermissions: () => keeper.engine().wantedPermissions(),
    readIdentities: deps.readIdentities,
    check: deps.check,
    unlock: keeper.unlock,
    peerOf,
    ownUid: process.getuid?.() ?? 0,
    events: deps.events,
    clock,
    log,
    version: VERSION,
    settings() {
      const { web, github, appliance, policy, features } = config()
      const own = 'path' in web.listen ? [] : [`http://${hostOf(web.listen)}:${web.listen.port}`]
      return {
        bases: [web.publicUrl, ...own],
        frontUid: web.frontUid,
        githubUrl: github.url,
        apiUrl: github.apiUrl,
        hostname: appliance.hostname,
        policy,
        features: features.map(({ name }) => name),
      }
    },
  })

  const serve = (): Server => {
    let peerOf: WebDeps['peerOf'] = () => undefined
    let web: Promise<Handler> | undefined
    const server = createHttpServer((incoming, outgoing) => {
      web ??= import('./web/server.ts').then(({ createWeb }) => createWeb(webDeps(peerOf)))
      void web.then(handle => handle(incoming, outgoing))
    }, clock.after)
    if ('path' in listen) {
      const peers = attestPeers(server, deps.attest)
      peerOf = incoming => peers.of(incoming).peer
    }
    return server
  }

  return {
    issueLink(peer) {
      const { code, expiresAtMs } = links.issue(peer)
      return { url: `${config().web.publicUrl}/sign-in/${code}`, expiresAtMs }
    },
    async listen() {
      const server = serve()
      const fd = activated.get('web')
      const wanted = 'path' in listen ? listen.path : `${listen.host}:${listen.port}`
      try {
        if ('path' in listen)
          await listenUnix(
            server,
            fd === undefined ? { path: listen.path, mode: WEB_SOCKET_MODE } : { fd },
            deps.ownerOf,
          )
        else await listenTcp(server, fd === undefined ? listen : { fd })
      } catch (cause) {
        const failure =
          cause instanceof Failure
            ? cause
            : new Failure('socket-in-use', `the page cannot listen on ${wanted}`, { cause })
        if (activated.size === 0) throw failure
        log.error('there is no page', {
          error: failure,
          next: 'systemctl restart ghconnectd-web.socket ghconnectd',
        })
        return undefined
      }
      const bound = server.address()
      const port = bound !== null && typeof bound === 'object' ? bound.port : undefined
      if (fd !== undefined && port !== ('path' in listen ? undefined : listen.port)) {
        log.warn('the page listens where ghconnectd-web.socket says, and not at [web] listen', {
          ...(port !== undefined && { port }),
          wanted,
        })
      }
      return server
    },
  }
}

const hostOf = ({ host }: { host: string }): string => (host.includes(':') ? `[${host}]` : host)

const listenTcp = async (server: Server, address: { host: string; port: number } | { fd: number }): Promise<void> => {
  const listening = Promise.withResolvers<void>()
  server.once('error', listening.reject)
  server.listen(address, listening.resolve)
  await listening.promise
}
