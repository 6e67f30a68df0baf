// What must work while no daemon answers, over the same engine. As root it acts as the owner of the state folder.

import { randomBytes } from 'node:crypto'
import {
  accessSync,
  chownSync,
  constants,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { createDoctor } from '../doctor/doctor.ts'
import { failed, OF_GITHUB, OF_NETWORK, skipAll } from '../doctor/findings.ts'
import type { StoreFacts } from '../doctor/probe.ts'
import { type Host, isLive } from '../protocol/connection.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import { Secret } from '../protocol/secret.ts'
import { isoTime, type RestoreAnswer, type StateAnswer } from '../protocol/wire.ts'
import { type CheckReport, orderRows } from '../protocol/wire-check.ts'
import { createClock } from '../service/clock.ts'
import { type Config, loadConfig, type Surroundings } from '../service/config.ts'
import { doubtsIn, refusalOf } from '../service/config-findings.ts'
import { writeDurably } from '../service/files.ts'
import { findUser } from '../service/libc.ts'
import { lockStateFolder } from '../service/lock.ts'
import { describeError, type Fields, type Log, redact } from '../service/log.ts'
import { passwordIn } from '../service/named-file.ts'
import { actAs, isRoot, type Owner, ownerOf, VERSION } from '../service/process.ts'
import { type ProxyKeys, type ProxySettings, proxySettingsFrom } from '../service/proxy.ts'
import { openSealed, seal } from '../service/sealed-credential.ts'
import { machineId } from '../service/systemd.ts'
import { unitDoubts } from '../service/units.ts'
import { createEvents } from './audit/events.ts'
import { checkConfig } from './config-check.ts'
import { type Engine, openEngine } from './engine.ts'
import { createOutbound } from './outbound/outbound.ts'
import { QUARANTINED } from './probe.ts'
import { writeBundle } from './snapshot/bundle.ts'
import { setAsideClosed, unlockByRecoveryKey } from './snapshot/closed-store.ts'
import { createRecoveryKey, decryptWith, readIdentities } from './snapshot/encryption.ts'
import { proveBundle, summarize } from './snapshot/proof.ts'
import { recipientsOf, SIGNER } from './snapshot/recovery.ts'
import { createSigner, readSigner } from './snapshot/signing.ts'
import { contentOf, type ExportOptions, snapshotSettings, waitingBundleAt } from './snapshot/snapshots.ts'
import { findRecoveryWrap, readDatabaseKey, readStore, type StoreContent } from './store/database.ts'
import { KEY_BYTES, WITHOUT_RECOVERY_KEY } from './store/keys.ts'
import { sealedStoreKey, storeKeyWithoutDaemon } from './store/machine-key.ts'
import { LAST_EXPORT, type StoredToken, storedTime } from './store/records.ts'
import { rotateStoreKey, type RotateOptions } from './store/rotate-store-key.ts'

export type OfflineOptions = {
  readonly configFile: string
  readonly env: NodeJS.ProcessEnv
  /** A line for whoever reads the output of a backup. */
  readonly note: (line: string) => void
}

/** What `cli/offline.ts` describes. Throws `configuration`. */
export const createOffline = ({ configFile, env, note }: OfflineOptions) => {
  // Whether the users of profiles exist has no bearing here, and is no reason to lose a backup.
  const surroundings = { hostname: hostname(), findUser: () => 0, findGroup: () => 0 }
  const config = loadConfig(configFile, surroundings)
  const { state } = config.paths
  const log = createWarnings(note)
  const clock = createClock()
  const host = (): Host => ({
    machineId: machineId(env['GHCONNECT_MACHINE_ID_FILE'] || undefined) ?? '',
    hostname: config.appliance.hostname,
  })
  const sealed = sealedStoreKey(env)
  const getStoreKey = (): Buffer => storeKeyWithoutDaemon(config, env)

  /** A file that was sealed to another machine counts as none: a new one does not replace it. */
  const hasSealedKey = (): boolean => {
    try {
      return openSealed(sealed) !== undefined
    } catch {
      return false
    }
  }

  /** Alone with the state folder, as its owner: no daemon has it. */
  const locked = async <T>(work: () => Promise<T>): Promise<T> => {
    makeStateFolder(state)
    return actAs(ownerOf(state), async () => {
      const lock = lockStateFolder(state)
      try {
        return await work()
      } finally {
        lock.release()
      }
    })
  }

  const withEngine = async <T>(storeKey: Buffer, work: (engine: Engine) => Promise<T>): Promise<T> => {
    const engine = openEngine({
      config: () => config,
      host,
      outbound: createOutbound(NO_PROXY, { clock }),
      random: Math.random,
      refused: () => undefined,
      doubts: () => [],
      pageFault: () => undefined,
      events: createEvents({ clock, log }),
      clock,
      log,
      env,
      storeKey,
      offline: true,
    })
    try {
      const result = await work(engine)
      await engine.recovery.ensureWrap()
      return result
    } finally {
      engine.close()
    }
  }

  const stateOf = ({ status }: Engine): StateAnswer => {
    const { state: kind, meaning, next } = status.standing()
    return { state: kind, meaning, next }
  }

  const changeState = async (change: (engine: Engine) => Promise<unknown>): Promise<StateAnswer> => {
    const storeKey = getStoreKey()
    return locked(() =>
      withEngine(storeKey, async engine => {
        await change(engine)
        return stateOf(engine)
      }),
    )
  }

  const exportStored = async (content: StoreContent, options: ExportOptions): Promise<Uint8Array> => {
    const waiting = waitingBundleAt(state).find()
    // What waits for its identity is all there is: to back up anything else would be to lose it.
    if (waiting && content.record.connection.kind === 'disconnected') return waiting
    const recipients = recipientsOf(config.snapshot.recipients, content.findFact)
    if (recipients.length === 0) assertMayHaveClear(state)
    const signer = content.findFact(SIGNER)
    const stored = { ...content, tokens: newestOf(content.tokens, clock.now()) }
    return writeBundle(contentOf(stored, snapshotSettings(config), options), {
      recipients,
      signer: typeof signer === 'string' ? readSigner(new Secret(signer)) : createSigner(),
      createdMs: clock.now(),
      hostname: host().hostname,
    })
  }

  return {
    isRoot,
    inspect: summarize,
    createRecoveryKey,

    async export(options: ExportOptions) {
      if (!hasStore(state)) {
        const nothing = { record: neverConnected(clock.now()), tokens: [], findFact: () => undefined }
        return { bundle: await exportStored(nothing, options), warnings: [] }
      }
      const storeKey = getStoreKey()
      const bundle = await actAs(ownerOf(state), async () => exportStored(readPatiently(state, storeKey), options))
      return { bundle, warnings: [UNAUDITED] }
    },

    async restore(options: { bundle: Uint8Array; identity?: Secret; force: boolean }): Promise<RestoreAnswer> {
      const identities = options.identity === undefined ? [] : readIdentities(options.identity.reveal())
      const storeKey = getStoreKey()
      const restoring = { identities, force: options.force }
      const restore = (): Promise<RestoreAnswer> =>
        withEngine(storeKey, async engine => {
          const { outcome, warnings, configuration } = await engine.snapshots.restore(options.bundle, restoring)
          const shown = configuration && { configuration: [...configuration] }
          return { outcome, warnings: [...warnings], ...stateOf(engine), ...shown }
        })
      return locked(async () => {
        if (hasStore(state)) {
          const closed = await withEngine(storeKey, async () => undefined).catch(asFailure)
          const request = { bundle: options.bundle, options: restoring }
          if (closed) await setAsideClosed(closed, request, { config, storeKey, clock, log })
        }
        return restore()
      })
    },

    async unlock(identity: Secret): Promise<StateAnswer> {
      const identities = readIdentities(identity.reveal())
      const storeKey = getStoreKey()
      return locked(async () => {
        if (opens(state, storeKey)) {
          return withEngine(storeKey, async engine => {
            await engine.snapshots.unlock(identities)
            return stateOf(engine)
          })
        }
        await unlockByRecoveryKey(identities, { config, storeKey, log })
        return withEngine(storeKey, async engine => stateOf(engine))
      })
    },

    adopt: (): Promise<StateAnswer> => changeState(({ snapshots }) => snapshots.adopt()),
    disableLocally: (): Promise<StateAnswer> =>
      changeState(({ disable }) => disable.begin({ local: true, wait: false })),

    async findAccount(): Promise<string | undefined> {
      if (!hasStore(state)) return undefined
      const storeKey = getStoreKey()
      const { connection } = await actAs(ownerOf(state), async () => readPatiently(state, storeKey).record)
      return isLive(connection) ? connection.account.login : undefined
    },

    async ensureStoreKey(identity: Secret): Promise<string | undefined> {
      const { keyFile } = config.store
      if (
        keyFile === undefined ? !isRoot() || !existsSync(dirname(sealed.path)) || hasSealedKey() : existsSync(keyFile)
      )
        return undefined
      // Only the recovery key of this store justifies a new store key: with another one, both would be worth nothing.
      if (hasStore(state)) {
        const wrap = findRecoveryWrap(join(state, 'store'))
        if (!wrap)
          throw new Failure('locked', 'no recovery key was made for this store', { next: WITHOUT_RECOVERY_KEY })
        await decryptWith(readIdentities(identity.reveal()), wrap)
      }
      if (keyFile !== undefined) return makeKeyFile(keyFile, state)
      seal(randomBytes(KEY_BYTES), sealed, clock.now())
      return `sealed a new store key in ${sealed.path}`
    },
    hasSealedKey: (): boolean => config.store.keyFile === undefined && isRoot() && hasSealedKey(),

    async storeKey(): Promise<string> {
      const storeKey = getStoreKey()
      const key = hasStore(state) ? readDatabaseKey({ folder: join(state, 'store'), storeKey }) : undefined
      if (key === undefined) throw new Failure('locked', `there is no store in ${state} yet`)
      return key.toString('hex')
    },

    rotateStoreKey: (options: RotateOptions) => rotateStoreKey(options, { config, env }),

    verify: (options: { bundle: Uint8Array; identity?: Secret; againstGithub: boolean }) =>
      proveBundle(options, { clock, log, config, proxy: () => proxyWithoutDaemon(config.proxy, env) }),
  }
}

const UNAUDITED = 'The daemon did not take part: this export is not in the audit log.'
const READ_TRIES = 3

/** What the daemon would log, on a screen that backup programs read. */
const createWarnings = (note: OfflineOptions['note']): Log => {
  const say = (message: string, { error }: Fields = {}): void => {
    const detail = error instanceof Error ? `: ${describeError(error)}` : ''
    note(redact(`Warning: ${message}${detail}`.replaceAll(/\s+/g, ' ')))
  }
  return { debug: () => undefined, info: () => undefined, warn: say, error: say }
}

/** Throws rather than call a store absent that cannot be looked at: an empty backup is worse than none. */
const hasStore = (state: string): boolean => {
  const folder = join(state, 'store')
  try {
    if (readdirSync(folder).some(name => /^(\d+|current)$/.test(name))) {
      if (lstatSync(join(folder, 'current'), { throwIfNoEntry: false })) return true
      throw new Failure('store-corrupt', `${folder} has stores, and no \`current\` that says which one counts`)
    }
    return false
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    if (hasCode(error, 'EACCES')) {
      throw new Failure('not-permitted', `${folder} is for root and the daemon's user only`, {
        cause: error,
        next: 'Run it with sudo.',
      })
    }
    throw error
  }
}

/** A daemon that is wedged may still swap the store, between the look at which one counts and its opening. */
const readPatiently = (state: string, storeKey: Buffer): StoreContent => {
  for (let tries = 1; ; tries++) {
    try {
      const content = readStore({ folder: join(state, 'store'), storeKey })
      if (content) return content
      throw new Failure('store-corrupt', `there is no store in ${state} any more`)
    } catch (error) {
      if (tries === READ_TRIES || !(error instanceof Failure) || error.code !== 'store-corrupt') throw error
    }
  }
}

const assertMayHaveClear = (state: string): void => {
  const owner = hasStore(state) ? statSync(state).uid : undefined
  if (process.getuid?.() === 0 || process.getuid?.() === owner) return
  throw new Failure('not-permitted', 'without a recovery key the bundle is in clear, and leaves to root only')
}

const neverConnected = (nowMs: number): StoreContent['record'] => ({
  generation: 0,
  connection: { kind: 'disconnected', sinceMs: storedTime(nowMs) },
  installations: [],
  keys: [],
})

const opens = (state: string, storeKey: Buffer): boolean => {
  if (!hasStore(state)) return true
  try {
    readDatabaseKey({ folder: join(state, 'store'), storeKey })
    return true
  } catch (error) {
    if (error instanceof Failure && error.code === 'wrong-store-key') return false
    throw error
  }
}

/** Where the daemon never ran: its user's, where there is such a user. */
const makeStateFolder = (state: string): void => {
  if (existsSync(state)) return
  mkdirSync(state, { recursive: true, mode: 0o700 })
  const user = isRoot() ? findUser('ghconnectd') : undefined
  if (user) chownSync(state, user.uid, user.gid)
}

const makeKeyFile = (path: string, state: string): string | undefined => {
  if (existsSync(path)) return undefined
  const owner: Owner | undefined = existsSync(state) ? ownerOf(state) : undefined
  const beside = `${path}.${process.pid}.new`
  try {
    writeDurably(beside, randomBytes(KEY_BYTES), 0o600)
    if (owner && isRoot()) chownSync(beside, owner.uid, owner.gid)
    // A link, unlike a rename, replaces nothing.
    linkSync(beside, path)
  } finally {
    rmSync(beside, { force: true })
  }
  return `made a new store key: ${path}`
}

const ABSENT = 'the daemon does not answer'

/** Of each scope the token that lasts longest, where it has not ended. */
const newestOf = (tokens: readonly StoredToken[], nowMs: number): StoredToken[] => {
  const live = tokens.filter(({ expiresAtMs }) => expiresAtMs > nowMs).toSorted((a, b) => a.expiresAtMs - b.expiresAtMs)
  return [...new Map(live.map(token => [token.key, token])).values()]
}

/** The doctor without the daemon. Its state is `daemon-absent`, and its verdict that of a daemon that is down. Never throws for what it is to find. */
export const checkOffline = async (options: {
  readonly configFile: string
  readonly env: NodeJS.ProcessEnv
  readonly surroundings: Surroundings
}): Promise<CheckReport> => {
  const { configFile, env, surroundings } = options
  const clock = createClock()
  let config: Config
  let proxy: OfflineProxy
  let outbound: ReturnType<typeof createOutbound>
  const { findings } = await checkConfig(options)
  try {
    const refusal = refusalOf(findings)
    if (refusal) throw refusal
    config = loadConfig(configFile, surroundings)
    proxy = proxyWithoutDaemon(config.proxy, env)
    outbound = createOutbound(proxy.unknown === undefined ? proxy.settings : NO_PROXY, { clock })
  } catch (error) {
    const unseen = ['store', 'recovery-key', 'backup', ...OF_NETWORK, ...OF_GITHUB, 'cluster'] as const
    return {
      verdict: 'failed',
      state: 'daemon-absent',
      checked_at: isoTime(clock.now()),
      took_ms: 0,
      rows: orderRows([
        failed({ layer: 'configuration' }, asFailure(error)),
        ...skipAll(unseen, 'the configuration cannot be read'),
      ]),
    }
  }
  const stored = await readContent(config, env)
  const content = stored instanceof Failure ? undefined : stored
  try {
    const doctor = createDoctor({
      clock,
      standing: () => ({ state: 'daemon-absent', meaning: ABSENT, next: '' }),
      examine: outbound.examine,
      userAgent: `ghconnect/${VERSION}`,
      addresses: () => config.github,
      profiles: () => config.policy.profiles,
      configuration: () => ({ file: config.file, doubts: [...doubtsIn(findings), ...unitDoubts(config.policy)] }),
      examineStore() {
        if (stored instanceof Failure) throw stored
        return stored ? 'It is read, and the store key opens it.' : 'None was made yet: the first start makes it.'
      },
      findStore: () => (stored instanceof Failure ? undefined : factsOf(config, stored)),
      whyNotCalling: () =>
        proxy.unknown ?? (content?.record.connection.kind === 'quarantined' ? QUARANTINED : undefined),
      app: () => ABSENT,
      cluster: async () => 'this is a single node',
    })
    return { ...(await doctor.check()), verdict: 'failed' }
  } finally {
    outbound.close()
  }
}

/** Undefined where no store was made yet. As its owner, as SQLite may leave a file beside it. */
const readContent = async (config: Config, env: NodeJS.ProcessEnv): Promise<StoreContent | Failure | undefined> => {
  const { state } = config.paths
  try {
    accessSync(state, constants.R_OK | constants.X_OK)
    const storeKey = storeKeyWithoutDaemon(config, env)
    return await actAs(ownerOf(state), async () => readStore({ folder: join(state, 'store'), storeKey }))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    if (hasCode(error, 'EACCES')) return new Failure('not-permitted', `${state} is for root and the daemon's user only`)
    return asFailure(error)
  }
}

const factsOf = (config: Config, content: StoreContent | undefined): StoreFacts => {
  const findFact = (name: string): unknown => content?.findFact(name)
  return {
    generation: content?.record.generation ?? 0,
    isLive: content !== undefined && isLive(content.record.connection),
    recipients: recipientsOf(config.snapshot.recipients, findFact),
    isFollower: false,
    isWrapped: findRecoveryWrap(join(config.paths.state, 'store')) !== undefined,
    lastExport: findFact(LAST_EXPORT),
  }
}

/** The web proxy as the daemon has it, or why this process cannot know it, with the command that can. */
type OfflineProxy =
  | { readonly settings: ProxySettings; readonly unknown?: undefined }
  | { readonly unknown: string; readonly settings?: undefined }

export const NO_PROXY: ProxySettings = { proxy: undefined, exclude: [], ca: undefined }

/** A guessed password would be refused, and the wrong thing blamed. Throws `configuration`. */
export const proxyWithoutDaemon = (keys: ProxyKeys, env: NodeJS.ProcessEnv): OfflineProxy => {
  const closed = [keys.passwordFile, keys.caFile].find(isClosed)
  if (closed !== undefined) return { unknown: `${closed} is not readable by this user; run this with sudo` }
  const settings = proxySettingsFrom(keys, env)
  const { proxy } = settings
  if (!proxy?.user || proxy.hasPassword || keys.url === undefined) return { settings }
  if (!isRoot()) {
    return {
      unknown: `only root can open the password of ${proxy.toString()}, a credential of the daemon; run this with sudo`,
    }
  }
  try {
    const name = 'proxy.password'
    const sealed = openSealed({ path: join(dirname(sealedStoreKey(env).path), name), name, withKey: 'host' })
    if (sealed === undefined) return { settings }
    const password = new Secret(passwordIn(sealed))
    return { settings: { ...settings, proxy: proxy.withPassword(password) } }
  } catch (error) {
    return { unknown: `${asFailure(error).message}; \`ghconnect check\` knows it once the daemon runs` }
  }
}

const isClosed = (file: string | undefined): boolean => {
  if (file === undefined) return false
  try {
    accessSync(file, constants.R_OK)
    return false
  } catch (error) {
    return hasCode(error, 'EACCES')
  }
}

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code
