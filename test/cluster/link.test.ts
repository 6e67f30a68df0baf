// What a node writes into the cluster, and believes of it: refused writes are not done, and the same revision is not the same history.

import test from 'ava'
import { createLink, type ClusterLink } from '../../src/cluster/link.ts'
import { createKeyring } from '../../src/cluster/sealing.ts'
import { createCodecs, KEYS } from '../../src/cluster/values.ts'
import type { Ask, SharedRecord, TokenOf } from '../../src/domain/cluster.ts'
import { scopeKey } from '../../src/domain/scope.ts'
import { Secret } from '../../src/domain/secret.ts'
import { createFakeEtcd, type FakeClient, type FakeEtcd } from '../support/fake-etcd.ts'
import { createFakeClock, createFakeLog, type FakeClock } from '../support/fakes.ts'

const SECRET = Buffer.from('a secret that all nodes of the cluster know')
const HOUR = 3_600_000

/** `asked`: what it was told of the asks of others. */
type Node = { readonly link: ClusterLink; readonly client: FakeClient; readonly asked: readonly Ask[] }

const createNode = async (
  { etcd, clock }: { etcd: FakeEtcd; clock: FakeClock },
  node: string,
  secrets: readonly Buffer[] = [SECRET],
): Promise<Node> => {
  const client = etcd.client()
  const asked: Ask[] = []
  const link = createLink({
    etcd: client,
    keyring: createKeyring({ cluster: 'test', secrets }),
    node,
    handlers: {
      onRecord() {},
      onToken() {},
      onAsk: ask => void asked.push(ask),
      onTouch() {},
      onLead() {},
      member: () => ({
        generation: 1,
        sequence: 1,
        role: 'member',
        able: true,
        host: { machineId: node, hostname: node },
        version: '0',
        mayLead: true,
      }),
    },
    clock,
    log: createFakeLog(),
  })
  await link.start()
  await clock.advance(0)
  return { link, client, asked }
}

/** Two nodes, the first of which leads. */
const setUp = async () => {
  const clock = createFakeClock()
  const etcd = createFakeEtcd(clock)
  const place = { etcd, clock }
  const a = await createNode(place, 'a')
  const b = await createNode(place, 'b')
  return { ...place, a, b, valueOf: (key: string) => etcd.entries().find(entry => entry.key === key)?.value }
}

const recordOf = (sequence: number, id = 'x'): SharedRecord => ({
  version: { generation: 1, sequence, id },
  floor: 1,
  connection: { kind: 'disconnected', sinceMs: sequence },
  installations: [],
  keys: [],
  recipients: [],
  signers: [],
  by: 'a',
})

const scope = { installation: 4, permissions: { contents: 'read' } } as const
const KEY = scopeKey('p', scope)
const tokenOf = (text: string, expiresAtMs: number): TokenOf => ({
  appId: 1,
  generation: 1,
  token: {
    key: KEY,
    profile: 'p',
    scope,
    token: new Secret(text),
    granted: { permissions: { contents: 'read' } },
    mintedAtMs: expiresAtMs - HOUR,
    expiresAtMs,
  },
})
const codecs = createCodecs(createKeyring({ cluster: 'test', secrets: [SECRET] }))
const sequenceOf = ({ link }: Node): number | undefined => {
  const seen = link.record()
  return seen.kind === 'record' ? seen.version.sequence : undefined
}

/** The leader is stopped with its commit on the way, until another one leads. */
const overtaken = async <T>(
  { clock, a, b }: Awaited<ReturnType<typeof setUp>>,
  write: () => Promise<T>,
): Promise<{ outcome: T; another: boolean }> => {
  const gate = Promise.withResolvers<void>()
  a.client.delayCommits(gate.promise)
  const outcome = write()
  a.client.pause()
  await clock.advance(6_000)
  const another = b.link.leads()
  a.client.resume()
  a.client.delayCommits(undefined)
  gate.resolve()
  await clock.advance(10)
  return { outcome: await outcome, another }
}

test('a record whose right has ended is not written, and the writer is told', async t => {
  const { a, clock, valueOf } = await setUp()
  const held = await a.link.lock('a test')
  await held.release()
  await clock.advance(10)
  t.false(await a.link.putRecord(recordOf(1), held))
  t.is(valueOf(KEYS.record), undefined)
  t.is(a.link.record().kind, 'absent')
})

