// Events: told to each listener with their time, and in the journal at the level of what they mean.

import test from 'ava'
import type { EventBody } from '../../../src/protocol/wire.ts'
import { isoTime } from '../../../src/protocol/wire.ts'
import { createEvents } from '../../../src/core/audit/events.ts'
import { createFakeClock, createFakeLog } from '../../support/fakes.ts'

const build = () => {
  const clock = createFakeClock()
  const log = createFakeLog()
  return { clock, log, events: createEvents({ clock, log }) }
}

test('each listener hears what happened and when, until it ends its subscription', async t => {
  const { clock, events } = build()
  const [one, other]: [EventBody[], EventBody[]] = [[], []]
  const end = events.subscribe(event => void one.push(event))
  events.subscribe(event => void other.push(event))
  events.emit({ event: 'step', detail: 'first' })
  const first = { event: 'step', detail: 'first', at: isoTime(clock.now()) } as const
  end()
  await clock.advance(1_000)
  events.emit({ event: 'step', detail: 'second' })
  t.deepEqual(one, [first])
  t.deepEqual(other, [first, { event: 'step', detail: 'second', at: isoTime(clock.now()) }])
})

test('at the end of the daemon whoever still listens is told, once', t => {
  const { events } = build()
  const ended: string[] = []
  events.subscribe(
    () => {},
    () => void ended.push('one'),
  )
  const end = events.subscribe(
    () => {},
    () => void ended.push('gone'),
  )
  events.subscribe(() => {})
  end()
  events.end()
  t.deepEqual(ended, ['one'])
})

test('what an administrator has to look at is a warning in the journal, and all else a notice, with all of its fields', t => {
  const { log, events } = build()
  events.emit({ event: 'refresh-failed', scope: 'all', detail: 'timeout: slow' })
  events.emit({ event: 'state', state: 'suspended', detail: 'no more', next: 'Ask.' })
  events.emit({ event: 'state', state: 'connected' })
  events.emit({ event: 'token-refreshed', profile: 'ci' })
  t.deepEqual(log.lines, [
    { level: 'warn', message: 'refresh-failed', fields: { scope: 'all', detail: 'timeout: slow' } },
    { level: 'warn', message: 'state', fields: { state: 'suspended', detail: 'no more', next: 'Ask.' } },
    { level: 'info', message: 'state', fields: { state: 'connected' } },
    { level: 'info', message: 'token-refreshed', fields: { profile: 'ci' } },
  ])
})
