// The few calls that Node does not have, straight to glibc (x64 and arm64 Linux). Owns koffi; no other file calls natively.

import { closeSync, constants as files } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import type koffiModule from 'koffi'

export type Credentials = { readonly pid: number; readonly uid: number; readonly gid: number }

/** The pid (0: in no namespace of ours), uid and gid with which the peer connected. Throws a system error with its `code`. */
export const peerCredentials = (fd: number): Credentials => {
  const { error, words } = getOption(fd, { option: SO_PEERCRED, words: 3 })
  if (error !== undefined) throw systemError('getsockopt(SO_PEERCRED)', error)
  const [pid = 0, uid = 0, gid = 0] = words
  return { pid, uid, gid }
}

/** The supplementary groups with which the peer connected. Throws a system error with its `code`. */
export const peerGroups = (fd: number): number[] => {
  for (let room = 64; ; ) {
    const { error, words, needed } = getOption(fd, { option: SO_PEERGROUPS, words: room })
    if (error === undefined) return [...words]
    if (error !== ERANGE || needed <= room) throw systemError('getsockopt(SO_PEERGROUPS)', error)
    room = needed
  }
}

/**
 * A descriptor of the peer's process, to be closed by the caller; undefined where the kernel has none to give (below 6.5).
 * Throws a system error with its `code` where the process is gone.
 */
export const peerPidFd = (fd: number): number | undefined => {
  const { error, words } = getOption(fd, { option: SO_PEERPIDFD, words: 1 })
  if (error === ENOPROTOOPT) return undefined
  if (error !== undefined) throw systemError('getsockopt(SO_PEERPIDFD)', error)
  return words[0]
}

/** Whether the process behind a pidfd has not exited yet. A pidfd becomes readable with the exit, before its pid is free again. */
export const isPidFdAlive = (pidfd: number): boolean => pollNow(pidfd, POLLIN) === 0

/** Whether the peer of a unix socket has closed its end, so that it hears nothing any more; one that only ended its half has not. */
export const hasHungUp = (fd: number): boolean => (pollNow(fd, 0) & POLLHUP) !== 0

/** The events that a descriptor is ready for, of those wanted and of those that poll(2) always tells. Throws a system error with its `code`. */
const pollNow = (fd: number, events: number): number => {
  const calls = native()
  for (;;) {
    pollRequest[0] = fd
    pollRequest[1] = events
    // Linux runs x64 and arm64 little-endian: the returned events are the upper half.
    if (calls.poll(pollRequest, 1, 0) >= 0) return pollRequest[1] >>> 16
    const error = calls.errno()
    // A signal that is on its way interrupts it, though it does not wait.
    if (error !== EINTR) throw systemError('poll', error)
  }
}

/** Keeps a descriptor that was handed to us from being handed on to children. */
export const setCloseOnExec = (fd: number): void => {
  checked('fcntl', native().fcntl(fd, F_SETFD, FD_CLOEXEC))
}

/** Another descriptor of the same, which children do not get. Throws a system error with its `code`. */
export const duplicate = (fd: number): number => checked('fcntl', native().fcntl(fd, F_DUPFD_CLOEXEC, 0))

/** Takes the exclusive lock of an open file (flock) until the descriptor is closed; false where another holds it. */
export const tryLock = (fd: number): boolean => {
  const calls = native()
  for (;;) {
    if (calls.flock(fd, LOCK_EX | LOCK_NB) === 0) return true
    const error = calls.errno()
    if (error === EAGAIN) return false
    if (error !== EINTR) throw systemError('flock', error)
  }
}

/**
 * The address that a unix socket's peer bound before it connected: a path, or a name that begins with NUL in the abstract
 * namespace; empty where it bound none. Anybody may bind any abstract name. Throws a system error with its `code`.
 */
export const peerName = (fd: number): string => {
  const address = Buffer.alloc(SOCKADDR_BYTES)
  const length = new Uint32Array([address.length])
  checked('getpeername', native().getpeername(fd, address, length))
  return address.subarray(2, length[0]).toString()
}

/**
 * Puts another program in this process's place, with standard input, output and error as they came. Does not return, unless it throws a system error
 * with its `code`; then this process goes on as before. `path`: the file itself, PATH is not searched.
 */
export const execute = (
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): never => {
  const calls = native()
  // What Node changed for itself and a program inherits: signals ignored or (--disable-sigusr1) blocked, and what it set on the streams.
  for (const signal of IGNORED_BY_NODE) calls.signal(signal, SIG_DFL)
  calls.sigprocmask(SIG_SETMASK, Buffer.alloc(SIGSET_BYTES), null)
  for (const fd of [0, 1, 2]) {
    calls.fcntl(fd, F_SETFL, calls.fcntl(fd, F_GETFL, 0) & ~files.O_NONBLOCK)
    calls.fcntl(fd, F_SETFD, 0)
  }
  const pairs = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
  calls.execve(path, [...args, null], [...pairs, null])
  const error = calls.errno()
  for (const signal of IGNORED_BY_NODE) calls.signal(signal, SIG_IGN)
  throw systemError(`execve ${path}`, error)
}

