// The ways to the store: by the key that the machine gives, or by a recovery key where that one was lost.

import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../protocol/errors.ts'
import type { Secret } from '../protocol/secret.ts'
import type { RecoveryWrap } from './snapshot/recovery.ts'
import type { Config } from '../service/config.ts'
import type { Log } from '../service/log.ts'
import { isRoot } from '../service/owner.ts'
import { openSealed, type SealedCredential } from '../service/sealed-credential.ts'
import { readCredential } from '../service/systemd.ts'
import { openAudit } from './audit/audit-store.ts'
import { findRecoveryWrap, openStore } from './store/database.ts'
import { readStoreKey, WITHOUT_RECOVERY_KEY } from './store/key.ts'

export const storeKeyOf = (config: Config, env: NodeJS.ProcessEnv): Buffer => {
  const credential = readCredential('store.key', env)
  const { keyFile } = config.store
  const mayMake = isAbsent(join(config.paths.state, 'store')) && isAbsent(sealedStoreKey(env).path)
  const mayUnlock = hasRecoveryWrap(join(config.paths.state, 'store'))
  return readStoreKey({
    ...(credential && { credential }),
    ...(keyFile !== undefined && { keyFile }),
    mayMake,
    mayUnlock,
  })
}

/** True where it cannot be looked for. */
const hasRecoveryWrap = (folder: string): boolean => {
  try {
    return findRecoveryWrap(folder) !== undefined
  } catch {
    return true
  }
}

/** False where it cannot be looked for: what may be there is not to be replaced. */
const isAbsent = (path: string): boolean => {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) === undefined
  } catch {
    return false
  }
}

/** Where the packaged service keeps its store key: root's alone. */
export const sealedStoreKey = (env: NodeJS.ProcessEnv): SealedCredential => ({
  path: env['GHCONNECT_SEALED_STORE_KEY'] || SEALED_STORE_KEY,
  name: 'store.key',
  withKey: env['GHCONNECTD_SEAL_WITH'] || 'host',
})

const SEALED_STORE_KEY = '/etc/ghconnectd/credentials/store.key'

/** Without the daemon: read with the rights of the caller, as sealed credentials are root's. */
export const storeKeyWithoutDaemon = (config: Config, env: NodeJS.ProcessEnv): Buffer => {
  const opened =
    config.store.keyFile === undefined && env['CREDENTIALS_DIRECTORY'] === undefined && openSealed(sealedStoreKey(env))
  if (opened) return opened
  try {
    return storeKeyOf(config, env)
  } catch (error) {
    const cause = error instanceof Failure ? error.cause : undefined
    if (isRoot() || !(cause instanceof Error && 'code' in cause && cause.code === 'EACCES')) throw error
    // Nothing is wrong with the file: it is this caller who may not read it.
    throw new Failure('not-permitted', `${config.store.keyFile} is for root and the daemon's user only`, {
      cause: error,
      next: 'Run it with sudo.',
    })
  }
}

/**
 * Opens the store and the audit log by a recovery key where the store key was lost, and wraps both by the one that is there now.
 * Throws `locked` where no recovery key was ever made, `bundle-wrong-identity`.
 */
export const unlockByRecoveryKey = async (
  deps: { config: () => Config; env: NodeJS.ProcessEnv; log: Log; storeKey?: Buffer },
  identities: readonly Secret[],
): Promise<void> => {
  const { paths } = deps.config()
  const folder = join(paths.state, 'store')
  const storeKey = deps.storeKey ?? storeKeyOf(deps.config(), deps.env)
  const sealed = findRecoveryWrap(folder)
  if (!sealed) throw new Failure('locked', 'no recovery key was made for this store', { next: WITHOUT_RECOVERY_KEY })
  const { decryptWith } = await import('./snapshot/encryption.ts')
  const keys = parseWrap(await decryptWith(identities, sealed))
  // The log first: until the store is wrapped anew, the recovery key opens both again.
  openAudit({ path: join(paths.state, 'audit.db'), storeKey, databaseKey: keys.audit, log: deps.log }).close()
  const store = openStore({ folder, storeKey, databaseKey: keys.store, log: deps.log })
  try {
    store.replace({})
  } finally {
    store.close()
  }
}

const parseWrap = (bytes: Uint8Array): { store: Buffer; audit: Buffer } => {
  const wrap: Partial<RecoveryWrap> = JSON.parse(Buffer.from(bytes).toString())
  const [store, audit] = [Buffer.from(wrap.store ?? '', 'hex'), Buffer.from(wrap.audit ?? '', 'hex')]
  if (store.length !== 32 || audit.length !== 32) throw new Failure('store-corrupt', 'key.age holds no keys')
  return { store, audit }
}
