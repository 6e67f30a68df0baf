import test from 'ava'
import { startWatchdog } from '../../src/service/watchdog.ts'
import { createFakeClock, settle } from '../support/fakes.ts'

const start = (options: { watchdogMs?: number | undefined; probe?: () => Promise<void> } = {}) => {
  const clock = createFakeClock()
  const seen = { fed: 0, failures: 0, clock }
  const timer = startWatchdog({
    notifier: { watchdogMs: 'watchdogMs' in options ? options.watchdogMs : 8_000, watchdog: () => void seen.fed++ },
    clock,
    probe: options.probe ?? (() => Promise.resolve()),
    onFailure: () => void seen.failures++,
  })
  return { seen, clock, timer }
}

test('the watchdog is fed several times within its time, until the daemon stops', async t => {
  const { seen, clock, timer } = start()
  await clock.advance(8_000)
  t.is(seen.fed, 4)
  timer.cancel()
  await clock.advance(8_000)
  t.is(seen.fed, 4)
})

test('nothing is probed where no manager waits', async t => {
  let probes = 0
  const { clock } = start({ watchdogMs: undefined, probe: async () => void probes++ })
  await clock.advance(60_000)
  t.is(probes, 0)
})

test('a probe that fails feeds nothing, and one that succeeds again does', async t => {
  let broken = true
  const { seen, clock } = start({ probe: () => (broken ? Promise.reject(new Error('no store')) : Promise.resolve()) })
  await clock.advance(4_000)
  t.is(seen.fed, 0)
  t.is(seen.failures, 2)
  broken = false
  await clock.advance(4_000)
  t.is(seen.fed, 2)
})

test('a probe that never ends feeds nothing, and is not piled up', async t => {
  let probes = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const { seen, clock } = start({ probe: () => (probes++, promise) })
  await clock.advance(60_000)
  t.is(probes, 1)
  t.is(seen.fed, 0)
  resolve()
  await settle()
  t.is(seen.fed, 1)
})
