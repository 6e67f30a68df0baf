// The daemon: the only place where things are built, in the order in which they start; they stop the other way round.

import { chmodSync, mkdirSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { createBodyBudgets } from './api/body.ts'
import { createHolderTurns } from './peers/holder.ts'
import { createCredentialsServer } from './api/credentials-socket.ts'
import { createMetrics } from './api/metrics.ts'
import type { Backend } from './api/context.ts'
import { createApi } from './api/dispatcher.ts'
import { attestPeers, closeServer, listenUnix, stopListening, type UnixAddress } from './api/sockets.ts'
import { createHttpServer, type Handler } from './api/http-server.ts'
import { loadUsableConfig } from './config-check.ts'
import { SLOWED_MS } from '../service/limits.ts'
import type { Host } from '../protocol/connection.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import type { Peer } from '../protocol/profile.ts'
import type { Context } from './engine.ts'
import { createEngineState } from './engine-state.ts'
import { readRedirect } from './github/app-manifest.ts'
import { createEvents } from './audit/events.ts'
import type { Doctor } from '../doctor/doctor.ts'
import { createRateLimit } from './peers/rate-limit.ts'
import { createClock, type Timer } from '../service/clock.ts'
import type { Config, Surroundings } from '../service/config.ts'
import { describeFinding, doubtsIn, type Finding } from '../service/config-findings.ts'
import { findGroup, findUser, hasHungUp, peerCredentials, peerName, setNonDumpable } from '../service/libc.ts'
import { lockStateFolder } from '../service/lock.ts'
import { createLog, type Log, type LogLevel } from '../service/log.ts'
import { createOutbound } from './outbound/outbound.ts'
import { createAttest, fdOf } from './peers/peer.ts'
import {
  activatedSockets,
  createNotifier,
  isJournal,
  machineId,
  sendToJournal,
  startWatchdog,
} from '../service/systemd.ts'
import { VERSION } from '../service/process.ts'
import { createSettingsPage } from './settings-page.ts'

export type Daemon = {
  /** Reads the configuration again; keeps the old one, and says why, where the new one is wrong. */
  reload(): void
  stop(): Promise<void>
}

export type DaemonOptions = {
  readonly configFile: string
  readonly env: NodeJS.ProcessEnv
  readonly logLevel?: LogLevel
}

const STOP_GRACE_MS = 5_000
/** How late `systemctl status` may be about what no event tells. */
const STATUS_MS = 15_000
const TOKEN_SOCKET_MODE = 0o666
const ADMIN_SOCKET_MODE = 0o660
/** systemd connects as root. */
const CREDENTIALS_SOCKET_MODE = 0o600
const CREDENTIALS_NEXT = 'systemctl enable --now ghconnectd-loadcredential.socket, then restart ghconnectd'

/** Throws `configuration`, `state-in-use`, `socket-in-use`, `io`: without these nothing can run. A store that cannot be opened is no reason to stop. */
export const startDaemon = async ({ configFile, env, logLevel = 'info' }: DaemonOptions): Promise<Daemon> => {
  process.umask(0o077)
  const surroundings = surroundingsOf()
  const options = { configFile, surroundings, env }
  const first = loadUsableConfig(options)
  let { config } = first
  setNonDumpable()
  const log = createLog({ level: logLevel, journal: isJournal(env), send: sendToJournal })
  logDoubts(log, first.findings)
  let doubts = doubtsIn(first.findings)
  const clock = createClock()
  const notifier = createNotifier(env, error => log.warn('the service manager cannot be told', { error }))
  mkdirSync(config.paths.state, { recursive: true, mode: 0o700 })
  const lock = lockStateFolder(config.paths.state)
  const events = createEvents({ clock, log })
  const outbound = createOutbound(first.proxy, { clock })
  const host = (): Host => ({
    machineId: machineId(env['GHCONNECT_MACHINE_ID_FILE'] || undefined) ?? '',
    hostname: config.appliance.hostname,
  })

  const context: Context = {
    config: () => config,
    host,
    outbound,
    events,
    clock,
    random: Math.random,
    log,
    env,
    refused: () => refused,
    doubts: () => doubts,
    pageFault: () => page.findFault(),
  }
  const state = createEngineState(context)
  const metrics = createMetrics({ clock, events, operations: state.engine, state: state.kind, version: VERSION })
  let doctor: Doctor | undefined
  const loadDoctor = async (): Promise<Doctor> => {
    const [{ createDoctor }, { createProbe }] = await Promise.all([import('../doctor/doctor.ts'), import('./probe.ts')])
    const { standing, engine } = state
    return createDoctor(createProbe({ ...context, standing, engine }))
  }
  const check: Backend['check'] = async tell => (doctor ??= await loadDoctor()).check(tell)
  const attest = createAttest({ weakPid: () => config.policy.weakPid })
  const activated = activatedSockets(env)
  const turns = createHolderTurns()
  const readIdentities: Backend['readIdentities'] = async text =>
    (await import('./snapshot/encryption.ts')).readIdentities(text)
  const page = createSettingsPage({ ...context, state, attest, turns, readIdentities, check, activated })
  const backend: Backend = {
    ownUid: process.getuid?.() ?? 0,
    githubUrl: () => config.github.url,
    apiUrl: () => config.github.apiUrl,
    policy: () => config.policy,
    status: state.status,
    readRedirect,
    readIdentities,
    issueLink: page.issueLink,
    restore: state.restore,
    unlock: state.unlock,
    reload() {
      const failure = reload()
      if (failure) throw failure
      return configFile
    },
    check,
  }
  const rateLimit = createRateLimit({ clock })
  const bodies = createBodyBudgets()
  const servers: Server[] = []
  let credentials: { close(): unknown } | undefined

  const refusalOf = (peer: Peer | undefined): Failure | undefined => {
    // Looks at the daemon's health come as new connections; what root asks on them costs an allowance all the same.
    if (peer?.uid === 0 || peer?.uid === backend.ownUid) return undefined
    return counted(rateLimit.takeConnection(peer))
  }
  const refusalAgain = (socket: Socket): Failure | undefined =>
    counted(rateLimit.findRefusal(() => peerCredentials(fdOf(socket))))
  const counted = (refusal: Failure | undefined): Failure | undefined => {
    if (refusal) metrics.refused(refusal.code)
    return refusal
  }
  const slowly = (task: () => void) => clock.after(SLOWED_MS, () => turns.take('those who are refused', task))
  const serveUnix = async (socket: 'token' | 'admin', mode: number): Promise<void> => {
    let handler: Handler = (_incoming, outgoing) => void outgoing.writeHead(503).end()
    const server = createHttpServer((incoming, outgoing) => handler(incoming, outgoing), clock.after)
    const peers = attestPeers(
      server,
      attest,
      socket === 'token' ? { hasHungUp: isGone, refusalOf, refusalAgain, slowly } : {},
    )
    handler = createApi({
      socket,
      peers,
      operations: state.engine,
      backend,
      events,
      metrics,
      rateLimit,
      bodies,
      turns,
      clock,
      log,
      version: VERSION,
    })
    const fd = activated.get(socket)
    const address: UnixAddress =
      fd === undefined ? { path: join(config.paths.runtime, `${socket}.sock`), mode } : { fd }
    await listenUnix(server, address)
    servers.push(server)
  }

  /** Without it units get no credentials, and everybody else his token. */
  const serveCredentials = async (): Promise<void> => {
    const fd = activated.get('credentials')
    if (activated.size > 0 && fd === undefined)
      return log.warn('there is no credentials.sock', { next: CREDENTIALS_NEXT })
    const server = createCredentialsServer({
      ...context,
      attest,
      peerName: socket => peerName(fdOf(socket)),
      operations: state.engine,
    })
    const path = join(config.paths.runtime, 'credentials.sock')
    await listenUnix(server, fd === undefined ? { path, mode: CREDENTIALS_SOCKET_MODE } : { fd })
    credentials = { close: () => stopListening(server) }
  }

  /** Why the configuration of the last reload was refused, until one is taken. */
  let refused: string | undefined
  const headline = (): string =>
    refused === undefined ? state.headline() : `${state.headline()} The new configuration was refused: ${refused}`
  const watchdog = startWatchdog({
    notifier,
    clock,
    async probe() {
      state.probe()
      // Through the threads that names are looked up in, and back by the loop's poll.
      await stat(config.paths.state)
    },
    onFailure: error => log.error('the daemon is not well, and the watchdog is not fed', { error }),
  })

  let statusTimer: Timer | undefined

  /** Gives the reason where the new configuration was refused. */
  const reload = (): Failure | undefined => {
    notifier.reloading()
    try {
      const next = loadUsableConfig(options)
      assertReloadable(config, next.config)
      outbound.reload(next.proxy)
      config = next.config
      logDoubts(log, next.findings)
      doubts = doubtsIn(next.findings)
      refused = undefined
      state.reschedule()
      log.info('the configuration was read again')
      return undefined
    } catch (error) {
      const failure = asFailure(error)
      refused = failure.message
      log.error('the old configuration stays', { error })
      return failure
    } finally {
      notifier.ready(headline())
    }
  }

  const stop = async (): Promise<void> => {
    notifier.stopping('Finishing the requests under way')
    watchdog.cancel()
    statusTimer?.cancel()
    events.end()
    credentials?.close()
    // Another node leads at once, and need not wait for a lease to end.
    await Promise.all([state.rest(), ...servers.map(server => closeServer(server, STOP_GRACE_MS, clock.after))])
    state.close()
    outbound.close()
    lock.release()
    log.info('stopped')
  }

  try {
    makeRuntimeFolder(config.paths.runtime)
    state.open()
    await state.inStep()
    await serveUnix('admin', ADMIN_SOCKET_MODE)
    await serveUnix('token', TOKEN_SOCKET_MODE)
    await serveCredentials()
    const web = await page.listen()
    if (web) servers.push(web)
  } catch (error) {
    await stop()
    throw error
  }
  let said = ''
  const sayStatus = (): void => {
    if (said === (said = headline())) return
    notifier.status(said)
  }
  events.subscribe(({ event }) => {
    // Refreshes come by thousands; what they changed is said with the next look.
    if (event !== 'token-refreshed') sayStatus()
  })
  statusTimer = clock.every(STATUS_MS, sayStatus)
  notifier.ready(headline())
  log.info('ready', { version: VERSION, state: state.kind(), runtime: config.paths.runtime })
  // Nobody waits for the first beat: what is at hand is served already.
  state.start()

  return { reload: () => void reload(), stop }
}

/** Everybody may reach the sockets; their own modes say who may open which. A folder that exists keeps its mode. */
const makeRuntimeFolder = (path: string): void => {
  if (mkdirSync(path, { recursive: true, mode: 0o755 }) !== undefined) chmodSync(path, 0o755)
}

/** What is bound to files and sockets that are open holds until the next start. */
const assertReloadable = (old: Config, next: Config): void => {
  const fixed = [
    ['[paths]', old.paths, next.paths],
    ['[web] listen', old.web.listen, next.web.listen],
    ['[store] key_file', old.store.keyFile, next.store.keyFile],
    ['[cluster]', old.cluster, next.cluster],
  ] as const
  for (const [name, before, after] of fixed) {
    if (JSON.stringify(before) !== JSON.stringify(after))
      throw new Failure('configuration', `${name} was changed; that needs a restart`)
  }
}

/** What is wrong with the configuration, and does not keep the daemon from running. */
const logDoubts = (log: Log, findings: readonly Finding[]): void => {
  for (const finding of findings) log.warn(`the configuration: ${describeFinding(finding)}`)
}

export const surroundingsOf = (): Surroundings => ({
  hostname: hostname(),
  findUser: name => findUser(name)?.uid,
  findGroup,
})

const isGone = (socket: Socket): boolean => hasHungUp(fdOf(socket))
