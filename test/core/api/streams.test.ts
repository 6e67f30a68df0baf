// Event streams: how many a holder has, what a slow reader keeps and loses, and that nothing is written after the end.

import test from 'ava'
import type { AuditLog } from '../../../src/core/audit/audit.ts'
import { createApiRig } from '../../support/api-rig.ts'
import { createStreamPlaces, STREAMS_OF_HOLDER } from '../../../src/core/api/streams.ts'
import { callerOf, peerOf } from '../../support/operations-rig.ts'
import { codeOf, thrownBy } from '../../support/fakes.ts'

const STREAM = 'GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n'
const WIDE = 'x'.repeat(2 ** 20)

test('a holder has so many streams, another one its own, and a place that is left is free again', async t => {
  let session = 0
  const sessionOf = (user: number) => peerOf(user, { unit: `session-${session++}.scope`, userSlice: user })
  let user = 1000
  const rig = await createApiRig(t, { peer: () => sessionOf(user) })
  const streams = []
  for (let n = 0; n < STREAMS_OF_HOLDER.token; n += 1) {
    const stream = await rig.open(STREAM)
    await stream.until(/event: state/)
    streams.push(stream)
  }
  const refused = await rig.ask('GET /v1/events')
  t.is(refused.status, 429)
  t.regex(refused.text, /urn:ghconnect:problem:too-many-streams/)
  t.regex(refused.head, /^retry-after: \d+$/im)
  user = 1001
  await (await rig.open(STREAM)).until(/event: state/)
  user = 1000
  streams[0]?.client.destroy()
  await streams[0]?.closed()
  let again = await rig.open(STREAM)
  while (!/event: state/.test(await again.until(/event: state|problem/))) again = await rig.open(STREAM)
  rig.events.emit({ event: 'change', detail: 'told' })
  t.regex(await again.until(/event: change/), /event: change/)
})

