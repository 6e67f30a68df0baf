// What the forms do with keys: the App's, recovery keys, the way out of a closed store, a machine that takes another's place.

import { Failure } from '../protocol/errors.ts'
import { Secret } from '../protocol/secret.ts'
import { AddKeyRequest, parseWith, RecoveryKeyRequest, UnlockRequest } from '../protocol/wire.ts'
import type { WebDeps } from './deps.ts'
import type { AddForm } from './requests.ts'

export const addKeyForms = (addForm: AddForm, deps: WebDeps): void => {
  const { operations } = deps

  addForm('addKey', 'keys', async fields => {
    const body = { private_key: await fields.textOrFile('private_key', 'key_file') }
    await operations().keys.add(new Secret(parseWith(AddKeyRequest, body).private_key))
    return { to: 'keysPage', notice: 'key-added' }
  })
  addForm('retireKey', 'keys', async fields => {
    const fingerprint = fields.text('fingerprint')
    if (fingerprint === '') throw new Failure('invalid-request', 'fingerprint: is missing')
    await operations().keys.retire(fingerprint)
    return { to: 'keysPage', notice: 'key-retired' }
  })
  addForm('recoveryKey', 'keys', async (fields, { visitor }) => {
    const { recipient } = parseWith(RecoveryKeyRequest, { recipient: fields.text('recipient') })
    // Whoever adds one reads every later snapshot with it: as on admin.sock, for root and the daemon's own user.
    if (visitor.peer.uid !== 0 && visitor.peer.uid !== deps.ownUid)
      throw new Failure('not-permitted', 'recovery keys are added by root only: with a link that root asked for')
    await operations().recovery.add(recipient)
    return { to: 'keysPage', notice: 'recovery-key-added' }
  })
  addForm('adopt', 'overview', async () => {
    await operations().snapshots.adopt()
    return { to: 'overview', notice: 'adopted' }
  })
  addForm('unlock', 'overview', async fields => {
    const { identity } = parseWith(UnlockRequest, { identity: await fields.textOrFile('identity', 'identity_file') })
    await deps.unlock(await deps.readIdentities(identity))
    return { to: 'overview' }
  })
}
