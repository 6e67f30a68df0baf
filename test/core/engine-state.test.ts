// The engine, or the reason why there is none: tried again by itself, opened by a recovery key, replaced by a restore, and always told.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import type { Connection } from '../../src/protocol/connection.ts'
import type { EngineState } from '../../src/core/engine-state.ts'
import { writeBundle } from '../../src/core/snapshot/bundle.ts'
import { DISCONNECTED, LIVE, optionsFor, OTHER_RECOVERY, RECOVERY, SIGNER } from './snapshot/samples.ts'
import { STORE_KEY } from './store/samples.ts'
import { failureOf, START_MS, thrownBy } from '../support/fakes.ts'
import { engineStateOf } from '../support/engine-state-rig.ts'
import { LIVE_HERE, OTHER_KEY } from '../support/place.ts'

const ADMIN = { socket: 'admin' } as const
const stateOf = (engineState: EngineState): string => engineState.status(ADMIN).state

test('a store that cannot be opened is a state with its reason, said once, and everything that needs it is refused for it', async t => {
  const rig = engineStateOf(t)
  const { engineState, clock, key } = rig
  writeFileSync(key, 'short')
  await clock.advance(5_000)
  engineState.open()
  const { entry, message, next } = thrownBy(() => engineState.engine()) ?? new Failure('internal', 'it is open')
  t.regex(message, /holds 5 bytes/)
  const told = {
    state: 'locked',
    since: new Date(START_MS).toISOString(),
    meaning: `${entry.title}: ${message}.`,
    next,
  }
  for (const status of [engineState.status(ADMIN), engineState.status({ socket: 'token' }), engineState.standing()])
    t.like(status, told)
  t.is(engineState.kind(), 'locked')
  t.is(engineState.headline(), `${told.meaning} ${next}`)
  t.is(thrownBy(() => engineState.engine())?.code, 'locked')
  t.notThrows(() => engineState.probe(), 'a closed store is no reason to end the daemon')
  await engineState.inStep()
  await engineState.rest()
  engineState.start()
  await clock.advance(60_000)
  t.deepEqual(rig.errors(), ['the store stays closed'], 'once, however often it is tried')
  t.is(rig.log.lines.find(({ level }) => level === 'error')?.fields?.['next'], next)
})

test('another reason is said anew, and counts from its own moment', async t => {
  const rig = engineStateOf(t)
  const { engineState, clock, key } = rig
  rig.keep()
  writeFileSync(key, 'short')
  engineState.open()
  engineState.start()
  await clock.advance(20_000)
  writeFileSync(key, OTHER_KEY)
  await clock.advance(10_000)
  t.is(thrownBy(() => engineState.engine())?.code, 'wrong-store-key')
  t.is(engineState.standing().since, new Date(START_MS + 30_000).toISOString())
  t.is(rig.errors().length, 2)
})

test('an open store is told in full to administrators, in brief to everybody, and beats from the start on', async t => {
  const { engineState, clock, running, keep } = engineStateOf(t)
  keep({})
  engineState.open()
  engineState.open()
  t.deepEqual(running(), [])
  t.true('keys' in engineState.status(ADMIN))
  t.false('keys' in engineState.status({ socket: 'token' }))
  t.is(engineState.kind(), 'disconnected')
  t.is(engineState.headline(), 'This machine is not connected to GitHub. Run `ghconnect enable --organization ORG`.')
  t.notThrows(() => engineState.probe())
  engineState.start()
  await clock.advance(0)
  t.deepEqual(running(), ['*/5 * * * *'])
})

test('a reload changes the schedule, and tries a store that is closed at once', async t => {
  const { engineState, clock, key, running, configure, keep } = engineStateOf(t)
  keep({})
  writeFileSync(key, 'short')
  engineState.open()
  engineState.start()
  writeFileSync(key, STORE_KEY)
  engineState.reschedule()
  await clock.advance(0)
  t.is(engineState.kind(), 'disconnected')
  configure('[refresh]\nschedule = "*/7 * * * *"\n')
  engineState.reschedule()
  t.deepEqual(running(), ['*/7 * * * *'])
})

