// Answers and refusals of a socket: by which names it may be called, what is counted, logged and waited for, and which heads go out.

import { once } from 'node:events'
import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { createBodyBudgets } from '../../../src/core/api/body.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Engine } from '../../../src/core/engine.ts'
import { ANSWERS } from '../../../src/core/peers/rate-limit.ts'
import type { HolderTurns } from '../../../src/core/peers/holder.ts'
import { type ApiRigOptions, createApiRig } from '../../support/api-rig.ts'
import { peerOf } from '../../support/operations-rig.ts'

const codeIn = (fields?: Readonly<Record<string, unknown>>): unknown => {
  const error = fields?.['error']
  return error instanceof Failure ? error.code : error
}

const JSON_TYPE = 'content-type: application/json'
const deskThat = (answer: () => unknown): Partial<Engine> => ({ issuer: { answer } }) as unknown as Engine
const GIVEN = { token: 'ghs_x', expires_at: '2026-05-01T13:00:00.000Z' }

/** Turns that are all taken at once, and noted. */
const createNotedTurns = () => {
  const taken: (readonly [holder: string, cost: number])[] = []
  const turns: HolderTurns = {
    take(holder, task, cost = 1) {
      taken.push([holder, cost])
      task()
    },
  }
  return { taken, turns }
}

test('a token is answered with its length and its type, and kept by nobody on the way', async t => {
  const { ask } = await createApiRig(t, { operations: deskThat(() => GIVEN) })
  const { status, head, text } = await ask('POST /v1/tokens', [JSON_TYPE], '{}')
  t.is(status, 200)
  t.is(text, JSON.stringify(GIVEN))
  t.regex(head, /^content-type: application\/json\r?$/im)
  t.regex(head, /^cache-control: no-store\r?$/im)
  t.regex(head, new RegExp(`^content-length: ${text.length}\r?$`, 'im'))
  const asGit = await ask('POST /v1/tokens', ['accept: text/x-git-credential', JSON_TYPE], '{}')
  t.regex(asGit.head, /^content-type: text\/x-git-credential\r?$/im)
  t.regex(asGit.head, /^cache-control: no-store\r?$/im)
  const document = await ask('GET /v1/openapi.json')
  t.regex(document.head, /^content-type: application\/json\r?$/im)
  t.regex(document.head, new RegExp(`^content-length: ${Buffer.byteLength(document.text)}\r?$`, 'im'))
})

test('an answer that is given again is made a text once; any other one is told as it is now', async t => {
  let made = 0
  const again = { toJSON: () => ({ made: (made += 1) }) }
  const status = { state: 'connected', since: '2026-05-01T12:00:00.000Z', meaning: '', next: '', version: '0' }
  const rig = await createApiRig(t, { operations: deskThat(() => again), backend: { status: () => status } })
  const texts = []
  for (const _ of [1, 2]) texts.push((await rig.ask('POST /v1/tokens', [JSON_TYPE], '{}')).text)
  t.deepEqual(texts, ['{"made":1}', '{"made":1}'])
  t.regex((await rig.ask('GET /v1/status')).text, /"connected"/)
  status.state = 'suspended'
  t.regex((await rig.ask('GET /v1/status')).text, /"suspended"/)
})

test('git is answered in its own words: from what it says of host and path, or from JSON, and with nothing where it means another host', async t => {
  const asked: unknown[] = []
  const rig = await createApiRig(t, {
    operations: { issuer: { answer: (request: unknown) => (asked.push(request), GIVEN) } } as unknown as Engine,
    backend: { githubUrl: () => 'https://github.com' },
  })
  const asGit = (body: string, type = 'text/x-git-credential') =>
    rig.ask('POST /v1/tokens', ['accept: text/x-git-credential', `content-type: ${type}`], body)
  const path = 'path=octo-org/web.git\ncapability[]=authtype\n'
  const given = await asGit(`protocol=https\nhost=github.com\n${path}\n`, 'text/x-git-credential; charset=utf-8')
  t.is(given.status, 200)
  t.regex(given.text, /^ephemeral=1\nusername=x-access-token\npassword=ghs_x\npassword_expiry_utc=1777640400\n$/m)
  const other = await asGit('protocol=https\nhost=gitlab.com\n\n')
  t.deepEqual([other.status, other.text], [204, ''])
  const json = await asGit('{"profile":"x"}', 'application/json')
  t.notRegex(json.text, /ephemeral/)
  t.is((await asGit('{"profile":5}', 'application/json')).status, 400)
  t.is((await asGit('{', 'application/json')).status, 400)
  t.deepEqual(asked, [{ min_ttl_seconds: 600, installation: 'octo-org', repositories: ['web'] }, { profile: 'x' }])
})

