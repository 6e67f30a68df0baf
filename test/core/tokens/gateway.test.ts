// The gateway's retries: a token too new for a replica, a token that GitHub refuses, and what is never sent twice.

import { Readable } from 'node:stream'
import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { readGatewayTarget } from '../../../src/core/tokens/gateway-target.ts'
import type { TokenAnswer, TokenRequest } from '../../../src/protocol/wire.ts'
import { createGateway, type GatewayRequest } from '../../../src/core/tokens/gateway.ts'
import type { OutboundRequest, OutboundResponse } from '../../../src/core/outbound/outbound.ts'
import { callerOf, peerOf } from '../../support/operations-rig.ts'

const NOW = Date.parse('2026-07-11T12:00:00Z')
const MINUTE = 60_000
type Reply = { status: number; headers?: Record<string, string>; portal?: boolean }

const tokenAt = (ageMs: number, token = 'ghs_first'): TokenAnswer => ({
  token,
  expires_at: new Date(NOW - ageMs + 60 * MINUTE).toISOString(),
  installation: 1,
  account: 'octo-org',
  permissions: { metadata: 'read' },
})

const create = (options: {
  replies: readonly Reply[]
  ageMs?: number
  answer?: (request: TokenRequest) => TokenAnswer
  /** While it is waited for. */
  onSleep?: () => void
}) => {
  const sent: OutboundRequest[] = []
  const asked: TokenRequest[] = []
  const slept: number[] = []
  const bodies: Readable[] = []
  const gateway = createGateway({
    issuer: {
      answer(request) {
        asked.push(request)
        if (options.answer) return options.answer(request)
        return request.rejected === undefined ? tokenAt(options.ageMs ?? 10 * MINUTE) : tokenAt(0, 'ghs_second')
      },
      async narrowTo(id, { request }) {
        return { ...request, installation: 1, repositories: [`name-of-${id}`] }
      },
    },
    outbound: {
      async send(request): Promise<OutboundResponse> {
        const reply = options.replies[sent.length] ?? { status: 200 }
        sent.push(request)
        const body = Readable.from([])
        bodies.push(body)
        const genuine = reply.portal ? {} : { 'x-github-request-id': 'A:B' }
        return {
          status: reply.status,
          headers: { date: new Date(NOW).toUTCString(), ...genuine, ...reply.headers },
          body,
        }
      },
    },
    clock: {
      async sleep(ms) {
        slept.push(ms)
        options.onSleep?.()
      },
    },
    settings: () => ({ apiUrl: 'https://api.github.com' }),
    userAgent: 'ghconnectd/test',
  })
  const forward = (more: Partial<GatewayRequest> = {}, caller = callerOf(peerOf(1000))) =>
    gateway.forward(
      {
        method: 'GET',
        target: readGatewayTarget('/v1/github/repos/octo-org/web', ''),
        headers: {},
        signal: new AbortController().signal,
        ...more,
      },
      caller,
    )
  const tokens = (): (string | undefined)[] => sent.map(({ headers }) => headers['authorization'])
  return { forward, sent, asked, slept, bodies, tokens }
}

test('the token is put in, and a user agent where there is none', async t => {
  const { forward, sent } = create({ replies: [{ status: 200 }] })
  t.is((await forward({ headers: { accept: 'x/y' } })).status, 200)
  t.is(sent[0]?.url, 'https://api.github.com/repos/octo-org/web')
  t.deepEqual(sent[0]?.headers, { 'user-agent': 'ghconnectd/test', accept: 'x/y', authorization: 'Bearer ghs_first' })
  await forward({ headers: { 'user-agent': 'curl/8' } })
  t.is(sent[1]?.headers['user-agent'], 'curl/8')
})

for (const status of [401, 403])
  test(`a ${status} for a token of this moment is waited for, and asked once more with the same token`, async t => {
    const { forward, slept, tokens, bodies } = create({ replies: [{ status }, { status: 200 }], ageMs: 3_000 })
    t.is((await forward()).status, 200)
    t.deepEqual(slept, [2_000])
    t.deepEqual(tokens(), ['Bearer ghs_first', 'Bearer ghs_first'])
    t.true(bodies[0]?.destroyed)
  })

