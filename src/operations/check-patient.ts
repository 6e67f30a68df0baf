// What the doctor may ask of an open store and, by the App in it, of GitHub: gently, with tokens that are at hand.

import type { Asked } from '../domain/check.ts'
import type { Look } from '../domain/check-github.ts'
import { type App, type Connection, type Installation, isLive, issuerOf } from '../domain/connection.ts'
import type { Role } from '../domain/cluster.ts'
import { asFailure, Failure } from '../domain/errors.ts'
import { ADMIN_PROFILE, type Grant, type Profile } from '../domain/policy.ts'
import { foldName, isPattern } from '../domain/scope.ts'
import type { Secret } from '../domain/secret.ts'
import { isoTime } from '../domain/wire.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { AppKey } from '../github/request.ts'
import type { Store } from '../store/database.ts'
import type { AppLink } from './app-link.ts'
import { LAST_EXPORT, type Vault } from './check-local.ts'
import type { Drift } from './drift.ts'
import type { Recovery } from './recovery.ts'
import type { Tokens } from './tokens.ts'

export type Patient = {
  connection(): Connection
  /** Why no call goes out as the App, though there is one; undefined: they do. */
  findMute(): Failure | undefined
  /** By GitHub's clock, as well as it is known. */
  githubNowMs(): number
  vault(): Vault
  /** Throws what is wrong with the store's pages, or why the audit log cannot be written. */
  checkStore(): void
  /** Until when, by the wall clock, GitHub wants no calls, as a rate limit said: not the doctor's either. */
  findRest(): number | undefined
  /** Each key on its own. */
  proveKeys(): { readonly fingerprint: string; readonly proof: Promise<App> }[]
  listInstallations(): Promise<readonly Installation[]>
  /** Throws what a token of the installation meets. */
  look(of: { installation: Installation; profiles: readonly Profile[] }): Promise<Look>
}

/** Of repositories that are not among the first hundred, so many are asked for by name. */
const MOST_NAMES = 20

export const createPatient = (deps: {
  store: Pick<Store, 'connection' | 'facts' | 'check' | 'hasRecoveryWrap'>
  link: Pick<AppLink, 'getAppAs' | 'listInstallations' | 'peekRepositories' | 'hasRepository' | 'findQuota'>
  tokens: Pick<Tokens, 'obtain' | 'renew' | 'rests'>
  drift: Pick<Drift, 'findRest'>
  findMute: () => Failure | undefined
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
    findMute: deps.findMute,
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

/** How a question ended, by `untilMs` of the monotonic clock at the latest. Never rejects; what comes later is nobody's any more. */
export const within = async <T>(
  question: Promise<T>,
  {
    clock,
    untilMs,
    what,
  }: {
    clock: { monotonic(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> }
    untilMs: number
    what: string
  },
): Promise<Asked<T>> => {
  const beganMs = clock.monotonic()
  const tookMs = (): number => clock.monotonic() - beganMs
  const answered = new AbortController()
  const late = clock.sleep(Math.max(0, untilMs - beganMs), answered.signal).then((): Asked<T> => {
    const failure = new Failure('timeout', `${what} did not answer in ${Math.round(tookMs() / 100) / 10} s`)
    return { failure, tookMs: tookMs() }
  })
  const answer = question.then(
    (value): Asked<T> => ({ value, tookMs: tookMs() }),
    (error: unknown): Asked<T> => ({ failure: asFailure(error), tookMs: tookMs() }),
  )
  try {
    return await Promise.race([answer, late])
  } finally {
    answered.abort()
  }
}
