// A cluster from the inside: nodes with all their operations over one etcd and one GitHub in memory.

import test from 'ava'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createKeyring } from '../../../src/core/cluster/sealing.ts'
import type { FakeEtcd } from '../../support/fake-etcd.ts'
import { type ClusterRig, createClusterRig, type Machine, SECRET } from '../../support/cluster-rig.ts'
import { failureOf, settle, thrownBy } from '../../support/fakes.ts'
import { ORG } from '../../support/operations-rig.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** Three nodes, the first of which brought its connection. */
const threeNodes = async (): Promise<{ rig: ClusterRig; nodes: readonly [Machine, Machine, Machine] }> => {
  const rig = await createClusterRig()
  const nodes = [rig.createMachine('a'), rig.createMachine('b'), rig.createMachine('c')] as const
  for (const node of nodes) await node.start()
  await nodes[0].get().rig.importApp({ appId: rig.app.id, pem: new Secret(rig.pem) })
  await rig.clock.advance(0)
  for (const node of nodes) await node.join()
  await rig.clock.advance(1_000)
  rig.world.calls.length = 0
  return { rig, nodes }
}

/** What is asked of a node needs a moment of the cluster. */
const during = async <T>({ clock }: ClusterRig, asked: Promise<T>): Promise<T> => {
  await clock.advance(2_000)
  return asked
}

const texts = (tokens: readonly { token: Secret }[]): string[] => tokens.map(({ token }) => token.reveal())

test('each node that joins has the credentials, and one of them leads', async t => {
  const { nodes } = await threeNodes()
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['connected', 'connected', 'connected'],
  )
  t.deepEqual(
    nodes.map(node => node.role()),
    ['leader', 'follower', 'follower'],
  )
  t.is(new Set(nodes.map(({ disk }) => disk.record.generation)).size, 1)
  t.is(nodes[2].disk.record.keys.length, 1)
})

test('a token asked for on all nodes is minted once, and again when it is due', async t => {
  const { rig, nodes } = await threeNodes()
  const all = await Promise.all(nodes.toReversed().map(node => node.token()))
  t.is(new Set(texts(all)).size, 1)
  t.is(rig.world.count('mint'), 1)
  // In use on a follower alone, whose ticks keep the scope in use at the leader.
  for (let minutes = 0; minutes < 120; minutes += 5) {
    await rig.clock.advance(5 * MINUTE)
    await nodes[2].token()
  }
  const mints = rig.world.count('mint')
  t.true(mints >= 5 && mints <= 7, `${mints} mints in two hours, each 20 minutes and no more`)
})

test('etcd is told neither keys nor tokens', async t => {
  const { rig, nodes } = await threeNodes()
  const token = await nodes[1].token()
  const dump = rig.etcd
    .entries()
    .map(({ key, value }) => key + value.toString())
    .join('\n')
  t.false(dump.includes(token.token.reveal()))
  t.false(dump.includes(rig.pem))
  t.false(dump.includes('contents'))
  t.true(rig.etcd.entries().some(({ key }) => key.startsWith('tokens/')))
})

test('a leader that is killed is replaced after its lease, and nothing is minted that was not due', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  const before = await b.token()
  a.kill()
  await rig.clock.advance(6_000)
  t.deepEqual([b.role(), c.role()].toSorted(), ['follower', 'leader'])
  t.deepEqual(texts([await b.token(), await c.token()]), texts([before, before]))
  t.is(rig.world.count('mint'), 1)
})

test('a leader that stops resigns: the next one does not wait for a lease', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  const ended = a.get().node.membership.end()
  await rig.clock.advance(200)
  await ended
  t.true([b.role(), c.role()].includes('leader'))
})

test('what a leader writes that was stopped and goes on is refused', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  const { promise: gate, resolve: open } = Promise.withResolvers<void>()
  a.get().client.delayCommits(gate)
  // The mint is done, its publication is on the way, and the process is stopped.
  await a.token({ contents: 'read' })
  a.pause()
  await rig.clock.advance(11_000)
  t.true([b.role(), c.role()].includes('leader'))
  await b.token({ contents: 'read' })
  const stored = rig.etcd
    .entries()
    .filter(({ key }) => key.startsWith('tokens/'))
    .map(({ modRevision }) => modRevision)
  a.resume()
  t.is(a.role(), 'follower', 'it asks its lease before it believes itself')
  open()
  a.get().client.delayCommits(undefined)
  await rig.clock.advance(MINUTE)
  const refused = rig.etcd.commits.filter(
    ({ committed, writes }) => !committed && writes.some(({ key }) => key.startsWith('tokens/')),
  )
  t.is(refused.length, 1)
  t.deepEqual(
    rig.etcd
      .entries()
      .filter(({ key }) => key.startsWith('tokens/'))
      .map(({ modRevision }) => modRevision),
    stored,
  )
  t.is((await a.token()).token.reveal(), (await b.token()).token.reveal(), 'it takes over what the new leader minted')
})

