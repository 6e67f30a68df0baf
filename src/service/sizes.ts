// How many bytes the state folder's databases hold, and how many are free; what is not there holds none.

import { readdirSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'

export const stateSizes = (state: string) => ({
  store: sizesOf(join(state, 'store', 'current', 'store.db')),
  audit: { ...sizesOf(join(state, 'audit.db')), archive: sizeBelow(join(state, 'audit')) },
})

export const sizesOf = (database: string) => ({ db: sizeOf(database), wal: sizeOf(`${database}-wal`) })

/** Follows a link; 0 where there is no such file, or it cannot be looked at. */
const sizeOf = (path: string): number => {
  try {
    return statSync(path).size
  } catch {
    return 0
  }
}

/** On the file system that holds `path`; undefined where it cannot be asked. */
export const freeBytes = (path: string): number | undefined => {
  try {
    const { bavail, bsize } = statfsSync(path)
    return bavail * bsize
  } catch {
    return undefined
  }
}

/** Of all files below the folder. */
export const sizeBelow = (folder: string): number => {
  try {
    return readdirSync(folder, { withFileTypes: true, recursive: true })
      .filter(entry => entry.isFile())
      .reduce((sum, { parentPath, name }) => sum + sizeOf(join(parentPath, name)), 0)
  } catch {
    return 0
  }
}
