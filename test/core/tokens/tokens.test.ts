// Tokens: minted once, refreshed ahead, handed out when settled, kept when GitHub does not answer, never served when they have ended.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Grant } from '../../../src/protocol/profile.ts'
import type { Scope } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import type { Membership } from '../../../src/core/connection/membership.ts'
import { hashToken } from '../../../src/core/audit/audit-writer.ts'
import type { StoredToken } from '../../../src/core/store/records.ts'
import { failureOf, settle } from '../../support/fakes.ts'
import { connectedRig, createRig, ORG, peerOf } from '../../support/operations-rig.ts'
import { QUIET_SEAT } from '../../support/quiet-membership.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

const grantFor = (installation: number, more: Partial<Scope> = {}): Grant => ({
  profile: 'ci',
  scope: { installation, permissions: { contents: 'read' }, ...more },
})

test('a hundred requests for one scope at once cost one mint', async t => {
  const { tokens, world, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const found = await Promise.all(Array.from({ length: 100 }, () => tokens.obtain(grant)))
  t.is(world.count('mint'), 1)
  t.is(new Set(found.map(token => token.token.reveal())).size, 1)
  await tokens.obtain(grantFor(installation.id, { repositories: ['web'] }))
  await tokens.obtain({ ...grant, profile: 'other' })
  t.is(world.count('mint'), 3, 'another scope and another holder have tokens of their own')
})

test('a failed mint is one failure for all who wait, and the next request mints again', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  world.refuse('mint', 'timeout')
  const ends = await Promise.allSettled(Array.from({ length: 10 }, () => tokens.obtain(grantFor(installation.id))))
  t.true(ends.every(end => end.status === 'rejected'))
  t.is(world.count('mint'), 1)
  await clock.advance(1_000)
  t.truthy((await tokens.obtain(grantFor(installation.id))).token.reveal())
  t.is(world.count('mint'), 2)
})

test('what is in use is minted ahead, and what was not asked for in ten minutes is not', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const used = grantFor(installation.id)
  await tokens.obtain(used)
  await tokens.obtain(grantFor(installation.id, { repositories: ['web'] }))
  await clock.advance(19 * MINUTE)
  await tokens.obtain(used)
  t.deepEqual(await tokens.refresh(), [], 'more than before_expiry is left')
  await clock.advance(MINUTE + 1_000)
  t.is((await tokens.refresh()).length, 1)
  t.is(world.count('mint'), 3)
  t.deepEqual(await tokens.refresh(), [], 'one successor is enough')
})

test('what was minted for a former installation is dropped once GitHub lists another in its place', async t => {
  const { tokens, world, drift, installation, connectionState } = await connectedRig()
  await tokens.obtain(grantFor(installation.id))
  const [held] = [...world.installations.values()]
  world.uninstall(installation.id)
  const next = world.install(held?.appId ?? 0, ORG)
  await drift.check()
  t.deepEqual(
    connectionState.read().installations.map(({ id }) => id),
    [next.id],
  )
  t.deepEqual(await tokens.refresh({ force: true }), [])
  t.is(tokens.counts().live, 0)
})

test('the old token is served until the new one has settled', async t => {
  const { tokens, clock, installation } = await connectedRig({ refresh: { settleMs: 30_000 } })
  const grant = grantFor(installation.id)
  const old = (await tokens.obtain(grant)).token.reveal()
  await clock.advance(20 * MINUTE + 1_000)
  await tokens.obtain(grant)
  await tokens.refresh()
  await clock.advance(29_000)
  t.is((await tokens.obtain(grant)).token.reveal(), old)
  await clock.advance(1_000)
  t.not((await tokens.obtain(grant)).token.reveal(), old)
})

test('the new token is served before it has settled once the old one ends', async t => {
  const { tokens, clock, world, installation } = await connectedRig({ refresh: { settleMs: 10 * MINUTE } })
  const grant = grantFor(installation.id)
  const old = (await tokens.obtain(grant)).token.reveal()
  await clock.advance(54 * MINUTE)
  await tokens.obtain(grant)
  await tokens.refresh()
  t.is((await tokens.obtain(grant)).token.reveal(), old)
  await clock.advance(5 * MINUTE + 1_000)
  t.not((await tokens.obtain(grant)).token.reveal(), old)
  t.is(world.count('mint'), 2)
})

