// What the values say: mints by what caused them, who waits, how old tokens are, and GitHub's answers.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Grant } from '../../../src/protocol/profile.ts'
import { createCallTally } from '../../../src/core/github/calls.ts'
import { LAST_EXPORT } from '../../../src/core/store/records.ts'
import { createMetricValues } from '../../../src/core/api/metrics.ts'
import { hashToken } from '../../../src/core/audit/audit-writer.ts'
import { connectedRig } from '../../support/operations-rig.ts'

const MINUTE = 60_000
const SIZES = { store: { db: 1, wal: 2 }, audit: { db: 3, wal: 4, archive: 5, most: 6 } }

const prepare = async () => {
  const { rig, world, installation, clock } = await connectedRig()
  const calls = createCallTally({ clock })
  const { tokens, link, connectionState, githubClock, store } = rig
  const values = createMetricValues({
    tokens,
    link,
    connectionState,
    calls,
    githubClock,
    facts: store.facts,
    sizes: () => SIZES,
  })
  const grantOf = (profile: string): Grant => ({
    profile,
    scope: { installation: installation.id, permissions: { contents: 'read' } },
  })
  return { tokens, world, clock, calls, store, values, grantOf }
}

test('each mint has its cause, and one that failed its problem', async t => {
  const { tokens, world, values, grantOf } = await prepare()
  const { demand, forced } = values().minted
  const token = await tokens.obtain(grantOf('ci'))
  t.like(values().minted, { demand: demand + 1, refresh: 0, forced, rejected: 0, proof: 0 })
  const issued = world.tokens.get(token.token.reveal())
  if (issued) issued.revoked = true
  await tokens.obtain(grantOf('ci'), { rejected: hashToken(token.token) })
  await tokens.renew(grantOf('ci'))
  t.like(values().minted, { demand: demand + 1, forced, rejected: 1, proof: 1 })
  const { length } = await tokens.refresh({ force: true })
  t.like(values().minted, { forced: forced + length })
  world.outage = new Failure('timeout', 'slow')
  await t.throwsAsync(tokens.obtain(grantOf('other')))
  t.is(values().failed.get('timeout'), 1)
  t.is(values().failed.get('key-rejected'), 0, 'those that alerts watch count from zero')
})

test('a token of a longer life, and one whose time came, are told from each other', async t => {
  const { tokens, clock, values, grantOf } = await prepare()
  await tokens.obtain(grantOf('ci'))
  await clock.advance(25 * MINUTE)
  await tokens.obtain(grantOf('ci'), { minTtlMs: 40 * MINUTE })
  t.like(values().minted, { forced: 1, refresh: 0 })
  await clock.advance(30 * MINUTE)
  await tokens.obtain(grantOf('ci'))
  await clock.advance(MINUTE)
  await tokens.refresh()
  t.like(values().minted, { forced: 1, refresh: 1 })
})

test('requests that wait, and the one mint that they wait for, are counted while it lasts', async t => {
  const { tokens, values, grantOf } = await prepare()
  t.like(values(), { waiting: 0, minting: 0 })
  const asked = Array.from({ length: 5 }, () => tokens.obtain(grantOf('ci')))
  t.like(values(), { waiting: 5, minting: 1 })
  await Promise.all(asked)
  t.like(values(), { waiting: 0, minting: 0 })
})

test('tokens in use are told from those that nobody asks for, and times are by the clock of this machine', async t => {
  const { tokens, clock, values, grantOf } = await prepare()
  const old = await tokens.obtain(grantOf('old'))
  await clock.advance(11 * MINUTE)
  const fresh = await tokens.obtain(grantOf('fresh'))
  t.like(values(), {
    live: 3,
    oldestMintedAtMs: old.mintedAtMs,
    newestMintedAtMs: fresh.mintedAtMs,
    oldestExpiresAtMs: old.expiresAtMs,
    inUseExpiresAtMs: fresh.expiresAtMs,
  })
  await clock.advance(11 * MINUTE)
  t.false('inUseExpiresAtMs' in values())
  await clock.advance(60 * MINUTE)
  t.like(values(), { live: 0 })
  t.false('oldestExpiresAtMs' in values())
})

test("GitHub's answers and silences are told apart, and the last export is a fact", async t => {
  const { calls, clock, store, values } = await prepare()
  t.like(values(), { lastExportAtMs: 0, sizes: SIZES })
  t.false('lastAnswerAtMs' in values().calls)
  calls.note({ route: 'GET /app', seconds: 0.2, answered: true })
  const at = clock.now()
  await clock.advance(MINUTE)
  calls.note({ route: 'GET /app', seconds: 30, answered: false })
  store.facts.put(LAST_EXPORT, { atMs: 1234, generation: 1 })
  const read = values()
  t.is(read.calls.lastAnswerAtMs, at)
  t.is(read.calls.unanswered, 1)
  t.is(read.calls.durations[0]?.tally.sum, 30.2)
  t.is(read.lastExportAtMs, 1234)
  store.facts.put(LAST_EXPORT, 'nonsense')
  t.is(values().lastExportAtMs, 0)
})
