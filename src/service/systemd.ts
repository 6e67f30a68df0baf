// What the service manager gives (sockets, credentials, the journal) and wants to be told (sd_notify, its watchdog). Without it, nothing happens.

import { existsSync, fstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../protocol/errors.ts'
import type { Clock, Timer } from './clock.ts'
import { notify, setCloseOnExec } from './libc.ts'

type Environment = Readonly<NodeJS.ProcessEnv>

/** sd_listen_fds(3). Descriptors by their `FileDescriptorName=`; empty where the sockets are not meant for this process. */
export const activatedSockets = (env: Environment): ReadonlyMap<string, number> => {
  const sockets = new Map<string, number>()
  if (env['LISTEN_PID'] !== String(process.pid) || env['LISTEN_FDS'] === undefined) return sockets
  const count = Number(env['LISTEN_FDS'])
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new Failure('configuration', `LISTEN_FDS is no count: ${env['LISTEN_FDS']}`)
  }
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':')
  for (let i = 0; i < count; i++) {
    const name = names[i] || 'unknown'
    if (sockets.has(name)) throw new Failure('configuration', `two sockets were passed under the name ${name}`)
    setCloseOnExec(FIRST_FD + i)
    sockets.set(name, FIRST_FD + i)
  }
  return sockets
}

export type Notifier = {
  /** Also ends a reload. */
  ready(status?: string): void
  status(text: string): void
  reloading(): void
  stopping(status?: string): void
  watchdog(): void
  /** The service is taken for hung when `watchdog` is not called for so long; undefined: nobody waits for it. */
  readonly watchdogMs: number | undefined
}

/** sd_notify(3). No method throws: a service manager that went away is reported to `onError` and is no reason to stop. */
export const createNotifier = (env: Environment, onError: (error: unknown) => void = () => {}): Notifier => {
  const address = env['NOTIFY_SOCKET']
  const send = (...lines: string[]): void => {
    if (!address) return
    try {
      notify(address, lines.join('\n'))
    } catch (error) {
      onError(error)
    }
  }
  return {
    ready: text => send('READY=1', ...statusLines(text)),
    status: text => send(...statusLines(text)),
    reloading: () => send('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: text => send('STOPPING=1', ...statusLines(text)),
    watchdog: () => send('WATCHDOG=1'),
    watchdogMs: address ? watchdogMs(env) : undefined,
  }
}

/**
 * A credential that was passed by `LoadCredential=` or `SetCredential=`; undefined where none was.
 * Throws `configuration` where it cannot be read or is empty: systemd passes an empty one when its source closed without data.
 */
export const readCredential = (name: string, env: Environment): Buffer | undefined => {
  const folder = env['CREDENTIALS_DIRECTORY']
  if (!folder) return undefined
  let content: Buffer
  try {
    content = readFileSync(join(folder, name))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new Failure('configuration', `the credential ${name} cannot be read`, { cause: error })
  }
  if (content.length === 0) throw new Failure('configuration', `the credential ${name} is empty`)
  return content
}

/** Where a credential lies, for those who read files; undefined where none was passed. */
export const credentialFile = (name: string, env: Environment): string | undefined => {
  const path = join(env['CREDENTIALS_DIRECTORY'] ?? '', name)
  return env['CREDENTIALS_DIRECTORY'] && existsSync(path) ? path : undefined
}

/**
 * One entry of the journal with fields of its own (systemd.journal-fields(7)), by its native protocol. Names are in capitals;
 * a value is one line. Throws a system error where the journal does not take it.
 */
export const sendToJournal = (fields: Readonly<Record<string, string>>): void =>
  notify(
    JOURNAL_SOCKET,
    Object.entries(fields)
      .map(([name, value]) => `${name}=${value.replaceAll('\n', ' ')}\n`)
      .join(''),
  )

/** Whether standard error goes to the journal by itself: systemd.exec(5) on JOURNAL_STREAM. */
export const isJournal = (env: Environment): boolean => {
  const stream = env['JOURNAL_STREAM']
  if (!stream) return false
  try {
    const { dev, ino } = fstatSync(2, { bigint: true })
    return stream === `${dev}:${ino}`
  } catch {
    return false
  }
}

/** machine-id(5); undefined on a machine that has none (yet), as in some containers. */
export const machineId = (path = '/etc/machine-id'): string | undefined => {
  try {
    return /^[0-9a-f]{32}$/.exec(readFileSync(path, 'utf8').trim())?.[0]
  } catch {
    return undefined
  }
}

const statusLines = (text?: string): string[] => (text === undefined ? [] : [`STATUS=${text.replaceAll(/\s+/g, ' ')}`])

const JOURNAL_SOCKET = '/run/systemd/journal/socket'

/** SD_LISTEN_FDS_START */
const FIRST_FD = 3

const watchdogMs = (env: Environment): number | undefined => {
  const usec = Number(env['WATCHDOG_USEC'])
  const pid = env['WATCHDOG_PID']
  return usec > 0 && (pid === undefined || pid === String(process.pid)) ? usec / 1000 : undefined
}

export type WatchdogDeps = {
  readonly notifier: Pick<Notifier, 'watchdog' | 'watchdogMs'>
  readonly clock: Pick<Clock, 'every'>
  /** Throws, rejects or never ends where the daemon is not well. It runs in the event loop, which is thereby probed as well. */
  readonly probe: () => Promise<void>
  /** Told each time; the manager is not, and takes the daemon for dead when that lasts. */
  readonly onFailure: (error: unknown) => void
}

/** So often within the time that the manager waits: one late turn of the loop is no death. */
const TIMES = 4

/** Does nothing where no manager waits. */
export const startWatchdog = ({ notifier, clock, probe, onFailure }: WatchdogDeps): Timer => {
  if (notifier.watchdogMs === undefined) return { cancel: () => {} }
  let probing = false
  const look = async (): Promise<void> => {
    if (probing) return
    probing = true
    try {
      await probe()
      notifier.watchdog()
    } catch (error) {
      onFailure(error)
    } finally {
      probing = false
    }
  }
  return clock.every(notifier.watchdogMs / TIMES, () => void look())
}
