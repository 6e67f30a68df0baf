// The sealed bundle that waits for its identity: kept whole beside the store, told by its header.

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../../protocol/errors.ts'
import { syncFolder, writeDurably } from '../../service/files.ts'
import type { Log } from '../../service/log.ts'
import type { BundleHeader } from './bundle.ts'

/** Where it is kept. */
export type WaitingBundle = { find(): Uint8Array | undefined; put(bundle: Uint8Array): void; remove(): void }

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

export type WaitingRoom = {
  find(): { readonly bundle: Uint8Array; readonly header: BundleHeader } | undefined
  put(bundle: Uint8Array): void
  remove(): void
}

/** Read once: status asks at each turn. One that is damaged is none, or it would take every answer with it. */
export const createWaitingRoom = (deps: {
  place: WaitingBundle
  readHeader: (bundle: Uint8Array) => BundleHeader
  log: Log
}): WaitingRoom => {
  let known: { readonly found: ReturnType<WaitingRoom['find']> } | undefined

  const look = (): ReturnType<WaitingRoom['find']> => {
    const bundle = deps.place.find()
    if (!bundle) return undefined
    try {
      return { bundle, header: deps.readHeader(bundle) }
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      deps.log.error('the sealed bundle that waited is damaged; restore it again', { error })
      return undefined
    }
  }

  return {
    find: () => (known ??= { found: look() }).found,
    put(bundle) {
      deps.place.put(bundle)
      known = undefined
    },
    remove() {
      deps.place.remove()
      known = { found: undefined }
    },
  }
}
