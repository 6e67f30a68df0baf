// A store that cannot be opened: a recovery key opens it where its key was lost, and a restore sets it aside, whole, once the bundle is proven.

import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { type Code, Failure } from '../../protocol/errors.ts'
import { assertSameGithub } from '../../protocol/github-addresses.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { Clock } from '../../service/clock.ts'
import type { Config } from '../../service/config.ts'
import { syncFolder } from '../../service/files.ts'
import type { Log } from '../../service/log.ts'
import { openAudit } from '../audit/audit-store.ts'
import { findRecoveryWrap, openStore } from '../store/database.ts'
import { WITHOUT_RECOVERY_KEY } from '../store/keys.ts'
import { openBundle, readHeader } from './bundle.ts'
import type { RecoveryWrap } from './recovery.ts'
import type { RestoreOptions } from './snapshots.ts'

type Place = { readonly config: Config; readonly storeKey: Buffer; readonly log: Log }

/**
 * Opens the store and the audit log by a recovery key where the store key was lost, and wraps both by the one that is there now.
 * Throws `locked` where no recovery key was ever made, `bundle-wrong-identity`.
 */
export const unlockByRecoveryKey = async (
  identities: readonly Secret[],
  { config: { paths }, storeKey, log }: Place,
): Promise<void> => {
  const folder = join(paths.state, 'store')
  const sealed = findRecoveryWrap(folder)
  if (!sealed) throw new Failure('locked', 'no recovery key was made for this store', { next: WITHOUT_RECOVERY_KEY })
  const { decryptWith } = await import('./encryption.ts')
  const keys = parseWrap(await decryptWith(identities, sealed))
  // The log first: until the store is wrapped again, the recovery key opens both.
  openAudit({ path: join(paths.state, 'audit.db'), storeKey, databaseKey: keys.audit, log }).close()
  const store = openStore({ folder, storeKey, databaseKey: keys.store, log })
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

/** A store that only needs its key, or a newer version, is mended otherwise. */
const BEYOND_HELP = new Set<Code>(['store-corrupt', 'wrong-store-key'])

/**
 * Makes way for a restore where `closed` is why the store cannot be opened. Nothing is removed: store and audit log, whichever does not
 * open, get other names. Throws `closed` where that is no reason to, `bundle-other-github`, what opening the bundle throws, and
 * `bundle-untrusted`, since it cannot be known whether a connection is alive there.
 */
export const setAsideClosed = async (
  closed: Failure,
  { bundle, options }: { bundle: Uint8Array; options: RestoreOptions },
  place: Place & { readonly clock: Pick<Clock, 'now'> },
): Promise<void> => {
  if (!BEYOND_HELP.has(closed.code)) throw closed
  const { signer } = readHeader(bundle)
  const { snapshot, github } = place.config
  if (!snapshot.trusted.includes(signer) && !options.force) {
    throw new Failure(
      'bundle-untrusted',
      `the bundle was written by ${signer}, and whether a connection is alive here cannot be told: ${closed.message}`,
    )
  }
  assertSameGithub(await openBundle(bundle, options.identities), github, options)
  setAside(place.config.paths.state, place)
}

const setAside = (
  state: string,
  { storeKey, clock, log }: { storeKey: Buffer; clock: Pick<Clock, 'now'>; log: Log },
): void => {
  const suffix = `.aside-${new Date(clock.now()).toISOString().replaceAll(/[-:]|\.\d+/g, '')}`
  const parts = [
    { names: ['store'], open: () => openStore({ folder: join(state, 'store'), storeKey, log }).close() },
    {
      names: ['audit.db', 'audit.db-wal', 'audit.db-shm', 'audit.key'],
      open: () => openAudit({ path: join(state, 'audit.db'), storeKey, log }).close(),
    },
  ]
  for (const { names, open } of parts) {
    if (doesOpen(open)) continue
    for (const name of names) {
      if (!existsSync(join(state, name))) continue
      renameSync(join(state, name), join(state, name + suffix))
      log.warn('set aside, for inspection', { path: join(state, name + suffix) })
    }
  }
  syncFolder(state)
}

const doesOpen = (open: () => void): boolean => {
  try {
    open()
    return true
  } catch (error) {
    if (error instanceof Failure && BEYOND_HELP.has(error.code)) return false
    throw error
  }
}
