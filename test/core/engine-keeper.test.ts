// The engine, or the reason why there is none: tried again by itself, opened by a recovery key, replaced by a restore, and always told.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import type { Connection } from '../../src/protocol/connection.ts'
import type { Keeper } from '../../src/core/engine-keeper.ts'
import { writeBundle } from '../../src/core/snapshot/bundle.ts'
import { DISCONNECTED, LIVE, optionsFor, OTHER_RECOVERY, RECOVERY, SIGNER } from './snapshot/samples.ts'
import { STORE_KEY } from './store/samples.ts'
import { failureOf, START_MS, thrownBy } from '../support/fakes.ts'
import { keeperOf } from '../support/keeper-rig.ts'
import { LIVE_HERE, OTHER_KEY } from '../support/place.ts'

const ADMIN = { socket: 'admin' } as const
const stateOf = (keeper: Keeper): string => keeper.status(ADMIN).state

test('a store that cannot be opened is a state with its reason, said once, and everything that needs it is refused for it', async t => {
  const rig = keeperOf(t)
  const { keeper, clock, key } = rig
  writeFileSync(key, 'short')
  await clock.advance(5_000)
  keeper.open()
  const { entry, message, next } = thrownBy(() => keeper.operations()) ?? new Failure('internal', 'it is open')
  t.regex(message, /holds 5 bytes/)
  const told = {
    state: 'locked',
    since: new Date(START_MS).toISOString(),
    meaning: `${entry.title}: ${message}.`,
    next,
  }
  for (const status of [keeper.status(ADMIN), keeper.status({ socket: 'token' }), keeper.standing()])
    t.like(status, told)
  t.is(keeper.state(), 'locked')
  t.is(keeper.headline(), `${told.meaning} ${next}`)
  t.is(thrownBy(() => keeper.engine())?.code, 'locked')
  t.notThrows(() => keeper.probe(), 'a closed store is no reason to end the daemon')
  await keeper.inStep()
  await keeper.rest()
  keeper.start()
  await clock.advance(60_000)
  t.deepEqual(rig.errors(), ['the store stays closed'], 'once, however often it is tried')
  t.is(rig.log.lines.find(({ level }) => level === 'error')?.fields?.['next'], next)
})

test('another reason is said anew, and counts from its own moment', async t => {
  const rig = keeperOf(t)
  const { keeper, clock, key } = rig
  rig.keep()
  writeFileSync(key, 'short')
  keeper.open()
  keeper.start()
  await clock.advance(20_000)
  writeFileSync(key, OTHER_KEY)
  await clock.advance(10_000)
  t.is(thrownBy(() => keeper.engine())?.code, 'wrong-store-key')
  t.is(keeper.standing().since, new Date(START_MS + 30_000).toISOString())
  t.is(rig.errors().length, 2)
})

test('an open store is told in full to administrators, in brief to everybody, and beats from the start on', async t => {
  const { keeper, clock, running, keep } = keeperOf(t)
  keep({})
  keeper.open()
  keeper.open()
  t.deepEqual(running(), [])
  t.true('keys' in keeper.status(ADMIN))
  t.false('keys' in keeper.status({ socket: 'token' }))
  t.is(keeper.state(), 'disconnected')
  t.is(keeper.headline(), 'This machine is not connected to GitHub. Run `ghconnect enable --organization ORG`.')
  t.notThrows(() => keeper.probe())
  keeper.start()
  await clock.advance(0)
  t.deepEqual(running(), ['*/5 * * * *'])
})

test('a reload changes the schedule, and tries a store that is closed at once', async t => {
  const { keeper, clock, key, running, configure, keep } = keeperOf(t)
  keep({})
  writeFileSync(key, 'short')
  keeper.open()
  keeper.start()
  writeFileSync(key, STORE_KEY)
  keeper.reschedule()
  await clock.advance(0)
  t.is(keeper.state(), 'disconnected')
  configure('[refresh]\nschedule = "*/7 * * * *"\n')
  keeper.reschedule()
  t.deepEqual(running(), ['*/7 * * * *'])
})

