// The gateway's answers: GitHub's goes out to the process that asked, and to no other one.

import { once } from 'node:events'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import test from 'ava'
import { createBodyBudgets } from '../../src/api/body-budget.ts'
import { passOn } from '../../src/api/gateway.ts'
import { asFailure, Failure } from '../../src/domain/errors.ts'
import type { Operations } from '../../src/operations/operations.ts'
import { createApiRig } from '../support/api-rig.ts'
import { createFakeClock } from '../support/fakes.ts'
import { callerOf, peerOf } from '../support/operations-rig.ts'

test("a peer that died while GitHub was asked gets nothing of GitHub's answer", async t => {
  let alive = true
  const caller = callerOf(peerOf(1000))
  const assertAlive = (): void => {
    if (!alive) throw new Failure('peer-gone', 'the process ended')
  }
  const body = Readable.from(['a secret of the repository'])
  const gateway: Operations['gateway'] = {
    async forward() {
      alive = false
      return { status: 200, headers: { 'x-github-request-id': 'A:1' }, body }
    },
  }
  const server = createServer((incoming, outgoing) => {
    passOn(
      { incoming, outgoing, path: '/v1/github/repos/o/r', query: '', ours: 'http://localhost/v1/github' },
      {
        operations: { gateway } as Operations,
        apiUrl: 'https://api.github.com',
        caller: { ...caller, attested: { ...caller.attested, assertAlive } },
        clock: createFakeClock(),
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
  const gateway: Operations['gateway'] = {
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
    const gateway: Operations['gateway'] = {
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
  const gateway: Operations['gateway'] = {
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
