// The gateway's answers: GitHub's goes out to the process that asked, and to no other one.

import { once } from 'node:events'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { createBodyBudgets } from '../../../src/core/api/body.ts'
import type { Api } from '../../../src/core/api/context.ts'
import { passOn } from '../../../src/core/api/gateway.ts'
import { asFailure, Failure } from '../../../src/protocol/errors.ts'
import type { Forwarded, GatewayRequest, RequestBody } from '../../../src/core/tokens/gateway.ts'
import type { Engine } from '../../../src/core/engine.ts'
import { BYTES } from '../../../src/core/peers/rate-limit.ts'
import { createApiRig } from '../../support/api-rig.ts'
import { createFakeClock } from '../../support/fakes.ts'
import { callerOf, peerOf } from '../../support/operations-rig.ts'

test("a peer that died while GitHub was asked gets nothing of GitHub's answer", async t => {
  let alive = true
  const caller = callerOf(peerOf(1000))
  const assertAlive = (): void => {
    if (!alive) throw new Failure('peer-gone', 'the process ended')
  }
  const body = Readable.from(['a secret of the repository'])
  const gateway: Engine['gateway'] = {
    async forward() {
      alive = false
      return { status: 200, headers: { 'x-github-request-id': 'A:1' }, body }
    },
  }
  const server = createServer((incoming, outgoing) => {
    passOn(
      { incoming, outgoing, path: '/v1/github/repos/o/r', query: '', ours: 'http://localhost/v1/github' },
      {
        api: {
          socket: 'admin',
          operations: () => ({ gateway }),
          backend: { apiUrl: () => 'https://api.github.com' },
          clock: createFakeClock(),
        } as unknown as Api,
        caller: { ...caller, attested: { ...caller.attested, assertAlive } },
        account: createBodyBudgets().replay(peerOf(1000)),
        streamed: createBodyBudgets().streamed(peerOf(1000)),
      },
    ).catch((error: unknown) => outgoing.writeHead(403).end(asFailure(error).code))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => (server.closeAllConnections(), server.close()))
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const answer = await fetch(`http://127.0.0.1:${port}/`)
  t.deepEqual([answer.status, await answer.text()], [403, 'peer-gone'])
  t.true(body.destroyed)
})

test('what is for one hop, or names somebody, goes neither to GitHub nor back', async t => {
  const out: Readonly<Record<string, string>>[] = []
  const gateway: Engine['gateway'] = {
    async forward({ headers }) {
      out.push(headers)
      const back = {
        'x-github-request-id': 'A:1',
        'set-cookie': ['tracked=1'],
        connection: 'x-of-this-hop',
        'x-of-this-hop': 'secret',
        'keep-alive': 'timeout=5',
        etag: '"1"',
      }
      return { status: 200, headers: back, body: Readable.from([]) }
    },
  }
  const rig = await createApiRig(t, { operations: { gateway } })
  const answer = await rig.ask('GET /v1/github/repos/o/r', [
    'authorization: Bearer ghs_of_the_caller',
    'cookie: session=1',
    'proxy-authorization: Basic eDp5',
    'x-forwarded-for: 10.0.0.1',
    'x-http-method-override: DELETE',
    'connection: x-of-this-hop',
    'x-of-this-hop: secret',
    'accept: application/json',
    'if-none-match: "1"',
  ])
  t.is(answer.status, 200)
  t.deepEqual(out, [{ accept: 'application/json', 'if-none-match': '"1"' }])
  t.regex(answer.head, /^etag: "1"$/im)
  t.notRegex(answer.head, /set-cookie|x-of-this-hop|timeout=5/i)
})

for (const [what, head, begin] of [
  ['in chunks', 'transfer-encoding: chunked', '4\r\nbody\r\n'],
  ['of 2 MiB', `content-length: ${2 ** 21}`, 'body'],
  ['of a few bytes', 'content-length: 9', 'body'],
] as const)
  test(`GitHub is not called for a body ${what} whose sender hangs up`, async t => {
    const calls: unknown[] = []
    const gateway: Engine['gateway'] = {
      async forward({ readBody }) {
        const body = readBody?.()
        read.resolve(body)
        calls.push(await body)
        return { status: 201, headers: {}, body: Readable.from([]) }
      },
    }
    const read = Promise.withResolvers<unknown>()
    const rig = await createApiRig(t, { operations: { gateway } })
    const { client } = await rig.open(`POST /v1/github/x HTTP/1.1\r\nhost: localhost\r\n${head}\r\n\r\n${begin}`)
    await once(rig.server, 'request')
    client.destroy()
    const error = await t.throwsAsync(async () => read.promise, { instanceOf: Failure })
    t.is(error?.code, 'invalid-request')
    t.deepEqual(calls, [])
  })

test('a body in chunks that fits is whole when GitHub is called, and can be sent again', async t => {
  const bodies: unknown[] = []
  const gateway: Engine['gateway'] = {
    async forward({ readBody }) {
      bodies.push(await readBody?.())
      return { status: 201, headers: {}, body: Readable.from([]) }
    },
  }
  const rig = await createApiRig(t, { operations: { gateway } })
  const body = '4\r\nbody\r\n2\r\n{}\r\n0\r\n\r\n'
  const opened = await rig.open(
    `POST /v1/github/x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n${body}`,
  )
  t.regex(await opened.until(/\r\n\r\n/), /^HTTP\/1.1 201 /)
  t.deepEqual(bodies, [Buffer.from('body{}')])
})

/** A gateway that notes what it is asked to send, and gives this answer. */
const startGateway = async (t: ExecutionContext, answer: Partial<Forwarded> | (() => Promise<Forwarded>) = {}) => {
  const requests: GatewayRequest[] = []
  const gateway: Engine['gateway'] = {
    async forward(request) {
      requests.push(request)
      return typeof answer === 'function' ? answer() : { status: 200, headers: {}, body: Readable.from([]), ...answer }
    },
  }
  return { ...(await createApiRig(t, { operations: { gateway } })), requests }
}

test('of all that is for one hop or bears a credential nothing goes out, and the length only with a body', async t => {
  const { ask, requests } = await startGateway(t, {
    headers: {
      'transfer-encoding': 'chunked',
      te: 'x',
      trailer: 'x',
      'proxy-authenticate': 'Basic',
      upgrade: 'h2c',
      vary: 'a',
    },
  })
  const names = 'keep-alive proxy-connection te trailer forwarded via x-forwarded-host x-forwarded-proto'.split(' ')
  const { head } = await ask('GET /v1/github/x', [...names.map(name => `${name}: x`), 'content-length: 0', 'x-mine: 1'])
  await ask('POST /v1/github/x', ['content-type: text/plain', 'x-github-api-version: 2022-11-28'], 'body')
  t.deepEqual(
    requests.map(({ headers }) => headers),
    [{ 'x-mine': '1' }, { 'content-type': 'text/plain', 'x-github-api-version': '2022-11-28', 'content-length': '4' }],
  )
  t.deepEqual(
    requests.map(({ readBody }) => readBody !== undefined),
    [false, true],
  )
  t.regex(head, /^vary: a\r?$/im)
  t.notRegex(head, /^(?:te|trailer|proxy-authenticate|upgrade):/im)
})

test('methods of GitHub go out as they are, with path and query; others are no route', async t => {
  const { ask, requests } = await startGateway(t, { status: 404, headers: { 'x-ratelimit-remaining': '7' } })
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']) {
    const { status, head } = await ask(`${method} /v1/github/repos/o/r?profile=ci&page=2`)
    t.is(status, 404, method)
    t.regex(head, /^x-ratelimit-remaining: 7\r?$/im)
    const request = requests.at(-1)
    t.is(request?.method, method)
    t.like(request?.target, { path: '/repos/o/r', query: 'page=2', profile: 'ci' })
  }
  for (const method of ['OPTIONS', 'TRACE'])
    t.regex((await ask(`${method} /v1/github/x`)).text, /unknown-route/, method)
  t.is(requests.length, 6)
})

