// The order of records: whatever comes in whatever order, no node goes back, and all end at the same record.

import test from 'ava'
import fc from 'fast-check'
import { compareVersions, nextStep, type Standing, versionAbove } from '../../../src/core/cluster/changes.ts'
import type { Version } from '../../../src/core/cluster/values.ts'

type Content = { readonly generation: number; readonly digest: string }
type Seen = { readonly version: Version; readonly digest: string }
type Node = { content: Content; agreed: Seen; unsent: boolean }
type World = {
  readonly nodes: readonly Node[]
  etcd: Seen | undefined
  readonly contents: Map<string, Content>
  backups: (Seen | undefined)[]
  made: number
}

const NODES = 3
const none: Seen = { version: { generation: 0, sequence: 0, id: '' }, digest: 'first' }

const createWorld = (): World => {
  const first: Content = { generation: 0, digest: 'first' }
  return {
    nodes: Array.from({ length: NODES }, () => ({ content: first, agreed: none, unsent: false })),
    etcd: none,
    contents: new Map([['first', first]]),
    backups: [],
    made: 0,
  }
}

const standingOf = (node: Node, leads: boolean): Standing => ({
  ...node.content,
  agreed: node.agreed,
  unsent: node.unsent,
  leads,
})

/** What a node does with what it sees; tells whether something changed. */
const sync = (world: World, index: number, leads: boolean): boolean => {
  const node = world.nodes[index]
  if (!node) return false
  const seen = world.etcd
  const standing = standingOf(node, leads)
  const step = nextStep(standing, seen)
  switch (step.kind) {
    case 'keep':
      return false
    case 'agree':
    case 'apply': {
      if (!seen) return false
      node.content = world.contents.get(seen.digest) ?? node.content
      node.agreed = seen
      node.unsent = false
      return true
    }
    case 'offer': {
      const version = step.anew
        ? versionAbove(standing, seen?.version, `n${index}-${world.made++}`)
        : node.agreed.version
      world.etcd = { version, digest: node.content.digest }
      node.agreed = world.etcd
      node.unsent = false
      return true
    }
    default:
      return step satisfies never
  }
}

const change = (
  world: World,
  index: number,
  { generations, unsent }: { generations: number; unsent: boolean },
): void => {
  const node = world.nodes[index]
  if (!node) return
  const digest = `d${world.made++}`
  node.content = { generation: node.content.generation + generations, digest }
  node.unsent ||= unsent
  world.contents.set(digest, node.content)
}

const index = fc.nat({ max: NODES - 1 })
const operation = fc.oneof(
  fc.record({ kind: fc.constant('change' as const), index }),
  fc.record({ kind: fc.constant('note' as const), index }),
  fc.record({ kind: fc.constant('sync' as const), index, leads: fc.boolean() }),
  fc.record({ kind: fc.constant('backup' as const) }),
  fc.record({ kind: fc.constant('restore' as const), which: fc.nat() }),
  fc.record({ kind: fc.constant('wipe' as const) }),
)

test('no order of changes, syncs and restored backups takes a node back, and all end at one record', t => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), operations => {
      const world = createWorld()
      const highest = world.nodes.map(node => node.agreed.version)
      const check = (): void => {
        for (const [at, node] of world.nodes.entries()) {
          const before = highest[at] ?? none.version
          if (compareVersions(node.agreed.version, before) < 0) throw new Error(`node ${at} went back`)
          highest[at] = node.agreed.version
        }
      }
      for (const one of operations) {
        if (one.kind === 'change') change(world, one.index, { generations: 1, unsent: true })
        else if (one.kind === 'note') change(world, one.index, { generations: 0, unsent: false })
        else if (one.kind === 'sync') sync(world, one.index, one.leads)
        else if (one.kind === 'backup') world.backups.push(world.etcd)
        else if (one.kind === 'wipe') world.etcd = undefined
        else world.etcd = world.backups[one.which % Math.max(1, world.backups.length)]
        check()
      }
      let rounds = 0
      while (world.nodes.map((_, at) => sync(world, at, at === 0)).some(Boolean)) {
        check()
        if (++rounds > 20) throw new Error('it does not come to rest')
      }
      const ends = new Set(world.nodes.map(node => `${node.content.digest} ${JSON.stringify(node.agreed.version)}`))
      if (ends.size !== 1) throw new Error(`the nodes end apart: ${[...ends].join(', ')}`)
      if (compareVersions(world.etcd?.version ?? none.version, world.nodes[0]?.agreed.version ?? none.version) !== 0)
        throw new Error('etcd holds another record')
    }),
    { numRuns: 2_000 },
  )
  t.pass()
})

