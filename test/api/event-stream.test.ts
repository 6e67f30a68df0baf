// Event streams: how many a holder has, what a slow reader keeps and loses, and that nothing is written after the end.

import test from 'ava'
import { STREAMS_OF_HOLDER } from '../../src/api/stream-places.ts'
import type { AuditLog } from '../../src/operations/audit.ts'
import { createApiRig } from '../support/api-rig.ts'
import { peerOf } from '../support/operations-rig.ts'

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
    operations: { audit: Object.assign({} as never, { read, follow: () => () => {} }) },
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
    operations: { audit: Object.assign({} as never, audit) },
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
