// The numbered folders of the store on the disk: which one is current, how that changes, and how what is over is shredded.

import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../../protocol/errors.ts'
import type { Log } from '../../service/log.ts'
import { syncFolder } from '../../service/files.ts'

/** Whatever is unfinished has this prefix; nothing reads it, and the next start removes it. */
const UNFINISHED = '.new-'
const CURRENT = 'current'

export const numberedFolder = (folder: string, number: number): string => join(folder, String(number))

export const makePrivateFolder = (path: string): void => {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  chmodSync(path, 0o700)
}

/** An empty folder in which the store of that number is to be built. */
export const beginFolder = (folder: string, number: number): string => {
  const path = join(folder, `${UNFINISHED}${number}`)
  shred(path)
  mkdirSync(path, { mode: 0o700 })
  return path
}

/** Gives what was built its number; it is whole and durable from then on. */
export const finishFolder = (folder: string, number: number): void => {
  const path = join(folder, `${UNFINISHED}${number}`)
  syncFolder(path)
  renameSync(path, numberedFolder(folder, number))
  syncFolder(folder)
}

export const listNumbers = (folder: string): readonly number[] =>
  readdirSync(folder)
    .filter(name => NUMBER.test(name))
    .map(Number)
    .toSorted((a, b) => a - b)

/** Undefined where there is no `current`. Throws `store-corrupt` where it is something else than a link to a number. */
export const findCurrent = (folder: string): number | undefined => {
  const path = join(folder, CURRENT)
  const status = lstatSync(path, { throwIfNoEntry: false })
  if (status === undefined) return undefined
  const target = status.isSymbolicLink() ? readlinkSync(path) : ''
  if (!NUMBER.test(target)) throw new Failure('store-corrupt', `${path} is no link to a numbered store`)
  return Number(target)
}

/** Durable on return. What fails leaves `current` as it was. */
export const pointCurrent = (folder: string, number: number): void => {
  const before = findCurrent(folder)
  try {
    swapLink(folder, number)
  } catch (error) {
    // The rename may have happened, and only its way to the disk failed: then it is taken back.
    if (before !== undefined && findCurrent(folder) !== before) swapLink(folder, before)
    throw error
  }
}

/** Removes what a kill left: unfinished folders, and stores that are not the current one. Failing at it is logged and tried again by the next start. */
export const removeLeftovers = (folder: string, options: { current: number; log: Log }): void => {
  for (const name of readdirSync(folder)) {
    const stale = name.startsWith(UNFINISHED) || (NUMBER.test(name) && Number(name) !== options.current)
    if (!stale) continue
    try {
      shred(join(folder, name))
      options.log.info('removed a former store', { folder: join(folder, name) })
    } catch (error) {
      options.log.error('a former store could not be removed', { folder: join(folder, name), error })
    }
  }
}

/** The keys first, overwritten and durably gone, since the rest is noise without them; then the rest. */
export const shred = (path: string): void => {
  const status = lstatSync(path, { throwIfNoEntry: false })
  if (status?.isDirectory()) {
    const keys = readdirSync(path).filter(name => name === 'key' || name.startsWith('key.') || name.startsWith('.key'))
    for (const name of keys) {
      overwrite(join(path, name))
      rmSync(join(path, name), { force: true })
    }
    if (keys.length > 0) syncFolder(path)
  }
  rmSync(path, { recursive: true, force: true })
}

const NUMBER = /^[1-9][0-9]{0,8}$/

const swapLink = (folder: string, number: number): void => {
  const beside = join(folder, `${UNFINISHED}${CURRENT}`)
  rmSync(beside, { force: true })
  symlinkSync(String(number), beside)
  renameSync(beside, join(folder, CURRENT))
  syncFolder(folder)
}

/** With zeros, in place, durably; what is no file is left alone. */
export const overwrite = (path: string): void => {
  if (!lstatSync(path).isFile()) return
  const fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW)
  try {
    const { size } = fstatSync(fd)
    if (size > 0) writeSync(fd, Buffer.alloc(size), 0, size, 0)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