test('versions are ordered by generation, then sequence, then id, and that order is one', t => {
  const version = fc.record({ generation: fc.nat(3), sequence: fc.nat(3), id: fc.constantFrom('a', 'b', 'c') })
  fc.assert(
    fc.property(version, version, version, (a, b, c) => {
      t.is(Math.sign(compareVersions(a, b)), -Math.sign(compareVersions(b, a)) + 0)
      if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) t.true(compareVersions(a, c) <= 0)
      t.is(compareVersions(a, b) === 0, JSON.stringify(a) === JSON.stringify(b))
    }),
  )
})

const AGREED = { version: { generation: 2, sequence: 7, id: 'x' }, digest: 'held' }
const standing = (over: Partial<Standing>): Standing => ({
  generation: 2,
  digest: 'held',
  agreed: AGREED,
  unsent: false,
  leads: false,
  ...over,
})
const seenAt = (generation: number, sequence: number, digest = 'other') => ({
  version: { generation, sequence, id: 'y' },
  digest,
})

test('a newer record is taken, an older one is answered with what holds', t => {
  t.deepEqual(nextStep(standing({}), seenAt(3, 8)), { kind: 'apply', lost: 'nothing' })
  t.deepEqual(nextStep(standing({}), seenAt(1, 9)), { kind: 'offer', anew: false })
  t.deepEqual(nextStep(standing({}), undefined), { kind: 'offer', anew: false })
  t.deepEqual(nextStep(standing({}), { ...AGREED }), { kind: 'keep' })
  t.deepEqual(nextStep(standing({}), seenAt(2, 8, 'held')), { kind: 'agree' })
})

test('what was changed here since goes out as a new version, also where etcd holds an older record or none', t => {
  for (const unsent of [false, true]) {
    const changed = standing({ digest: 'changed', unsent })
    t.deepEqual(nextStep(changed, undefined), { kind: 'offer', anew: true })
    t.deepEqual(nextStep(changed, seenAt(1, 9)), { kind: 'offer', anew: true })
  }
})

test("what a follower noted gives way to the leader's view; what the leader noted goes out", t => {
  t.deepEqual(nextStep(standing({ digest: 'noted' }), { ...AGREED }), { kind: 'apply', lost: 'note' })
  t.deepEqual(nextStep(standing({ digest: 'noted', leads: true }), { ...AGREED }), { kind: 'offer', anew: true })
  t.deepEqual(nextStep(standing({ digest: 'noted', leads: true }), seenAt(2, 8)), { kind: 'apply', lost: 'note' })
})

test("an administrator's change that is not out yet goes over notes, and gives way to another change", t => {
  const changed = standing({ generation: 3, digest: 'changed', unsent: true })
  t.deepEqual(nextStep(changed, { ...AGREED }), { kind: 'offer', anew: true })
  t.deepEqual(nextStep(changed, seenAt(2, 8)), { kind: 'offer', anew: true })
  t.deepEqual(nextStep(changed, seenAt(3, 8)), { kind: 'apply', lost: 'change' })
  const twice = standing({ generation: 4, digest: 'changed', unsent: true })
  t.deepEqual(nextStep(twice, seenAt(3, 8)), { kind: 'apply', lost: 'change' }, 'their number does not count')
})

test('a change that raised no generation gives way to any newer record', t => {
  const changed = standing({ digest: 'changed', unsent: true })
  t.deepEqual(nextStep(changed, seenAt(2, 8)), { kind: 'apply', lost: 'change' })
})

test('a new version is above what was agreed and what was seen, in both of its counts', t => {
  const at = (generation: number) => ({ generation, agreed: AGREED })
  t.deepEqual(versionAbove(at(3), undefined, 'new'), { generation: 3, sequence: 8, id: 'new' })
  t.deepEqual(versionAbove(at(3), seenAt(2, 5).version, 'new'), { generation: 3, sequence: 8, id: 'new' })
  t.deepEqual(versionAbove(at(3), seenAt(5, 12).version, 'new'), { generation: 5, sequence: 13, id: 'new' })
})
