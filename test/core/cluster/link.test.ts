// What a node writes into the cluster, and believes of it: refused writes are not done, and the same revision is not the same history.

import test from 'ava'
import { type Ask, KEYS, type Member } from '../../../src/core/cluster/values.ts'
import { createFakeEtcd } from '../../support/fake-etcd.ts'
import { createKeyring } from '../../../src/core/cluster/sealing.ts'
import { createFakeClock, failureOf } from '../../support/fakes.ts'
import {
  codecs,
  createNode,
  HOUR,
  KEY,
  type LinkNode as Node,
  recordOf,
  SCOPE,
  SECRET,
  textsOf,
  tokenOf,
  twoNodes as setUp,
} from '../../support/link-rig.ts'

const sequenceOf = ({ link }: Node): number | undefined => {
  const seen = link.record()
  return seen.kind === 'record' ? seen.record.version.sequence : undefined
}

/** What it says of itself. */
const memberOf = ({ link }: Node): Member => {
  const member = link.members().find(({ node }) => node === link.node)
  if (!member) throw new Error('it is no member')
  return member
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
  a.client.get = async key => {
    const entry = await get(key)
    return entry && { ...entry, modRevision: entry.modRevision - 1n }
  }
  await a.link.readRecord()
  await clock.advance(10)
  t.is(lists, 2, 'an older revision')
  t.is(sequenceOf(a), 1)
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
  const after = await createNode({ etcd, clock }, 'a', {
    secrets: [Buffer.from('the next secret of the same cluster'), SECRET],
  })
  await clock.advance(10)
  t.true(await after.link.putTokens([tokenOf('ghs_2', clock.now() + 2 * HOUR)]))
  t.is(etcd.entries().filter(({ key }) => key.startsWith(KEYS.tokens)).length, 1)
})

const WISH = { kind: 'token', grant: { profile: 'p', scope: SCOPE }, wish: {} } as const

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
  // Its lease goes on, and its leadership does not.
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

test('after a cut that cost it its lease a node tells since when it is in touch again', async t => {
  const { a, b, clock } = await setUp()
  const began = memberOf(a).sinceMs
  a.client.pause()
  await clock.advance(10_000)
  t.false(a.link.inTouch())
  a.client.resume()
  await clock.advance(5_000)
  t.true(a.link.inTouch())
  t.true(memberOf(a).sinceMs >= began + 10_000)
  t.is(b.link.members().find(({ node }) => node === a.link.node)?.sinceMs, memberOf(a).sinceMs)
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
  await c.link.tell({ kind: 'ahead', grants: [] })
  await clock.advance(0)
  t.deepEqual(names().toSorted(), ['a', 'b', 'c'])
  t.is(a.link.asks().length, 1)
  c.client.close()
  // All is listed anew.
  etcd.restore(before)
  await clock.advance(100)
  t.deepEqual(names().toSorted(), ['a', 'b'])
  t.deepEqual(a.link.asks(), [])
})

const many = (count: number, expiresAtMs: number) =>
  Array.from({ length: count }, (_, at) => tokenOf(`ghs_${at}`, expiresAtMs, at))

test('tokens are written, renamed and taken away in parts that one transaction of etcd takes', async t => {
  const clock = createFakeClock()
  const etcd = createFakeEtcd(clock)
  const tokens = many(150, clock.now() + HOUR)
  const before = await createNode({ etcd, clock }, 'a')
  t.true(await before.link.putTokens(tokens))
  await before.link.stop()
  const secrets = [Buffer.from('the next secret'), SECRET]
  const after = await createNode({ etcd, clock }, 'a', { secrets })
  const beside = await createNode({ etcd, clock }, 'b', { secrets })
  await clock.advance(10)
  t.is(after.tokensTold.length, 150)
  t.true(await after.link.putTokens(tokens))
  await clock.advance(10)
  for (const node of [after, beside])
    t.is(textsOf(node).length, 150, 'what goes under its former name stays under the new one')
  t.is(etcd.entries().filter(({ key }) => key.startsWith(KEYS.tokens)).length, 150)
  await after.link.sweepTokens(({ token }) => token.scope.installation !== 7)
  await clock.advance(10)
  t.deepEqual(textsOf(after), ['ghs_7'])
  t.true(
    etcd.commits.every(({ writes }) => writes.length <= 128),
    'the most that etcd takes by default',
  )
})