test('a failed refresh keeps the good token, and is tried again after its backoff', async t => {
  const { tokens, world, clock, installation, told } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = (await tokens.obtain(grant)).token.reveal()
  await clock.advance(21 * MINUTE)
  world.outage = new Failure('unreachable', 'no route')
  t.is((await tokens.obtain(grant)).token.reveal(), old)
  const [outcome] = await tokens.refresh()
  t.is(outcome?.failure?.code, 'unreachable')
  t.true(told.some(event => event.event === 'refresh-failed'))
  t.deepEqual(await tokens.refresh(), [], 'it rests')
  t.is((await tokens.obtain(grant)).token.reveal(), old)
  world.outage = undefined
  await clock.advance(1_000)
  t.is((await tokens.refresh())[0]?.failure, undefined)
})

test('when a call goes through again, no scope sits out its backoff', async t => {
  const { tokens, drift, world, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  world.outage = new Failure('proxy-refused', 'the proxy says 403')
  t.is((await failureOf(tokens.obtain(grant))).code, 'proxy-refused')
  world.outage = undefined
  t.is((await failureOf(tokens.obtain(grant))).code, 'proxy-refused', 'it rests')
  await drift.check()
  t.truthy(await tokens.obtain(grant), 'the way is known to be open')
})

test('the backoff doubles to a minute, and GitHub may name a longer one', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  world.outage = new Failure('timeout', 'slow')
  const waits: number[] = []
  for (let tries = 1; tries <= 8; tries += 1) {
    await failureOf(tokens.obtain(grant))
    const before = world.count('mint')
    let waited = 0
    while (world.count('mint') === before && waited < 200) {
      await clock.advance(1_000)
      waited += 1
      if (world.count('mint') === before) await failureOf(tokens.obtain(grant))
    }
    waits.push(waited)
  }
  t.deepEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60])
  world.outage = new Failure('github-outage', 'maintenance', { retryAfterSeconds: 300 })
  await clock.advance(MINUTE)
  t.is((await failureOf(tokens.obtain(grant))).code, 'github-outage')
  world.outage = undefined
  await clock.advance(299_000)
  t.is((await failureOf(tokens.obtain(grant))).code, 'github-outage', 'Retry-After is honoured')
  await clock.advance(1_000)
  t.truthy(await tokens.obtain(grant))
})

test('after a rate limit no scope of the installation asks GitHub until its time has come', async t => {
  const { tokens, world, clock, installation, app } = await connectedRig()
  const elsewhere = world.install(app.id, { ...ORG, login: 'elsewhere' })
  world.refuse('mint', 'quota', { retryAfterSeconds: 60 })
  t.is((await failureOf(tokens.obtain(grantFor(installation.id)))).code, 'quota')
  const failure = await failureOf(tokens.obtain(grantFor(installation.id, { repositories: ['web'] })))
  t.is(failure.code, 'quota')
  t.is(failure.retryAfterSeconds, 60)
  t.is(world.count('mint'), 1)
  t.truthy(await tokens.obtain(grantFor(elsewhere.id)), 'another installation has its own limit')
  await clock.advance(MINUTE)
  t.truthy(await tokens.obtain(grantFor(installation.id, { repositories: ['web'] })))
})

test('refreshing ahead leaves a reserve of the quota; a caller may use it to the end', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  await tokens.obtain(grant)
  await clock.advance(21 * MINUTE)
  await tokens.obtain(grant)
  world.quota = { limit: 5_000, remaining: 100, resetAtMs: clock.trueNow() + 10 * MINUTE }
  t.is((await tokens.refresh())[0]?.failure?.code, 'quota')
  t.is(world.count('mint'), 1)
  t.truthy(await tokens.obtain(grantFor(installation.id, { repositories: ['web'] })))
  world.quota = { ...world.quota, remaining: 0 }
  const failure = await failureOf(tokens.obtain(grantFor(installation.id, { repositories: ['api'] })))
  t.is(failure.code, 'quota')
  t.true((failure.retryAfterSeconds ?? 0) > 590)
  t.is(world.count('mint'), 2)
  world.quota = { ...world.quota, resetAtMs: clock.trueNow() - 1 }
  t.is((await tokens.refresh())[0]?.failure, undefined)
})

