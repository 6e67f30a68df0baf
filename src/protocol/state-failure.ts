// The problem that a state is to somebody who wants a token.

import { type Code, Failure } from './errors.ts'

type State = { readonly state: string; readonly meaning: string; readonly next: string }

/** Undefined where tokens are served, or the person is just about to connect. */
export const failureOfState = ({ state, meaning, next }: State): Failure | undefined => {
  const code = CODES.get(state)
  return code && new Failure(code, meaning, { next })
}

const CODES = new Map<string, Code>([
  ['disconnected', 'not-connected'],
  ['disconnecting', 'not-connected'],
  ['key-lost', 'key-lost'],
  ['quarantined', 'quarantined'],
  ['isolated', 'isolated'],
  ['locked', 'locked'],
  ['awaiting-unlock', 'locked'],
  ['suspended', 'suspended'],
  ['uninstalled', 'installation-not-found'],
  ['app-deleted', 'app-not-found'],
  ['key-rejected', 'key-rejected'],
  ['blocked', 'ip-blocked'],
])