/** Sends one datagram, as sd_notify(3) does, to a path or to `@name` in the abstract namespace. Throws a system error with its `code`. */
export const notify = (address: string, text: string): void => {
  const name = Buffer.from(address)
  if (name.length === 0 || name.length > 107) throw systemError(`the address ${address}`, EINVAL)
  const abstract = address.startsWith('@')
  if (abstract) name[0] = 0
  const family = Buffer.alloc(2)
  family[0] = AF_UNIX
  const destination = Buffer.concat([family, name, Buffer.alloc(abstract ? 0 : 1)])
  const payload = Buffer.from(text)
  const calls = native()
  const fd = checked('socket', calls.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0))
  try {
    const sent = calls.sendto(fd, payload, payload.length, MSG_NOSIGNAL, destination, destination.length)
    checked(`sendto ${address}`, sent)
  } finally {
    closeSync(fd)
  }
}

/** No core dumps, no ptrace by others of the same user, /proc/self/mem for root alone. */
export const setNonDumpable = (): void => {
  checked('prctl', native().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
}

export const isDumpable = (): boolean => native().prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) === 1

// There is no mlockall here: V8 gives pages back with madvise, which fails on locked ones, and V8 aborts at the next
// collection (seen on Node 26). The unit keeps secrets out of the swap with MemorySwapMax=0.

/** By way of NSS, so that users of a directory service are found as well. Throws where the look-up itself fails. */
export const findUser = (name: string): { uid: number; gid: number } | undefined => {
  const entry = lookUp(`user ${name}`, calls => calls.getpwnam(name))
  return entry && { uid: entry.id, gid: entry.gid }
}

export const findGroup = (name: string): number | undefined =>
  lookUp(`group ${name}`, calls => calls.getgrnam(name))?.id

/** All groups that a login of the user is in, its own (`gid`) among them. */
export const groupsOfUser = (name: string, gid: number): number[] => {
  const calls = native()
  for (let size = FEW_GROUPS; ; size = MAX_GROUPS) {
    const count = new Int32Array([size])
    const groups = new Uint32Array(size)
    // Where there are more than the kernel lets a process have, those that fit are told.
    if (calls.getgrouplist(name, gid, groups, count) < 0 && size < MAX_GROUPS) continue
    return [...groups.subarray(0, Math.min(count[0] ?? 0, size))]
  }
}

export const userName = (uid: number): string | undefined => lookUp(`user ${uid}`, calls => calls.getpwuid(uid))?.name

export const groupName = (gid: number): string | undefined => lookUp(`group ${gid}`, calls => calls.getgrgid(gid))?.name

/** Milliseconds since the boot, sleep included: what start times in /proc are counted in. (/proc/uptime is hidden by `ProcSubset=pid`.) */
export const bootTimeMs = (): number => {
  checked('clock_gettime', native().clock_gettime(CLOCK_BOOTTIME, timespec))
  return Math.floor(Number(timespec[0]) * 1000 + Number(timespec[1]) / 1e6)
}

/** A line of passwd (`id` is the uid) or group (`id` is the gid, and `gid` means nothing). */
type Entry = { readonly name: string; readonly id: number; readonly gid: number }

type Call<Arguments extends unknown[]> = (...given: Arguments) => number

type Native = ReturnType<typeof bind>

let bound: Native | undefined

/** Loading koffi costs 8 ms: it is done at the first call. */
const native = (): Native => (bound ??= bind())

