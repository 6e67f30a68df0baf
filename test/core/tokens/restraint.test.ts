// Restraint: whether GitHub may be asked for a token, by its quota and by what it said last.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Quota } from '../../../src/core/github/request.ts'
import type { AppLink } from '../../../src/core/connection/app-link.ts'
import { backoffMs, createRestraint } from '../../../src/core/tokens/restraint.ts'
import { codeOf, createFakeClock, thrownBy } from '../../support/fakes.ts'

const MINUTE = 60_000

const build = (options: { quota?: Partial<Quota>; aheadMs?: number } = {}) => {
  const clock = createFakeClock()
  const quota: Quota | undefined = options.quota && {
    limit: 5_000,
    remaining: 5_000,
    resetAtMs: clock.now() + 10 * MINUTE,
    ...options.quota,
  }
  const link: Pick<AppLink, 'findQuota'> = { findQuota: installation => (installation === 1 ? quota : undefined) }
  const { aheadMs = 0 } = options
  const githubClock = { now: () => clock.now() + aheadMs }
  return { clock, restraint: createRestraint({ link, clock, githubClock }) }
}

test('a rate limit rests its installation for the time that GitHub said, and no other', async t => {
  const { clock, restraint } = build()
  restraint.note(1, new Failure('timeout', 'slow'))
  t.is(
    codeOf(() => restraint.assertMayMint(1, 0)),
    undefined,
    'only a rate limit rests all scopes',
  )
  restraint.note(1, new Failure('quota', 'too many', { retryAfterSeconds: 90 }))
  t.is(
    codeOf(() => restraint.assertMayMint(2, 0)),
    undefined,
  )
  t.deepEqual(restraint.rests(), [{ installation: 1, untilMs: clock.now() + 90_000 }])
  await clock.advance(30_000)
  const failure = thrownBy(() => restraint.assertMayMint(1, 0))
  t.is(failure?.code, 'quota')
  t.is(failure?.retryAfterSeconds, 60)
  t.is(failure?.message, 'too many')
  await clock.advance(59_999)
  t.is(
    codeOf(() => restraint.assertMayMint(1, 0)),
    'quota',
  )
  await clock.advance(1)
  t.is(
    codeOf(() => restraint.assertMayMint(1, 0)),
    undefined,
  )
  t.deepEqual(restraint.rests(), [])
})

test('a rest that is over is told no more, also where nobody has asked since', async t => {
  const { clock, restraint } = build()
  restraint.note(1, new Failure('quota', 'too many', { retryAfterSeconds: 90 }))
  restraint.note(2, new Failure('quota', 'too many', { retryAfterSeconds: 100 }))
  await clock.advance(90_000)
  t.deepEqual(restraint.rests(), [{ installation: 2, untilMs: clock.now() + 10_000 }])
})

test('an administrator may ask before the end of a rest', t => {
  const { restraint } = build()
  restraint.note(1, new Failure('quota', 'too many', { retryAfterSeconds: 90 }))
  restraint.forgive()
  t.is(
    codeOf(() => restraint.assertMayMint(1, 0)),
    undefined,
  )
  t.deepEqual(restraint.rests(), [])
})

test('the reserve of the quota is left, until the quota is given anew', async t => {
  const { clock, restraint } = build({ quota: { remaining: 100 } })
  t.is(
    codeOf(() => restraint.assertMayMint(1, 99)),
    undefined,
  )
  const failure = thrownBy(() => restraint.assertMayMint(1, 100))
  t.is(failure?.code, 'quota')
  t.is(failure?.retryAfterSeconds, 600)
  t.is(
    codeOf(() => restraint.assertMayMint(2, 100)),
    undefined,
    'of which GitHub said nothing yet',
  )
  await clock.advance(10 * MINUTE)
  t.is(
    codeOf(() => restraint.assertMayMint(1, 100)),
    undefined,
  )
})

test('the quota is plentiful while more than half is left, or after its reset', async t => {
  const { clock, restraint } = build({ quota: { remaining: 2_500 } })
  t.false(restraint.isPlentiful(1))
  t.true(restraint.isPlentiful(2))
  t.true(build({ quota: { remaining: 2_501 } }).restraint.isPlentiful(1))
  await clock.advance(10 * MINUTE)
  t.true(restraint.isPlentiful(1))
})

test('a scope rests a second after its first failure, twice as long after each other, a minute at most', t => {
  const failure = new Failure('timeout', 'slow')
  t.deepEqual(
    [1, 2, 3, 6, 7, 50].map(failures => backoffMs(failure, failures)),
    [1_000, 2_000, 4_000, 32_000, 60_000, 60_000],
  )
  t.is(backoffMs(new Failure('quota', 'no', { retryAfterSeconds: 7 }), 5), 7_000)
})

test("the reset of a quota is a time of GitHub's clock, and the refusal says how much is left", async t => {
  const { clock, restraint } = build({ quota: { remaining: 100 }, aheadMs: 4 * MINUTE })
  const failure = thrownBy(() => restraint.assertMayMint(1, 100))
  t.is(failure?.retryAfterSeconds, 360)
  t.is(failure?.message, '100 of 5000 requests are left until the limit is reset')
  t.false(restraint.isPlentiful(1))
  await clock.advance(6 * MINUTE)
  t.is(
    codeOf(() => restraint.assertMayMint(1, 100)),
    undefined,
  )
  t.true(restraint.isPlentiful(1))
})

test('a rate limit without a time rests its installation for a second, and rests are told by the wall clock', async t => {
  const { clock, restraint } = build()
  restraint.note(1, new Failure('quota', 'too many'))
  restraint.note(2, new Failure('quota', 'too many', { retryAfterSeconds: 90 }))
  clock.setWallBy(10 * MINUTE)
  t.is(thrownBy(() => restraint.assertMayMint(1, 0))?.retryAfterSeconds, 1)
  await clock.advance(1_000)
  t.is(
    codeOf(() => restraint.assertMayMint(1, 0)),
    undefined,
  )
  t.deepEqual(restraint.rests(), [{ installation: 2, untilMs: clock.now() + 89_000 }])
})
