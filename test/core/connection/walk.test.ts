// Random walks through the life of a connection, with kills at random writes and answers: nothing is lost, nothing is unexplained.

import test from 'ava'
import * as fc from 'fast-check'
import { explainConnection, isLive, isTrouble, mayServe } from '../../../src/protocol/connection.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { PublicStatus, Status } from '../../../src/protocol/wire.ts'
import { createPremises, createRig, ORG, type Premises, type Rig } from '../../support/operations-rig.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND

type Journeyer = {
  readonly premises: Premises
  rig: Rig
  state: string | undefined
  /** Apps that an administrator was told of and gave up. */
  readonly givenUp: Set<number>
}

const STEPS = [
  'begin',
  'create App',
  'create App and lose the answer',
  'paste nonsense',
  'install',
  'suspend',
  'unsuspend',
  'uninstall',
  'delete App',
  'import',
  'token',
  'refresh',
  'disable',
  'disable --local',
  'disable --no-wait',
  'outage',
  'end of outage',
  'seconds',
  'minutes',
  'hour',
  'kill',
  'kill at the next write',
  'kill at the second write',
  'kill at the third write',
  'lose the answer to a mint',
  'lose the answer to a revoke',
  'set the clock back',
  'set the clock ahead',
] as const
type Step = (typeof STEPS)[number]

const lastApp = ({ premises }: Journeyer): number | undefined => [...premises.world.apps.keys()].at(-1)
const lastInstallation = ({ premises }: Journeyer): number => [...premises.world.installations.keys()].at(-1) ?? 0

/** What a person or GitHub does; refusals are answers like others, but an `internal` one is an error of the program. */
const tolerated = async (work: () => Promise<unknown>): Promise<void> => {
  try {
    await work()
  } catch (error) {
    if (error instanceof Error && error.message === 'killed') return
    if (!(error instanceof Failure) || (error.code === 'internal' && !isKill(error))) throw error
  }
}
const isKill = (failure: Failure): boolean => failure.cause instanceof Error && failure.cause.message === 'killed'

const act = async (walker: Journeyer, step: Step): Promise<unknown> => {
  const { premises, rig } = walker
  const { world, clock } = premises
  const app = lastApp(walker)
  switch (step) {
    case 'begin':
      walker.state = (await rig.enable.begin(ORG)).url.split('/').at(-1)
      return undefined
    case 'create App':
    case 'create App and lose the answer': {
      const { state } = walker
      if (state === undefined) return undefined
      if (step !== 'create App') world.withhold('convertManifest')
      return rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false })
    }
    case 'paste nonsense':
      return rig.enable.complete({ code: 'nonsense', trusted: true })
    case 'install':
      return app !== undefined && world.installations.size < 2 && world.install(app, ORG)
    case 'suspend':
      return world.suspend(lastInstallation(walker), true)
    case 'unsuspend':
      return world.suspend(lastInstallation(walker), false)
    case 'uninstall':
      return world.uninstall(lastInstallation(walker))
    case 'delete App':
      return app !== undefined && world.deleteApp(app)
    case 'import':
      return app !== undefined && rig.importApp({ appId: app, pem: new Secret(world.addKey(app)) })
    case 'token':
      return rig.tokens.obtain({ profile: 'ci', scope: { installation: lastInstallation(walker) } })
    case 'refresh':
      return rig.heartbeat.force()
    case 'disable':
      return rig.disable.begin({ local: false, wait: true })
    case 'disable --local':
      return rig.disable.begin({ local: true, wait: true })
    case 'disable --no-wait':
      return rig.disable.begin({ local: false, wait: false })
    case 'outage':
      world.outage = new Failure('unreachable', 'no route')
      return undefined
    case 'end of outage':
      world.outage = undefined
      return undefined
    case 'seconds':
    case 'minutes':
    case 'hour':
      return undefined
    case 'kill':
      return rig.kill()
    case 'kill at the next write':
      return rig.killAfterWrites(1)
    case 'kill at the second write':
      return rig.killAfterWrites(2)
    case 'kill at the third write':
      return rig.killAfterWrites(3)
    case 'lose the answer to a mint':
      return world.withhold('mint')
    case 'lose the answer to a revoke':
      return world.withhold('revoke')
    case 'set the clock back':
      return clock.setWallBy(-20 * MINUTE)
    case 'set the clock ahead':
      return clock.setWallBy(20 * MINUTE)
    default:
      return step satisfies never
  }
}

const start = (premises: Premises): Rig => {
  const rig = createRig(premises)
  rig.heartbeat.start()
  return rig
}

/** What must hold at every moment, of the disk and of what status says. Returns what does not. */
const broken = ({ premises, rig }: Journeyer): string | undefined => {
  const { disk, world } = premises
  const { connection, keys, installations } = disk.record
  const { meaning, next } = explainConnection(connection, 'https://github.com')
  if (!meaning || !next) return `${connection.kind} is not explained`
  if (!Status.safeParse(rig.status.whole()).success) return `the status of ${connection.kind} is malformed`
  if (!PublicStatus.safeParse(rig.status.brief()).success) return 'the brief status is malformed'
  if (isLive(connection)) {
    if (keys.length === 0) return `${connection.kind} without a key`
    const held = world.apps.get(connection.app.id)
    if (!keys.every(key => held?.keys.has(key.pem.reveal()))) return `${connection.kind} with a key of another App`
  } else if (keys.length + installations.length > 0) return `${connection.kind} with keys or installations`
  if (connection.kind === 'disconnected' && disk.tokens.size > 0) return 'tokens of no connection'
  for (const token of disk.tokens.values()) {
    const issued = world.tokens.get(token.token.reveal())
    if (!issued) return 'a token that GitHub never issued'
    if (issued.installation !== token.scope.installation) return 'a token under another scope'
  }
  return undefined
}

