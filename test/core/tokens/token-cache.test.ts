// The cache of tokens: bounded in all and by holder, filled only by mints that were allowed, and no holder costs another its tokens.

import test from 'ava'
import * as fc from 'fast-check'
import { Failure } from '../../../src/protocol/errors.ts'
import { holderOf } from '../../../src/core/peers/holder.ts'
import { ADMIN_PROFILE, type Grant, type Peer, type Policy, type Profile } from '../../../src/protocol/profile.ts'
import { scopeKey } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { MINTS } from '../../../src/core/peers/rate-limit.ts'
import { ADMINISTRATORS, CACHE_LIMITS, type CacheLimits, UNCLAIMED } from '../../../src/core/tokens/token-shares.ts'
import { createTokenCache } from '../../../src/core/tokens/token-cache.ts'
import type { StoredToken } from '../../../src/core/store/records.ts'
import { createFakeLog, emptyDisk, failureOf, openMemoryStore, START_MS } from '../../support/fakes.ts'
import { callerOf, connectedRig, createRig, peerOf } from '../../support/operations-rig.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** Any user may ask for any repository. */
const profileFor = (...uids: number[]): Profile => ({
  name: 'any',
  installation: 'octo-org',
  repositories: ['*'],
  permissions: { contents: 'read' },
  allow: { users: uids.map(id => ({ name: `u${id}`, id })), groups: [], units: [] },
})
const POLICY: Policy = { profiles: [profileFor(1000, 1001)] }

const grantOf = (repository: string, profile = 'any'): Grant => ({
  profile,
  scope: { installation: 7, repositories: [repository], permissions: { contents: 'read' } },
})

const tokenOf = (grant: Grant, text = `ghs_${'x'.repeat(520)}`): Omit<StoredToken, 'slot'> => ({
  key: scopeKey(grant.profile, grant.scope),
  ...grant,
  token: new Secret(text),
  granted: { repositories: [...(grant.scope.repositories ?? [])], permissions: { contents: 'read', metadata: 'read' } },
  mintedAtMs: START_MS,
  expiresAtMs: START_MS + HOUR,
})

const NO_TIMERS = { after: () => ({ cancel() {} }) }

const createShelf = (limits?: CacheLimits) => {
  const disk = emptyDisk()
  const clock = { nowMs: START_MS }
  const cache = createTokenCache({
    store: openMemoryStore(disk),
    clock: NO_TIMERS,
    githubClock: { now: () => clock.nowMs },
    log: createFakeLog(),
    settings: () => ({ settleMs: 30_000 }),
    random: () => 0,
    ...(limits && { limits }),
  })
  const mint = (grant: Grant, by?: Peer, atMs = 0): void => {
    const held = cache.open(grant, by)
    held.askedAtMs = atMs
    cache.put(held, tokenOf(grant))
  }
  return { disk, clock, cache, mint }
}

const repositories = (count: number): { id: number; name: string }[] =>
  Array.from({ length: count }, (_, id) => ({ id: id + 1, name: `r${id}` }))

test('6,000 scopes asked for at once cost the allowance, and no tick mints what was refused', async t => {
  const { issuer, world, tokens, installation, clock } = await connectedRig({ policy: POLICY })
  const held = world.installations.get(installation.id)
  if (held) held.repositories = repositories(6_000)
  const codes = new Map<string, number>()
  const caller = callerOf(peerOf(1000))
  for (let n = 0; n < 6_000; n += 1) {
    const code = await issuer.answer({ repositories: [`r${n}`] }, caller).then(
      () => 'ok',
      (error: unknown) => (error instanceof Failure ? error.code : 'internal'),
    )
    codes.set(code, (codes.get(code) ?? 0) + 1)
  }
  t.deepEqual(
    [...codes],
    [
      ['ok', MINTS.burst],
      ['rate-limited', 6_000 - MINTS.burst],
    ],
  )
  t.is(tokens.usage().byHolder.get(holderOf(peerOf(1000)).name)?.entries, MINTS.burst, 'no entry without a mint')
  for (let tick = 0; tick < 3; tick += 1) {
    await clock.advance(5 * MINUTE)
    t.deepEqual(await tokens.refresh(), [])
  }
  t.is(world.count('mint'), MINTS.burst)
})

