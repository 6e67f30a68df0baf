// The last page before GitHub: what will be created there, and the form that takes it along.

import { Failure } from '../protocol/errors.ts'
import type { WebDeps } from './deps.ts'
import type { ConfirmModel, Frame } from './model.ts'

/** Throws `no-enable-pending`. */
export const confirmModel = (deps: WebDeps, frame: Frame, state: string): ConfirmModel => {
  const pending = deps.operations().enable.findPending(state)
  if (!pending || pending.conversion || pending.account.type === 'enterprise')
    throw new Failure('no-enable-pending', 'the link was used or has run out')
  const { action, manifest, permissions } = deps.appForm(pending.account, state)
  return {
    ...frame,
    account: pending.account,
    appName: String(manifest['name']),
    permissions,
    expiresAtMs: pending.expiresAtMs,
    nowMs: deps.clock.now(),
    action,
    manifest: JSON.stringify(manifest),
  }
}
