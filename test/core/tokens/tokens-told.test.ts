// Tokens and those who hear of them: rows, events and the other nodes; and whose allowance a mint takes, and when.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { holderOf } from '../../../src/core/peers/holder.ts'
import { ADMIN_PROFILE, type Grant } from '../../../src/protocol/profile.ts'
import { describeScope, type Scope, summarizeScope } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { isoTime } from '../../../src/protocol/wire.ts'
import { MINTS } from '../../../src/core/peers/rate-limit.ts'
import type { Membership, MintOptions } from '../../../src/core/connection/membership.ts'
import { hashToken } from '../../../src/core/audit/audit-writer.ts'
import { failureOf } from '../../support/fakes.ts'
import { connectedRig, createRig, peerOf } from '../../support/operations-rig.ts'
import { QUIET_SEAT } from '../../support/quiet-membership.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND

const grantFor = (installation: number, more: Partial<Scope> = {}): Grant => ({
  profile: 'ci',
  scope: { installation, permissions: { contents: 'read' }, ...more },
})

test('a mint is a row with profile, whole scope and hash, and an event with a short scope and the end', async t => {
  const { tokens, clock, disk, told, world, installation } = await connectedRig()
  const repositories = Array.from({ length: 14 }, (_, n) => `r${10 + n}`)
  world.change(installation.id, {}, repositories)
  await clock.advance(SECOND)
  told.length = 0
  const grant = grantFor(installation.id, { repositories })
  const token = await tokens.obtain(grant)
  const ofAdmin = await tokens.obtain({ ...grant, profile: ADMIN_PROFILE })
  await clock.advance(SECOND)
  const rows = disk.audit.filter(({ event }) => event === 'dotcom_connection.token_updated').slice(-2)
  const scope = describeScope(grant.scope)
  t.like(rows[0], { profile: 'ci', scope, hashedToken: hashToken(token.token) })
  t.like(rows[1], { profile: ADMIN_PROFILE, scope, hashedToken: hashToken(ofAdmin.token) })
  const [event, ofAdministrator] = told.filter(one => one.event === 'token-refreshed')
  const short = { scope: summarizeScope(grant.scope), expires_at: isoTime(token.expiresAtMs) }
  t.like(event, { ...short, profile: 'ci' })
  t.like(ofAdministrator, short)
  t.false('profile' in (ofAdministrator ?? {}))
})

test('a token of another node is told, but not with all others at once, and the last mint is the newest', async t => {
  const { tokens, clock, told, installation } = await connectedRig()
  const { slot: _, ...own } = await tokens.obtain(grantFor(installation.id))
  const from = (n: number, mintedAtMs: number) => {
    const grant = grantFor(installation.id, { repositories: [`r${n}`] })
    return { ...own, ...grant, key: `${n}` as never, token: new Secret(`ghs_${n}`), mintedAtMs }
  }
  await clock.advance(MINUTE)
  told.length = 0
  tokens.receive([from(1, own.mintedAtMs + 30 * SECOND)])
  t.deepEqual(
    told.map(({ event, profile, expires_at: end }) => [event, profile, end]),
    [['token-refreshed', 'ci', isoTime(own.expiresAtMs)]],
  )
  t.is(tokens.counts().lastMintedAtMs, own.mintedAtMs + 30 * SECOND)
  tokens.receive([from(2, own.mintedAtMs + 10 * SECOND)], { quiet: true })
  t.is(told.length, 1)
  t.is(tokens.counts().lastMintedAtMs, own.mintedAtMs + 30 * SECOND)
  t.truthy(tokens.find(grantFor(installation.id, { repositories: ['r2'] })))
})