test('tokens survive a restart; expired ones are swept out', async t => {
  const { tokens, premises, world, clock, rig, installation, disk } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  await clock.advance(21 * MINUTE)
  await tokens.obtain(grant)
  await tokens.refresh()
  tokens.flush()
  rig.kill()
  const mints = world.count('mint')
  const second = createRig(premises)
  t.is((await second.tokens.obtain(grant)).token.reveal(), old.token.reveal())
  await clock.advance(30_000)
  t.not((await second.tokens.obtain(grant)).token.reveal(), old.token.reveal())
  t.is(world.count('mint'), mints)
  second.kill()
  await clock.advance(2 * HOUR)
  createRig(premises).tokens.flush()
  t.is(disk.tokens.size, 0)
})

test('a token that was minted while the connection went is revoked and not served', async t => {
  const { tokens, world, connectionState, installation, rig } = await connectedRig()
  const asked = tokens.obtain(grantFor(installation.id))
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  connectionState.transition({
    ...connection,
    kind: 'disconnecting',
    step: 'revoke',
    deadlineMs: rig.clock.now() + HOUR,
  })
  t.is((await failureOf(asked)).code, 'not-connected')
  t.is(world.count('revoke'), 1)
  t.false([...world.tokens.values()].some(token => token.permissions['contents'] && !token.revoked))
  t.deepEqual(
    tokens.live().filter(token => token.profile === 'ci'),
    [],
  )
})

test('a token of the connection before is not served under the next one', async t => {
  const { tokens, world, connectionState, installation } = await connectedRig()
  const asked = tokens.obtain(grantFor(installation.id))
  const { connection, keys, installations } = connectionState.read()
  connectionState.shred({ kind: 'disconnected', sinceMs: 1 })
  connectionState.transition(connection, { keys, installations, newGeneration: true })
  t.is((await failureOf(asked)).code, 'not-connected')
  t.is(world.count('revoke'), 1)
})

test('another scope than the one asked for is revoked, and nobody gets it', async t => {
  const { tokens, world, installation, disk } = await connectedRig()
  world.surplus = { administration: 'write' }
  t.is((await failureOf(tokens.obtain(grantFor(installation.id)))).code, 'scope-mismatch')
  t.is(world.count('revoke'), 1)
  tokens.flush()
  t.false([...disk.tokens.values()].some(token => token.profile === 'ci'))
  world.surplus = {}
})

test('with a full disk new tokens are served from memory, and settled ones take over', async t => {
  const { tokens, world, clock, installation, disk } = await connectedRig()
  const grant = grantFor(installation.id)
  const old = await tokens.obtain(grant)
  disk.storeFailure = new Failure('disk-full', 'no space left on the device')
  t.truthy(await tokens.obtain(grantFor(installation.id, { repositories: ['web'] })))
  await clock.advance(21 * MINUTE)
  await tokens.obtain(grant)
  t.is((await tokens.refresh()).filter(outcome => outcome.failure).length, 0)
  await clock.advance(MINUTE)
  t.not((await tokens.obtain(grant)).token.reveal(), old.token.reveal())
  await clock.advance(HOUR)
  t.notThrows(() => tokens.counts())
  await t.notThrowsAsync(tokens.refresh(), 'what ended is forgotten')
  t.true(world.isAlive((await tokens.obtain(grant)).token.reveal()))
  const rejected = hashToken((await tokens.obtain(grant)).token)
  for (const token of world.tokens.values()) token.revoked = true
  t.true(world.isAlive((await tokens.obtain(grant, { rejected })).token.reveal()))
})

