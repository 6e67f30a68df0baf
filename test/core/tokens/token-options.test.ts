// What a caller may ask for beside its scope: a token that lasts, or another one than a refused one; each within limits.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Grant } from '../../../src/protocol/profile.ts'
import type { Scope } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { hashToken } from '../../../src/core/audit/audit-writer.ts'
import { failureOf } from '../../support/fakes.ts'
import { connectedRig, peerOf } from '../../support/operations-rig.ts'

const MINUTE = 60_000

const grantFor = (installation: number, more: Partial<Scope> = {}): Grant => ({
  profile: 'ci',
  scope: { installation, permissions: { contents: 'read' }, ...more },
})

test('min_ttl forces one mint per scope in five minutes', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = (await tokens.obtain(grant)).token.reveal()
  await clock.advance(25 * MINUTE)
  t.is((await tokens.obtain(grant, { minTtlMs: 30 * MINUTE })).token.reveal(), old)
  t.is(world.count('mint'), 1)
  const fresh = await tokens.obtain(grant, { minTtlMs: 40 * MINUTE })
  t.not(fresh.token.reveal(), old)
  t.is((await tokens.obtain(grant)).token.reveal(), old, 'who did not ask for it gets the settled one')
  t.is(world.count('mint'), 2)
  await clock.advance(25 * MINUTE)
  await Promise.all(Array.from({ length: 20 }, () => tokens.obtain(grant, { minTtlMs: 40 * MINUTE })))
  t.is(world.count('mint'), 3)
  // The forced one is lost again: what the next caller gets is what there is.
  world.outage = new Failure('timeout', 'slow')
  await clock.advance(4 * MINUTE)
  t.truthy(await tokens.obtain(grant, { minTtlMs: 40 * MINUTE }))
})

test('all who ask for a long life while one is minted wait for it', async t => {
  const { tokens, clock, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = (await tokens.obtain(grant)).token.reveal()
  await clock.advance(25 * MINUTE)
  const found = await Promise.all(Array.from({ length: 20 }, () => tokens.obtain(grant, { minTtlMs: 40 * MINUTE })))
  t.true(found.every(token => token.token.reveal() !== old))
})

test('a long life that GitHub does not give is answered with the token at hand', async t => {
  const { tokens, clock, world, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = (await tokens.obtain(grant)).token.reveal()
  await clock.advance(25 * MINUTE)
  world.outage = new Failure('timeout', 'slow')
  t.is((await tokens.obtain(grant, { minTtlMs: 40 * MINUTE })).token.reveal(), old)
})

test('a token said to be refused is replaced when GitHub says so too, once in five minutes', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  const rejected = hashToken(old.token)
  t.is((await tokens.obtain(grant, { rejected })).token.reveal(), old.token.reveal(), 'GitHub accepts it')
  t.is(world.count('accepts'), 1)
  await tokens.obtain(grant, { rejected })
  t.is(world.count('accepts'), 1, 'and is not asked again for five minutes')
  t.is(world.count('mint'), 1)
  await clock.advance(5 * MINUTE)
  const issued = world.tokens.get(old.token.reveal())
  if (issued) issued.revoked = true
  const urlSafe = rejected.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
  const fresh = await tokens.obtain(grant, { rejected: urlSafe })
  t.not(fresh.token.reveal(), old.token.reveal())
  t.is(world.count('mint'), 2)
  await tokens.obtain(grant, { rejected: hashToken(fresh.token) })
  await tokens.obtain(grant, { rejected })
  await tokens.obtain(grant, { rejected: hashToken(new Secret('of somebody else')) })
  t.is(world.count('mint'), 2)
  t.is(world.count('accepts'), 2)
})

test('a refused token that has a successor gives way to it without a mint', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  await clock.advance(21 * MINUTE)
  await tokens.obtain(grant)
  await tokens.refresh()
  const issued = world.tokens.get(old.token.reveal())
  if (issued) issued.revoked = true
  const fresh = await tokens.obtain(grant, { rejected: hashToken(old.token) })
  t.not(fresh.token.reveal(), old.token.reveal())
  t.is(world.count('mint'), 2)
})