test('a record is not written over one that its writer has not seen', async t => {
  const { a, b, clock } = await setUp()
  const gate = Promise.withResolvers<void>()
  a.client.delayCommits(gate.promise)
  const late = a.link.putRecord(recordOf(1), 'any')
  t.true(await b.link.putRecord(recordOf(2), 'any'))
  gate.resolve()
  t.false(await late)
  await clock.advance(10)
  t.deepEqual([a, b].map(sequenceOf), [2, 2])
})

test('tokens of a leader that another one has replaced are not written, and the writer is told', async t => {
  const all = await setUp()
  t.true(all.a.link.leads())
  const { outcome, another } = await overtaken(all, () =>
    all.a.link.putTokens([tokenOf('ghs_late', all.clock.now() + HOUR)]),
  )
  t.true(another)
  t.false(outcome)
  t.deepEqual(
    all.etcd.entries().filter(({ key }) => key.startsWith(KEYS.tokens)),
    [],
  )
})

test('a leader that another one has replaced takes no token away', async t => {
  const all = await setUp()
  t.true(await all.a.link.putTokens([tokenOf('ghs_1', all.clock.now() + HOUR)]))
  const { another } = await overtaken(all, () => all.a.link.sweepTokens(() => true))
  t.true(another)
  t.is(all.etcd.entries().filter(({ key }) => key.startsWith(KEYS.tokens)).length, 1)
})

test('a follower overwrites no token that it has not seen', async t => {
  const { a, b, clock } = await setUp()
  const gate = Promise.withResolvers<void>()
  b.client.delayCommits(gate.promise)
  const late = b.link.offerToken(tokenOf('ghs_old', clock.now() + HOUR))
  t.true(await a.link.putTokens([tokenOf('ghs_new', clock.now() + 2 * HOUR)]))
  gate.resolve()
  t.false(await late)
  await clock.advance(10)
  for (const { link } of [a, b])
    t.deepEqual(
      link.tokens().map(({ token }) => token.token.reveal()),
      ['ghs_new'],
    )
})

test('after a restore of etcd a record of the same revision is another one where its bytes differ', async t => {
  const { a, b, etcd, clock } = await setUp()
  const saved = etcd.save()
  t.true(await a.link.putRecord(recordOf(1), 'any'))
  await clock.advance(10)
  const { modRevision } = a.link.record()
  etcd.restore(saved)
  etcd.put(KEYS.record, codecs.record.write(KEYS.record, recordOf(2, 'y')))
  await clock.advance(10)
  t.is(a.link.record().modRevision, modRevision, 'the two cannot be told apart by it')
  t.deepEqual([a, b].map(sequenceOf), [2, 2])
})

test('where etcd says something else than it told before, all is listed again', async t => {
  const { a, clock } = await setUp()
  t.true(await a.link.putRecord(recordOf(1), 'any'))
  await clock.advance(10)
  const { get, list } = a.client
  let lists = 0
  a.client.list = prefix => {
    lists += 1
    return list(prefix)
  }
  await a.link.readRecord()
  await clock.advance(10)
  t.is(lists, 0)
  a.client.get = async key => {
    const entry = await get(key)
    return entry && { ...entry, value: codecs.record.write(KEYS.record, recordOf(2, 'y')) }
  }
  await a.link.readRecord()
  await clock.advance(10)
  t.is(lists, 1)
})

test('after a restore of etcd another token under a known name takes the place of the one before', async t => {
  const { a, etcd, clock } = await setUp()
  t.true(await a.link.putTokens([tokenOf('ghs_1', clock.now() + HOUR)]))
  await clock.advance(10)
  const [name = ''] = etcd.entries().flatMap(({ key }) => (key.startsWith(KEYS.tokens) ? [key] : []))
  const saved = etcd.save()
  const { value, ...entry } = saved.entries.get(name) ?? {
    value: undefined,
    key: name,
    createRevision: 1n,
    modRevision: 1n,
  }
  t.truthy(value)
  const newer = tokenOf('ghs_2', clock.now() + 2 * HOUR)
  saved.entries.set(name, { ...entry, value: codecs.token.write(name, newer) })
  etcd.restore(saved)
  await clock.advance(10)
  t.deepEqual(
    a.link.tokens().map(({ token }) => token.token.reveal()),
    ['ghs_2'],
  )
})

