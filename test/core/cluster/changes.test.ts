// Replication as one node does it, over a link of which the test says what it holds: what is taken over, what goes out, what is told.

import test from 'ava'
import type { Seen } from '../../../src/core/cluster/view.ts'
import type { ClusterLink } from '../../../src/core/cluster/link.ts'
import type { Held, Right } from '../../../src/core/cluster/election.ts'
import { digestOf, type NodeRole, type SharedRecord } from '../../../src/core/cluster/values.ts'
import { type Connection, isLive } from '../../../src/protocol/connection.ts'
import { type Code, Failure } from '../../../src/protocol/errors.ts'
import { createMemory } from '../../../src/core/cluster/memory.ts'
import { RECIPIENTS } from '../../../src/core/store/records.ts'
import { createChanges } from '../../../src/core/cluster/changes.ts'
import { failureOf, settle } from '../../support/fakes.ts'
import { connectedRig, createRig, HERE } from '../../support/operations-rig.ts'

const contentOf = (record: SharedRecord): string => digestOf({ ...record, generation: record.version.generation })

const setUp = async ({ leads = true, role = 'member' }: { leads?: boolean; role?: NodeRole | 'none' } = {}) => {
  const { rig, premises, app } = await connectedRig()
  const memory = createMemory({ facts: rig.store.facts, cluster: 'test', host: rig.host })
  if (role !== 'none') memory.join(role)
  /** What the node did with the cluster, in order. */
  const did: string[] = []
  const puts: { readonly record: SharedRecord; readonly right: Right }[] = []
  let revision = 0n
  const seenAs = (record: SharedRecord): Seen => {
    revision += 1n
    return { kind: 'record', record, digest: contentOf(record), modRevision: revision }
  }
  const scene = {
    leads,
    inTouch: true,
    seen: { kind: 'absent', modRevision: 0n } as Seen,
    /** What becomes of a write. */
    put: (async () => true) as (record: SharedRecord) => Promise<boolean>,
    lock: async (): Promise<Held> => held,
  }
  const held: Held = {
    fence: { key: 'lock', createRevision: 1n },
    release: async () => void did.push('release'),
  }
  const link: Partial<ClusterLink> = {
    node: 'b',
    leads: () => scene.leads,
    inTouch: () => scene.inTouch,
    record: () => scene.seen,
    async readRecord() {
      did.push('read')
      return scene.seen
    },
    async putRecord(record, right) {
      did.push('put')
      if (!(await scene.put(record))) return false
      puts.push({ record, right })
      scene.seen = seenAs(record)
      return true
    },
    async lock(what) {
      did.push(`lock for ${what}`)
      return scene.lock()
    },
    announce: async () => void did.push('announce'),
  }
  const applied: unknown[] = []
  let left = 0
  let turns = 0
  const changes = createChanges(
    {
      store: rig.store,
      connectionState: {
        ...rig.connectionState,
        serially(task) {
          turns += 1
          return rig.connectionState.serially(task)
        },
      },
      link: link as ClusterLink,
      memory,
      audit: rig.audit,
      log: rig.log,
    },
    { onApplied: change => void applied.push(change), onLeave: () => void left++ },
  )
  const lastPut = () => {
    const last = puts.at(-1)
    if (!last) throw new Error('it wrote no record')
    return last
  }
  const messages = (level: string) => rig.log.lines.filter(line => line.level === level).map(({ message }) => message)
  const live = () => {
    const { connection } = rig.connectionState.read()
    if (!isLive(connection)) throw new Error('not connected')
    return connection
  }
  return {
    rig,
    premises,
    app,
    memory,
    scene,
    changes,
    did,
    puts,
    applied,
    held,
    seenAs,
    lastPut,
    messages,
    live,
    left: () => left,
    turns: () => turns,
  }
}

/** The node and the cluster hold the same. */
const inStep = async (options: Parameters<typeof setUp>[0] = {}) => {
  const all = await setUp(options)
  await all.changes.settle()
  const { record } = all.lastPut()
  all.did.length = 0
  /** A later record of another node. */
  const newer = (change: Partial<SharedRecord> = {}): SharedRecord => ({
    ...record,
    version: { generation: 2, sequence: 5, id: 'z' },
    by: 'a',
    ...change,
  })
  return { ...all, record, newer }
}

