// The measured half of the benchmark's rows of the cluster: 50 replicas, or 50 bare watchers as their floor, in this process; told by its parent when to count.

import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEtcd } from '../src/core/cluster/etcd.ts'
import { createLink } from '../src/core/cluster/link.ts'
import { createTokenCache } from '../src/core/tokens/token-cache.ts'
import { createClock } from '../src/service/clock.ts'
import { openStore } from '../src/core/store/database.ts'
import { quietLog } from './bench-parts.ts'

const CLUSTER = 'bench'
const SECRET = Buffer.from('the secret of the benchmark, which is none')

const [kind = '', count = '', endpoint = ''] = process.argv.slice(2)
const clock = createClock()
// In memory: 50 nodes do not wait for one disk.
const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'bench-replicas-'))
/** By the token's repository: when it was there, by the machine's monotonic clock, which the parent reads as well. */
const applied: { readonly name: string; readonly atNs: string }[] = []
const note = (name: string): void => void applied.push({ name, atNs: String(process.hrtime.bigint()) })

const createReplica = async (at: number): Promise<void> => {
  const storeKey = randomBytes(32)
  const store = openStore({ folder: join(folder, String(at)), storeKey, log: quietLog })
  const githubClock = { now: () => clock.now(), offsetMs: () => 0, findTold: () => undefined, learn: () => undefined }
  const cache = createTokenCache({
    store,
    clock,
    githubClock,
    log: quietLog,
    settings: () => ({ settleMs: 0 }),
    random: () => 0,
  })
  const link = createLink({
    etcd: await createEtcd({ endpoints: [endpoint], name: CLUSTER, clock, log: quietLog }),
    cluster: CLUSTER,
    secrets: [SECRET],
    node: `replica-${at}`,
    handlers: {
      onRecord() {},
      onToken({ token }) {
        cache.receive([token])
        note(token.scope.repositories?.[0] ?? '')
      },
      onAsk() {},
      onTouch() {},
      onLead() {},
      member: () => ({
        generation: 1,
        sequence: 1,
        role: 'replica',
        host: { machineId: String(at), hostname: `replica-${at}` },
        version: 'bench',
        able: false,
        mayLead: false,
      }),
    },
    clock,
    log: quietLog,
  })
  await link.start()
}

/** The client as it comes: the value is there, and nothing is made of it. */
const createWatcher = async (): Promise<void> => {
  const etcd = await createEtcd({ endpoints: [endpoint], name: CLUSTER, clock, log: quietLog })
  const { revision } = await etcd.list('')
  etcd.watch('floor/', {
    fromRevision: revision + 1n,
    onChange(changes) {
      for (const change of changes) if (change.kind === 'put') note(change.entry.key.slice('floor/'.length))
    },
    onResync() {},
  })
}

/** Milliseconds of processor, and memory, so far. */
const usage = () => {
  const { user, system } = process.cpuUsage()
  return { cpuMs: (user + system) / 1_000, rssMb: process.memoryUsage().rss / 2 ** 20 }
}

const before = usage()
for (let at = 0; at < Number(count); at++) await (kind === 'floor' ? createWatcher() : createReplica(at))
process.send?.({ ready: true, before })
process.on('disconnect', () => end())
process.on('message', message => {
  if (message === 'usage') process.send?.({ usage: usage() })
  if (message === 'applied') process.send?.({ applied: applied.splice(0) })
  if (message === 'end') end()
})

const end = (): never => {
  rmSync(folder, { recursive: true, force: true })
  return process.exit(0)
}
