// This process: its version, the user that it acts as, and its memory.

import { statSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { setFlagsFromString } from 'node:v8'
import metadata from '../../package.json' with { type: 'json' }

export const VERSION: string = metadata.version

/** `groups`: all that a login of it is in; its own alone where they are not given. */
export type Owner = { readonly uid: number; readonly gid: number; readonly groups?: readonly number[] }

/** Throws what the disk says where the folder cannot be looked at. */
export const ownerOf = (folder: string): Owner => {
  const { uid, gid } = statSync(folder)
  return { uid, gid }
}

/** Runs `work` with the rights of that owner where this process is root, and as it is elsewhere. One at a time: the rights are the process's. */
export const actAs = async <T>(owner: Owner, work: () => Promise<T>): Promise<T> => {
  if (process.geteuid?.() !== 0 || owner.uid === 0) return work()
  const before = { uid: process.geteuid(), gid: process.getegid?.() ?? 0, groups: process.getgroups?.() ?? [] }
  process.setgroups?.([...(owner.groups ?? [owner.gid])])
  process.setegid?.(owner.gid)
  process.seteuid?.(owner.uid)
  try {
    return await work()
  } finally {
    process.seteuid?.(before.uid)
    process.setegid?.(before.gid)
    process.setgroups?.(before.groups)
  }
}

export const isRoot = (): boolean => process.geteuid?.() === 0

/** Call once, after loading everything: later code does not reach the compile cache. */
export const settleHeap = (): void => {
  // The next start can use the cache only if Node writes it before the flags change.
  flushCompileCache()
  // V8 would place objects of a kind that mostly lived long, as connections do, where they are collected late: under a flood of short ones
  // that is seldom true, and its large collections were three times as many.
  setFlagsFromString('--no-allocation-site-pretenuring')
  // Of what is in use, between two large collections: fewer again, for 5 MB.
  setFlagsFromString('--heap-growing-percent=40')
}

/**
 * Gives the memory back at once; the bytes are gone. Only for bytes that nobody else holds, in memory of their own. Small ones may lie in
 * memory that Node shares between buffers, and are left to the collector.
 */
export const giveBack = (bytes: Uint8Array): void => {
  if (bytes.length * 2 >= Buffer.poolSize && bytes.buffer instanceof ArrayBuffer) bytes.buffer.transfer(0)
}