const gone = (sinceMs = 1_700_000_000_000): Connection => ({ kind: 'disconnected', sinceMs })

test('the first record of a cluster is all that its node holds, and what was agreed upon outlives the process', async t => {
  const { rig, app, memory, changes, puts, did, lastPut } = await setUp()
  rig.store.facts.put(RECIPIENTS, ['age1x'])
  memory.setSigners(['signer of b'])
  memory.setUnsent(true)
  await changes.settle()
  const { record, right } = lastPut()
  const { connection, installations, keys } = rig.connectionState.read()
  t.is(right, 'leader')
  t.deepEqual(
    { ...record, version: { ...record.version, id: '' } },
    {
      version: { generation: 1, sequence: 1, id: '' },
      appId: app.id,
      floor: 1,
      connection,
      installations,
      keys,
      recipients: ['age1x'],
      signers: ['signer of b'],
      by: 'b',
    },
  )
  t.true(keys.length > 0 && installations.length > 0 && record.version.id.length > 8)
  t.false(memory.isUnsent())
  t.deepEqual(did, ['put', 'announce'])
  const { version, floor, digest } = createMemory({
    facts: rig.store.facts,
    cluster: 'test',
    host: () => HERE,
  }).agreed()
  t.deepEqual({ version, floor, digest }, { version: record.version, floor: 1, digest: contentOf(record) })
  await changes.settle()
  t.is(puts.length, 1, 'it is in step')
})

test('a change of a follower goes out under the right of any node, above all that was seen; its tokens stay good', async t => {
  const { rig, memory, scene, changes, lastPut, record } = await inStep()
  scene.leads = false
  memory.setUnsent(true)
  rig.connectionState.transition(rig.connectionState.read().connection, { newGeneration: true })
  await changes.settle()
  const { record: next, right } = lastPut()
  t.is(right, 'any')
  t.like(next.version, { generation: 2, sequence: 2 })
  t.not(next.version.id, record.version.id)
  t.is(next.floor, 1)
  t.false(memory.isUnsent())
})

test('a disable goes out with the App that it was of, and nothing of before counts after it', async t => {
  const { rig, app, changes, lastPut } = await inStep()
  rig.connectionState.shred(gone())
  changes.changed()
  await settle()
  const { record } = lastPut()
  t.like(record, { appId: app.id, floor: 2, keys: [], installations: [], connection: gone() })
})

test('a newer record of others takes the place of what is held, in the same store where nothing has to go', async t => {
  const { rig, memory, scene, changes, applied, did, seenAs, newer, live } = await inStep()
  const [installation] = rig.connectionState.read().installations
  if (!installation) throw new Error('no installation')
  const connection: Connection = { ...live(), kind: 'suspended', evidence: 'so it says' }
  const installations = [
    { ...installation, permissions: {} },
    { ...installation, id: installation.id + 1 },
  ]
  const next = newer({ connection, installations, recipients: ['age1a'], signers: ['signer of a'] })
  scene.seen = seenAs(next)
  const number = rig.store.number()
  memory.setUnsent(false)
  await changes.settle()
  const { keys } = next
  t.deepEqual(rig.connectionState.read(), { generation: 2, connection, installations, keys })
  t.is(rig.store.number(), number)
  t.deepEqual([rig.store.facts.find(RECIPIENTS), memory.signers()], [['age1a'], ['signer of a']])
  t.deepEqual(applied, [{ voided: false, revoked: false, changed: [installation.id] }])
  t.deepEqual(did, ['announce'])
  t.deepEqual(rig.log.lines.at(-1), {
    level: 'info',
    message: 'the record of the cluster holds here now',
    fields: { generation: 2, sequence: 5, by: 'a' },
  })
  t.deepEqual([memory.agreed().version, memory.agreed().digest], [next.version, contentOf(next)])
  await changes.settle()
  t.is(applied.length, 1)
})

