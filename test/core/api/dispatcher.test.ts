// The HTTP face of a socket: what each request is charged, and how refused, broken and late answers end.

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { ANSWERS, PROBES } from '../../../src/core/peers/rate-limit.ts'
import { createApiRig } from '../../support/api-rig.ts'
import { peerOf } from '../../support/operations-rig.ts'

const flooded = async (t: Parameters<typeof createApiRig>[0], peer = peerOf(1000)) => {
  let present = peer
  const rig = await createApiRig(t, { peer: () => present })
  // Somebody else asks as well.
  const contend = () => rig.rateLimit.takeAnswer(peerOf(2000))
  contend()
  for (let n = 0; n < ANSWERS.burst; n += 1) rig.rateLimit.takeAnswer(peer)
  contend()
  /** A refusal is kept back for a moment. */
  const askSlowly = async (line: string, headers: readonly string[] = []) => {
    const answer = rig.ask(line, headers)
    await once(rig.server, 'request')
    await rig.clock.advance(250)
    contend()
    return answer
  }
  return { ...rig, askSlowly, contend, become: (next: typeof peer) => void (present = next) }
}

for (const line of [
  'GET /v1/openapi.json',
  'GET /livez',
  'GET /readyz',
  'GET /v1/events',
  'GET /v1/nothing',
  'DELETE /v1/status',
  'GET /metrics',
  'POST /v1/refresh',
  'POST /v1/github/x',
])
  test(`an allowance is taken for ${line} before its route is looked up`, async t => {
    const { askSlowly } = await flooded(t)
    const refused = await askSlowly(line)
    t.is(refused.status, 429, refused.text)
    t.regex(refused.text, /urn:ghconnect:problem:rate-limited/)
    t.regex(refused.head, /^retry-after: [1-9]\d*$/im)
  })

test('a request of a browser is charged as well', async t => {
  const { askSlowly } = await flooded(t)
  t.is((await askSlowly('GET /v1/status', ['origin: http://evil.example'])).status, 429)
})

