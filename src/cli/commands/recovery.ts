// `ghconnect recovery-key create`, `unlock`, `adopt`, `store-key`: what is needed on the day of the disaster, and the day before.

import { Failure } from '../../domain/errors.ts'
import type { Secret } from '../../domain/secret.ts'
import { StateAnswer } from '../../domain/wire.ts'
import { readIdentityFile } from '../bundle-files.ts'
import type { Client } from '../client.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { isDaemonUp } from '../daemon-first.ts'
import { keepRecipient, makeRecoveryKey } from '../recovery-key.ts'

export const recoveryKeyCreate: CommandSpec = {
  name: 'recovery-key create',
  summary: 'make a recovery key and print it, once',
  details: `Prints an age identity file; only its public half goes to the daemon. Keep it away from this machine: it opens all later snapshots,
and the store where its own key is lost. Several may exist.`,
  options: [],
  examples: ['ghconnect recovery-key create > recovery-key.txt'],
  forBackups: true,
  async run(context) {
    const { deps, output } = context
    const client = await context.client('admin')
    const { file, recipient } = await makeRecoveryKey(context, client)
    // Printed before it counts: snapshots that only a lost key opens would be worse than none.
    await deps.writeBytes(Buffer.from(file)).catch((cause: unknown) => {
      throw new Failure('io', 'standard output cannot be written: the recovery key was thrown away', { cause })
    })
    await keepRecipient(client, recipient).catch((error: unknown) => {
      output.note('Warning: The recovery key that was printed counts for nothing: throw it away.')
      throw error
    })
    output.note('The key was printed this once. Keep it away from this machine; without it no snapshot is opened.')
    return 0
  },
}

export const unlock: CommandSpec = {
  name: 'unlock',
  summary: 'open with a recovery key what is locked',
  details: `A store whose key was lost is opened and gets a new key: a file named by [store] key_file that is absent is made, and none is ever
replaced. A sealed bundle that waits for its identity is restored.`,
  options: [{ flags: '--identity FILE', description: 'the recovery key (an age identity file)' }, JSON_OPTION],
  examples: ['ghconnect unlock --identity recovery-key.txt'],
  forBackups: true,
  async run(context, { options }) {
    const { deps, output, configFile } = context
    const file = options.text('identity')
    if (file === undefined) throw new Failure('usage', '--identity FILE is missing')
    const identity = await readIdentityFile(file)
    const offline = await deps.offline({ configFile })
    const made = offline.ensureStoreKey()
    if (made !== undefined) output.note(`Warning: ${made}`)
    const client = await context.client('admin')
    const answer = (await isDaemonUp(client))
      ? await unlockBy(client, { identity, made })
      : await offline.unlock(identity)
    tell(context, { answer, json: options.flag('json') })
    return 0
  },
}

const unlockBy = async (
  client: Client,
  { identity, made }: { identity: Secret; made: string | undefined },
): Promise<StateAnswer> => {
  try {
    const body = { identity: identity.reveal() }
    return await client.call({ method: 'POST', path: '/v1/unlock', body, answer: StateAnswer })
  } catch (error) {
    if (made === undefined || !(error instanceof Failure) || error.code !== 'locked') throw error
    const what =
      'the daemon has not got the new store key yet; run `systemctl restart ghconnectd`, then this command again'
    throw new Failure('locked', what, { cause: error })
  }
}

export const adopt: CommandSpec = {
  name: 'adopt',
  summary: 'take the place of the machine that the credentials were enabled on',
  details:
    "Ends a quarantine. Run it only where the other machine is gone for good: two that use the same App get in each other's way.",
  options: [JSON_OPTION],
  examples: ['ghconnect adopt'],
  forBackups: true,
  async run(context, { options }) {
    const { deps, configFile } = context
    const client = await context.client('admin')
    const answer = (await isDaemonUp(client))
      ? await client.call({ method: 'POST', path: '/v1/adopt', answer: StateAnswer })
      : await (await deps.offline({ configFile })).adopt()
    tell(context, { answer, json: options.flag('json') })
    return 0
  },
}

const tell = ({ output }: Context, { answer, json }: { answer: StateAnswer; json: boolean }): void => {
  if (json) return output.json(answer)
  output.line(answer.meaning)
  if (answer.state !== 'connected') output.line(answer.next)
}

export const storeKey: CommandSpec = {
  name: 'store-key',
  summary: 'print the key of the database, for root',
  details:
    'In hexadecimal, for stock sqlcipher: PRAGMA key = "x\'KEY\'". It is another one after each disable and restore.',
  options: [],
  examples: ['ghconnect store-key'],
  forBackups: true,
  async run({ deps, output, configFile }) {
    const offline = await deps.offline({ configFile })
    if (!offline.isRoot()) throw new Failure('not-permitted', 'the key of the database is printed for root only')
    const key = await offline.storeKey()
    output.note('Warning: This key opens all stored credentials. Leave it in no file, history or ticket.')
    output.line(key)
    return 0
  },
}
