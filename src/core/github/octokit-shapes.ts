// Octokit as it is seen from here: what its errors hold, and what it may not do.

import { Failure } from '../../protocol/errors.ts'
import type { Log } from '../../service/log.ts'
import type { Answer } from './refusals.ts'

/** auth-app's cache takes scopes for one another; a call that would read it is an error of the program. */
export const NO_CACHE = {
  get: (): never => {
    throw new Failure('internal', "a call reached for auth-app's token cache")
  },
  set: (): never => {
    throw new Failure('internal', "a call reached for auth-app's token cache")
  },
}

/** Octokit's RequestError, told by its shape. */
export const readRefusal = (thrown: unknown): Omit<Answer, 'route'> | undefined => {
  if (!(thrown instanceof Error) || !('response' in thrown)) return undefined
  const { response } = thrown
  if (typeof response !== 'object' || response === null) return undefined
  if (!('status' in response && 'headers' in response && 'data' in response)) return undefined
  const { status, headers, data } = response
  if (typeof status !== 'number' || typeof headers !== 'object' || headers === null) return undefined
  return { status, headers: Object.fromEntries(Object.entries(headers)), body: data }
}

export const octokitLog = (log: Log) => ({
  debug: (message: string) => log.debug(message),
  info: (message: string) => log.info(message),
  warn: (message: string) => log.warn(message),
  error: (message: string) => log.error(message),
})
