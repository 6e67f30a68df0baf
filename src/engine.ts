// The engine: everything that works over one open store. Built by the daemon, which runs on without it while the store is closed.

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Account, Host } from './domain/connection.ts'
import { type Permissions, unitePermissions } from './domain/scope.ts'
import { exportPem, readPrivateKey } from './github/app-jwt.ts'
import { appManifest, enterprisePrefill, manifestAction } from './github/app-manifest.ts'
import { createGitHubClock } from './github/clock.ts'
import { createGitHub } from './github/request.ts'
import { createAppLink } from './operations/app-link.ts'
import { createCallTally } from './operations/call-tally.ts'
import { createAuditLog } from './operations/audit.ts'
import { createPatient, type Patient } from './operations/check-patient.ts'
import { createDisable } from './operations/disable.ts'
import { assembleDrift } from './operations/drift-parts.ts'
import { createEnable } from './operations/enable.ts'
import type { Events } from './operations/events.ts'
import { createExplain, type Directory } from './operations/explain.ts'
import { createFeatures } from './operations/features.ts'
import { createFigures } from './operations/figures.ts'
import { createGateway } from './operations/gateway.ts'
import { createImport } from './operations/import.ts'
import { createJourney } from './operations/journey.ts'
import { createKeys } from './operations/keys.ts'
import type { Operations } from './operations/operations.ts'
import { createRecovery } from './operations/recovery.ts'
import { createSnapshots, type SnapshotSettings } from './operations/snapshots.ts'
import { quarantineIfMoved } from './operations/quarantine.ts'
import { createHeartbeat, type Heartbeat } from './operations/refresh.ts'
import { createRefreshHistory } from './operations/refresh-history.ts'
import { createStatusReport } from './operations/status.ts'
import { createTokenDesk } from './operations/token-desk.ts'
import { createTokens } from './operations/tokens.ts'
import { createRateLimit } from './operations/rate-limit.ts'
import { createTrail, nameOf } from './operations/trail.ts'
import type { WaitingBundle } from './operations/waiting-bundle.ts'
import { ADMIN_PROFILE } from './domain/policy.ts'
import type { Clock } from './platform/clock.ts'
import type { Config } from './platform/config.ts'
import { syncFolder, writeDurably } from './platform/files.ts'
import { findGroup, findUser, groupName, groupsOfUser, userName } from './platform/libc.ts'
import type { Log } from './platform/log.ts'
import type { Outbound } from './platform/outbound.ts'
import { findProcess } from './platform/peer.ts'
import { stateSizes } from './platform/sizes.ts'
import { doubtfulUnits } from './platform/unit-files.ts'
import { VERSION } from './platform/version.ts'
import { createAuditArchive } from './store/audit-archive.ts'
import { openAudit } from './store/audit-store.ts'
import { openBundle, readHeader, writeBundle } from './snapshot/bundle.ts'
import { createSigner, readSigner } from './snapshot/signing.ts'
import { openStore } from './store/database.ts'
import { storeKeyOf } from './unlock.ts'
import type { AppForm } from './web/server.ts'

export type EngineDeps = {
  readonly config: () => Config
  readonly host: () => Host
  readonly outbound: Outbound
  readonly events: Events
  readonly clock: Clock
  readonly log: Log
  readonly env: NodeJS.ProcessEnv
  /** Where it was had already, with other rights than those that the engine is to work with. */
  readonly storeKey?: Buffer
}

export type Engine = {
  readonly operations: Operations
  readonly heartbeat: Heartbeat
  appForm(account: Account, state: string): AppForm
  /** What the doctor may ask. */
  readonly patient: Patient
  /** What the App is asked to have. */
  wantedPermissions(): Permissions
  /** Where an enable goes on: our page, or GitHub's form for an enterprise. */
  formUrl(account: Account, state: string): string
  /** Reads from the store's file. Throws where it does not answer. */
  probe(): void
  close(): void
}

