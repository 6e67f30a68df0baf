// One call to GitHub's API: Octokit over the outbound door. Only GitHub's own answers come through, and what their headers say is remembered.

import type { Octokit } from '@octokit/core'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { createHistogram, type Histogram } from '../../protocol/histogram.ts'
import type { Clock } from '../../service/clock.ts'
import type { Fields, Log } from '../../service/log.ts'
import type { Fetch, Outbound } from '../outbound/outbound.ts'
import { type AppKey, createAppJwts, createKeyVerdicts } from './app-key.ts'
import type { GitHubClock } from './clock.ts'
import { type Answer, type AnswerHeaders, classify, isGitHubs, textOf } from './refusals.ts'

/** As whom to call: `issuer` is App ID or client ID; the first key signs, the others are tried where GitHub rejects it. */
export type AppIdentity = { readonly issuer: string; readonly keys: readonly AppKey[] }

export type GitHubSettings = {
  readonly apiUrl: string
  readonly apiVersion: string
  readonly statelessTokens: 'default' | 'enabled' | 'disabled'
}

export type Parameters = Readonly<Record<string, unknown>>

/** Refusals of a caller that GitHub knows. */
const OF_THE_KNOWN = new Set([304, 403, 422, 429])
const MOST_WARNINGS = 200
/** Pages of installations and the App itself; what is more is forgotten, and asked for in whole. */
const MOST_ETAGS = 32
/** auth-app takes scopes for one another in its cache of tokens: it keeps none. */
const NO_CACHE = { get: () => undefined, set: () => undefined }

export type CallDeps = {
  outbound: Pick<Outbound, 'fetch'>
  clock: Clock
  githubClock: GitHubClock
  settings: () => GitHubSettings
  log: Log
  userAgent: string
  /** Told of each call's end; `answered`: by GitHub itself, even if with a refusal. */
  onCall?: (call: { route: string; seconds: number; answered: boolean }) => void
}

