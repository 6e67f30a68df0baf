// `fetch` over the way out: one deadline and one bound for all that an answer takes, redirects included.

import { Readable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import test from 'ava'
import { createClock } from '../../../src/service/clock.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { createFetch, type FetchDeps } from '../../../src/core/outbound/fetch.ts'

type Sent = Parameters<FetchDeps['send']>[0]
type Answer = Awaited<ReturnType<FetchDeps['send']>>

const answerOf = (body: Iterable<Uint8Array>, more: Partial<Answer> = {}): Answer => ({
  status: 200,
  headers: {},
  body: Readable.from(body, { objectMode: false }),
  ...more,
})
const to = (location: string): Answer => answerOf([], { status: 302, headers: { location } })

const setUp = (answer: (sent: Sent, count: number) => Answer | Promise<Answer>, limits: Partial<FetchDeps> = {}) => {
  const sent: Sent[] = []
  const fetch = createFetch({
    send: async hop => answer(hop, sent.push(hop)),
    clock: createClock(),
    deadlineMs: 10_000,
    maxBytes: 1_000,
    ...limits,
  })
  return { fetch, sent }
}
const PIECE = new Uint8Array(100)

test('redirects have what is left of the one deadline', async t => {
  const { fetch, sent } = setUp(async (_, count) => {
    await setTimeout(20)
    return count < 4 ? to(`https://api.github.com/${count}`) : answerOf([])
  })
  await fetch('https://api.github.com/')
  const left = sent.map(({ deadlineMs }) => deadlineMs)
  t.true((left[0] ?? 0) <= 10_000)
  for (const [at, ms] of left.entries()) t.true(ms <= 10_000 - at * 19, `${ms} ms for request ${at + 1}`)
})

test('a redirect is followed with the same method, headers and signal, and the answer before it is let go', async t => {
  for (const status of [301, 302, 303, 307, 308]) {
    for (const method of ['GET', 'HEAD']) {
      const before = answerOf([PIECE], { status, headers: { location: '/next' } })
      const { fetch, sent } = setUp((_, count) => (count === 1 ? before : answerOf([])))
      const { signal } = new AbortController()
      const headers = { accept: 'z', 'accept-encoding': 'gzip' }
      const answer = await fetch('https://api.github.com/first', { method, headers, signal })
      t.is(answer.url, 'https://api.github.com/next')
      t.like(sent[1], { method, url: 'https://api.github.com/next', signal }, String(status))
      // What would come packed is not unpacked here.
      for (const hop of sent) t.deepEqual(hop.headers, { accept: 'z' })
      t.true(before.body.destroyed)
    }
  }
})

test('a place that is told beside another status is no redirect', async t => {
  for (const status of [200, 201, 304, 404]) {
    const { fetch, sent } = setUp(() => answerOf([], { status, headers: { location: '/next' } }))
    t.is((await fetch('https://api.github.com/')).status, status)
    t.is(sent.length, 1)
  }
  const nowhere = setUp(() => answerOf([], { status: 302 }))
  t.is((await nowhere.fetch('https://api.github.com/')).status, 302)
})

test('an answer of which no more comes ends with the deadline, one that breaks off is no answer', async t => {
  const silent = setUp(() => answerOf([], { body: new Readable({ read() {} }) }), { deadlineMs: 30 })
  t.like(await t.throwsAsync(silent.fetch('https://api.github.com/'), { instanceOf: Failure }), {
    code: 'timeout',
    message: 'api.github.com: the answer was not whole in 0.03 s',
  })
  const broken = new Readable({ read: () => void broken.destroy(new Error('ECONNRESET')) })
  const { fetch } = setUp(() => answerOf([], { body: broken }))
  t.is((await t.throwsAsync(fetch('https://api.github.com/'), { instanceOf: Failure }))?.code, 'unreachable')
})

test('a caller that goes away while the answer is read is told its own reason, however the answer broke off', async t => {
  for (const reason of [new Error('the caller left'), new Failure('peer-gone', 'it has ended'), 'no error']) {
    const caller = new AbortController()
    const body: Readable = new Readable({ read: () => caller.abort(reason) })
    caller.signal.addEventListener('abort', () => body.destroy(new Error('aborted')))
    const { fetch } = setUp(() => answerOf([], { body }))
    const thrown = await fetch('https://api.github.com/', { signal: caller.signal }).catch((error: unknown) => error)
    t.is(thrown, reason)
  }
})

test('an answer is bounded as a whole, in however many pieces it comes', async t => {
  const pieces = (count: number): Uint8Array[] => Array.from({ length: count }, () => PIECE)
  const within = await setUp(() => answerOf(pieces(10))).fetch('https://api.github.com/')
  t.is((await within.arrayBuffer()).byteLength, 1_000)
  const beyond = setUp(() => answerOf([...pieces(10), new Uint8Array(1)])).fetch('https://api.github.com/')
  t.is((await t.throwsAsync(beyond, { instanceOf: Failure }))?.code, 'github-unexpected')
})

test('credentials go to the very origin alone: not to another port, host or scheme, and never unencrypted', async t => {
  const headers = { authorization: 'Bearer x', cookie: 'y', accept: 'z' }
  for (const [location, kept] of [
    ['https://api.github.com/other', true],
    ['/other', true],
    ['https://api.github.com:8443/', false],
    ['https://github.com/', false],
  ] as const) {
    const { fetch, sent } = setUp((_, count) => (count === 1 ? to(location) : answerOf([])))
    await fetch('https://api.github.com/', { headers })
    t.deepEqual(sent[1]?.headers, kept ? headers : { accept: 'z' }, location)
  }
  const down = setUp((_, count) => (count === 1 ? to('http://api.github.com/') : answerOf([])))
  await t.throwsAsync(down.fetch('https://api.github.com/', { headers }), { instanceOf: Failure })
  t.is(down.sent.length, 1)
})