test('a token that is written with a new secret no longer stands under the name that the old one gave it', async t => {
  const clock = createFakeClock()
  const etcd = createFakeEtcd(clock)
  const before = await createNode({ etcd, clock }, 'a')
  t.true(await before.link.putTokens([tokenOf('ghs_1', clock.now() + HOUR)]))
  await before.link.stop()
  const after = await createNode({ etcd, clock }, 'a', [Buffer.from('the next secret of the same cluster'), SECRET])
  await clock.advance(10)
  t.true(await after.link.putTokens([tokenOf('ghs_2', clock.now() + 2 * HOUR)]))
  t.is(etcd.entries().filter(({ key }) => key.startsWith(KEYS.tokens)).length, 1)
})

const WISH = { kind: 'token', grant: { profile: 'p', scope }, wish: {} } as const

test('the leader alone is told what is asked, and its word that it is at it buys it time', async t => {
  const scene = await setUp()
  const { clock, a, b } = scene
  const c = await createNode(scene, 'c')
  const answered = b.link.ask(WISH)
  await clock.advance(0)
  const [ask] = a.asked
  if (!ask) throw new Error('the leader was not told')
  t.deepEqual([a.asked.length, b.asked.length, c.asked.length], [1, 0, 0])
  await clock.advance(2_000)
  await a.link.answer(ask, { kind: 'working' })
  await clock.advance(30_000)
  await a.link.answer(ask, { kind: 'token', token: tokenOf('late', clock.now() + HOUR).token })
  await clock.advance(0)
  const answer = await answered
  t.is(answer?.kind === 'token' && answer.token.token.reveal(), 'late')
  await clock.advance(0)
  t.deepEqual(
    scene.etcd.entries().filter(({ key }) => key.startsWith(KEYS.asks) || key.startsWith(KEYS.answers)),
    [],
    'nothing of it stays',
  )
})

test('a leader that says nothing is given up after a moment', async t => {
  const { clock, b } = await setUp()
  const answered = b.link.ask(WISH)
  await clock.advance(3_000)
  t.is(await answered, undefined)
})

test('what a leader answers arrives only while it leads', async t => {
  const { a, etcd, valueOf } = await setUp()
  const ask: Ask = { id: 'one', from: 'b', atMs: 0, want: WISH }
  const gate = Promise.withResolvers<void>()
  a.client.delayCommits(gate.promise)
  const late = a.link.answer(ask, { kind: 'working' })
  // Its lease goes on, and its office does not.
  etcd.delete(KEYS.leader)
  a.client.delayCommits(undefined)
  gate.resolve()
  await late
  t.is(valueOf(`${KEYS.answers}one`), undefined)
})

test('while a node changes the record under the lock, no other one writes it, the leader included', async t => {
  const { clock, a, b } = await setUp()
  const held = await b.link.lock('a change')
  t.false(await a.link.putRecord(recordOf(1), 'leader'))
  t.false(await a.link.putRecord(recordOf(1), 'any'))
  t.true(await b.link.putRecord(recordOf(1), held))
  await held.release()
  await clock.advance(0)
  t.true(await a.link.putRecord(recordOf(2), 'leader'))
})

test('the lock of a former process of the same node is not its own: it waits for the end of that lease', async t => {
  const scene = await setUp()
  const { clock, b } = scene
  await b.link.lock('by the former process')
  b.client.close()
  const again = await createNode(scene, 'b')
  let isHeld = false
  const locked = again.link.lock('by the next one').then(held => {
    isHeld = true
    return held
  })
  await clock.advance(3_000)
  t.false(isHeld)
  await clock.advance(4_000)
  t.true(isHeld)
  await (await locked).release()
})

test('members that a new list does not name are none any more', async t => {
  const scene = await setUp()
  const { etcd, clock, a } = scene
  const before = etcd.save()
  const c = await createNode(scene, 'c')
  const names = (): string[] => a.link.members().map(({ node }) => node)
  t.deepEqual(names().toSorted(), ['a', 'b', 'c'])
  c.client.close()
  // All is listed anew.
  etcd.restore(before)
  await clock.advance(100)
  t.deepEqual(names().toSorted(), ['a', 'b'])
})
