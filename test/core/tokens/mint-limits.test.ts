// What holds mints back: GitHub's quota and what it said last; and no holder waits for the many of another.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Quota } from '../../../src/core/github/calls.ts'
import type { AppLink } from '../../../src/core/connection/app-link.ts'
import { backoffMs, createMintQuota, createMintTurns } from '../../../src/core/tokens/mint-limits.ts'
import type { Grant } from '../../../src/protocol/profile.ts'
import { codeOf, createFakeClock, failureOf, settle, thrownBy } from '../../support/fakes.ts'
import { connectedRig, peerOf } from '../../support/operations-rig.ts'

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
  return { clock, mintQuota: createMintQuota({ link, clock, githubClock }) }
}

test('a rate limit rests its installation for the time that GitHub said, and no other', async t => {
  const { clock, mintQuota } = build()
  mintQuota.note(1, new Failure('timeout', 'slow'))
  t.is(
    codeOf(() => mintQuota.assertMayMint(1, 0)),
    undefined,
    'only a rate limit rests all scopes',
  )
  mintQuota.note(1, new Failure('quota', 'too many', { retryAfterSeconds: 90 }))
  t.is(
    codeOf(() => mintQuota.assertMayMint(2, 0)),
    undefined,
  )
  t.deepEqual(mintQuota.waits(), [{ installation: 1, untilMs: clock.now() + 90_000 }])
  await clock.advance(30_000)
  const failure = thrownBy(() => mintQuota.assertMayMint(1, 0))
  t.is(failure?.code, 'quota')
  t.is(failure?.retryAfterSeconds, 60)
  t.is(failure?.message, 'too many')
  await clock.advance(59_999)
  t.is(
    codeOf(() => mintQuota.assertMayMint(1, 0)),
    'quota',
  )
  await clock.advance(1)
  t.is(
    codeOf(() => mintQuota.assertMayMint(1, 0)),
    undefined,
  )
  t.deepEqual(mintQuota.waits(), [])
})

test('a rest that is over is told no more, also where nobody has asked since', async t => {
  const { clock, mintQuota } = build()
  mintQuota.note(1, new Failure('quota', 'too many', { retryAfterSeconds: 90 }))
  mintQuota.note(2, new Failure('quota', 'too many', { retryAfterSeconds: 100 }))
  await clock.advance(90_000)
  t.deepEqual(mintQuota.waits(), [{ installation: 2, untilMs: clock.now() + 10_000 }])
})

test('an administrator may ask before the end of a rest', t => {
  const { mintQuota } = build()
  mintQuota.note(1, new Failure('quota', 'too many', { retryAfterSeconds: 90 }))
  mintQuota.forgive()
  t.is(
    codeOf(() => mintQuota.assertMayMint(1, 0)),
    undefined,
  )
  t.deepEqual(mintQuota.waits(), [])
})

test('the reserve of the quota is left, until the quota is given anew', async t => {
  const { clock, mintQuota } = build({ quota: { remaining: 100 } })
  t.is(
    codeOf(() => mintQuota.assertMayMint(1, 99)),
    undefined,
  )
  const failure = thrownBy(() => mintQuota.assertMayMint(1, 100))
  t.is(failure?.code, 'quota')
  t.is(failure?.retryAfterSeconds, 600)
  t.is(
    codeOf(() => mintQuota.assertMayMint(2, 100)),
    undefined,
    'of which GitHub said nothing yet',
  )
  await clock.advance(10 * MINUTE)
  t.is(
    codeOf(() => mintQuota.assertMayMint(1, 100)),
    undefined,
  )
})

test('the quota is plentiful while more than half is left, or after its reset', async t => {
  const { clock, mintQuota } = build({ quota: { remaining: 2_500 } })
  t.false(mintQuota.isPlentiful(1))
  t.true(mintQuota.isPlentiful(2))
  t.true(build({ quota: { remaining: 2_501 } }).mintQuota.isPlentiful(1))
  await clock.advance(10 * MINUTE)
  t.true(mintQuota.isPlentiful(1))
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
  const { clock, mintQuota } = build({ quota: { remaining: 100 }, aheadMs: 4 * MINUTE })
  const failure = thrownBy(() => mintQuota.assertMayMint(1, 100))
  t.is(failure?.retryAfterSeconds, 360)
  t.is(failure?.message, '100 of 5000 requests are left until the limit is reset')
  t.false(mintQuota.isPlentiful(1))
  await clock.advance(6 * MINUTE)
  t.is(
    codeOf(() => mintQuota.assertMayMint(1, 100)),
    undefined,
  )
  t.true(mintQuota.isPlentiful(1))
})

