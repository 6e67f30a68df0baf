// The unit of a live process in real control groups: what a user's manager, a service's sub-group or a container names never counts.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createAttest, findProcess, parseCgroup } from '../../../src/core/peers/peer.ts'

const UNIT = 'ghconnect-test-sync.service'

/** The hierarchy that systemd keeps its units in: the only one, or the one of its own on older machines. */
const hierarchy = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup'].find(path => existsSync(join(path, 'cgroup.procs')))
const own = (): string => readFileSync('/proc/self/cgroup', 'utf8')

const folder = mkdtempSync(join(tmpdir(), 'peer-cgroup-'))
test.after.always(() => rmSync(folder, { recursive: true }))

/** Makes the folders of a path and puts a process into the innermost. False where this machine or user does not allow it. */
const moveInto = (t: ExecutionContext, path: string, pid: number): boolean => {
  if (hierarchy === undefined || process.getuid?.() !== 0) return false
  const made: string[] = []
  t.teardown(() => made.toReversed().forEach(one => rmdirSync(one)))
  try {
    let at = hierarchy
    for (const part of path.split('/').filter(Boolean)) {
      at = join(at, part)
      if (existsSync(at)) continue
      mkdirSync(at)
      made.push(at)
    }
    writeFileSync(join(at, 'cgroup.procs'), String(pid))
    return true
  } catch {
    return false
  }
}

const connected = async (
  t: ExecutionContext,
  where: string,
): Promise<{ socket: Socket; child: ChildProcess; moved: boolean }> => {
  const path = join(folder, `${Math.random()}.sock`)
  const server = createServer().listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  // It connects once it is told to, when it is in its group already.
  const script = "process.stdin.once('data', () => require('node:net').connect(process.argv[1]))"
  const child = spawn(process.execPath, ['-e', script, path], { stdio: ['pipe', 'ignore', 'ignore'] })
  // Its group can be removed only once it is empty: registered first, so run last.
  const moved = moveInto(t, where, child.pid ?? 0)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  child.stdin.write('now')
  const [socket]: Socket[] = await once(server, 'connection')
  if (!socket) throw new Error('no connection')
  t.teardown(() => void socket.destroy())
  return { socket, child, moved }
}

const PLACES: Readonly<Record<string, readonly [string, string | undefined]>> = {
  'a service': [`ghctest.slice/${UNIT}`, UNIT],
  'an instance in a slice of slices': [
    'ghctest.slice/ghctest-sync.slice/ghctest@a\\x2db.service',
    'ghctest@a\\x2db.service',
  ],
  'a unit of the same name under a user manager': [
    `ghctest.slice/ghctest-1000.slice/user@1000.service/app.slice/${UNIT}`,
    'user@1000.service',
  ],
  'a unit of the same name in a delegated sub-group': [
    `ghctest.slice/ghctest-nomad.service/${UNIT}`,
    'ghctest-nomad.service',
  ],
  'a unit of the same name in a container': [
    `ghctest.slice/systemd-nspawn@ghctest.service/payload/system.slice/${UNIT}`,
    'systemd-nspawn@ghctest.service',
  ],
  'a unit of the same name in a container without a unit': [`ghctest-docker/0123/system.slice/${UNIT}`, undefined],
}
for (const [what, [place, unit]] of Object.entries(PLACES)) {
  test.serial(`a process in ${what} is in ${unit ?? 'no unit'}`, async t => {
    const { socket, child, moved } = await connected(t, place)
    const attested = createAttest({ weakPid: () => false })(socket)
    t.teardown(() => attested.release())
    // Where no group can be made here (no root, no writable hierarchy) the process is where we are, and is told to be there.
    const expected = moved ? unit : parseCgroup(own())
    if (!moved) t.log('no control group could be made on this machine: compared with our own')
    t.is(attested.peer.unit, expected)
    t.is(findProcess(child.pid ?? 0)?.unit, expected)
  })
}

test('a live process is told as its socket would tell it, one that ended or never was is not found', async t => {
  const { socket, child } = await connected(t, `ghctest.slice/${UNIT}`)
  const attested = createAttest({ weakPid: () => false })(socket)
  t.teardown(() => attested.release())
  const { groups, startTicks, ...peer } = attested.peer
  t.true(Number.isInteger(startTicks))
  const found = findProcess(child.pid ?? 0)
  t.like(found, peer)
  t.deepEqual(new Set(found?.groups), new Set(groups))
  t.is(findProcess(0), undefined)
  t.is(findProcess(4_194_304), undefined)
  const gone = spawn('true')
  await once(gone, 'exit')
  t.is(findProcess(gone.pid ?? 0), undefined)
})