test("a socket is called by its own names, whatever the port; by GitHub's on token.sock alone; by no other", async t => {
  const paths: string[] = []
  const options: ApiRigOptions = {
    operations: {
      gateway: {
        async forward({ target }) {
          paths.push(target.path)
          throw new Failure('not-permitted', 'enough')
        },
      },
    },
  }
  const [token, admin] = [await createApiRig(t, options), await createApiRig(t, { ...options, socket: 'admin' })]
  const call = async (rig: typeof token, host: string, path = '/v1/status'): Promise<string> => {
    const opened = await rig.open(`GET ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`)
    await opened.closed()
    return /problem:([a-z-]+)/.exec(opened.text())?.[1] ?? opened.text().split(' ')[1] ?? ''
  }
  for (const rig of [token, admin]) {
    for (const host of ['localhost', 'localhost:8080', 'ghconnect', 'ghconnect:80', ''])
      t.is(await call(rig, host), '200', host)
    for (const host of ['evil.example', 'localhost.evil.example', 'localhost:evil', 'api.github.com.evil.example'])
      t.is(await call(rig, host), 'browser-refused', host)
  }
  t.is(await call(token, 'api.github.com', '/repos/o/r'), 'not-permitted', 'as the operation said')
  t.deepEqual(paths, ['/repos/o/r'])
  t.is(await call(admin, 'api.github.com', '/repos/o/r'), 'browser-refused')
  t.is(paths.length, 1)
})

test("of what only browsers send, fetch's own header is let through where it stands alone and says cors", async t => {
  const { ask } = await createApiRig(t)
  t.is((await ask('GET /v1/status', ['sec-fetch-mode: cors'])).status, 200)
  for (const headers of [
    ['sec-fetch-mode: navigate'],
    ['sec-fetch-mode: cors', 'sec-fetch-site: cross-site'],
    ['sec-fetch-mode: cors', 'origin: null'],
    ['sec-fetch-dest: empty'],
  ])
    t.is((await ask('GET /v1/status', headers)).status, 403, headers.join())
})

test('what nobody foresaw is in the journal with its path; the caller learns no more than that, and what was foreseen is not', async t => {
  const rig = await createApiRig(t, {
    operations: deskThat(() => {
      throw new TypeError('secret of the code')
    }),
  })
  const { status, text } = await rig.ask('POST /v1/tokens', [JSON_TYPE], '{}')
  t.is(status, 500)
  t.notRegex(text, /secret of the code/)
  const [line, ...more] = rig.log.lines
  t.deepEqual([line?.level, line?.fields?.['path'], more], ['error', '/v1/tokens', []])
  t.is(codeIn(line?.fields), 'internal')
  await rig.ask('GET /v1/nothing')
  t.is(rig.log.lines.length, 1)
})

test('a problem names its type, the path that it is of, and what to do; no one on the way keeps it', async t => {
  const { ask } = await createApiRig(t)
  const { status, head, text } = await ask('PUT /v1/nothing?x=1')
  t.is(status, 404)
  t.like(JSON.parse(text), {
    type: 'urn:ghconnect:problem:unknown-route',
    status: 404,
    detail: 'PUT /v1/nothing',
    instance: '/v1/nothing',
  })
  t.regex(head, /^content-type: application\/problem\+json\r?$/im)
  t.regex(head, /^cache-control: no-store\r?$/im)
  t.notRegex(head, /retry-after/i)
  for (const line of ['DELETE /v1/status', 'GET /v1/githubx', 'GET /v1/tokens', 'POST /livez'])
    t.is((await ask(line)).status, 404, line)
})

test('the daemon says that it lives, whether it can serve, and why not, also while its store is closed', async t => {
  const now: { reasons: string[]; closed?: Failure } = { reasons: [] }
  const rig = await createApiRig(t, {
    operations: { status: { reasonsNotReady: () => now.reasons } } as unknown as Engine,
    closed: () => now.closed,
  })
  const ready = async () => {
    const { status, text } = await rig.ask('GET /readyz')
    return [status, JSON.parse(text)]
  }
  t.deepEqual(await ready(), [200, { ready: true, reasons: [] }])
  now.reasons = ['not-connected: enable it']
  t.deepEqual(await ready(), [503, { ready: false, reasons: ['not-connected: enable it'] }])
  now.closed = new Failure('locked', 'no key')
  t.deepEqual(await ready(), [503, { ready: false, reasons: ['locked: no key'] }])
  const alive = await rig.ask('GET /livez')
  t.deepEqual([alive.status, JSON.parse(alive.text)], [200, { live: true }])
})

