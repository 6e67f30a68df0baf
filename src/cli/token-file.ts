// A file that holds a token: owned by whoever runs this, whole at each moment, and never written through a link.

import { lstatSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { asFailure, Failure } from '../protocol/errors.ts'
import { writeDurably } from '../service/files.ts'

export type TokenFile = {
  /** Throws `configuration` for a path that must not be written, `disk-full` and `io`: then the former file is there still. */
  write(text: string): void
  /** Leaves alone what is not its own. */
  remove(): void
  /** Before anything starts: whether the file can be replaced. Throws `configuration`, with the cause and what to do instead. */
  check(): void
}

export const createTokenFile = (path: string, mode: number): TokenFile => {
  const refuse = (why: string): Failure => new Failure('configuration', `${path}: ${why}`)
  const find = () => {
    try {
      return lstatSync(path, { throwIfNoEntry: false })
    } catch (cause) {
      throw new Failure('configuration', `${path}: cannot be looked at`, { cause })
    }
  }
  const check = (): void => {
    const found = find()
    if (!found) return
    if (found.isSymbolicLink()) throw refuse('is a link')
    if (found.isDirectory()) throw refuse('is a folder')
    if (!found.isFile()) throw refuse('is no file')
    if (found.uid !== process.geteuid?.()) throw refuse(`belongs to another user (${found.uid})`)
  }
  return {
    check() {
      check()
      const found = findObstacle(path)
      if (found) throw new Failure('configuration', `${path}: ${found.why}`, { cause: found.cause })
    },
    write(text) {
      check()
      try {
        writeDurably(path, text, mode)
      } catch (error) {
        throw asFailure(error)
      }
    },
    remove() {
      check()
      rmSync(path, { force: true })
    },
  }
}

/** Why no new file can take the place of the one at `path`, and what to do instead. It is the folder that must be writable. */
export const findObstacle = (path: string): { why: string; cause?: unknown } | undefined => {
  const folder = dirname(path)
  if (isMountPoint(path)) {
    return { why: `is a mount of its own and cannot be replaced; mount the folder ${folder} instead` }
  }
  try {
    rmSync(mkdtempSync(join(folder, '.ghconnect-')), { recursive: true })
    return undefined
  } catch (cause) {
    const { code, message } = asFailure(cause)
    const said = code === 'internal' ? 'no file can be made there' : message
    return {
      why: `cannot be replaced: ${said}; this user must own ${folder}, on a file system that can be written`,
      cause,
    }
  }
}

/** By proc_pid_mountinfo(5), where blanks are octal. A bind mount may be of the same device, so that `stat` tells nothing. */
const isMountPoint = (path: string): boolean => {
  try {
    const real = join(realpathSync(dirname(path)), basename(path))
    return readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map(line =>
        (line.split(' ')[4] ?? '').replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
          String.fromCharCode(parseInt(octal, 8)),
        ),
      )
      .includes(real)
  } catch {
    // No folder, or no /proc: the attempt to make a file says more.
    return false
  }
}
