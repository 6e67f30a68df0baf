// Enable: from the link to the first token, interrupted at every step, and never a key lost in silence.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createEnable } from '../../../src/core/connection/enable.ts'
import { failureOf } from '../../support/fakes.ts'
import {
  callerOf,
  connectedRig,
  createPremises,
  createRig,
  HERE,
  ORG,
  peerOf,
  type Premises,
  readFakeKey,
  type Rig,
} from '../../support/operations-rig.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

const stateOf = (url: string): string => url.split('/').at(-1) ?? ''

const begun = async (premises: Premises = createPremises()) => {
  const rig = createRig(premises)
  const enabling = await rig.enable.begin(ORG)
  return { ...premises, premises, rig, enabling, state: stateOf(enabling.url) }
}

const keysOf = (rig: Rig): string[] => rig.connectionState.read().keys.map(key => key.pem.reveal())
const appIdOf = (rig: Rig): number | undefined => {
  const { connection } = rig.connectionState.read()
  return 'app' in connection ? connection.app.id : undefined
}

test('the link, the App, its key, the installation, the first token', async t => {
  const { rig, world, clock, state, enabling } = await begun()
  t.is(enabling.how, 'manifest')
  t.is(enabling.expiresAtMs, clock.now() + HOUR)
  t.regex(state, /^[0-9a-f]{32}$/)
  t.truthy(rig.enable.findPending(state))
  const generation = rig.connectionState.read().generation
  await rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false })
  t.is(rig.kind(), 'awaiting-installation')
  t.is(keysOf(rig).length, 1)
  t.is(rig.connectionState.read().generation, generation + 1)
  const [app] = [...world.apps.values()].map(held => held.app)
  if (!app) throw new Error('no App')
  const enabledAtMs = clock.now()
  t.deepEqual(rig.connectionState.read().connection, {
    kind: 'awaiting-installation',
    sinceMs: enabledAtMs,
    app,
    account: ORG,
    host: HERE,
    enabledAtMs,
  })
  t.is(rig.connectionState.read().keys[0]?.addedAtMs, enabledAtMs)
  t.true(rig.told.some(({ detail }) => detail === `App ${app.name} created, its key is stored`))
  await clock.advance(10_000)
  t.is(rig.kind(), 'awaiting-installation')
  world.install(appIdOf(rig) ?? 0, ORG)
  await clock.advance(3_000)
  t.is(rig.kind(), 'connected')
  t.like(rig.connectionState.read().connection, { sinceMs: enabledAtMs + 12_000, enabledAtMs })
  t.is(rig.connectionState.read().installations.length, 1)
  t.is(world.count('mint'), 1)
  t.true(rig.disk.audit.some(row => row.event === 'dotcom_connection.create'))
  t.true(rig.told.some(event => event.detail === 'first token minted'))
  t.false(JSON.stringify([rig.disk.audit, rig.log.lines, rig.told]).includes(keysOf(rig)[0] ?? '?'))
})

test('the intent is on the disk before GitHub is asked', async t => {
  const { rig, world, disk, state, premises } = await begun()
  world.withhold('convertManifest')
  const code = world.submitManifest(ORG)
  void rig.enable.complete({ code, state, trusted: false })
  await premises.clock.advance(0)
  t.like(disk.record.connection, { kind: 'awaiting-app', conversion: { code } })
})

test('killed between the answer and the disk: asked again, then told as lost, and an import mends it', async t => {
  const { rig, world, clock, state, premises } = await begun()
  world.withhold('convertManifest')
  void rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false })
  await clock.advance(0)
  rig.kill()
  const second = createRig(premises)
  second.heartbeat.start()
  await clock.advance(0)
  t.is(second.kind(), 'key-lost')
  t.is((await failureOf(second.issuer.answer({}, callerOf(peerOf(1))))).code, 'key-lost')
  t.true(second.status.brief().next.includes('/organizations/Octo-Org/settings/apps'))
  const [appId] = [...world.apps.keys()]
  world.install(appId ?? 0, ORG)
  await second.importApp({ appId: appId ?? 0, pem: new Secret(world.addKey(appId ?? 0)) })
  t.is(second.kind(), 'connected')
})

