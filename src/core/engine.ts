// The engine: everything that works over one open store. Built by the daemon, which runs on without it while the store is closed.

import { join } from 'node:path'
import type { Account, Host } from '../protocol/connection.ts'
import type { Failure } from '../protocol/errors.ts'
import { ADMIN_PROFILE, type Peer } from '../protocol/profile.ts'
import type { Clock } from '../service/clock.ts'
import type { Config } from '../service/config.ts'
import type { Doubt } from '../service/config-findings.ts'
import { findGroup, findUser, groupName, groupsOfUser, userName } from '../service/libc.ts'
import type { Log } from '../service/log.ts'
import { findHiding, HIDING_NEXT, unitDoubts } from '../service/units.ts'
import { freeBytes, stateSizes } from '../service/sizes.ts'
import { VERSION } from '../service/process.ts'
import { createMetricValues } from './api/metrics.ts'
import { createAuditLog } from './audit/audit.ts'
import { createAuditArchive } from './audit/audit-archive.ts'
import { type AuditStore, openAudit } from './audit/audit-store.ts'
import { type AuditWriter, createAuditWriter, nameOf } from './audit/audit-writer.ts'
import type { Events } from './audit/events.ts'
import { createAppLink } from './connection/app-link.ts'
import { type ConnectionState, createConnectionState, quarantineIfMoved } from './connection/connection-state.ts'
import { createDisable } from './connection/disable.ts'
import { createDrift } from './connection/drift.ts'
import { createEnable } from './connection/enable.ts'
import { createFeatures } from './connection/features.ts'
import { createKeys } from './connection/keys.ts'
import type { Membership } from './connection/membership.ts'
import { createEngineMembership } from './engine-membership.ts'
import { type AppKey, readPrivateKey } from './github/app-key.ts'
import { createForms } from './github/app-manifest.ts'
import { createCallTally } from './github/calls.ts'
import { createGitHubClock, type GitHubClock } from './github/clock.ts'
import { createGitHub, type GitHub } from './github/github.ts'
import type { Outbound } from './outbound/outbound.ts'
import { findProcess } from './peers/peer.ts'
import { createRateLimit } from './peers/rate-limit.ts'
import { createExplain, type Directory } from './policy/explain.ts'
import { openBundle, readHeader, writeBundle } from './snapshot/bundle.ts'
import { createRecovery } from './snapshot/recovery.ts'
import { createSigner, readSigner } from './snapshot/signing.ts'
import { createSnapshots, type Snapshots, snapshotSettings, waitingBundleAt } from './snapshot/snapshots.ts'
import { createStatusReport } from './status.ts'
import { openStore, type Store } from './store/database.ts'
import { storeKeyOf } from './store/machine-key.ts'
import { offsetSchema, timeSchema } from './store/records.ts'
import { createGateway } from './tokens/gateway.ts'
import { createHeartbeat, createRefreshHistory } from './tokens/refresh.ts'
import { createRevokeAll } from './tokens/revoke-all.ts'
import { createTokenIssuer } from './tokens/token-issuer.ts'
import type { CacheLimits } from './tokens/token-shares.ts'
import { createTokens, type Tokens } from './tokens/tokens.ts'

/** What the process gives to everything that it runs: tests build the same engine with another clock, way out and disk. */
export type Context = {
  readonly config: () => Config
  readonly host: () => Host
  readonly outbound: Outbound
  readonly events: Events
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly env: NodeJS.ProcessEnv
  /** Why the configuration of the last reload was refused, until one is accepted. */
  readonly refused: () => string | undefined
  /** What is not as it was meant in the configuration that holds. */
  readonly doubts: () => readonly Doubt[]
  /** Why the settings page listens nowhere, if it does not. */
  readonly pageFault: () => Failure | undefined
  /** Where it was had already, with other rights than those that the engine is to work with. */
  readonly storeKey?: Buffer
  /** For one piece of work without the daemon: nobody is called, and no cluster is asked. */
  readonly offline?: boolean
}

/** Throws `locked`, `wrong-store-key`, `store-corrupt`, `store-newer`, `disk-full`, `io`; then nothing is open. */
export const openEngine = (context: Context): Engine => {
  const { paths } = context.config()
  const { log } = context
  const storeKey = context.storeKey ?? storeKeyOf(context.config(), context.env)
  const store = openStore({ folder: join(paths.state, 'store'), storeKey, log })
  const closeStore = (): void => store.close()
  const auditStore = openOr(closeStore, () => openAudit({ path: join(paths.state, 'audit.db'), storeKey, log }))
  const closeBoth = (): void => {
    auditStore.close()
    closeStore()
  }
  return openOr(closeBoth, () => buildEngine(context, { store, auditStore }))
}

