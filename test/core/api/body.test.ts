// The body of a request: whole however it arrives, JSON and nothing else, and bounded by what comes, not by what was announced.

import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import type { Engine } from '../../../src/core/engine.ts'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { ASSURED_BYTES, createBodyBudget, createBodyBudgets, PIECE_BYTES } from '../../../src/core/api/body.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import type { TokenRequest } from '../../../src/protocol/wire.ts'
import { createApiRig, type Spoken } from '../../support/api-rig.ts'
import { peerOf } from '../../support/operations-rig.ts'

const KIB = 1_024

/** Notes each token request and each key that gets through. */
const setUp = async (t: Parameters<typeof createApiRig>[0], socket: 'admin' | 'token' = 'token') => {
  const requests: unknown[] = []
  const keys: string[] = []
  const notes: (readonly [what: string, keysBefore: number])[] = []
  const operations = {
    issuer: { answer: (request: unknown) => (requests.push(request), { token: 'ghs_x' }) },
    keys: {
      add: async (pem: { reveal(): string }) => (keys.push(pem.reveal()), { added: 'x', alreadyHeld: false }),
      list: () => [],
    },
    noteRequest: (_: unknown, what: string) => void notes.push([what, keys.length]),
  } as unknown as Engine
  return { ...(await createApiRig(t, { socket, operations })), requests, keys, notes }
}

const JSON_TYPE = 'content-type: application/json'

test('a body that arrives in pieces is read whole, also where a letter lies in two of them', async t => {
  const { open, server, keys } = await setUp(t, 'admin')
  const text = 'Schlüssel → 鍵'
  const body = Buffer.from(JSON.stringify({ private_key: text }))
  const opened = await open(
    `POST /v1/keys HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${JSON_TYPE}\r\ncontent-length: ${body.length}\r\n\r\n`,
  )
  await once(server, 'request')
  // Each byte by itself: what was sent before is read before the next is.
  for (const byte of body) {
    opened.client.write(Buffer.of(byte))
    for (let turns = 0; turns < 5; turns++) await setImmediate()
  }
  await opened.closed()
  t.regex(opened.text(), /^HTTP\/1\.1 200/)
  t.deepEqual(keys, [text])
})

test('a body that does not tell its length is refused where it is too large, however small its pieces are', async t => {
  const { open, clock, requests } = await setUp(t)
  const piece = `${(KIB).toString(16)}\r\n${' '.repeat(KIB)}\r\n`
  const head = `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\n${JSON_TYPE}\r\ntransfer-encoding: chunked\r\n\r\n`
  const within = await open(`${head}${piece.repeat(60)}2\r\n{}\r\n0\r\n\r\n`)
  t.regex(await within.until(/ghs_x/), /^HTTP\/1\.1 200/)
  const beyond = await open(head)
  for (let sent = 0; sent < 70 && !beyond.client.destroyed; sent++) {
    beyond.client.write(piece)
    await setImmediate()
  }
  beyond.client.write('2\r\n{}\r\n0\r\n\r\n')
  // A refusal waits a moment.
  while (beyond.text() === '') {
    await setImmediate()
    await clock.advance(250)
  }
  t.regex(beyond.text(), /^HTTP\/1\.1 413 /)
  t.is(requests.length, 1)
  within.client.destroy()
})

test('only JSON is read, with parameters of its type or without', async t => {
  const { ask, requests } = await setUp(t)
  const json = [
    'application/json',
    'Application/JSON',
    'application/json; charset=utf-8',
    'Application/JSON ;charset=utf-8',
  ]
  for (const type of json) t.is((await ask('POST /v1/tokens', [`content-type: ${type}`], '{}')).status, 200, type)
  for (const type of ['application/jsonp', 'application/json-patch+json', 'text/plain', 'text/plain; application/json'])
    t.regex((await ask('POST /v1/tokens', [`content-type: ${type}`], '{}')).text, /invalid-request/, type)
  t.regex((await ask('POST /v1/tokens', [], '{}')).text, /invalid-request/)
  t.is(requests.length, json.length)
})

test('a request that is asked again and again is parsed once; one that may hold a key is kept nowhere', async t => {
  const { ask, requests } = await setUp(t)
  const small = JSON.stringify({ profile: 'small' })
  const large = JSON.stringify({ profile: 'large', repositories: Array.from({ length: 100 }, (_, n) => `repo-${n}`) })
  for (const body of [small, small, large, large]) t.is((await ask('POST /v1/tokens', [JSON_TYPE], body)).status, 200)
  t.is(requests[0], requests[1])
  t.not(requests[2], requests[3])
  t.deepEqual(requests[2], requests[3])
})

