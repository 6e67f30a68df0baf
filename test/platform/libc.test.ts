import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Session } from 'node:inspector/promises'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer, connect, type Socket } from 'node:net'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  bootTimeMs,
  closeFd,
  findGroup,
  findUser,
  groupName,
  groupsOfUser,
  hasHungUp,
  isPidFdAlive,
  peerCredentials,
  peerGroups,
  peerPidFd,
  pidOfPidFd,
  tryLock,
  userName,
} from '../../src/platform/libc.ts'

const folder = mkdtempSync(join(tmpdir(), 'libc-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const descriptor = (socket: Socket): number => Number(Reflect.get(Reflect.get(socket, '_handle'), 'fd'))

/** Both ends of a unix socket. */
const bothEnds = async (t: ExecutionContext): Promise<{ accepted: Socket; client: Socket }> => {
  const path = join(folder, `${Math.random()}.sock`)
  const server = createServer().listen(path)
  await once(server, 'listening')
  const client = connect(path)
  const [accepted] = await once(server, 'connection')
  t.teardown(() => (client.destroy(), accepted.destroy(), server.close()))
  return { accepted, client }
}
const pair = async (t: ExecutionContext): Promise<Socket> => (await bothEnds(t)).accepted

/** A child that connects and stays; killed at the end of the test. */
const connectChild = async (t: ExecutionContext) => {
  const path = join(folder, `${Math.random()}.sock`)
  const server = createServer().listen(path)
  await once(server, 'listening')
  const code = `require('node:net').connect(${JSON.stringify(path)})`
  const child: ChildProcess = spawn(process.execPath, ['-e', code], { stdio: 'ignore' })
  const [socket] = await once(server, 'connection')
  t.teardown(() => (child.kill('SIGKILL'), socket.destroy(), server.close()))
  return { child, fd: descriptor(socket) }
}

test('the peer of our own connection is this process, with its groups', async t => {
  const fd = descriptor(await pair(t))
  t.deepEqual(peerCredentials(fd), {
    pid: process.pid,
    uid: process.getuid?.() ?? -1,
    gid: process.getgid?.() ?? -1,
  })
  const status = readFileSync('/proc/self/status', 'utf8')
  const groups = /^Groups:([ \t\d]*)$/m.exec(status)?.[1]?.split(/\s/).filter(Boolean).map(Number)
  t.deepEqual(new Set(peerGroups(fd)), new Set(groups))
})

test('a pidfd of the peer tells that it lives, and that it ended', async t => {
  const { child, fd } = await connectChild(t)
  t.is(peerCredentials(fd).pid, child.pid ?? -1)
  const pidfd = peerPidFd(fd)
  if (pidfd === undefined) {
    t.regex(release(), /^(?:[1-5]|6\.[0-4])\./)
    return
  }
  t.teardown(() => closeFd(pidfd))
  t.true(isPidFdAlive(pidfd))
  t.is(pidOfPidFd(pidfd), child.pid)
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.false(isPidFdAlive(pidfd))
  t.is(pidOfPidFd(pidfd), undefined)
})

test('signals on their way do not make a process that lives look like one that ended', async t => {
  const pidfd = peerPidFd(descriptor(await pair(t)))
  if (pidfd === undefined) {
    t.regex(release(), /^(?:[1-5]|6\.[0-4])\./)
    return
  }
  t.teardown(() => closeFd(pidfd))
  // The profiler interrupts this very thread by a signal, again and again.
  const session = new Session()
  session.connect()
  t.teardown(() => session.disconnect())
  await session.post('Profiler.enable')
  await session.post('Profiler.setSamplingInterval', { interval: 50 })
  await session.post('Profiler.start')
  for (let i = 0; i < 200_000; i++) isPidFdAlive(pidfd)
  const { profile } = await session.post('Profiler.stop')
  t.true((profile.samples?.length ?? 0) > 100)
})

test('a peer that has closed its end has hung up; one that only ended its half, or sent something, has not', async t => {
  const { accepted, client } = await bothEnds(t)
  const fd = descriptor(accepted)
  t.false(hasHungUp(fd))
  await new Promise(sent => client.write('something', sent))
  t.false(hasHungUp(fd))
  await new Promise<void>(ended => client.end(ended))
  t.false(hasHungUp(fd))
  accepted.pause()
  client.destroy()
  await once(client, 'close')
  t.true(hasHungUp(fd))
})

test('asking whether a process lives takes a few microseconds', async t => {
  const pidfd = peerPidFd(descriptor(await pair(t)))
  if (pidfd === undefined) {
    t.regex(release(), /^(?:[1-5]|6\.[0-4])\./)
    return
  }
  t.teardown(() => closeFd(pidfd))
  const rounds = 20_000
  const begun = process.hrtime.bigint()
  for (let i = 0; i < rounds; i++) isPidFdAlive(pidfd)
  const microseconds = Number(process.hrtime.bigint() - begun) / 1000 / rounds
  t.log(`${microseconds.toFixed(2)} µs`)
  t.true(microseconds < 50)
})

test('what is no socket has no peer', t => {
  const fd = openSync('/dev/null', 'r')
  t.teardown(() => closeSync(fd))
  t.throws(() => peerCredentials(fd), { code: 'ENOTSOCK' })
})

test('a lock is had once, and again after its descriptor is closed', t => {
  const path = join(folder, 'lock')
  const first = openSync(path, 'w')
  const second = openSync(path, 'w')
  t.teardown(() => closeSync(second))
  t.true(tryLock(first))
  t.false(tryLock(second))
  closeSync(first)
  t.true(tryLock(second))
})

test('users and groups are found by name and id, and absent ones are absent', t => {
  t.deepEqual(findUser('root'), { uid: 0, gid: 0 })
  t.is(findGroup('root'), 0)
  t.is(userName(0), 'root')
  t.is(groupName(0), 'root')
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find(l => l.startsWith('www-data:'))
  const [, , uid, gid] = line?.split(':') ?? []
  t.deepEqual(findUser('www-data'), { uid: Number(uid), gid: Number(gid) })
  t.is(findUser('no-such-user-here'), undefined)
  t.is(findGroup('no-such-group-here'), undefined)
  t.is(userName(3_999_999_999), undefined)
  t.true(groupsOfUser('www-data', Number(gid)).includes(Number(gid)))
  t.deepEqual(groupsOfUser('no-such-user-here', 7), [7])
})

test('the time since boot includes this process', t => {
  t.true(bootTimeMs() > process.uptime() * 1000)
})

test('a process can make itself non-dumpable', async t => {
  const libc = join(import.meta.dirname, '../../src/platform/libc.ts')
  const code = `
    import { isDumpable, setNonDumpable } from ${JSON.stringify(libc)}
    const before = isDumpable()
    setNonDumpable()
    console.log(before, isDumpable())`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = await once(child.stdout, 'data')
  t.is(String(line), 'true false\n')
})
