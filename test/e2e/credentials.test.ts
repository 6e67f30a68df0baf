// credentials.sock as systemd speaks to it: a name in the abstract namespace, a control group, and one credential, or more than systemd takes.

import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { Appliance } from '../support/appliance.ts'
import { enabled, NOBODY } from '../support/probes.ts'

const MEGABYTE = 2 ** 20
const UNIT = 'ghconnect-test-job.service'
const OTHER = 'ghconnect-test-other.service'

const POLICY = `[[profiles]]
name = "job"
installation = "octo-org"
permissions = { contents = "read" }
allow = { units = ["${UNIT}"] }
[[profiles]]
name = "people"
installation = "octo-org"
permissions = { contents = "read" }
allow = { users = ["root"] }
[[profiles]]
name = "both"
installation = "octo-org"
permissions = { contents = "read" }
allow = { users = ["nobody"], units = ["${UNIT}"] }
[[sinks]]
name = "as-env"
profile = "job"
path = "/nowhere/token"
format = "env"
`

/** What systemd's (sd-mkdcreds) does, in the clothes that a test puts on. */
const CLIENT = `import os, socket, sys
path, name, uid = sys.argv[1:4]
sys.stdin.readline()
if uid != '0': os.setuid(int(uid))
s = socket.socket(socket.AF_UNIX)
if name: s.bind(b'\\0' + name.encode())
s.connect(path)
data = b''
while True:
    piece = s.recv(65536)
    if not piece: break
    data += piece
sys.stdout.buffer.write(data)`

const hierarchy = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup'].find(path => existsSync(join(path, 'cgroup.procs')))
const isRoot = process.getuid?.() === 0
/** Units are made of control groups, which only root can make. */
const rootTest = isRoot && hierarchy !== undefined ? test.serial : test.serial.skip

let count = 0
type Asker = { unit?: string; uid?: number; name: string }
const ask = async ({ runtime }: Appliance, { unit = UNIT, uid = 0, name }: Asker): Promise<Buffer> => {
  const child = spawn('python3', ['-c', CLIENT, join(runtime, 'credentials.sock'), name, String(uid)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const group = join(hierarchy ?? '', 'system.slice', unit)
  const parent = join(group, '..')
  const made = [parent, group].filter(path => !existsSync(path))
  for (const path of made) mkdirSync(path)
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  const { promise, resolve } = Promise.withResolvers<void>()
  child.once('close', () => resolve())
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(child.pid))
    child.stdin.end('go\n')
    await promise
    return Buffer.concat(chunks)
  } finally {
    child.kill('SIGKILL')
    await promise
    for (const path of made.toReversed()) rmdirSync(path)
  }
}
const named = (unit: string, credential: string): string =>
  `${(++count).toString(16).padStart(16, '0')}/unit/${unit}/${credential}`

rootTest('the unit that the profile names gets its token, bare or in the format of a sink', async t => {
  const appliance = await enabled(POLICY)
  try {
    t.is(statSync(join(appliance.runtime, 'credentials.sock')).mode & 0o777, 0o600)
    const token = (await ask(appliance, { name: named(UNIT, 'job') })).toString()
    t.regex(token, /^ghs_\S+$/)
    t.is(
      (await ask(appliance, { name: named(UNIT, 'as-env') })).toString(),
      `GH_TOKEN=${token}\nGITHUB_TOKEN=${token}\n`,
    )
    const audit = (await appliance.call('GET', '/v1/audit')).text
    t.regex(audit, /token\.grant/)
    t.true(audit.includes(`"unit":"${UNIT}"`))
  } finally {
    await appliance.close()
  }
})

rootTest('everybody else gets more than systemd takes, and the audit log says why', async t => {
  const appliance = await enabled(POLICY)
  const cases: readonly (readonly [string, Asker, RegExp])[] = [
    [
      'an impostor under the name of another unit',
      { unit: OTHER, name: named(UNIT, 'job') },
      /called itself ghconnect-test-job/,
    ],
    ['another unit under its own name', { unit: OTHER, name: named(OTHER, 'job') }, /no profile allows this/],
    ['a process that is not root', { uid: NOBODY, name: named(UNIT, 'job') }, /user 65534 is not the service manager/],
    ['no name', { name: '' }, /bears no name of systemd/],
    ['a name that is none of systemd', { name: `x/unit/${UNIT}/job` }, /bears no name of systemd/],
    ['a name with more in it', { name: named(UNIT, 'job/../job') }, /bears no name of systemd/],
    ['an unknown credential', { name: named(UNIT, 'absent') }, /no profile that names units/],
    ['a profile that goes by users', { name: named(UNIT, 'people') }, /no profile that names units/],
    [
      'a profile that wants a user, whom systemd does not tell',
      { name: named(UNIT, 'both') },
      /no profile allows this/,
    ],
  ]
  // The mode of the socket is not the guard.
  chmodSync(appliance.folder, 0o755)
  chmodSync(join(appliance.runtime, 'credentials.sock'), 0o666)
  try {
    for (const [what, asker] of cases) {
      const got = await ask(appliance, asker)
      t.true(got.length > MEGABYTE, `${what}: ${got.length}`)
      t.notRegex(got.toString(), /ghs_/, what)
    }
    const audit = (await appliance.call('GET', '/v1/audit')).text
    for (const [what, , detail] of cases) t.regex(audit, detail, what)
    t.is((audit.match(/token\.grant/g) ?? []).length, 0)
  } finally {
    await appliance.close()
  }
})

rootTest('a store that is closed, or no connection, refuses; nothing starts with an empty credential', async t => {
  const appliance = await enabled(POLICY)
  try {
    await appliance.call('DELETE', '/v1/connection?local=true')
    await appliance.until('disconnected')
    t.true((await ask(appliance, { name: named(UNIT, 'job') })).length > MEGABYTE)
  } finally {
    await appliance.close()
  }
})
