// A file that holds a token: owned by whoever runs this, whole at each moment, and never written through a link.

import { lstatSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { SocketName } from '../protocol/endpoints.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import type { TokenRequest } from '../protocol/wire.ts'
import { writeDurably } from '../service/files.ts'
import type { Context } from './command.ts'
import { followToken, type TokenAnswer } from './watch.ts'

export type TokenFile = ReturnType<typeof createTokenFile>

export const createTokenFile = (path: string, mode: number) => {
  const refuse = (why: string, cause?: unknown): Failure => new Failure('configuration', `${path}: ${why}`, { cause })
  const find = () => {
    try {
      return lstatSync(path, { throwIfNoEntry: false })
    } catch (cause) {
      throw refuse('cannot be looked at', cause)
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
    /** Before anything starts: whether the file can be replaced. Throws `configuration`, with the cause and what to do instead. */
    check(): void {
      check()
      const found = findObstacle(path)
      if (found) throw refuse(found.why, found.cause)
    },
    /** Throws `configuration` for a path that must not be written, `disk-full` and `io`: then the previous file is there still. */
    write(text: string): void {
      check()
      try {
        writeDurably(path, text, mode)
      } catch (error) {
        throw asFailure(error)
      }
    },
    /** Leaves alone what is not its own. */
    remove(): void {
      check()
      rmSync(path, { force: true })
    },
  }
}

/** The same for a file that a command writes once. A rename over a device or a pipe would put a file in its place. Throws `usage` and `io`. */
export const assertWritable = (file: string): void => {
  const status = lstatSync(file, { throwIfNoEntry: false })
  if (status && !status.isFile()) throw new Failure('usage', `--output ${file}: is no file`)
  const found = findObstacle(file)
  if (found) throw new Failure('io', `--output ${file}: ${found.why}`, { cause: found.cause, next: OTHER_FILE })
}

const OTHER_FILE = 'Correct that, or name a file in another folder. Nothing was exported.'

/** Why no new file can take the place of the one at `path`, and what to do instead. It is the folder that must be writable. */
const findObstacle = (path: string): { why: string; cause?: unknown } | undefined => {
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

export type Keeping = {
  readonly request: TokenRequest
  readonly file: TokenFile
  readonly socket: SocketName
  readonly signal: AbortSignal
  write(answer: TokenAnswer): string
  /** What happened, in a sentence. */
  onNews?(news: string): void
}

/**
 * Keeps the file in step with a token: written at each new one, kept where something fails, removed where the token is void. Resolves
 * when it is ended. Throws `configuration` where the path turns out to be none that may be written.
 */
export const keepFile = async (context: Context, keeping: Keeping): Promise<void> => {
  const { output, deps } = context
  const { file, request, signal, onNews = () => {} } = keeping
  let told = ''
  const tell = (failure: Failure, effect: string): void => {
    const text = `${failure.entry.title}: ${failure.message}. ${effect}`
    if (text !== told) output.note(`ghconnect: ${text}`)
    told = text
    onNews(text)
  }
  await followToken({
    client: await context.client(keeping.socket),
    clock: deps.clock,
    request,
    signal,
    onToken(answer) {
      try {
        file.write(keeping.write(answer))
      } catch (error) {
        const failure = asFailure(error)
        if (failure.code === 'configuration') throw failure
        tell(failure, 'The former token stays in the file.')
        return false
      }
      told = ''
      onNews(`holds a token until ${answer.expires_at}`)
      return true
    },
    onPolling: () =>
      output.note('ghconnect: the daemon refuses an event stream; asking for the token each minute instead'),
    onFailure(failure, { lost }) {
      if (lost) file.remove()
      tell(failure, lost ? 'The file is removed.' : 'The file stays as it is.')
    },
  })
}