for (const [what, change, revoked] of [
  ['tokens of before are void', () => ({ floor: 2 }), false],
  ['a key is gone', () => ({ keys: [] }), false],
  ['the connection is gone', () => ({ connection: gone(), keys: [], installations: [] }), false],
  [
    'all tokens were revoked',
    (connection: Connection) => ({
      connection: isLive(connection) ? { ...connection, enabledAtMs: connection.enabledAtMs + 1 } : connection,
    }),
    true,
  ],
] as const) {
  test(`where ${what}, the record comes with a new store, and is agreed upon from the same moment`, async t => {
    const nextOf = ({ rig, newer }: Awaited<ReturnType<typeof inStep>>) =>
      newer({ ...change(rig.connectionState.read().connection), recipients: ['age1a'] })
    const all = await inStep()
    const { rig, scene, changes, applied, seenAs } = all
    scene.seen = seenAs(nextOf(all))
    const number = rig.store.number()
    await changes.settle()
    t.is(rig.store.number(), number + 1)
    t.is(rig.disk.tokens.size, 0)
    t.like(applied[0], { voided: true, revoked })
    t.deepEqual(rig.store.facts.find(RECIPIENTS), ['age1a'])

    const killed = await inStep()
    const next = nextOf(killed)
    killed.scene.seen = killed.seenAs(next)
    // The recovery keys, the signers, the new store.
    killed.rig.killAfterWrites(3)
    await killed.changes.settle()
    t.true(killed.rig.isDead())
    const { store } = createRig(killed.premises)
    t.deepEqual(createMemory({ facts: store.facts, cluster: 'test', host: () => HERE }).agreed().version, next.version)
    t.is(store.connection.read().generation, 2)
  })
}

test('a change that lost against others is told in the audit log and in the journal; a note that lost is not', async t => {
  const { rig, memory, scene, changes, seenAs, newer, messages } = await inStep()
  const conflicts = () => rig.disk.audit.filter(({ event }) => event === 'cluster.conflict').map(({ detail }) => detail)
  rig.connectionState.transition({ ...rig.connectionState.read().connection, sinceMs: 7 })
  scene.seen = seenAs(newer())
  await changes.settle()
  t.deepEqual(conflicts(), [])

  rig.connectionState.transition(rig.connectionState.read().connection, { newGeneration: true })
  memory.setUnsent(true)
  const theirs = newer({ version: { generation: 3, sequence: 6, id: 'y' }, connection: gone(), keys: [] })
  scene.seen = seenAs(theirs)
  await changes.settle()
  t.deepEqual(conflicts(), ['a made generation 3: disconnected; what was changed here meanwhile is void'])
  t.deepEqual(messages('error'), ['a change of this node lost against another one'])
  t.false(memory.isUnsent())
  t.is(rig.kind(), 'disconnected')
})

test('the same content under a newer version is agreed upon, and nothing is changed for it', async t => {
  const { memory, scene, changes, applied, did, seenAs, newer, rig } = await inStep()
  const next = newer({ version: { generation: 1, sequence: 9, id: 'z' }, floor: 1 })
  scene.seen = seenAs(next)
  memory.setUnsent(true)
  const number = rig.store.number()
  await changes.settle()
  t.deepEqual([memory.agreed().version, memory.agreed().floor, memory.isUnsent()], [next.version, 1, false])
  t.deepEqual([applied, did, rig.store.number()], [[], ['announce'], number])
})

test('a record that could not be taken over is an obstacle until it is, or until another one counts', async t => {
  const { rig, scene, changes, seenAs, newer, record, messages } = await inStep()
  t.is(changes.findObstacle(), undefined)
  const ends = [() => void (scene.seen = seenAs(record)), () => void delete rig.disk.storeFailure]
  for (const end of ends) {
    rig.disk.storeFailure = new Failure('disk-full', 'no space left')
    scene.seen = seenAs(newer())
    await t.notThrowsAsync(changes.settle())
    const { code, message } = changes.findObstacle() ?? {}
    t.deepEqual([code, message], ['cluster-behind', 'its record 5 was not taken over: no space left'])
    t.is(rig.connectionState.read().generation, 1)
    end()
    await changes.settle()
    t.is(changes.findObstacle(), undefined)
  }
  t.is(rig.connectionState.read().generation, 2)
  const told = 'this node and the cluster could not be brought to the same record yet'
  t.deepEqual(messages('warn'), [told, told])
})