test('where leadership ends between two parts of the tokens, the writer is told that not all were written', async t => {
  const { a, etcd, clock, keysOf } = await setUp()
  const { commit } = a.client
  let parts = 0
  a.client.commit = (conditions, writes) => {
    if (writes[0]?.key.startsWith(KEYS.tokens) && ++parts === 2) etcd.delete(KEYS.leader)
    return commit(conditions, writes)
  }
  t.false(await a.link.putTokens(many(100, clock.now() + HOUR)))
  t.true(keysOf(KEYS.tokens).length > 0 && keysOf(KEYS.tokens).length < 100)
})

test('a node knows what it wrote before the watch tells it, and writes upon it', async t => {
  const { a, b, clock } = await setUp()
  for (const { client } of [a, b]) client.delayWatches(new Promise<never>(() => {}))
  for (const hours of [1, 2]) {
    t.true(await b.link.offerToken(tokenOf('ghs_b', clock.now() + hours * HOUR)))
    t.is(b.link.findExpiry(KEY), clock.now() + hours * HOUR)
  }
  t.true(await a.link.putTokens([tokenOf('ghs_a', clock.now() + 3 * HOUR)]))
  t.is(a.link.findExpiry(KEY), clock.now() + 3 * HOUR)
  for (const sequence of [1, 2]) {
    t.true(await a.link.putRecord(recordOf(sequence), 'leader'))
    t.is(sequenceOf(a), sequence)
  }
})

test('a record of another node that was told before the answer to an earlier write stays the newest', async t => {
  const { a, b, clock } = await setUp()
  const { commit } = a.client
  const answer = Promise.withResolvers<void>()
  a.client.commit = async (conditions, writes) => {
    const done = await commit(conditions, writes)
    await answer.promise
    return done
  }
  const late = a.link.putRecord(recordOf(1), 'any')
  await clock.advance(0)
  t.true(await b.link.putRecord(recordOf(2), 'any'))
  await clock.advance(0)
  answer.resolve()
  t.true(await late)
  t.is(sequenceOf(a), 2)
})

test('after a restore of etcd tokens that are gone are none, and one of another revision can be written over', async t => {
  const { a, b, etcd, clock } = await setUp()
  t.true(await a.link.putTokens([tokenOf('ghs_1', clock.now() + HOUR)]))
  const saved = etcd.save()
  t.true(await a.link.putTokens([tokenOf('ghs_gone', clock.now() + HOUR, 5)]))
  await clock.advance(10)
  const entries = [...saved.entries].map(
    ([key, entry]) => [key, { ...entry, modRevision: entry.modRevision + 100n }] as const,
  )
  etcd.restore({ entries: new Map(entries), revision: saved.revision + 200n })
  await clock.advance(10)
  t.deepEqual([a, b].map(textsOf), [['ghs_1'], ['ghs_1']])
  t.true(await b.link.offerToken(tokenOf('ghs_2', clock.now() + 2 * HOUR)))
})

test('a follower neither writes tokens as the leader nor takes any away', async t => {
  const { a, b, clock } = await setUp()
  t.true(await a.link.putTokens([tokenOf('ghs_1', clock.now() + HOUR)]))
  await clock.advance(10)
  t.false(await b.link.putTokens([tokenOf('ghs_2', clock.now() + 2 * HOUR)]))
  await b.link.sweepTokens(() => true)
  await clock.advance(10)
  t.deepEqual([a, b].map(textsOf), [['ghs_1'], ['ghs_1']])
})