test('a rate limit without a time rests its installation for a second, and rests are told by the wall clock', async t => {
  const { clock, mintQuota } = build()
  mintQuota.note(1, new Failure('quota', 'too many'))
  mintQuota.note(2, new Failure('quota', 'too many', { retryAfterSeconds: 90 }))
  clock.setWallBy(10 * MINUTE)
  t.is(thrownBy(() => mintQuota.assertMayMint(1, 0))?.retryAfterSeconds, 1)
  await clock.advance(1_000)
  t.is(
    codeOf(() => mintQuota.assertMayMint(1, 0)),
    undefined,
  )
  t.deepEqual(mintQuota.waits(), [{ installation: 2, untilMs: clock.now() + 89_000 }])
})

/** Work that ends when it is told to. */
const createWork = () => {
  const under: { readonly holder: string; readonly end: () => void }[] = []
  const work = (holder: string) => async (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const one = { holder, end: resolve }
    under.push(one)
    await promise
    under.splice(under.indexOf(one), 1)
  }
  const of = (holder: string): number => under.filter(one => one.holder === holder).length
  return { under, work, of }
}

/** A holder begins one mint in some turns of the event loop. */
const manyTurns = async (): Promise<void> => {
  for (let turn = 0; turn < 100; turn += 1) await settle()
}

test('the mints of one holder begin in turns apart, and another begins at once', async t => {
  const takeTurn = createMintTurns()
  const { under, work, of } = createWork()
  const all = Array.from({ length: 10 }, () => takeTurn('a', work('a')))
  await settle()
  t.is(of('a'), 1)
  const other = takeTurn('b', work('b'))
  await Promise.resolve()
  t.is(of('b'), 1)
  let most = 1
  while (of('a') < 10) {
    const before = of('a')
    await settle()
    most = Math.max(most, of('a') - before)
  }
  t.is(most, 1)
  while (under.length > 0) {
    under[0]?.end()
    await settle()
  }
  await Promise.all([...all, other])
})

test('one holder has sixteen mints under way at once, and another begins at once', async t => {
  const takeTurn = createMintTurns()
  const { under, work, of } = createWork()
  const all = Array.from({ length: 40 }, () => takeTurn('a', work('a')))
  const other = takeTurn('b', work('b'))
  await manyTurns()
  t.is(of('a'), 16)
  t.is(of('b'), 1)
  let most = 0
  while (under.length > 0) {
    most = Math.max(most, of('a'))
    under[0]?.end()
    await manyTurns()
  }
  t.is(most, 16)
  await Promise.all([...all, other])
})

test('with all turns taken, holders that wait are served one after another', async t => {
  const takeTurn = createMintTurns()
  const { under, work, of } = createWork()
  const holders = ['a', 'b', 'c', 'd']
  const all = holders.flatMap(holder => Array.from({ length: 30 }, () => takeTurn(holder, work(holder))))
  all.push(takeTurn('late', work('late')))
  await manyTurns()
  t.is(under.length, 64)
  t.is(of('late'), 0)
  for (let ends = 0; ends < 5; ends += 1) {
    under.find(({ holder }) => holder === 'a')?.end()
    await manyTurns()
  }
  t.is(of('late'), 1, 'before the many of the others')
  t.is(under.length, 64)
  while (under.length > 0) {
    under[0]?.end()
    await manyTurns()
  }
  await Promise.all(all)
})

test('a mint that fails gives its turn back', async t => {
  const takeTurn = createMintTurns()
  for (let n = 0; n < 100; n += 1) {
    await t.throwsAsync(takeTurn('a', async () => Promise.reject(new Failure('timeout', 'slow'))))
  }
  t.is(await takeTurn('a', async () => 1), 1)
})

test('a rate limit that GitHub names to the first is the answer for those that wait, and GitHub hears of none of them', async t => {
  const { tokens, link, installation } = await connectedRig()
  const waiting: ((failure: Failure) => void)[] = []
  link.mint = () => new Promise((_, reject) => void waiting.push(reject))
  const grant = (n: number): Grant => ({
    profile: 'ci',
    scope: { installation: installation.id, repositories: [`r${n}`] },
  })
  const codes = Array.from(
    { length: 200 },
    async (_, n) => (await failureOf(tokens.obtain(grant(n), {}, peerOf(1000)))).code,
  )
  await manyTurns()
  t.is(waiting.length, 16)
  for (const refuse of waiting.splice(0)) refuse(new Failure('quota', 'too many at once', { retryAfterSeconds: 60 }))
  t.deepEqual(new Set(await Promise.all(codes)), new Set(['quota']))
  t.deepEqual(waiting, [])
})
