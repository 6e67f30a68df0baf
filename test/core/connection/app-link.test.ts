// The link to GitHub: what status says of the way there is what the call met that began last.

import test from 'ava'
import { type Code, Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createGitHubClock } from '../../../src/core/github/clock.ts'
import { createAppLink } from '../../../src/core/connection/app-link.ts'
import { createFakeGitHub, World } from '../../support/fake-github.ts'
import { createFakeClock, emptyDisk, failureOf, openMemoryStore } from '../../support/fakes.ts'
import { connectedRig, readFakeKey } from '../../support/operations-rig.ts'

const build = () => {
  const clock = createFakeClock()
  const github = createFakeGitHub({
    world: new World(() => clock.now()),
    githubClock: createGitHubClock({ clock, offsetMs: 0, onChange() {} }),
    wallNow: () => clock.now(),
    isDead: () => false,
  })
  const link = createAppLink({
    github: { ...github, revoke: () => called() },
    store: openMemoryStore(emptyDisk()),
    clock,
    readKey: readFakeKey,
  })
  let called = () => Promise.resolve()
  /** A call that ends when it is told to. */
  const begin = () => {
    const call = Promise.withResolvers<void>()
    called = () => call.promise
    const end = link.revoke(new Secret('ghs_1')).catch(() => {})
    return {
      succeed: () => (call.resolve(), end),
      fail: (code: Code) => (call.reject(new Failure(code, code)), end),
    }
  }
  return { link, github, begin, trouble: () => link.findTrouble()?.failure.code }
}

test('a failure is told until a call goes through', async t => {
  const { begin, trouble } = build()
  t.is(trouble(), undefined)
  await begin().fail('proxy-refused')
  t.is(trouble(), 'proxy-refused')
  await begin().fail('proxy-authentication')
  t.is(trouble(), 'proxy-authentication')
  await begin().succeed()
  t.is(trouble(), undefined)
})

test('a refusal of the one request is an answer: the way is open', async t => {
  const { begin, trouble } = build()
  for (const code of [
    'permission-not-granted',
    'repository-not-accessible',
    'code-rejected',
    'bad-credentials',
    'forbidden',
  ] as const) {
    await begin().fail('proxy-refused')
    t.is(trouble(), 'proxy-refused')
    await begin().fail(code)
    t.is(trouble(), undefined, code)
  }
})

test('what GitHub says of the stored App and its key is trouble, with its time; of another App it is none', async t => {
  const { link, world, clock } = await connectedRig()
  for (const code of ['key-rejected', 'app-not-found'] as const) {
    world.refuse('getApp', code)
    await failureOf(link.getApp())
    t.is(link.findTrouble()?.failure.code, code)
    t.is(link.findTrouble()?.atMs, clock.now())
    world.refuse('getApp', code)
    t.is((await failureOf(link.getAppAs({ issuer: '4711', keys: [] }))).code, code)
    t.is(link.findTrouble(), undefined)
    await clock.advance(1_000)
  }
})

test('a recovery is told once, by the first call that goes through after others had not', async t => {
  const { link, begin } = build()
  let recoveries = 0
  link.onRecovery(() => (recoveries += 1))
  await begin().succeed()
  t.is(recoveries, 0)
  await begin().fail('dns')
  await begin().fail('timeout')
  t.is(recoveries, 0)
  await begin().succeed()
  await begin().succeed()
  t.is(recoveries, 1)
})

test('a node that is to call nobody calls nobody, and says why', async t => {
  const { app, world, store, clock } = await connectedRig()
  const replica = new Failure('replica', 'this node is a replica')
  const { github } = build()
  const called: string[] = []
  const link = createAppLink({
    github: {
      ...github,
      getApp: async () => (called.push('getApp'), app),
      findPagesUrl: async () => (called.push('findPagesUrl'), undefined),
    },
    store,
    clock,
    readKey: readFakeKey,
    whyNotCalling: () => replica,
  })
  for (const call of [link.getApp, link.findPagesUrl]) t.is(await failureOf(call()), replica)
  t.deepEqual(called, [])
  t.deepEqual(world.calls, [])
})

test('GitHub is told which installations are known, as of now', async t => {
  const { rig, store, clock, installation } = await connectedRig()
  const known: unknown[] = []
  const link = createAppLink({
    github: { ...build().github, listInstallations: async (_, held) => (known.push(held), []) },
    store,
    clock,
    readKey: readFakeKey,
  })
  await link.listInstallations()
  rig.connectionState.transition(rig.connectionState.read().connection, { installations: [] })
  await link.listInstallations()
  t.deepEqual(known, [[installation], []])
})

test('a call that hung while another way was opened says nothing of that way', async t => {
  const { begin, trouble } = build()
  const hanging = begin()
  const next = begin()
  await next.succeed()
  await hanging.fail('proxy-unreachable')
  t.is(trouble(), undefined)
})

test('a call that still went through under former settings does not hide that the new ones are wrong', async t => {
  const { begin, trouble } = build()
  const slow = begin()
  await begin().fail('proxy-authentication')
  await slow.succeed()
  t.is(trouble(), 'proxy-authentication')
})

test('each end is told to those who listen, also that of a call which was overtaken', async t => {
  const { link, begin } = build()
  const heard: (string | undefined)[] = []
  link.onOutcome(failure => void heard.push(failure?.code))
  const hanging = begin()
  await begin().succeed()
  await hanging.fail('timeout')
  t.deepEqual(heard, [undefined, 'timeout'])
})

test('a call that began before a rotation of keys is made once more, with the keys of now; one that GitHub rejects with them is not', async t => {
  const rig = await connectedRig()
  const added = rig.world.addKey(rig.app.id)
  const signedWith: string[][] = []
  const keyOf = (pem: string) => ({ fingerprint: pem, pem: new Secret(pem), addedAtMs: 0 })
  const hold = (...pems: string[]): void =>
    rig.connectionState.transition(rig.connectionState.read().connection, { keys: pems.map(keyOf) })
  let rotate = (): void => hold(added, rig.pem)
  const link = createAppLink({
    github: {
      ...build().github,
      getApp(as) {
        signedWith.push(as.keys.map(({ fingerprint }) => fingerprint))
        rotate()
        if (signedWith.length === 2) return Promise.resolve(rig.app)
        return Promise.reject(new Failure('key-rejected', 'rejected'))
      },
    },
    store: rig.store,
    clock: rig.clock,
    readKey: readFakeKey,
  })
  t.is(await link.getApp(), rig.app)
  t.deepEqual(signedWith, [[rig.pem], [added, rig.pem]])
  t.is((await failureOf(link.getApp())).code, 'key-rejected')
  t.is(signedWith.length, 3)
  rotate = () => hold(added)
  t.is((await failureOf(link.getApp())).code, 'key-rejected')
  t.is(signedWith.length, 4, 'a key that went is no reason for a second call')
})