test('whoever follows the audit log and reads slowly is told each row, once and in order', async t => {
  const all = Array.from({ length: 600 }, (_, at) => ({ sequence: at + 1, event: 'x', detail: 'y'.repeat(10_000) }))
  const read: AuditLog['read'] = ({ after = 0, limit }) => all.slice(after, after + limit) as never
  const rig = await createApiRig(t, {
    socket: 'admin',
    operations: { auditLog: Object.assign({} as never, { read, follow: () => () => {} }) },
  })
  const stream = await rig.open('GET /v1/audit?follow=true&after=0 HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await stream.until(/rows of the audit log/)
  stream.client.pause()
  await rig.clock.advance(1_000)
  stream.client.resume()
  for (let turns = 0; turns < 2_000 && !/^id: 600$/m.test(stream.text()); turns++) {
    await new Promise(setImmediate)
    await rig.clock.advance(50)
  }
  t.deepEqual(
    stream.text().match(/^id: \d+$/gm),
    all.map(({ sequence }) => `id: ${sequence}`),
  )
  stream.client.destroy()
})

test('after the end nothing is written, whatever happens', async t => {
  const rig = await createApiRig(t, { socket: 'admin' })
  const stream = await rig.open(STREAM)
  await stream.until(/event: state/)
  rig.events.end()
  rig.events.emit({ event: 'change', detail: 'too late' })
  await rig.clock.advance(60_000)
  await stream.until(/0\r\n\r\n$/)
  t.notRegex(stream.text(), /too late|ping/)
  t.deepEqual(
    rig.log.lines.filter(({ level }) => level === 'error'),
    [],
  )
})

test('a slow reader keeps the newest of each kind; one that stays behind hears that it lagged, and loses its stream', async t => {
  const rig = await createApiRig(t, { socket: 'admin' })
  const stream = await rig.open(STREAM)
  await stream.until(/event: state/)
  stream.client.pause()
  // More than the kernel takes of it at once.
  for (let n = 0; n < 20; n += 1) rig.events.emit({ event: 'change', detail: `${n} ${WIDE}` })
  stream.client.resume()
  const caughtUp = await stream.until(/"detail":"19 x/)
  t.true((caughtUp.match(/event: change/g) ?? []).length < 10, 'the others were left out')

  stream.client.pause()
  for (let n = 0; n < 20; n += 1) rig.events.emit({ event: 'change', detail: `${n} ${WIDE}` })
  await rig.clock.advance(45_000)
  stream.client.resume()
  t.regex(await stream.until(/event: lagged/), /event: lagged/)
})

test('on token.sock a listener hears of what concerns all and of its own tokens, without details', async t => {
  const profile = (name: string, id: number) => ({
    name,
    allow: { users: [{ name: `user ${id}`, id }], groups: [], units: [] },
  })
  const policy = { profiles: [profile('mine', 1000), profile('theirs', 2000)] }
  const rig = await createApiRig(t, { backend: { policy: () => policy } })
  const stream = await rig.open(STREAM)
  await stream.until(/event: state/)
  const token = (name?: string) => ({
    event: 'token-refreshed' as const,
    scope: 'installation 1, secret-repository',
    expires_at: '2026-05-01T13:00:00.000Z',
    ...(name !== undefined && { profile: name }),
  })
  rig.events.emit(token('theirs'))
  rig.events.emit(token())
  rig.events.emit(token('mine'))
  rig.events.emit({ event: 'refresh-failed', profile: 'theirs', scope: 'x', detail: 'of others' })
  rig.events.emit({ event: 'change', detail: 'secret-detail', next: 'secret-advice' })
  const heard = await stream.until(/event: change/)
  t.deepEqual(heard.match(/event: [a-z-]+/g), ['event: state', 'event: token-refreshed', 'event: change'])
  t.regex(heard, /"profile":"mine"/)
  t.notRegex(heard, /theirs|secret-repository|secret-detail|secret-advice/)
  stream.client.destroy()
})

test('a listener that reads again is not cut off for having been behind before', async t => {
  const rig = await createApiRig(t, { socket: 'admin' })
  const stream = await rig.open(STREAM)
  await stream.until(/event: state/)
  for (const round of [1, 2]) {
    stream.client.pause()
    for (let n = 0; n < 20; n += 1) rig.events.emit({ event: 'change', detail: `${round} ${n} ${WIDE}` })
    // Behind at one ping, and not at the next.
    await rig.clock.advance(15_000)
    stream.client.resume()
    await stream.until(new RegExp(`"detail":"${round} 19 x|event: lagged`))
  }
  t.notRegex(stream.text(), /event: lagged/)
  stream.client.destroy()
})

test('the audit log as it goes on and a check row by row count as streams of their holder, until they end', async t => {
  const audit: Partial<AuditLog> = { read: () => [], follow: () => () => {} }
  const rig = await createApiRig(t, {
    socket: 'admin',
    operations: { auditLog: Object.assign({} as never, audit) },
    // It never ends.
    backend: { check: () => Promise.withResolvers<never>().promise },
  })
  const CHECK = 'GET /v1/check HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n'
  const FOLLOW = 'GET /v1/audit?follow=true HTTP/1.1\r\nhost: localhost\r\n\r\n'
  const streams = []
  for (let n = 0; n < STREAMS_OF_HOLDER.admin; n += 1) {
    const stream = await rig.open([STREAM, FOLLOW, CHECK][n % 3] ?? STREAM)
    await stream.until(/event-stream/)
    streams.push(stream)
  }
  for (const refused of [
    await rig.ask('GET /v1/events'),
    await rig.ask('GET /v1/audit?follow=true'),
    await rig.ask('GET /v1/check', ['accept: text/event-stream']),
  ]) {
    t.is(refused.status, 429)
    t.regex(refused.text, /too-many-streams/)
  }
  for (const stream of streams.slice(1, 3)) {
    stream.client.destroy()
    await stream.closed()
  }
  for (const wanted of [FOLLOW, CHECK]) {
    let again = await rig.open(wanted)
    while (!/event-stream/.test(await again.until(/event-stream|problem/))) again = await rig.open(wanted)
  }
})

test('a stream begins with where things stand, tells administrators everything, and is kept alive while nothing happens', async t => {
  const since = '2026-05-01T11:00:00.000Z'
  const status = { state: 'suspended', since, meaning: 'It is suspended.', next: 'Unsuspend it.', version: '0' }
  const rig = await createApiRig(t, { socket: 'admin', backend: { status: () => status } })
  const stream = await rig.open(STREAM)
  const begun = await stream.until(/event: state.*\n.*\n\n/)
  t.regex(begun, /^HTTP\/1\.1 200 [^]*^content-type: text\/event-stream\r$/im)
  t.regex(begun, /^cache-control: no-store\r$/im)
  const dataOf = (text: string, event: string): unknown =>
    JSON.parse(new RegExp(`event: ${event}\ndata: (.*)\n\n`).exec(text)?.[1] ?? 'null')
  const { meaning, next } = status
  t.deepEqual(dataOf(begun, 'state'), { event: 'state', at: since, state: 'suspended', detail: meaning, next })
  const event = {
    event: 'refresh-failed' as const,
    profile: 'x',
    scope: 'installation 1',
    detail: 'slow',
    next: 'wait',
  }
  rig.events.emit(event)
  const told = await stream.until(/event: refresh-failed.*\n.*\n\n/)
  t.deepEqual(dataOf(told, 'refresh-failed'), { ...event, at: '2026-05-01T12:00:00.000Z' })
  await rig.clock.advance(14_999)
  t.notRegex(stream.text(), /ping/)
  await rig.clock.advance(1)
  t.regex(await stream.until(/ping/), /\n: ping\n\n/)
  stream.client.destroy()
})

test('a listener that is behind with more than may wait for it hears that it lagged, and nothing after that', async t => {
  const rig = await createApiRig(t, { socket: 'admin' })
  const [slow, quick] = [await rig.open(STREAM), await rig.open(STREAM)]
  await Promise.all([slow.until(/event: state/), quick.until(/event: state/)])
  slow.client.pause()
  const emit = (profile: string, detail = '') =>
    rig.events.emit({ event: 'refresh-failed', profile, scope: 'x', detail })
  emit('wide', WIDE)
  emit('wide', WIDE)
  await quick.until(/(?:"profile":"wide"[^]*){2}\n\n/)
  // Of each kind and profile the newest waits: so many do, and no more.
  for (const round of [1, 2]) for (let n = 0; n < 63; n += 1) emit(`profile-${n}`, `round ${round}`)
  emit('one-too-many')
  slow.client.resume()
  t.regex(
    await slow.until(/event: lagged/),
    /event: lagged\ndata: \{"event":"lagged","at":"2026-05-01T12:00:00.000Z"\}/,
  )
  await slow.until(/0\r\n\r\n$/)
  t.notRegex(slow.text(), /profile-0"/, 'what waited is forgotten')
  t.regex(await quick.until(/one-too-many/), /round 2/)
  emit('later')
  t.regex(await quick.until(/later/), /later/)
  t.notRegex(slow.text(), /later/)
  slow.client.destroy()
  quick.client.destroy()
})

test('what waited for a slow listener is told in the order of the newest, each kind and profile once', async t => {
  const rig = await createApiRig(t, { socket: 'admin' })
  const stream = await rig.open(STREAM)
  await stream.until(/event: state/)
  stream.client.pause()
  for (let n = 0; n < 3; n += 1) rig.events.emit({ event: 'change', detail: WIDE })
  for (const profile of ['a', 'b', 'a']) rig.events.emit({ event: 'token-refreshed', profile, scope: 'x' })
  rig.events.emit({ event: 'step', detail: 'last' })
  stream.client.resume()
  const heard = await stream.until(/event: step/)
  t.deepEqual(
    [...heard.matchAll(/event: token-refreshed\n.*"profile":"(.)"/g)].map(([, profile]) => profile),
    ['b', 'a'],
  )
  stream.client.destroy()
})

test('a check row by row tells each as it is known, then the report, and ends; without that wish it is one answer', async t => {
  const report = {
    verdict: 'ok' as const,
    state: 'connected',
    checked_at: '2026-05-01T12:00:00.000Z',
    took_ms: 3,
    rows: [],
  }
  const row = { layer: 'dns' as const, verdict: 'ok' as const, evidence: 'found', took_ms: 1 }
  const known = Promise.withResolvers<void>()
  const rig = await createApiRig(t, {
    socket: 'admin',
    backend: {
      async check(tell) {
        tell?.(row)
        await known.promise
        return report
      },
    },
  })
  const stream = await rig.open('GET /v1/check HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n')
  const first = await stream.until(/event: row/)
  t.regex(first, /^content-type: text\/event-stream\r$/im)
  t.true(first.includes(`event: row\ndata: ${JSON.stringify(row)}\n\n`))
  t.notRegex(first, /event: report/)
  known.resolve()
  t.true((await stream.until(/0\r\n\r\n$/)).includes(`event: report\ndata: ${JSON.stringify(report)}\n\n`))
  stream.client.destroy()
  t.deepEqual(JSON.parse((await rig.ask('GET /v1/check', ['accept: application/json'])).text), report)
})

test('a place that is left twice is free once', t => {
  const take = createStreamPlaces('token')
  const caller = callerOf(peerOf(1000))
  const [leave] = Array.from({ length: STREAMS_OF_HOLDER.token }, () => take(caller))
  t.is(
    codeOf(() => take(caller)),
    'too-many-streams',
  )
  leave?.()
  leave?.()
  take(caller)
  t.is(
    codeOf(() => take(caller)),
    'too-many-streams',
  )
  t.notThrows(() => take(callerOf(peerOf(1001))))
})

test('all holders together have so many places, and whoever finds none is told when to ask again', t => {
  const take = createStreamPlaces('token')
  const leave = Array.from({ length: 1_024 }, (_, n) => take(callerOf(peerOf(1 + (n % 64)))))
  const failure = thrownBy(() => take(callerOf(peerOf(1000))))
  t.is(failure?.code, 'too-many-streams')
  t.is(failure?.retryAfterSeconds, 60)
  leave[0]?.()
  t.notThrows(() => take(callerOf(peerOf(1000))))
  const takeAsAdmin = createStreamPlaces('admin')
  for (let n = 0; n < 1_024; n += 1) takeAsAdmin(callerOf(peerOf(1 + (n % 64)), 'admin'))
  t.is(
    codeOf(() => takeAsAdmin(callerOf(peerOf(1000), 'admin'))),
    'too-many-streams',
  )
})

test('an administrator has more places than others', t => {
  const take = createStreamPlaces('admin')
  const caller = callerOf(peerOf(0), 'admin')
  for (let n = 0; n < 64; n += 1) take(caller)
  t.is(thrownBy(() => take(caller))?.message, 'at most 64 of this user and unit at once')
})
