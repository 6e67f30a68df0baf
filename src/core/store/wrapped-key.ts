// A database key on the disk, wrapped by the store key. While the store key is changed it stands there twice: as `key` and as `key.next`.

import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Failure } from '../../protocol/errors.ts'
import { syncFolder } from '../../service/files.ts'
import { overwrite } from './folders.ts'
import { unwrapDatabaseKey, wrapDatabaseKey } from './key.ts'

const nextOf = (path: string): string => `${path}.next`

/** Changes nothing. Throws `store-corrupt`, `wrong-store-key`. */
export const readWrapped = (storeKey: Buffer, path: string): Buffer => open(storeKey, path).databaseKey

/** The same, and ends a change of the store key that was killed: what this store key does not open goes. */
export const settleWrapped = (storeKey: Buffer, path: string): Buffer => {
  const { databaseKey, isNext } = open(storeKey, path)
  const next = nextOf(path)
  if (!existsSync(next)) return databaseKey
  overwrite(isNext ? path : next)
  if (isNext) renameSync(next, path)
  else rmSync(next)
  syncFolder(dirname(path))
  return databaseKey
}

/** From here on either store key opens it. Durable on return. */
export const wrapBeside = (path: string, databaseKey: Buffer, storeKey: Buffer): void => {
  // Half of it would open nothing, and counts for nothing before it is whole: it needs no other name first.
  writeFileSync(nextOf(path), wrapDatabaseKey(storeKey, databaseKey), { mode: 0o600, flag: 'wx', flush: true })
  syncFolder(dirname(path))
}

const open = (storeKey: Buffer, path: string): { databaseKey: Buffer; isNext: boolean } => {
  try {
    if (!existsSync(path)) throw new Failure('store-corrupt', `${path} is gone`)
    return { databaseKey: unwrapDatabaseKey(storeKey, readFileSync(path), path), isNext: false }
  } catch (error) {
    const next = nextOf(path)
    if (!(error instanceof Failure) || !existsSync(next)) throw error
    try {
      return { databaseKey: unwrapDatabaseKey(storeKey, readFileSync(next), next), isNext: true }
    } catch {
      throw error
    }
  }
}
