// One token from GitHub, held against what was asked for; what is not that, or comes too late, is revoked and nobody gets it.

import { isSameApp } from '../../protocol/connection.ts'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { storedTokenTimes } from '../store/record-shapes.ts'
import { assertGranted, type Scope, type ScopeKey, shareNames } from '../../protocol/scope.ts'
import type { GitHubClock } from '../github/clock.ts'
import type { Log } from '../../service/log.ts'
import type { Store } from '../store/database.ts'
import type { StoredToken } from '../store/token-store.ts'
import type { AppLink } from '../connection/app-link.ts'
import type { ConnectionState } from '../connection/connection-state.ts'

/** Throws what GitHub, or the way there, answers; `scope-mismatch`, `not-connected`. */
export type Minting = (what: { key: ScopeKey; profile: string; scope: Scope }) => Promise<Omit<StoredToken, 'slot'>>

export const createMinting = (deps: {
  store: Store
  link: AppLink
  connectionState: ConnectionState
  githubClock: GitHubClock
  log: Log
}): Minting => {
  const { store, link, connectionState } = deps
  return async ({ key, profile, scope }) => {
    const began = connectionState.read()
    const number = store.number()
    const { token, granted, expiresAtMs } = await link.mint(scope)
    try {
      assertGranted(scope, granted)
      connectionState.requireServing()
      // New keys are a new generation of the same connection: its tokens are as good as before.
      if (store.number() !== number || !isSameApp(began.connection, connectionState.read().connection))
        throw new Failure('not-connected', 'the connection was changed meanwhile')
    } catch (error) {
      await link
        .revoke(token)
        .catch(reason => deps.log.warn('a token could not be revoked', { error: asFailure(reason) }))
      throw error
    }
    return {
      key,
      profile,
      scope,
      token,
      granted: shareNames(scope, granted),
      ...storedTokenTimes({ mintedAtMs: deps.githubClock.now(), expiresAtMs }),
    }
  }
}
