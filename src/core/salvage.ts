// A restore over a store that cannot be opened any more: what is there is set aside, whole, once the bundle is proven.

import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { type Code, Failure } from '../protocol/errors.ts'
import { assertSameGithub, type GithubAddresses } from '../protocol/github-addresses.ts'
import type { RestoreWish } from './snapshot/snapshots.ts'
import { syncFolder } from '../service/files.ts'
import type { Log } from '../service/log.ts'
import { openBundle, readHeader } from './snapshot/bundle.ts'
import { openAudit } from './audit/audit-store.ts'
import { openStore } from './store/database.ts'

/** A store that only needs its key, or a newer version, is mended otherwise. */
const BEYOND_HELP = new Set<Code>(['store-corrupt', 'wrong-store-key'])

type Deps = {
  /** `[paths] state` */
  readonly state: string
  readonly storeKey: Buffer
  readonly trusted: readonly string[]
  readonly github: GithubAddresses
  readonly nowMs: number
  readonly log: Log
}

/**
 * Makes way for a restore where `closed` is why the store cannot be opened. Nothing is removed: store and audit log, whichever does not
 * open, get other names. Throws `closed` where that is no reason to, `bundle-other-github`, what opening the bundle throws, and `bundle-untrusted`, since
 * nobody can tell whether a connection is alive there.
 */
export const makeWay = async (
  closed: Failure,
  request: { bundle: Uint8Array; wish: RestoreWish },
  deps: Deps,
): Promise<void> => {
  if (!BEYOND_HELP.has(closed.code)) throw closed
  const { bundle, wish } = request
  const header = readHeader(bundle)
  if (!deps.trusted.includes(header.signer) && !wish.force) {
    throw new Failure(
      'bundle-untrusted',
      `the bundle was written by ${header.signer}, and whether a connection is alive here cannot be told: ${closed.message}`,
    )
  }
  assertSameGithub(await openBundle(bundle, wish.identities), deps.github, wish)
  setAside(deps)
}

const setAside = ({ state, storeKey, nowMs, log }: Deps): void => {
  const suffix = `.aside-${new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '')}`
  const audit = join(state, 'audit.db')
  const parts = [
    { names: ['store'], open: () => openStore({ folder: join(state, 'store'), storeKey, log }).close() },
    {
      names: ['audit.db', 'audit.db-wal', 'audit.db-shm', 'audit.key'],
      open: () => openAudit({ path: audit, storeKey, log }).close(),
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
