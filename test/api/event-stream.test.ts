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
