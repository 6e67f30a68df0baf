// Routes of snapshots and recovery: export, restore, unlock, adopt, recovery keys.

import { z } from 'zod'
import { Failure } from '../../protocol/errors.ts'
import {
  ExportQuery,
  RecoveryKeyRequest,
  RecoveryKeysAnswer,
  RestoreAnswer,
  RestoreRequest,
  StateAnswer,
  UnlockRequest,
} from '../../protocol/wire.ts'
import type { Operations } from '../operations.ts'
import type { Caller } from '../tokens/token-issuer.ts'
import { type Backend, type Route, route, stateOf } from './route.ts'

const ADMIN = ['admin'] as const
/** A bundle of 16 MiB in base64, and the rest of the request. */
const MAX_RESTORE_BYTES = 24 * 2 ** 20

const recoveryKeys = ({ recovery }: Operations): RecoveryKeysAnswer => ({
  recipients: [...recovery.recipients()],
  signer: recovery.signer().publicKey,
})

const isRootOrDaemon = ({ attested }: Caller, { ownUid }: Backend): boolean =>
  attested.peer.uid === 0 || attested.peer.uid === ownUid

export const SNAPSHOT_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/snapshots',
    sockets: ADMIN,
    summary: 'Export: the bundle, encrypted to the recovery keys; in clear, for root alone, where there are none',
    binary: true,
    query: ExportQuery,
    answer: z.unknown(),
    handle({ query, caller, operations, backend }) {
      const { snapshots, recovery } = operations()
      if (recovery.recipients().length === 0 && !snapshots.exportsWaiting() && !isRootOrDaemon(caller, backend)) {
        throw new Failure('not-permitted', 'without a recovery key the bundle is in clear, and leaves to root only')
      }
      return snapshots.export({ withConfig: query.config === 'true' })
    },
  }),
  route({
    method: 'POST',
    path: '/v1/snapshots/restore',
    sockets: ADMIN,
    summary: 'Restore: everything is verified, then takes the place of what stands here in one step',
    maxBodyBytes: MAX_RESTORE_BYTES,
    body: RestoreRequest,
    answer: RestoreAnswer,
    async handle({ body, operations, backend }) {
      const identities = body.identity === undefined ? [] : await backend.readIdentities(body.identity)
      const bundle = Buffer.from(body.bundle, 'base64')
      const { outcome, warnings, configuration } = await backend.restore(bundle, {
        identities,
        force: body.force === true,
      })
      const { state, meaning, next } = operations().status.standing()
      return { outcome, warnings: [...warnings], state, meaning, next, ...(configuration && { configuration }) }
    },
  }),
  route({
    method: 'POST',
    path: '/v1/unlock',
    sockets: ADMIN,
    summary: 'Open with a recovery key what is locked: a store whose key was lost, or a sealed bundle that waits',
    body: UnlockRequest,
    answer: StateAnswer,
    async handle({ body, operations, backend }) {
      await backend.unlock(await backend.readIdentities(body.identity))
      return stateOf(operations())
    },
  }),
  route({
    method: 'POST',
    path: '/v1/adopt',
    sockets: ADMIN,
    summary: 'This machine takes the place of the one that the credentials were enabled on',
    answer: StateAnswer,
    async handle({ operations }) {
      await operations().snapshots.adopt()
      return stateOf(operations())
    },
  }),
  route({
    method: 'POST',
    path: '/v1/recovery-keys',
    sockets: ADMIN,
    summary: 'Add a recovery key by its public half; the identity never reaches the daemon',
    body: RecoveryKeyRequest,
    answer: RecoveryKeysAnswer,
    async handle({ body, caller, operations, backend }) {
      // Whoever adds one reads every later snapshot with it: that is for whoever could read the store anyway.
      if (!isRootOrDaemon(caller, backend)) throw new Failure('not-permitted', 'recovery keys are added by root only')
      await operations().recovery.add(body.recipient)
      return recoveryKeys(operations())
    },
  }),
  route({
    method: 'GET',
    path: '/v1/recovery-keys',
    sockets: ADMIN,
    summary: 'The recovery keys, and the key that signs the bundles of this machine',
    answer: RecoveryKeysAnswer,
    handle: ({ operations }) => recoveryKeys(operations()),
  }),
]
