// The memory that bodies under way may hold: what has no room is refused or streams, and nobody takes the room of all others.

import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { ASSURED_BYTES, createBodyBudget, createBodyBudgets, PIECE_BYTES } from '../../src/api/body-budget.ts'
import type { Operations } from '../../src/operations/operations.ts'
import { createApiRig } from '../support/api-rig.ts'
import { peerOf } from '../support/operations-rig.ts'

const KIB = 1_024
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

test('sessions of one user share a budget; when all is held, others still have room for a small body', t => {
  const budget = createBodyBudget({ all: 1_000_000, ofHolder: 600_000 })
  const session = (user: number, unit: string) => budget(peerOf(user, { unit, userSlice: user }))
  const first = session(1000, 'session-1.scope')
  t.true(first.take(400_000))
  t.false(session(1000, 'session-2.scope').take(400_000))
  t.true(session(1001, 'session-3.scope').take(500_000))
  t.false(session(1002, 'session-4.scope').take(200_000))
  t.true(session(1002, 'session-4.scope').take(ASSURED_BYTES - PIECE_BYTES))
  first.release()
  first.release()
  t.true(session(1000, 'session-2.scope').take(400_000))
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
    operations: { desk: { answer: () => ({ token: 'ghs_x' }) } } as unknown as Operations,
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
  const again = async (): Promise<number> => {
    const asked = rig.ask('POST /v1/tokens', ['content-type: application/json'], whole)
    for (;;) {
      const status = await Promise.race([asked, setImmediate(undefined)])
      if (status) return status.status
      await rig.clock.advance(250)
    }
  }
  let status = await again()
  while (status === 429) status = await again()
  t.is(status, 200)
  t.deepEqual(rig.log.lines, [])
})

test('beyond the budget the gateway streams a body whole instead of holding it', async t => {
  const got: { held: boolean; text: string }[] = []
  const forward: Operations['gateway']['forward'] = async ({ readBody }) => {
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