test('of two tokens that end at once the one that all nodes have is taken over, and one that is here already is no news', async t => {
  const { tokens, told, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const { slot: _, ...own } = await tokens.obtain(grant)
  told.length = 0
  tokens.receive([own])
  t.deepEqual(told, [])
  tokens.receive([{ ...own, token: new Secret('ghs_of all'), expiresAtMs: own.expiresAtMs - 1 }])
  t.deepEqual(told, [], 'what ends sooner')
  tokens.receive([{ ...own, token: new Secret('ghs_of all') }])
  t.is(told.length, 1)
})

test('the cluster hears of what is wished for and of what was minted here, and not again of what it gave', async t => {
  const wishes: MintOptions[] = []
  const minted: string[] = []
  let isGiven = false
  const membership: Membership = {
    ...QUIET_SEAT,
    async mint(_, wish) {
      wishes.push(wish)
      return isGiven ? { ...given, slot: 'current' } : undefined
    },
    minted: token => void minted.push(token.token.reveal()),
  }
  let inCluster = false
  const { tokens, clock, world, installation } = await connectedRig({
    membership: () => (inCluster ? membership : undefined),
  })
  const grant = grantFor(installation.id)
  const given = await tokens.obtain(grant, { minTtlMs: 1 })
  inCluster = true
  await clock.advance(25 * MINUTE)
  const long = await tokens.obtain(grant, { minTtlMs: 40 * MINUTE })
  const renewed = await tokens.renew(grant)
  const other = grantFor(installation.id, { repositories: ['web'] })
  const refused = await tokens.obtain(other)
  const issued = world.tokens.get(refused.token.reveal())
  if (issued) issued.revoked = true
  const rejected = hashToken(refused.token)
  const another = await tokens.obtain(other, { rejected })
  const texts = [long, renewed, refused, another].map(({ token }) => token.reveal())
  t.deepEqual(wishes, [{ minTtlMs: 40 * MINUTE }, { renew: true }, {}, { rejected }])
  t.deepEqual(minted, texts)
  wishes.length = 0
  const forced = await tokens.refresh({ force: true })
  t.deepEqual(
    wishes,
    forced.map(() => ({ renew: true })),
  )
  isGiven = true
  const before = minted.length
  await tokens.renew(grant)
  t.is(minted.length, before)
})

test('what was refused for its permissions is asked for at once when these have changed', async t => {
  const { tokens, world, drift, installation } = await connectedRig()
  const grant = grantFor(installation.id, { permissions: { administration: 'write' } })
  for (const _ of [1, 2]) t.is((await failureOf(tokens.obtain(grant))).code, 'permission-not-granted')
  t.is(world.count('mint'), 1, 'it rests')
  world.change(installation.id, { permissions: { administration: 'write', metadata: 'read' } })
  await drift.check({ force: true })
  t.truthy(await tokens.obtain(grant))
})

test('whoever waits for the end of a rest is told how long GitHub said that it is', async t => {
  const { tokens, world, installation } = await connectedRig()
  world.refuse('mint', 'github-outage', { retryAfterSeconds: 300 })
  for (const _ of [1, 2]) {
    t.like(await failureOf(tokens.obtain(grantFor(installation.id))), {
      code: 'github-outage',
      message: 'refused: github-outage',
      retryAfterSeconds: 300,
    })
  }
  t.is(world.count('mint'), 1)
})

test('a request for which GitHub is not asked takes no allowance, however often it comes', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const peer = peerOf(1000)
  const codes = async (grant: Grant): Promise<string[]> => {
    const all = new Set<string>()
    for (let n = 0; n <= MINTS.burst; n += 1) all.add((await failureOf(tokens.obtain(grant, {}, peer))).code)
    return [...all]
  }
  world.refuse('mint', 'timeout')
  t.deepEqual(await codes(grantFor(installation.id)), ['timeout'], 'a scope that rests')
  world.quota = { limit: 5_000, remaining: 0, resetAtMs: clock.trueNow() + 10 * MINUTE }
  t.deepEqual(await codes(grantFor(installation.id, { repositories: ['web'] })), ['quota'], 'a quota that is used up')
  world.quota = undefined
  t.truthy(await tokens.obtain(grantFor(installation.id, { repositories: ['web'] }), {}, peer))
})

test('an entry stays with the holder that asked first', async t => {
  const { tokens, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  await tokens.obtain(grant, {}, peerOf(1000))
  await tokens.obtain(grant, {}, peerOf(1001))
  const { byHolder } = tokens.usage()
  t.is(byHolder.get(holderOf(peerOf(1000)).name)?.entries, 1)
  t.false(byHolder.has(holderOf(peerOf(1001)).name))
})

test('after a restart what somebody asks for is minted ahead again, and what nobody asks for is not', async t => {
  const { tokens, premises, clock, rig, installation } = await connectedRig()
  const [used, unused] = [grantFor(installation.id), grantFor(installation.id, { repositories: ['web'] })]
  for (const grant of [used, unused]) await tokens.obtain(grant)
  tokens.flush()
  rig.kill()
  const second = createRig(premises)
  await clock.advance(15 * MINUTE)
  await second.tokens.obtain(used)
  await clock.advance(6 * MINUTE)
  t.deepEqual(await second.tokens.refresh(), [{ scope: summarizeScope(used.scope) }])
})

test('with less than a minute of life another token is minted before anybody is handed the old one', async t => {
  const { tokens, clock, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  await clock.advance(59 * MINUTE)
  t.is(tokens.find(grant)?.token, old.token, 'a whole minute is enough')
  await clock.advance(SECOND)
  t.is(tokens.find(grant), undefined)
  t.not((await tokens.obtain(grant)).token.reveal(), old.token.reveal())
})

test('a doubt is about one installation; once GitHub has minted, the settled token is served on', async t => {
  const { tokens, world, app, installation } = await connectedRig()
  const other = world.install(app.id, { type: 'organization', login: 'hexa' })
  const [here, elsewhere] = [grantFor(installation.id), grantFor(other.id)]
  const settled = await tokens.obtain(here)
  await tokens.obtain(elsewhere)
  tokens.doubt(installation.id)
  t.is(tokens.find(here), undefined)
  t.truthy(tokens.find(elsewhere))
  t.is((await tokens.obtain(here)).token.reveal(), settled.token.reveal())
  t.is(world.count('mint'), 3)
})

test('a token that was not to be handed out and cannot be revoked is in the log', async t => {
  const { tokens, world, log, installation } = await connectedRig()
  world.surplus = { administration: 'write' }
  world.refuse('revoke', 'timeout')
  t.is((await failureOf(tokens.obtain(grantFor(installation.id)))).code, 'scope-mismatch')
  const line = log.lines.find(({ message }) => message === 'a token could not be revoked')
  t.is(line?.level, 'warn')
  const { error } = line?.fields ?? {}
  t.true(error instanceof Failure && error.code === 'timeout')
})
