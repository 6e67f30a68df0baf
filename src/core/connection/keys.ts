// The App's private keys: a second one is proven and signs, the former is the fallback until it is retired.

import { appSettingsUrl, isLive, issuerOf, type Live } from '../../protocol/connection.ts'
import { Failure } from '../../protocol/errors.ts'
import type { Secret } from '../../protocol/secret.ts'
import { isoTime, type KeysAnswer } from '../../protocol/wire.ts'
import type { AppKey } from '../github/request.ts'
import type { Clock } from '../../service/clock.ts'
import type { StoredKey } from '../store/connection-store.ts'
import type { AppLink } from './app-link.ts'
import type { Events } from '../audit/events.ts'
import type { ConnectionState } from './connection-state.ts'
import type { AuditWriter } from '../audit/audit-writer.ts'

export type Keys = {
  list(): KeysAnswer['keys']
  /**
   * Proves the key with GitHub, then stores it before the other one: it signs from now on. Throws `not-connected`, `invalid-key`,
   * `key-mismatch`, `too-many-keys`, or what stands in the way to GitHub; then nothing was changed.
   */
  add(pem: Secret): Promise<{ added: string; alreadyHeld: boolean }>
  /**
   * Drops the key that is named, else all but the one that signs, once GitHub took what stays. Throws `not-connected`, `last-key`,
   * `invalid-request`, `key-rejected`, or what stands in the way to GitHub; then nothing was changed.
   */
  retire(fingerprint?: string): Promise<{ retired: readonly string[]; deleteOnGitHub: string }>
}

/** One that signs and its fallback: GitHub would allow 25, and nobody could tell any more which of them to delete. */
const MOST_KEYS = 2

export const createKeys = (deps: {
  connectionState: ConnectionState
  link: AppLink
  audit: Pick<AuditWriter, 'record'>
  events: Pick<Events, 'emit'>
  clock: Pick<Clock, 'now'>
  readKey: (pem: string) => AppKey
  exportKey: (key: AppKey, addedAtMs: number) => StoredKey
  /** Asks GitHub for the state of things: with a new key it may be another. Never throws. */
  check: () => Promise<void>
}): Keys => {
  const { connectionState, link } = deps

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
  const store = (
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

  const add = async (pem: Secret): ReturnType<Keys['add']> => {
    const connection = assertRotatable()
    const { generation, keys } = connectionState.read()
    const key = deps.readKey(pem.reveal())
    const { fingerprint } = key
    if (keys.some(held => held.fingerprint === fingerprint)) return { added: fingerprint, alreadyHeld: true }
    assertRoom(connection, keys)
    await prove(connection, key).catch(explainMismatch(connection, fingerprint))
    const added = deps.exportKey(key, deps.clock.now())
    const [former] = keys
    await store(generation, {
      keys: [added, ...keys].slice(0, MOST_KEYS),
      event: 'connection.key-add',
      detail: `${fingerprint} signs now${former ? `, ${former.fingerprint} is the fallback` : ''}`,
    })
    await deps.check()
    return { added: fingerprint, alreadyHeld: false }
  }

  const retire = async (fingerprint?: string): ReturnType<Keys['retire']> => {
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
    await prove(connection, deps.readKey(signs.pem.reveal())).catch(keepAll(signs.fingerprint))
    const detail = `${retired.join(' and ')} no more; ${signs.fingerprint} signs`
    await store(generation, { keys: stays, event: 'connection.key-retire', detail })
    return { retired, deleteOnGitHub }
  }

  return {
    list: () =>
      connectionState.read().keys.map(({ fingerprint, addedAtMs }, position) => ({
        fingerprint,
        added_at: isoTime(addedAtMs),
        signs: position === 0,
        state: link.keyState(fingerprint),
      })),
    add,
    retire,
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
  ({ app }: Live, fingerprint: string) =>
  (error: unknown): never => {
    if (!(error instanceof Failure) || error.code !== 'key-rejected') throw error
    throw new Failure('key-mismatch', `App ${app.id} with key ${fingerprint}: ${error.message}`, { cause: error })
  }
