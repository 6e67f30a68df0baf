// What the doctor may ask of an open store and, by the App in it, of GitHub: gently, with tokens that are at hand.

import type { Patient } from '../doctor/ask-github.ts'
import { isLive, issuerOf } from '../protocol/connection.ts'
import type { Role } from './store/generations.ts'
import { Failure } from '../protocol/errors.ts'
import { ADMIN_PROFILE, type Grant } from '../protocol/profile.ts'
import { foldName, isPattern } from '../protocol/scope.ts'
import type { Secret } from '../protocol/secret.ts'
import { isoTime } from '../protocol/wire.ts'
import type { GitHubClock } from './github/clock.ts'
import type { AppKey } from './github/request.ts'
import type { Store } from './store/database.ts'
import type { AppLink } from './connection/app-link.ts'
import { LAST_EXPORT } from './store/record-shapes.ts'
import type { Drift } from './connection/drift.ts'
import type { Recovery } from './snapshot/recovery.ts'
import type { Tokens } from './tokens/tokens.ts'

/** Of repositories that are not among the first hundred, so many are asked for by name. */
const MOST_NAMES = 20

export const createPatient = (deps: {
  store: Pick<Store, 'connection' | 'facts' | 'check' | 'hasRecoveryWrap'>
  link: Pick<AppLink, 'getAppAs' | 'listInstallations' | 'peekRepositories' | 'hasRepository' | 'findQuota'>
  tokens: Pick<Tokens, 'obtain' | 'renew' | 'rests'>
  drift: Pick<Drift, 'findRest'>
  whyNotCalling: () => Failure | undefined
  findUnwritten: () => Failure | undefined
  role: () => Role
  recovery: Pick<Recovery, 'recipients'>
  githubClock: Pick<GitHubClock, 'now'>
  readKey: (pem: string) => AppKey
}): Patient => {
  const { store, link, tokens } = deps

  /** With a token that is at hand; with a new one where GitHub takes that one no more. */
  const withToken = async <T>(installation: number, ask: (token: Secret) => Promise<T>): Promise<T> => {
    const grant: Grant = {
      profile: ADMIN_PROFILE,
      scope: { installation, permissions: { metadata: 'read' } },
    }
    const rest = tokens.rests().find(one => one.installation === installation)
    if (rest) throw new Failure('quota', `GitHub wants no calls for the installation until ${isoTime(rest.untilMs)}`)
    try {
      return await ask((await tokens.obtain(grant)).token)
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'bad-credentials') throw error
      return ask((await tokens.renew(grant)).token)
    }
  }

  return {
    connection: () => store.connection.read().connection,
    whyNotCalling: deps.whyNotCalling,
    githubNowMs: () => deps.githubClock.now(),
    vault() {
      const { generation, connection } = store.connection.read()
      return {
        generation,
        isLive: isLive(connection) && connection.kind !== 'disconnecting',
        recipients: deps.recovery.recipients(),
        isFollower: deps.role() !== 'single' && deps.role() !== 'leader',
        isWrapped: store.hasRecoveryWrap(),
        lastExport: store.facts.find(LAST_EXPORT),
      }
    },
    checkStore() {
      store.check()
      const unwritten = deps.findUnwritten()
      if (unwritten) throw unwritten
    },
    findRest: () => deps.drift.findRest(),
    proveKeys() {
      const { connection, keys } = store.connection.read()
      if (!isLive(connection)) return []
      const issuer = issuerOf(connection.app)
      return keys.map(({ fingerprint, pem }) => ({
        fingerprint,
        proof: link.getAppAs({ issuer, keys: [deps.readKey(pem.reveal())] }),
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