test('a body that one route takes is checked anew where it is sent to another one', async t => {
  const { ask, requests, keys } = await setUp(t, 'admin')
  for (const [body, taker, other] of [
    ['{}', '/v1/tokens', '/v1/keys'],
    ['{"private_key":"x"}', '/v1/keys', '/v1/tokens'],
  ] as const) {
    t.is((await ask(`POST ${taker}`, [JSON_TYPE], body)).status, 200)
    t.regex((await ask(`POST ${other}`, [JSON_TYPE], body)).text, /urn:ghconnect:problem:invalid-request/, body)
  }
  t.deepEqual([requests, keys], [[{}], ['x']])
})

test('who asks for a change is in the audit log before it is made', async t => {
  const { ask, notes, keys } = await setUp(t, 'admin')
  t.is((await ask('POST /v1/keys', [JSON_TYPE], JSON.stringify({ private_key: 'x' }))).status, 200)
  t.is(keys.length, 1)
  t.deepEqual(notes, [['POST /v1/keys', 0]])
})

test('git is told nothing in return for what it erases, and so asks its next helper', async t => {
  const { ask, requests } = await setUp(t)
  const asGit = ['accept: text/x-git-credential', JSON_TYPE]
  const given = await ask('POST /v1/tokens', asGit, '{}')
  t.is(given.status, 200)
  t.regex(given.text, /^password=ghs_x$/m)
  const erased = await ask('POST /v1/tokens', asGit, JSON.stringify({ rejected: 'a'.repeat(43) }))
  t.deepEqual([erased.status, erased.text], [204, ''])
  t.is(requests.length, 2, 'the daemon heard of it')
})

const SMALL = { all: 100 * KIB, ofHolder: 50 * KIB }
const makeBudgets = () =>
  createBodyBudgets({
    json: SMALL,
    replay: SMALL,
    streamed: { all: 200 * KIB, ofHolder: 200 * KIB },
    large: SMALL,
  })
const head = (path: string, length: number): string =>
  `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`
/** Gives a token to whoever asks in his own name. */
const DESK = {
  issuer: {
    answer({ profile }: TokenRequest) {
      if (profile === 'theirs') throw new Failure('not-permitted', 'it is theirs')
      return { token: 'ghs_x' }
    },
  },
} as unknown as Engine

type ApiRig = Awaited<ReturnType<typeof createApiRig>>
/** Of a token request with this body: a refusal for want of room is told after a moment. */
const statusOf = async ({ ask, clock }: ApiRig, body: string): Promise<number> => {
  const asked = ask('POST /v1/tokens', ['content-type: application/json'], body)
  for (;;) {
    const spoken = await Promise.race([asked, setImmediate<Spoken | undefined>(undefined)])
    if (spoken) return spoken.status
    await clock.advance(250)
  }
}

test('sessions of one user share a budget; when all is held, others still have room for a small body', t => {
  const budget = createBodyBudget({ all: 1_000_000, ofHolder: 600_000 })
  const session = (user: number, unit: string) => budget(peerOf(user, { unit, userSlice: user }))
  const first = session(1000, 'session-1.scope')
  t.true(first.take(400_000))
  t.false(session(1000, 'session-2.scope').take(400_000))
  t.true(session(1001, 'session-3.scope').take(600_000), 'the rest of it')
  t.false(session(1002, 'session-4.scope').take(200_000))
  t.true(session(1002, 'session-4.scope').take(ASSURED_BYTES - PIECE_BYTES))
  first.release()
  first.release()
  t.true(session(1000, 'session-2.scope').take(380_000))
})

test('a body in pieces of one byte is charged for each piece', t => {
  const account = createBodyBudget({ all: 100_000, ofHolder: 100_000 })(peerOf(1000))
  let pieces = 0
  while (account.take(1)) pieces += 1
  t.true(pieces < 400)
})