test('disable reaches all, and a node that was away clears itself before it serves anything', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  await c.token()
  c.kill()
  const disabled = b.get().rig.disable.begin({ local: false, wait: false })
  await rig.clock.advance(2_000)
  await disabled
  t.deepEqual([a.kind(), b.kind()], ['disconnected', 'disconnected'])
  await c.start()
  t.is(c.kind(), 'disconnected')
  t.deepEqual([c.disk.record.keys.length, c.disk.tokens.size], [0, 0])
  t.is((await failureOf(c.token())).code, 'not-connected')
  t.is(a.disk.record.generation, c.disk.record.generation)
  t.false(rig.etcd.entries().some(({ key }) => key.startsWith('tokens/')) && a.get().rig.tokens.live().length > 0)
})

test('of two nodes that change the connection at once the second decides upon what the first one made', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b] = nodes
  const [first, second] = [a, b].map(node => node.get().rig.disable.begin({ local: true, wait: false }))
  await rig.clock.advance(3_000)
  await Promise.all([first, second])
  t.is(a.disk.record.generation, 2, 'one disable, and one that found nothing to disable')
  t.deepEqual(
    nodes.map(({ disk }) => disk.record.generation),
    [2, 2, 2],
  )
})

test('a node that has not been told yet of what another one changed asks before it decides', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b] = nodes
  const told = Promise.withResolvers<void>()
  b.get().client.delayWatches(told.promise)
  const [first, second] = [rig.world.addKey(rig.app.id), rig.world.addKey(rig.app.id)]
  await during(rig, a.get().rig.keys.add(new Secret(first)))
  t.is(b.get().rig.connectionState.read().generation, 1, 'it has not heard of it')
  const failure = await failureOf(during(rig, b.get().rig.keys.add(new Secret(second))))
  t.is(failure.code, 'not-connected', 'what it proved was proven upon another record')
  t.is(b.get().rig.connectionState.read().generation, 2)
  t.is((await failureOf(during(rig, b.get().rig.keys.add(new Secret(second))))).code, 'too-many-keys')
  told.resolve()
  b.get().client.delayWatches(undefined)
  await rig.clock.advance(1_000)
  t.deepEqual(
    nodes.map(({ disk }) => disk.record.generation),
    [2, 2, 2],
  )
})

test('a change that comes after the lock was lost is void, and told so', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b] = nodes
  const slow = Promise.withResolvers<void>()
  const change = a.get().rig.connectionState.exclusively(async () => {
    await slow.promise
    const { connection } = a.get().rig.connectionState.read()
    a.get().rig.connectionState.transition(connection, { newGeneration: true })
  })
  await rig.clock.advance(100)
  a.pause()
  await rig.clock.advance(10_000)
  const disabled = b.get().rig.disable.begin({ local: true, wait: false })
  await rig.clock.advance(2_000)
  await disabled
  slow.resolve()
  await settle()
  a.resume()
  await rig.clock.advance(3_000)
  const failure = await failureOf(change)
  t.is(failure.code, 'cluster-conflict')
  t.regex(failure.message, /generation 2, disconnected/)
  t.is(a.kind(), 'disconnected')
  t.deepEqual(
    nodes.map(({ disk }) => disk.record.generation),
    [2, 2, 2],
  )
})

/** The first node clears itself under a lock that is lost meanwhile; the second one holds the next and is still at work. */
const overtaken = async () => {
  const { rig, nodes } = await threeNodes()
  const [a, b] = nodes
  const [slow, work] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const change = a.get().rig.connectionState.exclusively(async () => {
    await slow.promise
    a.get().rig.connectionState.shred({ kind: 'disconnected', sinceMs: rig.clock.now() })
  })
  await rig.clock.advance(100)
  a.pause()
  await rig.clock.advance(10_000)
  const theirs = b.get().rig.connectionState.exclusively(() => work.promise)
  await rig.clock.advance(1_000)
  slow.resolve()
  await settle()
  a.resume()
  await rig.clock.advance(3_000)
  return { rig, nodes, failure: await failureOf(change), work, theirs }
}

test('a change is not done while another node holds the lock that was lost: it goes out after that one left all as it was', async t => {
  const { rig, nodes, failure, work, theirs } = await overtaken()
  const [a, b, c] = nodes
  t.is(failure.code, 'cluster-conflict')
  t.regex(failure.message, /not in the cluster yet/)
  t.true(a.get().node.commands.status().unsent)
  t.deepEqual([a.kind(), b.kind(), c.kind()], ['disconnected', 'connected', 'connected'])
  await rig.clock.advance(5_000)
  t.is(a.kind(), 'disconnected', 'what was cleared does not come back')
  work.resolve()
  await theirs
  await rig.clock.advance(15_000)
  t.deepEqual([a.kind(), b.kind(), c.kind()], ['disconnected', 'disconnected', 'disconnected'])
  t.false(a.get().node.commands.status().unsent)
})