test('where the state needs nothing, the headline asks for nothing', t => {
  const { engineState } = engineStateOf(t)
  engineState.open()
  const standing = (next: string) => ({ state: 'connected', since: '', meaning: 'All is well.', next, version: '' })
  const { status } = engineState.engine()
  const say = (next: string) =>
    Object.assign(engineState.engine(), { status: { ...status, standing: () => standing(next) } })
  say('Nothing to do.')
  t.is(engineState.headline(), 'All is well.')
  say('Do this.')
  t.is(engineState.headline(), 'All is well. Do this.')
})

test('a state that cannot be described is told as such, and the cause is logged', t => {
  const { engineState, log } = engineStateOf(t)
  engineState.open()
  const broken = (): never => {
    throw new Error('broken')
  }
  Object.assign(engineState.engine(), { status: { whole: broken, brief: broken, standing: broken } })
  t.is(engineState.headline(), 'The state cannot be described. The journal says why.')
  t.is(engineState.kind(), 'unknown')
  t.like(log.lines.at(-1), { level: 'error', message: 'the state cannot be described' })
  t.regex(String(log.lines.at(-1)?.fields?.['error']), /broken/)
})

test('after its end the daemon holds no store, and tries none', async t => {
  const { engineState, clock, onStore, keep } = engineStateOf(t)
  keep({})
  engineState.open()
  engineState.start()
  await clock.advance(0)
  engineState.close()
  t.is(engineState.kind(), 'locked')
  t.is(
    onStore(store => store.connection.read().connection.kind),
    'disconnected',
  )
  const closed = engineStateOf(t)
  writeFileSync(closed.key, 'short')
  closed.engineState.open()
  closed.engineState.start()
  closed.engineState.close()
  t.is(closed.clock.waiting(), 0)
})

test('a recovery key opens a store whose key was lost; where nothing waits for one it is refused', async t => {
  const rig = engineStateOf(t)
  const { engineState, clock, running } = rig
  rig.keep()
  await rig.wrap(RECOVERY.recipient)
  rig.loseKey()
  engineState.open()
  engineState.start()
  t.is((await failureOf(engineState.unlock([OTHER_RECOVERY.identity]))).code, 'bundle-wrong-identity')
  t.is(stateOf(engineState), 'locked')
  await engineState.unlock([RECOVERY.identity])
  t.is(stateOf(engineState), 'connected')
  await clock.advance(0)
  t.deepEqual(running(), ['*/5 * * * *'])
  t.is((await failureOf(engineState.unlock([RECOVERY.identity]))).code, 'nothing-locked')
  t.is(stateOf(engineState), 'connected')
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
  const rig = engineStateOf(t, { toml: `[snapshot]\ntrusted = ["${SIGNER.publicKey}"]\n` })
  const { engineState, key } = rig
  rig.keep({ connection: LIVE_HERE, facts: { of: 'before' } })
  const bundle = await bundleOf({ kind: 'disconnected', sinceMs: 1, remark: 'It was restored.' })
  const asked = { identities: [], force: false }
  writeFileSync(key, 'short')
  engineState.open()
  t.is((await failureOf(engineState.restore(bundle, asked))).code, 'locked')
  writeFileSync(key, STORE_KEY)
  t.is(
    rig.onStore(store => store.facts.find('of')),
    'before',
  )
  rig.damage(join(rig.state, 'store', String(rig.numbers().at(-1)), 'store.db'))
  engineState.open()
  t.is(thrownBy(() => engineState.engine())?.code, 'store-corrupt')
  // Both at once: the second one waits for the first, and finds what it left.
  const [first, second] = await Promise.all([engineState.restore(bundle, asked), engineState.restore(bundle, asked)])
  t.deepEqual([first.outcome, second.outcome], ['restored', 'unchanged'])
  t.is(engineState.standing().meaning, 'It was restored.')
})
