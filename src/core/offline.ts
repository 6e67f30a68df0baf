// The second composition root: what must work while no daemon answers, over the same operations. As root it acts as the owner of the state folder.

import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, linkSync, lstatSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Host, isLive } from '../protocol/connection.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import { storedTime } from './store/record-shapes.ts'
import { Secret } from '../protocol/secret.ts'
import type { RestoreAnswer, StateAnswer } from '../protocol/wire.ts'
import { type Engine, openEngine } from './engine.ts'
import { snapshotSettings, waitingBundleAt } from './engine-snapshots.ts'
import { createEvents } from './audit/events.ts'
import { recipientsOf, SIGNER } from './snapshot/recovery.ts'
import { contentOf, type ExportWish } from './snapshot/snapshots.ts'
import { createClock } from '../service/clock.ts'
import { loadConfig } from '../service/config.ts'
import { writeDurably } from '../service/files.ts'
import { findUser } from '../service/libc.ts'
import { lockStateFolder } from '../service/lock.ts'
import { describeError, type Fields, type Log, redact } from '../service/log.ts'
import { actAs, isRoot, type Owner, ownerOf } from '../service/owner.ts'
import { openSealed, seal } from '../service/sealed-credential.ts'
import { NO_PROXY, proxyWithoutDaemon } from './offline-proxy.ts'
import { createOutbound } from './outbound/outbound.ts'
import { machineId, systemHostname } from '../service/systemd.ts'
import { writeBundle } from './snapshot/bundle.ts'
import { createRecoveryKey, decryptWith, readIdentities } from './snapshot/encryption.ts'
import { createSigner, readSigner } from './snapshot/signing.ts'
import { findRecoveryWrap, readDatabaseKey, readStore, type StoreContent } from './store/database.ts'
import { KEY_BYTES, WITHOUT_RECOVERY_KEY } from './store/key.ts'
import { sealedStoreKey, storeKeyWithoutDaemon } from './store/machine-key.ts'
import { rotateStoreKey, type RotateWish } from './store/rotate-store-key.ts'
import { setAsideClosed, unlockByRecoveryKey } from './snapshot/closed-store.ts'
import { proveBundle, summarize } from './snapshot/proof.ts'

export type OfflineOptions = {
  readonly configFile: string
  readonly env: NodeJS.ProcessEnv
  /** A line for whoever reads the output of a backup. */
  readonly note: (line: string) => void
}

/** What `cli/offline.ts` describes. Throws `configuration`. */
export const createOffline = ({ configFile, env, note }: OfflineOptions) => {
  // Whether the users of profiles exist has no bearing here, and is no reason to lose a backup.
  const surroundings = { hostname: systemHostname(), findUser: () => 0, findGroup: () => 0 }
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
      outbound: createOutbound(NO_PROXY),
      events: createEvents({ clock, log }),
      clock,
      log,
      env,
      storeKey,
      offline: true,
    })
    try {
      const result = await work(engine)
      await engine.operations.recovery.ensureWrap()
      return result
    } finally {
      engine.close()
    }
  }

  const stateOf = ({ operations }: Engine): StateAnswer => {
    const { state: kind, meaning, next } = operations.status.standing()
    return { state: kind, meaning, next }
  }

  const changeState = async (change: (operations: Engine['operations']) => Promise<unknown>): Promise<StateAnswer> => {
    const storeKey = getStoreKey()
    return locked(() =>
      withEngine(storeKey, async engine => {
        await change(engine.operations)
        return stateOf(engine)
      }),
    )
  }

  const exportStored = async (content: StoreContent, wish: ExportWish): Promise<Uint8Array> => {
    const waiting = waitingBundleAt(state).find()
    // What waits for its identity is all there is: to back up anything else would be to lose it.
    if (waiting && content.record.connection.kind === 'disconnected') return waiting
    const recipients = recipientsOf(config.snapshot.recipients, content.findFact)
    if (recipients.length === 0) assertMayHaveClear(state)
    const signer = content.findFact(SIGNER)
    return writeBundle(contentOf(content, snapshotSettings(config), wish), {
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

    async export(wish: ExportWish) {
      if (!hasStore(state)) {
        const nothing = { record: neverConnected(clock.now()), tokens: [], findFact: () => undefined }
        return { bundle: await exportStored(nothing, wish), warnings: [] }
      }
      const storeKey = getStoreKey()
      const bundle = await actAs(ownerOf(state), async () => exportStored(readPatiently(state, storeKey), wish))
      return { bundle, warnings: [UNAUDITED] }
    },

    async restore(wish: { bundle: Uint8Array; identity?: Secret; force: boolean }): Promise<RestoreAnswer> {
      const identities = wish.identity === undefined ? [] : readIdentities(wish.identity.reveal())
      const storeKey = getStoreKey()
      const restoreWish = { identities, force: wish.force }
      const restore = (): Promise<RestoreAnswer> =>
        withEngine(storeKey, async engine => {
          const { outcome, warnings, configuration } = await engine.operations.snapshots.restore(
            wish.bundle,
            restoreWish,
          )
          const shown = configuration && { configuration: [...configuration] }
          return { outcome, warnings: [...warnings], ...stateOf(engine), ...shown }
        })
      return locked(async () => {
        if (hasStore(state)) {
          const closed = await withEngine(storeKey, async () => undefined).catch(asFailure)
          const request = { bundle: wish.bundle, wish: restoreWish }
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
            await engine.operations.snapshots.unlock(identities)
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

    rotateStoreKey: (wish: RotateWish) => rotateStoreKey(wish, { config, env }),

    verify: (wish: { bundle: Uint8Array; identity?: Secret; againstGithub: boolean }) =>
      proveBundle(wish, { clock, log, config, proxy: () => proxyWithoutDaemon(config.proxy, env) }),
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
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
    if (error instanceof Error && 'code' in error && error.code === 'EACCES') {
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