/** Keys that GitHub gave away must be on the disk, or be told of, or be asked for still. */
const silentlyLost = ({ premises, givenUp }: Journeyer): boolean => {
  const { connection } = premises.disk.record
  const { codes } = premises.world
  const app = isLive(connection) ? connection.app.id : undefined
  const asking = connection.kind === 'awaiting-app' && connection.conversion !== undefined
  const newest = [...codes.values()].findLast(code => code.app !== undefined)?.app
  return newest !== undefined && !givenUp.has(newest) && app !== newest && !asking && connection.kind !== 'key-lost'
}

const TIME: Partial<Record<Step, number>> = { seconds: 7 * SECOND, minutes: 11 * MINUTE, hour: 61 * MINUTE }

/** Resolves with whether the step came to its end at once; where it waits for an answer that is withheld, it is left waiting. */
const take = async (walker: Journeyer, step: Step): Promise<boolean> => {
  const { clock } = walker.premises
  const ms = TIME[step]
  if (ms !== undefined) {
    await clock.advance(ms)
    return true
  }
  let done = false
  const work = tolerated(() => act(walker, step)).finally(() => (done = true))
  await clock.advance(0)
  if (done) await work
  else work.catch(() => {})
  return done
}

const walk = async (steps: readonly Step[]): Promise<string | undefined> => {
  const premises = createPremises()
  const walker: Journeyer = { premises, rig: start(premises), state: undefined, givenUp: new Set() }
  for (const step of steps) {
    const before = premises.disk.record.connection
    const done = await take(walker, step)
    const { connection } = premises.disk.record
    // Given up by the administrator, or started over after being told; `disconnected` says what became of it.
    if (connection.kind === 'disconnected' || (before.kind === 'key-lost' && connection.kind !== 'key-lost')) {
      for (const { app } of premises.world.codes.values()) if (app !== undefined) walker.givenUp.add(app)
    }
    if (!done || walker.rig.isDead()) {
      walker.rig.kill()
      walker.rig = start(premises)
      await premises.clock.advance(0)
    }
    const wrong = broken(walker) ?? (silentlyLost(walker) ? 'a key was lost in silence' : undefined)
    if (wrong) return `after ${step}: ${wrong}`
  }
  return await comesToRest(walker)
}

/** With GitHub back and time enough, nothing hangs: each state is one that asks somebody for something, or works. */
const comesToRest = async (walker: Journeyer): Promise<string | undefined> => {
  const { premises } = walker
  premises.world.outage = undefined
  premises.world.deliver()
  await premises.clock.advance(30 * MINUTE)
  const { rig } = walker
  if (rig.isDead()) return undefined
  const { connection } = premises.disk.record
  if (connection.kind === 'awaiting-app' && connection.conversion) return 'a conversion that never ends'
  if (connection.kind === 'disconnecting' && connection.step !== 'delete-app')
    return `disabling hangs at ${connection.step}`
  if (connection.kind === 'connected') {
    const found = [...premises.world.installations.values()].find(
      ({ appId, installation }) => appId === connection.app.id && installation.suspendedAtMs === undefined,
    )
    if (!found) return 'connected without an installation'
    const token = await rig.tokens.obtain({ profile: 'ci', scope: { installation: found.installation.id } })
    if (!premises.world.isAlive(token.token.reveal())) return 'a token that GitHub does not accept'
  }
  // Where the App is gone, its tokens stay at hand in case it is not.
  const mayHold = mayServe(connection) || isTrouble(connection.kind) || connection.kind === 'disconnecting'
  if (!mayHold && rig.tokens.live().length > 0) return 'tokens held'
  return undefined
}

test('no walk loses a key in silence, breaks the disk, or ends where nothing goes on', async t => {
  const usual: Step[] = ['begin', 'create App', 'install', 'seconds', 'token']
  const any = fc.array(fc.constantFrom(...STEPS), { minLength: 1, maxLength: 25 })
  const steps = fc.oneof(
    any,
    any.map(rest => [...usual, ...rest]),
    fc
      .tuple(fc.constantFrom(...STEPS), fc.constantFrom(...STEPS), any)
      .map(([a, b, rest]) => ['begin', a, 'create App', b, 'install', ...rest] as Step[]),
  )
  const reached = new Set<string>()
  await fc.assert(
    fc.asyncProperty(steps, async all => {
      const wrong = await walk(all)
      if (wrong) throw new Error(`${wrong}: ${all.join(', ')}`)
      for (const step of all) reached.add(step)
    }),
    { numRuns: 500, includeErrorInReport: true },
  )
  t.is(reached.size, STEPS.length)
})

test('every single step of an enable and a disable may be the last one before a kill', async t => {
  const life: Step[] = [
    'begin',
    'create App',
    'install',
    'seconds',
    'token',
    'refresh',
    'disable',
    'seconds',
    'delete App',
    'minutes',
  ]
  for (const [at] of life.entries()) {
    for (const kill of [
      'kill',
      'kill at the next write',
      'kill at the second write',
      'kill at the third write',
    ] as const) {
      const steps = [...life.slice(0, at), kill, ...life.slice(at)]
      t.is(await walk(steps), undefined, steps.join(', '))
    }
  }
})
