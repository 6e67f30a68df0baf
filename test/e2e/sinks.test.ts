// File sinks by real processes: the file is whole, of its mode and format, follows the daemon, and goes where tokens go.

import { execFile } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { type Appliance, CLI, PROFILE } from '../support/appliance.ts'
import { running, shell } from '../support/probes.ts'
import { start, startCli, until } from '../support/processes.ts'

const FORMATS = ['token', 'env', 'json', 'netrc'] as const

const sinkOf = (name: string, path: string, more = ''): string =>
  `[[sinks]]\nname = "${name}"\nprofile = "test"\npath = "${path}"\n${more}\n`

const prepare = async (sinks: (folder: string) => string): Promise<Appliance> => {
  const appliance = await running()
  appliance.configure(`${PROFILE}${sinks(appliance.folder)}[refresh]\nsettle = "0s"\n`)
  appliance.signal('SIGHUP')
  await appliance.logged(/the configuration was read again/)
  await appliance.enable()
  return appliance
}

const keep = (appliance: Appliance, name: string, env = {}) =>
  startCli(['sink', '--config', appliance.configFile, name], { NODE_NO_WARNINGS: '1', ...env })

const tokenNow = async (appliance: Appliance) => String((await appliance.ask('POST', '/v1/tokens', {})).body['token'])

test.serial('each format holds the token, with the mode that the configuration names, whatever the umask', async t => {
  const appliance = await prepare(folder =>
    FORMATS.map(format => sinkOf(format, join(folder, format), `mode = "0640"\nformat = "${format}"`)).join(''),
  )
  const sinks = FORMATS.map(format => keep(appliance, format))
  try {
    const read = (format: string): string => readFileSync(join(appliance.folder, format), 'utf8')
    for (const format of FORMATS) await until(format, () => existsSync(join(appliance.folder, format)))
    const check = async (): Promise<void> => {
      const token = await tokenNow(appliance)
      t.is(read('token'), token)
      t.is(read('env'), `GH_TOKEN=${token}\nGITHUB_TOKEN=${token}\n`)
      t.is(JSON.parse(read('json')).token, token)
      t.is(read('netrc'), `machine 127.0.0.1 login x-access-token password ${token}\n`)
      for (const format of FORMATS) t.is(statSync(join(appliance.folder, format)).mode & 0o777, 0o640)
    }
    await check()
    const before = read('token')
    await appliance.call('POST', '/v1/refresh')
    for (const format of FORMATS) await until(`a new ${format}`, () => !read(format).includes(before))
    await check()
    const netrc = join(appliance.folder, 'netrc')
    const used = await shell(
      `curl -s -o /dev/null -w '%{http_code}' --netrc-file ${netrc} ${appliance.sandbox.apiUrl}/repos/octo-org/web`,
    )
    t.is(used.stdout, '200')
  } finally {
    await Promise.all(sinks.map(sink => sink.stop()))
    await appliance.close()
  }
})

test.serial('a sink outlives the daemon, and its file the outage; disable takes it away', async t => {
  const appliance = await prepare(folder => sinkOf('job', join(folder, 'job')))
  const path = join(appliance.folder, 'job')
  const sink = keep(appliance, 'job')
  try {
    await until('the file', () => existsSync(path))
    const first = readFileSync(path, 'utf8')
    await appliance.kill('SIGKILL')
    t.is(readFileSync(path, 'utf8'), first)
    await appliance.start()
    await appliance.call('POST', '/v1/refresh')
    await until('a new token', () => readFileSync(path, 'utf8') !== first)
    await appliance.call('DELETE', '/v1/connection?wait=false')
    await until('it is gone', () => !existsSync(path))
    await appliance.until('disconnected')
    // As its owner is asked to: the name is to be free again.
    await appliance.control('POST', 'apps/appliance-test/delete')
    await appliance.enable()
    await until('it is back', () => existsSync(path))
    t.is(readFileSync(path, 'utf8'), await tokenNow(appliance))
    t.is(await sink.stop(), 0)
    t.true(existsSync(path), 'an end of the sink is no end of its file')
  } finally {
    await sink.stop('SIGKILL')
    await appliance.close()
  }
})

