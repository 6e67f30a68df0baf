// The history of refreshes: counted by the hour, kept for seven days and over a restart, ended with the connection.

import test from 'ava'
import { createEvents } from '../../../src/core/audit/events.ts'
import { createRefreshHistory } from '../../../src/core/tokens/refresh.ts'
import type { FactStore } from '../../../src/core/store/database.ts'
import { createFakeClock, createFakeLog } from '../../support/fakes.ts'

const HOUR_MS = 60 * 60_000

const createRig = () => {
  const clock = createFakeClock()
  const log = createFakeLog()
  const stored = new Map<string, unknown>()
  let full = false
  let writes = 0
  const facts: FactStore = {
    find: name => stored.get(name),
    put(name, value) {
      if (full) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
      writes += 1
      stored.set(name, JSON.parse(JSON.stringify(value)))
    },
  }
  const events = createEvents({ clock, log })
  return {
    clock,
    log,
    stored,
    events,
    writes: () => writes,
    setFull: (is: boolean) => void (full = is),
    open: () => createRefreshHistory({ facts, events, clock, log }),
  }
}

test('refreshes and failures are counted by the hour', async t => {
  const { clock, events, open } = createRig()
  const history = open()
  t.deepEqual(history.hours(), [])
  for (let times = 0; times < 3; times++) events.emit({ event: 'token-refreshed' })
  events.emit({ event: 'step', detail: 'something else' })
  await clock.advance(2 * HOUR_MS)
  events.emit({ event: 'refresh-failed' })
  const [first, second] = history.hours()
  t.like(first, { refreshed: 3, failed: 0 })
  t.like(second, { refreshed: 0, failed: 1 })
  t.is((second?.startMs ?? 0) - (first?.startMs ?? 0), 2 * HOUR_MS)
  t.is((first?.startMs ?? 1) % HOUR_MS, 0)
})

test('a flood of refreshes costs one write a minute, and a restart keeps what was counted', async t => {
  const { clock, events, open, writes } = createRig()
  const history = open()
  for (let times = 0; times < 1_000; times++) events.emit({ event: 'token-refreshed' })
  t.is(writes(), 0)
  await clock.advance(60_000)
  t.is(writes(), 1)
  events.emit({ event: 'token-refreshed' })
  history.close()
  t.is(writes(), 2)
  events.emit({ event: 'token-refreshed' })
  t.is(
    open()
      .hours()
      .reduce((sum, hour) => sum + hour.refreshed, 0),
    1_001,
    'what came after the close was not its own',
  )
})

test('what is older than seven days is let go', async t => {
  const { clock, events, open } = createRig()
  const history = open()
  events.emit({ event: 'token-refreshed' })
  await clock.advance(7 * 24 * HOUR_MS + HOUR_MS)
  t.deepEqual(history.hours(), [])
  events.emit({ event: 'refresh-failed' })
  t.is(history.hours().length, 1)
})

test('the history ends with the connection', t => {
  const { events, open } = createRig()
  const history = open()
  events.emit({ event: 'token-refreshed' })
  events.emit({ event: 'state', state: 'disconnected' })
  t.deepEqual(history.hours(), [])
})

test('a full disk is a warning, and what is no history is none', async t => {
  const { clock, events, open, stored, setFull, log } = createRig()
  stored.set('connection.refresh-history', [{ startMs: 'x' }, null, { startMs: clock.now(), refreshed: 2, failed: 0 }])
  const history = open()
  t.is(history.hours().length, 1)
  setFull(true)
  events.emit({ event: 'refresh-failed' })
  await clock.advance(60_000)
  t.true(log.lines.some(line => line.message.includes('history of refreshes')))
  setFull(false)
  events.emit({ event: 'refresh-failed' })
  history.close()
  t.like(stored.get('connection.refresh-history'), [{ refreshed: 2, failed: 2 }])
})

test('each minute in which something was counted is written, and hours of a clock that was ahead are dropped', async t => {
  const { clock, events, open, writes, stored } = createRig()
  const history = open()
  events.emit({ event: 'token-refreshed' })
  await clock.advance(60_000)
  events.emit({ event: 'token-refreshed' })
  await clock.advance(60_000)
  t.is(writes(), 2)
  t.like(stored.get('connection.refresh-history'), [{ refreshed: 2 }])
  clock.setWallBy(-3 * HOUR_MS)
  events.emit({ event: 'refresh-failed' })
  t.like(history.hours(), [{ refreshed: 0, failed: 1 }])
  t.is(history.hours().length, 1)
})
