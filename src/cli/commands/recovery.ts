// Recovery keys, and what they are needed for on the day of the disaster: `recovery-key create`, `unlock`, `adopt`, `store-key`, `store-key rotate`.

import type { Client } from '../../protocol/client.ts'
import { Failure } from '../../protocol/errors.ts'
import type { Secret } from '../../protocol/secret.ts'
import type { StateAnswer } from '../../protocol/wire.ts'
import { type CommandSpec, type Context, JSON_OPTION, type OfflineWork } from '../command.ts'
import { readIdentity, readLine } from '../input.ts'
import { isDaemonUp } from '../watch.ts'
import { showState } from './connect.ts'

export const recoveryKeyCreate: CommandSpec = {
  name: 'recovery-key create',
  summary: 'make a recovery key and print it, once',
  details: `Prints an age identity file; only its public half goes to the daemon. Keep it away from this machine: it opens all later snapshots,
and the store where its own key is lost. Several may exist.`,

  examples: ['ghconnect recovery-key create > recovery-key.txt'],
  forBackups: true,
  async run(context) {
    const { deps, output } = context
    const { file, recipient } = await makeRecoveryKey(context)
    // Printed before it counts: snapshots that only a lost key opens would be worse than none.
    await deps.writeBytes(Buffer.from(file)).catch((cause: unknown) => {
      throw new Failure('io', 'standard output cannot be written: the recovery key was thrown away', { cause })
    })
    await context.ask('POST /v1/recovery-keys', { body: { recipient } }).catch((error: unknown) => {
      output.note('Warning: The recovery key that was printed counts for nothing: throw it away.')
      throw error
    })
    output.note('The key was printed this once. Keep it away from this machine; without it no snapshot is opened.')
  },
}

/** An identity file as `age` reads it. The identity stays with the caller: the daemon gets the recipient, once it is kept. */
const makeRecoveryKey = async (context: Context): Promise<{ file: string; recipient: string }> => {
  const { deps, configFile } = context
  // Asked first: a daemon that is not there, or lets nobody in, is found out before a key is shown.
  const { signer } = await context.ask('GET /v1/recovery-keys')
  const { identity, recipient } = await (await deps.offline({ configFile })).createRecoveryKey()
  const file = `# created: ${new Date(deps.clock.now()).toISOString()}
# public key: ${recipient}
# A recovery key of ghconnectd: opens the snapshots and the store of this machine. Keep it elsewhere.
# Its snapshots are signed by ${signer}
# (for [snapshot] trusted of a machine that is to restore them).
${identity.reveal()}
`
  return { file, recipient }
}

/** Before an account is connected: without a recovery key, its credentials would be one mainboard away from being lost. */
export const askForRecoveryKey = async (
  context: Context,
  { withoutRecoveryKey }: { withoutRecoveryKey: boolean },
): Promise<void> => {
  if (withoutRecoveryKey) return
  const { deps, output } = context
  const { recipients } = await context.ask('GET /v1/recovery-keys')
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
  const { file, recipient } = await makeRecoveryKey(context)
  for (const line of ['', ...file.split('\n')]) output.note(line)
  for (;;) {
    const answer = await ask(context, 'Keep it away from this machine. Type KEPT once you have it: ')
    if (answer.toUpperCase() === 'KEPT') break
    if (answer === '') throw new Failure('usage', 'the recovery key was not confirmed, and is worth nothing')
  }
  await context.ask('POST /v1/recovery-keys', { body: { recipient } })
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

export const unlock: CommandSpec = {
  name: 'unlock',
  summary: 'unlock the store or a sealed bundle with a recovery key',
  details: `A store whose key was lost is opened and gets a new key: a key file that [store] key_file names and that is absent, or, for root, a
sealed systemd credential; then the daemon is restarted. An existing key file is never replaced. A sealed bundle that waits for
its recovery key is restored.`,
  options: {
    '--identity FILE': 'the recovery key (an age identity file)',
    ...JSON_OPTION,
  },
  examples: ['ghconnect unlock --identity recovery-key.txt'],
  forBackups: true,
  async run(context) {
    const { deps, output, configFile } = context
    const identity = await readIdentity(context.options.text('identity'))
    if (!identity) throw new Failure('usage', '--identity FILE is missing')
    const offline = await deps.offline({ configFile })
    const made = await offline.ensureStoreKey(identity)
    if (made !== undefined) output.note(`Warning: ${made}`)
    const client = await context.client('admin')
    const unlocking = (await isDaemonUp(client))
      ? unlockBy(context, { client, identity, offline })
      : offline.unlock(identity)
    showState(context, await unlocking)
  },
}

const unlockBy = async (
  { deps, output }: Context,
  { client, identity, offline }: { client: Client; identity: Secret; offline: OfflineWork },
): Promise<StateAnswer> => {
  const open = () => client.ask('POST /v1/unlock', { body: { identity: identity.reveal() } })
  try {
    return await open()
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'locked' || !offline.hasSealedKey()) throw error
    output.progress('Restarting the daemon: systemd passes it the new store key.')
    if (await systemctl(deps, ['restart', SERVICE])) return open()
    const what =
      'the daemon does not have the new store key yet; run `systemctl restart ghconnectd`, then `ghconnect unlock` again'
    throw new Failure('locked', what, { cause: error })
  }
}