test('a look-up makes no entry, and neither does a mint that is not allowed', async t => {
  const { tokens, world, installation } = await connectedRig()
  const grant: Grant = { profile: 'ci', scope: { installation: installation.id, permissions: { contents: 'read' } } }
  const before = tokens.usage().entries
  t.is(tokens.find(grant), undefined)
  world.quota = { limit: 5_000, remaining: 0, resetAtMs: world.nowMs() + HOUR }
  t.is((await failureOf(tokens.obtain(grant))).code, 'quota')
  t.is(tokens.usage().entries, before)
})

test('50,000 live scopes of one user fit, with the longest tokens', t => {
  const { cache, mint } = createShelf()
  const peer = peerOf(1000)
  for (let n = 0; n < 50_000; n += 1) mint(grantOf(`repository-${n}`), peer)
  t.is(cache.live().length, 50_000)
  t.true(cache.usage().bytes < CACHE_LIMITS.bytes)
})

test('one user with more scopes than fit pays for it alone', async t => {
  const { cache, mint, disk } = createShelf({ entries: 5_000, bytes: CACHE_LIMITS.bytes })
  const [greedy, modest] = [peerOf(1000), peerOf(1001)]
  for (let n = 0; n < 10; n += 1) mint(grantOf(`mine-${n}`), modest)
  for (let n = 0; n < 10; n += 1) mint(grantOf(`admin-${n}`, ADMIN_PROFILE))
  for (let n = 0; n < 5_100; n += 1) mint(grantOf(`flood-${n}`), greedy, n)
  t.is(cache.usage().entries, 5_000)
  cache.flush()
  t.is(disk.tokens.size, 5_000, 'the disk holds what memory holds')
  mint(grantOf('first'), peerOf(1002))
  mint(grantOf('first', ADMIN_PROFILE))
  const { byHolder } = cache.usage()
  t.is(byHolder.get(holderOf(modest).name)?.entries, 10)
  t.is(byHolder.get(ADMINISTRATORS)?.entries, 11)
  t.is(byHolder.get(holderOf(peerOf(1002)).name)?.entries, 1)
  t.is(cache.find(grantOf('flood-0')), undefined, 'what was not asked for the longest time goes')
  t.truthy(cache.find(grantOf('flood-5099')))
})

test('through the sockets: when the cache is full, another user and the administrator get their first token', async t => {
  const { issuer, world, tokens, installation, clock } = await connectedRig({
    policy: POLICY,
    limits: { entries: 100, bytes: CACHE_LIMITS.bytes },
  })
  const held = world.installations.get(installation.id)
  if (held) held.repositories = repositories(400)
  for (let n = 0; n < 300; n += 1) await issuer.answer({ repositories: [`r${n}`] }, callerOf(peerOf(1000)))
  t.like(tokens.counts().cache, { entries: 100, evicted: 201, bytes: tokens.usage().bytes })
  const other = callerOf(peerOf(1001))
  t.truthy((await issuer.answer({ repositories: ['r399'] }, other)).token)
  t.truthy((await issuer.answer({ repositories: ['r399'] }, callerOf(peerOf(0), 'admin'))).token)
  const mints = world.count('mint')
  for (let n = 300; n < 390; n += 1) await issuer.answer({ repositories: [`r${n}`] }, callerOf(peerOf(1000)))
  t.is(world.count('mint'), mints + 90)
  await clock.advance(1_000)
  await issuer.answer({ repositories: ['r399'] }, other)
  t.is(world.count('mint'), mints + 90, 'a smaller holder keeps its token')
})

test('long names weigh as much as many scopes: the accounted bytes stay below the limit', t => {
  const { cache } = createShelf({ entries: CACHE_LIMITS.entries, bytes: 16 * 2 ** 20 })
  const peer = peerOf(1000)
  for (let n = 0; n < 500; n += 1) {
    const names = Array.from({ length: 440 }, (_, at) => `n${n}-${at}`.padEnd(95, 'x'))
    const grant: Grant = { profile: 'any', scope: { installation: 7, repositories: names } }
    cache.put(cache.open(grant, peer), tokenOf(grant))
    t.true(cache.usage().bytes <= 16 * 2 ** 20)
  }
  const { entries, bytes } = cache.usage()
  t.true(entries > 50 && entries < 200, `${entries} of 500 are held`)
  t.true(bytes > entries * 440 * 95 * 3, 'key, scope and grant have their names each')
})

