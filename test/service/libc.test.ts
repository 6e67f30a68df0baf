import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Session } from 'node:inspector/promises'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { createServer, connect, type Socket } from 'node:net'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  bootTimeMs,
  duplicate,
  findGroup,
  findUser,
  groupName,
  groupsOfUser,
  hasHungUp,
  isPidFdAlive,
  peerCredentials,
  peerGroups,
  peerName,
  peerPidFd,
  setCloseOnExec,
  tryLock,
  userName,
} from '../../src/service/libc.ts'

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
  t.teardown(() => closeSync(pidfd))
  t.true(isPidFdAlive(pidfd))
  t.regex(readFileSync(`/proc/self/fdinfo/${pidfd}`, 'utf8'), new RegExp(`^Pid:\\s*${child.pid}$`, 'm'))
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.false(isPidFdAlive(pidfd))
})

test('signals on their way do not make a process that lives look like one that ended', async t => {
  const pidfd = peerPidFd(descriptor(await pair(t)))
  if (pidfd === undefined) {
    t.regex(release(), /^(?:[1-5]|6\.[0-4])\./)
    return
  }
  t.teardown(() => closeSync(pidfd))
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
  t.teardown(() => closeSync(pidfd))
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

test('the time since boot is on the scale of the start times in /proc, in milliseconds', t => {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  const startedMs = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) * 10
  const aliveMs = bootTimeMs() - startedMs
  // Node counts from a moment later; that took less than a minute.
  const ownMs = process.uptime() * 1000
  t.true(aliveMs >= ownMs - 20 && aliveMs < ownMs + 60_000, `${aliveMs} ms, by Node ${ownMs} ms`)
})

test('a duplicate outlives what it was made of, and is not handed on', t => {
  const fd = openSync(join(folder, 'duplicated'), 'w+')
  const copy = duplicate(fd)
  t.teardown(() => closeSync(copy))
  closeSync(fd)
  writeSync(copy, 'still there')
  t.is(readFileSync(join(folder, 'duplicated'), 'utf8'), 'still there')
  const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${copy}`, 'utf8'))?.[1] ?? ''
  t.is(Number.parseInt(flags, 8) & 0o2000000, 0o2000000, 'O_CLOEXEC')
  t.throws(() => duplicate(1_000_000), { code: 'EBADF' })
  t.throws(() => setCloseOnExec(1_000_000), { code: 'EBADF' })
})

/** Without the effective one, which Node may add. */
const ownGroups = (): number[] =>
  (/^Groups:[ \t]*(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '')
    .split(' ')
    .filter(Boolean)
    .map(Number)

test('a peer in more groups than there is room for at first is in all of them', async t => {
  const path = join(folder, 'groups.sock')
  const server = createServer().listen({ path, readableAll: true, writableAll: true })
  await once(server, 'listening')
  t.teardown(() => server.close())
  // Only root can give a process groups; anyone else has those they have.
  const isRoot = process.getuid?.() === 0
  const groups = isRoot ? Array.from({ length: 100 }, (_, at) => 7_000 + at) : ownGroups()
  const change = isRoot ? ['setpriv', '--groups', groups.join(',')] : []
  const code = `require('node:net').connect(${JSON.stringify(path)})`
  const [program, ...words] = [...change, process.execPath, '-e', code]
  const child = spawn(program, words, { stdio: 'ignore' })
  t.teardown(() => child.kill('SIGKILL'))
  const [socket] = await once(server, 'connection')
  t.teardown(() => socket.destroy())
  t.deepEqual(new Set(peerGroups(descriptor(socket))), new Set(groups))
  // What was asked about before does not show through.
  t.deepEqual(peerCredentials(descriptor(socket)).pid, child.pid)
})

test('the address that a peer bound is told, and none where it bound none', async t => {
  const path = join(folder, 'named.sock')
  const server = createServer().listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  const name = `ghconnect-test-${process.pid}/unit/a.service`
  const code = `import socket, sys
for name in ['\\0' + sys.argv[2], sys.argv[3], None]:
  s = socket.socket(socket.AF_UNIX)
  if name: s.bind(name)
  s.connect(sys.argv[1])
  s.recv(1)`
  const bound = join(folder, 'bound')
  const child = spawn('python3', ['-c', code, path, name, bound], { stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'close')
  for (const expected of [`\0${name}`, `${bound}\0`, '']) {
    const [socket] = await once(server, 'connection')
    t.is(peerName(descriptor(socket)), expected)
    socket.end('x')
  }
  await ended
})

test('another program takes the place of this one with its arguments and environment, or the error says why not', async t => {
  const libc = join(import.meta.dirname, '../../src/service/libc.ts')
  const code = `
    import { execute } from ${JSON.stringify(libc)}
    try {
      execute('/nonexistent/program', ['x'], {})
    } catch (error) {
      console.log(error.code)
    }
    const script = 'printf "%s " "$0" "$1" "$GIVEN" "\${PATH-unset}" "$$"; grep SigIgn /proc/self/status'
    execute('/bin/sh', ['sh', '-c', script, 'zero', 'a b'], { GIVEN: 'x=y', PATH: '/usr/bin:/bin', ABSENT: undefined })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  await once(child, 'close')
  t.regex(output, new RegExp(`^ENOENT\nzero a b x=y /usr/bin:/bin ${child.pid} SigIgn:\\s+0+\n$`))
})

test('a process can make itself non-dumpable', async t => {
  const libc = join(import.meta.dirname, '../../src/service/libc.ts')
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
