// The audit log as it goes on: where it begins, how soon a new row is told, and how it ends.

import test, { type ExecutionContext } from 'ava'
import type { AuditLog } from '../../../src/core/audit/audit.ts'
import { createApiRig } from '../../support/api-rig.ts'

type Row = { readonly sequence: number; readonly event: string }

/** A log with so many rows, and who follows it. */
const setUp = async (t: ExecutionContext, count: number) => {
  const rows: Row[] = Array.from({ length: count }, (_, at) => ({ sequence: at + 1, event: 'x' }))
  const reads: unknown[] = []
  const followers = new Map<() => void, () => void>()
  const now: { failure?: Error } = {}
  const read = (options: { after?: number; limit: number }): readonly Row[] => {
    reads.push(options)
    if (now.failure) throw now.failure
    const { after, limit } = options
    return after === undefined ? rows.slice(-limit) : rows.filter(({ sequence }) => sequence > after).slice(0, limit)
  }
  const follow: AuditLog['follow'] = (listener, onEnd?: () => void) => {
    const tell = (): void => listener({} as never)
    followers.set(tell, onEnd ?? (() => {}))
    return () => void followers.delete(tell)
  }
  const rig = await createApiRig(t, {
    socket: 'admin',
    operations: { auditLog: Object.assign({} as never, { read, follow }) },
  })
  const add = (): void => {
    rows.push({ sequence: rows.length + 1, event: 'x' })
    for (const tell of followers.keys()) tell()
  }
  const follows = async (query: string) => {
    const stream = await rig.open(`GET /v1/audit?follow=true${query} HTTP/1.1\r\nhost: localhost\r\n\r\n`)
    await stream.until(/rows of the audit log/)
    return stream
  }
  const idsOf = (text: string): number[] => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))
  return { ...rig, reads, followers, now, add, follows, idsOf }
}

test('it begins with the last rows, or behind the one that is named, and then tells each new one within a moment', async t => {
  const { follows, add, clock, idsOf, reads } = await setUp(t, 10)
  const last = await follows('&limit=3')
  const behind = await follows('&after=8')
  await clock.advance(50)
  t.regex(last.text(), /^HTTP\/1\.1 200 [^]*^content-type: text\/event-stream\r$/im)
  t.regex(last.text(), /^cache-control: no-store\r$/im)
  t.regex(await last.until(/id: 10\n.*\n\n/), /event: audit\nid: 8\ndata: \{"sequence":8,"event":"x"\}\n\n/)
  await behind.until(/id: 10\n.*\n\n/)
  t.deepEqual(
    [idsOf(last.text()), idsOf(behind.text())],
    [
      [8, 9, 10],
      [9, 10],
    ],
  )
  t.deepEqual(reads.slice(0, 2), [{ limit: 3 }, { after: 8, limit: 100 }])
  reads.length = 0
  add()
  add()
  await clock.advance(49)
  t.deepEqual(reads, [], 'rows of a busy moment go out together')
  await clock.advance(1)
  t.deepEqual(idsOf(await last.until(/id: 12\n/)), [8, 9, 10, 11, 12])
  t.deepEqual(idsOf(await behind.until(/id: 12\n/)), [9, 10, 11, 12])
  t.is(reads.length, 2)
  for (const { client } of [last, behind]) client.destroy()
})

test('an empty log is followed from its first row on', async t => {
  const { follows, add, clock, idsOf } = await setUp(t, 0)
  const stream = await follows('')
  add()
  await clock.advance(50)
  t.deepEqual(idsOf(await stream.until(/id: 1\n/)), [1])
  stream.client.destroy()
})

test('many rows are read a few at a time, and all are told', async t => {
  const { follows, clock, idsOf, reads } = await setUp(t, 450)
  const stream = await follows('&after=0&limit=1')
  for (let n = 0; n < 4; n += 1) await clock.advance(50)
  t.is(idsOf(await stream.until(/id: 450\n/)).length, 450)
  t.true(reads.length >= 4)
  stream.client.destroy()
})

test('while nothing happens the stream is kept alive; once its reader has gone nobody follows and no timer is left', async t => {
  const { follows, followers, clock } = await setUp(t, 1)
  const before = clock.waiting()
  const stream = await follows('')
  await clock.advance(15_000)
  t.regex(await stream.until(/ping/), /\n: ping\n\n/)
  t.is(followers.size, 1)
  stream.client.destroy()
  for (let turns = 0; turns < 100 && followers.size > 0; turns += 1) await new Promise(setImmediate)
  t.is(followers.size, 0)
  t.is(clock.waiting(), before)
})

test('where the log is closed the stream ends, and nobody follows it', async t => {
  const { follows, followers, clock } = await setUp(t, 1)
  const before = clock.waiting()
  const stream = await follows('')
  await clock.advance(50)
  for (const end of followers.values()) end()
  t.regex(await stream.until(/0\r\n\r\n$/), /id: 1\n/)
  t.is(followers.size, 0)
  await clock.advance(60_000)
  t.notRegex(stream.text(), /ping/)
  t.is(clock.waiting(), before)
  stream.client.destroy()
})

test('where the log cannot be read the stream breaks off, so that whoever listens asks anew and is told', async t => {
  const { follows, now, add, clock, ask, log } = await setUp(t, 1)
  const stream = await follows('')
  await clock.advance(50)
  now.failure = new Error('damaged')
  add()
  await clock.advance(50)
  await stream.closed()
  t.notRegex(stream.text(), /0\r\n\r\n$/)
  t.deepEqual(log.lines, [])
  t.is((await ask('GET /v1/audit?follow=true')).status, 500)
})