test('such a change gives way to what that other node made, and the audit log tells', async t => {
  const { rig, nodes, failure, work, theirs } = await overtaken()
  const [a, b] = nodes
  t.is(failure.code, 'cluster-conflict')
  const { connectionState } = b.get().rig
  connectionState.transition(connectionState.read().connection, { newGeneration: true })
  work.resolve()
  await theirs
  await rig.clock.advance(15_000)
  t.deepEqual(
    nodes.map(node => [node.kind(), node.disk.record.generation]),
    nodes.map(() => ['connected', 2]),
  )
  t.true(a.disk.audit.some(({ event }) => event === 'cluster.conflict'))
})

test('changes that were made without the daemon give way to a disable of others, however many they are', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  c.kill()
  const disabled = b.get().rig.disable.begin({ local: true, wait: false })
  await rig.clock.advance(2_000)
  await disabled
  c.disk.record = { ...c.disk.record, generation: a.disk.record.generation + 2 }
  c.disk.facts.set('cluster.unsent', true)
  await c.start()
  await rig.clock.advance(15_000)
  t.deepEqual([a.kind(), b.kind(), c.kind()], ['disconnected', 'disconnected', 'disconnected'])
  t.is(c.disk.record.keys.length, 0)
  t.true(c.disk.audit.some(({ event }) => event === 'cluster.conflict'))
})

test('a node that had heard of a disable brings the cluster back with what was restored on it without the daemon', async t => {
  const { rig, nodes } = await threeNodes()
  const [, b, c] = nodes
  const { connection, keys, installations } = c.disk.record
  const disabled = b.get().rig.disable.begin({ local: true, wait: false })
  await rig.clock.advance(2_000)
  await disabled
  c.kill()
  c.disk.record = { connection, keys, installations, generation: c.disk.record.generation + 1 }
  c.disk.facts.set('cluster.unsent', true)
  await c.start()
  await rig.clock.advance(15_000)
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['connected', 'connected', 'connected'],
  )
})

test('without etcd every node goes on, mints for itself, and refuses to decide for others', async t => {
  const { rig, nodes } = await threeNodes()
  const before = await Promise.all(nodes.map(node => node.token()))
  rig.etcd.down()
  await rig.clock.advance(3_000)
  t.deepEqual(texts(await Promise.all(nodes.map(node => node.token()))), texts(before))
  t.deepEqual(
    nodes.map(node =>
      node
        .get()
        .node.membership.warnings()
        .map(({ code }) => code),
    ),
    [['cluster-isolated'], ['cluster-isolated'], ['cluster-isolated']],
  )
  t.is(rig.world.count('mint'), 1)
  for (let minutes = 0; minutes < 180; minutes += 5) {
    await rig.clock.advance(5 * MINUTE)
    for (const node of nodes) t.true((await node.token()).expiresAtMs > rig.clock.now())
  }
  t.is((await failureOf(nodes[1].get().rig.disable.begin({ local: false, wait: false }))).code, 'cluster-unreachable')
  const mints = rig.world.count('mint')
  t.true(mints <= 1 + 3 * 5, `${mints}: three nodes, each less than twice an hour`)
  rig.etcd.up()
  await rig.clock.advance(30_000)
  t.is(nodes.filter(node => node.role() === 'leader').length, 1)
  await rig.clock.advance(2 * MINUTE)
  t.is(new Set(texts(await Promise.all(nodes.map(node => node.token())))).size, 1, 'the newest token wins')
  t.is(rig.world.count('mint'), mints, 'and none is minted that was not due')
})

test('a node that is cut off for 24 hours serves nothing, restarts included, until it has heard of the cluster', async t => {
  const { rig, nodes } = await threeNodes()
  const [, , c] = nodes
  c.get().client.cut()
  await rig.clock.advance(12 * HOUR)
  t.true((await c.token()).expiresAtMs > rig.clock.now())
  c.kill()
  await c.start({ cut: true })
  await rig.clock.advance(12 * HOUR + MINUTE)
  t.is((await failureOf(c.token())).code, 'isolated')
  t.is(c.get().rig.status.brief().state, 'isolated')
  c.get().client.heal()
  await rig.clock.advance(15_000)
  t.true((await c.token()).expiresAtMs > rig.clock.now())
})

test('disable --local of a node that is cut off clears that node, which stays out, and no other', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, , c] = nodes
  c.get().client.cut()
  await rig.clock.advance(6_000)
  const cleared = c.get().rig.disable.begin({ local: true, wait: false })
  await rig.clock.advance(5_000)
  await cleared
  t.deepEqual([c.kind(), c.role(), c.disk.record.keys.length], ['disconnected', 'single', 0])
  c.get().client.heal()
  await rig.clock.advance(MINUTE)
  t.deepEqual([c.kind(), a.kind()], ['disconnected', 'connected'])
})

test('an etcd that is restored from a backup is told what holds: nothing comes back from the dead', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  await a.token()
  const saved = rig.etcd.save()
  const disabled = b.get().rig.disable.begin({ local: true, wait: false })
  await rig.clock.advance(2_000)
  await disabled
  rig.etcd.restore(saved)
  await rig.clock.advance(30_000)
  t.deepEqual([a.kind(), b.kind(), c.kind()], ['disconnected', 'disconnected', 'disconnected'])
  const late = rig.createMachine('late')
  await late.start()
  await late.join()
  t.is(late.kind(), 'disconnected')
})