export type Engine = ReturnType<typeof buildEngine>

const USER_AGENT = `ghconnectd/${VERSION}`

const buildEngine = (context: Context, { store, auditStore }: { store: Store; auditStore: AuditStore }) => {
  const { config, host, outbound, events, clock, log } = context
  const { state } = config().paths
  const addresses = () => config().github
  const calls = createCallTally({ clock })
  const { githubClock, keepTime } = rememberTime(context, store.facts)
  const github = createGitHub({
    outbound,
    clock,
    githubClock,
    log,
    settings: addresses,
    userAgent: USER_AGENT,
    onCall: calls.note,
  })
  const maxBytes = (): number => config().audit.maxBytes
  const archive = createAuditArchive({
    folder: join(state, 'audit'),
    databaseKey: auditStore.databaseKey(),
    bytesPerFile: () => maxBytes() / 8,
  })
  const auditLog = createAuditLog({
    auditStore,
    archive,
    clock,
    log,
    maxBytes,
    freeBytes: () => freeBytes(state),
    record: event => audit.record(event),
  })
  const audit = createAuditWriter({ auditStore: auditLog.store, clock, log })
  const place = createEngineMembership({
    config: config().cluster,
    store,
    host,
    log,
    offline: context.offline === true,
  })
  const { membership } = place
  const { appForm, formUrl, wantedPermissions } = createForms(config)
  const ground = { ...context, store, audit, github, githubClock, membership, readKey: readPrivateKey, formUrl }
  const parts = composeConnection({ ...ground, keepTime, snapshots: () => snapshots })
  const { connectionState, tokens, heartbeat, policy } = parts
  const recovery = createRecovery({
    ...ground,
    auditStore,
    configured: () => config().snapshot.recipients,
    assertRecipient: async text => (await age()).assertRecipient(text),
    encryptTo: async (recipients, bytes) => (await age()).encryptTo(recipients, bytes),
    createSigner,
    readSigner,
  })
  const snapshots = createSnapshots({
    ...parts,
    recovery,
    tools: {
      writeBundle,
      readHeader,
      openBundle,
      recipientOf: async identity => (await age()).recipientOf(identity),
      readKey: readPrivateKey,
    },
    waiting: waitingBundleAt(state),
    settings() {
      const ours = snapshotSettings(config())
      return { ...ours, trusted: [...ours.trusted, ...(membership()?.signers() ?? [])] }
    },
    assertTellable: record => void status.whole(record),
    onRestored: () => heartbeat.soon(),
  })
  const wrap = (): void =>
    void recovery.ensureWrap().catch(error => log.error('the recovery wrap was not written', { error }))
  wrap()
  const unsubscribe = events.subscribe(({ event }) => event === 'state' && wrap())
  const features = createFeatures({ ...parts, switched: () => config().features })
  const history = createRefreshHistory({ ...context, facts: store.facts })
  const status = createStatusReport({
    ...parts,
    recovery,
    snapshots,
    settings: () => ({
      githubUrl: addresses().url,
      apiUrl: addresses().apiUrl,
      beforeExpiryMs: config().refresh.beforeExpiryMs,
    }),
    proxyFor: url => outbound.proxyFor(url)?.toString(),
    featureWarnings: features.warnings,
    doubts: () => ({ settings: context.doubts(), units: unitDoubts(policy()) }),
    version: VERSION,
  })
  const sizes = () => {
    const { store: ofStore, audit: ofAudit } = stateSizes(state)
    return { store: ofStore, audit: { ...ofAudit, most: maxBytes() } }
  }

  place.begin({ ...context, ...parts, recovery })

  return {
    ...parts,
    auditLog,
    gateway: createGateway({ issuer: parts.issuer, outbound, clock, settings: addresses, userAgent: USER_AGENT }),
    explain: createExplain({ policy, connectionState, directory: DIRECTORY }),
    status,
    snapshots,
    // A recovery key that is made on one node opens the snapshots of all.
    recovery: { ...recovery, add: (recipient: string) => connectionState.exclusively(() => recovery.add(recipient)) },
    /** Throws `cluster-member` where no cluster is configured. */
    cluster: place.commands,
    features,
    history,
    metricValues: createMetricValues({ ...parts, calls, facts: store.facts, sizes }),
    refresh: heartbeat.force,
    appForm,
    /** What the App is asked to have. */
    wantedPermissions,
    /** Who asked for a change, before it is made; what cannot be written is noted later, as the change may be the remedy. */
    noteRequest: (peer: Peer, detail: string): void =>
      audit.owe({ event: 'admin.request', peer: nameOf(peer), detail }),
    /** Reads from the store's file. Throws where it does not answer. */
    probe: () => void store.facts.find(''),
    /** Resolves when this node may serve: what holds in its cluster is known here, or cannot be known for now. At once without a cluster. */
    inStep: place.inStep,
    /** Leaves leadership to others. Never throws. */
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

type Ground = Pick<Context, 'config' | 'host' | 'events' | 'clock' | 'random' | 'log' | 'pageFault'> & {
  readonly store: Store
  readonly audit: AuditWriter
  readonly github: GitHub
  readonly githubClock: GitHubClock
  readonly membership: () => Membership | undefined
  readonly readKey: (pem: string) => AppKey
  /** Where an enable goes on: our page, or GitHub's form for an enterprise. */
  readonly formUrl: (account: Account, state: string) => string
  /** At the end of each beat: writes down what time GitHub told. */
  readonly keepTime: () => void
  /** Asked once all is built: they stand on what is built here. */
  readonly snapshots: () => Pick<Snapshots, 'findWaiting' | 'dropWaiting' | 'prove'>
  readonly limits?: CacheLimits
}

/** The connection and its tokens, over any store, log, clock and GitHub. */
export const composeConnection = (ground: Ground) => {
  const { config, clock, membership, snapshots } = ground
  const isHome = (home: Host): boolean => membership()?.isHome(home) ?? false
  /** Why this node of a cluster calls nobody, if it does not. */
  const whyNotCalling = (): Failure | undefined => membership()?.whyNotCalling()
  const policy = () => config().policy
  const addresses = () => config().github
  const shared = { ...ground, isHome, whyNotCalling, policy, addresses }
  const connectionState = createConnectionState({
    ...shared,
    githubUrl: () => addresses().url,
    findWaiting: () => snapshots().findWaiting(),
  })
  quarantineIfMoved({ ...shared, connectionState })
  const link = createAppLink(shared)
  const rateLimit = createRateLimit({ clock })
  const settings = () => {
    const { refresh } = config()
    return { ...refresh, beforeExpiryMs: membership()?.marginMs(refresh.beforeExpiryMs) ?? refresh.beforeExpiryMs }
  }
  const tokens = createTokens({ ...shared, connectionState, link, settings, takeMint: rateLimit.takeMint })
  const linked = { ...shared, connectionState, link, tokens, rateLimit }
  const drift = createDrift(linked)
  const enable = createEnable({ ...linked, onConnected: () => proveTokens(linked) })
  const keys = createKeys({ ...linked, findInstallations: enable.resume, check: drift.check })
  const disable = createDisable({ ...linked, dropWaiting: () => snapshots().dropWaiting() })
  const revokeAll = createRevokeAll(linked)
  const heartbeat = createHeartbeat({
    ...linked,
    enable,
    disable,
    drift,
    revokeAll,
    prove: () => snapshots().prove(),
    leads: () => membership()?.leads() ?? true,
    schedule: () => config().refresh.schedule,
    onBeat: ground.keepTime,
  })
  const issuer = createTokenIssuer({ ...linked, drift })
  return { ...linked, drift, enable, keys, importApp: keys.importApp, disable, revokeAll, heartbeat, issuer }
}

const CLOCK_OFFSET = 'clock-offset-ms'
const CLOCK_LEAST = 'clock-least-ms'

/** GitHub's clock as it was learned before. `keepTime`: writes down what it told since. */
export const rememberTime = ({ clock, log }: Pick<Context, 'clock' | 'log'>, facts: Store['facts']) => {
  const githubClock = createGitHubClock({
    clock,
    // What is out of bounds counts as not learned.
    offsetMs: offsetSchema.safeParse(facts.find(CLOCK_OFFSET)).data ?? 0,
    leastMs: timeSchema.safeParse(facts.find(CLOCK_LEAST)).data,
    onChange(offsetMs) {
      log.warn("GitHub's clock differs from this machine's", { seconds: Math.round(offsetMs / 1000) })
      facts.put(CLOCK_OFFSET, offsetMs)
    },
  })
  const keepTime = (): void => {
    const told = githubClock.findTold()
    if (told !== undefined) facts.put(CLOCK_LEAST, told)
  }
  return { githubClock, keepTime }
}

/** The first token of each installation proves the whole way. */
const proveTokens = async ({
  connectionState,
  tokens,
}: {
  connectionState: ConnectionState
  tokens: Tokens
}): Promise<void> => {
  for (const { id } of connectionState.read().installations) {
    await tokens.obtain({ profile: ADMIN_PROFILE, scope: { installation: id, permissions: { metadata: 'read' } } })
  }
}

/** Loaded with its first use: most starts see none. */
const age = () => import('./snapshot/encryption.ts')

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
