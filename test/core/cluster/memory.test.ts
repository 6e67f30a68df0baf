// Isolation: how long a node goes on by itself, whatever becomes of its process and of its clock.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { createIsolation } from '../../../src/core/cluster/memory.ts'
import { createFakeClock, createFakeLog, emptyDisk, openMemoryStore } from '../../support/fakes.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

const setUp = () => {
  const clock = createFakeClock()
  const disk = emptyDisk()
  let writes = 0
  const { facts } = openMemoryStore(disk, () => void (writes += 1))
  const log = createFakeLog()
  /** How far its wall clock is ahead. */
  const wall = { aheadMs: 0 }
  const start = () => createIsolation({ facts, clock, now: () => clock.now() + wall.aheadMs, log })
  return { clock, wall, start, disk, log, writes: () => writes }
}

test('a node that never had contact is over its limit, and one that has it begins anew', t => {
  const isolation = setUp().start()
  t.true(isolation.isOver())
  isolation.note()
  t.false(isolation.isOver())
})

test('24 hours count across a restart', async t => {
  const { clock, start } = setUp()
  const before = start()
  before.note()
  before.begin()
  await clock.advance(23 * HOUR)
  const after = start()
  t.false(after.isOver())
  await clock.advance(HOUR)
  t.deepEqual([before.isOver(), after.isOver()], [true, true])
})

test('a contact in the future is none: the clock was wrong when it was written', async t => {
  const { clock, wall, start } = setUp()
  wall.aheadMs = 365 * 24 * HOUR
  const before = start()
  before.note()
  wall.aheadMs = 0
  t.false(before.isOver(), 'the process that had it knows better')
  await clock.advance(HOUR)
  const after = start()
  t.true(after.isOver())
  after.note()
  t.false(after.isOver())
  t.false(start().isOver(), 'what was heard since is written at once')
})

test('a clock that is corrected by minutes, or is behind until it is set, costs nothing that lasts', async t => {
  const { wall, start } = setUp()
  wall.aheadMs = 4 * MINUTE
  start().note()
  wall.aheadMs = 0
  t.false(start().isOver())
  wall.aheadMs = -48 * HOUR
  const booted = start()
  t.true(booted.isOver())
  wall.aheadMs = 0
  t.false(booted.isOver())
})

test('a wall clock that is set back, again and again, makes no node go on for longer', async t => {
  const { clock, wall, start } = setUp()
  const isolation = start()
  isolation.note()
  for (let hours = 1; hours < 24; hours++) {
    await clock.advance(HOUR)
    wall.aheadMs -= HOUR
    t.false(isolation.isOver(), `after ${hours} hours`)
  }
  await clock.advance(HOUR)
  wall.aheadMs -= HOUR
  t.true(isolation.isOver())
})

test('the disk is told once a minute, and of the last contact where it ends', async t => {
  const { clock, start, writes } = setUp()
  const isolation = start()
  for (let seconds = 0; seconds < 60; seconds += 5) {
    isolation.note()
    await clock.advance(5_000)
  }
  t.is(writes(), 1)
  isolation.note()
  t.is(writes(), 2)
  await clock.advance(30_000)
  isolation.note()
  t.is(isolation.lastContactMs(), clock.now())
  t.true((start().lastContactMs() ?? 0) < clock.now())
  isolation.begin()
  t.is(start().lastContactMs(), clock.now())
  isolation.begin()
  t.is(writes(), 3)
})

test('a contact that could not be written is in the log, and is written with the next one', async t => {
  const { clock, start, disk, log } = setUp()
  const isolation = start()
  disk.storeFailure = new Failure('disk-full', 'no space')
  isolation.note()
  t.false(isolation.isOver())
  t.like(log.lines, [{ level: 'warn', fields: { error: { code: 'disk-full' } } }])
  delete disk.storeFailure
  await clock.advance(5_000)
  isolation.note()
  t.is(start().lastContactMs(), clock.now())
})
