// The one door to GitHub's API: Octokit over the outbound door, its answers told apart from those of proxies, its refusals named.

import type { Octokit } from '@octokit/core'
import type { App, Installation } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import type { Scope } from '../../protocol/scope.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { Clock } from '../../service/clock.ts'
import type { Fields, Log } from '../../service/log.ts'
import type { Outbound } from '../outbound/outbound.ts'
import type { ConvertedApp, Listed, MintedToken, Repository, Schemas } from './answers.ts'
import { createSchemas, readAnswer, toMinted } from './answers.ts'
import type { AppKey } from './app-jwt.ts'
import { createAppJwts } from './app-jwt.ts'
import type { GitHubClock } from './clock.ts'
import { createConditional } from './conditional.ts'
import { createGenuineFetch, findFailure } from './genuine.ts'
import { PAGE_SIZE, readPages } from './installations.ts'
import { createKeyVerdicts, type KeyState } from './key-verdicts.ts'
import type { Quota } from './quotas.ts'
import { createQuotas } from './quotas.ts'
import { NO_CACHE, octokitLog, readRefusal } from './octokit-shapes.ts'
import type { Answer, AnswerHeaders } from './refusals.ts'
import { classify } from './refusals.ts'
import { createSurvey, type Survey } from './survey.ts'

export type { ConvertedApp, Listed, MintedToken, Repository } from './answers.ts'
export type { AppKey } from './app-jwt.ts'
export type { KeyState } from './key-verdicts.ts'
export type { Quota } from './quotas.ts'

/** As whom to call: `issuer` is App ID or client ID; the first key signs, the others are tried where GitHub rejects it. */
export type AppIdentity = { readonly issuer: string; readonly keys: readonly AppKey[] }

/** All methods throw a Failure of the catalogue, whose detail bears what GitHub said and its request id. */
export type GitHub = Survey & {
  /** `POST /app-manifests/{code}/conversions`, without credentials. Throws `code-rejected` where GitHub says 404 or 422. */
  convertManifest(code: string): Promise<ConvertedApp>
  /** `GET /`, without credentials: an address on GitHub's pages as the API's root names it. Undefined where it names none. */
  findPagesUrl(): Promise<string | undefined>
  getApp(as: AppIdentity): Promise<App>
  /** `known`: as they were last; one whose entry cannot be read is as it was, as that says nothing of its end. */
  listInstallations(as: AppIdentity, known?: readonly Installation[]): Promise<readonly Installation[]>
  getInstallation(as: AppIdentity, id: number): Promise<Installation>
  /** Mints a new token each time: nothing is cached here. */
  mint(as: AppIdentity, scope: Scope): Promise<MintedToken>
  /**
   * Resolves when GitHub refuses the token from now on, also where it did so before. A 401 for a token minted moments ago may
   * come from a replica that does not know it yet: that throws `bad-credentials`, to be tried again.
   */
  revoke(token: Secret): Promise<void>
  /** Whether GitHub accepts the token at this moment. */
  accepts(token: Secret): Promise<boolean>
  listRepositories(token: Secret): Promise<Listed<Repository>>
  /** Resolves when the App is not installed there (any more), be it that the App is gone, or when GitHub has taken the order (202). */
  uninstall(as: AppIdentity, id: number): Promise<void>
  /** What GitHub last said of an installation's quota, if it did. */
  findQuota(installation: number): Quota | undefined
  /** When an installation was changed last, as the last list said: a hint to look at its repositories. */
  findChangedMs(installation: number): number | undefined
  /** What GitHub last said of a key of the App, by its fingerprint. */
  keyState(fingerprint: string): KeyState
}

export type GitHubSettings = {
  readonly apiUrl: string
  readonly apiVersion: string
  readonly statelessTokens: 'default' | 'enabled' | 'disabled'
}

type Parameters = Readonly<Record<string, unknown>>

/** Longer than GitHub's replicas need to learn of a new token. */
const REPLICATION_MS = 30_000
const MOST_REPOSITORIES = 500
/** Refusals of a caller that GitHub knows. */
const OF_THE_KNOWN = new Set([304, 403, 422, 429])
const MOST_WARNINGS = 200
const INSTALLATION = '/app/installations/{installation_id}'