for (const [kind, code] of [
  ['foreign', 'cluster-secret'],
  ['newer', 'cluster-behind'],
] as const) {
  test(`a record that cannot be read, as it is ${kind}, is neither taken nor replaced, and that is said`, async t => {
    const { rig, scene, changes, puts, did, held, messages } = await inStep()
    scene.seen = { kind, modRevision: 99n }
    rig.connectionState.transition(rig.connectionState.read().connection, { newGeneration: true })
    await changes.settle()
    t.deepEqual([puts.length, did], [1, []])
    t.is(messages('warn').length, 1)
    t.is(changes.findObstacle()?.code, code)
    t.is((await failureOf(changes.settleUnder(held))).code, code)
  })
}

test('a write that was refused is tried again where another node was first, and left for later where nobody was', async t => {
  const { rig, scene, changes, did, held, seenAs, record, messages } = await inStep()
  const older = { ...record, version: { ...record.version, sequence: 0 } }
  rig.connectionState.transition(rig.connectionState.read().connection, { newGeneration: true })
  scene.put = async () => false
  await changes.settle()
  t.deepEqual([did, messages('warn')], [['put', 'read'], []])

  did.length = 0
  scene.put = async () => {
    if (did.filter(what => what === 'put').length === 3) return true
    scene.seen = seenAs(older)
    return false
  }
  await changes.settle()
  t.deepEqual(did, ['put', 'read', 'put', 'read', 'put', 'announce'])

  did.length = 0
  rig.connectionState.transition(rig.connectionState.read().connection, { newGeneration: true })
  scene.put = async () => false
  t.is((await failureOf(changes.settleUnder(held))).code, 'cluster-conflict')
  t.is(did.filter(what => what === 'put').length, 8)
})

test('who is in no cluster, or not in touch with it, brings nothing there; asked again and again, it goes in one turn more', async t => {
  const single = await setUp({ role: 'none' })
  await single.changes.settle()
  const { scene, changes, puts, turns } = await setUp()
  scene.inTouch = false
  await changes.settle()
  t.deepEqual([single.puts, puts], [[], []])
  scene.inTouch = true
  const before = turns()
  await Promise.all(Array.from({ length: 5 }, () => changes.settle()))
  t.is(turns() - before, 2)
  t.is(puts.length, 1)
})

test('what a leader notes goes out at once, what a follower notes stays', async t => {
  const { rig, scene, changes, puts } = await inStep()
  for (const [leads, sinceMs] of [
    [false, 7],
    [true, 8],
  ] as const) {
    scene.leads = leads
    rig.connectionState.transition({ ...rig.connectionState.read().connection, sinceMs })
    changes.changed()
    await settle()
    t.is(puts.length, leads ? 2 : 1)
  }
})

test('a change is made under the lock, upon the newest record, and is out before it counts as done', async t => {
  const { rig, memory, scene, changes, did, puts, held, seenAs, newer, lastPut } = await inStep({ leads: false })
  scene.seen = seenAs(newer())
  const work = Promise.withResolvers<void>()
  const changed = changes.change(async () => {
    did.push(`task upon generation ${rig.connectionState.read().generation}, unsent: ${memory.isUnsent()}`)
    rig.connectionState.transition(rig.connectionState.read().connection, { newGeneration: true })
    changes.changed()
    await work.promise
    return 'done'
  }, {})
  await settle()
  t.deepEqual(did, ['lock for a change', 'read', 'announce', 'task upon generation 2, unsent: true', 'put', 'announce'])
  t.is(puts.length, 2, 'it is out while the task goes on, for others to go on with')
  t.is(lastPut().right, held)
  t.true(memory.isUnsent())
  work.resolve()
  t.is(await changed, 'done')
  t.false(memory.isUnsent())
  t.deepEqual(did.slice(6), ['release'], 'and once')

  rig.connectionState.transition(rig.connectionState.read().connection)
  changes.changed()
  await settle()
  t.is(puts.length, 2, 'nothing is written under a lock that was given back')
})

test('a task that fails is told so, and what it did is in the cluster', async t => {
  const { rig, memory, changes, puts, did } = await inStep()
  const failing = changes.change(async () => {
    rig.connectionState.transition(rig.connectionState.read().connection, { newGeneration: true })
    throw new Failure('timeout', 'GitHub did not answer')
  }, {})
  t.is((await failureOf(failing)).code, 'timeout')
  t.is(puts.length, 2)
  t.false(memory.isUnsent())
  t.is(did.at(-1), 'release')
})