test('whoever reads the metrics finds each request that was answered and each refusal', async t => {
  const { ask } = await createApiRig(t, {
    socket: 'admin',
    state: () => 'locked',
    operations: {
      gateway: { forward: async () => ({ status: 201, headers: {}, body: Readable.from(['x']) }) },
      issuer: { answer: () => GIVEN },
    } as unknown as Engine,
  })
  for (const line of ['GET /v1/status', 'GET /v1/status', 'GET /v1/nothing', 'GET /v1/github/app', 'GET /v1/github/x'])
    await ask(line)
  await ask('POST /v1/tokens', ['accept: text/x-git-credential', JSON_TYPE], '{}')
  const { status, head, text } = await ask('GET /metrics')
  t.is(status, 200)
  t.regex(head, /^content-type: text\/plain; version=0\.0\.4; charset=utf-8\r?$/im)
  t.regex(text, /^ghconnect_requests_total\{method="GET",path="\/v1\/status"\} 2$/m)
  t.regex(text, /^ghconnect_requests_total\{method="POST",path="\/v1\/tokens"\} 1$/m)
  t.regex(text, /^ghconnect_requests_total\{method="ANY",path="\/v1\/github\/\{path\}"\} 1$/m)
  t.regex(text, /^ghconnect_refusals_total\{code="unknown-route",class="usage"\} 1$/m)
  t.regex(text, /^ghconnect_refusals_total\{code="not-permitted",class="not-permitted"\} 1$/m)
})

const slowRefusal = async (t: ExecutionContext, options: ApiRigOptions, request: string) => {
  const rig = await createApiRig(t, options)
  const opened = await rig.open(request)
  await once(rig.server, 'request')
  for (let turns = 0; turns < 20; turns += 1) await setImmediate()
  return { ...rig, opened }
}

test('a body that is announced as too long is refused before it is sent, a moment later, and the connection ends', async t => {
  const { taken, turns } = createNotedTurns()
  const request = `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\n${JSON_TYPE}\r\ncontent-length: 65537\r\n\r\n`
  const { opened, clock } = await slowRefusal(t, { turns }, request)
  await clock.advance(249)
  t.is(opened.text(), '')
  await clock.advance(1)
  t.regex(await opened.until(/problem/), /^HTTP\/1\.1 413 [^]*^connection: close\r$/im)
  t.regex(await opened.until(/body-too-large/), /at most 65536 bytes/)
  t.deepEqual(
    taken,
    [
      ['uid 1000', 1],
      ['uid 1000', 1],
    ],
    'the refusal waits for a turn, too',
  )
})

test('a route that takes bundles reads more than others do, from a room of its own', async t => {
  const text = 'x'.repeat(100_000)
  const bundle = Buffer.from(text).toString('base64')
  const got: number[] = []
  const none = { all: 0, ofHolder: 0 }
  const rig = await createApiRig(t, {
    socket: 'admin',
    bodies: createBodyBudgets({ json: none, replay: none, streamed: none, large: { all: 200_000, ofHolder: 200_000 } }),
    operations: {
      status: { standing: () => ({ state: '', meaning: '', next: '' }) },
      noteRequest() {},
    } as unknown as Engine,
    backend: {
      restore: async bytes => (got.push(bytes.length), { outcome: 'restored', header: {} as never, warnings: [] }),
    },
  })
  const restored = await rig.ask('POST /v1/snapshots/restore', [JSON_TYPE], JSON.stringify({ bundle }))
  t.deepEqual(JSON.parse(restored.text), { outcome: 'restored', warnings: [], state: '', meaning: '', next: '' })
  t.deepEqual(got, [100_000])
  const unlock = rig.ask('POST /v1/unlock', [JSON_TYPE], JSON.stringify({ identity: 'x'.repeat(40_000) }))
  await once(rig.server, 'request')
  for (let turns = 0; turns < 100; turns += 1) {
    await setImmediate()
    await rig.clock.advance(250)
  }
  t.is((await unlock).status, 429, 'what is no bundle has no room in the room of bundles')
})

test('the budgets are as large as the daemon can bear: for JSON, for the gateway, and for one bundle', t => {
  const MIB = 2 ** 20
  const budgets = createBodyBudgets()
  for (const [name, ofHolder, all] of [
    ['json', 2, 8],
    ['replay', 2, 8],
    ['streamed', 2, 8],
    ['large', 32, 32],
  ] as const) {
    let held = 0
    for (let uid = 1; uid <= 10; uid += 1) {
      const account = budgets[name](peerOf(uid))
      let own = 0
      while (own < 100 && account.take(MIB)) own += 1
      if (uid === 1) t.is(own, ofHolder, name)
      held += own
    }
    t.is(held, all, name)
  }
})