test('of the largest holder, an entry without a token goes before one with', t => {
  const { cache, mint } = createShelf({ entries: 10, bytes: CACHE_LIMITS.bytes })
  const peer = peerOf(1000)
  for (let n = 0; n < 9; n += 1) mint(grantOf(`r${n}`), peer)
  const refused = cache.open(grantOf('tpyo'), peer)
  refused.askedAtMs = 5
  cache.fail(refused, new Failure('repository-not-accessible', 'no'))
  mint(grantOf('newcomer'), peerOf(1001))
  t.is(cache.find(grantOf('tpyo')), undefined)
  t.is(cache.live().length, 10)
})

test('refused scopes take a small part of the cache, however many one user asks for', t => {
  const limits = { entries: 60_000, bytes: 8 * 2 ** 20 }
  const { cache } = createShelf(limits)
  for (let n = 0; n < 3_000; n += 1) {
    const held = cache.open(grantOf(`tpyo-${n}`), peerOf(1000))
    cache.fail(held, new Failure('repository-not-accessible', 'no'))
  }
  t.true(cache.usage().bytes <= limits.bytes / 32)
  t.truthy(cache.find(grantOf('tpyo-2999')))
})

test('an entry that was asked for since stays before one that was not', t => {
  const { cache, mint } = createShelf({ entries: 3, bytes: CACHE_LIMITS.bytes })
  for (const [at, name] of ['a', 'b', 'c'].entries()) mint(grantOf(name), peerOf(1000), at)
  const a = cache.find(grantOf('a'))
  if (a) a.askedAtMs = 10
  mint(grantOf('d'), peerOf(1000), 11)
  t.truthy(cache.find(grantOf('a')))
  t.is(cache.find(grantOf('b')), undefined)
})

test('within a holder its largest profile gives way: another one keeps its tokens', t => {
  const { cache, mint } = createShelf({ entries: 50, bytes: CACHE_LIMITS.bytes })
  for (let n = 0; n < 5; n += 1) mint(grantOf(`r${n}`, 'quiet'), peerOf(1000))
  for (let n = 0; n < 100; n += 1) mint(grantOf(`r${n}`, 'loud'), peerOf(1000), n)
  t.is(cache.live().filter(({ profile }) => profile === 'quiet').length, 5)
})

test('an eighth of the cache is for administrators, whoever else is the smaller one', t => {
  const { cache, mint } = createShelf({ entries: 10, bytes: CACHE_LIMITS.bytes })
  for (let n = 0; n < 7; n += 1) mint(grantOf(`admin-${n}`, ADMIN_PROFILE))
  for (let n = 0; n < 9; n += 1) mint(grantOf(`r${n}`), peerOf(1000 + n), n)
  const { byHolder, entries } = cache.usage()
  t.is(entries, 10)
  t.is(byHolder.get(ADMINISTRATORS)?.entries, 7)
})

test('what is being minted is not taken away; with nothing else the newcomer has to wait', t => {
  const { cache, mint } = createShelf({ entries: 3, bytes: CACHE_LIMITS.bytes })
  mint(grantOf('of-another'), peerOf(1001))
  for (const name of ['a', 'b']) cache.open(grantOf(name), peerOf(1000)).minting = new Promise(() => {})
  const failure = t.throws(() => cache.open(grantOf('c'), peerOf(1000)))
  t.true(failure instanceof Failure && failure.code === 'rate-limited')
  t.is(cache.usage().entries, 3)
  t.truthy(cache.find(grantOf('of-another')), 'a smaller holder does not stand in')
})

test('an entry that nobody here asked for is charged to the first who does', async t => {
  const { issuer, premises, tokens, rig, disk } = await connectedRig({ policy: POLICY })
  await issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1000)))
  t.is(tokens.usage().byHolder.get(holderOf(peerOf(1000)).name)?.entries, 1)
  tokens.flush()
  rig.kill()
  const second = createRig(premises, { policy: POLICY })
  t.is(second.tokens.usage().byHolder.get(UNCLAIMED)?.entries, 1)
  await second.issuer.answer({ repositories: ['web'] }, callerOf(peerOf(1001)))
  const { byHolder } = second.tokens.usage()
  t.is(byHolder.get(UNCLAIMED), undefined)
  t.is(byHolder.get(holderOf(peerOf(1001)).name)?.entries, 1)
  t.true(disk.tokens.size > 0)
})

