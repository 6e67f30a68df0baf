// Mints under way: no holder waits for the many of another, and a refusal of GitHub's reaches those that only wait.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Grant } from '../../../src/protocol/profile.ts'
import { createMintTurns } from '../../../src/core/tokens/mint-turns.ts'
import { failureOf, settle } from '../../support/fakes.ts'
import { connectedRig, peerOf } from '../../support/operations-rig.ts'

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
  const turns = createMintTurns()
  const { under, work, of } = createWork()
  const all = Array.from({ length: 10 }, () => turns.take('a', work('a')))
  await settle()
  t.is(of('a'), 1)
  const other = turns.take('b', work('b'))
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
  const turns = createMintTurns()
  const { under, work, of } = createWork()
  const all = Array.from({ length: 40 }, () => turns.take('a', work('a')))
  const other = turns.take('b', work('b'))
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
  const turns = createMintTurns()
  const { under, work, of } = createWork()
  const holders = ['a', 'b', 'c', 'd']
  const all = holders.flatMap(holder => Array.from({ length: 30 }, () => turns.take(holder, work(holder))))
  all.push(turns.take('late', work('late')))
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
  const turns = createMintTurns()
  for (let n = 0; n < 100; n += 1) {
    await t.throwsAsync(turns.take('a', async () => Promise.reject(new Failure('timeout', 'slow'))))
  }
  t.is(await turns.take('a', async () => 1), 1)
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