test('killed before GitHub got the question: it is asked again, and the key is stored', async t => {
  const { world, clock, state, premises, rig } = await begun()
  world.outage = new Failure('unreachable', 'no route')
  const failure = await failureOf(rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false }))
  t.is(failure.code, 'unreachable')
  t.is((await failureOf(rig.enable.begin(ORG))).code, 'enable-in-progress')
  rig.kill()
  world.outage = undefined
  const second = createRig(premises)
  second.heartbeat.start()
  await clock.advance(0)
  t.is(second.kind(), 'awaiting-installation')
  t.is(keysOf(second).length, 1)
})

test('an outage while GitHub is asked for the key: asked again each five seconds, once, and then had', async t => {
  const { rig, world, clock, state } = await begun()
  world.outage = new Failure('unreachable', 'no route')
  const redirect = { code: world.submitManifest(ORG), state, trusted: false }
  await failureOf(rig.enable.complete(redirect))
  // The administrator presses reload, and the heartbeat beats: that makes no more of the questions.
  for (let n = 0; n < 10; n += 1) {
    await failureOf(rig.enable.complete(redirect))
    await rig.enable.resume()
  }
  const before = world.count('convertManifest')
  await clock.advance(MINUTE)
  t.true(world.count('convertManifest') - before <= 12, `${world.count('convertManifest') - before} in a minute`)
  world.outage = undefined
  await clock.advance(6_000)
  t.is(rig.kind(), 'awaiting-installation')
})

test('GitHub stays away until the code has run out: that is told', async t => {
  const { rig, world, clock, state } = await begun()
  world.outage = new Failure('unreachable', 'no route')
  await failureOf(rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false }))
  t.true(
    rig.log.lines.some(
      ({ level, message }) => level === 'warn' && message.startsWith('GitHub gave no key for the new App'),
    ),
  )
  await clock.advance(HOUR + 6_000)
  t.is(rig.kind(), 'key-lost')
  t.regex(rig.status.brief().meaning, /GitHub could not be reached while the code was good/)
  t.is((await rig.enable.begin(ORG)).how, 'manifest', 'one may start over')
})

test('a key that came and could not be written is written when there is space again', async t => {
  const { rig, world, clock, state, disk } = await begun()
  world.withhold('convertManifest')
  const answers = world.answer.bind(world)
  // The disk fills up between the question and the answer.
  world.answer = (call, work) => {
    if (call === 'convertManifest') disk.storeFailure = new Failure('disk-full', 'no space')
    return answers('getApp', work)
  }
  const failure = await failureOf(rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false }))
  t.is(failure.code, 'disk-full')
  world.answer = answers
  await clock.advance(MINUTE)
  delete disk.storeFailure
  await clock.advance(6_000)
  t.is(rig.kind(), 'awaiting-installation')
  t.is(keysOf(rig).length, 1)
})

test('a wrong code leaves the link usable; the right one is good once', async t => {
  const { rig, world, state } = await begun()
  t.is((await failureOf(rig.enable.complete({ code: 'tpyo', state, trusted: false }))).code, 'code-rejected')
  t.is(rig.kind(), 'awaiting-app')
  const code = world.submitManifest(ORG)
  await rig.enable.complete({ code, state, trusted: false })
  t.is(rig.kind(), 'awaiting-installation')
  t.is((await failureOf(rig.enable.complete({ code, state, trusted: false }))).code, 'no-enable-pending')
  t.is(rig.kind(), 'awaiting-installation')
})

test('a redirect without the right nonce is nobody, unless the administrator pasted it', async t => {
  const { rig, world, state } = await begun()
  const code = world.submitManifest(ORG)
  for (const wrong of [
    '',
    '0'.repeat(32),
    state.toUpperCase() === state ? `${state}0` : state.toUpperCase(),
    'é'.repeat(16),
  ]) {
    t.is((await failureOf(rig.enable.complete({ code, state: wrong, trusted: false }))).code, 'no-enable-pending')
    t.is((await failureOf(rig.enable.complete({ code, state: wrong, trusted: true }))).code, 'no-enable-pending')
    t.is(rig.enable.findPending(wrong), undefined)
  }
  t.is((await failureOf(rig.enable.complete({ code, trusted: false }))).code, 'no-enable-pending')
  t.is(world.count('convertManifest'), 0)
  await rig.enable.complete({ code, trusted: true })
  t.is(rig.kind(), 'awaiting-installation')
})

