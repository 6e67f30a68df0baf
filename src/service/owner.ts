// Work as the owner of a folder: what root leaves in it is the daemon's to read and write.

import { statSync } from 'node:fs'

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
