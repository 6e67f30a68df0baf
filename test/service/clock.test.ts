import { spawn } from 'node:child_process'
import { getEventListeners, once } from 'node:events'
import { join } from 'node:path'
import test from 'ava'
import { createClock, isCronExpression } from '../../src/service/clock.ts'

const clock = createClock()
/** Timers of the clock do not keep a process alive, so a test that waits for one does. */
const awake = setInterval(() => {}, 1000)
test.after.always(() => clearInterval(awake))

test('wall and monotonic clock go forward in milliseconds', async t => {
  const wall = clock.now()
  const monotonic = clock.monotonic()
  t.true(Math.abs(wall - new Date().getTime()) < 1000)
  await clock.sleep(20)
  t.true(clock.monotonic() - monotonic >= 19)
  t.true(clock.now() >= wall)
})

test('a task runs once, after its time, and not at all when it is cancelled', async t => {
  const ran: string[] = []
  clock.after(1, () => ran.push('cancelled')).cancel()
  await new Promise<void>(resolve => clock.after(20, () => (ran.push('ran'), resolve())))
  t.deepEqual(ran, ['ran'])
})

test('a delay beyond what timers can do does not end at once', async t => {
  let isEarly = false
  const timer = clock.after(2 ** 33, () => (isEarly = true))
  await clock.sleep(20)
  timer.cancel()
  t.false(isEarly)
})

test('a sleep ends at once when its signal is aborted, before or meanwhile', async t => {
  const begun = clock.monotonic()
  await clock.sleep(60_000, AbortSignal.abort())
  const controller = new AbortController()
  clock.after(5, () => controller.abort())
  await clock.sleep(60_000, controller.signal)
  t.true(clock.monotonic() - begun < 10_000)
})

test('a sleep that is over leaves nothing behind at its signal, however it ended', async t => {
  const { signal } = new AbortController()
  for (let i = 0; i < 3; i++) await clock.sleep(0, signal)
  t.is(getEventListeners(signal, 'abort').length, 0)
})

test('a task that is repeated runs until it is cancelled', async t => {
  const repeat = async (): Promise<() => number> => {
    const third = Promise.withResolvers<void>()
    let runs = 0
    const timer = clock.every(1, () => {
      if (++runs !== 3) return
      timer.cancel()
      third.resolve()
    })
    await third.promise
    return () => runs
  }
  const first = await repeat()
  await repeat()
  t.is(first(), 3)
})

test('no timer of the clock keeps a process alive', t => {
  const timeouts = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timeouts()
  const timers = [clock.after(60_000, () => {}), clock.every(60_000, () => {}), clock.onJump(() => {})]
  t.is(timeouts(), before)
  for (const timer of timers) timer.cancel()
})

test('a schedule that is cancelled looks at the clock no more', t => {
  const { setInterval, clearInterval } = globalThis
  const looks = new Set<unknown>()
  const noting = (...given: Parameters<typeof setInterval>) => {
    const handle = setInterval(...given)
    looks.add(handle)
    return handle
  }
  Object.assign(globalThis, {
    setInterval: noting,
    clearInterval: (handle: NodeJS.Timeout) => (looks.delete(handle), clearInterval(handle)),
  })
  t.teardown(() => Object.assign(globalThis, { setInterval, clearInterval }))
  const timer = clock.schedule('0 0 1 1 *', () => {})
  t.true(looks.size > 0)
  timer.cancel()
  t.is(looks.size, 0)
  Object.assign(globalThis, { setInterval, clearInterval })
})

test('a schedule runs at each match until it is cancelled', async t => {
  let runs = 0
  const first = Promise.withResolvers<void>()
  const timer = clock.schedule('* * * * * *', () => {
    runs++
    first.resolve()
  })
  await first.promise
  timer.cancel()
  const before = runs
  await clock.sleep(1200)
  t.is(runs, before)
})

test('a match that comes while the process is busy runs late, and once', async t => {
  const runs: number[] = []
  const timer = clock.schedule('*/5 * * * * *', () => runs.push(clock.now() % 5000))
  const toMatch = 5000 - (clock.now() % 5000)
  await clock.sleep(Math.max(0, toMatch - 100))
  // Over the match, and more than the second beyond it that node-cron would forgive.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000)
  await clock.sleep(300)
  timer.cancel()
  t.is(runs.length, 1)
  t.true(Number(runs[0]) >= 1000, `${runs[0]} ms late`)
})

test('a clock that is set back does not stop a schedule', async t => {
  const room = join(import.meta.dirname, '../../src/service/clock.ts')
  const code = `
    const checks = []
    const { setInterval } = globalThis
    globalThis.setInterval = (task, ms) => (ms === 5000 ? (checks.push(task), { unref: () => checks.length }) : setInterval(task, ms))
    const { createClock } = await import(${JSON.stringify(room)})
    const { now } = Date
    const RealDate = Date
    let offset = 0
    globalThis.Date = class extends RealDate {
      constructor(...args) { super(...(args.length > 0 ? args : [now() + offset])) }
      static now() { return now() + offset }
    }
    createClock().schedule('* * * * * *', () => { console.log('ran'); if (offset < 0) process.exit(0) })
    setTimeout(() => { offset = -3_600_000; for (const check of checks) check() }, 100)
    setTimeout(() => process.exit(1), 10_000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'ignore', 'inherit'] })
  const [exitCode] = await once(child, 'exit')
  t.is(exitCode, 0)
})

test('a malformed cron expression is recognized, and refused', t => {
  t.true(isCronExpression('*/5 * * * *'))
  for (const wrong of ['', 'now', '* * *', '61 * * * *', '*/5 * * * * * *']) {
    t.false(isCronExpression(wrong), wrong)
    t.throws(() => clock.schedule(wrong, () => {}), undefined, wrong)
  }
})

test('a jump of the wall clock is noticed, by its size, and a steady clock is none', async t => {
  const room = join(import.meta.dirname, '../../src/service/clock.ts')
  // The wall clock of a process of its own is turned by hand; its checks are made at once instead of each 5 s.
  const code = `
    const checks = []
    globalThis.setInterval = task => (checks.push(task), { unref: () => checks.length })
    const { createClock } = await import(${JSON.stringify(room)})
    const now = Date.now
    let offset = 0
    Date.now = () => now() + offset
    const jumps = []
    createClock().onJump(ms => jumps.push(Math.round(ms / 1000)))
    const turn = to => { offset = to; for (const check of checks) check() }
    for (const to of [0, 1000, 3_601_000, 3_601_000, 1000, 3_000, 7_000]) turn(to)
    console.log(JSON.stringify(jumps))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(child.stdout, 'data')
  t.deepEqual(JSON.parse(String(line)), [3600, -3600, 4])
})
