// Keys that do not fit, stores that cannot be read, a disk that is full: the daemon stays up, says what it is, and loses nothing.

import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { Agent } from 'node:http'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { CATALOGUE, type Code } from '../../src/protocol/errors.ts'
import { type Appliance, createAppliance } from '../support/appliance.ts'
import { checkAnswers } from '../support/openapi-answers.ts'
import { enabled, ghconnect, readWith } from '../support/probes.ts'
import { callUnix } from '../support/unix-http.ts'
import { databaseKeyOf, openStoreFile } from '../support/store-file.ts'

const PROBLEM = 'urn:ghconnect:problem:'
const WANTED = { repositories: ['web'], permissions: { contents: 'read' } }
const keyFile = ({ folder }: Appliance): string => join(folder, 'store.key')
const storeFile = ({ state }: Appliance): string => join(state, 'store', '1', 'store.db')

const WITHOUT_RECOVERY_KEY =
  'Bring back the key that the store was made with, or restore a snapshot: `ghconnect snapshot restore --input FILE`.'
const OF_THE_KEY = new Set<Code>(['wrong-store-key', 'locked'])

/** The daemon runs, every request that needs the store names the problem, and the command line ends with its exit code. */
const assertLocked = async (t: ExecutionContext, made: Appliance, code: Code): Promise<void> => {
  const appliance = await checkAnswers(made)
  const status = (await appliance.call('GET', '/v1/status')).body
  t.is(status['state'], 'locked', code)
  // These stores have no recovery key, so `unlock` is no advice.
  t.is(status['next'], OF_THE_KEY.has(code) ? WITHOUT_RECOVERY_KEY : CATALOGUE[code].next)
  t.true(String(status['meaning']).startsWith(CATALOGUE[code].title), String(status['meaning']))
  for (const answer of [
    await appliance.ask('POST', '/v1/tokens', WANTED),
    await appliance.call('POST', '/v1/tokens', WANTED),
    await appliance.call('POST', '/v1/connection', { account: { type: 'organization', login: 'octo-org' } }),
    await appliance.call('DELETE', '/v1/connection?local=true'),
  ]) {
    t.is(answer.body['type'], PROBLEM + code)
    t.is(answer.status, CATALOGUE[code].status)
  }
  const ready = await appliance.ask('GET', '/readyz')
  t.is(ready.status, 503)
  t.regex(ready.text, new RegExp(code))
  t.is((await appliance.ask('GET', '/livez')).status, 200)
  t.is((await appliance.call('GET', '/metrics')).status, 200)
  const { code: exit, output } = await ghconnect('token', '--socket', join(appliance.runtime, 'token.sock'))
  t.is(exit, CATALOGUE[code].exit, output)
  t.deepEqual(appliance.wrong, [])
  t.is(await appliance.kill(), 0, 'it stops in good order')
}

const assertWhole = async (t: ExecutionContext, appliance: Appliance, token: unknown): Promise<void> => {
  const { body } = await appliance.ask('POST', '/v1/tokens', WANTED)
  t.is(body['token'], token, 'the token that was there is there')
  const status = (await appliance.call('GET', '/v1/status')).body
  t.is(status['state'], 'connected')
  t.is(Array.isArray(status['keys']) && status['keys'].length, 1)
}

test.serial(
  'a key file that does not fit locks the store, and the right one opens it with all that it held',
  async t => {
    const appliance = await enabled()
    try {
      const { token } = (await appliance.ask('POST', '/v1/tokens', WANTED)).body
      await appliance.kill()
      const key = readFileSync(keyFile(appliance))
      const spoil: readonly [Code, () => void][] = [
        ['wrong-store-key', () => writeFileSync(keyFile(appliance), randomBytes(32))],
        ['locked', () => writeFileSync(keyFile(appliance), randomBytes(31))],
        ['locked', () => writeFileSync(keyFile(appliance), '')],
        ['locked', () => renameSync(keyFile(appliance), `${keyFile(appliance)}.away`)],
        ['configuration', () => chmodSync(keyFile(appliance), 0o644)],
      ]
      for (const [code, act] of spoil) {
        act()
        await appliance.start()
        await assertLocked(t, appliance, code)
        rmSync(`${keyFile(appliance)}.away`, { force: true })
        writeFileSync(keyFile(appliance), key, { mode: 0o600 })
        chmodSync(keyFile(appliance), 0o600)
        await appliance.start()
        await assertWhole(t, appliance, token)
        await appliance.kill()
      }
    } finally {
      await appliance.close()
    }
  },
)

test.serial('a key that is brought back opens the store at a reload, without a restart', async t => {
  const appliance = await enabled()
  try {
    const { token } = (await appliance.ask('POST', '/v1/tokens', WANTED)).body
    await appliance.kill()
    renameSync(keyFile(appliance), `${keyFile(appliance)}.away`)
    await appliance.start()
    t.is((await appliance.call('GET', '/v1/status')).body['state'], 'locked')
    renameSync(`${keyFile(appliance)}.away`, keyFile(appliance))
    appliance.signal('SIGHUP')
    await appliance.until('connected')
    await assertWhole(t, appliance, token)
  } finally {
    await appliance.close()
  }
})

