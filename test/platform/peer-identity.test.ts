// A peer is the process that connected, and no other: one that ends meanwhile, a zombie, and whoever got its pid or descriptor later.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { peerPidFd } from '../../src/platform/libc.ts'
import { createAttest } from '../../src/platform/peer.ts'

const folder = mkdtempSync(join(tmpdir(), 'peer-identity-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const CALL = "require('node:net').connect(process.argv[1])"

const called = async (t: ExecutionContext): Promise<{ child: ChildProcess; pid: number; socket: Socket }> => {
  const path = join(folder, `${Math.random()}.sock`)
  const server = createServer().listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  const child = spawn(process.execPath, ['-e', CALL, path], { stdio: 'ignore' })
  const [socket]: Socket[] = await once(server, 'connection')
  t.teardown(() => (child.kill('SIGKILL'), socket?.destroy()))
  if (!socket || child.pid === undefined) throw new Error('no connection')
  return { child, pid: child.pid, socket }
}

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