export const createGitHub = (deps: {
  outbound: Pick<Outbound, 'fetch'>
  clock: Clock
  githubClock: GitHubClock
  settings: () => GitHubSettings
  log: Log
  userAgent: string
  /** Told of each call's end; `answered`: by GitHub itself. */
  onCall?: (call: { route: string; seconds: number; answered: boolean }) => void
}): GitHub => {
  const { clock, githubClock, log } = deps
  const jwts = createAppJwts(githubClock)
  const quotas = createQuotas(() => githubClock.now())
  const verdicts = createKeyVerdicts(() => clock.monotonic())
  const minted = new WeakMap<Secret, { installation: number; atMs: number }>()
  const warned = new Set<string>()
  const conditional = createConditional()
  const changedMs = new Map<number, number>()
  let built: Schemas | undefined
  /** Built with the first answer: a start reads none. */
  const schemas = (): Schemas => (built ??= createSchemas({ warn, pagesUrl: () => pagesOf(deps.settings().apiUrl) }))
  /** Once for each: what is new at GitHub stays there. */
  const warnOnce = (what: string, message: string, fields?: Fields): void => {
    if (warned.has(what) || warned.size >= MOST_WARNINGS) return
    warned.add(what)
    log.warn(message, fields)
  }
  const warn = (what: string): void =>
    warnOnce(what, 'GitHub answers with something that this version does not know; it is left aside', { what })
  /** For what GitHub is to remove. Without a log of its own a request writes that to the console, with its whole address. */
  const requestLog = (route: string) => ({
    ...octokitLog(log),
    warn(message: string) {
      const told = message.replace(/"[^"]*"/, `"${route}"`)
      warnOnce(told, told)
    },
  })

  /** Cheap, and made for each call, so that changed settings hold for the next one. */
  const octokitFor = async (route: string, signer?: { issuer: string; key: AppKey }): Promise<Octokit> => {
    // Loaded with the first call: a start, and a machine that is not connected, need none of it.
    const [{ Octokit }, { createAppAuth }] = await Promise.all([import('@octokit/core'), import('@octokit/auth-app')])
    const { apiUrl, apiVersion } = deps.settings()
    const headers = { 'user-agent': deps.userAgent, 'x-github-api-version': apiVersion }
    return new Octokit({
      baseUrl: apiUrl.replace(/\/+$/, ''),
      log: octokitLog(log),
      request: { fetch: createGenuineFetch({ ...deps, route, headers }), log: requestLog(route) },
      ...(signer && {
        authStrategy: createAppAuth,
        auth: {
          appId: signer.issuer,
          // The time difference that auth-app offers is not needed: GitHub's clock has learned from the same answer.
          createJwt: async () => jwts.issue(signer.issuer, signer.key),
          cache: NO_CACHE,
        },
      }),
    })
  }

  const ask = async (
    octokit: Octokit,
    route: string,
    parameters: Parameters,
    installation?: number,
  ): Promise<Answer> => {
    const note = (headers: AnswerHeaders) => installation !== undefined && quotas.note(installation, headers)
    const beganMs = clock.monotonic()
    const ended = (answered: boolean) =>
      deps.onCall?.({ route, seconds: (clock.monotonic() - beganMs) / 1000, answered })
    try {
      const { status, headers, data } = await octokit.request(route, parameters)
      ended(true)
      note(headers)
      return { status, headers, body: data, route }
    } catch (thrown) {
      const failure = findFailure(thrown)
      const refused = failure ? undefined : readRefusal(thrown)
      ended(refused !== undefined)
      if (failure) throw failure
      if (!refused) throw asFailure(thrown)
      // Whom it does not know, or did not look at, GitHub tells the limit of anybody: 60 an hour.
      if (OF_THE_KNOWN.has(refused.status)) note(refused.headers)
      if (refused.status === 304) return { ...refused, route }
      throw classify({ ...refused, route })
    }
  }

  const askAsApp = async (
    as: AppIdentity,
    route: string,
    parameters: Parameters = {},
    installation?: number,
  ): Promise<Answer> => {
    let rejected: Failure | undefined
    for (const key of verdicts.inOrder(as.keys)) {
      try {
        const answer = await ask(await octokitFor(route, { issuer: as.issuer, key }), route, parameters, installation)
        verdicts.note(key, 'works')
        if (rejected && !warned.has(key.fingerprint)) {
          warned.add(key.fingerprint)
          log.warn('GitHub rejects the first key of the App; another one works', {
            rejected: as.keys[0]?.fingerprint,
            works: key.fingerprint,
          })
        }
        return answer
      } catch (error) {
        if (!isRefusal(error, 'key-rejected')) throw error
        verdicts.note(key, 'rejected')
        rejected ??= error
      }
    }
    throw rejected ?? new Failure('internal', 'an App identity without a key')
  }

  /** What is looked at again and again; that it is as before costs no quota. */
  const lookAsApp = async <T>(
    as: AppIdentity,
    { route, parameters = {} }: { route: string; parameters?: Parameters },
    read: (answer: Answer) => T,
  ): Promise<T> => {
    const key = JSON.stringify([deps.settings().apiUrl, as.issuer, route, parameters])
    const answer = await askAsApp(as, route, { ...parameters, headers: conditional.headersFor(key) })
    return conditional.resolve(key, answer, read)
  }

  const askWithToken = async (
    token: Secret,
    route: string,
    parameters: Parameters = {},
    installation: number | undefined = minted.get(token)?.installation,
  ): Promise<Answer> => {
    const headers = { authorization: `Bearer ${token.reveal()}` }
    return ask(await octokitFor(route), route, { ...parameters, headers }, installation)
  }

  return {
    ...createSurvey(askWithToken, schemas),

    async convertManifest(code) {
      const route = 'POST /app-manifests/{code}/conversions'
      return readAnswer(schemas().conversion, await ask(await octokitFor(route), route, { code }))
    },

    async findPagesUrl() {
      const route = 'GET /'
      return readAnswer(schemas().root, await ask(await octokitFor(route), route, {}))
    },

    async getApp(as) {
      return lookAsApp(as, { route: 'GET /app' }, answer => readAnswer(schemas().app, answer))
    },

    async listInstallations(as, known = []) {
      const unread = new Set<number | undefined>()
      const readPage = (answer: Answer) => {
        for (const { id, updated_at: atMs } of schemas().changeTimes.safeParse(answer.body).data?.items ?? [])
          changedMs.set(id, atMs ?? 0)
        const items = readAnswer(schemas().installations, answer).map(entry => {
          if (entry && 'unread' in entry) unread.add(entry.unread)
          return entry && 'id' in entry ? entry : undefined
        })
        return { items, headers: answer.headers }
      }
      const found = await readPages(page =>
        lookAsApp(as, { route: 'GET /app/installations', parameters: { per_page: PAGE_SIZE, page } }, readPage),
      )
      const mayBeUnread = ({ id }: Installation): boolean => unread.has(id) || unread.has(undefined)
      return [...found, ...known.filter(one => mayBeUnread(one) && !found.some(({ id }) => id === one.id))]
    },

    async getInstallation(as, id) {
      return readAnswer(schemas().installation, await askAsApp(as, `GET ${INSTALLATION}`, { installation_id: id }))
    },

    async mint(as, scope) {
      const { installation, repositories, permissions } = scope
      assertMintable(scope)
      const { statelessTokens } = deps.settings()
      const answer = await askAsApp(
        as,
        `POST ${INSTALLATION}/access_tokens`,
        {
          installation_id: installation,
          ...(repositories && { repositories }),
          ...(permissions && { permissions }),
          ...(statelessTokens !== 'default' && { headers: { 'x-github-stateless-s2s-token': statelessTokens } }),
        },
        installation,
      )
      const token = toMinted(readAnswer(schemas().token, answer), scope)
      minted.set(token.token, { installation, atMs: clock.monotonic() })
      return token
    },

    async revoke(token) {
      try {
        await askWithToken(token, 'DELETE /installation/token')
      } catch (error) {
        const mint = minted.get(token)
        const isFresh = mint !== undefined && clock.monotonic() - mint.atMs < REPLICATION_MS
        if (!isRefusal(error, 'bad-credentials') || isFresh) throw error
      }
      minted.delete(token)
    },

    async accepts(token) {
      try {
        await askWithToken(token, 'GET /installation/repositories', { per_page: 1 })
        return true
      } catch (error) {
        if (isRefusal(error, 'bad-credentials', 'forbidden', 'suspended')) return false
        throw error
      }
    },

    async listRepositories(token) {
      let isWhole = true
      const items = await readPages(async page => {
        const answer = await askWithToken(token, 'GET /installation/repositories', { per_page: PAGE_SIZE, page })
        const list = readAnswer(schemas().repositories, answer)
        isWhole &&= list.isWhole
        return { items: list.items, headers: answer.headers }
      })
      return { items, isWhole }
    },

    async uninstall(as, id) {
      try {
        await askAsApp(as, `DELETE ${INSTALLATION}`, { installation_id: id })
      } catch (error) {
        if (!isRefusal(error, 'installation-not-found', 'app-not-found')) throw error
      }
    },

    findQuota: installation => quotas.find(installation),
    findChangedMs: installation => changedMs.get(installation),
    keyState: fingerprint => verdicts.find(fingerprint),
  }
}

/** GitHub reads an empty list as no restriction at all, which is the opposite of what it says. */
const assertMintable = ({ repositories, permissions }: Scope): void => {
  if (repositories && (repositories.length === 0 || repositories.length > MOST_REPOSITORIES)) {
    throw new Failure(
      'invalid-request',
      `a token is for 1 to ${MOST_REPOSITORIES} repositories, or for all without a list`,
    )
  }
  if (permissions && Object.keys(permissions).length === 0) {
    throw new Failure('invalid-request', 'a token has at least one permission, or all without a list')
  }
}

/** Where GitHub's pages are, by the address of its API: `api.HOST`, or `HOST/api/v3`. */
const pagesOf = (apiUrl: string): string => {
  const { protocol, host } = new URL(apiUrl)
  return `${protocol}//${host.replace(/^api\./, '')}`
}

const isRefusal = (error: unknown, ...codes: readonly Failure['code'][]): error is Failure =>
  error instanceof Failure && codes.includes(error.code)
