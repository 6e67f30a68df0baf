// GitHub is gone for 35 minutes: whoever uses a scope goes on, with tokens that GitHub would take, and afterwards all is as before.

import test, { type ExecutionContext } from 'ava'
import { type TimeTravel, travel } from '../support/time-machine.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const OUTAGE = 35 * MINUTE
const TICK = 5 * MINUTE
const WANTED = { repositories: ['web'], permissions: { contents: 'read' } }

/** A call that is under way when time jumps has taken too long. */
const OUTAGE_CODES = /"code":"(github-outage|unreachable|timeout)"/

type Watch = { readonly world: TimeTravel; readonly t: ExecutionContext; readonly seen: string[] }

/** Asks as a job would; the token must be one that GitHub takes at this moment. GitHub's own pages stay out of the faults. */
const ask = async ({ world, t, seen }: Watch, when: string): Promise<void> => {
  const { status, body, text } = await world.appliance.ask('POST', '/v1/tokens', WANTED)
  t.is(status, 200, `${when}: ${text}`)
  const token = String(body['token'])
  if (seen.at(-1) !== token) seen.push(token)
  t.is(await world.use(token), 200, `${when}: GitHub refuses the token that is served`)
}

/** Where GitHub does not answer, the daemon is at it all the time, and is not waited for. */
type Passage = { readonly ms: number; readonly step: number; readonly name: string; readonly isAnswering: boolean }

/** Lets time go by in steps, with a request at each. */
const goThrough = async (watch: Watch, { ms, step, name, isAnswering }: Passage) => {
  for (let gone = 0; gone < ms; gone += step) {
    watch.world.time.advance(Math.min(step, ms - gone))
    await ask(watch, `${name}, minute ${((gone + step) / MINUTE).toFixed(1)}`)
    // What the step made due is done in it, as it would be in the minute that was left out.
    if (isAnswering) await watch.world.settled()
    else await new Promise(pause => setTimeout(pause, 15))
  }
}

/** Faults that strike the daemon and leave the test's own reading of a repository alone. */
const cutOff = async ({ control }: TimeTravel, kind: 'outage' | 'drop'): Promise<void> => {
  for (const path of ['/app', '/installation']) await control('POST', 'faults', { kind, path })
}

const PHASES = [
  { name: 'right after the mint', afterMs: 0, kind: 'outage' },
  { name: '15 minutes after the mint', afterMs: 15 * MINUTE, kind: 'drop' },
  { name: '19 minutes after the mint', afterMs: 19 * MINUTE, kind: 'outage' },
  { name: 'just before the refresh', afterMs: undefined, kind: 'drop' },
] as const

for (const { name, afterMs, kind } of PHASES) {
  test(`an outage of 35 minutes that begins ${name} keeps no job from its token`, async t => {
    const world = await travel()
    const watch: Watch = { world, t, seen: [] }
    try {
      // A mint just after a tick of the cron is the worst: the tick that refreshes comes as late as it can.
      world.time.advance(TICK - (world.time.nowMs() % TICK) + SECOND)
      await ask(watch, 'at first')
      // The last tick before less than 40 minutes are left is the one 15 minutes after the mint, or the one after it.
      const before = afterMs ?? 4 * TICK - 5 * SECOND
      await goThrough(watch, { ms: before, step: MINUTE, name: 'before', isAnswering: true })
      const known = watch.seen.length
      await cutOff(world, kind)
      await goThrough(watch, { ms: OUTAGE / 2, step: 30 * SECOND, name: 'outage', isAnswering: false })
      // A restart in the middle of it takes nothing away.
      await world.appliance.kill('SIGKILL')
      await world.appliance.start()
      await goThrough(watch, { ms: OUTAGE / 2, step: 30 * SECOND, name: 'outage, restarted', isAnswering: false })
      t.true(watch.seen.length <= known + 1, 'no token comes from a GitHub that is gone')
      const status = (await world.appliance.call('GET', '/v1/status')).body
      t.is(status['state'], 'connected')
      t.regex(JSON.stringify(status['warnings']), OUTAGE_CODES)

      await world.control('DELETE', 'faults')
      const during = watch.seen.length
      await goThrough(watch, { ms: 40 * MINUTE, step: 30 * SECOND, name: 'after', isAnswering: true })
      t.true(watch.seen.length > during, 'it refreshes by itself')
      // Time stands still for this one: no jump makes a call of the refresh time out.
      t.is((await world.appliance.call('POST', '/v1/refresh')).status, 200)
      const after = (await world.appliance.call('GET', '/v1/status')).body
      t.notRegex(JSON.stringify(after['warnings']), OUTAGE_CODES)
    } catch (error) {
      t.log(world.appliance.log())
      throw error
    } finally {
      await world.close()
    }
  })
}

test('a token that nobody asks for is not refreshed, and is minted anew when somebody does', async t => {
  const world = await travel()
  const watch: Watch = { world, t, seen: [] }
  try {
    await ask(watch, 'at first')
    for (let minutes = 0; minutes < 70; minutes++) {
      world.time.advance(MINUTE)
      await world.appliance.ask('GET', '/livez')
      await new Promise(pause => setTimeout(pause, 15))
    }
    const { tokens } = (await world.appliance.call('GET', '/v1/status')).body
    t.deepEqual(tokens, { live: 0, last_minted_at: Reflect.get(Object(tokens), 'last_minted_at') })
    await ask(watch, 'an hour later')
    t.is(watch.seen.length, 2)
  } finally {
    await world.close()
  }
})
