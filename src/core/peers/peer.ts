// Who is at the other end of a unix socket: pid, uid, groups and systemd unit, from the kernel alone.

import { closeSync, readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { Failure } from '../../protocol/errors.ts'
import type { Peer } from '../../protocol/profile.ts'
import { bootTimeMs, isPidFdAlive, peerCredentials, peerGroups, peerPidFd } from '../../service/libc.ts'
import { findHiding } from '../../service/units.ts'

/** A peer and the handle by which it is known to live still. One per connection. */
export type Attested = {
  readonly peer: Peer
  /** Throws `peer-gone` where the process has ended since, or its pid names another one now. */
  assertAlive(): void
  /** Gives the pidfd back; idempotent. Called when the connection closes. */
  release(): void
}

/** Throws `peer-gone` where the kernel does not tell. */
export type Attest = (socket: Socket) => Attested

export type AttestDeps = {
  /** [policy] weak_pid, asked for each connection: whether a unit counts where only a start time guards against a reused pid. */
  readonly weakPid: () => boolean
  /** Stand in for an old kernel, and for its clock, in tests. */
  readonly peerPidFd?: (fd: number) => number | undefined
  readonly bootTimeMs?: () => number
}

/** To be called when the connection is accepted: without a pidfd, a process that started later than this is not the peer. */
export const createAttest =
  (deps: AttestDeps): Attest =>
  socket => {
    const fd = fdOf(socket)
    if (fd < 0) throw new Failure('peer-gone', 'the connection is closed already')
    const acceptedMs = (deps.bootTimeMs ?? bootTimeMs)()
    const { credentials, groups, pidfd } = ask(fd, deps.peerPidFd ?? peerPidFd)
    const life = pidfd === undefined ? watchStartTime(credentials.pid, acceptedMs) : watchPidFd(pidfd)
    try {
      life.assertAlive()
      const withheld = pidfd === undefined && !deps.weakPid()
      const { unit: told, userSlice } = placeOf(cgroupOf(credentials.pid))
      const unit = withheld ? undefined : told
      const startTicks = findStartTicks(credentials.pid)
      // The pid was not free for another process before this moment, so unit and start time are those of the peer.
      life.assertAlive()
      const known = {
        ...(unit !== undefined && { unit }),
        ...(withheld && ({ unitWithheld: true } as const)),
        ...(userSlice !== undefined && { userSlice }),
        ...(startTicks !== undefined && { startTicks }),
      }
      return { peer: { ...credentials, groups, ...known }, ...life }
    } catch (error) {
      life.release()
      throw error
    }
  }

/**
 * What a process would be if it connected now, for `explain`: nothing is granted on this. Undefined where there is no such
 * process, or /proc hides it from us.
 */
export const findProcess = (pid: number): Peer | undefined => {
  const before = findStartTicks(pid)
  const status = readProc(pid, 'status') ?? ''
  const unit = parseCgroup(cgroupOf(pid))
  // The second of four: the effective ids are those that a socket tells.
  const [uid, gid] = ['Uid', 'Gid'].map(key => new RegExp(`^${key}:\\s+\\d+\\s+(\\d+)`, 'm').exec(status)?.[1])
  const groups = /^Groups:(.*)$/m.exec(status)?.[1]?.trim().split(/\s+/).filter(Boolean).map(Number)
  if (before === undefined || !uid || !gid || !groups || findStartTicks(pid) !== before) return undefined
  return { pid, uid: Number(uid), gid: Number(gid), groups, ...(unit !== undefined && { unit }) }
}

/**
 * The unit that the system's manager put a process into, from the text of /proc/PID/cgroup: read from the root, slices
 * skipped, the first unit. What is below it was named by whoever it is delegated to (a user's own manager, a container) and
 * never counts; nor does anything below a folder that is neither slice nor unit. Names stay as they are, escapes included.
 */
export const parseCgroup = (text: string): string | undefined => {
  const outermost = pathIn(text).find(part => !SLICE.test(part))
  return outermost !== undefined && UNIT.test(outermost) ? outermost : undefined
}

/** N of `/user.slice/user-N.slice/...`, which the system's manager makes for each user that logs in; undefined elsewhere. */
export const parseUserSlice = (text: string): number | undefined => {
  const [first, second = ''] = pathIn(text)
  const [, uid] = (first === 'user.slice' && /^user-(\d{1,10})\.slice$/.exec(second)) || []
  return uid === undefined ? undefined : Number(uid)
}

type SystemdPlace = { readonly unit: string | undefined; readonly userSlice: number | undefined }

/** The same text again and again: processes of a unit are in one group. */
const places = new Map<string, SystemdPlace>()
const MOST_PLACES = 256

const placeOf = (text: string): SystemdPlace => {
  const known = places.get(text)
  if (known) return known
  if (places.size >= MOST_PLACES) places.clear()
  const place = { unit: parseCgroup(text), userSlice: parseUserSlice(text) }
  places.set(text, place)
  return place
}

const pathIn = (text: string): string[] => {
  const lines = text.split('\n')
  const line = lines.find(l => /^\d+:name=systemd:\//.test(l)) ?? lines.find(l => l.startsWith('0::/'))
  return (line?.slice(line.indexOf(':/') + 2) ?? '').split('/')
}

const SLICE = /^[\w:.\\@-]+\.slice$/
/** Unit types that hold processes, in the characters of systemd.unit(5). ` (deleted)` and `..` do not match. */
const UNIT = /^[\w:.\\@-]+\.(?:service|scope|socket|mount|swap)$/

const ask = (fd: number, pidFdOf: (fd: number) => number | undefined) => {
  try {
    return { credentials: peerCredentials(fd), groups: peerGroups(fd), pidfd: pidFdOf(fd) }
  } catch (error) {
    throw new Failure('peer-gone', 'the kernel does not tell who is calling', { cause: error })
  }
}

type Life = Pick<Attested, 'assertAlive' | 'release'>

const watchPidFd = (pidfd: number): Life => {
  let released = false
  return {
    assertAlive() {
      if (released || !isPidFdAlive(pidfd)) throw new Failure('peer-gone', 'the calling process has ended')
    },
    release() {
      if (released) return
      released = true
      closeSync(pidfd)
    },
  }
}

const watchStartTime = (pid: number, acceptedMs: number): Life => {
  const startedTicks = findStartTicks(pid)
  let released = false
  return {
    assertAlive() {
      const hiding = startedTicks === undefined ? findHiding(pid) : undefined
      if (hiding !== undefined) throw new Failure('peer-gone', `process ${pid} is hidden: ${hiding}`)
      if (released || startedTicks === undefined || findStartTicks(pid) !== startedTicks) {
        throw new Failure('peer-gone', `process ${pid} has ended`)
      }
      if (startedTicks * TICK_MS > acceptedMs) {
        throw new Failure('peer-gone', `process ${pid} started after the connection was made`)
      }
    },
    release() {
      released = true
    },
  }
}

/** USER_HZ is 100 on every architecture that Node runs on. */
const TICK_MS = 10

/** Field 22 of proc_pid_stat(5), counted from behind the command, which may hold blanks and parentheses. Zombies have ended. */
const findStartTicks = (pid: number): number | undefined => {
  const text = readProc(pid, 'stat')
  if (!text) return undefined
  let at = text.lastIndexOf(')') + 2
  if (text[at] === 'Z' || text[at] === 'X') return undefined
  // Not split: fifty texts for each connection would be most of what it leaves to the garbage collector.
  for (let field = 3; field < 22; field += 1) at = text.indexOf(' ', at) + 1
  return Number(text.slice(at, text.indexOf(' ', at)))
}

const cgroupOf = (pid: number): string => readProc(pid, 'cgroup') ?? ''

/** Undefined where the process is gone or hidden from us: then there is no unit, and the second look at it decides. */
const readProc = (pid: number, file: 'stat' | 'status' | 'cgroup'): string | undefined => {
  if (pid <= 0) return undefined
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return undefined
  }
}

/** The descriptor of a socket or a server, for which Node has no call; -1 once it is closed. */
export const fdOf = (socket: object): number => {
  const handle: unknown = Reflect.get(socket, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  return typeof fd === 'number' ? fd : -1
}