test('entry and leadership of a node are sealed with the first secret that every member knows, and stay leased', async t => {
  const clock = createFakeClock()
  const etcd = createFakeEtcd(clock)
  const next = Buffer.from('the next secret of the same cluster')
  const a = await createNode({ etcd, clock }, 'a', { secrets: [next, SECRET] })
  const own = () => etcd.entries().filter(({ key }) => [KEYS.leader, `${KEYS.members}a`].includes(key))
  const opensWith = (secret: Buffer) => {
    const ring = createKeyring({ cluster: 'test', secrets: [secret] })
    return own().map(({ key, value }) => ring.open(key, value).kind)
  }
  t.deepEqual(opensWith(next), ['opened', 'opened'])
  const former = await createNode({ etcd, clock }, 'former')
  await clock.advance(10)
  t.deepEqual(opensWith(SECRET), ['opened', 'opened'])
  former.client.close()
  await clock.advance(6_000)
  t.deepEqual(
    a.link.members().map(({ node }) => node),
    ['a'],
    'who is dead is no member',
  )
  t.deepEqual(opensWith(next), ['opened', 'opened'])
  t.is(new Set(own().map(({ lease }) => lease)).size, 1)
  t.false(own().some(({ lease }) => lease === undefined))
})

test('a reseal tells how many values it wrote, and that its lock was lost meanwhile', async t => {
  const { a, clock } = await setUp()
  t.true(await a.link.putTokens(many(2, clock.now() + HOUR)))
  const first = await a.link.lock('sealing')
  t.is(await a.link.reseal(first), 2)
  await first.release()
  t.is((await failureOf(a.link.reseal(first))).code, 'cluster-conflict', 'of tokens')
  await clock.advance(0)
  t.true(await a.link.putRecord(recordOf(1), 'leader'))
  const second = await a.link.lock('sealing')
  t.is(await a.link.reseal(second), 3)
  await second.release()
  t.is((await failureOf(a.link.reseal(second))).code, 'cluster-conflict', 'of the record')
})

test('a member whose entry is written anew so that nobody here can open it is none, until it can be opened again', async t => {
  const { a, b, etcd, clock } = await setUp()
  const names = async (): Promise<string[]> => {
    await clock.advance(10)
    return a.link.members().map(({ node }) => node)
  }
  t.deepEqual(await names(), ['a', 'b'])
  etcd.put(`${KEYS.members}b`, Buffer.from('sealed with a secret that is not known here'))
  t.deepEqual(await names(), ['a'])
  await b.link.announce()
  t.deepEqual(await names(), ['a', 'b'])
})

test('a node that stops does not stand for leadership that it gave up, also where that is told before etcd answers', async t => {
  const { a, b, clock } = await setUp()
  const { commit } = a.client
  const answer = Promise.withResolvers<void>()
  a.client.commit = async (conditions, writes) => {
    const done = await commit(conditions, writes)
    await answer.promise
    return done
  }
  const stopped = a.link.stop()
  await clock.advance(10)
  t.deepEqual(
    [a, b].map(({ link }) => link.leads()),
    [false, true],
  )
  answer.resolve()
  await stopped
  await clock.advance(10)
  t.true(b.link.leads())
  t.is(b.told.filter(what => what === 'leads').length, 1)

  a.client.commit = commit
  await b.link.stop()
  await a.link.start()
  await clock.advance(10)
  t.true(a.link.leads(), 'one that begins again stands')
})

test('a leader whose lease is lost hears that it leads no more, and only then that it is cut off', async t => {
  const { clock, a, b } = await setUp()
  const before = a.told.length
  // It would tell that another one leads.
  a.client.delayWatches(new Promise<never>(() => {}))
  a.client.pause()
  await clock.advance(6_000)
  t.true(b.link.leads())
  a.client.resume()
  await clock.advance(2_000)
  t.deepEqual(a.told.slice(before), ['leads no more', 'cut off', 'in touch'])
  t.false(a.link.leads())
})