test('a scope that GitHub never granted is not asked for ahead', async t => {
  const { tokens, world, clock, installation } = await connectedRig()
  const failure = await failureOf(tokens.obtain(grantFor(installation.id, { repositories: ['tpyo'] })))
  t.is(failure.code, 'repository-not-accessible')
  await clock.advance(2 * MINUTE)
  t.deepEqual(await tokens.refresh(), [])
  t.is(world.count('mint'), 1)
})

test('counts and live tell of every token that GitHub may still accept', async t => {
  const { tokens, clock, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  await tokens.obtain(grant)
  const before = tokens.live().length
  await clock.advance(21 * MINUTE)
  await tokens.obtain(grant)
  await tokens.refresh()
  t.is(tokens.live().length, before + 1, 'the old one and its successor')
  const { live, oldestExpiresAtMs, lastMintedAtMs } = tokens.counts()
  t.true(live >= 1)
  t.is(lastMintedAtMs, clock.now())
  t.true((oldestExpiresAtMs ?? 0) > clock.now())
  tokens.drop()
  t.deepEqual(tokens.live(), [])
  t.deepEqual(tokens.counts().live, 0)
})

test('the number of scopes that are held has a limit, and what is not used is forgotten', async t => {
  const { tokens, clock, installation, disk } = await connectedRig()
  await tokens.obtain(grantFor(installation.id))
  tokens.flush()
  t.true(disk.tokens.size > 0)
  await clock.advance(2 * HOUR)
  await tokens.refresh()
  tokens.flush()
  t.is(disk.tokens.size, 0)
})

test('a token of another node in place of one at its end takes an older successor along', async t => {
  const { tokens, clock, installation, disk } = await connectedRig({ refresh: { settleMs: 30 * MINUTE } })
  const grant = grantFor(installation.id)
  await tokens.obtain(grant)
  await clock.advance(45 * MINUTE)
  await tokens.obtain(grant)
  await tokens.refresh()
  const ofOurs = () => {
    tokens.flush()
    return [...disk.tokens.values()].filter(({ profile }) => profile === 'ci')
  }
  const successor = ofOurs().find(({ slot }) => slot === 'next')
  if (!successor) throw new Error('no successor')
  // `current` is at its end, and nobody asked since.
  await clock.advance(14 * MINUTE + 30_000)
  const { slot: _, ...shared } = successor
  const newest = new Secret(`ghs_${'n'.repeat(36)}`)
  tokens.receive([
    { ...shared, token: newest, mintedAtMs: clock.now(), expiresAtMs: successor.expiresAtMs + 5 * MINUTE },
  ])
  t.is((await tokens.obtain(grant)).token.reveal(), newest.reveal())
  t.deepEqual(
    ofOurs().map(({ slot, token }) => [slot, token.reveal()]),
    [['current', newest.reveal()]],
    'on the disk, too',
  )
  await clock.advance(30 * MINUTE)
  t.is((await tokens.obtain(grant)).token.reveal(), newest.reveal(), 'the older one never comes back')
})

test('tokens in doubt are minted once, and then served from the cache again', async t => {
  const { tokens, world, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  await tokens.obtain(grant)
  tokens.doubt(installation.id)
  t.is(tokens.find(grant), undefined)
  await tokens.obtain(grant)
  t.is(world.count('mint'), 2)
  t.truthy(tokens.find(grant))
  await tokens.obtain(grant)
  t.is(world.count('mint'), 2)
})

test('tokens that the disk does not let go are an error of whoever drops them, and are served no more', async t => {
  const { tokens, disk, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  await tokens.obtain(grant)
  disk.storeFailure = new Failure('io', 'read-only file system')
  const thrown = t.throws(() => tokens.drop())
  t.true(thrown instanceof Failure && thrown.code === 'io')
  t.is(tokens.find(grant), undefined)
})

test('a token that cannot be removed from the disk is in the log', async t => {
  const { tokens, disk, world, log, installation } = await connectedRig()
  const grant = grantFor(installation.id, { repositories: ['web'] })
  await tokens.obtain(grant)
  world.change(installation.id, {}, ['api'])
  tokens.doubt(installation.id)
  disk.storeFailure = new Failure('io', 'read-only file system')
  t.is((await failureOf(tokens.obtain(grant))).code, 'repository-not-accessible')
  tokens.flush()
  t.true(log.lines.some(({ level, message }) => level === 'error' && message.startsWith('tokens cannot be written')))
})

test("a leader's token is not served once the connection went while it was asked", async t => {
  const asked = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<void>()
  let given: StoredToken | undefined
  const membership: Membership = {
    ...QUIET_SEAT,
    async mint() {
      asked.resolve()
      await answer.promise
      return given
    },
  }
  let inCluster = false
  const { tokens, connectionState, installation, disk } = await connectedRig({
    membership: () => (inCluster ? membership : undefined),
  })
  const grant = grantFor(installation.id)
  given = { ...(await tokens.obtain(grant)), slot: 'current' }
  tokens.drop()
  inCluster = true
  const waiting = failureOf(tokens.obtain(grant))
  await asked.promise
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  connectionState.transition({
    ...connection,
    kind: 'disconnecting',
    step: 'revoke',
    deadlineMs: Number.MAX_SAFE_INTEGER,
  })
  answer.resolve()
  t.is((await waiting).code, 'not-connected')
  tokens.flush()
  t.is(disk.tokens.size, 0)
})

test("a leader's token is served, and ends the doubt about the one at hand", async t => {
  let given: StoredToken | undefined
  let asks = 0
  const membership: Membership = {
    ...QUIET_SEAT,
    async mint() {
      asks += 1
      return given
    },
  }
  let inCluster = false
  const { tokens, installation } = await connectedRig({ membership: () => (inCluster ? membership : undefined) })
  const grant = grantFor(installation.id)
  given = { ...(await tokens.obtain(grant)), slot: 'current' }
  inCluster = true
  tokens.doubt(installation.id)
  t.is((await tokens.obtain(grant)).token.reveal(), given.token.reveal())
  t.is((await tokens.obtain(grant)).token.reveal(), given.token.reveal())
  t.is(asks, 1)
})

test('a token that is minted while everything is dropped is held nowhere', async t => {
  const { tokens, disk, installation } = await connectedRig()
  const grant = grantFor(installation.id)
  const minting = tokens.obtain(grant)
  tokens.drop()
  await minting
  t.is(tokens.find(grant), undefined)
  tokens.flush()
  t.is(disk.tokens.size, 0)
})

test('whoever waited for a turn while the state changed has GitHub asked for nothing', async t => {
  const { tokens, world, connectionState, installation, rig } = await connectedRig()
  const gate = Promise.withResolvers<void>()
  const answer = world.answer.bind(world)
  let mints = 0
  world.answer = async (call, work) => {
    if (call === 'mint') {
      mints += 1
      await gate.promise
    }
    return answer(call, work)
  }
  const asked = Array.from({ length: 20 }, (_, n) =>
    tokens.obtain({ profile: `p${n}`, scope: { installation: installation.id } }, {}, peerOf(1000)),
  )
  const outcomes = Promise.allSettled(asked)
  // A holder begins one in some turns of the event loop.
  for (let turn = 0; turn < 100; turn += 1) await settle()
  t.is(mints, 16, 'of one holder at once')
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error(connection.kind)
  connectionState.transition({
    ...connection,
    kind: 'disconnecting',
    step: 'revoke',
    deadlineMs: rig.clock.now() + HOUR,
  })
  gate.resolve()
  t.deepEqual(new Set((await outcomes).map(({ status }) => status)), new Set(['rejected']))
  t.is(mints, 16)
})

test('a token whose entry was dropped while it was minted is held by nobody, and charged to nobody', async t => {
  const { tokens, world, installation } = await connectedRig()
  const [dropped, kept] = [grantFor(installation.id), grantFor(installation.id, { repositories: ['web'] })]
  const answer = world.hold('mint')
  const minting = tokens.obtain(dropped, {}, peerOf(1000))
  await settle()
  tokens.drop()
  await tokens.obtain(kept, {}, peerOf(1000))
  answer()
  t.truthy((await minting).token, 'whoever waits for it has it')
  t.is(tokens.find(dropped), undefined)
  t.is(tokens.usage().entries, 1)
})
