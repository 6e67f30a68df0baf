// The events of an open page: little is told, nobody is waited for, and all of it ends with whatever ends first.

import test from 'ava'
import { createEvents } from '../../src/core/audit/events.ts'
import { createLive, MAX_STREAMS, MAX_STREAMS_OF_SESSION } from '../../src/page/live.ts'
import { createSessions } from '../../src/page/sessions.ts'
import { createFakeClock, createFakeLog, settle } from '../support/fakes.ts'
import { peerOf } from '../support/operations-rig.ts'

const createRig = () => {
  const clock = createFakeClock()
  const inner = createEvents({ clock, log: createFakeLog() })
  let listening = 0
  const events: typeof inner = {
    ...inner,
    subscribe(listener, onEnd) {
      listening += 1
      const end = inner.subscribe(listener, onEnd)
      return () => {
        listening -= 1
        end()
      }
    },
  }
  const sessions = createSessions({ clock })
  const { session } = sessions.begin({ peer: peerOf(0) })
  const live = createLive({ events, clock }, sessions)
  live.shown(session)
  const own = listening
  return { clock, events, sessions, session, live, listening: () => listening - own }
}

const readerOf = (answer: Response) => {
  const reader = (answer.body ?? new ReadableStream<Uint8Array>()).pipeThrough(new TextDecoderStream()).getReader()
  return { reader, next: async (): Promise<string | undefined> => (await reader.read()).value }
}

test('a page hears that something happened, and its state; not what', async t => {
  const { clock, events, session, live } = createRig()
  const { next } = readerOf(live.stream(session))
  t.is(await next(), ': open\n\n')
  events.emit({ event: 'state', state: 'connected', detail: 'Connected to octo-org.', scope: 'octo-org' })
  t.is(await next(), 'data: {"event":"state","at":"2026-05-01T12:00:00.000Z","state":"connected"}\n\n')
  await clock.advance(15_000)
  t.is(await next(), ': ping\n\n')
})

test('what happened between the page and its stream is told at once', async t => {
  const { events, session, live } = createRig()
  events.emit({ event: 'token-refreshed' })
  t.is(await readerOf(live.stream(session)).next(), 'data: {"event":"state"}\n\n')
  live.shown(session)
  t.is(await readerOf(live.stream(session)).next(), ': open\n\n')
})

test('who leaves is forgotten', async t => {
  const { session, live, listening } = createRig()
  const { reader, next } = readerOf(live.stream(session))
  await next()
  t.is(listening(), 1)
  await reader.cancel()
  await settle()
  t.is(listening(), 0)
})

test('who does not read is cut off', async t => {
  const { events, session, live, listening } = createRig()
  const answer = live.stream(session)
  for (let times = 0; times < 1_000; times++) events.emit({ event: 'step' })
  t.is(listening(), 0)
  const text = await answer.text()
  t.true(text.split('\n\n').length < 300)
})

test('the end of the session and that of the daemon end the stream', async t => {
  for (const end of ['session', 'daemon'] as const) {
    const { events, sessions, session, live, listening } = createRig()
    const answer = live.stream(session)
    if (end === 'session') sessions.end(session)
    else events.end()
    t.is(await answer.text(), end === 'session' ? ': open\n\ndata: {"event":"state"}\n\n' : ': open\n\n')
    t.is(listening(), 0)
  }
  const { sessions, session, live, listening } = createRig()
  sessions.end(session)
  t.is(live.stream(session).status, 204, 'one that had ended before')
  t.is(listening(), 0)
})

test('a session has so many streams, and all together; one more is refused until one ends', async t => {
  const { sessions, session, live } = createRig()
  const streams = Array.from({ length: MAX_STREAMS_OF_SESSION }, () => live.stream(session))
  t.true(streams.every(({ status }) => status === 200))
  const refused = live.stream(session)
  t.deepEqual([refused.status, refused.headers.get('retry-after')], [429, '60'])
  await streams[0]?.body?.cancel()
  t.is(live.stream(session).status, 200)
  let more = 0
  for (let n = 0; n < 16; n += 1) {
    const other = sessions.begin({ peer: peerOf(0) }).session
    while (live.stream(other).status === 200) more += 1
  }
  t.is(more, MAX_STREAMS - MAX_STREAMS_OF_SESSION)
})
