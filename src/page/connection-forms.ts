// What the forms do to the connection: enable, give up, import, disable, refresh.

import type { z } from 'zod'
import { isLive } from '../protocol/connection.ts'
import { asFailure, Failure, isCode } from '../protocol/errors.ts'
import { foldName } from '../protocol/scope.ts'
import { Secret } from '../protocol/secret.ts'
import { EnableRequest, ImportRequest, parseWith } from '../protocol/wire.ts'
import type { WebDeps } from './deps.ts'
import type { AddForm } from './requests.ts'

/** A disable that takes longer goes on, and the page shows its steps. */
const PATIENCE_MS = 1_500

export const addConnectionForms = (addForm: AddForm, deps: WebDeps): void => {
  const { operations, clock, log } = deps

  const disable = async (wish: { local: boolean; wait: boolean }): Promise<void> => {
    const under = operations().disable.begin(wish)
    await Promise.race([under, clock.sleep(PATIENCE_MS)])
    under.catch((error: unknown) => log.error('a disable failed', { error: asFailure(error) }))
  }

  addForm('enable', 'overview', async fields => {
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
  })
  addForm('cancel', 'overview', async () => {
    const { kind } = operations().connectionState.read().connection
    if (kind !== 'awaiting-app' && kind !== 'awaiting-installation' && kind !== 'key-lost')
      throw new Failure('no-enable-pending', `the state is ${kind}`)
    await operations().disable.begin({ local: true, wait: true })
    return { to: 'overview', notice: 'canceled' }
  })
  addForm('import', 'importApp', async fields => {
    const wish = parseWith(ImportRequest, {
      ...identityOf(fields.text('id')),
      private_key: await fields.textOrFile('private_key', 'key_file'),
      ...(fields.text('account') && { account: fields.text('account') }),
    })
    await operations().importApp(importWish(wish))
    return { to: 'overview' }
  })
  addForm('disable', 'disable', async fields => {
    const { connection } = operations().connectionState.read()
    if ('account' in connection && foldName(fields.text('account')) !== foldName(connection.account.login))
      throw new Failure('invalid-request', `account: type ${connection.account.login} to confirm`)
    await disable({ local: fields.flag('local'), wait: true })
    const { kind } = operations().connectionState.read().connection
    return { to: 'overview', ...(kind === 'disconnected' && { notice: 'disabled' }) }
  })
  addForm('finishDisable', 'overview', async () => {
    const { connection } = operations().connectionState.read()
    if (isLive(connection) && connection.kind !== 'disconnecting')
      throw new Failure('already-connected', 'there is no disable under way')
    await disable({ local: false, wait: false })
    return { to: 'overview', notice: 'disabled' }
  })
  addForm('refresh', 'overview', async () => {
    const { failed } = await operations().refresh()
    const [first] = failed
    if (first) throw new Failure(isCode(first.code) ? first.code : 'internal', `${first.scope}: ${first.detail}`)
    return { to: 'overview', notice: 'refreshed' }
  })
}

/** Digits are an App ID, anything else is a client ID. */
const identityOf = (text: string): { app_id: number } | { client_id: string } =>
  /^\d{1,15}$/.test(text) ? { app_id: Number(text) } : { client_id: text }

const importWish = (body: z.infer<typeof ImportRequest>) => ({
  ...(body.app_id !== undefined && { appId: body.app_id }),
  ...(body.client_id !== undefined && { clientId: body.client_id }),
  ...(body.account !== undefined && { account: body.account }),
  pem: new Secret(body.private_key),
})
