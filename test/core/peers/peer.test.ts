import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as fc from 'fast-check'
import { createAttest, parseCgroup } from '../../../src/core/peers/peer.ts'

const folder = mkdtempSync(join(tmpdir(), 'peer-'))
chmodSync(folder, 0o755)
test.after.always(() => rmSync(folder, { recursive: true }))

const attest = createAttest({ weakPid: () => false })
const oldKernel = { peerPidFd: () => undefined }

const listen = async (t: ExecutionContext) => {
  const path = join(folder, `${Math.random()}.sock`)
  const server = createServer().listen({ path, readableAll: true, writableAll: true })
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { path, server }
}

/** Starts `command` with the socket's path as its last argument, and waits until it is connected. */
const called = async (t: ExecutionContext, command: readonly string[]) => {
  const { path, server } = await listen(t)
  const [program = '', ...words] = command
  const child: ChildProcess = spawn(program, [...words, path], { stdio: 'ignore' })
  const [socket]: Socket[] = await once(server, 'connection')
  if (!socket) throw new Error('no connection')
  t.teardown(() => (child.kill('SIGKILL'), socket.destroy()))
  return { child, socket }
}

const CALL = [process.execPath, '-e', "require('node:net').connect(process.argv[1])"]

test('the peer is the process that connected', async t => {
  const { child, socket } = await called(t, CALL)
  const attested = attest(socket)
  t.teardown(() => attested.release())
  const { pid, uid, gid, groups, unit } = attested.peer
  t.deepEqual({ pid, uid, gid }, { pid: child.pid, uid: process.getuid?.(), gid: process.getgid?.() })
  t.deepEqual(new Set([gid, ...groups]), new Set([gid, ...(process.getgroups?.() ?? [])]))
  t.is(unit, parseCgroup(readFileSync('/proc/self/cgroup', 'utf8')))
  t.notThrows(() => attested.assertAlive())
})

test('the peer bears the start time of its process, which no other process with its pid has', async t => {
  const [one, two] = [await called(t, CALL), await called(t, CALL)]
  for (const [{ child, socket }, deps] of [
    [one, {}],
    [two, oldKernel],
  ] as const) {
    const attested = createAttest({ weakPid: () => false, ...deps })(socket)
    t.teardown(() => attested.release())
    const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8')
    t.is(attested.peer.startTicks, Number(stat.split(' ')[21]))
  }
})

test('a peer of another user comes with its own user and groups', async t => {
  // Only root can become another; anyone else stays what they are, which is told just the same.
  const isRoot = process.getuid?.() === 0
  const other = isRoot ? ['setpriv', '--reuid', '65534', '--regid', '65533', '--groups', '7,4242'] : []
  const { socket } = await called(t, [...other, ...CALL])
  const attested = attest(socket)
  t.teardown(() => attested.release())
  const { uid, gid, groups } = attested.peer
  t.deepEqual([uid, gid], isRoot ? [65534, 65533] : [process.getuid?.(), process.getgid?.()])
  t.true(!isRoot || (groups.includes(7) && groups.includes(4242) && groups.length === 2))
})

test('a peer that ends is no longer alive, though its connection may be held by its child', async t => {
  const { child, socket } = await called(t, CALL)
  const attested = attest(socket)
  t.teardown(() => attested.release())
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.throws(() => attested.assertAlive(), { code: 'peer-gone' })
})

test('a peer that ended before it could be asked about is refused', async t => {
  const { path, server } = await listen(t)
  const child = spawn(process.execPath, ['-e', "require('node:net').connect(process.argv[1], process.exit)", path])
  const [[socket]] = await Promise.all([once(server, 'connection'), once(child, 'exit')])
  t.teardown(() => socket.destroy())
  t.throws(() => attest(socket), { code: 'peer-gone' })
  t.throws(() => createAttest({ weakPid: () => true, ...oldKernel })(socket), { code: 'peer-gone' })
})

test('a connection that is closed on this side has no peer', async t => {
  const { socket } = await called(t, CALL)
  socket.destroy()
  t.throws(() => attest(socket), { code: 'peer-gone' })
})

test('the descriptor is given back once, and nothing is alive after that', async t => {
  const { socket } = await called(t, CALL)
  const attested = attest(socket)
  attested.release()
  t.notThrows(() => attested.release())
  t.throws(() => attested.assertAlive(), { code: 'peer-gone' })
})

