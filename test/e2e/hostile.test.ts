// Hostile clients, all kinds at once: whoever behaves is answered rightly all the while, and nothing is left of the others.

import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import type { Appliance } from '../support/appliance.ts'
import { behaveWell, startHostile } from '../support/hostile.ts'
import { enabled } from '../support/probes.ts'

const MIB = 2 ** 20
const WANTED = { repositories: ['web'], permissions: { contents: 'read' } }
const users = [...new Set([userInfo().username, 'nobody'])].map(name => `"${name}"`).join(', ')

let appliance: Appliance
test.before(async () => {
  appliance = await enabled(`[[profiles]]
name = "test"
installation = "octo-org"
permissions = { contents = "read" }
allow = { users = [${users}] }
`)
  chmodSync(appliance.folder, 0o755)
})
test.after.always(() => appliance.close())

const socketPath = (): string => join(appliance.runtime, 'token.sock')
const descriptors = (): number => readdirSync(`/proc/${appliance.pid()}/fd`).length
const residentBytes = (): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${appliance.pid()}/status`, 'utf8'))?.[1]) * 1024

test.serial('a well-behaved client gets its token each time while all kinds of hostile ones are at work', async t => {
  const { body } = await appliance.ask('POST', '/v1/tokens', WANTED)
  const before = descriptors()
  const hostile = await startHostile(socketPath())
  const seen = await behaveWell(socketPath(), { requests: 600, pauseMs: 5, expected: String(body['token']) })
  const tallies = await hostile.stop()
  t.deepEqual(seen.wrong, [])
  t.is(seen.answered, 600)
  t.log(`p50 ${seen.p50Ms.toFixed(2)} ms, p99 ${seen.p99Ms.toFixed(2)} ms; ${JSON.stringify(tallies)}`)
  const statuses = (kind: string): string[] => Object.keys(tallies[kind]?.statuses ?? {})
  t.deepEqual(statuses('huge headers'), ['431'])
  t.deepEqual(statuses('malformed'), ['400'])
  t.deepEqual(statuses('browsers by DNS rebinding'), ['403'])
  t.true(statuses('huge bodies').every(status => ['413', '429'].includes(status)))
  t.true(statuses('pipelining').every(status => ['200', '429'].includes(status)))
  t.true(residentBytes() < 400 * MIB, `${Math.round(residentBytes() / MIB)} MiB`)
  for (let tries = 0; tries < 200 && descriptors() > before + 20; tries += 1)
    await new Promise(pause => void setTimeout(pause, 50))
  t.true(descriptors() <= before + 20, 'connections and pidfds are given back')
  t.deepEqual((await appliance.call('GET', '/v1/audit/verdict')).body['intact'], true)
})

test.serial(
  'thousands of pipelined requests are all answered, in their order, and read only as fast as that',
  async t => {
    const body = JSON.stringify(WANTED)
    const post = `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    const get = 'GET /v1/none HTTP/1.1\r\nhost: localhost\r\n\r\n'
    const count = 3_000
    const socket = connect(socketPath())
    const statuses: string[] = []
    let rest = ''
    socket.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\r\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const [, status] = /HTTP\/1\.1 (\d+)/.exec(line) ?? []
        if (status !== undefined) statuses.push(status)
      }
    })
    for (let n = 1; n < count; n += 1) socket.write(n % 3 === 0 ? get : post)
    socket.write(get.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'))
    await once(socket, 'close')
    t.is(statuses.length, count)
    t.true(statuses.every((status, at) => status === ((at + 1) % 3 === 0 || at + 1 === count ? '404' : '200')))
  },
)

test.serial(
  'one user cannot take all connections: beyond his share he is turned away, and others are let in',
  async t => {
    const open: Socket[] = []
    const closed = new Set<Socket>()
    for (let n = 0; n < 1_700; n += 1) {
      const socket = connect(socketPath())
      socket.on('error', () => {})
      socket.once('close', () => void closed.add(socket))
      socket.resume()
      open.push(socket)
      if (n % 100 === 0) await once(socket, 'connect')
    }
    for (let tries = 0; tries < 100 && closed.size < 100; tries += 1)
      await new Promise(pause => void setTimeout(pause, 50))
    t.true(closed.size >= 100, `${closed.size} were turned away`)
    t.true(closed.size <= 1_700 - 1_400)
    const asked = await startHostile(socketPath(), { kinds: ['browsers by DNS rebinding'] })
    await asked.turned
    const { 'browsers by DNS rebinding': others } = await asked.stop()
    // Where the tests are not root these are of the same user, and turned away like the rest of his.
    t.is((others?.statuses['403'] ?? 0) > 0, process.getuid?.() === 0)
    for (const socket of open) socket.destroy()
    t.is((await retried(() => appliance.ask('POST', '/v1/tokens', WANTED))).status, 200)
  },
)

/** The daemon notices a little later that the connections are gone. */
const retried = async <T>(work: () => Promise<T>): Promise<T> => {
  for (let tries = 0; tries < 50; tries += 1) {
    try {
      return await work()
    } catch {
      await new Promise(pause => void setTimeout(pause, 50))
    }
  }
  return work()
}
