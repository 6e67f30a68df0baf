// Nodes of a cluster over one GitHub and one etcd in memory, under one clock: each can be killed, stopped, cut off and started again.

import type { Answer, Ask } from '../../src/core/cluster/values.ts'
import { Secret } from '../../src/protocol/secret.ts'
import { assembleClusterNode, type ClusterNode } from '../../src/core/cluster/node.ts'
import { createMemory } from '../../src/core/cluster/memory.ts'
import { createFakeEtcd, type FakeClient } from './fake-etcd.ts'
import { type Disk, emptyDisk, settle } from './fakes.ts'
import { createPremises, createRig, ORG, type Rig } from './operations-rig.ts'
import { QUIET_SEAT } from './quiet-membership.ts'

export const SECRET = Buffer.from('a secret that all nodes of the cluster know')

/** As in a daemon whose part of the cluster is not loaded yet: whose the credentials are is not known. */
const NOT_KNOWN_YET = { ...QUIET_SEAT, isHome: () => true }

export type Running = { readonly rig: Rig; readonly node: ClusterNode; readonly client: FakeClient }

export type ClusterRig = Awaited<ReturnType<typeof createClusterRig>>

export const createClusterRig = async () => {
  const premises = createPremises()
  const { clock, world } = premises
  const etcd = createFakeEtcd(clock)
  const { app, pem } = world.createApp(ORG)
  world.install(app.id, ORG)

  const createMachine = (name: string, secrets: readonly Buffer[] = [SECRET]) => {
    const disk: Disk = emptyDisk()
    const host = { machineId: `machine of ${name}`, hostname: name }
    let running: Running | undefined
    let paused = false

    let known = secrets
    const start = async (options: { cut?: boolean; secrets?: readonly Buffer[] } = {}): Promise<Running> => {
      paused = false
      known = options.secrets ?? known
      let node: ClusterNode | undefined
      const rig = createRig(
        { ...premises, disk },
        { host, membership: () => node?.membership ?? NOT_KNOWN_YET, isPaused: () => paused },
      )
      const client = etcd.client()
      if (options.cut) client.cut()
      const memory = createMemory({ facts: rig.store.facts, cluster: 'test', host: () => host })
      let created: readonly string[] = []
      node = assembleClusterNode(
        { cluster: 'test', etcd: client, secrets: known },
        {
          ...rig,
          clock: rig.ownClock,
          memory,
          recovery: {
            signer: () => ({ publicKey: `signer of ${name}`, privatePem: new Secret(''), sign: () => Buffer.alloc(0) }),
            created: () => created,
            setCreated: list => void (created = list),
            ensureWrap: async () => {},
          },
        },
      )
      running = { rig, node, client }
      const begun = memory.find() ? node.membership.begin() : Promise.resolve()
      await clock.advance(0)
      await Promise.race([begun, clock.advance(6_000)])
      rig.heartbeat.start()
      await clock.advance(0)
      return running
    }
    const get = (): Running => {
      if (!running) throw new Error(`${name} does not run`)
      return running
    }
    return {
      name,
      disk,
      start,
      get,
      isRunning: () => running !== undefined,
      join: async (wish: { replica?: boolean; force?: boolean } = {}) => {
        const joined = get().node.commands.join({ replica: wish.replica === true, force: wish.force === true })
        await clock.advance(100)
        await joined
      },
      kill() {
        running?.rig.kill()
        running?.client.close()
        running = undefined
      },
      /** SIGSTOP and SIGCONT. */
      pause() {
        paused = true
        get().client.pause()
      },
      resume() {
        paused = false
        get().rig.resume()
        get().client.resume()
      },
      kind: () => get().rig.kind(),
      role: () => get().node.membership.role(),
      token: async (permissions: Record<string, 'read' | 'write'> = { contents: 'read' }) => {
        const asked = get().rig.tokens.obtain({ profile: 'p', scope: { installation: ID(), permissions } })
        asked.catch(() => undefined)
        await settle()
        await clock.advance(0)
        return asked
      },
    }
  }
  const ID = (): number => [...world.installations.keys()][0] ?? 0

  return { premises, clock, world, etcd, app, pem, createMachine }
}

export type Machine = ReturnType<ClusterRig['createMachine']>
export type { Answer, Ask }