test.serial(
  'a store of a newer version and one with a flipped byte are left alone, and opened when they are right',
  async t => {
    const appliance = await enabled()
    try {
      const { token } = (await appliance.ask('POST', '/v1/tokens', WANTED)).body
      await appliance.kill()
      const good = readFileSync(storeFile(appliance))
      const databaseKey = databaseKeyOf(appliance)
      const spoil: readonly [Code, () => void][] = [
        [
          'store-newer',
          () => {
            const db = openStoreFile(storeFile(appliance), databaseKey)
            db.pragma('user_version=99')
            db.close()
          },
        ],
        [
          'store-corrupt',
          () => {
            const flipped = Buffer.from(good)
            const middle = Math.floor(flipped.length / 2)
            flipped.writeUInt8(flipped.readUInt8(middle) ^ 1, middle)
            writeFileSync(storeFile(appliance), flipped)
          },
        ],
        ['store-corrupt', () => writeFileSync(storeFile(appliance), '')],
        ['store-corrupt', () => writeFileSync(join(appliance.state, 'store', '1', 'key'), randomBytes(109))],
      ]
      const wrapped = readFileSync(join(appliance.state, 'store', '1', 'key'))
      for (const [code, act] of spoil) {
        act()
        const spoilt = readFileSync(storeFile(appliance))
        await appliance.start()
        await assertLocked(t, appliance, code)
        t.deepEqual(readFileSync(storeFile(appliance)), spoilt, 'what cannot be read is not written to')
        writeFileSync(storeFile(appliance), good)
        writeFileSync(join(appliance.state, 'store', '1', 'key'), wrapped)
        await appliance.start()
        await assertWhole(t, appliance, token)
        await appliance.kill()
        // A clean end leaves one file, whole: what was just read may have been written to since.
        t.true(readFileSync(storeFile(appliance)).length > 0)
      }
    } finally {
      await appliance.close()
    }
  },
)

/** The audit log has no row of this process yet. */
const askFromNewProcess = ({ runtime }: Appliance): Readonly<Record<string, unknown>> => {
  const socket = join(runtime, 'token.sock')
  const data = ['-H', 'content-type: application/json', '-d', JSON.stringify(WANTED)]
  const args = ['-sS', '--unix-socket', socket, ...data, 'http://localhost/v1/tokens']
  return JSON.parse(execFileSync('curl', args, { encoding: 'utf8' }))
}

/** Takes the last byte; returns how to give it all back. */
const fill = (folder: string): (() => void) => {
  const path = join(folder, 'filler')
  const fd = openSync(path, 'w')
  try {
    const page = Buffer.alloc(4096)
    for (;;) writeSync(fd, page)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
  } finally {
    closeSync(fd)
  }
  return () => rmSync(path)
}

test.serial(
  'on a full disk what is held is served, what needs the disk says so, and space brings all of it back',
  async t => {
    const appliance = await createAppliance()
    mkdirSync(appliance.state, { mode: 0o700 })
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=700', 'tmpfs', appliance.state])
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const askAgain = () =>
      callUnix(join(appliance.runtime, 'token.sock'), { method: 'POST', path: '/v1/tokens', body: WANTED, agent })
    try {
      await appliance.start()
      await appliance.enable()
      const { token } = (await askAgain()).body
      const empty = fill(appliance.state)

      t.is((await askAgain()).body['token'], token, 'a client that was served before is served on')
      // What cannot be audited is denied, and the first grant of a process is to be on the disk before the answer.
      const denied = askFromNewProcess(appliance)
      t.is(denied['type'], `${PROBLEM}audit-unavailable`)
      t.is(denied['status'], 503)
      t.regex(String(denied['detail']), /no space is left/)
      const disable = await appliance.call('DELETE', '/v1/connection?local=true')
      t.is(disable.body['type'], `${PROBLEM}disk-full`)
      t.is(disable.status, 507)
      t.is((await appliance.call('POST', '/v1/refresh')).status, 200, 'new tokens are held in memory')
      const status = (await appliance.call('GET', '/v1/status')).body
      t.is(status['state'], 'connected')
      t.regex(JSON.stringify(status['warnings']), /audit-unavailable.*no space is left/)
      const held = (await askAgain()).body
      t.is(held['token'], token, JSON.stringify(held))

      empty()
      t.is(await readWith(appliance, String(askFromNewProcess(appliance)['token']), 'web'), 200)
      const warnings = JSON.stringify((await appliance.call('GET', '/v1/status')).body['warnings'])
      t.notRegex(warnings, /audit-unavailable/)

      fill(appliance.state)
      await appliance.kill('SIGKILL')
      await appliance.start()
      t.is((await appliance.call('GET', '/v1/status')).body['state'], 'connected', 'it starts on a full disk, too')
      rmSync(join(appliance.state, 'filler'))

      // A stop in good order removes the logs of the databases, which the next start makes again.
      await appliance.kill()
      const freed = fill(appliance.state)
      await appliance.start()
      const full = (await appliance.call('GET', '/v1/status')).body
      t.is(full['state'], 'locked')
      t.is(
        full['next'],
        `Free some space: \`df -h ${appliance.state}/store/1\` shows the file system. Nothing was changed. A store that could not be opened is tried again every 15 seconds.`,
      )
      freed()
      await appliance.kill()
      await appliance.start()
      const restarted = await appliance.ask('POST', '/v1/tokens', WANTED)
      t.is(restarted.status, 200)
      t.is(await readWith(appliance, String(restarted.body['token']), 'web'), 200)
    } finally {
      agent.destroy()
      await appliance.kill('SIGKILL')
      execFileSync('umount', [appliance.state])
      await appliance.close()
    }
  },
)