test('what somebody writes into etcd without the secret is no record, and the good one is put back', async t => {
  const { rig, nodes } = await threeNodes()
  rig.etcd.put('connection', Buffer.from('{"connection":{"kind":"disconnected"}}'))
  await rig.clock.advance(15_000)
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['connected', 'connected', 'connected'],
  )
  rig.etcd.delete('connection')
  await rig.clock.advance(15_000)
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['connected', 'connected', 'connected'],
  )
  const late = rig.createMachine('late')
  await late.start()
  await late.join()
  t.is(late.kind(), 'connected')
})

test('a node with another secret changes nothing, and says what is wrong', async t => {
  const { rig, nodes } = await threeNodes()
  const stranger = rig.createMachine('stranger', [Buffer.from('quite another secret, of no use here')])
  await stranger.start()
  const failure = await failureOf(stranger.join())
  t.is(failure.code, 'cluster-secret')
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['connected', 'connected', 'connected'],
  )
})

/** Its way to etcd ends with its first write of the record; the function opens it again. */
const cutAtRecord = (node: Machine): (() => void) => {
  const { client } = node.get()
  const { commit } = client
  client.commit = (conditions, writes) => {
    if (writes.some(({ key }) => key === 'connection')) client.cut()
    return commit(conditions, writes)
  }
  return () => {
    client.commit = commit
    client.heal()
  }
}

test('a join that fails midway leaves the node as it was, and can be tried again', async t => {
  const { rig } = await threeNodes()
  const late = rig.createMachine('late')
  await late.start()
  const heal = cutAtRecord(late)
  t.is((await failureOf(late.join())).code, 'cluster-unreachable')
  t.deepEqual([late.kind(), late.role(), late.disk.record.keys.length], ['disconnected', 'single', 0])
  t.is(late.disk.facts.get('cluster.member'), null)
  heal()
  await rig.clock.advance(MINUTE)
  await late.join()
  t.deepEqual([late.kind(), late.role()], ['connected', 'follower'])
  t.true(late.get().node.commands.status().in_touch)
})

test('a join that fails midway leaves the credentials that the node had', async t => {
  const { rig, nodes } = await threeNodes()
  const [, b] = nodes
  const left = b.get().node.commands.leave({ keep: true })
  await rig.clock.advance(1_000)
  await left
  b.disk.facts.set('cluster.signers', ['a key that the others do not know yet'])
  const heal = cutAtRecord(b)
  t.is((await failureOf(b.join())).code, 'cluster-unreachable')
  await rig.clock.advance(10 * MINUTE)
  t.deepEqual([b.kind(), b.role()], ['connected', 'single'], 'they are at home here')
  t.true((await b.token()).expiresAtMs > rig.clock.now())
  heal()
  await b.join()
  t.deepEqual([b.kind(), b.role()], ['connected', 'follower'])
})

test('a first join that fails midway can be tried again', async t => {
  const rig = await createClusterRig()
  const a = rig.createMachine('a')
  await a.start()
  await a.get().rig.importApp({ appId: rig.app.id, pem: new Secret(rig.pem) })
  const heal = cutAtRecord(a)
  t.is((await failureOf(a.join())).code, 'cluster-unreachable')
  t.deepEqual([a.kind(), a.role()], ['connected', 'single'])
  heal()
  await a.join()
  await rig.clock.advance(1_000)
  t.deepEqual([a.kind(), a.role()], ['connected', 'leader'])
})

test('a join that the disk refuses is undone; where that is refused too, the node mends itself', async t => {
  const { rig } = await threeNodes()
  const late = rig.createMachine('late')
  await late.start()
  const { client } = late.get()
  const { commit } = client
  client.commit = async (conditions, writes) => {
    if (writes.some(({ key }) => key === 'connection'))
      late.disk.storeFailure = new Failure('disk-full', 'no space left on the device')
    return commit(conditions, writes)
  }
  t.is((await failureOf(late.join())).code, 'disk-full')
  client.commit = commit
  delete late.disk.storeFailure
  await rig.clock.advance(15_000)
  t.deepEqual([late.kind(), late.role(), late.get().node.commands.status().in_touch], ['connected', 'follower', true])
  t.true((await late.token()).expiresAtMs > rig.clock.now())
})

test('a node that starts serves nothing before it knows what holds, or cannot know it for now', async t => {
  const { nodes } = await threeNodes()
  const [, , c] = nodes
  c.kill()
  const starting = c.start({ cut: true })
  const { connectionState } = c.get().rig
  t.is(thrownBy(() => connectionState.requireServing())?.code, 'cluster-unreachable')
  await starting
  t.notThrows(() => connectionState.requireServing())
})

test('a member that never had contact serves nothing before it has', async t => {
  const { rig, nodes } = await threeNodes()
  const [, , c] = nodes
  c.kill()
  c.disk.facts.delete('cluster.contact')
  await c.start({ cut: true })
  const failure = await failureOf(c.token())
  t.is(failure.code, 'isolated')
  t.is(failure.message, 'it was never heard of')
  c.get().client.heal()
  await rig.clock.advance(15_000)
  t.true((await c.token()).expiresAtMs > rig.clock.now())
})