/** Throws `locked`, `wrong-store-key`, `store-corrupt`, `store-newer`, `disk-full`, `io`; then nothing is open. */
export const openEngine = (deps: EngineDeps): Engine => {
  const { config, outbound, events, clock, log, host } = deps
  const { paths } = config()
  const storeKey = deps.storeKey ?? storeKeyOf(config(), deps.env)
  const store = openStore({ folder: join(paths.state, 'store'), storeKey, log })
  const audit = openOr(
    () => store.close(),
    () => openAudit({ path: join(paths.state, 'audit.db'), storeKey, log }),
  )

  const offset = store.facts.find(CLOCK_OFFSET)
  const least = store.facts.find(CLOCK_LEAST)
  const githubClock = createGitHubClock({
    clock,
    offsetMs: typeof offset === 'number' ? offset : 0,
    leastMs: typeof least === 'number' ? least : undefined,
    onChange(offsetMs) {
      log.warn("GitHub's clock differs from this machine's", { seconds: Math.round(offsetMs / 1000) })
      store.facts.put(CLOCK_OFFSET, offsetMs)
    },
  })
  const calls = createCallTally({ clock })
  const github = createGitHub({
    outbound,
    clock,
    githubClock,
    log,
    settings: () => config().github,
    userAgent: USER_AGENT,
    onCall: calls.note,
  })

  const archive = createAuditArchive({ folder: join(paths.state, 'audit'), databaseKey: audit.databaseKey() })
  const auditLog = createAuditLog({ audit, archive, clock, log })
  const trail = createTrail({ audit: auditLog.store, clock, log })
  const journey = createJourney({ store, events, trail, clock, githubUrl: () => config().github.url })
  quarantineIfMoved({ journey, clock, host })
  const link = createAppLink({ github, store, clock, readKey: readPrivateKey })
  const settings = () => config().refresh
  const tokens = createTokens({
    store,
    link,
    journey,
    trail,
    events,
    clock,
    githubClock,
    log,
    settings,
    random: Math.random,
  })
  const drift = assembleDrift({ store, journey, link, tokens, trail, events, clock, log })
  const exportKey = (key: ReturnType<typeof readPrivateKey>, addedAtMs: number) => ({
    fingerprint: key.fingerprint,
    pem: exportPem(key),
    addedAtMs,
  })

  const outline = () => {
    const { appliance, app, policy, web } = config()
    return {
      name: app.name,
      url: appliance.url,
      description: `GitHub Connect of ${appliance.hostname}`,
      permissions: unitePermissions([app.permissions, ...policy.profiles.map(profile => profile.permissions)]),
      setupUrl: `${web.publicUrl}/setup`,
    }
  }
  const formUrl = (account: Account, state: string): string =>
    account.type === 'enterprise'
      ? enterprisePrefill(config().github.url, account, outline())
      : `${config().web.publicUrl}/enable/${state}`
  const appForm = (account: Account, state: string): AppForm => ({
    action: manifestAction(config().github.url, account, state),
    manifest: appManifest({ ...outline(), redirectUrl: `${config().web.publicUrl}/callback` }),
    permissions: outline().permissions,
  })

  const proveTokens = async (): Promise<void> => {
    for (const { id } of journey.read().installations) {
      await tokens.obtain({ profile: ADMIN_PROFILE, scope: { installation: id, permissions: { metadata: 'read' } } })
    }
  }
  const enable = createEnable({
    journey,
    link,
    events,
    clock,
    log,
    readKey: readPrivateKey,
    exportKey,
    host,
    formUrl,
    onConnected: proveTokens,
  })
  const importApp = createImport({
    journey,
    link,
    clock,
    readKey: readPrivateKey,
    exportKey,
    host,
    resume: enable.resume,
  })
  const keys = createKeys({
    journey,
    link,
    trail,
    events,
    clock,
    readKey: readPrivateKey,
    exportKey,
    check: drift.check,
  })
  const disable = createDisable({
    journey,
    link,
    tokens,
    events,
    clock,
    log,
    dropWaiting: () => snapshots.dropWaiting(),
  })
  const keepTime = (): void => {
    const told = githubClock.findTold()
    if (told !== undefined) store.facts.put(CLOCK_LEAST, told)
  }
  const heartbeat = createHeartbeat({
    journey,
    tokens,
    enable,
    disable,
    drift,
    prove: () => snapshots.prove(),
    clock,
    log,
    host,
    schedule: () => config().refresh.schedule,
    onBeat: keepTime,
  })
  const recovery = createRecovery({
    store,
    audit,
    trail,
    log,
    configured: () => config().snapshot.recipients,
    assertRecipient: async text => (await age()).assertRecipient(text),
    encryptTo: async (recipients, bytes) => (await age()).encryptTo(recipients, bytes),
    createSigner,
    readSigner,
  })
  const snapshots = createSnapshots({
    store,
    journey,
    tokens,
    trail,
    recovery,
    clock,
    log,
    tools: {
      writeBundle,
      readHeader,
      openBundle,
      recipientOf: async identity => (await age()).recipientOf(identity),
      fingerprintOf: pem => readPrivateKey(pem.reveal()).fingerprint,
    },
    waiting: waitingBundleAt(paths.state),
    host,
    settings: () => snapshotSettings(config()),
    onRestored: () => heartbeat.soon(),
  })
  const wrap = (): void =>
    void recovery.ensureWrap().catch(error => log.error('the recovery wrap was not written', { error }))
  wrap()
  const unsubscribe = events.subscribe(({ event }) => event === 'state' && wrap())
  const policy = () => config().policy
  const features = createFeatures({ switched: () => config().features, policy, journey, drift })
  const history = createRefreshHistory({ facts: store.facts, events, clock, log })
  const status = createStatusReport({
    journey,
    tokens,
    link,
    drift,
    policy,
    recovery,
    trail,
    snapshots,
    clock,
    githubClock,
    settings: () => ({
      githubUrl: config().github.url,
      apiUrl: config().github.apiUrl,
      beforeExpiryMs: config().refresh.beforeExpiryMs,
    }),
    proxyFor: url => outbound.proxyFor(url),
    featureWarnings: features.warnings,
    doubtfulUnits: () => doubtfulUnits(config().policy.profiles.flatMap(profile => profile.allow.units)),
    host,
    version: VERSION,
  })
  const rateLimit = createRateLimit({ clock })
  const desk = createTokenDesk({ policy, journey, tokens, drift, link, trail, clock, rateLimit })
  const gateway = createGateway({ desk, outbound, clock, settings: () => config().github, userAgent: USER_AGENT })
  const explain = createExplain({ policy, journey, directory: DIRECTORY })

  return {
    operations: {
      journey,
      enable,
      importApp,
      disable,
      keys,
      desk,
      gateway,
      status,
      snapshots,
      recovery,
      audit: auditLog,
      explain,
      features,
      history,
      figures: createFigures({
        tokens,
        calls,
        link,
        journey,
        githubClock,
        facts: store.facts,
        sizes: () => stateSizes(paths.state),
      }),
      noteRequest: (peer, detail) => trail.owe({ event: 'admin.request', peer: nameOf(peer), detail }),
      refresh: heartbeat.force,
    },
    heartbeat,
    appForm,
    patient: createPatient({ store, link, tokens, recovery, githubClock, readKey: readPrivateKey }),
    wantedPermissions: () => outline().permissions,
    formUrl,
    probe: () => void store.facts.find(CLOCK_OFFSET),
    close() {
      heartbeat.stop()
      unsubscribe()
      history.close()
      try {
        trail.flush()
      } finally {
        auditLog.close()
        audit.close()
        store.close()
      }
    },
  }
}

export const snapshotSettings = ({ snapshot, github }: Config): SnapshotSettings => ({
  trusted: snapshot.trusted,
  includeToken: snapshot.includeToken,
  githubUrl: github.url,
  apiUrl: github.apiUrl,
})

export const waitingBundleAt = (state: string): WaitingBundle => {
  const path = join(state, 'waiting.bundle')
  return {
    find: () => (existsSync(path) ? readFileSync(path) : undefined),
    put: bundle => writeDurably(path, bundle, 0o600),
    remove() {
      rmSync(path, { force: true })
      syncFolder(state)
    },
  }
}

/** Loaded with its first use: most starts see none. */
const age = () => import('./snapshot/encryption.ts')

const DIRECTORY: Directory = { findUser, findGroup, userName, groupName, groupsOfUser, findProcess }

const USER_AGENT = `ghconnectd/${VERSION}`

const CLOCK_OFFSET = 'clock-offset-ms'
const CLOCK_LEAST = 'clock-least-ms'

const openOr = <T>(cleanUp: () => void, open: () => T): T => {
  try {
    return open()
  } catch (error) {
    cleanUp()
    throw error
  }
}