test('a link is good for an hour; a new enable ends the one before', async t => {
  const { rig, world, clock, state } = await begun()
  const second = stateOf((await rig.enable.begin({ ...ORG, login: 'hexa' })).url)
  t.is(rig.enable.findPending(state), undefined)
  t.truthy(rig.enable.findPending(second))
  await clock.advance(HOUR)
  t.is(rig.enable.findPending(second), undefined)
  const late = rig.enable.complete({ code: world.submitManifest(ORG), state: second, trusted: false })
  t.is((await failureOf(late)).code, 'no-enable-pending')
  await rig.enable.resume()
  t.is(rig.kind(), 'disconnected')
  t.regex(rig.status.brief().meaning, /hexa within the hour/)
})

test('an App of another owner is told and not kept', async t => {
  const { rig, world, state } = await begun()
  const code = world.submitManifest({ type: 'user', login: 'mallory' })
  t.is((await failureOf(rig.enable.complete({ code, state, trusted: false }))).code, 'wrong-owner')
  t.is(rig.kind(), 'disconnected')
  t.deepEqual(keysOf(rig), [])
  t.regex(
    rig.status.brief().meaning,
    /belongs to mallory, not to Octo-Org; delete it under https:\/\/github\.com\/apps\/appliance-\d+\.$/,
  )
})

test('the account is compared without case', async t => {
  const { rig, world, state } = await begun()
  await rig.enable.complete({ code: world.submitManifest({ ...ORG, login: 'OCTO-ORG' }), state, trusted: false })
  t.is(rig.kind(), 'awaiting-installation')
})

test('an enterprise has no manifest: the answer is an import, and no code is taken', async t => {
  const { rig } = await begun()
  const enabling = await rig.enable.begin({ type: 'enterprise', login: 'acme' })
  t.is(enabling.how, 'import')
  t.is((await failureOf(rig.enable.complete({ code: 'c', trusted: true }))).code, 'no-enable-pending')
})

test('what is connected is not enabled again', async t => {
  const { rig, world, state, clock } = await begun()
  await rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false })
  const waiting = await failureOf(rig.enable.begin({ ...ORG, login: 'hexa' }))
  t.is(waiting.code, 'already-connected')
  t.is(waiting.message, 'the state is awaiting-installation, with Octo-Org')
  t.regex(waiting.next, /^Install it: https:/)
  world.install(appIdOf(rig) ?? 0, ORG)
  await clock.advance(3_000)
  const connected = await failureOf(rig.enable.begin(ORG))
  t.is(connected.code, 'already-connected')
  t.is(connected.message, 'the state is connected, with Octo-Org')
  t.regex(connected.next, /ghconnect disable/)
})

test('many calls of the setup page make no more questions than one', async t => {
  const { rig, world, clock, state } = await begun()
  await rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false })
  await clock.advance(0)
  for (let n = 0; n < 50; n += 1) await rig.enable.resume()
  const before = world.count('listInstallations')
  await clock.advance(MINUTE)
  const asked = world.count('listInstallations') - before
  t.true(asked <= 21, `${asked} in a minute`)
  t.true(asked >= 19)
  await clock.advance(HOUR)
  const later = world.count('listInstallations')
  await clock.advance(MINUTE)
  t.is(world.count('listInstallations'), later, 'after the hour only the heartbeat looks')
})

test('found by the setup page, the installation is not looked for once more', async t => {
  const { rig, world, clock, state } = await begun()
  await rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false })
  await clock.advance(1_000)
  world.install(appIdOf(rig) ?? 0, ORG)
  await rig.enable.resume()
  t.is(rig.kind(), 'connected')
  const asked = world.count('listInstallations')
  await clock.advance(MINUTE)
  t.is(world.count('listInstallations'), asked)
})

test('two completions at once ask GitHub once', async t => {
  const { rig, world, state } = await begun()
  const redirect = { code: world.submitManifest(ORG), state, trusted: false }
  const ends = await Promise.allSettled([rig.enable.complete(redirect), rig.enable.complete(redirect)])
  t.deepEqual(
    ends.map(end => end.status),
    ['fulfilled', 'rejected'],
  )
  t.is(world.count('convertManifest'), 1)
  t.is(rig.kind(), 'awaiting-installation')
})

