// `fetch` for Octokit that lets only GitHub's own answers through, and learns GitHub's clock from them.

import { asFailure, Failure } from '../../protocol/errors.ts'
import type { Clock } from '../../service/clock.ts'
import type { Fetch, Outbound } from '../outbound/outbound.ts'
import type { GitHubClock } from './clock.ts'
import { classify, isGitHubs } from './refusals.ts'

/**
 * Throws an error whose cause is the Failure. Its own message is empty of meaning on purpose: auth-app reads messages, and what a portal
 * writes must not look like a refusal of GitHub's.
 */
export const createGenuineFetch = (deps: {
  outbound: Pick<Outbound, 'fetch'>
  clock: Clock
  githubClock: GitHubClock
  /** The template of the route, for the detail of a failure. */
  route: string
  headers: Readonly<Record<string, string>>
}): Fetch => {
  const { outbound, clock, githubClock, route } = deps
  return async (url, init) => {
    const headers = { ...init?.headers, ...deps.headers }
    const sentAtMs = clock.now()
    try {
      const response = await outbound.fetch(url, { ...init, headers })
      const answered = Object.fromEntries(response.headers)
      if (!isGitHubs(answered)) {
        throw classify({ status: response.status, headers: answered, body: await textOf(response), route })
      }
      const date = response.headers.get('date')
      if (date) githubClock.learn(date, sentAtMs)
      return response
    } catch (error) {
      throw noAnswer(error)
    }
  }
}

/** The Failure somewhere below what Octokit threw, if there is one. */
export const findFailure = (thrown: unknown): Failure | undefined => {
  let current = thrown
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    if (current instanceof Failure) return current
    current = current.cause
  }
  return undefined
}

/** What the outbound door did not name happened on the network, unless it is an error of the disk or the program. */
const noAnswer = (error: unknown): Error => {
  const failure =
    error instanceof TypeError
      ? new Failure('unreachable', 'the call to GitHub failed', { cause: error })
      : asFailure(error)
  return new Error('no answer of GitHub', { cause: failure })
}

/** For the title of a portal's page alone: a body that breaks off is no further trouble. */
const textOf = async (response: { text(): Promise<string> }): Promise<string> => {
  try {
    return await response.text()
  } catch {
    return ''
  }
}
