// Import: an App that exists already, by its id and a private key, proven with GitHub before anything is stored.

import { type Account, type Connection, type Host, isLive } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import { foldName } from '../../protocol/scope.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { AppKey } from '../github/request.ts'
import type { Clock } from '../../service/clock.ts'
import type { StoredKey } from '../store/connection-store.ts'
import type { AppLink } from './app-link.ts'
import type { ConnectionState } from './connection-state.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'

export type ImportWish = {
  readonly appId?: number
  readonly clientId?: string
  readonly pem: Secret
  /** The account that it is enabled for; the App's owner where it is left out. */
  readonly account?: string
}

/** Throws `already-connected`, `enable-in-progress`, `invalid-key`, `key-mismatch`, or what stands in the way to GitHub. */
export type ImportApp = (wish: ImportWish) => Promise<Connection>

export const createImport = (deps: {
  connectionState: ConnectionState
  link: AppLink
  audit: Pick<AuditWriter, 'record'>
  clock: Clock
  readKey: (pem: string) => AppKey
  exportKey: (key: AppKey, addedAtMs: number) => StoredKey
  host: () => Host
  /** Looks for installations at once. */
  resume: () => Promise<void>
}): ImportApp => {
  const { connectionState, link, clock } = deps

  const prove = async (wish: ImportWish): Promise<Connection> => {
    const { connection } = connectionState.read()
    if (isLive(connection))
      throw new Failure('already-connected', `the state is ${connection.kind}, with ${connection.account.login}`)
    if (connection.kind === 'awaiting-app' && connection.conversion)
      throw new Failure('enable-in-progress', `for ${connection.account.login}`)
    const key = deps.readKey(wish.pem.reveal())
    const issuer = wish.clientId ?? String(wish.appId)
    const app = await link.getAppAs({ issuer, keys: [key] }).catch(explainMismatch(issuer, key))
    if (wish.appId !== undefined && app.id !== wish.appId)
      throw new Failure('key-mismatch', `GitHub says that the key belongs to App ${app.id}`)
    const account: Account = accountOf(connection, wish.account) ?? app.owner
    const now = clock.now()
    const next: Connection = {
      kind: 'awaiting-installation',
      sinceMs: now,
      app,
      account,
      host: deps.host(),
      enabledAtMs: now,
    }
    deps.audit.record({
      event: 'connection.import',
      detail: `${app.name} for ${account.login}, key ${key.fingerprint}`,
    })
    connectionState.transition(next, { keys: [deps.exportKey(key, now)], installations: [], newGeneration: true })
    return next
  }

  return async wish => {
    await connectionState.exclusively(() => prove(wish))
    await deps.resume()
    return connectionState.read().connection
  }
}

const explainMismatch =
  (issuer: string, key: AppKey) =>
  (error: unknown): never => {
    if (error instanceof Failure && (error.code === 'key-rejected' || error.code === 'app-not-found')) {
      throw new Failure('key-mismatch', `App ${issuer} with key ${key.fingerprint}: ${error.message}`, { cause: error })
    }
    throw error
  }

/** The account of a pending enable knows its type; a name alone is taken for an organization. */
const accountOf = (connection: Connection, login: string | undefined): Account | undefined => {
  const pending = connection.kind === 'awaiting-app' || connection.kind === 'key-lost' ? connection.account : undefined
  if (login === undefined) return pending
  return pending && foldName(pending.login) === foldName(login) ? pending : { type: 'organization', login }
}