const bind = () => {
  const koffi: typeof koffiModule = createRequire(import.meta.url)('koffi')
  const libc = koffi.load('libc.so.6')
  // The heads of both structs are alike: name, password, id, and for passwd the gid. The list of members is not looked at.
  const head = koffi.struct({ name: 'str', password: 'str', id: 'uint32_t', gid: 'uint32_t' })
  const finder = (symbol: string, argument: string) => {
    const find: (key: string | number) => unknown = libc.func(symbol, koffi.pointer(head), [argument])
    return (key: string | number): Entry | undefined => {
      const pointer = find(key)
      return pointer === null ? undefined : koffi.decode(pointer, head)
    }
  }
  return {
    getsockopt: libc.func('int getsockopt(int fd, int level, int name, uint32_t *value, uint32_t *length)') as Call<
      [number, number, number, Uint32Array, Uint32Array]
    >,
    poll: libc.func('int poll(int *request, unsigned long count, int timeout)') as Call<[Int32Array, number, number]>,
    fcntl: libc.func('int fcntl(int fd, int command, int argument)') as Call<[number, number, number]>,
    flock: libc.func('int flock(int fd, int operation)') as Call<[number, number]>,
    socket: libc.func('int socket(int domain, int type, int protocol)') as Call<[number, number, number]>,
    sendto: libc.func(
      'long sendto(int fd, uint8_t *bytes, size_t size, int flags, uint8_t *to, uint32_t toSize)',
    ) as Call<[number, Buffer, number, number, Buffer, number]>,
    getpeername: libc.func('int getpeername(int fd, uint8_t *address, uint32_t *length)') as Call<
      [number, Buffer, Uint32Array]
    >,
    execve: libc.func('int execve(str path, const char **args, const char **env)') as Call<
      [string, readonly (string | null)[], readonly (string | null)[]]
    >,
    sigprocmask: libc.func('int sigprocmask(int how, uint8_t *set, void *old)') as Call<[number, Buffer, null]>,
    signal: libc.func('void *signal(int signal, intptr_t handler)') as Call<[number, number]>,
    prctl: libc.func(
      'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
    ) as Call<[number, number, number, number, number]>,
    clock_gettime: libc.func('int clock_gettime(int clock, int64_t *time)') as Call<[number, BigInt64Array]>,
    getgrouplist: libc.func('int getgrouplist(str user, uint32_t group, uint32_t *groups, int *count)') as Call<
      [string, number, Uint32Array, Int32Array]
    >,
    getpwnam: finder('getpwnam', 'str'),
    getpwuid: finder('getpwuid', 'uint32_t'),
    getgrnam: finder('getgrnam', 'str'),
    getgrgid: finder('getgrgid', 'uint32_t'),
    /** The error of the last call; given a number, sets it. */
    errno: koffi.errno,
  }
}

/** `needed`: how many words the kernel wants to write, where it says ERANGE. The words are good until the next call. */
const getOption = (
  fd: number,
  asked: { option: number; words: number },
): { error?: number; words: Uint32Array; needed: number } => {
  const calls = native()
  // Made anew for each connection they would be most of what it leaves to the garbage collector.
  const words = asked.words > optionWords.length ? new Uint32Array(asked.words) : optionWords
  optionLength[0] = asked.words * words.BYTES_PER_ELEMENT
  const failed = calls.getsockopt(fd, SOL_SOCKET, asked.option, words, optionLength) < 0
  const needed = (optionLength[0] ?? 0) / words.BYTES_PER_ELEMENT
  return failed ? { error: calls.errno(), words, needed } : { words: words.subarray(0, needed), needed }
}

const lookUp = (what: string, find: (calls: Native) => Entry | undefined): Entry | undefined => {
  const calls = native()
  calls.errno(0)
  const entry = find(calls)
  const error = calls.errno()
  // getpwnam(3): "not found" comes with any of these, an unreachable directory service with others.
  if (!entry && ![0, ENOENT, ESRCH, EBADF, EPERM].includes(error)) throw systemError(`looking up ${what}`, error)
  return entry
}

/** What a call gave, unless it failed: then a system error. */
const checked = (what: string, result: number): number => {
  if (result < 0) throw systemError(what, native().errno())
  return result
}

const systemError = (what: string, errno: number): NodeJS.ErrnoException => {
  const code = getSystemErrorName(-errno)
  return Object.assign(new Error(`${what}: ${code}`), { code, errno })
}

const optionWords = new Uint32Array(64)
const optionLength = new Uint32Array(1)

/** struct pollfd as two words: the descriptor, then wanted and returned events. The call is synchronous, so one will do. */
const pollRequest = new Int32Array(2)

/** struct timespec: seconds and nanoseconds. One will do here, too. */
const timespec = new BigInt64Array(2)

const CLOCK_BOOTTIME = 7
const [SOCKADDR_BYTES, SIGSET_BYTES, SIG_SETMASK, SIG_DFL, SIG_IGN] = [110, 128, 2, 0, 1]
const IGNORED_BY_NODE = [constants.signals.SIGPIPE, constants.signals.SIGXFSZ]
const [F_GETFL, F_SETFL] = [3, 4]
/** Room for all groups would be 256 KiB a call outside of the heap: it is made for those few users alone that have more. */
const FEW_GROUPS = 64
const MAX_GROUPS = 65_536
const [SOL_SOCKET, SO_PEERCRED, SO_PEERGROUPS, SO_PEERPIDFD] = [1, 17, 59, 77]
const [AF_UNIX, SOCK_DGRAM, SOCK_CLOEXEC, MSG_NOSIGNAL] = [1, 2, 0o2000000, 0x4000]
const [LOCK_EX, LOCK_NB, F_SETFD, F_DUPFD_CLOEXEC, FD_CLOEXEC] = [2, 4, 2, 1_030, 1]
const [POLLIN, POLLHUP] = [1, 16]
const [PR_GET_DUMPABLE, PR_SET_DUMPABLE] = [3, 4]
const { EPERM, ENOENT, ESRCH, EINTR, EBADF, EAGAIN, EINVAL, ERANGE, ENOPROTOOPT } = constants.errno