test('a refusal waits a moment, so that hostile callers are slowed', async t => {
  const { open, server, clock, contend } = await flooded(t)
  const opened = await open('GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await once(server, 'request')
  await clock.advance(249)
  t.is(opened.text(), '')
  contend()
  await clock.advance(1)
  t.regex(await opened.until(/problem/), /^HTTP\/1\.1 429/)
  opened.client.destroy()
})

test("the service manager's looks at the daemon's health have a share of their own, until it is used up", async t => {
  const { ask, askSlowly, become, rateLimit, contend } = await flooded(t, peerOf(0))
  t.is((await ask('GET /livez')).status, 200)
  t.is((await ask('GET /readyz')).status, 200)
  become(peerOf(990))
  t.is((await ask('GET /livez')).status, 200, "the daemon's own user")
  for (let n = 0; n < PROBES.burst; n += 1) rateLimit.takeProbe()
  become(peerOf(0))
  contend()
  t.is((await askSlowly('GET /livez')).status, 429)
})

test('administrators are not limited', async t => {
  const rig = await createApiRig(t, { socket: 'admin' })
  rig.rateLimit.takeAnswer(peerOf(2000))
  for (let n = 0; n < 2 * ANSWERS.burst; n += 1)
    try {
      rig.rateLimit.takeAnswer(peerOf(1000))
    } catch {}
  t.is((await rig.ask('GET /v1/status')).status, 200)
})

test('the OpenAPI document is the same text each time, one for each socket', async t => {
  const [token, admin] = await Promise.all([createApiRig(t), createApiRig(t, { socket: 'admin' })])
  const first = await token.ask('GET /v1/openapi.json')
  t.is(first.status, 200)
  t.is((await token.ask('GET /v1/openapi.json')).text, first.text)
  t.notRegex(first.text, /"\/v1\/keys"/)
  t.regex((await admin.ask('GET /v1/openapi.json')).text, /"\/v1\/keys"/)
})

for (const [what, head] of [
  ['a length', 'content-length: 20'],
  ['chunks', 'transfer-encoding: chunked'],
] as const)
  test(`a connection is closed after a refusal, where its body, with ${what}, was not read`, async t => {
    const { open, log } = await createApiRig(t)
    const opened = await open(`POST /v1/nothing HTTP/1.1\r\nhost: localhost\r\n${head}\r\n\r\n`)
    await opened.closed()
    t.regex(opened.text(), /^HTTP\/1\.1 404 [^]*^connection: close\r$/im)
    t.deepEqual(log.lines, [])
  })

test('a connection is kept after a refusal, where the whole request was read', async t => {
  const { open } = await createApiRig(t)
  const opened = await open('GET /v1/nothing HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await opened.until(/unknown-route/)
  opened.client.write('GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n')
  t.regex(await opened.until(/"live":true/), /"live":true/)
  opened.client.destroy()
})

test('an answer that fails midway ends, and the connection with it', async t => {
  const broken = Promise.withResolvers<never>()
  const rig = await createApiRig(t, { socket: 'admin', backend: { check: () => broken.promise } })
  const opened = await rig.open('GET /v1/check HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n')
  await opened.until(/text\/event-stream/)
  broken.reject(new Failure('io', 'the disk is gone'))
  await opened.closed()
  t.notRegex(opened.text(), /problem/)
})

test('a request without a use for its body keeps nothing of it', async t => {
  const rig = await createApiRig(t)
  const opened = await rig.open('GET /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n')
  const [incoming]: IncomingMessage[] = await once(rig.server, 'request')
  await opened.until(/ 200 /)
  opened.client.write('b'.repeat(300_000))
  while ((incoming?.socket.bytesRead ?? 0) < 300_000) await new Promise(resolve => void setImmediate(resolve))
  t.is(incoming?.readableLength, 0)
  opened.client.destroy()
})

test('a request with more headers than any client sends is refused', async t => {
  const rig = await createApiRig(t)
  const headers = Array.from({ length: 120 }, (_none, n) => `x-${n}: 1`)
  const refused = once(rig.server, 'clientError')
  const opened = await rig.open(['GET /livez HTTP/1.1', 'host: localhost', ...headers, '', ''].join('\r\n'))
  await refused
  await rig.clock.advance(250)
  t.regex(await opened.until(/^HTTP/), /^HTTP\/1\.1 431 /)
  t.is((await rig.ask('GET /livez', headers.slice(0, 90))).status, 200)
})

test('a long body waits for its turn before it is parsed, and costs its holder by its length', async t => {
  const taken: { holder: string; cost: number; task: () => void }[] = []
  const rig = await createApiRig(t, {
    turns: {
      take(holder, task, cost = 1) {
        taken.push({ holder, cost, task })
        if (cost === 1) task()
      },
    },
  })
  const json = ['content-type: application/json']
  t.is((await rig.ask('POST /v1/tokens', json, '{"repositories":1}')).status, 400)
  t.deepEqual(
    taken.map(({ cost }) => cost),
    [1],
  )
  const body = JSON.stringify({ repositories: 'x'.repeat(20_000) })
  const opened = await rig.open(
    `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  while (taken.length < 3) await new Promise(resolve => void setImmediate(resolve))
  t.is(opened.text(), '')
  t.is(taken[2]?.cost, 9)
  t.is(taken[2]?.holder, taken[0]?.holder)
  taken[2]?.task()
  await opened.until(/ 400 /)
})

test('a body that was complete before its reader came is read; one whose caller has gone is cut off', async t => {
  const decided = Promise.withResolvers<void>()
  const bodies: string[] = []
  const rig = await createApiRig(t, {
    operations: {
      gateway: {
        async forward({ readBody }) {
          await decided.promise
          const body = await readBody?.().catch((error: unknown) => String(error))
          bodies.push(body instanceof Uint8Array ? Buffer.from(body).toString() : String(body))
          throw new Failure('not-permitted', 'enough')
        },
      },
    },
  })
  const head = 'POST /v1/github/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n'
  const whole = await rig.open(`${head}body`)
  await once(rig.server, 'request')
  const gone = await rig.open(`${head}bo`)
  await once(rig.server, 'request')
  gone.client.destroy()
  await gone.closed()
  // The half of a request is answered with a refusal that nobody reads; then the connection is closed.
  await once(rig.server, 'clientError')
  await rig.clock.advance(1_000)
  decided.resolve()
  t.regex(await whole.until(/not-permitted/), /403/)
  whole.client.destroy()
  while (bodies.length < 2) await new Promise(setImmediate)
  t.regex(bodies.toSorted().join(), /cut off.*,body$/)
  t.deepEqual(rig.log.lines, [])
})

test('a request with a header that only browsers send is refused', async t => {
  const rig = await createApiRig(t)
  for (const header of ['origin: http://localhost', 'referer: http://localhost/', 'sec-fetch-site: same-origin'])
    t.regex((await rig.ask('GET /v1/status', [header])).text, /browser-refused/, header)
  t.is((await rig.ask('GET /v1/status')).status, 200)
})