test('addresses of GitHub lead back to where the caller found them, under the profile and of the repository', async t => {
  const api = 'https://api.github.com'
  const headers = { link: `<${api}/repositories/5/issues?page=2>; rel="next"`, location: `${api}/repos/o/new` }
  const { ask, open } = await startGateway(t, { status: 301, headers, profile: 'ci' })
  const { head } = await ask('GET /v1/github/repos/o/r/issues')
  t.regex(head, /^link: <http:\/\/localhost\/v1\/github\/repos\/o\/r\/issues\?page=2&profile=ci>; rel="next"\r?$/im)
  t.regex(head, /^location: http:\/\/localhost\/v1\/github\/repos\/o\/new\?profile=ci\r?$/im)
  const named = await open('GET /v1/github/x HTTP/1.1\r\nhost: ghconnect:80\r\nconnection: close\r\n\r\n')
  t.regex(
    await named.until(/location/),
    /^location: http:\/\/ghconnect:80\/v1\/github\/repos\/o\/new\?profile=ci\r?$/im,
  )
  const asGitHub = await open('GET /x HTTP/1.1\r\nhost: api.github.com\r\nconnection: close\r\n\r\n')
  t.regex(await asGitHub.until(/location/), /^location: https:\/\/api\.github\.com\/repos\/o\/new\?profile=ci\r?$/im)
  const plain = await startGateway(t, { headers })
  t.regex(
    (await plain.ask('GET /v1/github/x')).head,
    /^link: <http:\/\/localhost\/v1\/github\/repositories\/5\/issues\?page=2>/im,
  )
})