test('the key is stored though the audit log is full', async t => {
  const { rig, world, state, disk, clock } = await begun()
  disk.auditFailure = new Failure('audit-unavailable', 'no space')
  await rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false })
  t.is(rig.kind(), 'awaiting-installation')
  t.is(keysOf(rig).length, 1)
  t.true(rig.told.some(event => event.state === 'awaiting-installation'))
  const before = disk.audit.length
  delete disk.auditFailure
  await clock.advance(MINUTE)
  const late = disk.audit.slice(before)
  t.true(late.some(row => row.event === 'connection.awaiting-installation' && row.atMs < clock.now()))
})

/** Stand-ins: nothing in these addresses says whether they belong together. */
const APART = { addresses: { url: 'http://127.0.0.1:8000', apiUrl: 'http://127.0.0.1:8001/api/v3' } }

test('pages and API of two GitHubs are refused before there is a link, with both addresses', async t => {
  const premises = createPremises()
  const rig = createRig(premises, APART)
  premises.world.pagesUrl = () => 'http://localhost:8002/settings/connections/applications{/client_id}'
  const failure = await failureOf(rig.enable.begin(ORG))
  t.is(failure.code, 'configuration')
  t.is(
    failure.message,
    'github.url is http://127.0.0.1:8000, but the API at github.api_url (http://127.0.0.1:8001/api/v3) belongs to the GitHub at http://localhost:8002',
  )
  t.regex(failure.next, /^Set github\.url to http:\/\/localhost:8002, or github\.api_url to the API of /)
  t.is(rig.kind(), 'disconnected')
})

for (const [how, pagesUrl] of Object.entries<() => string | undefined>({
  'names no pages': () => undefined,
  'calls them by another name of this machine': () => 'http://localhost:8000/settings',
  'cannot be reached': () => {
    throw new Failure('unreachable', 'no route')
  },
  'has no calls left for this address': () => {
    throw new Failure('quota', 'API rate limit exceeded')
  },
  'wants credentials': () => {
    throw new Failure('bad-credentials', 'Requires authentication')
  },
})) {
  test(`an API that ${how} does not keep an enable back`, async t => {
    const premises = createPremises()
    const rig = createRig(premises, APART)
    premises.world.pagesUrl = pagesUrl
    t.is((await rig.enable.begin(ORG)).how, 'manifest')
    t.is(rig.link.findTrouble(), undefined)
  })
}

test('the API of a pair that its names prove is not asked', async t => {
  const premises = createPremises()
  const rig = createRig(premises)
  premises.world.pagesUrl = () => 'https://octo.ghe.com/settings'
  t.is((await rig.enable.begin(ORG)).how, 'manifest')
})

test('a key that only waits for the disk is kept longer than GitHub keeps its code', async t => {
  const { rig, world, clock, state, disk } = await begun()
  const answers = world.answer.bind(world)
  world.answer = (call, work) => {
    if (call === 'convertManifest') disk.storeFailure = new Failure('disk-full', 'no space')
    return answers(call, work)
  }
  const failure = await failureOf(rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false }))
  t.is(failure.code, 'disk-full')
  world.answer = answers
  await clock.advance(2 * HOUR)
  delete disk.storeFailure
  await clock.advance(6_000)
  t.is(rig.kind(), 'awaiting-installation')
  t.is(keysOf(rig).length, 1)
})

test('a failed look for the installation does not end the looks', async t => {
  const { rig, world, clock, state } = await begun()
  await rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false })
  await clock.advance(0)
  world.refuse('listInstallations', 'unreachable')
  await clock.advance(3_000)
  world.install(appIdOf(rig) ?? 0, ORG)
  await clock.advance(3_000)
  t.is(rig.kind(), 'connected')
})

test('a disable while the installation is looked for is not undone by the answer', async t => {
  const { rig, world, clock, state } = await begun()
  await rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false })
  await clock.advance(0)
  world.install(appIdOf(rig) ?? 0, ORG)
  const answer = world.hold('listInstallations')
  await clock.advance(3_000)
  await rig.disable.begin({ local: true, wait: false })
  answer()
  await clock.advance(0)
  t.is(rig.kind(), 'disconnected')
  t.deepEqual(keysOf(rig), [])
  t.is(world.count('mint'), 0)
})

