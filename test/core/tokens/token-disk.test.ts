// Tokens on the disk: no answer waits for it, many mints share a write, and what waits never outlives its connection.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import type { Grant } from '../../../src/protocol/profile.ts'
import { scopeKey } from '../../../src/protocol/scope.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { hashToken } from '../../../src/core/audit/audit-writer.ts'
import { failureOf, openMemoryStore, settle } from '../../support/fakes.ts'
import { connectedRig, createPremises, createRig } from '../../support/operations-rig.ts'

const MINUTE = 60_000
const SOON = 1_000

const grantOf = (installation: number, repository = 'web'): Grant => ({
  profile: 'ci',
  scope: { installation, repositories: [repository], permissions: { contents: 'read' } },
})

const rigWith = async (options: Parameters<typeof connectedRig>[0] = {}) => {
  const all = await connectedRig(options)
  all.tokens.flush()
  const rows = () =>
    [...all.disk.tokens.values()]
      .filter(({ profile }) => profile === 'ci')
      .map(({ slot, token }) => [slot, token.reveal()])
  return { ...all, rows, grant: grantOf(all.installation.id) }
}

test('a mint is answered before the disk has it, and soon the disk has it', async t => {
  const { tokens, clock, rows, grant } = await rigWith()
  const { token } = await tokens.obtain(grant)
  t.deepEqual(rows(), [])
  await clock.advance(SOON)
  t.deepEqual(rows(), [['current', token.reveal()]])
})

test('mints of one moment share a write, which has a bound', async t => {
  const premises = createPremises()
  const writes: number[] = []
  const store = openMemoryStore(premises.disk)
  const rig = createRig(premises, {
    store: {
      ...store,
      tokens: {
        ...store.tokens,
        write(tokens, gone) {
          writes.push(tokens.length)
          return store.tokens.write(tokens, gone)
        },
      },
    },
  })
  const far = premises.clock.now() + 60 * MINUTE
  const { tokens } = rig
  const of = (n: number) => grantOf(7, `r${n}`)
  const received = Array.from({ length: 250 }, (_, n) => ({
    ...of(n),
    key: scopeKey('ci', of(n).scope),
    token: new Secret(`ghs_${n}`),
    granted: { permissions: { contents: 'read' as const } },
    mintedAtMs: premises.clock.now(),
    expiresAtMs: far,
  }))
  tokens.receive(received)
  t.deepEqual(writes, [])
  await premises.clock.advance(SOON)
  t.deepEqual(writes, [100, 100, 50])
  t.is(premises.disk.tokens.size, 250)
})

test('a kill before the write costs a mint, and nothing else', async t => {
  const { rig, tokens, premises, world, grant, rows } = await rigWith()
  const lost = await tokens.obtain(grant)
  rig.kill()
  await premises.clock.advance(SOON)
  t.deepEqual(rows(), [])
  const second = createRig(premises)
  const mints = world.count('mint')
  t.not((await second.tokens.obtain(grant)).token.reveal(), lost.token.reveal())
  t.is(world.count('mint'), mints + 1)
})

test('a token that waits to be written is revoked by a disable, and never written after it', async t => {
  const { rig, tokens, clock, disk, world, grant } = await rigWith()
  const { token } = await tokens.obtain(grant)
  await rig.disable.begin({ local: false, wait: true })
  t.false(world.isAlive(token.reveal()))
  t.is(disk.tokens.size, 0)
  await clock.advance(SOON)
  t.is(disk.tokens.size, 0)
})

test('a local disable discards what waits', async t => {
  const { rig, tokens, clock, disk, grant } = await rigWith()
  await tokens.obtain(grant)
  await rig.disable.begin({ local: true, wait: false })
  await clock.advance(SOON)
  t.is(disk.tokens.size, 0)
})