test('addresses are those of the API that was asked, though a reload names another one meanwhile', async t => {
  let api = 'https://old.example.com'
  const answer = { status: 200, headers: { location: 'https://old.example.com/repos/o/new' }, body: Readable.from([]) }
  const gateway = { forward: async () => ((api = 'https://new.example.com'), answer) }
  const { ask } = await createApiRig(t, {
    operations: { gateway } as unknown as Engine,
    backend: { apiUrl: () => api },
  })
  t.regex((await ask('GET /v1/github/x')).head, /^location: http:\/\/localhost\/v1\/github\/repos\/o\/new\r?$/im)
})

test('while the store is closed every request for GitHub is told so, whatever it is', async t => {
  const { ask } = await createApiRig(t, { closed: () => new Failure('locked', 'the key is not here') })
  for (const line of ['GET /v1/github/x', 'OPTIONS /v1/github/x', 'GET /v1/github/%2e%2e/x'])
    t.regex((await ask(line)).text, /urn:ghconnect:problem:locked/, line)
})

test('a caller that hangs up ends what GitHub is asked for', async t => {
  const asked = Promise.withResolvers<void>()
  const { open, requests } = await startGateway(t, () => (asked.resolve(), Promise.withResolvers<never>().promise))
  const { client } = await open('GET /v1/github/x HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await asked.promise
  const [request] = requests
  t.false(request?.signal.aborted)
  client.destroy()
  if (request) await once(request.signal, 'abort')
  t.like(request?.signal.reason, { code: 'peer-gone' })
})

test('an answer that stands still for a minute is given up, one that moves is not, and nothing of it is watched after its end', async t => {
  const body = new Readable({ read() {} })
  const { open, clock } = await startGateway(t, { body })
  const before = clock.waiting()
  const opened = await open('GET /v1/github/x HTTP/1.1\r\nhost: localhost\r\n\r\n')
  for (const piece of ['one', 'two', 'three']) {
    body.push(piece)
    await opened.until(new RegExp(piece))
    await clock.advance(59_000)
  }
  t.false(body.destroyed)
  await clock.advance(62_000)
  t.true(body.destroyed)
  await opened.closed()
  t.notRegex(opened.text(), /0\r\n\r\n$/, 'it does not look whole')
  for (let turns = 0; turns < 20; turns += 1) await setImmediate()
  t.is(clock.waiting(), before)
})

/** Its caller has used up what may stream while others ask, and owes a second of it. */
const startSlowed = async (t: ExecutionContext, forward: Engine['gateway']['forward']) => {
  const rig = await createApiRig(t, { operations: { gateway: { forward } } })
  rig.rateLimit.takeAnswer(peerOf(1001))
  rig.rateLimit.takeBytes(peerOf(1000), BYTES.burst + BYTES.perSecond)
  const { promise: waits, resolve } = Promise.withResolvers<number>()
  const { sleep } = rig.clock
  rig.clock.sleep = (ms, signal) => (resolve(ms), sleep(ms, signal))
  return { ...rig, waits }
}

test('a body waits where its sender streams too much while others ask', async t => {
  const bodies: unknown[] = []
  const { ask, clock, waits } = await startSlowed(t, async ({ readBody }) => {
    bodies.push(await readBody?.())
    return { status: 201, headers: {}, body: Readable.from([]) }
  })
  const answer = ask('POST /v1/github/x', [], 'a body')
  const ms = await waits
  await clock.advance(999)
  t.deepEqual(bodies, [])
  await clock.advance(ms - 999)
  t.is((await answer).status, 201)
  t.deepEqual(bodies, [Buffer.from('a body')])
})

test('an answer waits where its reader streams too much while others ask', async t => {
  const body = Readable.from([Buffer.from('an answer')])
  const { open, clock, waits } = await startSlowed(t, async () => ({ status: 200, headers: {}, body }))
  const opened = await open('GET /v1/github/x HTTP/1.1\r\nhost: localhost\r\n\r\n')
  const ms = await waits
  await clock.advance(999)
  t.notRegex(opened.text(), /an answer/)
  await clock.advance(ms - 999)
  t.regex(await opened.until(/0\r\n\r\n$/), /an answer/)
})

test('a caller that hangs up while its body waits is waited for no longer', async t => {
  const ended = Promise.withResolvers<unknown>()
  const rig = await startSlowed(t, async ({ readBody, signal }) => {
    try {
      await readBody?.()
      signal.throwIfAborted()
    } catch (error) {
      ended.resolve(error)
    }
    return { status: 201, headers: {}, body: Readable.from([]) }
  })
  const { client } = await rig.open('POST /v1/github/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nbody')
  await rig.waits
  client.destroy()
  t.true((await ended.promise) instanceof Failure)
})

test("an answer that breaks off at GitHub's end breaks off at the caller's", async t => {
  const body = new Readable({ read() {} })
  const { open, log } = await startGateway(t, { body })
  const opened = await open('GET /v1/github/x HTTP/1.1\r\nhost: localhost\r\n\r\n')
  body.push('half')
  await opened.until(/half/)
  body.destroy(new Error('cut'))
  await opened.closed()
  t.notRegex(opened.text(), /0\r\n\r\n$|problem/)
  t.deepEqual(log.lines, [])
})

test('where GitHub answers before it has read everything, the connection ends with the answer', async t => {
  const { open } = await startGateway(t, { status: 413, body: Readable.from(['enough']) })
  const opened = await open('POST /v1/github/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4000000\r\n\r\nbegin')
  await opened.closed()
  t.regex(opened.text(), /^HTTP\/1\.1 413 [^]*^connection: close\r$[^]*enough/im)
})

test('a body of up to a mebibyte can be sent again; a longer one streams once a little of it is there', async t => {
  const bodies: RequestBody[] = []
  let read = Promise.withResolvers<void>()
  const gateway: Engine['gateway'] = {
    async forward({ readBody }) {
      const body = await readBody?.()
      if (body !== undefined) bodies.push(body)
      read.resolve()
      return { status: 201, headers: {}, body: Readable.from([]) }
    },
  }
  const rig = await createApiRig(t, { operations: { gateway } })
  t.is((await rig.ask('POST /v1/github/x', [], 'b'.repeat(2 ** 20))).status, 201)
  t.is(bodies[0] instanceof Uint8Array ? bodies[0].length : 0, 2 ** 20)
  read = Promise.withResolvers()
  const opened = await rig.open(
    `POST /v1/github/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${2 ** 20 + 1}\r\n\r\n${'b'.repeat(20_000)}`,
  )
  await read.promise
  t.is(typeof bodies[1], 'function', 'though most of it was not sent yet')
  opened.client.destroy()
})