export const createCalls = (deps: CallDeps) => {
  const { clock, githubClock, log } = deps
  const jwts = createAppJwts(githubClock)
  const verdicts = createKeyVerdicts(() => clock.monotonic())
  const quotas = createQuotas(() => githubClock.now())
  const warned = new Set<string>()
  const remembered = new Map<string, { readonly etag: string; readonly answer: Answer }>()

  /** Once for each: what is new at GitHub stays there. */
  const warnOnce = (what: string, message: string, fields?: Fields): void => {
    if (warned.has(what) || warned.size >= MOST_WARNINGS) return
    warned.add(what)
    log.warn(message, fields)
  }

  /** Cheap, and made for each call, so that changed settings hold for the next one. */
  const octokitFor = async (route: string, signer?: { issuer: string; key: AppKey }): Promise<Octokit> => {
    // Loaded with the first call: a start, and a machine that is not connected, need none of it.
    const [{ Octokit }, { createAppAuth }] = await Promise.all([import('@octokit/core'), import('@octokit/auth-app')])
    const { apiUrl, apiVersion } = deps.settings()
    const headers = { 'user-agent': deps.userAgent, 'x-github-api-version': apiVersion }
    const requestLog = {
      ...log,
      /** For what GitHub is to remove: its address may hold a code, so that the route stands for it. */
      warn(message: string) {
        const told = message.replace(/"[^"]*"/, `"${route}"`)
        warnOnce(told, told)
      },
    }
    return new Octokit({
      baseUrl: apiUrl.replace(/\/+$/, ''),
      log,
      request: { fetch: genuineFetch({ ...deps, route, headers }), log: requestLog },
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

  const request = async (
    octokit: Octokit,
    route: string,
    { parameters, installation }: { parameters: Parameters; installation?: number | undefined },
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
      const refused = failure ? undefined : refusalIn(thrown)
      ended(refused !== undefined)
      if (failure) throw failure
      if (!refused) throw asFailure(thrown)
      // Whom it does not know, or did not look at, GitHub tells the limit of anybody: 60 an hour.
      if (OF_THE_KNOWN.has(refused.status)) note(refused.headers)
      if (refused.status === 304) return { ...refused, route }
      throw classify({ ...refused, route })
    }
  }

  const asApp = async (
    as: AppIdentity,
    route: string,
    { parameters = {}, installation }: { parameters?: Parameters; installation?: number } = {},
  ): Promise<Answer> => {
    let rejected: Failure | undefined
    for (const key of verdicts.inOrder(as.keys)) {
      try {
        const octokit = await octokitFor(route, { issuer: as.issuer, key })
        const answer = await request(octokit, route, { parameters, installation })
        verdicts.note(key, 'works')
        if (rejected) {
          warnOnce(key.fingerprint, 'GitHub rejects the first key of the App; another one works', {
            rejected: as.keys[0]?.fingerprint,
            works: key.fingerprint,
          })
        }
        return answer
      } catch (error) {
        if (!(error instanceof Failure) || error.code !== 'key-rejected') throw error
        verdicts.note(key, 'rejected')
        rejected ??= error
      }
    }
    throw rejected ?? new Failure('internal', 'an App identity without a key')
  }

  return {
    asApp,

    /**
     * What is looked at again and again is asked for by its ETag: that it is as before costs no quota. Gives what `read` makes of the answer
     * that counts, after a 304 of the earlier one. An answer is remembered only if `read` does not throw: one that was cut has the ETag of the whole.
     */
    async lookAsApp<T>(
      as: AppIdentity,
      { route, parameters = {} }: { route: string; parameters?: Parameters },
      read: (answer: Answer) => T,
    ): Promise<T> {
      const key = JSON.stringify([deps.settings().apiUrl, as.issuer, route, parameters])
      const known = remembered.get(key)
      const headers = known ? { 'if-none-match': known.etag } : {}
      const answer = await asApp(as, route, { parameters: { ...parameters, headers } })
      if (answer.status === 304 && known) return read(known.answer)
      remembered.delete(key)
      const content = read(answer)
      const etag = textOf(answer.headers, 'etag')
      if (etag !== '' && answer.status === 200) {
        if (remembered.size >= MOST_ETAGS) remembered.clear()
        remembered.set(key, { etag, answer })
      }
      return content
    },

    /** Without credentials, or with those of `headers`. */
    async plain(
      route: string,
      options: { parameters: Parameters; installation?: number | undefined },
    ): Promise<Answer> {
      return request(await octokitFor(route), route, options)
    },

    /** What GitHub answers beyond what this version knows. */
    warnOfUnknown: (what: string): void =>
      warnOnce(what, 'GitHub answers with something that this version does not know; it is left aside', { what }),
    findQuota: quotas.find,
    keyState: verdicts.find,
  }
}

/**
 * `fetch` for Octokit that lets only GitHub's own answers through, and learns GitHub's clock from them. Throws an error whose cause is the
 * Failure. Its own message is empty of meaning on purpose: auth-app reads messages, and what a portal writes must not look like a refusal
 * of GitHub's.
 */
const genuineFetch =
  ({
    outbound,
    clock,
    githubClock,
    route,
    headers,
  }: CallDeps & { route: string; headers: Readonly<Record<string, string>> }): Fetch =>
  async (url, init) => {
    const sentAtMs = clock.now()
    try {
      const response = await outbound.fetch(url, { ...init, headers: { ...init?.headers, ...headers } })
      const answered = Object.fromEntries(response.headers)
      if (!isGitHubs(answered)) {
        // For the title of a portal's page alone: a body that breaks off is no further trouble.
        const body = await response.text().catch(() => '')
        throw classify({ status: response.status, headers: answered, body, route })
      }
      const date = response.headers.get('date')
      if (date) githubClock.learn(date, sentAtMs)
      return response
    } catch (error) {
      throw noAnswer(error)
    }
  }

/** What the outbound door did not name happened on the network, unless it is an error of the disk or the program. */
const noAnswer = (error: unknown): Error => {
  const isNetwork = error instanceof TypeError
  const cause = isNetwork ? new Failure('unreachable', 'the call to GitHub failed', { cause: error }) : asFailure(error)
  return new Error('no answer of GitHub', { cause })
}

/** The Failure somewhere below what Octokit threw, if there is one. */
const findFailure = (thrown: unknown): Failure | undefined => {
  let current = thrown
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    if (current instanceof Failure) return current
    current = current.cause
  }
  return undefined
}

/** The answer in Octokit's RequestError, which is known by its shape. */
const refusalIn = (thrown: unknown): Omit<Answer, 'route'> | undefined => {
  const response: unknown = thrown instanceof Error && 'response' in thrown ? thrown.response : undefined
  if (typeof response !== 'object' || response === null) return undefined
  if (!('status' in response && 'headers' in response && 'data' in response)) return undefined
  const { status, headers, data } = response
  if (typeof status !== 'number' || typeof headers !== 'object' || headers === null) return undefined
  return { status, headers: Object.fromEntries(Object.entries(headers)), body: data }
}

export type Quota = { readonly limit: number; readonly remaining: number; readonly resetAtMs: number }

/** What is left of each installation's rate limit, as the headers of GitHub's last answer said. */
export const createQuotas = (githubNow: () => number) => {
  const quotas = new Map<number, Quota>()
  return {
    note(installation: number, headers: AnswerHeaders): void {
      const limit = countOf(headers, 'x-ratelimit-limit')
      const remaining = countOf(headers, 'x-ratelimit-remaining')
      const resetS = countOf(headers, 'x-ratelimit-reset')
      if (limit === undefined || remaining === undefined || resetS === undefined) return
      // Other resources (search, graphql) have limits of their own.
      if (!['', 'core'].includes(textOf(headers, 'x-ratelimit-resource'))) return
      quotas.set(installation, { limit, remaining, resetAtMs: resetS * 1000 })
    },
    /** Undefined also where the window has ended since: what was said then says nothing now. */
    find(installation: number): Quota | undefined {
      const quota = quotas.get(installation)
      if (quota && quota.resetAtMs <= githubNow()) quotas.delete(installation)
      return quotas.get(installation)
    },
  }
}

const countOf = (headers: AnswerHeaders, name: string): number | undefined => {
  const text = textOf(headers, name)
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

export type CallTally = ReturnType<typeof createCallTally>

/** Counts the calls: how long each took, whether GitHub answered, and when it did last. */
export const createCallTally = (deps: { clock: Pick<Clock, 'now'> }) => {
  const durations = new Map<string, Histogram>()
  let unanswered = 0
  let lastAnswerAtMs: number | undefined
  return {
    note({ route, seconds, answered }: { route: string; seconds: number; answered: boolean }): void {
      const known = durations.get(route) ?? createHistogram()
      durations.set(route, known)
      known.observe(seconds)
      if (answered) lastAnswerAtMs = deps.clock.now()
      else unanswered += 1
    },
    read: () => ({
      durations: [...durations].map(([route, histogram]) => ({ route, tally: histogram.read() })),
      unanswered,
      ...(lastAnswerAtMs !== undefined && { lastAnswerAtMs }),
    }),
  }
}
