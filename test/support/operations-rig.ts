// All operations over one disk and one GitHub, built as the engine builds them, to be killed and built again.

import { createSecretKey } from 'node:crypto'
import type { Account, Host } from '../../src/protocol/connection.ts'
import { Failure } from '../../src/protocol/errors.ts'
import type { Peer, Policy } from '../../src/protocol/profile.ts'
import { Secret } from '../../src/protocol/secret.ts'
import type { EventBody, TokenRequest } from '../../src/protocol/wire.ts'
import { createGitHubClock } from '../../src/core/github/clock.ts'
import type { AppKey } from '../../src/core/github/app-key.ts'
import { createEvents } from '../../src/core/audit/events.ts'
import type { Recovery } from '../../src/core/snapshot/recovery.ts'
import type { Membership } from '../../src/core/connection/membership.ts'
import type { Snapshots } from '../../src/core/snapshot/snapshots.ts'
import { createStatusReport } from '../../src/core/status.ts'
import type { Caller } from '../../src/core/tokens/token-issuer.ts'
import type { CacheLimits } from '../../src/core/tokens/token-shares.ts'
import { createAuditWriter } from '../../src/core/audit/audit-writer.ts'
import type { Clock } from '../../src/service/clock.ts'
import { type Config, parseConfig } from '../../src/service/config.ts'
import { composeConnection } from '../../src/core/engine.ts'
import type { Store } from '../../src/core/store/database.ts'
import { createFakeGitHub, World } from './fake-github.ts'
import {
  createFakeClock,
  createFakeLog,
  type Disk,
  emptyDisk,
  type FakeClock,
  openMemoryAudit,
  openMemoryStore,
} from './fakes.ts'

export const ORG: Account = { type: 'organization', login: 'Octo-Org' }
export const HERE: Host = { machineId: 'machine-1', hostname: 'ghe.example.com' }
const GITHUB_URL = 'https://github.com'
const CONFIG = parseConfig('', {
  file: 'config.toml',
  surroundings: { hostname: HERE.hostname, findUser: () => 0, findGroup: () => 0 },
})

/** The fake GitHub knows a key by its text. */
export const readFakeKey = (pem: string): AppKey => {
  if (!pem.startsWith('key ')) throw new Failure('invalid-key', 'not a key')
  return { fingerprint: pem, pem: new Secret(pem), privateKey: createSecretKey(Buffer.from(pem)) }
}

export type Premises = { readonly clock: FakeClock; readonly world: World; readonly disk: Disk }

/** What outlives a daemon. */
export const createPremises = (): Premises => {
  const clock = createFakeClock()
  return {
    clock,
    world: new World(
      () => clock.trueNow(),
      ms => clock.sleep(ms),
    ),
    disk: emptyDisk(),
  }
}

export type RigOptions = {
  policy?: Policy
  host?: Host
  /** In place of the disk in memory. */
  store?: Store
  refresh?: { beforeExpiryMs?: number; settleMs?: number }
  random?: () => number
  addresses?: { readonly url: string; readonly apiUrl: string }
  limits?: CacheLimits
  /** The process is killed right after this many more writes of the store. */
  killAfterWrites?: number
  /** Of a node of a cluster. */
  membership?: () => Membership | undefined
  /** Held up as a process that is stopped. */
  isPaused?: () => boolean
  /** Forgets a sealed bundle that waits for its identity. */
  dropWaiting?: () => void
}

export type Rig = ReturnType<typeof createRig>