test('a node with another connection joins by force alone', async t => {
  const { rig } = await threeNodes()
  const other = rig.createMachine('other')
  const { app, pem } = rig.world.createApp({ type: 'organization', login: 'elsewhere' })
  await other.start()
  await other.get().rig.importApp({ appId: app.id, pem: new Secret(pem) })
  t.is((await failureOf(other.join())).code, 'cluster-member')
  t.is(other.get().rig.connectionState.read().keys[0]?.fingerprint, pem)
  await other.join({ force: true })
  t.is(other.get().rig.connectionState.read().keys[0]?.fingerprint, rig.pem)
})

test('a replica holds the credentials, calls nobody and never leads, until it is promoted', async t => {
  const { rig, nodes } = await threeNodes()
  const replica = rig.createMachine('replica')
  await replica.start()
  await replica.join({ replica: true })
  t.deepEqual([replica.kind(), replica.role()], ['connected', 'replica'])
  const token = await replica.token()
  t.is(token.token.reveal(), (await nodes[0].token()).token.reveal(), 'the leader mints for it')
  for (const node of nodes) node.kill()
  rig.world.calls.length = 0
  await rig.clock.advance(61 * MINUTE)
  t.is((await failureOf(replica.token())).code, 'replica')
  t.deepEqual([replica.role(), rig.world.calls.length], ['replica', 0])
  await replica.get().node.commands.promote()
  await rig.clock.advance(2_000)
  t.is(replica.role(), 'leader')
  t.true((await replica.token()).expiresAtMs > rig.clock.now())
})

test('disable --local of a replica clears that replica; anything else it leaves to others', async t => {
  const { rig, nodes } = await threeNodes()
  const replica = rig.createMachine('replica')
  await replica.start()
  await replica.join({ replica: true })
  t.is((await failureOf(replica.get().rig.disable.begin({ local: false, wait: false }))).code, 'replica')
  await replica.get().rig.disable.begin({ local: true, wait: false })
  await rig.clock.advance(2_000)
  t.deepEqual([replica.kind(), replica.role(), nodes[0].kind()], ['disconnected', 'single', 'connected'])
})

test('who leaves keeps nothing, or all of it', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  for (const [node, keep] of [
    [b, false],
    [c, true],
  ] as const) {
    const left = node.get().node.commands.leave({ keep })
    await rig.clock.advance(1_000)
    await left
  }
  t.deepEqual([a.kind(), b.kind(), c.kind()], ['connected', 'disconnected', 'connected'])
  t.deepEqual([b.role(), c.role()], ['single', 'single'])
  t.is(b.disk.record.keys.length, 0)
  await rig.clock.advance(10 * MINUTE)
  t.is(c.kind(), 'connected', 'its credentials are at home on this machine now')
})

test('a copy of a node on another machine is no member, and quarantined', async t => {
  const { rig, nodes } = await threeNodes()
  const copy = rig.createMachine('copy')
  Object.assign(copy.disk, structuredClone({ facts: nodes[1].disk.facts }), { record: nodes[1].disk.record })
  await copy.start()
  await rig.clock.advance(1_000)
  t.deepEqual([copy.kind(), copy.role()], ['quarantined', 'single'])
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['connected', 'connected', 'connected'],
  )
})

test('a new secret seals once every node knows it, and the former one opens nothing then', async t => {
  const rig = await createClusterRig()
  const former = Buffer.from('the secret of before, long enough now')
  const next = Buffer.from('the secret from now on, long enough')
  const a = rig.createMachine('a', [former])
  const b = rig.createMachine('b', [next, former])
  for (const node of [a, b]) await node.start()
  await a.get().rig.importApp({ appId: rig.app.id, pem: new Secret(rig.pem) })
  for (const node of [a, b]) await node.join()
  t.is(b.kind(), 'connected', 'while one node does not know the new one, all seal with the former')
  const failure = await failureOf(b.get().node.commands.reseal())
  t.is(failure.code, 'cluster-secret')
  t.regex(failure.message, /^a-/)

  a.kill()
  await rig.clock.advance(6_000)
  await a.start({ secrets: [next, former] })
  await a.token()
  await rig.clock.advance(1_000)
  const resealed = b.get().node.commands.reseal()
  await rig.clock.advance(1_000)
  t.true((await resealed) >= 2)
  const old = createKeyring({ cluster: 'test', secrets: [former] })
  for (const { key, value } of rig.etcd.entries()) t.not(old.open(key, value).kind, 'opened', key)

  for (const node of [a, b]) {
    node.kill()
    await rig.clock.advance(6_000)
    await node.start({ secrets: [next] })
  }
  await rig.clock.advance(1_000)
  t.deepEqual([a.kind(), b.kind()], ['connected', 'connected'])
  t.deepEqual([a.role(), b.role()].toSorted(), ['follower', 'leader'])
  t.is((await a.token()).token.reveal(), (await b.token()).token.reveal())
})