test('a store with more than fits is loaded as far as there is room, and the rest leaves the disk', t => {
  const disk = emptyDisk()
  const store = openMemoryStore(disk)
  for (let n = 0; n < 20; n += 1) void store.tokens.write([{ ...tokenOf(grantOf(`r${n}`)), slot: 'current' }])
  const cache = createTokenCache({
    store,
    clock: NO_TIMERS,
    githubClock: { now: () => START_MS },
    log: createFakeLog(),
    settings: () => ({ settleMs: 0 }),
    random: () => 0,
    limits: { entries: 15, bytes: CACHE_LIMITS.bytes },
  })
  t.is(cache.live().length, 15)
  cache.flush()
  t.is(disk.tokens.size, 15)
  cache.receive([tokenOf(grantOf('from-another-node'))])
  t.is(cache.live().length, 15, 'what nobody waits for takes nothing away')
})

test('for any holders and scopes: the bounds hold, the smaller holder keeps its tokens, and newcomers are let in', t => {
  const limits = { entries: 40, bytes: 120_000 }
  const step = fc.record({
    uid: fc.constantFrom(1, 2, 3, 4),
    admin: fc.boolean(),
    repository: fc.nat(60),
    long: fc.nat(40),
    profile: fc.constantFrom('p', 'q'),
    does: fc.constantFrom('mint', 'mint', 'mint', 'refuse', 'ask', 'forget', 'receive'),
  })
  const ONE_TOKEN = 1_500
  let evicted = 0
  fc.assert(
    fc.property(fc.array(step, { minLength: 50, maxLength: 250 }), steps => {
      const { cache, disk } = createShelf(limits)
      let atMs = 0
      for (const { uid, admin, repository, long, profile, does } of steps) {
        atMs += 1
        const name = `r${repository}`.padEnd(3 + long * 20, 'x')
        const grant = grantOf(name, admin ? ADMIN_PROFILE : profile)
        const by = admin ? undefined : peerOf(uid)
        const before = new Map(cache.live().map(token => [token.key, cache.find(token)?.holder ?? '']))
        const bytesBefore = cache.usage().byHolder
        const known = cache.find(grant)
        if (does === 'mint' || does === 'refuse') {
          const held = cache.open(grant, by)
          held.askedAtMs = atMs
          if (does === 'mint') cache.put(held, tokenOf(grant, 'ghs_x'))
          else cache.fail(held, new Failure('timeout', 'no answer'))
        } else if (does === 'receive') cache.receive([tokenOf(grant, 'ghs_y')])
        else if (known && does === 'ask') known.askedAtMs = atMs
        else if (known && does === 'forget') cache.forget(known)
        if (atMs % 7 === 0) cache.flush()
        const { entries, bytes, byHolder } = cache.usage()
        if (entries > limits.entries || bytes > limits.bytes) return false
        const held = [...cache.all()]
        if (entries !== held.length || bytes !== held.reduce((sum, { weight }) => sum + weight, 0)) return false
        const rows = held.reduce((sum, h) => sum + (h.current ? 1 : 0) + (h.next ? 1 : 0), 0)
        if (atMs % 7 === 0 && disk.tokens.size !== rows) return false
        // Who lost a token to the newcomer held at least as much as the newcomer's holder does now, but for this one token.
        const holder = cache.find(grant)?.holder ?? ''
        const own = byHolder.get(holder)?.bytes ?? 0
        for (const [key, loser] of before) {
          if (key === known?.key || cache.live().some(token => token.key === key)) continue
          evicted += 1
          const had = bytesBefore.get(loser)?.bytes ?? 0
          if (loser === ADMINISTRATORS && holder !== loser && had <= limits.bytes / 8) return false
          const isReserved = holder === ADMINISTRATORS && own <= limits.bytes / 8
          if (loser !== holder && !isReserved && had + ONE_TOKEN < own) return false
        }
      }
      return true
    }),
    { numRuns: 200 },
  )
  t.true(evicted > 100, `${evicted} were evicted`)
})
