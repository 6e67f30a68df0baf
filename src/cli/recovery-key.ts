// The recovery key, made and shown once: by its own command, and before an account is connected.

import { Failure } from '../protocol/errors.ts'
import type { Secret } from '../protocol/secret.ts'
import { RecoveryKeysAnswer } from '../protocol/wire.ts'
import type { Client } from '../protocol/client.ts'
import type { Context } from './command.ts'
import { readLine } from './confirm.ts'

const PATH = '/v1/recovery-keys'

/** An identity file as `age` takes it. The identity is in nobody's hands but the caller's: the daemon gets the recipient, by `keepRecipient`. */
export type NewRecoveryKey = { readonly file: string; readonly recipient: string; readonly identity: Secret }

export const makeRecoveryKey = async ({ deps, configFile }: Context, client: Client): Promise<NewRecoveryKey> => {
  // Asked first: a daemon that is not there, or lets nobody in, is found out before a key is shown.
  const { signer } = await listRecoveryKeys(client)
  const { identity, recipient } = await (await deps.offline({ configFile })).createRecoveryKey()
  const file = `# created: ${new Date(deps.clock.now()).toISOString()}
# public key: ${recipient}
# A recovery key of ghconnectd: opens the snapshots and the store of this machine. Keep it elsewhere.
# Its snapshots are signed by ${signer}
# (for [snapshot] trusted of a machine that is to restore them).
${identity.reveal()}
`
  return { file, recipient, identity }
}

export const keepRecipient = async (client: Client, recipient: string): Promise<void> => {
  await client.call({ method: 'POST', path: PATH, body: { recipient }, answer: RecoveryKeysAnswer })
}

export const listRecoveryKeys = (client: Client): Promise<RecoveryKeysAnswer> =>
  client.call({ method: 'GET', path: PATH, answer: RecoveryKeysAnswer })

/** Before an account is connected: without a recovery key, its credentials would be one mainboard away from being lost. */
export const askForRecoveryKey = async (
  context: Context,
  { withoutRecoveryKey }: { withoutRecoveryKey: boolean },
): Promise<void> => {
  if (withoutRecoveryKey) return
  const { deps, output } = context
  const client = await context.client('admin')
  const { recipients } = await listRecoveryKeys(client)
  if (recipients.length > 0) return
  if (!deps.stdin.isTTY || !deps.stderr.isTTY) throw new Failure('usage', WITHOUT_TERMINAL)
  output.note(
    'No recovery key exists yet. It decrypts snapshots, and unlocks the store if this machine loses its own key.',
  )
  if (!/^(y(es)?)?$/i.test(await ask(context, 'Make one now and show it once? [Y/n] '))) {
    output.note(
      `Warning: Continuing without a recovery key. ${LOSS} Make one later with \`ghconnect recovery-key create\`.`,
    )
    return
  }
  const { file, recipient } = await makeRecoveryKey(context, client)
  for (const line of ['', ...file.split('\n')]) output.note(line)
  for (;;) {
    const answer = await ask(context, 'Keep it away from this machine. Type KEPT once you have it: ')
    if (answer.toUpperCase() === 'KEPT') break
    if (answer === '') throw new Failure('usage', 'the recovery key was not confirmed, and is worth nothing')
  }
  await keepRecipient(client, recipient)
}

const LOSS = 'Snapshots are unencrypted, and losing the store key means losing the connection.'
const WITHOUT_TERMINAL =
  'no recovery key exists; run `ghconnect recovery-key create > FILE` first and keep FILE elsewhere, or give --without-recovery-key'

const ask = async ({ deps, output }: Context, question: string): Promise<string> => {
  output.prompt(question)
  const typed = await readLine(deps.stdin)
  if (typed === undefined) throw new Failure('usage', 'standard input ended before the answer')
  return typed
}
