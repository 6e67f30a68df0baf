// What the doctor asks of a running daemon: the store as it is open, or why it is not; and GitHub gently, with cached tokens.

import { join } from 'node:path'
import type { AppProbe, Probe, StoreFacts } from '../doctor/probe.ts'
import { isLive, issuerOf } from '../protocol/connection.ts'
import { Failure } from '../protocol/errors.ts'
import { ADMIN_PROFILE, type Grant } from '../protocol/profile.ts'
import { foldName, isPattern } from '../protocol/scope.ts'
import type { Secret } from '../protocol/secret.ts'
import { isoTime } from '../protocol/wire.ts'
import { unitDoubts } from '../service/units.ts'
import { VERSION } from '../service/process.ts'
import type { Context, Engine } from './engine.ts'
import { readDatabaseKey } from './store/database.ts'
import { storeKeyOf } from './store/machine-key.ts'
import { LAST_EXPORT } from './store/records.ts'

/** `engine`: of the store that is open; throws why none is. */
export const createProbe = (
  deps: Pick<Context, 'config' | 'env' | 'clock' | 'refused' | 'doubts'> & {
    readonly outbound: Pick<Context['outbound'], 'examine'>
    readonly standing: Probe['standing']
    readonly engine: () => Engine
  },
): Probe => {
  const { config, env, clock, engine } = deps
  const whileOpen = <T>(ask: (opened: Engine) => T): T | undefined => {
    let opened: Engine
    try {
      opened = engine()
    } catch (error) {
      if (error instanceof Failure) return undefined
      throw error
    }
    return ask(opened)
  }
  return {
    clock,
    standing: deps.standing,
    examine: deps.outbound.examine,
    userAgent: `ghconnectd/${VERSION}`,
    addresses: () => config().github,
    profiles: () => config().policy.profiles,
    configuration() {
      const { file, policy } = config()
      return { file, refused: deps.refused(), doubts: [...deps.doubts(), ...unitDoubts(policy)] }
    },
    examineStore() {
      const opened = engine()
      // The key as the next start would find it, and not as it was at the last one.
      readDatabaseKey({ folder: join(config().paths.state, 'store'), storeKey: storeKeyOf(config(), env) })
      checkStore(opened)
      return 'Each page is whole, and the store key opens it.'
    },
    findStore: () => whileOpen(readStoreFacts),
    cluster: async () => whileOpen(askCluster) ?? 'the store is closed',
    whyNotCalling: () =>
      whileOpen(({ store, whyNotCalling }) => {
        const mute = whyNotCalling()
        if (mute) return `${mute.entry.title}: ${mute.message}`
        const { kind } = store.connection.read().connection
        return kind === 'quarantined' ? QUARANTINED : undefined
      }),
    app: () => whileOpen(opened => whyNotApp(opened) ?? probeApp(opened)) ?? 'the store is closed',
  }
}

export const QUARANTINED = 'the credentials are quarantined, and no call goes out'

const askCluster = async ({ cluster }: Engine) => {
  try {
    return (await cluster()).status()
  } catch (error) {
    if (error instanceof Failure && error.code === 'cluster-member') return 'this is a single node'
    throw error
  }
}

const whyNotApp = ({ store }: Pick<Engine, 'store'>): string | undefined => {
  const { kind } = store.connection.read().connection
  if (kind === 'disconnecting') return 'a disable is under way'
  return kind === 'disconnected' || kind === 'awaiting-app' || kind === 'key-lost' ? 'no App is stored' : undefined
}

/** Throws what is wrong with the store's pages, or why the audit log cannot be written. */
export const checkStore = ({ store, audit }: Pick<Engine, 'store' | 'audit'>): void => {
  store.check()
  const unwritten = audit.findTrouble()
  if (unwritten) throw unwritten
}

export const readStoreFacts = ({
  store,
  recovery,
  membership,
}: Pick<Engine, 'store' | 'membership'> & {
  readonly recovery: Pick<Engine['recovery'], 'recipients'>
}): StoreFacts => {
  const { generation, connection } = store.connection.read()
  const role = membership()?.role() ?? 'single'
  return {
    generation,
    isLive: isLive(connection) && connection.kind !== 'disconnecting',
    recipients: recovery.recipients(),
    isFollower: role !== 'single' && role !== 'leader',
    isWrapped: store.hasRecoveryWrap(),
    lastExport: store.facts.find(LAST_EXPORT),
  }
}

/** Of repositories that are not among the first hundred, so many are asked for by name. */
const MOST_NAMES = 20

export const probeApp = (
  parts: Pick<Engine, 'store' | 'link' | 'tokens' | 'drift' | 'githubClock' | 'readKey'>,
): AppProbe => {
  const { store, link, tokens } = parts

  /** With a cached token; with a new one where GitHub no longer accepts that one. */
  const withToken = async <T>(installation: number, ask: (token: Secret) => Promise<T>): Promise<T> => {
    const grant: Grant = {
      profile: ADMIN_PROFILE,
      scope: { installation, permissions: { metadata: 'read' } },
    }
    const rest = tokens.waits().find(one => one.installation === installation)
    if (rest) throw new Failure('quota', `GitHub wants no calls for the installation until ${isoTime(rest.untilMs)}`)
    try {
      return await ask((await tokens.obtain(grant)).token)
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'bad-credentials') throw error
      return ask((await tokens.renew(grant)).token)
    }
  }

  return {
    isAwaited: () => store.connection.read().connection.kind === 'awaiting-installation',
    githubNowMs: () => parts.githubClock.now(),
    findRest: () => parts.drift.findRest(),
    proveKeys() {
      const { connection, keys } = store.connection.read()
      if (!isLive(connection)) return []
      const issuer = issuerOf(connection.app)
      return keys.map(({ fingerprint, pem }) => ({
        fingerprint,
        proof: link.getAppAs({ issuer, keys: [parts.readKey(pem.reveal())] }),
      }))
    },
    listInstallations: () => link.listInstallations(),
    look: ({ installation, profiles }) =>
      withToken(installation.id, async token => {
        const { total, names } = await link.peekRepositories(token, installation.id)
        const seen = new Set(names.map(foldName))
        const named = new Set(
          profiles.flatMap(({ repositories = [] }) => repositories.filter(name => !isPattern(name))),
        )
        const unknown = [...named].filter(name => !seen.has(foldName(name)))
        const isWhole = total <= names.length
        // An enterprise is no owner of repositories.
        const asked = isWhole || installation.account.type === 'enterprise' ? [] : unknown.slice(0, MOST_NAMES)
        const owner = installation.account.login
        const found = await Promise.all(
          asked.map(name => link.hasRepository(token, { installation: installation.id, owner, name })),
        )
        const quota = link.findQuota(installation.id)
        return {
          total,
          missing: isWhole ? unknown : asked.filter((_, at) => !found[at]),
          unasked: isWhole ? 0 : unknown.length - asked.length,
          ...(quota && { quota }),
        }
      }),
  }
}