test.serial('a path that is a link, a folder, or owned by somebody else is refused for good', async t => {
  const names = ['link', 'folder', 'theirs', 'pipe']
  const appliance = await prepare(folder => names.map(name => sinkOf(name, join(folder, name))).join(''))
  const at = (name: string): string => join(appliance.folder, name)
  writeFileSync(at('target'), 'precious')
  symlinkSync(at('target'), at('link'))
  mkdirSync(at('folder'))
  writeFileSync(at('theirs'), 'theirs')
  if (process.getuid?.() === 0) chownSync(at('theirs'), 65_534, 65_534)
  else rmSync(at('theirs'))
  await promisify(execFile)('mkfifo', [at('pipe')])
  try {
    for (const name of names) {
      if (!existsSync(at(name))) continue
      const sink = keep(appliance, name)
      t.is(await sink.ended, 78, `${name}: ${sink.output()}`)
      t.regex(sink.output(), new RegExp(`${name}: (?:is a link|is a folder|is no file|belongs to another user)`))
    }
    t.is(readFileSync(at('target'), 'utf8'), 'precious')
    const unknown = keep(appliance, 'unknown')
    t.is(await unknown.ended, 78)
    t.regex(unknown.output(), /there is none of the name unknown/)
  } finally {
    await appliance.close()
  }
})

test.serial('a path that becomes a link while the sink runs ends it, and what is behind the link stays', async t => {
  const appliance = await prepare(folder => sinkOf('job', join(folder, 'job')))
  const [path, target] = [join(appliance.folder, 'job'), join(appliance.folder, 'target')]
  const sink = keep(appliance, 'job')
  try {
    await until('the file', () => existsSync(path))
    writeFileSync(target, 'precious')
    rmSync(path)
    symlinkSync(target, path)
    await appliance.call('POST', '/v1/refresh')
    t.is(await sink.ended, 78, sink.output())
    t.is(readFileSync(target, 'utf8'), 'precious')
  } finally {
    await sink.stop('SIGKILL')
    await appliance.close()
  }
})

test.serial('a full disk keeps the old file and says so; with space the new token is written', async t => {
  const appliance = await prepare(folder => sinkOf('job', join(folder, 'disk', 'job')))
  const disk = join(appliance.folder, 'disk')
  mkdirSync(disk)
  // The disk is in a namespace of the sink's own; the test looks in through /proc.
  const namespaces = process.getuid?.() === 0 ? ['--mount'] : ['--mount', '--map-root-user']
  const line = `mount -t tmpfs -o size=16k,mode=755 tmpfs ${disk} && exec "$@"`
  const sink = start(
    [
      'unshare',
      ...namespaces,
      'sh',
      '-c',
      line,
      'sh',
      process.execPath,
      CLI,
      'sink',
      '--config',
      appliance.configFile,
      'job',
    ],
    { NODE_NO_WARNINGS: '1' },
  )
  const inside = (name: string): string => `/proc/${sink.child.pid}/root${disk}/${name}`
  try {
    await until('the file', () => existsSync(inside('job')))
    const first = readFileSync(inside('job'), 'utf8')
    t.throws(() => writeFileSync(inside('filler'), Buffer.alloc(20_000)), { code: 'ENOSPC' })
    await appliance.call('POST', '/v1/refresh')
    await until('it says so', () => /The disk is full: .*The former token stays in the file\./.test(sink.output()))
    t.is(readFileSync(inside('job'), 'utf8'), first)
    rmSync(inside('filler'))
    await until('the new token', () => readFileSync(inside('job'), 'utf8') !== first)
    t.is(readFileSync(inside('job'), 'utf8'), await tokenNow(appliance))
  } finally {
    await sink.stop()
    await appliance.close()
  }
})

test.serial('the service manager is told when the file is there, and what keeps it from being there', async t => {
  const appliance = await prepare(folder => sinkOf('job', join(folder, 'job')))
  const notices = join(appliance.folder, 'notices')
  const listener = start(['python3', '-c', LISTENER, notices])
  try {
    await until('it listens', () => existsSync(notices))
    const sink = keep(appliance, 'job', { NOTIFY_SOCKET: notices })
    await until('ready', () => /READY=1\nSTATUS=\S+job: holds a token until 20/.test(listener.output()))
    await sink.stop()
    appliance.configure(
      `${sinkOf('job', join(appliance.folder, 'job')).replace('"test"', '"other"')}[[profiles]]\nname = "other"\n`,
    )
    appliance.signal('SIGHUP')
    await appliance.logged(/the configuration was read again/)
    chmodSync(appliance.configFile, 0o644)
    const denied = keep(appliance, 'job', { NOTIFY_SOCKET: notices })
    await until('why not', () => /STATUS=\S+job: Not permitted: .*The file is removed/.test(listener.output()))
    t.false(existsSync(join(appliance.folder, 'job')))
    t.is(await denied.stop(), 0)
  } finally {
    await listener.stop('SIGKILL')
    await appliance.close()
  }
})

/** Node has no datagram sockets of the unix family. */
const LISTENER = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True: print(s.recv(4096).decode(), flush=True)`
