// Serves the settings page: binds its address, and loads its code with the first request, as the page is opened a few times in the life of an appliance.

import type { Server } from 'node:http'
import { attestPeers, LIMITS, limitConnections, listenUnix, NOBODY } from './api/sockets.ts'
import { createHttpServer, type Handler } from './api/http-server.ts'
import type { HolderTurns } from './peers/holder.ts'
import { fullLevel, take } from '../service/limits.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import type { Peer } from '../protocol/profile.ts'
import type { Context } from './engine.ts'
import type { EngineState } from './engine-state.ts'
import type { Attest } from './peers/peer.ts'
import type { WebDeps } from '../page/requests.ts'
import { createLinks } from '../page/sessions.ts'

export type SettingsPage = {
  /** Why there is no page, once it could not listen. */
  findFault(): Failure | undefined
  /** A one-time link for the caller. Throws `socket-in-use` where there is no page. */
  issueLink(peer: Peer): { readonly url: string; readonly expiresAtMs: number }
  /**
   * Throws `socket-in-use`, unless the sockets are the service manager's: a service goes on with its others, as tokens are worth more
   * than the page. Then there is no server.
   */
  listen(): Promise<Server | undefined>
}

/** The policy of what may be done on it is that of admin.sock; who may connect is everybody's, as with a port. */
const WEB_SOCKET_MODE = 0o666
/** A page takes about a millisecond, in the process that serves tokens: one in a turn of the event loop. */
const PAGE_COST = 4
/** Signing in takes a few requests. */
const STRANGERS = { perSecond: 100, burst: 400 }

export const createSettingsPage = (
  deps: Pick<Context, 'config' | 'events' | 'clock' | 'log'> &
    Pick<WebDeps, 'readIdentities' | 'check'> & {
      readonly state: EngineState
      readonly attest: Attest
      readonly turns: HolderTurns
      /** What the service manager passed, if it passed any sockets at all. */
      readonly activated: ReadonlyMap<string, number>
    },
): SettingsPage => {
  const { config, state, clock, log, activated } = deps
  const links = createLinks({ clock })
  let fault: Failure | undefined
  const strangers = fullLevel(STRANGERS, clock.monotonic())
  const { listen } = config().web

  const webDeps = (peerOf: WebDeps['peerOf']): WebDeps => ({
    links,
    operations: state.engine,
    status: () => state.status({ socket: 'admin' }),
    readIdentities: deps.readIdentities,
    check: deps.check,
    unlock: state.unlock,
    peerOf,
    ownUid: process.getuid?.() ?? 0,
    events: deps.events,
    clock,
    log,
    takeStranger: () => take(strangers, undefined, clock.monotonic()) === undefined,
    inTurn: task => deps.turns.take('those whom the page refuses', task),
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
      web ??= import('../page/server.ts').then(({ createWeb }) => createWeb(webDeps(peerOf)))
      const served = web
      const answer = async (): Promise<void> => {
        let handle: Handler
        try {
          handle = await served
        } catch (error) {
          web = undefined
          log.error('the settings page could not be loaded', { error: asFailure(error) })
          outgoing.writeHead(503).end()
          return
        }
        handle(incoming, outgoing)
      }
      deps.turns.take('the page', () => void answer(), PAGE_COST)
    }, clock.after)
    if ('path' in listen) {
      const peers = attestPeers(server, deps.attest)
      peerOf = incoming => peers.of(incoming).peer
    } else limitConnections(server, { ...LIMITS, ofHolder: LIMITS.all }, () => NOBODY)
    return server
  }

  return {
    findFault: () => fault,
    issueLink(peer) {
      if (fault) throw fault
      const { code, expiresAtMs } = links.issue(peer)
      return { url: `${config().web.publicUrl}/sign-in/${code}`, expiresAtMs }
    },
    async listen() {
      const server = serve()
      const fd = activated.get('web')
      const wanted = 'path' in listen ? listen.path : `${listen.host}:${listen.port}`
      try {
        if ('path' in listen)
          await listenUnix(server, fd === undefined ? { path: listen.path, mode: WEB_SOCKET_MODE } : { fd })
        else await listenTcp(server, fd === undefined ? listen : { fd })
      } catch (cause) {
        const failure =
          cause instanceof Failure
            ? cause
            : new Failure('socket-in-use', `the page cannot listen on ${wanted}`, { cause })
        if (activated.size === 0) throw failure
        const owner = 'path' in listen ? '' : ` (\`ss -ltnp 'sport = :${listen.port}'\` names it)`
        // systemd binds no socket again while its service runs.
        const next = `Stop the process that listens on ${wanted}${owner}, then run \`systemctl stop ghconnectd && systemctl restart ghconnectd-web.socket && systemctl start ghconnectd\`.`
        fault = new Failure('socket-in-use', `${failure.message}; tokens are served without it`, { cause, next })
        log.error('there is no page', { error: fault, next })
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