/** Over the parts of a rig, some of them replaced. */
const enableOver = (rig: Rig, more: Partial<Parameters<typeof createEnable>[0]>) =>
  createEnable({
    ...rig,
    readKey: readFakeKey,
    addresses: () => ({ url: 'https://github.com', apiUrl: 'https://api.github.com' }),
    formUrl: (_, state) => `http://127.0.0.1:8470/enable/${state}`,
    onConnected: async () => {},
    ...more,
  })

test('an API that hangs keeps an enable back for four seconds', async t => {
  const { rig, clock } = await begun()
  const link = { ...rig.link, findPagesUrl: () => new Promise<never>(() => {}) }
  const beginning = enableOver(rig, { link, addresses: () => APART.addresses }).begin(ORG)
  let isThere = false
  void beginning.then(() => (isThere = true))
  await clock.advance(3_900)
  t.false(isThere)
  await clock.advance(200)
  t.is((await beginning).how, 'manifest')
})

test('where the settings page listens nowhere no link to it is given; an enterprise needs none', async t => {
  const rig = createRig(createPremises())
  const enable = enableOver(rig, { pageFault: () => new Failure('io', 'port 8470 is taken') })
  t.is((await failureOf(enable.begin(ORG))).message, 'port 8470 is taken')
  t.is(rig.kind(), 'disconnected')
  t.deepEqual(rig.disk.audit, [])
  t.is((await enable.begin({ type: 'enterprise', login: 'acme' })).how, 'import')
})

test('what is connected is told so before the pages of GitHub are looked at', async t => {
  const { rig, world } = await connectedRig(APART)
  world.pagesUrl = () => 'http://localhost:8002/settings'
  t.is((await failureOf(rig.enable.begin(ORG))).code, 'already-connected')
})

test('a key of GitHub that cannot be read is lost, and told so; GitHub is not asked for it again', async t => {
  const { rig, world, clock, state } = await begun()
  const convert = world.convert.bind(world)
  world.convert = code => ({ ...convert(code), pem: 'rubbish' })
  const failure = await failureOf(rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false }))
  t.is(failure.code, 'invalid-key')
  t.is(rig.kind(), 'key-lost')
  t.like(rig.connectionState.read().connection, { account: ORG, evidence: 'not a key', sinceMs: clock.now() })
  await clock.advance(MINUTE)
  t.is(world.count('convertManifest'), 1)
})

test('where the answer was lost under way, the redirect opened again says that the key is', async t => {
  const { rig, world, clock, state } = await begun()
  world.withhold('convertManifest')
  const redirect = { code: world.submitManifest(ORG), state, trusted: false }
  const first = failureOf(rig.enable.complete(redirect))
  await clock.advance(30_000)
  t.is((await first).code, 'timeout')
  t.is(rig.kind(), 'awaiting-app')
  t.is((await failureOf(rig.enable.complete(redirect))).code, 'code-rejected')
  t.is(rig.kind(), 'key-lost')
})

test('a first token that cannot be minted is logged, and the connection stands', async t => {
  const { rig, world, clock, state } = await begun()
  await rig.enable.complete({ code: world.submitManifest(ORG), state, trusted: false })
  world.install(appIdOf(rig) ?? 0, ORG)
  world.refuse('mint', 'github-outage')
  await clock.advance(3_000)
  t.is(rig.kind(), 'connected')
  t.true(rig.log.lines.some(({ level, message }) => level === 'warn' && /first token could not/.test(message)))
  t.false(rig.told.some(({ detail }) => detail === 'first token minted'))
})

test('who knows no link that is pending is refused at once, whatever else is under way', async t => {
  const { rig } = await begun()
  const other = Promise.withResolvers<void>()
  const changing = rig.connectionState.exclusively(() => other.promise)
  const stranger = rig.enable.complete({ code: 'code-1', state: '0'.repeat(32), trusted: false })
  t.is((await failureOf(stranger)).code, 'no-enable-pending')
  other.resolve()
  await changing
})