test('what was minted for one store is not written into the next one', async t => {
  const { tokens, store, clock, disk, grant } = await rigWith()
  await tokens.obtain(grant)
  store.replace({ newGeneration: true })
  await clock.advance(SOON)
  t.is(disk.tokens.size, 0)
  tokens.drop()
  await tokens.obtain(grant)
  tokens.flush()
  t.is(disk.tokens.size, 1, 'what comes later is')
})

test('a token that is promoted, replaced or refused while it waits leaves the rows that memory has', async t => {
  const { tokens, world, clock, installation, rows, grant } = await rigWith({ refresh: { settleMs: 0 } })
  const old = (await tokens.obtain(grant)).token.reveal()
  tokens.flush()
  await clock.advance(21 * MINUTE)
  await tokens.obtain(grant)
  await tokens.refresh()
  const next = (await tokens.obtain(grant)).token.reveal()
  t.not(next, old)
  t.deepEqual(rows(), [['current', old]], 'minted and promoted before a write')
  await clock.advance(SOON)
  t.deepEqual(rows(), [['current', next]])
  await tokens.renew(grant)
  world.change(installation.id, {}, ['api'])
  tokens.doubt(installation.id)
  t.is((await failureOf(tokens.obtain(grant))).code, 'repository-not-accessible')
  await clock.advance(SOON)
  t.deepEqual(rows(), [])
})

test('a token that GitHub refuses is taken from the disk as well, so that a restart does not bring it back', async t => {
  const { tokens, world, clock, rows, grant, premises } = await rigWith()
  const { token } = await tokens.obtain(grant)
  await clock.advance(SOON)
  t.deepEqual(rows(), [['current', token.reveal()]])
  const issued = world.tokens.get(token.reveal())
  if (issued) issued.revoked = true
  // None takes its place.
  world.refuse('mint', 'timeout')
  t.is((await failureOf(tokens.obtain(grant, { rejected: hashToken(token) }))).code, 'timeout')
  await clock.advance(SOON)
  t.deepEqual(rows(), [])
  t.is(createRig(premises).tokens.find(grant), undefined)
})

test('a successor that has settled is stored as the token, so that a kill does not bring the old one back', async t => {
  const { tokens, clock, rows, grant, premises } = await rigWith()
  const old = (await tokens.obtain(grant)).token.reveal()
  await clock.advance(21 * MINUTE)
  await tokens.obtain(grant)
  await tokens.refresh()
  await clock.advance(SOON)
  const [, [, next = ''] = []] = rows()
  t.deepEqual(rows(), [
    ['current', old],
    ['next', next],
  ])
  await clock.advance(MINUTE)
  t.is((await tokens.obtain(grant)).token.reveal(), next)
  await clock.advance(SOON)
  t.deepEqual(rows(), [['current', next]])
  t.is((await createRig(premises).tokens.obtain(grant)).token.reveal(), next)
})

test('tokens of a bundle are on the disk at once; those that have ended are not taken over', async t => {
  const { tokens, clock, rows, grant } = await rigWith()
  const token = { ...(await tokens.obtain(grant)), slot: 'current' } as const
  tokens.drop()
  tokens.take([token, { ...token, profile: 'other', expiresAtMs: clock.now() }])
  t.deepEqual(rows(), [['current', token.token.reveal()]])
  t.is(tokens.find(grant)?.token, token.token)
  t.is(tokens.live().length, 1)
})

test('a write that fails after it was begun is in the log, and the tokens are served from memory', async t => {
  const { store, premises, installation } = await connectedRig()
  const write = async (): Promise<void> => {
    throw new Failure('io', 'gone')
  }
  const { tokens, log } = createRig(premises, { store: { ...store, tokens: { ...store.tokens, write } } })
  const grant = grantOf(installation.id)
  await tokens.obtain(grant)
  tokens.flush()
  await settle()
  t.like(
    log.lines.findLast(({ level }) => level === 'error'),
    { fields: { error: { code: 'io' } } },
  )
  t.truthy(tokens.find(grant))
})
