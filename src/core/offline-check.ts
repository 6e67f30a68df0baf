// The doctor without the daemon: what can be seen from a process of the command line, and what cannot.

import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { checkConfig } from './config-check.ts'
import { isLive } from '../protocol/connection.ts'
import { failed, OF_GITHUB, OF_NETWORK, skipAll } from '../doctor/check-rules.ts'
import { orderRows } from '../protocol/wire-check.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import { isoTime } from '../protocol/wire.ts'
import type { CheckReport } from '../protocol/wire-check.ts'
import { createDoctor } from '../doctor/check.ts'
import type { Vault } from '../doctor/check-local.ts'
import { LAST_EXPORT } from './store/record-shapes.ts'
import { recipientsOf } from './snapshot/recovery.ts'
import { createClock } from '../service/clock.ts'
import { type Config, loadConfig, type Surroundings } from '../service/config.ts'
import { doubtsIn, refusalOf } from '../service/config-findings.ts'
import { NO_PROXY, type OfflineProxy, proxyWithoutDaemon } from './offline-proxy.ts'
import { createOutbound } from './outbound/outbound.ts'
import { actAs, ownerOf } from '../service/owner.ts'
import { unitDoubts } from '../service/unit-files.ts'
import { VERSION } from '../service/version.ts'
import { findRecoveryWrap, readStore, type StoreContent } from './store/database.ts'
import { storeKeyWithoutDaemon } from './store/machine-key.ts'

export type OfflineCheckOptions = {
  readonly configFile: string
  readonly env: NodeJS.ProcessEnv
  readonly surroundings: Surroundings
}

const ABSENT = 'the daemon does not answer'

/** Its state is `daemon-absent`, and its verdict that of a daemon that is down. Never throws for what it is to find. */
export const checkOffline = async ({ configFile, env, surroundings }: OfflineCheckOptions): Promise<CheckReport> => {
  const clock = createClock()
  let config: Config
  let proxy: OfflineProxy
  let outbound: ReturnType<typeof createOutbound>
  const { findings } = await checkConfig({ configFile, env, surroundings })
  try {
    const refusal = refusalOf(findings)
    if (refusal) throw refusal
    config = loadConfig(configFile, surroundings)
    proxy = proxyWithoutDaemon(config.proxy, env)
    outbound = createOutbound(proxy.unknown === undefined ? proxy.settings : NO_PROXY)
  } catch (error) {
    return reportOf(asFailure(error), isoTime(clock.now()))
  }
  const stored = await readContent(config, env)
  try {
    const doctor = createDoctor({
      clock,
      standing: () => ({ state: 'daemon-absent', meaning: ABSENT, next: '' }),
      examine: outbound.examine,
      userAgent: `ghconnect/${VERSION}`,
      addresses: () => config.github,
      profiles: () => config.policy.profiles,
      configuration: () => ({
        file: config.file,
        profiles: config.policy.profiles.length,
        doubts: [...doubtsIn(findings), ...unitDoubts(config.policy)],
      }),
      examineStore() {
        if (stored instanceof Failure) throw stored
        return stored ? 'It is read, and the store key opens it.' : 'None was made yet: the first start makes it.'
      },
      vault: () => (stored instanceof Failure ? undefined : vaultOf(config, stored)),
      silence() {
        if (proxy.unknown !== undefined) return proxy.unknown
        const isQuiet = !(stored instanceof Failure) && stored?.record.connection.kind === 'quarantined'
        return isQuiet ? 'the credentials are quarantined, and no call goes out' : undefined
      },
      patient: () => ABSENT,
    })
    return { ...(await doctor.check()), verdict: 'failed' }
  } finally {
    outbound.close()
  }
}

const reportOf = (failure: Failure, checkedAt: string): CheckReport => ({
  verdict: 'failed',
  state: 'daemon-absent',
  checked_at: checkedAt,
  took_ms: 0,
  rows: orderRows([
    failed({ layer: 'configuration' }, failure),
    ...skipAll(
      ['store', 'recovery-key', 'backup', ...OF_NETWORK, ...OF_GITHUB, 'cluster'],
      'the configuration cannot be read',
    ),
  ]),
})

/** Undefined where no store was made yet. As its owner, as SQLite may leave a file beside it. */
const readContent = async (config: Config, env: NodeJS.ProcessEnv): Promise<StoreContent | Failure | undefined> => {
  const { state } = config.paths
  try {
    accessSync(state, constants.R_OK | constants.X_OK)
    const storeKey = storeKeyWithoutDaemon(config, env)
    return await actAs(ownerOf(state), async () => readStore({ folder: join(state, 'store'), storeKey }))
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') return undefined
    if (code === 'EACCES') return new Failure('not-permitted', `${state} is for root and the daemon's user only`)
    return asFailure(error)
  }
}

const vaultOf = (config: Config, content: StoreContent | undefined): Vault => {
  const findFact = (name: string): unknown => content?.findFact(name)
  return {
    generation: content?.record.generation ?? 0,
    isLive: content !== undefined && isLive(content.record.connection),
    recipients: recipientsOf(config.snapshot.recipients, findFact),
    isFollower: false,
    isWrapped: findRecoveryWrap(join(config.paths.state, 'store')) !== undefined,
    lastExport: findFact(LAST_EXPORT),
  }
}
