// The App's private keys: an App that exists already is imported by one, a second one signs from its proof on, the other is the fallback.

import {
  type Account,
  appSettingsUrl,
  type Connection,
  type Host,
  isLive,
  issuerOf,
  type Live,
} from '../../protocol/connection.ts'
import { type Code, Failure } from '../../protocol/errors.ts'
import { foldName } from '../../protocol/scope.ts'
import type { Secret } from '../../protocol/secret.ts'
import { isoTime, type KeysAnswer } from '../../protocol/wire.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'
import type { Events } from '../audit/events.ts'
import type { AppKey } from '../github/app-key.ts'
import type { StoredKey } from '../store/records.ts'
import type { AppLink } from './app-link.ts'
import type { ConnectionState } from './connection-state.ts'

export type Keys = ReturnType<typeof createKeys>

export type ImportOptions = {
  readonly appId?: number
  readonly clientId?: string
  readonly pem: Secret
  /** The account that it is enabled for; the App's owner where it is left out. */
  readonly account?: string
}

/** One that signs and its fallback: GitHub would allow 25, and nobody could tell any more which of them to delete. */
const MOST_KEYS = 2

export const createKeys = (deps: {
  connectionState: ConnectionState
  link: Pick<AppLink, 'getAppAs' | 'keyState'>
  audit: Pick<AuditWriter, 'record'>
  events: Pick<Events, 'emit'>
  clock: { now(): number }
  readKey: (pem: string) => AppKey
  host: () => Host
  /** Of an App that was imported. */
  findInstallations: () => Promise<void>
  /** Asks GitHub for the state of things: with a new key it may be another. Never throws. */
  check: () => Promise<void>
}) => {
  const { connectionState, link, clock, readKey } = deps

  const store = (key: AppKey): StoredKey => ({ fingerprint: key.fingerprint, pem: key.pem, addedAtMs: clock.now() })

  const assertRotatable = (): Live => {
    const { connection } = connectionState.read()
    if (!isLive(connection)) throw new Failure('not-connected', 'there is no App, and so no key of it')
    if (connection.kind === 'disconnecting') throw new Failure('not-connected', 'a disable is under way')
    return connection
  }

  /** Throws unless GitHub takes a signature of this key alone, for the App of the connection. */
  const prove = async ({ app }: Live, key: AppKey): Promise<void> => {
    const found = await link.getAppAs({ issuer: issuerOf(app), keys: [key] })
    if (found.id !== app.id) {
      throw new Failure('key-mismatch', `GitHub says that the key belongs to App ${found.id}, not to ${app.id}`)
    }
  }

  /** GitHub is asked while others go on; what was found is stored only where they changed nothing of it, and once it is in the log. */
  const replace = (
    generation: number,
    { keys, event, detail }: { keys: readonly StoredKey[]; event: string; detail: string },
  ): Promise<void> =>
    connectionState.exclusively(async () => {
      const connection = assertRotatable()
      if (connectionState.read().generation !== generation)
        throw new Failure('not-connected', 'the connection was changed meanwhile; try again')
      deps.audit.record({ event, detail })
      connectionState.transition(connection, { keys, newGeneration: true })
      deps.events.emit({ event: 'change', state: connectionState.read().connection.kind, detail })
    })

  const assertRoom = ({ kind }: Live, keys: readonly StoredKey[]): void => {
    // Where GitHub takes none of them, the older one makes room: no proof could retire it.
    if (keys.length < MOST_KEYS || kind === 'key-rejected') return
    const rejected = keys.find(({ fingerprint }) => link.keyState(fingerprint) === 'rejected')
    const advice = rejected ? `; GitHub rejects ${rejected.fingerprint}: \`keys retire --fingerprint\` it` : ''
    throw new Failure('too-many-keys', `${keys.map(({ fingerprint }) => fingerprint).join(' and ')}${advice}`)
  }

  const importNow = async (options: ImportOptions): Promise<void> => {
    const { connection } = connectionState.read()
    if (isLive(connection))
      throw new Failure('already-connected', `the state is ${connection.kind}, with ${connection.account.login}`)
    if (connection.kind === 'awaiting-app' && connection.conversion)
      throw new Failure('enable-in-progress', `for ${connection.account.login}`)
    const key = readKey(options.pem.reveal())
    const issuer = options.clientId ?? String(options.appId)
    const app = await link
      .getAppAs({ issuer, keys: [key] })
      .catch(explainMismatch(issuer, key, ['key-rejected', 'app-not-found']))
    if (options.appId !== undefined && app.id !== options.appId)
      throw new Failure('key-mismatch', `GitHub says that the key belongs to App ${app.id}`)
    const account = accountOf(connection, options.account) ?? app.owner
    const now = clock.now()
    deps.audit.record({
      event: 'connection.import',
      detail: `${app.name} for ${account.login}, key ${key.fingerprint}`,
    })
    connectionState.transition(
      { kind: 'awaiting-installation', sinceMs: now, app, account, host: deps.host(), enabledAtMs: now },
      { keys: [store(key)], installations: [], newGeneration: true },
    )
  }

  return {
    /**
     * An App that exists already, by its id and a private key, which are proven with GitHub before anything is stored. Throws
     * `already-connected`, `enable-in-progress`, `invalid-key`, `key-mismatch`, or what stands in the way to GitHub.
     */
    async importApp(options: ImportOptions): Promise<Connection> {
      await connectionState.exclusively(() => importNow(options))
      await deps.findInstallations()
      return connectionState.read().connection
    },

    list: (): KeysAnswer['keys'] =>
      connectionState.read().keys.map(({ fingerprint, addedAtMs }, position) => ({
        fingerprint,
        added_at: isoTime(addedAtMs),
        signs: position === 0,
        state: link.keyState(fingerprint),
      })),

    /**
     * Proves the key with GitHub, then stores it before the other one: it signs from now on. Throws `not-connected`, `invalid-key`,
     * `key-mismatch`, `too-many-keys`, or what stands in the way to GitHub; then nothing was changed.
     */
    async add(pem: Secret): Promise<{ added: string; alreadyHeld: boolean }> {
      const connection = assertRotatable()
      const { generation, keys } = connectionState.read()
      const key = readKey(pem.reveal())
      const { fingerprint } = key
      if (keys.some(held => held.fingerprint === fingerprint)) return { added: fingerprint, alreadyHeld: true }
      assertRoom(connection, keys)
      await prove(connection, key).catch(explainMismatch(String(connection.app.id), key, ['key-rejected']))
      const [former] = keys
      await replace(generation, {
        keys: [store(key), ...keys].slice(0, MOST_KEYS),
        event: 'connection.key-add',
        detail: `${fingerprint} signs now${former ? `, ${former.fingerprint} is the fallback` : ''}`,
      })
      await deps.check()
      return { added: fingerprint, alreadyHeld: false }
    },

    /**
     * Drops the key that is named, else all but the one that signs, once GitHub took what stays. Throws `not-connected`, `last-key`,
     * `invalid-request`, `key-rejected`, or what stands in the way to GitHub; then nothing was changed.
     */
    async retire(fingerprint?: string): Promise<{ retired: readonly string[]; deleteOnGitHub: string }> {
      const connection = assertRotatable()
      const { generation, keys } = connectionState.read()
      const deleteOnGitHub = appSettingsUrl(connection.app)
      const named = fingerprint ?? keys[0]?.fingerprint
      if (fingerprint !== undefined && !keys.some(key => key.fingerprint === fingerprint))
        throw new Failure('invalid-request', `fingerprint: no key ${fingerprint} is held`)
      // What is named goes; where nothing is, the one that signs stays.
      const stays = keys.filter(key => (key.fingerprint === named) === (fingerprint === undefined))
      const retired = keys.filter(key => !stays.includes(key)).map(key => key.fingerprint)
      const [signs] = stays
      if (!signs) throw new Failure('last-key', `${named ?? 'it'} is the only one`)
      if (retired.length === 0) return { retired, deleteOnGitHub }
      await prove(connection, readKey(signs.pem.reveal())).catch(keepAll(signs.fingerprint))
      const detail = `${retired.join(' and ')} no more; ${signs.fingerprint} signs`
      await replace(generation, { keys: stays, event: 'connection.key-retire', detail })
      return { retired, deleteOnGitHub }
    },
  }
}

const keepAll =
  (stays: string) =>
  (error: unknown): never => {
    if (!(error instanceof Failure) || error.code !== 'key-rejected') throw error
    const detail = `${stays} would stay alone, so nothing was changed; to retire that one: --fingerprint ${stays}. ${error.message}`
    throw new Failure('key-rejected', detail, { cause: error })
  }

const explainMismatch =
  (issuer: string, { fingerprint }: AppKey, codes: readonly Code[]) =>
  (error: unknown): never => {
    if (!(error instanceof Failure) || !codes.includes(error.code)) throw error
    throw new Failure('key-mismatch', `App ${issuer} with key ${fingerprint}: ${error.message}`, { cause: error })
  }

/** The account of a pending enable knows its type; a name alone is taken for an organization. */
const accountOf = (connection: Connection, login: string | undefined): Account | undefined => {
  const pending = connection.kind === 'awaiting-app' || connection.kind === 'key-lost' ? connection.account : undefined
  if (login === undefined) return pending
  return pending && foldName(pending.login) === foldName(login) ? pending : { type: 'organization', login }
}