test('where the state needs nothing, the headline asks for nothing', t => {
  const { keeper } = keeperOf(t)
  keeper.open()
  const standing = (next: string) => ({ state: 'connected', since: '', meaning: 'All is well.', next, version: '' })
  const { status } = keeper.operations()
  const say = (next: string) =>
    Object.assign(keeper.operations(), { status: { ...status, standing: () => standing(next) } })
  say('Nothing to do.')
  t.is(keeper.headline(), 'All is well.')
  say('Do this.')
  t.is(keeper.headline(), 'All is well. Do this.')
})

test('a state that cannot be described is told as such, and the cause is logged', t => {
  const { keeper, log } = keeperOf(t)
  keeper.open()
  const broken = (): never => {
    throw new Error('broken')
  }
  Object.assign(keeper.operations(), { status: { whole: broken, brief: broken, standing: broken } })
  t.is(keeper.headline(), 'The state cannot be described. The journal says why.')
  t.is(keeper.state(), 'unknown')
  t.like(log.lines.at(-1), { level: 'error', message: 'the state cannot be described' })
  t.regex(String(log.lines.at(-1)?.fields?.['error']), /broken/)
})

test('after its end the daemon holds no store, and tries none', async t => {
  const { keeper, clock, onStore, keep } = keeperOf(t)
  keep({})
  keeper.open()
  keeper.start()
  await clock.advance(0)
  keeper.close()
  t.is(keeper.state(), 'locked')
  t.is(
    onStore(store => store.connection.read().connection.kind),
    'disconnected',
  )
  const closed = keeperOf(t)
  writeFileSync(closed.key, 'short')
  closed.keeper.open()
  closed.keeper.start()
  closed.keeper.close()
  t.is(closed.clock.waiting(), 0)
})

test('a recovery key opens a store whose key was lost; where nothing waits for one it is refused', async t => {
  const rig = keeperOf(t)
  const { keeper, clock, running } = rig
  rig.keep()
  await rig.wrap(RECOVERY.recipient)
  rig.loseKey()
  keeper.open()
  keeper.start()
  t.is((await failureOf(keeper.unlock([OTHER_RECOVERY.identity]))).code, 'bundle-wrong-identity')
  t.is(stateOf(keeper), 'locked')
  await keeper.unlock([RECOVERY.identity])
  t.is(stateOf(keeper), 'connected')
  await clock.advance(0)
  t.deepEqual(running(), ['*/5 * * * *'])
  t.is((await failureOf(keeper.unlock([RECOVERY.identity]))).code, 'nothing-locked')
  t.is(stateOf(keeper), 'connected')
})

const bundleOf = (connection: Connection) =>
  writeBundle(
    {
      ...DISCONNECTED,
      connection,
      generation: LIVE.generation,
      settings: { github_url: 'https://github.com', api_url: 'https://api.github.com' },
    },
    optionsFor([]),
  )

test('a restore replaces a damaged store once it is trusted, and one that only lacks its key is kept', async t => {
  const rig = keeperOf(t, { toml: `[snapshot]\ntrusted = ["${SIGNER.publicKey}"]\n` })
  const { keeper, key } = rig
  rig.keep({ connection: LIVE_HERE, facts: { of: 'before' } })
  const bundle = await bundleOf({ kind: 'disconnected', sinceMs: 1, remark: 'It was restored.' })
  const asked = { identities: [], force: false }
  writeFileSync(key, 'short')
  keeper.open()
  t.is((await failureOf(keeper.restore(bundle, asked))).code, 'locked')
  writeFileSync(key, STORE_KEY)
  t.is(
    rig.onStore(store => store.facts.find('of')),
    'before',
  )
  rig.damage(join(rig.state, 'store', String(rig.numbers().at(-1)), 'store.db'))
  keeper.open()
  t.is(thrownBy(() => keeper.engine())?.code, 'store-corrupt')
  // Both at once: the second one waits for the first, and finds what it left.
  const [first, second] = await Promise.all([keeper.restore(bundle, asked), keeper.restore(bundle, asked)])
  t.deepEqual([first.outcome, second.outcome], ['restored', 'unchanged'])
  t.is(keeper.standing().meaning, 'It was restored.')
})
