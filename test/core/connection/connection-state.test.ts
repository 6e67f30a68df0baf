// The connectionState: each state is stored, then told and audited once, with where it came from; who may not be served is told why.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { createConnectionState } from '../../../src/core/connection/connection-state.ts'
import type { ChangeOptions, Membership } from '../../../src/core/connection/membership.ts'
import { failureOf, thrownBy } from '../../support/fakes.ts'
import { connectedRig, createPremises, createRig, ORG, type Rig } from '../../support/operations-rig.ts'

const MINUTE = 60_000

const rowsOf = ({ disk }: Pick<Rig, 'disk'>): string[] =>
  disk.audit
    .filter(({ event }) => /^connection\.|^dotcom_connection\.(?:create|destroy)$/.test(event))
    .map(({ event, detail }) => `${event}: ${detail}`)

test('a whole life is in the audit log, row by row, and each state is told with what to do next', async t => {
  const premises = createPremises()
  const { world, clock } = premises
  const rig = createRig(premises)
  await rig.enable.begin(ORG)
  const { url } = await rig.enable.begin(ORG)
  const code = world.submitManifest(ORG)
  await rig.enable.complete({ code, state: url.slice(url.lastIndexOf('/') + 1), trusted: false })
  const [app] = [...world.apps.values()].map(held => held.app)
  if (!app) throw new Error('no App')
  const { id } = world.install(app.id, ORG)
  await clock.advance(3_000)
  for (const suspended of [true, false]) {
    world.suspend(id, suspended)
    await rig.drift.check()
  }
  await rig.disable.begin({ local: false, wait: false })
  const create = 'The App is to be created on GitHub by an owner of Octo-Org.'
  const connected = `Connected to Octo-Org as ${app.name}.`
  const settings = `https://github.com/organizations/Octo-Org/settings/apps/${app.slug}/advanced`
  t.deepEqual(rowsOf(rig), [
    'connection.enable: Octo-Org',
    `connection.awaiting-app: from disconnected: ${create}`,
    'connection.enable: Octo-Org',
    `connection.awaiting-app: from awaiting-app: ${create}`,
    'connection.awaiting-app: from awaiting-app: The App was created. GitHub was asked for its key, and the answer is not here yet.',
    `connection.awaiting-installation: from awaiting-app: The App ${app.name} exists and is not installed yet.`,
    `connection.connected: from awaiting-installation: ${connected}`,
    'dotcom_connection.create: Octo-Org',
    'connection.suspended: from connected: The installation is suspended: GitHub says so for Octo-Org.',
    `connection.connected: from suspended: ${connected}`,
    'connection.disconnecting: from connected: Disabling: the tokens are being revoked.',
    'connection.disconnecting: from disconnecting: Disabling: the App is being uninstalled.',
    'connection.disconnecting: from disconnecting: Disabling: the App has to be deleted by its owner, as GitHub has no API for that.',
    `connection.disconnected: from disconnecting: Disabled; the App may remain on GitHub. Delete it under ${settings}`,
    'dotcom_connection.destroy: Octo-Org',
  ])
  const told = rig.told.filter(({ event }) => event === 'state')
  t.deepEqual(
    told.map(({ state, detail }) => `connection.${state}: ${detail}`),
    rowsOf(rig)
      .filter(row => row.startsWith('connection.') && !row.startsWith('connection.enable'))
      .map(row => row.replace(/from [a-z-]+: /, '')),
  )
  t.deepEqual(
    told.map(({ next }) => next?.split(/[ .:]/)[0]),
    ['Open', 'Open', 'Nothing', 'Install', 'Nothing', 'Let', 'Nothing', 'Wait', 'Wait', 'Delete', 'Run'],
  )
})

test('an enable that is given up created no connection and destroys none', async t => {
  const rig = createRig(createPremises())
  await rig.enable.begin(ORG)
  await rig.disable.begin({ local: true, wait: false })
  t.deepEqual(
    rowsOf(rig).filter(row => row.startsWith('dotcom_')),
    [],
  )
})

