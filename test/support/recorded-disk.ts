// A disk that loses what was not synced: notes each change that this process makes to files, and shows what a crash would leave.

import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, join, relative } from 'node:path'

/** As `fsync store/current`, with paths below the root. */
export type Change = string

export type RecordedDisk = {
  readonly changes: readonly Change[]
  /** What a crash now would leave, if the disk had not done a thing that it was not made to do, in a folder that is made for it. */
  crash(to: string): void
  /** The next change that reads so fails with EIO, and does not happen. */
  failAt(change: RegExp): void
  /** Called before each change. */
  onChange(listener: (change: Change) => void): void
  release(): void
}

type Kept =
  | { readonly kind: 'file'; readonly inode: number; readonly mode: number }
  | { readonly kind: 'folder'; readonly inode: number; readonly mode: number }
  | { readonly kind: 'link'; readonly target: string }

const real = { ...fs }

/** SQLite writes its files by itself, and syncs them: they are on the disk as they are, once a folder that names them is. */
const isSqlite = (name: string): boolean => /\.db(\.new)?(-wal)?$/.test(name)

/** Of one process, below `root`, which is empty. Calls of node:fs that are not listed here make no difference to what is kept. */
export const recordDisk = (root: string): RecordedDisk => {
  const changes: Change[] = []
  const contents = new Map<number, Buffer>()
  const folders = new Map<number, Map<string, Kept>>()
  const paths = new Map<number, string>()
  let failing: RegExp | undefined
  let listener: (change: Change) => void = () => {}

  const isOurs = (path: unknown): path is string =>
    typeof path === 'string' && (path === root || path.startsWith(`${root}/`))
  const named = (path: string): string => relative(root, path) || '.'

  const note = (change: Change): void => {
    listener(change)
    if (failing?.test(change)) {
      failing = undefined
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO', errno: -5 })
    }
    changes.push(change)
  }
  const keep = (path: string): Kept => {
    const status = real.lstatSync(path)
    if (status.isSymbolicLink()) return { kind: 'link', target: real.readlinkSync(path) }
    const kind = status.isDirectory() ? 'folder' : 'file'
    if (kind === 'file' && isSqlite(basename(path))) contents.set(status.ino, real.readFileSync(path))
    return { kind, inode: status.ino, mode: status.mode & 0o777 }
  }
  const sync = (fd: number): void => {
    const path = paths.get(fd)
    if (path === undefined) return
    const status = real.fstatSync(fd)
    if (status.isDirectory()) {
      const entries = real.readdirSync(path).map(name => [name, keep(join(path, name))] as const)
      folders.set(status.ino, new Map(entries))
    } else contents.set(status.ino, real.readFileSync(`/proc/self/fd/${fd}`))
  }
  const restore = (inode: number, to: string): void => {
    for (const [name, kept] of folders.get(inode) ?? []) {
      const path = join(to, name)
      if (kept.kind === 'link') real.symlinkSync(kept.target, path)
      else if (kept.kind === 'file') real.writeFileSync(path, contents.get(kept.inode) ?? '', { mode: kept.mode })
      else {
        real.mkdirSync(path, { mode: kept.mode })
        restore(kept.inode, path)
      }
    }
  }

  const patch: Partial<typeof fs> = {
    openSync(path, ...rest) {
      const isNew = isOurs(path) && !real.lstatSync(path, { throwIfNoEntry: false })
      const fd = real.openSync(path, ...rest)
      // The number of a file that was removed is given to another.
      if (isNew) contents.delete(real.fstatSync(fd).ino)
      if (isOurs(path)) paths.set(fd, path)
      else paths.delete(fd)
      return fd
    },
    mkdirSync(path: fs.PathLike, ...rest: unknown[]) {
      const isNew = isOurs(path) && !real.lstatSync(path, { throwIfNoEntry: false })
      const made = Reflect.apply(real.mkdirSync, fs, [path, ...rest])
      if (isNew) folders.delete(real.statSync(path).ino)
      return made
    },
    closeSync(fd) {
      paths.delete(fd)
      real.closeSync(fd)
    },
    fsyncSync(fd) {
      const path = paths.get(fd)
      if (path !== undefined) note(`fsync ${named(path)}`)
      real.fsyncSync(fd)
      sync(fd)
    },
    writeSync(fd: number, ...rest: unknown[]) {
      const path = paths.get(fd)
      if (path !== undefined) {
        const [bytes] = rest
        const isZero = bytes instanceof Uint8Array && bytes.every(byte => byte === 0)
        note(`${isZero ? 'zero' : 'write'} ${named(path)}`)
      }
      return Reflect.apply(real.writeSync, fs, [fd, ...rest])
    },
    linkSync(from, to) {
      if (isOurs(from) && isOurs(to)) note(`link ${named(from)} ${named(to)}`)
      real.linkSync(from, to)
    },
    renameSync(from, to) {
      if (isOurs(from) && isOurs(to)) note(`rename ${named(from)} ${named(to)}`)
      real.renameSync(from, to)
    },
    rmSync(path, options) {
      if (isOurs(path) && real.lstatSync(path, { throwIfNoEntry: false })) note(`rm ${named(path)}`)
      real.rmSync(path, options)
    },
  }
  Object.assign(fs, patch)
  syncBuiltinESMExports()

  const rootInode = real.statSync(root).ino

  return {
    changes,
    crash: to => restore(rootInode, to),
    failAt: change => void (failing = change),
    onChange: next => void (listener = next),
    release() {
      for (const name of Object.keys(patch)) Object.assign(fs, { [name]: Reflect.get(real, name) })
      syncBuiltinESMExports()
    },
  }
}