test('a node that starts with a new secret seals nothing with it while another node does not know it', async t => {
  const rig = await createClusterRig()
  const former = Buffer.from('the secret of before, long enough now')
  const next = Buffer.from('the secret from now on, long enough')
  const [a, b] = [rig.createMachine('a', [former]), rig.createMachine('b', [former])]
  for (const node of [a, b]) await node.start()
  await a.get().rig.importApp({ appId: rig.app.id, pem: new Secret(rig.pem) })
  for (const node of [a, b]) await node.join()
  a.kill()
  await rig.clock.advance(6_000)
  rig.etcd.commits.length = 0
  await a.start({ secrets: [next, former] })
  await a.token()
  await rig.clock.advance(15_000)
  // All is listed anew, its own entry before that of the other one.
  a.get().client.cut()
  await rig.clock.advance(1_000)
  a.get().client.heal()
  await rig.clock.advance(15_000)
  const old = createKeyring({ cluster: 'test', secrets: [former] })
  const written = rig.etcd.commits.flatMap(({ writes }) => writes.filter(write => write.kind === 'put'))
  t.true(written.some(({ key }) => key.startsWith('members/a')))
  for (const { key, value } of written) t.is(old.open(key, value).kind, 'opened', key)
})

test("GitHub's redirect may arrive at another node than the one that began to enable", async t => {
  const rig = await createClusterRig()
  const nodes = ['a', 'b', 'c'].map(name => rig.createMachine(name))
  for (const node of nodes) await node.start()
  for (const node of nodes) await node.join()
  const [a, b, c] = nodes
  if (!a || !b || !c) throw new Error('three nodes')
  const begun = b.get().rig.enable.begin(ORG)
  await rig.clock.advance(1_000)
  const { url } = await begun
  const state = url.split('/').at(-1) ?? ''
  t.truthy(c.get().rig.enable.findPending(state), 'the page of any node knows the link')
  const completed = c.get().rig.enable.complete({ code: rig.world.submitManifest(ORG), state, trusted: false })
  await rig.clock.advance(1_000)
  await completed
  t.deepEqual(
    nodes.map(node => node.kind()),
    Array.from({ length: 3 }, () => 'awaiting-installation'),
  )
  t.is(rig.world.count('convertManifest'), 1)
  const appId = [...rig.world.apps.keys()].at(-1) ?? 0
  rig.world.install(appId, ORG)
  await rig.clock.advance(10_000)
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['connected', 'connected', 'connected'],
  )
})

test('a key that is added on a follower signs on every node', async t => {
  const { rig, nodes } = await threeNodes()
  const pem = rig.world.addKey(rig.app.id)
  const added = nodes[2].get().rig.keys.add(new Secret(pem))
  await rig.clock.advance(1_000)
  await added
  t.deepEqual(
    nodes.map(({ disk }) => disk.record.keys[0]?.fingerprint),
    [pem, pem, pem],
  )
  t.deepEqual(
    nodes.map(({ disk }) => disk.record.generation),
    [2, 2, 2],
  )
  const before = await nodes[1].token()
  t.is((await nodes[0].token()).token.reveal(), before.token.reveal(), 'tokens outlive a change of keys')
})

test('a key that is retired on one node is in no store of the others, which begin a new one without it', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  const added = rig.world.addKey(rig.app.id)
  await during(rig, a.get().rig.keys.add(new Secret(added)))
  const token = await b.token()
  const numbers = [b, c].map(({ disk }) => disk.number)
  await during(rig, a.get().rig.keys.retire())
  for (const { disk } of nodes)
    t.deepEqual(
      disk.record.keys.map(({ fingerprint }) => fingerprint),
      [added],
    )
  t.deepEqual(
    [b, c].map(({ disk }) => disk.number),
    numbers.map(number => number + 1),
  )
  t.is((await b.token()).token.reveal(), token.token.reveal(), 'the tokens are good, and stay')
})

test('a disable that waits for the owner goes on wherever the leader is', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  const disabled = c.get().rig.disable.begin({ local: false, wait: true })
  await rig.clock.advance(2_000)
  await disabled
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['disconnecting', 'disconnecting', 'disconnecting'],
  )
  c.kill()
  a.kill()
  await rig.clock.advance(10_000)
  rig.world.deleteApp(rig.app.id)
  await rig.clock.advance(6 * MINUTE)
  t.is(b.kind(), 'disconnected')
  await a.start()
  t.is(a.kind(), 'disconnected')
})

test('what the leader learns of the App is known on every node; what a follower learns gives way', async t => {
  const { rig, nodes } = await threeNodes()
  const [, b] = nodes
  const suspend = [...rig.world.installations.keys()][0] ?? 0
  rig.world.suspend(suspend, true)
  await rig.clock.advance(11 * MINUTE)
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['suspended', 'suspended', 'suspended'],
  )
  const { connection } = b.get().rig.connectionState.read()
  if (!('app' in connection)) throw new Error('no App')
  await b
    .get()
    .rig.connectionState.serially(async () =>
      b.get().rig.connectionState.transition({ ...connection, kind: 'connected' }),
    )
  await rig.clock.advance(11_000)
  t.is(b.kind(), 'suspended')
})

