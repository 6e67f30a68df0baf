// What each form does, and the page on which a failure is shown.

import { isLive } from '../protocol/connection.ts'
import { asFailure, Failure, isCode } from '../protocol/errors.ts'
import { foldName } from '../protocol/scope.ts'
import { Secret } from '../protocol/secret.ts'
import {
  AddKeyRequest,
  EnableRequest,
  ImportRequest,
  parseWith,
  RecoveryKeyRequest,
  UnlockRequest,
} from '../protocol/wire.ts'
import type { Notice, RouteName, ROUTES } from './model.ts'
import type { Fields, WebDeps } from './requests.ts'
import type { Session } from './sessions.ts'

type PostRoute = { [Name in RouteName]: (typeof ROUTES)[Name]['method'] extends 'POST' ? Name : never }[RouteName]
export type FormRoute = Exclude<PostRoute, 'check' | 'signOut'>

/** The page on which a failure is shown; the overview where none is named. */
export const PAGE_OF: Readonly<Partial<Record<FormRoute, 'importForm' | 'disableForm' | 'keysPage'>>> = {
  import: 'importForm',
  disable: 'disableForm',
  addKey: 'keysPage',
  retireKey: 'keysPage',
  recoveryKey: 'keysPage',
}

/** Gives the page to go to, and what is said there. */
type Action = (fields: Fields, session: Session) => Promise<{ readonly to: RouteName; readonly notice?: Notice }>

/** A disable that takes longer goes on, and the page shows its steps. */
const PATIENCE_MS = 1_500

export const createForms = (deps: WebDeps): Readonly<Record<FormRoute, Action>> => {
  const { operations, clock, log } = deps
  const disable = async (options: { local: boolean; wait: boolean }): Promise<void> => {
    const running = operations().disable.begin(options)
    await Promise.race([running, clock.sleep(PATIENCE_MS)])
    running.catch((error: unknown) => log.error('a disable failed', { error: asFailure(error) }))
  }
  const connectionNow = () => operations().connectionState.read().connection

  return {
    async enable(fields) {
      const { account } = parseWith(EnableRequest, {
        account: { type: fields.text('type'), login: fields.text('login') },
      })
      if (!fields.flag('terms')) throw new Failure('invalid-request', 'terms: have to be agreed to')
      if (operations().recovery.recipients().length === 0 && !fields.flag('without_recovery_key'))
        throw new Failure(
          'invalid-request',
          'without_recovery_key: add a recovery key, or say that you go on without one',
        )
      const { how } = await operations().enable.begin(account)
      return { to: how === 'import' ? 'importForm' : 'confirm' }
    },
    async cancel() {
      const { kind } = connectionNow()
      if (kind !== 'awaiting-app' && kind !== 'awaiting-installation' && kind !== 'key-lost')
        throw new Failure('no-enable-pending', `the state is ${kind}`)
      await operations().disable.begin({ local: true, wait: true })
      return { to: 'overview', notice: 'canceled' }
    },
    async import(fields) {
      const id = fields.text('id')
      const body = parseWith(ImportRequest, {
        // Digits are an App ID, anything else is a client ID.
        ...(/^\d{1,15}$/.test(id) ? { app_id: Number(id) } : { client_id: id }),
        private_key: await fields.textOrFile('private_key', 'key_file'),
        ...(fields.text('account') && { account: fields.text('account') }),
      })
      await operations().importApp({
        ...(body.app_id !== undefined && { appId: body.app_id }),
        ...(body.client_id !== undefined && { clientId: body.client_id }),
        ...(body.account !== undefined && { account: body.account }),
        pem: new Secret(body.private_key),
      })
      return { to: 'overview' }
    },
    async disable(fields) {
      const connection = connectionNow()
      if ('account' in connection && foldName(fields.text('account')) !== foldName(connection.account.login))
        throw new Failure('invalid-request', `account: type ${connection.account.login} to confirm`)
      await disable({ local: fields.flag('local'), wait: true })
      return { to: 'overview', ...(connectionNow().kind === 'disconnected' && { notice: 'disabled' }) }
    },
    async finishDisable() {
      const connection = connectionNow()
      if (isLive(connection) && connection.kind !== 'disconnecting')
        throw new Failure('already-connected', 'there is no disable under way')
      await disable({ local: false, wait: false })
      return { to: 'overview', notice: 'disabled' }
    },
    async refresh() {
      const { failed } = await operations().refresh()
      const [first] = failed
      if (first) throw new Failure(isCode(first.code) ? first.code : 'internal', `${first.scope}: ${first.detail}`)
      return { to: 'overview', notice: 'refreshed' }
    },
    async addKey(fields) {
      const body = { private_key: await fields.textOrFile('private_key', 'key_file') }
      await operations().keys.add(new Secret(parseWith(AddKeyRequest, body).private_key))
      return { to: 'keysPage', notice: 'key-added' }
    },
    async retireKey(fields) {
      const fingerprint = fields.text('fingerprint')
      if (fingerprint === '') throw new Failure('invalid-request', 'fingerprint: is missing')
      await operations().keys.retire(fingerprint)
      return { to: 'keysPage', notice: 'key-retired' }
    },
    async recoveryKey(fields, { visitor }) {
      const { recipient } = parseWith(RecoveryKeyRequest, { recipient: fields.text('recipient') })
      // Whoever adds one reads every later snapshot with it: as on admin.sock, for root and the daemon's own user.
      if (visitor.peer.uid !== 0 && visitor.peer.uid !== deps.ownUid)
        throw new Failure('not-permitted', 'recovery keys are added by root only: with a link that root asked for')
      await operations().recovery.add(recipient)
      return { to: 'keysPage', notice: 'recovery-key-added' }
    },
    async adopt() {
      await operations().snapshots.adopt()
      return { to: 'overview', notice: 'adopted' }
    },
    async unlock(fields) {
      const body = { identity: await fields.textOrFile('identity', 'identity_file') }
      const { identity } = parseWith(UnlockRequest, body)
      await deps.unlock(await deps.readIdentities(identity))
      return { to: 'overview' }
    },
  }
}