test('while GitHub cannot be asked, a token said to be refused is served still', async t => {
  const { tokens, world, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  world.outage = new Failure('unreachable', 'no route')
  t.is((await tokens.obtain(grant, { rejected: hashToken(old.token) })).token.reveal(), old.token.reveal())
})

test('a second long life is minted no sooner than five minutes after the first', async t => {
  const { tokens, world, clock, installation } = await connectedRig({ refresh: { settleMs: 0 } })
  const grant = grantFor(installation.id)
  await tokens.obtain(grant)
  await clock.advance(2 * MINUTE)
  const long = { minTtlMs: 59 * MINUTE }
  await tokens.obtain(grant, long)
  t.is(world.count('mint'), 2)
  await clock.advance(5 * MINUTE - 1)
  await tokens.obtain(grant, long)
  t.is(world.count('mint'), 2)
  await clock.advance(1)
  await tokens.obtain(grant, long)
  t.is(world.count('mint'), 3)
})

test('two who say at once that a token is refused cost one question and one mint', async t => {
  const { tokens, world, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  const rejected = hashToken(old.token)
  for (const token of world.tokens.values()) token.revoked = true
  const [first, second] = await Promise.all([tokens.obtain(grant, { rejected }), tokens.obtain(grant, { rejected })])
  const third = await tokens.obtain(grant, { rejected })
  t.is(world.count('accepts'), 1)
  t.is(world.count('mint'), 2)
  t.not(first.token.reveal(), old.token.reveal())
  t.is(third.token.reveal(), first.token.reveal())
  t.truthy(second)
})

test('a claim about a token that is not held makes no entry and asks nobody', async t => {
  const { tokens, world, installation } = await connectedRig()
  world.quota = { limit: 5_000, remaining: 0, resetAtMs: world.nowMs() + 60 * MINUTE }
  const before = tokens.usage().entries
  await t.throwsAsync(tokens.obtain(grantFor(installation.id), { rejected: hashToken(new Secret('ghs_x')) }))
  t.deepEqual(world.calls, [])
  t.is(tokens.usage().entries, before)
})

test('a question about a token that GitHub did not answer is in the log, and is asked again half a minute later', async t => {
  const { tokens, world, clock, log, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  const rejected = hashToken(old.token)
  for (const token of world.tokens.values()) token.revoked = true
  world.refuse('accepts', 'timeout')
  t.is((await tokens.obtain(grant, { rejected })).token.reveal(), old.token.reveal())
  t.like(
    log.lines.find(({ level }) => level === 'warn'),
    { message: 'GitHub could not be asked whether it refuses a token', fields: { error: { code: 'timeout' } } },
  )
  await clock.advance(29_999)
  t.is((await tokens.obtain(grant, { rejected })).token.reveal(), old.token.reveal())
  t.is(world.count('accepts'), 1)
  await clock.advance(1)
  t.not((await tokens.obtain(grant, { rejected })).token.reveal(), old.token.reveal())
  t.is(world.count('accepts'), 2)
})

test('who may not ask GitHub for a scope keeps nobody else from it', async t => {
  const { tokens, world, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  const rejected = hashToken(old.token)
  for (const token of world.tokens.values()) token.revoked = true
  const greedy = peerOf(1_000)
  for (let n = 0; n < 600; n++) await tokens.obtain({ ...grant, profile: `p${n}` }, {}, greedy)
  t.is((await failureOf(tokens.obtain(grant, { rejected }, greedy))).code, 'rate-limited')
  t.is(world.count('accepts'), 0)
  const fresh = await tokens.obtain(grant, { rejected }, peerOf(2_000))
  t.is(world.count('accepts'), 1)
  t.not(fresh.token.reveal(), old.token.reveal())
})
