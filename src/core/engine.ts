// The engine: everything that works over one open store. Built by the daemon, which runs on without it while the store is closed.

import { join } from 'node:path'
import type { Account, Host } from '../protocol/connection.ts'
import type { Failure } from '../protocol/errors.ts'
import type { Permissions } from '../protocol/scope.ts'
import { createChanges } from './engine-changes.ts'
import { createForms } from './engine-forms.ts'
import { createWayToGitHub, USER_AGENT } from './engine-github.ts'
import { createEngineMembership } from './engine-membership.ts'
import { createKeeping } from './engine-snapshots.ts'
import { readPrivateKey } from './github/app-jwt.ts'
import { type AppLink, createAppLink } from './connection/app-link.ts'
import { createAuditLog } from './audit/audit.ts'
import { createDrift, type Drift } from './connection/drift.ts'
import type { Membership } from './connection/membership.ts'
import type { GitHubClock } from './github/clock.ts'
import type { Recovery } from './snapshot/recovery.ts'
import type { Events } from './audit/events.ts'
import { createExplain, type Directory } from './policy/explain.ts'
import { createFeatures } from './connection/features.ts'
import { createFigures } from './api/figures.ts'
import { createGateway } from './tokens/gateway.ts'
import { createConnectionState, quarantineIfMoved } from './connection/connection-state.ts'
import type { Operations } from './operations.ts'
import { createHeartbeat, type Heartbeat } from './tokens/refresh.ts'
import { createRefreshHistory } from './tokens/refresh-history.ts'
import { createRevokeAll } from './tokens/revoke-all.ts'
import { createStatusReport } from './status.ts'
import { createTokenIssuer } from './tokens/token-issuer.ts'
import { createTokens, type Tokens } from './tokens/tokens.ts'
import { createRateLimit } from './peers/rate-limit.ts'
import { type AuditWriter, createAuditWriter, nameOf } from './audit/audit-writer.ts'
import type { Clock } from '../service/clock.ts'
import type { Config } from '../service/config.ts'
import { findGroup, findUser, groupName, groupsOfUser, userName } from '../service/libc.ts'
import type { Log } from '../service/log.ts'
import type { Doubt } from '../service/config-findings.ts'
import { unitDoubts } from '../service/unit-files.ts'
import type { Outbound } from './outbound/outbound.ts'
import { findProcess } from './peers/peer.ts'
import { findHiding, HIDING_NEXT } from '../service/proc-hiding.ts'
import { freeBytes, stateSizes } from '../service/sizes.ts'
import { VERSION } from '../service/version.ts'
import { createAuditArchive } from './audit/audit-archive.ts'
import { type AuditStore, openAudit } from './audit/audit-store.ts'
import { openStore, type Store } from './store/database.ts'
import { storeKeyOf } from './store/machine-key.ts'
import type { AppForm } from '../page/requests.ts'

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
  /** For one piece of work without the daemon: nobody is called, and no cluster is asked. */
  readonly offline?: boolean
  /** Why the configuration of the last reload was refused, until one is accepted. */
  readonly refused?: () => string | undefined
  /** What is not as it was meant in the configuration that holds. */
  readonly doubts?: () => readonly Doubt[]
  /** Why the settings page listens nowhere, if it does not. */
  readonly pageFault?: () => Failure | undefined
}

export type Engine = {
  readonly operations: Operations
  readonly heartbeat: Heartbeat
  appForm(account: Account, state: string): AppForm
  /** For the doctor. */
  readonly parts: {
    readonly store: Store
    readonly link: AppLink
    readonly tokens: Tokens
    readonly drift: Drift
    readonly audit: AuditWriter
    readonly recovery: Recovery
    readonly githubClock: GitHubClock
    readonly membership: () => Membership | undefined
    readonly readKey: typeof readPrivateKey
  }
  /** What the App is asked to have. */
  wantedPermissions(): Permissions
  /** Where an enable goes on: our page, or GitHub's form for an enterprise. */
  formUrl(account: Account, state: string): string
  /** Why this node of a cluster calls nobody, if it does not. */
  whyNotCalling(): Failure | undefined
  /** Reads from the store's file. Throws where it does not answer. */
  probe(): void
  /** Resolves when this node may serve: what holds in its cluster is known here, or cannot be known for now. At once without a cluster. */
  inStep(): Promise<void>
  /** Leaves the office of a leader to others. Never throws. */
  rest(): Promise<void>
  close(): void
}

