import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, fstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import {
  activatedSockets,
  createNotifier,
  credentialFile,
  isJournal,
  machineId,
  readCredential,
  startWatchdog,
} from '../../src/service/systemd.ts'
import { createFakeClock, settle } from '../support/fakes.ts'

const folder = mkdtempSync(join(tmpdir(), 'systemd-'))
test.after.always(() => rmSync(folder, { recursive: true }))

/** Binds a datagram socket and gives the datagrams; Node has no such sockets, so Python stands in for the manager. */
const listen = async (t: ExecutionContext, address: string) => {
  const child: ChildProcess = spawn('python3', ['-u', '-c', RECEIVER, address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines: string[] = []
  let rest = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  })
  const next = async (): Promise<string> => {
    for (;;) {
      const line = lines.shift()
      if (line !== undefined) return line === 'bound' ? line : JSON.parse(line)
      if (child.stdout) await Promise.race([once(child.stdout, 'data'), wait(10_000, undefined, { ref: false })])
    }
  }
  await next()
  return next
}
const RECEIVER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
a = sys.argv[1]
s.bind(chr(0) + a[1:] if a.startswith('@') else a)
print('bound')
while True: print(json.dumps(s.recv(65536).decode()))
`

for (const [kind, address] of [
  ['a path', join(folder, 'notify.sock')],
  ['the abstract namespace', `@ghconnect-test-${process.pid}-${Math.random()}`],
] as const) {
  test(`the manager is told what happens, at an address in ${kind}`, async t => {
    const next = await listen(t, address)
    const notifier = createNotifier({ NOTIFY_SOCKET: address }, error => t.fail(String(error)))
    notifier.ready('connected\nto acme')
    t.is(await next(), 'READY=1\nSTATUS=connected to acme')
    notifier.status('é')
    t.is(await next(), 'STATUS=é')
    const before = process.hrtime.bigint() / 1000n
    notifier.reloading()
    const [, usec = ''] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(await next()) ?? []
    t.true(BigInt(usec) >= before && BigInt(usec) <= process.hrtime.bigint() / 1000n)
    notifier.watchdog()
    t.is(await next(), 'WATCHDOG=1')
    notifier.stopping()
    t.is(await next(), 'STOPPING=1')
    notifier.stopping('The start failed: x')
    t.is(await next(), 'STOPPING=1\nSTATUS=The start failed: x')
    notifier.ready()
    t.is(await next(), 'READY=1')
  })
}

test('a manager that is gone is reported and nothing else', t => {
  const errors: unknown[] = []
  createNotifier({ NOTIFY_SOCKET: join(folder, 'absent.sock') }, error => errors.push(error)).ready()
  createNotifier({ NOTIFY_SOCKET: `/${'x'.repeat(200)}` }, error => errors.push(error)).ready()
  t.like(errors, [{ code: 'ENOENT' }, { code: 'EINVAL' }])
})

test('without a manager nothing is sent and nobody waits', t => {
  const notifier = createNotifier({ WATCHDOG_USEC: '5000000' }, error => t.fail(String(error)))
  notifier.ready()
  t.is(notifier.watchdogMs, undefined)
})

const watchdogOf = (env: NodeJS.ProcessEnv) => createNotifier({ NOTIFY_SOCKET: '@x', ...env }).watchdogMs

test('the watchdog waits for this process alone', t => {
  t.is(watchdogOf({ WATCHDOG_USEC: '5000000' }), 5000)
  t.is(watchdogOf({ WATCHDOG_USEC: '5000000', WATCHDOG_PID: String(process.pid) }), 5000)
  t.is(watchdogOf({ WATCHDOG_USEC: '5000000', WATCHDOG_PID: '1' }), undefined)
  t.is(watchdogOf({ WATCHDOG_USEC: 'soon' }), undefined)
  t.is(watchdogOf({}), undefined)
})

test('sockets that are meant for another process are none of ours', t => {
  t.is(activatedSockets({}).size, 0)
  t.is(activatedSockets({ LISTEN_PID: '1', LISTEN_FDS: '1', LISTEN_FDNAMES: 'token' }).size, 0)
})

test('a malformed count of sockets is an error, and so is a name given twice', t => {
  const pid = String(process.pid)
  for (const LISTEN_FDS of ['many', '-1', '1.5', 'Infinity']) {
    t.throws(() => activatedSockets({ LISTEN_PID: pid, LISTEN_FDS }), { code: 'configuration' }, LISTEN_FDS)
  }
  t.throws(() => activatedSockets({ LISTEN_PID: pid, LISTEN_FDS: '2', LISTEN_FDNAMES: 'a:a' }), {
    code: 'configuration',
  })
})

test('sockets are found under their names, serve, and are not handed on', async t => {
  const room = join(import.meta.dirname, '../../src/service/systemd.ts')
  const code = `
    import { activatedSockets } from ${JSON.stringify(room)}
    import { execFileSync } from 'node:child_process'
    import { readlinkSync } from 'node:fs'
    const sockets = activatedSockets({ ...process.env, LISTEN_PID: String(process.pid) })
    const links = [...sockets.values()].map(fd => readlinkSync('/proc/self/fd/' + fd))
    const inherited = execFileSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' })
    console.log(JSON.stringify({ sockets: [...sockets], handedOn: links.some(link => inherited.includes(link)) }))`
  const env = { ...process.env, LISTEN_FDS: '2', LISTEN_FDNAMES: 'token:admin' }
  // Pipes of their own stand in for sockets: only the descriptors count here.
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    env,
    stdio: ['ignore', 'pipe', 'inherit', 'pipe', 'pipe'],
  })
  if (!child.stdout) throw new Error('no output')
  const [line] = await once(child.stdout, 'data')
  t.deepEqual(JSON.parse(String(line)), {
    sockets: [
      ['token', 3],
      ['admin', 4],
    ],
    handedOn: false,
  })
})

test('a credential is read, is absent, is empty or is unreadable: four different things', t => {
  const env = { CREDENTIALS_DIRECTORY: folder }
  writeFileSync(join(folder, 'store.key'), Buffer.from([0, 255, 10]))
  writeFileSync(join(folder, 'empty'), '')
  mkdirSync(join(folder, 'unreadable'))
  chmodSync(join(folder, 'unreadable'), 0)
  t.deepEqual(readCredential('store.key', env), Buffer.from([0, 255, 10]))
  t.is(readCredential('absent', env), undefined)
  t.is(readCredential('store.key', {}), undefined)
  t.throws(() => readCredential('empty', env), { code: 'configuration', message: /empty/ })
  t.throws(() => readCredential('unreadable', env), { code: 'configuration', message: /cannot be read/ })
})

test('a credential has a path where it was passed, and none where it was not', t => {
  writeFileSync(join(folder, 'proxy.password'), 'secret')
  t.is(credentialFile('proxy.password', { CREDENTIALS_DIRECTORY: folder }), join(folder, 'proxy.password'))
  t.is(credentialFile('absent', { CREDENTIALS_DIRECTORY: folder }), undefined)
  t.is(credentialFile('proxy.password', {}), undefined)
})

test('the journal is recognized by device and inode of standard error', t => {
  const { dev, ino } = fstatSync(2, { bigint: true })
  t.true(isJournal({ JOURNAL_STREAM: `${dev}:${ino}` }))
  t.false(isJournal({ JOURNAL_STREAM: `${dev}:${ino + 1n}` }))
  t.false(isJournal({}))
})

test('a machine has an id of 32 digits, or none', t => {
  const path = join(folder, 'machine-id')
  writeFileSync(path, '0123456789abcdef0123456789abcdef\n')
  t.is(machineId(path), '0123456789abcdef0123456789abcdef')
  writeFileSync(path, 'uninitialized\n')
  t.is(machineId(path), undefined)
  t.is(machineId(join(folder, 'absent')), undefined)
})

const start = (options: { watchdogMs?: number | undefined; probe?: () => Promise<void> } = {}) => {
  const clock = createFakeClock()
  const seen = { fed: 0, failures: 0, clock }
  const timer = startWatchdog({
    notifier: { watchdogMs: 'watchdogMs' in options ? options.watchdogMs : 8_000, watchdog: () => void seen.fed++ },
    clock,
    probe: options.probe ?? (() => Promise.resolve()),
    onFailure: () => void seen.failures++,
  })
  return { seen, clock, timer }
}

test('the watchdog is fed several times within its time, until the daemon stops', async t => {
  const { seen, clock, timer } = start()
  await clock.advance(8_000)
  t.is(seen.fed, 4)
  timer.cancel()
  await clock.advance(8_000)
  t.is(seen.fed, 4)
})

test('nothing is probed where no manager waits', async t => {
  let probes = 0
  const { clock } = start({ watchdogMs: undefined, probe: async () => void probes++ })
  await clock.advance(60_000)
  t.is(probes, 0)
})

test('a probe that fails feeds nothing, and one that succeeds again does', async t => {
  let broken = true
  const { seen, clock } = start({ probe: () => (broken ? Promise.reject(new Error('no store')) : Promise.resolve()) })
  await clock.advance(4_000)
  t.is(seen.fed, 0)
  t.is(seen.failures, 2)
  broken = false
  await clock.advance(4_000)
  t.is(seen.fed, 2)
})

test('a probe that never ends feeds nothing, and is not piled up', async t => {
  let probes = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const { seen, clock } = start({ probe: () => (probes++, promise) })
  await clock.advance(60_000)
  t.is(probes, 1)
  t.is(seen.fed, 0)
  resolve()
  await settle()
  t.is(seen.fed, 1)
})
