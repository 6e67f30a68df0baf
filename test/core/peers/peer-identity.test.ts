// A peer is the process that connected, and no other: one that ends meanwhile, a zombie, and whoever got its pid or descriptor later.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs, { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { peerPidFd } from '../../../src/service/libc.ts'
import { createAttest, findProcess } from '../../../src/core/peers/peer.ts'

const folder = mkdtempSync(join(tmpdir(), 'peer-identity-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const CALL = "require('node:net').connect(process.argv[1])"

const called = async (
  t: ExecutionContext,
  code = CALL,
): Promise<{ child: ChildProcess; pid: number; socket: Socket }> => {
  const path = join(folder, `${Math.random()}.sock`)
  const server = createServer().listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  const child = spawn(process.execPath, ['-e', code, path], { stdio: 'ignore' })
  const [socket]: Socket[] = await once(server, 'connection')
  t.teardown(() => (child.kill('SIGKILL'), socket?.destroy()))
  if (!socket || child.pid === undefined) throw new Error('no connection')
  return { child, pid: child.pid, socket }
}

const CALL_UNDER_A_NAME = `process.title = 'x) Z 1 (2 3'; ${CALL}`

const stateOf = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0] ?? ''

/** The first thread may be a zombie before the others have ended; the process is one only after them. */
const isZombie = (pid: number): boolean => stateOf(pid) === 'Z' && readdirSync(`/proc/${pid}/task`).length === 1

/** Ends it, and returns when it is a zombie: nobody can reap it before this process gets to its events. */
const endNow = (pid: number): void => {
  process.kill(pid, 'SIGKILL')
  while (!isZombie(pid)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
}

const pidFds = (): string[] =>
  readdirSync('/proc/self/fd').filter(name => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`) === 'anon_inode:[pidfd]'
    } catch {
      return false
    }
  })

test.serial('a process that ends while its unit is read is refused, as the next one may have its pid', async t => {
  const { pid, socket } = await called(t)
  const attest = createAttest({
    peerPidFd: () => undefined,
    // Asked after the first look at the process, before its unit is read.
    weakPid: () => (endNow(pid), true),
  })
  t.throws(() => attest(socket), { code: 'peer-gone' })
})

test.serial('a process that has ended is gone, though its parent has not asked for its exit code yet', async t => {
  const { pid, socket } = await called(t)
  const attested = createAttest({ weakPid: () => true, peerPidFd: () => undefined })(socket)
  t.notThrows(() => attested.assertAlive())
  endNow(pid)
  t.throws(() => attested.assertAlive(), { code: 'peer-gone' })
})

/** Where root may say which pid comes next. */
const LAST_PID = '/proc/sys/kernel/ns_last_pid'
const mayChoosePids = (): boolean => {
  try {
    writeFileSync(LAST_PID, readFileSync(LAST_PID, 'utf8'))
    return true
  } catch {
    return false
  }
}

/** Other processes of the machine may take the number first: then it is tried again. */
const startAs = (t: ExecutionContext, pid: number): void => {
  for (let tries = 0; tries < 500; tries++) {
    writeFileSync(LAST_PID, String(pid - 1))
    const child = spawn('sleep', ['600'], { stdio: 'ignore' })
    t.teardown(() => child.kill('SIGKILL'))
    if (child.pid === pid) return
    child.kill('SIGKILL')
  }
  throw new Error(`another process has the pid ${pid}`)
}

const testOfPids = mayChoosePids() ? test.serial : test.serial.skip

testOfPids('a process that got the pid of the peer is not the peer, though it is alive', async t => {
  const { child, pid, socket } = await called(t)
  const attested = createAttest({ weakPid: () => true, peerPidFd: () => undefined })(socket)
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
  startAs(t, pid)
  t.not(stateOf(pid), 'Z')
  t.throws(() => attested.assertAlive(), { code: 'peer-gone' })
})

test.serial('without a pidfd the unit is withheld, and that is said, unless weak_pid is set', async t => {
  const { socket } = await called(t)
  const attest = (weakPid: boolean) => createAttest({ weakPid: () => weakPid, peerPidFd: () => undefined })(socket).peer
  t.true(attest(false).unitWithheld)
  t.is(attest(false).unit, undefined)
  t.is(attest(true).unitWithheld, undefined)
})

test.serial('the name that a process gives itself is not read as what the kernel says of it', async t => {
  const { pid, socket } = await called(t, CALL_UNDER_A_NAME)
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  t.true(text.startsWith(`${pid} (x) Z 1 (2 3) `), text)
  const attested = createAttest({ weakPid: () => true, peerPidFd: () => undefined })(socket)
  t.is(attested.peer.startTicks, Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[19]))
  attested.release()
  t.throws(() => attested.assertAlive(), { code: 'peer-gone' }, 'without a pidfd, too, nothing is known after it')
})

test.serial('a process that acts as another user is told as that one, as its socket would', async t => {
  if (process.getuid?.() !== 0) {
    t.pass('only root can act as another user')
    return
  }
  const code = `import os, sys
os.setgroups([7, 9])
os.setegid(65533)
os.seteuid(65534)
print('there', flush=True)
sys.stdin.read()`
  const child = spawn('python3', ['-c', code], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  t.like(findProcess(child.pid ?? 0), { uid: 65_534, gid: 65_533, groups: [7, 9] })
})

/** The same process, had it started one tick later: field 22. */
const laterOf = (stat: string): string => {
  const fields = stat.split(' ')
  fields[21] = String(Number(fields[21]) + 1)
  return fields.join(' ')
}

/** What /proc tells of this process in the place of the truth; undefined: it hides it. */
const pretend = (t: ExecutionContext, pid: number, file: string, tell: (real: string) => string | undefined): void => {
  const { readFileSync: read } = fs
  const path = `/proc/${pid}/${file}`
  const pretending = (...given: Parameters<typeof read>) => {
    if (given[0] !== path) return read(...given)
    const told = tell(String(read(path)))
    if (told === undefined) throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' })
    return told
  }
  Object.assign(fs, { readFileSync: pretending })
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(fs, { readFileSync: read })
    syncBuiltinESMExports()
  })
}

test.serial('a peer in the session of a user tells whose it is, whatever pid had which place before', async t => {
  const { pid, socket } = await called(t)
  const places = [
    ['0::/user.slice/user-4242.slice/session-9.scope\n', 'session-9.scope', 4242],
    ['0::/system.slice/a.service\n', 'a.service', undefined],
    ['0::/user.slice/user-7.slice/user@7.service/app.slice/b.service\n', 'user@7.service', 7],
    // More than are remembered.
    ...Array.from(
      { length: 300 },
      (_, at) => [`0::/system.slice/c${at}.service\n`, `c${at}.service`, undefined] as const,
    ),
  ] as const
  let place = ''
  pretend(t, pid, 'cgroup', () => place)
  const attest = createAttest({ weakPid: () => false })
  for (const [text, unit, userSlice] of [...places, ...places.slice(0, 3)]) {
    place = text
    const { peer, release } = attest(socket)
    release()
    t.deepEqual([peer.unit, peer.userSlice], [unit, userSlice])
  }
  place = places[0][0]
  const withheld = createAttest({ weakPid: () => false, peerPidFd: () => undefined })(socket).peer
  t.deepEqual([withheld.unit, withheld.userSlice], [undefined, 4242], 'whose it is, is told all the same')
})

test.serial('a process whose pid became that of another one while it was looked at is not found', async t => {
  const { pid } = await called(t)
  t.is(findProcess(pid)?.pid, pid)
  let looks = 0
  pretend(t, pid, 'stat', real => (looks++ === 0 ? real : laterOf(real)))
  t.is(findProcess(pid), undefined)
})

test.serial('without a pidfd, a process that /proc hides is said to be hidden, not to have ended', async t => {
  const { pid, socket } = await called(t)
  pretend(t, pid, 'stat', () => undefined)
  const attest = createAttest({ weakPid: () => true, peerPidFd: () => undefined })
  t.throws(() => attest(socket), { code: 'peer-gone', message: /^process \d+ is hidden: \/proc hides/ })
})

test.serial('without a pidfd, a process that started after the connection was accepted is not the peer', async t => {
  const { pid, socket } = await called(t)
  const startedMs = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[21]) * 10
  const attest = (acceptedMs: number) =>
    createAttest({ weakPid: () => true, peerPidFd: () => undefined, bootTimeMs: () => acceptedMs })(socket)
  t.throws(() => attest(startedMs - 100), { code: 'peer-gone', message: /started after the connection/ })
  t.is(attest(startedMs + 100).peer.pid, pid)
})

test.serial('once it was given back, a descriptor says nothing of the peer, whoever has its number now', async t => {
  const attest = createAttest({ weakPid: () => false })
  const [one, two] = [await called(t), await called(t)]
  const first = attest(one.socket)
  const [number] = pidFds()
  first.release()
  const second = attest(two.socket)
  t.teardown(() => second.release())
  t.deepEqual(pidFds(), [number], 'the kernel gives the number to the next')
  t.throws(() => first.assertAlive(), { code: 'peer-gone' })
  t.notThrows(() => second.assertAlive())
})

test.serial('a peer that is refused leaves no descriptor open', async t => {
  const { pid, socket } = await called(t)
  const before = pidFds()
  const attest = createAttest({
    weakPid: () => false,
    peerPidFd(fd) {
      const pidfd = peerPidFd(fd)
      endNow(pid)
      return pidfd
    },
  })
  t.throws(() => attest(socket), { code: 'peer-gone' })
  t.deepEqual(pidFds(), before)
})
