// Hostile processes, attack by attack: the daemon stays, whoever behaves is answered rightly all the while, and nothing is left of the others.

import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import type { Appliance } from '../support/appliance.ts'
import { ATTACKS, type AttackName, isAttack } from '../support/hostile-attacks.ts'
import { createBesieged, laySiege, MINTS, type Siege } from '../support/hostile.ts'
import { shell } from '../support/probes.ts'

const WANTED = { repositories: ['web'], permissions: { contents: 'read' } }
const SECONDS = 2
/** Of one holder, of the connections to a socket. */
const SHARE = 768
const MAX_RSS_MB = 250
/** Where the tests are not root all processes are one user's, and the caller has to share with the others. */
const isRoot = process.getuid?.() === 0

let appliance: Appliance
let siege: Siege
let descriptorsBefore = 0
test.before(async () => {
  appliance = await createBesieged()
  descriptorsBefore = descriptors()
  siege = await laySiege(appliance, 1)
})
test.after.always(async () => {
  await siege.close()
  await appliance.close()
})

const socketPath = (): string => join(appliance.runtime, 'token.sock')
const descriptors = (): number => readdirSync(`/proc/${appliance.pid()}/fd`).length

/** How each of these may be answered, and no other way. */
const ANSWERS: Partial<Record<AttackName, readonly string[]>> = {
  'long names': ['403', '422', '429'],
  'huge headers and bodies': ['403', '404', '413', '429', '431'],
  malformed: ['400'],
  'browsers by DNS rebinding': ['403', '429'],
  'denied requests': ['403', '429'],
  'good requests': ['200', '403', '429'],
}

for (const name of Object.keys(ATTACKS).filter(isAttack)) {
  test.serial(`the daemon stays, and serves whoever behaves, among ${name}`, async t => {
    t.timeout(120_000)
    const { among, tally, quota, ...outcome } = await siege.run(name, SECONDS)
    t.log(JSON.stringify({ ...outcome, among, quota, tally }))
    t.true(outcome.samePid)
    t.deepEqual(outcome.internal, [])
    t.true(among.answered > 0)
    if (isRoot) t.deepEqual(among.wrong, [])
    t.true(outcome.peakRssMb <= MAX_RSS_MB, `${outcome.peakRssMb} MB`)
    const allowed = MINTS.burst + (MINTS.perMinute * outcome.elapsedSeconds) / 60
    t.true(quota.read <= allowed && quota.write <= allowed, JSON.stringify(quota))
    const statuses = Object.keys(tally).filter(key => /^\d+$/.test(key))
    const { [name]: expected = statuses } = ANSWERS
    t.deepEqual(
      statuses.filter(status => status.startsWith('5') || !expected.includes(status)),
      [],
    )
  })
}

test.serial('nothing is left of them: connections, pidfds, and an audit log that is whole', async t => {
  for (let tries = 0; tries < 200 && descriptors() > descriptorsBefore + 20; tries += 1)
    await new Promise(pause => void setTimeout(pause, 50))
  t.true(descriptors() <= descriptorsBefore + 20, `${descriptors()}, ${descriptorsBefore} before`)
  t.deepEqual((await appliance.call('GET', '/v1/audit/verdict')).body['intact'], true)
})

test.serial(
  'thousands of pipelined requests are all answered, in their order, and read only as fast as that',
  async t => {
    const body = JSON.stringify(WANTED)
    const post = `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    const get = 'GET /v1/none HTTP/1.1\r\nhost: localhost\r\n\r\n'
    // Within what one holder may ask at once, even while others ask.
    const count = 1_800
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
    const beyond = open.length - SHARE
    for (let tries = 0; tries < 100 && closed.size < beyond; tries += 1)
      await new Promise(pause => void setTimeout(pause, 50))
    t.is(closed.size, beyond)
    const { stdout } = await shell(
      `curl -s --unix-socket ${socketPath()} -o /dev/null -w '%{http_code}' http://localhost/livez`,
      65_534,
    )
    // Where the tests are not root this is the same user, and turned away like the rest of it.
    t.is(stdout === '200', isRoot)
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
