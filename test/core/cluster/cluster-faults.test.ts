// Rounds of faults by seed: whatever is killed, stopped, cut off or put back, the nodes agree in the end, and none of them goes back.

import test from 'ava'
import { compareVersions } from '../../../src/core/cluster/changes.ts'
import type { Version } from '../../../src/core/cluster/values.ts'
import { canonicalJson } from '../../../src/protocol/canonical-json.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import { createClusterRig, type Machine } from '../../support/cluster-rig.ts'
import { ORG } from '../../support/operations-rig.ts'

const ROUNDS = 20
const STEPS = 40
const MINUTE = 60_000

/** mulberry32: the same sequence for the same seed. */
const randomOf = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

type Health = 'up' | 'cut' | 'paused' | 'down'

const round = async (seed: number): Promise<string[]> => {
  const random = randomOf(seed)
  const rig = await createClusterRig()
  const { clock, world, etcd } = rig
  const nodes = ['a', 'b', 'c', 'd'].map(name => rig.createMachine(name))
  const health = new Map<Machine, Health>(nodes.map(node => [node, 'up']))
  const story: string[] = []
  const highest = new Map<Machine, Version>()
  let backup: ReturnType<typeof etcd.save> | undefined
  let isEtcdDown = false

  const check = (): void => {
    for (const node of nodes) {
      const agreed = node.disk.facts.get('cluster.agreed') as { version: Version } | undefined
      if (!agreed) continue
      const before = highest.get(node)
      if (before && compareVersions(agreed.version, before) < 0)
        throw new Error(`${node.name} went back: ${JSON.stringify([before, agreed.version])}`)
      highest.set(node, agreed.version)
    }
  }
  /** Whatever becomes of it: a change may be refused, and then says so. */
  const attempt = async (node: Machine, what: string, work: Promise<unknown>): Promise<void> => {
    const outcome = work.then(
      () => 'done',
      (error: unknown) => {
        if (node.isRunning() && !node.get().rig.isDead() && (!(error instanceof Failure) || error.code === 'internal'))
          throw error
        return error instanceof Failure ? error.code : 'killed'
      },
    )
    await clock.advance(25_000)
    story.push(`${node.name} ${what}: ${await Promise.race([outcome, Promise.resolve('under way')])}`)
    void outcome.catch(() => undefined)
  }
  const importAt = (node: Machine): Promise<unknown> => {
    const { app, pem } = world.createApp(ORG)
    for (const id of world.installations.keys()) world.uninstall(id)
    world.install(app.id, ORG)
    return node.get().rig.importApp({ appId: app.id, pem: new Secret(pem) })
  }

  for (const node of nodes) await node.start()
  await nodes[0]?.get().rig.importApp({ appId: rig.app.id, pem: new Secret(rig.pem) })
  for (const node of nodes) await node.join()

  for (let step = 0; step < STEPS; step++) {
    const node = nodes[random(nodes.length)]
    if (!node) continue
    const now = health.get(node)
    switch (random(14)) {
      case 0:
        if (now === 'up') {
          node.get().client.cut()
          health.set(node, 'cut')
        }
        break
      case 1:
      case 2:
        if (now === 'cut') node.get().client.heal()
        if (now === 'paused') node.resume()
        if (now === 'down') await node.start()
        health.set(node, 'up')
        if (isEtcdDown) etcd.up()
        isEtcdDown = false
        break
      case 12:
        // It dies right after one of its next writes, wherever that leaves it.
        if (now === 'up' || now === 'cut') node.get().rig.killAfterWrites(1 + random(8))
        break
      case 3:
        if (now === 'up' || now === 'cut') {
          node.kill()
          health.set(node, 'down')
        }
        break
      case 4:
        if (now === 'up') {
          node.pause()
          health.set(node, 'paused')
        }
        break
      case 5:
        if (isEtcdDown) etcd.up()
        else etcd.down()
        isEtcdDown = !isEtcdDown
        break
      case 6:
        if (!isEtcdDown) backup = etcd.save()
        break
      case 7:
        if (backup && !isEtcdDown) etcd.restore(backup)
        break
      case 8:
        if (now === 'up') await attempt(node, 'disables', node.get().rig.disable.begin({ local: false, wait: false }))
        break
      case 9:
        if (now === 'up' && node.kind() === 'disconnected') await attempt(node, 'imports', importAt(node))
        break
      default: {
        if (now === 'up' || now === 'cut') {
          const asked = node.token().catch((error: unknown) => {
            if (!node.get().rig.isDead() && (!(error instanceof Failure) || error.code === 'internal')) throw error
            return undefined
          })
          await clock.advance(45_000)
          // A process that dies answers nobody.
          const token = await Promise.race([asked, Promise.resolve(undefined)])
          if (token && token.expiresAtMs <= clock.trueNow() - 45_000)
            throw new Error(`${node.name} served an expired token`)
        }
      }
    }
    for (const one of nodes) {
      if (!one.isRunning() || !one.get().rig.isDead()) continue
      one.kill()
      health.set(one, 'down')
    }
    await clock.advance(random(4) === 0 ? (1 + random(30)) * MINUTE : random(20_000))
    check()
  }

  if (isEtcdDown) etcd.up()
  for (const node of nodes) {
    const now = health.get(node)
    if (now === 'cut') node.get().client.heal()
    if (now === 'paused') node.resume()
    if (now === 'down') await node.start()
    node.get().rig.killAfterWrites(Number.POSITIVE_INFINITY)
  }
  await clock.advance(3 * MINUTE)
  check()
  const tell = (): string =>
    `seed ${seed}: ${story.join('; ')}; ${JSON.stringify(nodes.map(node => [node.kind(), node.role(), node.disk.record.generation, node.disk.facts.get('cluster.agreed')]))}`
  const ends = new Set(nodes.map(({ disk }) => canonicalJson(disk.facts.get('cluster.agreed'))))
  if (ends.size !== 1) throw new Error(`the nodes end apart. ${tell()}`)
  if (nodes.filter(node => node.role() === 'leader').length !== 1) throw new Error(`there is not one leader. ${tell()}`)
  if (new Set(nodes.map(node => node.kind())).size !== 1) throw new Error(`the states differ. ${tell()}`)
  if (
    nodes.some(
      node => node.kind() === 'disconnected' && (node.disk.record.keys.length > 0 || node.disk.tokens.size > 0),
    )
  )
    throw new Error(`a disable left something. ${tell()}`)
  for (const node of nodes) node.kill()
  return story
}

test('no seed of faults leads the nodes apart', async t => {
  let told = 0
  for (let seed = 1; seed <= ROUNDS; seed++) told += (await round(seed)).length
  t.true(told > ROUNDS, `${told} changes were made`)
})