test('of all nodes the leader alone asks GitHub how things stand', async t => {
  const { rig, nodes } = await threeNodes()
  await rig.clock.advance(5 * MINUTE)
  const before = rig.world.count('listInstallations')
  await rig.clock.advance(30 * MINUTE)
  t.is(rig.world.count('listInstallations') - before, 6, 'at each of its ticks')
  t.is(nodes[0].role(), 'leader')
})

test('a record of a newer version is neither taken nor replaced', async t => {
  const { rig, nodes } = await threeNodes()
  const sealed = createKeyring({ cluster: 'test', secrets: [SECRET] }).seal(
    'connection',
    { generation: 9, sequence: 99 },
    Buffer.from(JSON.stringify({ version: { generation: 9, sequence: 99, id: 'z' }, shape: 'of next year' })),
  )
  rig.etcd.put('connection', sealed)
  await rig.clock.advance(MINUTE)
  t.deepEqual(
    nodes.map(node => node.kind()),
    ['connected', 'connected', 'connected'],
  )
  t.true(rig.etcd.entries().some(({ value }) => value.equals(sealed)))
  t.true(
    nodes[1]
      .get()
      .node.membership.warnings()
      .some(({ code }) => code === 'cluster-behind'),
  )
})

const codesOf = (node: Machine): string[] =>
  node
    .get()
    .node.membership.warnings()
    .map(({ code }) => code)

test('a node that reaches etcd and cannot open the record serves for 24 hours, restarts included, and says why', async t => {
  const { rig, nodes } = await threeNodes()
  const [, , c] = nodes
  const other = [Buffer.from('quite another secret, of no use here')]
  c.kill()
  await c.start({ secrets: other })
  await rig.clock.advance(12 * HOUR)
  t.true((await c.token()).expiresAtMs > rig.clock.now())
  t.deepEqual(codesOf(c), ['cluster-secret'])
  const { trouble, in_touch } = c.get().node.commands.status()
  t.true(in_touch)
  t.regex(trouble ?? '', /sealed with another secret\. Give this node the same cluster secret/)
  c.kill()
  await c.start({ secrets: [SECRET] })
  await rig.clock.advance(MINUTE)
  t.is(c.get().node.commands.status().trouble, undefined, 'with the right one it is in step at once')
  c.kill()
  await c.start({ secrets: other })
  await rig.clock.advance(23 * HOUR)
  t.true((await c.token()).expiresAtMs > rig.clock.now())
  await rig.clock.advance(HOUR + MINUTE)
  const failure = await failureOf(c.token())
  t.is(failure.code, 'isolated')
  t.regex(failure.message, /heard of last 20.*; the record of the cluster is sealed with another secret/)
})

/** The record as a later version would write it. Gives what puts back the one that was there. */
const putNewer = (etcd: FakeEtcd): (() => void) => {
  const [good] = etcd.entries().filter(({ key }) => key === 'connection')
  if (!good) throw new Error('there is no record')
  const newer = createKeyring({ cluster: 'test', secrets: [SECRET] }).seal(
    'connection',
    { generation: 9, sequence: 99 },
    Buffer.from('{"shape":"of next year"}'),
  )
  etcd.put('connection', newer)
  return () => void etcd.put('connection', good.value)
}

test('a node that meets the record of a newer version serves for 24 hours, and goes on once it can open it', async t => {
  const { rig, nodes } = await threeNodes()
  const [, b] = nodes
  const putBack = putNewer(rig.etcd)
  await rig.clock.advance(23 * HOUR)
  t.true((await b.token()).expiresAtMs > rig.clock.now())
  t.deepEqual(codesOf(b), ['cluster-behind'])
  await rig.clock.advance(HOUR + MINUTE)
  t.is((await failureOf(b.token())).code, 'isolated')
  putBack()
  await rig.clock.advance(15_000)
  t.true((await b.token()).expiresAtMs > rig.clock.now())
  t.deepEqual(codesOf(b), [])
})

test('a node that cannot open the record does not stand for leader, even where nobody leads', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  c.kill()
  await c.start({ secrets: [Buffer.from('quite another secret, of no use here')] })
  for (const node of [a, b]) node.kill()
  await rig.clock.advance(MINUTE)
  t.is(c.role(), 'follower')
  t.false(rig.etcd.entries().some(({ key }) => key === 'leader'))
  await c.token()
  const mints = rig.world.count('mint')
  for (let minutes = 0; minutes < 60; minutes += 5) {
    await rig.clock.advance(5 * MINUTE)
    await c.token()
  }
  t.is(rig.world.count('mint'), mints + 1, 'it refreshes ahead by itself, and late')
  await a.start()
  await rig.clock.advance(6_000)
  t.deepEqual([a.role(), c.role()], ['leader', 'follower'])
})