test('on an old kernel the start time stands in for the pidfd', async t => {
  const { child, socket } = await called(t, CALL)
  const attested = createAttest({ weakPid: () => true, ...oldKernel })(socket)
  t.is(attested.peer.pid, child.pid ?? -1)
  t.is(attested.peer.unit, parseCgroup(readFileSync('/proc/self/cgroup', 'utf8')))
  t.notThrows(() => attested.assertAlive())
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.throws(() => attested.assertAlive(), { code: 'peer-gone' })
})

test('on an old kernel the unit is not told unless weak_pid is set', async t => {
  const { socket } = await called(t, CALL)
  t.is(createAttest({ weakPid: () => false, ...oldKernel })(socket).peer.unit, undefined)
})

const CGROUPS: Readonly<Record<string, readonly [string, string | undefined]>> = {
  'a service': ['0::/system.slice/nginx.service', 'nginx.service'],
  'an instance in a slice of its template': ['0::/system.slice/system-ghe.slice/ghe@1.service', 'ghe@1.service'],
  'escapes as they are': ['0::/system.slice/a\\x2db.service', 'a\\x2db.service'],
  'a sub-group of a delegated service': ['0::/system.slice/nomad.service/actions-sync.service', 'nomad.service'],
  "a unit of a user's manager": [
    '0::/user.slice/user-1000.slice/user@1000.service/app.slice/actions-sync.service',
    'user@1000.service',
  ],
  'a login session': ['0::/user.slice/user-1000.slice/session-3.scope', 'session-3.scope'],
  'a unit in a container': [
    '0::/machine.slice/systemd-nspawn@a.service/payload/system.slice/actions-sync.service',
    'systemd-nspawn@a.service',
  ],
  'a container in a scope': ['0::/system.slice/docker-0123.scope/system.slice/x.service', 'docker-0123.scope'],
  'a container beside all slices': ['0::/docker/0123/system.slice/actions-sync.service', undefined],
  'a slice alone': ['0::/system.slice', undefined],
  'the root': ['0::/', undefined],
  'a group outside of our namespace': ['0::/../../system.slice/actions-sync.service', undefined],
  'a group that was removed': ['0::/system.slice/actions-sync.service (deleted)', undefined],
  init: ['0::/init.scope', 'init.scope'],
  'hybrid hierarchies': [
    '4:memory:/x\n1:name=systemd:/system.slice/a.service\n0::/system.slice/a.service\n',
    'a.service',
  ],
  'other controllers alone': ['4:memory:/system.slice/a.service\n', undefined],
  'an empty file': ['', undefined],
}
for (const [what, [text, unit]] of Object.entries(CGROUPS)) {
  test(`the unit of ${what}`, t => t.is(parseCgroup(text), unit))
}

const name = fc.stringMatching(/^[A-Za-z0-9:_.@\\-]{1,20}$/)
const slice = name.map(n => `${n}.slice`)
const unit = fc.tuple(name, fc.constantFrom('service', 'scope')).map(([n, type]) => `${n}.${type}`)
const anything = fc.oneof(name, slice, unit)

test('property: whatever is below the first unit changes nothing', t => {
  fc.assert(
    fc.property(fc.array(slice), unit, fc.array(anything), (slices, outer, below) => {
      t.is(parseCgroup(`0::/${[...slices, outer, ...below].join('/')}\n`), outer)
    }),
  )
  t.pass()
})

test('property: whatever is below a folder that is neither slice nor unit has no unit', t => {
  const plain = name.filter(n => !/\.(?:slice|service|scope|socket|mount|swap)$/.test(n))
  fc.assert(
    fc.property(fc.array(slice), plain, fc.array(anything), (slices, outer, below) => {
      t.is(parseCgroup(`0::/${[...slices, outer, ...below].join('/')}\n`), undefined)
    }),
  )
  t.pass()
})

test('property: no text makes it throw, or name what is no unit', t => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map(s => `0::/${s}`),
      ),
      text => {
        const found = parseCgroup(text)
        return found === undefined || (/\.(?:service|scope|socket|mount|swap)$/.test(found) && text.includes(found))
      },
    ),
  )
  t.pass()
})