test('a change that does not reach the cluster is told so, is noted as unsent, and holds no lock', async t => {
  const { rig, memory, scene, changes, did, messages } = await inStep()
  scene.put = () => Promise.reject(new Failure('cluster-unreachable', 'no member answers'))
  const failing = changes.change(async () => {
    rig.connectionState.transition(rig.connectionState.read().connection, { newGeneration: true })
    changes.changed()
  }, {})
  t.is((await failureOf(failing)).code, 'cluster-unreachable')
  t.true(createMemory({ facts: rig.store.facts, cluster: 'test', host: () => HERE }).isUnsent())
  t.is(did.at(-1), 'release')
  t.deepEqual(messages('error'), ['a change of this node is not in the cluster yet'])

  scene.put = async () => true
  scene.leads = false
  await changes.settle()
  t.false(memory.isUnsent(), 'it goes out later')
})

test('a change that others overtook at its end is void, and names them', async t => {
  const { rig, scene, changes, seenAs, newer } = await inStep()
  scene.put = async () => {
    scene.seen = seenAs(newer({ version: { generation: 4, sequence: 6, id: 'y' }, connection: gone(), keys: [] }))
    return false
  }
  const failing = changes.change(async () => {
    rig.connectionState.transition(rig.connectionState.read().connection, { newGeneration: true })
  }, {})
  const { code, message } = await failureOf(failing)
  t.is(code, 'cluster-conflict')
  t.is(message, 'a made it generation 4, disconnected; what was changed here meanwhile is void')
})

test('who is in no cluster changes what it holds without a lock', async t => {
  const { changes, did } = await setUp({ role: 'none' })
  t.is(await changes.change(async () => 'done', {}), 'done')
  t.deepEqual(did, [])
})

for (const [what, role, code, leaves] of [
  ['a replica', 'replica', undefined, true],
  ['a node that does not reach etcd', 'member', 'cluster-unreachable', true],
  ['a node that etcd turns away', 'member', 'cluster-refused', true],
  ['a node whose cluster is being changed', 'member', 'cluster-conflict', false],
] as const satisfies readonly (readonly [string, NodeRole, Code | undefined, boolean])[]) {
  test(`${what} refuses a change for all; one for itself alone ${leaves ? 'has it leave' : 'is refused too'}`, async t => {
    const { scene, changes, left } = await setUp({ role })
    if (code) scene.lock = () => Promise.reject(new Failure(code, 'no lock'))
    let tasks = 0
    const task = async () => ++tasks
    for (const options of [{}, { cutOff: 'refuse' }] as const) {
      t.is((await failureOf(changes.change(task, options))).code, code ?? 'replica')
    }
    t.deepEqual([tasks, left()], [0, 0])
    const alone = changes.change(task, { cutOff: 'leave' })
    if (leaves) t.is(await alone, 1)
    else t.is((await failureOf(alone)).code, 'cluster-conflict')
    t.deepEqual([tasks, left()], leaves ? [1, 1] : [0, 0])
  })
}

test('a record that serves nothing overrules what is served here, if it is newer than what was agreed upon', async t => {
  const { rig, scene, changes, seenAs, newer, record, live } = await inStep()
  t.false(changes.isOverruled())
  const serving: Connection = { ...live(), kind: 'suspended', evidence: 'so it says' }
  for (const [what, seen, expected] of [
    ['a disable', newer({ connection: gone() }), true],
    ['what serves as well', newer({ connection: serving }), false],
    ['an older one', newer({ connection: gone(), version: { ...record.version, sequence: 0 } }), false],
    ['the one that was agreed upon', { ...record, connection: gone() }, false],
  ] as const) {
    scene.seen = seenAs(seen)
    t.is(changes.isOverruled(), expected, what)
  }
  scene.seen = { kind: 'foreign', modRevision: 99n }
  t.false(changes.isOverruled())
  scene.seen = seenAs(newer({ connection: gone() }))
  rig.connectionState.shred(gone())
  t.false(changes.isOverruled(), 'nothing is served here')
})