test('on token.sock a long body is taken from the allowance by its length as well; an administrator neither waits nor pays', async t => {
  const body = `{"repositories":${' '.repeat(40_000)}1}`
  const { taken, turns } = createNotedTurns()
  const rig = await createApiRig(t, { turns })
  await rig.ask('POST /v1/tokens', [JSON_TYPE], body)
  t.deepEqual(taken, [
    ['uid 1000', 1],
    ['uid 1000', 19],
  ])
  // Somebody else asks as well.
  rig.rateLimit.takeAnswer(peerOf(2000))
  let left = 0
  try {
    for (; left < ANSWERS.burst; left += 1) rig.rateLimit.takeAnswer(peerOf(1000))
  } catch {}
  t.is(left, ANSWERS.burst - 20)

  taken.length = 0
  const admin = await createApiRig(t, { turns, socket: 'admin' })
  t.is((await admin.ask('POST /v1/tokens', [JSON_TYPE], body)).status, 400)
  t.is((await admin.ask('GET /v1/nothing')).status, 404)
  t.deepEqual(taken, [])
  admin.rateLimit.takeAnswer(peerOf(2000))
  t.notThrows(() => {
    for (let n = 0; n < ANSWERS.burst; n += 1) admin.rateLimit.takeAnswer(peerOf(1000))
  })
})

test('a body is JSON, and says which field is wrong', async t => {
  const { ask } = await createApiRig(t)
  const refused = await ask('POST /v1/tokens', [JSON_TYPE], '{"profile":')
  t.is(refused.status, 400)
  t.is(JSON.parse(refused.text).detail, 'the body is not JSON')
  t.regex((await ask('POST /v1/tokens', [JSON_TYPE], '{"profile":"x","more":1}')).text, /more: there is no such field/)
  t.regex((await ask('POST /v1/tokens', [JSON_TYPE])).text, /the body is not JSON/)
})

test('requests are remembered in bounded number, each for the route that checked it', async t => {
  const requests: unknown[] = []
  const options: ApiRigOptions = {
    operations: { issuer: { answer: (request: unknown) => (requests.push(request), GIVEN) } } as unknown as Engine,
  }
  const { open } = await createApiRig(t, options)
  const bodies = ['first', ...Array.from({ length: 512 }, (_, n) => `number-${n}`), 'first'].map(profile =>
    JSON.stringify({ profile }),
  )
  const head = `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\n${JSON_TYPE}\r\n`
  const opened = await open(bodies.map(body => `${head}content-length: ${body.length}\r\n\r\n${body}`).join(''))
  while (requests.length < bodies.length) await setImmediate()
  t.deepEqual(requests[0], requests.at(-1))
  t.not(requests[0], requests.at(-1))
  opened.client.destroy()
  const admin = await createApiRig(t, { ...options, socket: 'admin' })
  const elsewhere = await admin.ask('POST /v1/cluster', [JSON_TYPE], bodies[0])
  t.is(elsewhere.status, 400)
  t.is(JSON.parse(elsewhere.text).detail, 'profile: there is no such field')
})

test('what is asked of another route than that for tokens is kept nowhere: it may be a key', async t => {
  const asked: unknown[] = []
  const rig = await createApiRig(t, {
    socket: 'admin',
    operations: { explain: (request: unknown) => (asked.push(request), GIVEN), noteRequest() {} } as unknown as Engine,
  })
  const body = '{"user":"alice"}'
  for (let turn = 0; turn < 2; turn += 1)
    t.is((await rig.ask('POST /v1/policy/explain', [JSON_TYPE], body)).status, 200)
  t.deepEqual(asked[0], asked[1])
  t.not(asked[0], asked[1])
})

test('a long body in the words of git is taken from the allowance by its length as well', async t => {
  const { taken, turns } = createNotedTurns()
  const rig = await createApiRig(t, { turns, backend: { githubUrl: () => 'https://github.com' } })
  const asGit = ['accept: text/x-git-credential', 'content-type: text/x-git-credential']
  await rig.ask('POST /v1/tokens', asGit, `protocol=https\nhost=gitlab.com\npath=${'x'.repeat(40_000)}\n\n`)
  t.deepEqual(taken, [
    ['uid 1000', 1],
    ['uid 1000', 19],
  ])
})

test('metrics that cannot be read are a problem, and no connection that breaks', async t => {
  const { ask } = await createApiRig(t, { socket: 'admin' })
  const { status, text } = await ask('GET /metrics')
  t.is(status, 500)
  t.regex(text, /urn:ghconnect:problem:internal/)
})

test('who cannot be told apart is refused on both sockets, and waits in turn with others of that kind', async t => {
  const { taken, turns } = createNotedTurns()
  const peer = () => {
    throw new Failure('peer-gone', 'it ended')
  }
  for (const socket of ['token', 'admin'] as const) {
    const rig = await createApiRig(t, { socket, peer, turns })
    for (const line of ['GET /v1/status', 'GET /livez']) {
      const { status, text } = await rig.ask(line)
      t.is(status, 403, line)
      t.like(JSON.parse(text), { type: 'urn:ghconnect:problem:peer-gone', detail: 'it ended' })
    }
  }
  t.deepEqual(taken, [
    ['unknown', 1],
    ['unknown', 1],
  ])
})