test('half-sent bodies of a holder are refused beyond its budget; another holder is answered, and so is it once they are gone', async t => {
  let user = 1000
  const rig = await createApiRig(t, {
    peer: () => peerOf(user),
    bodies: makeBudgets(),
    operations: DESK,
  })
  const cut = head('/v1/tokens', 60 * KIB) + 'x'.repeat(30 * KIB)
  const halves = [await rig.open(cut), await rig.open(cut)]
  const answered = () => halves.filter(({ text }) => text() !== '')
  while (answered().length === 0) {
    await setImmediate()
    await rig.clock.advance(250)
  }
  const [refused] = answered()
  t.regex(refused?.text() ?? '', /^HTTP\/1\.1 429 [^]*retry-after: \d+\r\n[^]*rate-limited/i)
  user = 1001
  t.is((await rig.ask('POST /v1/tokens', ['content-type: application/json'], '{}')).status, 200)
  user = 1000
  for (const { client, closed } of halves) {
    client.destroy()
    await closed()
  }
  const whole = `{${' '.repeat(40 * KIB)}}`
  let status = await statusOf(rig, whole)
  // Soon after they were closed here they are gone there.
  for (let tries = 0; status === 429 && tries < 50; tries += 1) status = await statusOf(rig, whole)
  t.is(status, 200)
  t.deepEqual(rig.log.lines, [])
})

test('a body gives its room back, whether its request is answered, refused, or no request at all', async t => {
  const rig = await createApiRig(t, { bodies: makeBudgets(), operations: DESK })
  const long = ' '.repeat(30 * KIB)
  for (const [text, status] of [
    ['{', 400],
    ['{"more":1}', 400],
    ['{"profile":"theirs"}', 403],
    ['{}', 200],
    ['{}', 200],
  ] as const)
    t.is(await statusOf(rig, text + long), status, `${text} has room`)
})

test('what still comes of a body that had no room takes none from its holder', async t => {
  const rig = await createApiRig(t, {
    bodies: makeBudgets(),
    operations: DESK,
    turns: { take: (_holder, task) => task() },
  })
  const opened = await rig.open(head('/v1/tokens', 62 * KIB))
  const [incoming]: IncomingMessage[] = await once(rig.server, 'request')
  const arrived = (): number => incoming?.socket.bytesRead ?? 0
  const send = async (bytes: number): Promise<void> => {
    const sent = arrived() + bytes
    opened.client.write('x'.repeat(bytes))
    while (arrived() < sent) await setImmediate()
  }
  await send(51 * KIB)
  await send(9 * KIB)
  opened.client.destroy()
  await opened.closed()
  t.is(await statusOf(rig, `{${' '.repeat(45 * KIB)}}`), 200)
})

test('beyond the budget the gateway streams a body whole instead of holding it', async t => {
  const got: { held: boolean; text: string }[] = []
  const forward: Engine['gateway']['forward'] = async ({ readBody }) => {
    const body = await readBody?.()
    const pieces: Buffer[] = []
    if (typeof body === 'function') for await (const piece of body()) pieces.push(Buffer.from(piece))
    else if (body instanceof Uint8Array) pieces.push(Buffer.from(body))
    got.push({ held: body instanceof Uint8Array, text: Buffer.concat(pieces).toString() })
    return { status: 201, headers: {}, body: Readable.from([]) }
  }
  const rig = await createApiRig(t, { bodies: makeBudgets(), operations: { gateway: { forward } } })
  const bodies = ['a'.repeat(20 * KIB), `${'b'.repeat(150 * KIB)}end`]
  for (const body of bodies) t.is((await rig.ask('POST /v1/github/x', [], body)).status, 201)
  t.deepEqual(
    got.map(({ held }) => held),
    [true, false],
  )
  t.deepEqual(
    got.map(({ text }) => text),
    bodies,
  )
})

test('a holder streams so many bodies at once; one more is refused', async t => {
  const rig = await createApiRig(t, {
    bodies: makeBudgets(),
    operations: {
      gateway: {
        async forward({ readBody }) {
          await readBody?.()
          return new Promise<never>(() => {})
        },
      },
    },
  })
  const begin = 'POST /v1/github/x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n'
  const chunked = `${begin}${(20 * KIB).toString(16)}\r\n${'x'.repeat(20 * KIB)}\r\n`
  const opened = [await rig.open(chunked), await rig.open(chunked)]
  while (opened.every(({ text }) => text() === '')) {
    await setImmediate()
    await rig.clock.advance(250)
  }
  t.is(opened.filter(({ text }) => /^HTTP\/1.1 429 /.test(text())).length, 1)
})