export const createRig = (premises: Premises, options: RigOptions = {}) => {
  const { world, disk } = premises
  let dead = false
  let writesLeft = options.killAfterWrites ?? Number.POSITIVE_INFINITY
  let policy: Policy = options.policy ?? { profiles: [] }
  const log = createFakeLog()
  const { clock, resume } = mortalClock(premises.clock, { isDead: () => dead, isPaused: options.isPaused })
  const membership = (): Membership | undefined => options.membership?.()
  const store =
    options.store ??
    openMemoryStore(disk, () => {
      writesLeft -= 1
      if (writesLeft > 0 && !dead) return
      dead = true
      throw new Error('killed')
    })
  const guarded = options.store ?? refusingTheDead(store, () => dead)
  const told: EventBody[] = []
  const events = createEvents({ clock, log })
  events.subscribe(event => void told.push(event))
  const githubClock = createGitHubClock({ clock, offsetMs: 0, onChange() {} })
  const github = createFakeGitHub({ world, githubClock, wallNow: () => clock.now(), isDead: () => dead })
  const audit = createAuditWriter({ auditStore: openMemoryAudit(disk), clock, log })
  const host = () => options.host ?? HERE
  const { url, apiUrl } = options.addresses ?? { url: GITHUB_URL, apiUrl: 'https://api.github.com' }
  const config = (): Config => ({
    ...CONFIG,
    github: { ...CONFIG.github, url, apiUrl },
    refresh: { ...CONFIG.refresh, ...options.refresh },
    policy: { ...policy, weakPid: false },
  })
  const parts = composeConnection({
    config,
    host,
    events,
    clock,
    random: options.random ?? (() => 0),
    log,
    pageFault: () => undefined,
    store: guarded,
    audit,
    github,
    githubClock,
    membership,
    readKey: readFakeKey,
    formUrl: (account, state) =>
      account.type === 'enterprise' ? `${GITHUB_URL}/enterprises/form` : `http://127.0.0.1:8470/enable/${state}`,
    keepTime() {},
    snapshots: () => ({ ...NO_SNAPSHOTS, dropWaiting: () => options.dropWaiting?.() }),
    ...(options.limits && { limits: options.limits }),
  })
  const { connectionState, issuer } = parts
  const status = createStatusReport({
    ...parts,
    recovery: NO_RECOVERY,
    snapshots: NO_SNAPSHOTS,
    settings: () => ({ githubUrl: url, apiUrl, beforeExpiryMs: config().refresh.beforeExpiryMs }),
    proxyFor: () => undefined,
    featureWarnings: () => [],
    doubts: () => ({ settings: [], units: [] }),
    version: '0.0.0',
  })
  return {
    ...parts,
    ...premises,
    log,
    /** The node's own: no timer of a dead process fires. */
    ownClock: clock,
    resume,
    told,
    status,
    /** Whatever is thrown, at once or later, is a rejection. */
    issuer: {
      answer: async (request: TokenRequest, caller: Caller) => issuer.answer(request, caller),
      narrowTo: issuer.narrowTo,
      deny: issuer.deny,
    },
    setPolicy: (next: Policy) => void (policy = next),
    kill: () => void (dead = true),
    killAfterWrites: (count: number) => void (writesLeft = count),
    isDead: () => dead,
    kind: () => connectionState.read().connection.kind,
  }
}

const absent = (): never => {
  throw new Error('not built here')
}
export const NO_RECOVERY: Recovery = {
  recipients: () => [],
  created: () => [],
  setCreated: absent,
  add: absent,
  factsWith: absent,
  ensureWrap: absent,
  signer: () => ({ publicKey: 'none', privatePem: new Secret('none'), sign: absent }),
}
export const NO_SNAPSHOTS: Snapshots = {
  export: absent,
  restore: absent,
  unlock: absent,
  findWaiting: () => undefined,
  exportsWaiting: () => false,
  dropWaiting() {},
  adopt: absent,
  prove: async () => {},
}

/** No timer of a dead process fires. */
const mortalClock = (
  clock: FakeClock,
  { isDead, isPaused = () => false }: { isDead: () => boolean; isPaused: (() => boolean) | undefined },
): { clock: Clock; resume: () => void } => {
  const backlog: (() => void)[] = []
  const living = (task: () => void) => () => {
    if (isDead()) return
    if (isPaused()) backlog.push(task)
    else task()
  }
  const resume = (): void => {
    for (const task of backlog.splice(0)) if (!isDead()) task()
  }
  const own: Clock = {
    ...clock,
    after: (ms, task) => clock.after(ms, living(task)),
    every: (ms, task) => clock.every(ms, living(task)),
    schedule: (expression, task) => clock.schedule(expression, living(task)),
    onJump: callback => clock.onJump(ms => living(() => callback(ms))()),
  }
  return { clock: own, resume }
}

/** No write of a dead process reaches the disk. */
const refusingTheDead = (store: Store, isDead: () => boolean): Store => {
  const alive = <A extends unknown[], R>(write: (...args: A) => R) => {
    return (...args: A): R => {
      if (isDead()) throw new Error('killed')
      return write(...args)
    }
  }
  return {
    ...store,
    connection: { read: store.connection.read, write: alive(store.connection.write) },
    tokens: {
      all: store.tokens.all,
      write: alive(store.tokens.write),
      clear: alive(store.tokens.clear),
    },
    facts: { find: store.facts.find, put: alive(store.facts.put) },
    putRecoveryWrap: alive(store.putRecoveryWrap),
    replace: alive(store.replace),
  }
}

export const peerOf = (uid: number, more: Partial<Peer> = {}): Peer => ({ pid: 10, uid, gid: uid, groups: [], ...more })

export const callerOf = (peer: Peer, socket: Caller['socket'] = 'token'): Caller => ({
  socket,
  attested: { peer, assertAlive() {}, release() {} },
})

/** An App that was created, installed on ORG and connected, by import. */
export const connectedRig = async (options: RigOptions = {}) => {
  const premises = createPremises()
  const { app, pem } = premises.world.createApp(ORG)
  const installation = premises.world.install(app.id, ORG)
  const rig = createRig(premises, options)
  await rig.importApp({ appId: app.id, pem: new Secret(pem) })
  await premises.clock.advance(0)
  premises.world.calls.length = 0
  return { ...rig, rig, app, pem, installation, premises }
}
