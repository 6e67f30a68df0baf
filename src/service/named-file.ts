// Files that the configuration names: read, or explained to the administrator with the command that opens them to the daemon.

import { closeSync, constants, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import { Failure } from '../protocol/errors.ts'
import { groupName, userName } from './libc.ts'

/** Larger files are none of ours. */
const LARGEST_BYTES = 8 * 2 ** 20

/** `secret`: the advice opens it to the daemon's user only. Throws `configuration`: absent, closed to this user, not a file, too large. */
export const readNamedFile = (file: string, { secret = false }: { secret?: boolean } = {}): Buffer => {
  let fd: number
  try {
    // A FIFO in its place must not hang the start.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    throw new Failure('configuration', explainUnreadable(file, { cause, secret }), { cause })
  }
  try {
    const status = fstatSync(fd)
    if (!status.isFile()) throw new Failure('configuration', `${file} is not a file`)
    if (status.size > LARGEST_BYTES) throw new Failure('configuration', `${file} is too large (${status.size} bytes)`)
    return readWhole(fd, status.size)
  } catch (cause) {
    throw cause instanceof Failure ? cause : new Failure('configuration', `${file} cannot be read`, { cause })
  } finally {
    closeSync(fd)
  }
}

const readWhole = (fd: number, size: number): Buffer => {
  const bytes = Buffer.alloc(size)
  let length = 0
  while (length < size) {
    const read = readSync(fd, bytes, length, size - length, null)
    if (read === 0) break
    length += read
  }
  return bytes.subarray(0, length)
}

/** The password in a file: an editor's byte order mark and line ends are not part of it. */
export const passwordIn = (bytes: Buffer): string =>
  bytes
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .replace(/[\r\n]+$/, '')

/** A sentence: what is in the way of this user, with owner and mode, and the command that opens it. */
export const explainUnreadable = (file: string, { cause, secret }: { cause: unknown; secret: boolean }): string => {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
  if (code === 'ENOENT' || code === 'ENOTDIR') return `${file} does not exist`
  if (code !== 'EACCES' && code !== 'EPERM') return `${file} cannot be read (${code})`
  const user = nameOf(process.geteuid?.() ?? 0)
  const closed = closedFolder(file)
  if (closed) {
    const { path, status } = closed
    return `${file} cannot be read by ${user}: the folder ${path} is closed to it (${describe(status)}); move the file to /etc/ghconnectd`
  }
  const status = statSync(file, { throwIfNoEntry: false })
  const fix = secret ? `chown ${user}: ${file} && chmod 0600 ${file}` : `chmod a+r ${file}`
  return `${file} cannot be read by ${user}${status ? ` (${describe(status)})` : ''}; run: ${fix}`
}

/** The first folder on the way that this user may not enter. By stat: access(2) asks for the real user, not for the effective one. */
const closedFolder = (file: string): { path: string; status: Stats } | undefined => {
  let path: string = sep
  for (const part of file.split(sep).filter(Boolean)) {
    const below = join(path, part)
    try {
      statSync(below)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EACCES')) return undefined
      return { path, status: statSync(path) }
    }
    path = below
  }
  return undefined
}

const describe = ({ uid, gid, mode }: Stats): string =>
  `owner ${nameOf(uid)}:${groupName(gid) ?? gid}, mode ${(mode & 0o7777).toString(8).padStart(4, '0')}`

const nameOf = (uid: number): string => userName(uid) ?? String(uid)
