// Where this machine's store key comes from: the service manager's credential, the key file, or, for a process without the daemon, the sealed file.

import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../../protocol/errors.ts'
import type { Config } from '../../service/config.ts'
import { isRoot } from '../../service/process.ts'
import { openSealed, type SealedCredential } from '../../service/sealed-credential.ts'
import { readCredential } from '../../service/systemd.ts'
import { findRecoveryWrap } from './database.ts'
import { readStoreKey } from './keys.ts'

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