test('a leader that meets the record of a newer version resigns at once, and leads again once it can open it', async t => {
  const { rig, nodes } = await threeNodes()
  const putBack = putNewer(rig.etcd)
  await rig.clock.advance(100)
  t.deepEqual(
    nodes.map(node => node.role()),
    ['follower', 'follower', 'follower'],
  )
  await rig.clock.advance(HOUR)
  t.false(rig.etcd.entries().some(({ key }) => key === 'leader'))
  putBack()
  await rig.clock.advance(15_000)
  t.is(nodes.filter(node => node.role() === 'leader').length, 1)
})

test('a disable that cannot be written down ends the serving at once', async t => {
  const { rig, nodes } = await threeNodes()
  const [, b, c] = nodes
  await c.token()
  c.disk.storeFailure = new Failure('disk-full', 'no space left on the device')
  const disabled = b.get().rig.disable.begin({ local: false, wait: false })
  await rig.clock.advance(2_000)
  await disabled
  t.is(c.kind(), 'connected', 'its disk says so still')
  t.is((await failureOf(c.token())).code, 'isolated')
  t.is(c.get().rig.status.brief().state, 'isolated')
  t.deepEqual(codesOf(c), ['cluster-behind'])
  t.regex(c.get().node.commands.status().trouble ?? '', /not taken over: no space left on the device/)
  delete c.disk.storeFailure
  await rig.clock.advance(11_000)
  t.deepEqual([c.kind(), c.disk.record.keys.length], ['disconnected', 0])
  t.deepEqual(codesOf(c), [])
})

test('a node that cannot take over what others note has not heard of them meanwhile', async t => {
  const { rig, nodes } = await threeNodes()
  const [, , c] = nodes
  c.disk.storeFailure = new Failure('disk-full', 'no space left on the device')
  rig.world.suspend([...rig.world.installations.keys()][0] ?? 0, true)
  await rig.clock.advance(11 * MINUTE)
  const { last_contact_at: before, trouble } = c.get().node.commands.status()
  t.regex(trouble ?? '', /not taken over/)
  await rig.clock.advance(5 * MINUTE)
  t.is(c.get().node.commands.status().last_contact_at, before)
  delete c.disk.storeFailure
  await rig.clock.advance(15_000)
  t.deepEqual([c.kind(), c.get().node.commands.status().trouble], ['suspended', undefined])
  t.not(c.get().node.commands.status().last_contact_at, before)
})

test('a leader without a way to GitHub lets the others try; where nobody gets through, one goes on leading', async t => {
  const { rig, nodes } = await threeNodes()
  const [a, b, c] = nodes
  await a.token()
  rig.world.outage = new Failure('proxy-unreachable', 'the proxy is gone')
  const led = (node: Machine): number =>
    node.get().rig.log.lines.filter(({ message }) => message === 'this node leads the cluster').length
  await rig.clock.advance(15 * MINUTE)
  t.true(led(b) + led(c) > 0)
  await rig.clock.advance(4 * HOUR)
  t.is(nodes.filter(node => node.role() === 'leader').length, 1)
  const terms = led(a) + led(b) + led(c)
  t.true(terms < 30, `${terms} changes of leader in four hours`)
  rig.world.outage = undefined
  await rig.clock.advance(HOUR)
  t.is(nodes.filter(node => node.role() === 'leader').length, 1)
  t.is(new Set(texts(await Promise.all([a, b, c].map(node => node.token())))).size, 1)
})

test('whoever listens on a follower hears of the tokens that come to it', async t => {
  const { nodes } = await threeNodes()
  const [, b, c] = nodes
  const heard = (node: Machine): number => node.get().rig.told.filter(({ event }) => event === 'token-refreshed').length
  const before = [heard(b), heard(c)]
  await b.token({ contents: 'write' })
  t.deepEqual(
    [heard(b), heard(c)],
    before.map(count => count + 1),
  )
})

test('a follower that ceased to serve while the leader was asked hands nothing out', async t => {
  const { rig, nodes } = await threeNodes()
  const [, follower] = nodes
  const answer = rig.world.hold('mint')
  const asked = follower.token({ issues: 'read' })
  await rig.clock.advance(100)
  const { connectionState } = follower.get().rig
  const { connection } = connectionState.read()
  if (!('app' in connection)) throw new Error('not connected')
  const { app, account, host, enabledAtMs } = connection
  connectionState.transition({ kind: 'uninstalled', sinceMs: 0, evidence: 'a test', app, account, host, enabledAtMs })
  answer()
  const failed = failureOf(asked)
  await rig.clock.advance(1_000)
  t.is((await failed).code, 'not-connected')
})

test('what the leader answers ends the doubt about a token, and the leader is asked once', async t => {
  const { rig, nodes } = await threeNodes()
  const [, follower] = nodes
  const { token } = await follower.token()
  await rig.clock.advance(1_000)
  const asks = () =>
    rig.etcd.commits.flatMap(({ writes }) =>
      writes.filter(({ kind, key }) => kind === 'put' && key.startsWith('asks/')),
    ).length
  const before = asks()
  follower.get().rig.tokens.doubt(rig.world.installations.keys().next().value ?? 0)
  for (let times = 0; times < 3; times++) {
    t.is((await follower.token()).token.reveal(), token.reveal())
    await rig.clock.advance(100)
  }
  t.is(asks() - before, 1)
})