test('a change that the disk refuses is neither told nor audited, then or later', async t => {
  const { connectionState, disk, told, clock } = await connectedRig()
  const { connection } = connectionState.read()
  const [rows, events] = [rowsOf({ disk }), told.length]
  disk.storeFailure = new Failure('disk-full', 'no space')
  for (const change of [connectionState.transition, connectionState.shred])
    t.is(thrownBy(() => change({ kind: 'disconnected', sinceMs: 0 }))?.code, 'disk-full')
  t.is(connectionState.read().connection, connection)
  delete disk.storeFailure
  await clock.advance(MINUTE)
  t.deepEqual(rowsOf({ disk }), rows)
  t.is(told.length, events)
})

test('who may not be served is told the state with what to do, and a sealed bundle where that is all there is', async t => {
  const { rig, connectionState, clock } = await connectedRig()
  let waiting: { account?: { login: string }; hostname: string } | undefined
  const { requireServing, explain } = createConnectionState({
    ...rig,
    githubUrl: () => 'https://github.com',
    findWaiting: () => waiting,
  })
  const refusal = (): readonly unknown[] => {
    const failure = thrownBy(requireServing)
    return [failure?.code, failure?.message, failure?.next]
  }
  const { connection } = connectionState.read()
  if (connection.kind !== 'connected') throw new Error('not connected')
  waiting = { account: { login: 'Octo-Org' }, hostname: 'old' }
  t.is(requireServing(), connection, 'what is connected is served, whatever waits')
  connectionState.transition({ ...connection, kind: 'uninstalled', evidence: 'e' })
  t.deepEqual(refusal(), ['not-connected', explain().meaning, explain().next])
  connectionState.transition({ kind: 'disconnected', sinceMs: clock.now() })
  const next = 'Run `ghconnect unlock --identity FILE` with the recovery key.'
  t.deepEqual(refusal(), ['not-connected', 'A sealed bundle of Octo-Org was restored without its recovery key.', next])
  waiting = { hostname: 'old' }
  t.deepEqual(refusal(), ['not-connected', 'A sealed bundle of old was restored without its recovery key.', next])
  waiting = undefined
  t.deepEqual(refusal(), [
    'not-connected',
    'This machine is not connected to GitHub.',
    'Run `ghconnect enable --organization ORG`.',
  ])
  connectionState.transition({ kind: 'key-lost', sinceMs: clock.now(), account: ORG, evidence: 'e' })
  t.deepEqual(refusal(), ['key-lost', explain().meaning, explain().next])
  connectionState.transition({ ...connection, kind: 'quarantined', evidence: 'e' })
  t.deepEqual(refusal(), ['quarantined', explain().meaning, explain().next])
})

test('what is decided waits for what is under way, one after the other, and gives its own answer', async t => {
  const { connectionState } = await connectedRig()
  const order: string[] = []
  const first = Promise.withResolvers<string>()
  const answers = [
    connectionState.exclusively(async () => {
      order.push('first begins')
      const answer = await first.promise
      order.push('first ends')
      return answer
    }),
    connectionState.serially(async () => {
      order.push('second')
      return 'b'
    }),
  ]
  await Promise.resolve()
  first.resolve('a')
  t.deepEqual(await Promise.all(answers), ['a', 'b'])
  t.deepEqual(order, ['first begins', 'first ends', 'second'])
  t.is(
    (await failureOf(connectionState.exclusively(() => Promise.reject(new Failure('timeout', 'x'))))).code,
    'timeout',
  )
})

test('in a cluster each decision is made by way of the membership, which is told of each change, and may keep all from being served', async t => {
  const calls: unknown[] = []
  const shut = new Failure('isolated', 'no contact since noon')
  const membership: Partial<Membership> = {
    change<T>(task: () => Promise<T>, options: ChangeOptions) {
      calls.push(options)
      return task()
    },
    changed: () => void calls.push('changed'),
    whyNotServing: () => shut,
  }
  const rig = createRig(createPremises(), { membership: () => membership as Membership })
  await rig.enable.begin(ORG)
  await rig.disable.begin({ local: false, wait: true })
  await rig.enable.begin(ORG)
  await rig.disable.begin({ local: true, wait: true })
  await rig.connectionState.serially(async () => {})
  t.deepEqual(calls, [{}, 'changed', { cutOff: 'refuse' }, 'changed', {}, 'changed', { cutOff: 'leave' }, 'changed'])
  t.is(thrownBy(rig.connectionState.requireServing), shut)
})