const SERVICE = 'ghconnectd.service'

const systemctl = async (deps: Context['deps'], args: readonly string[]): Promise<boolean> => {
  const ran = await deps.runChild({ command: 'systemctl', args, env: { PATH: SYSTEM_PATH } })
  return ran.kind === 'ended' && ran.exitCode === 0
}

const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin'

export const adopt: CommandSpec = {
  name: 'adopt',
  summary: 'take the place of the machine that the credentials were enabled on',
  details:
    "Ends a quarantine. Run it only where the other machine is gone for good: two that use the same App get in each other's way.",
  options: JSON_OPTION,
  examples: ['ghconnect adopt'],
  forBackups: true,
  async run(context) {
    const { deps, configFile } = context
    const client = await context.client('admin')
    const answer = (await isDaemonUp(client))
      ? await client.ask('POST /v1/adopt')
      : await (await deps.offline({ configFile })).adopt()
    showState(context, answer)
  },
}

export const storeKey: CommandSpec = {
  name: 'store-key',
  summary: 'print the key of the database, for root',
  details:
    'In hexadecimal, for stock sqlcipher: PRAGMA key = "x\'KEY\'". It is another one after each disable and restore.',

  examples: ['ghconnect store-key'],
  forBackups: true,
  async run({ deps, output, configFile }) {
    const offline = await deps.offline({ configFile })
    if (!offline.isRoot()) throw new Failure('not-permitted', 'the key of the database is printed for root only')
    const key = await offline.storeKey()
    output.note('Warning: This key opens all stored credentials. Leave it in no file, history or ticket.')
    output.line(key)
  },
}

export const storeKeyRotate: CommandSpec = {
  name: 'store-key rotate',
  summary: 'replace the store key by a new one',
  details: `For a store key that others may have seen. The store and the audit log open with the new key, the old one is overwritten, and recovery keys still work.
The key is the file that [store] key_file names, or the sealed credential of the service, which is stopped for a moment. Any other daemon has to be stopped first.
Killed at any moment, the key in place opens the store; run it again then.`,
  options: {
    '--seal-with KEY':
      'to what a sealed credential is sealed, if not to the host (as systemd-creds --with-key= names it)',
  },
  forBackups: true,
  examples: ['sudo ghconnect store-key rotate', 'sudo ghconnect store-key rotate --seal-with host+tpm2'],
  async run({ deps, output, configFile, options }) {
    const offline = await deps.offline({ configFile })
    const sealWith = options.text('sealWith')
    const rotate = () => offline.rotateStoreKey(sealWith === undefined ? {} : { sealWith })
    const { DEFAULT_CONFIG_FILE } = await import('../../service/config.ts')
    const isOfService = configFile === DEFAULT_CONFIG_FILE && offline.isRoot()
    let file: string | undefined
    let isStopped = false
    try {
      // A client that connects meanwhile has systemd start it again.
      for (let tries = isOfService ? MOST_STOPS : 0; file === undefined; tries--) {
        file = await rotate().catch((error: unknown) => {
          if (tries > 0 && error instanceof Failure && error.code === 'state-in-use') return undefined
          throw error
        })
        if (file !== undefined) break
        output.progress('Stopping the daemon.')
        isStopped = true
        // Quiet: that its sockets may start it again is met here.
        if (!(await systemctl(deps, ['stop', '--quiet', SERVICE])))
          throw new Failure('state-in-use', 'the daemon could not be stopped: see `systemctl status ghconnectd`')
      }
    } finally {
      if (isStopped && !(await systemctl(deps, ['start', SERVICE])))
        output.note('ghconnect: the daemon did not start: see `systemctl status ghconnectd`')
    }
    output.line(`A new store key is in ${file}; the old one was overwritten.`)
    output.note('Copies of the old key open copies of the old store: delete them, too.')
  },
}

const MOST_STOPS = 10