/** Throws `locked`, `wrong-store-key`, `store-corrupt`, `store-newer`, `disk-full`, `io`; then nothing is open. */
export const openEngine = (deps: EngineDeps): Engine => {
  const { paths } = deps.config()
  const { log } = deps
  const storeKey = deps.storeKey ?? storeKeyOf(deps.config(), deps.env)
  const store = openStore({ folder: join(paths.state, 'store'), storeKey, log })
  const closeStore = (): void => store.close()
  const auditStore = openOr(closeStore, () => openAudit({ path: join(paths.state, 'audit.db'), storeKey, log }))
  const closeBoth = (): void => {
    auditStore.close()
    closeStore()
  }
  return openOr(closeBoth, () => buildEngine(deps, { store, auditStore }))
}

const buildEngine = (deps: EngineDeps, { store, auditStore }: { store: Store; auditStore: AuditStore }): Engine => {
  const { config, outbound, events, clock, log, host } = deps
  const { paths } = config()
  const { github, githubClock, calls, keepTime } = createWayToGitHub({ config, store, outbound, clock, log })
  const maxBytes = (): number => config().audit.maxBytes
  const archive = createAuditArchive({
    folder: join(paths.state, 'audit'),
    databaseKey: auditStore.databaseKey(),
    bytesPerFile: () => maxBytes() / 8,
  })
  const auditLog = createAuditLog({
    auditStore,
    archive,
    clock,
    log,
    maxBytes,
    freeBytes: () => freeBytes(paths.state),
    record: event => audit.record(event),
  })
  const audit = createAuditWriter({ auditStore: auditLog.store, clock, log })
  const place = createEngineMembership({ config: config().cluster, store, host, log, offline: deps.offline === true })
  const { membership } = place
  const connectionState = createConnectionState({
    store,
    events,
    audit,
    githubUrl: () => config().github.url,
    membership,
    findWaiting: () => snapshots.findWaiting(),
  })
  const isHome = (home: Host): boolean => membership()?.isHome(home) ?? false
  quarantineIfMoved({ connectionState, clock, host, isHome })
  const whyNotCalling = (): Failure | undefined => membership()?.whyNotCalling()
  const link = createAppLink({ github, store, clock, readKey: readPrivateKey, whyNotCalling })
  const settings = () => {
    const { refresh } = config()
    return { ...refresh, beforeExpiryMs: membership()?.marginMs(refresh.beforeExpiryMs) ?? refresh.beforeExpiryMs }
  }
  const rateLimit = createRateLimit({ clock })
  const tokens = createTokens({
    store,
    link,
    connectionState,
    audit,
    events,
    clock,
    githubClock,
    log,
    settings,
    random: Math.random,
    takeMint: rateLimit.takeMint,
    membership,
  })
  const drift = createDrift({ store, connectionState, link, tokens, audit, events, clock, log })
  const { formUrl, appForm, wantedPermissions } = createForms(config)
  const { enable, importApp, keys, disable } = createChanges({
    connectionState,
    link,
    tokens,
    drift,
    audit,
    events,
    clock,
    log,
    host,
    addresses: () => config().github,
    formUrl,
    pageFault: () => deps.pageFault?.(),
    dropWaiting: () => snapshots.dropWaiting(),
  })
  const revokeAll = createRevokeAll({
    store,
    connectionState,
    link,
    tokens,
    audit,
    events,
    clock,
    githubClock,
    log,
    membership,
  })
  const heartbeat = createHeartbeat({
    revokeAll,
    connectionState,
    tokens,
    enable,
    disable,
    drift,
    prove: () => snapshots.prove(),
    clock,
    log,
    host,
    isHome,
    leads: () => membership()?.leads() ?? true,
    schedule: () => config().refresh.schedule,
    onBeat: keepTime,
  })
  const { recovery, snapshots } = createKeeping({
    config,
    store,
    auditStore,
    connectionState,
    tokens,
    audit,
    clock,
    log,
    host,
    membership,
    assertTellable: record => void status.whole(record),
    onRestored: () => heartbeat.soon(),
  })
  const wrap = (): void =>
    void recovery.ensureWrap().catch(error => log.error('the recovery wrap was not written', { error }))
  wrap()
  const unsubscribe = events.subscribe(({ event }) => event === 'state' && wrap())
  const policy = () => config().policy
  const features = createFeatures({ switched: () => config().features, policy, connectionState, drift, clock })
  const history = createRefreshHistory({ facts: store.facts, events, clock, log })
  const status = createStatusReport({
    revokeAll,
    connectionState,
    tokens,
    link,
    drift,
    policy,
    recovery,
    audit,
    snapshots,
    clock,
    githubClock,
    settings: () => ({
      githubUrl: config().github.url,
      apiUrl: config().github.apiUrl,
      beforeExpiryMs: config().refresh.beforeExpiryMs,
    }),
    proxyFor: url => outbound.proxyFor(url)?.toString(),
    featureWarnings: features.warnings,
    refused: () => deps.refused?.(),
    doubts: () => ({ settings: deps.doubts?.() ?? [], units: unitDoubts(config().policy) }),
    pageFault: () => deps.pageFault?.(),
    host,
    version: VERSION,
    membership,
  })
  const issuer = createTokenIssuer({ policy, connectionState, tokens, drift, link, audit, clock, rateLimit })
  const gateway = createGateway({ issuer, outbound, clock, settings: () => config().github, userAgent: USER_AGENT })
  const explain = createExplain({ policy, connectionState, directory: DIRECTORY })

  place.begin({
    store,
    connectionState,
    tokens,
    link,
    revokeAll,
    recovery,
    heartbeat,
    audit,
    events,
    githubClock,
    clock,
    log,
    host,
    env: deps.env,
  })

  return {
    operations: {
      connectionState,
      enable,
      importApp,
      disable,
      revokeAll,
      keys,
      issuer,
      gateway,
      status,
      snapshots,
      recovery,
      auditLog,
      explain,
      cluster: place.commands,
      features,
      history,
      figures: createFigures({
        tokens,
        calls,
        link,
        connectionState,
        githubClock,
        facts: store.facts,
        sizes: () => {
          const { store: ofStore, audit: ofAudit } = stateSizes(paths.state)
          return { store: ofStore, audit: { ...ofAudit, most: maxBytes() } }
        },
      }),
      noteRequest: (peer, detail) => audit.owe({ event: 'admin.request', peer: nameOf(peer), detail }),
      refresh: heartbeat.force,
    },
    heartbeat,
    appForm,
    parts: { store, link, tokens, drift, audit, recovery, githubClock, membership, readKey: readPrivateKey },
    wantedPermissions,
    formUrl,
    whyNotCalling,
    probe: () => void store.facts.find(''),
    inStep: place.inStep,
    rest: place.rest,
    close() {
      place.close()
      heartbeat.stop()
      unsubscribe()
      history.close()
      tokens.flush()
      try {
        audit.flush()
      } finally {
        auditLog.close()
        auditStore.close()
        store.close()
      }
    },
  }
}

const DIRECTORY: Directory = {
  findUser,
  findGroup,
  userName,
  groupName,
  groupsOfUser,
  findProcess,
  findHiding,
  hidingNext: HIDING_NEXT,
}

const openOr = <T>(cleanUp: () => void, open: () => T): T => {
  try {
    return open()
  } catch (error) {
    cleanUp()
    throw error
  }
}