test('a process that ended while it was waited for has nothing asked in its name', async t => {
  let alive = true
  const assertAlive = (): void => {
    if (!alive) throw new Failure('peer-gone', 'the process ended')
  }
  const { attested } = callerOf(peerOf(1000))
  const { forward, sent } = create({ replies: [{ status: 401 }], ageMs: 3_000, onSleep: () => (alive = false) })
  const gone = forward({}, { socket: 'token', attested: { ...attested, assertAlive } })
  t.is((await t.throwsAsync(gone, { instanceOf: Failure }))?.code, 'peer-gone')
  t.is(sent.length, 1)
})

test('a 401 for a token in use has it replaced; it is asked once more, and no third time', async t => {
  const { forward, asked, slept, tokens } = create({ replies: [{ status: 401 }, { status: 401 }] })
  t.is((await forward()).status, 401)
  t.deepEqual(tokens(), ['Bearer ghs_first', 'Bearer ghs_second'])
  t.regex(asked[1]?.rejected ?? '', /^[A-Za-z0-9+/]{43}=$/)
  t.deepEqual(slept, [])
})

test('a 403 for a token in use, or one of a limit, is what the caller is to know', async t => {
  for (const [reply, ageMs] of [
    [{ status: 403 }, 10 * MINUTE],
    [{ status: 403, headers: { 'retry-after': '60' } }, 0],
    [{ status: 403, headers: { 'x-ratelimit-remaining': '0' } }, 0],
    [{ status: 404 }, 0],
    [{ status: 500 }, 0],
  ] as const) {
    const { forward, sent } = create({ replies: [reply], ageMs })
    t.is((await forward()).status, reply.status)
    t.is(sent.length, 1)
  }
})

test('bytes are sent again, a stream is not', async t => {
  const bytes = create({ replies: [{ status: 401 }] })
  t.is((await bytes.forward({ method: 'POST', readBody: async () => Buffer.from('{}') })).status, 200)
  t.deepEqual(
    bytes.sent.map(({ body }) => body instanceof Uint8Array && Buffer.from(body).toString()),
    ['{}', '{}'],
  )
  const stream = create({ replies: [{ status: 401 }] })
  t.is(
    (await stream.forward({ method: 'POST', readBody: async () => () => Readable.from([Buffer.from('{}')]) })).status,
    401,
  )
  t.is(stream.sent.length, 1)
})

test("an answer without GitHub's request id is a portal's, whatever it says", async t => {
  const { forward, sent, bodies } = create({ replies: [{ status: 401, portal: true }] })
  t.is((await t.throwsAsync(forward(), { instanceOf: Failure }))?.code, 'portal')
  t.is(sent.length, 1)
  t.true(bodies[0]?.destroyed)
})

test('where the profile does not say which token, the repository in the path does', async t => {
  const ambiguous = (request: TokenRequest): TokenAnswer => {
    if (!request.repositories) throw new Failure('profile-required', 'two')
    return { ...tokenAt(10 * MINUTE), profile: 'chosen' }
  }
  const { forward, asked } = create({ replies: [], answer: ambiguous })
  const { status, profile } = await forward()
  t.deepEqual({ status, profile }, { status: 200, profile: 'chosen' })
  t.deepEqual(asked, [{}, { installation: 'octo-org', repositories: ['web'] }])
  t.is((await forward({ target: readGatewayTarget('/v1/github/repositories/7/issues', '') })).profile, 'chosen')
  t.deepEqual(asked.slice(2), [{}, { installation: 1, repositories: ['name-of-7'] }])
  const target = readGatewayTarget('/v1/github/meta', '')
  t.is((await t.throwsAsync(forward({ target }), { instanceOf: Failure }))?.code, 'profile-required')
})

test('a denial is not asked around', async t => {
  const denied = (): never => {
    throw new Failure('not-permitted', 'no')
  }
  const { forward, asked, sent } = create({ replies: [], answer: denied })
  t.is((await t.throwsAsync(forward(), { instanceOf: Failure }))?.code, 'not-permitted')
  t.is(asked.length, 1)
  t.is(sent.length, 0)
})
