// Files that are whole or absent: written beside, made durable, then renamed into place.

import { closeSync, constants, fchmodSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Writes `path` atomically. The file is born with `mode` at most and has it when it is there, whatever the umask; both it and its folder are on the disk on return. */
export const writeDurably = (path: string, content: Uint8Array | string, mode: number): void => {
  const beside = join(dirname(path), `.${basename(path)}.${process.pid}.new`)
  rmSync(beside, { force: true })
  const fd = openSync(beside, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode)
  try {
    try {
      fchmodSync(fd, mode)
      const bytes = typeof content === 'string' ? Buffer.from(content) : content
      for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(beside, path)
  } catch (error) {
    rmSync(beside, { force: true })
    // Calls on a descriptor do not say which file they were for.
    throw error instanceof Error && !('path' in error) ? Object.assign(error, { path }) : error
  }
  syncFolder(dirname(path))
}

/** Makes what another program wrote durable. */
export const syncFile = (path: string): void => sync(path, constants.O_RDONLY | constants.O_NOFOLLOW)

/** Makes renames and removals in a folder durable. */
export const syncFolder = (path: string): void => sync(path, constants.O_RDONLY | constants.O_DIRECTORY)

const sync = (path: string, flags: number): void => {
  const fd = openSync(path, flags)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
