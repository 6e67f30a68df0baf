// `ghconnect snapshot restore`: the credentials back from a bundle, by the daemon, or without it where none runs.

import { RestoreAnswer, type SeenStatus } from '../../protocol/wire.ts'
import { readBundle, readIdentityFile } from '../bundle-files.ts'
import type { Client } from '../../protocol/client.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { confirm, YES_OPTION } from '../confirm.ts'
import { isDaemonUp } from '../daemon-first.ts'
import type { OfflineWork, RestoreWish } from '../offline.ts'
import { getStatus } from '../watch.ts'
import { showConfiguration } from './snapshot.ts'

export const snapshotRestore: CommandSpec = {
  name: 'snapshot restore',
  summary: 'put the credentials of a bundle in place of those of this machine',
  details: `Everything is verified first; then one swap. The daemon takes it over while it runs, and need not run. The same bundle twice
changes nothing. On another machine than the one it was taken from the credentials are quarantined until \`ghconnect adopt\`.
A sealed bundle without its identity is kept until \`ghconnect unlock\`.
Over a live connection --force asks for the account's name first, and without a terminal it requires --yes.`,
  options: [
    { flags: '--input FILE', description: 'the bundle, if not on standard input' },
    { flags: '--identity FILE', description: 'the recovery key (an age identity file) that opens the bundle' },
    { flags: '--verify-only', description: 'verify, and change nothing' },
    { flags: '--force', description: 'accept an unknown signer over a live connection, or a bundle of another GitHub' },
    YES_OPTION,
    JSON_OPTION,
  ],
  examples: [
    'ghconnect snapshot restore --identity recovery-key.txt < github-connect.tar',
    'ghconnect snapshot restore --input github-connect.tar --verify-only',
  ],
  forBackups: true,
  async run(context, { options }) {
    const { deps, output, configFile } = context
    const identityFile = options.text('identity')
    const identity = identityFile === undefined ? undefined : await readIdentityFile(identityFile)
    const bundle = await readBundle(deps, options.text('input'))
    const offline = await deps.offline({ configFile })
    const { sealed } = offline.inspect(bundle)
    const json = options.flag('json')
    if (options.flag('verifyOnly')) {
      if (sealed && !identity) output.note(`Warning: ${UNOPENED}`)
      const { configuration } =
        sealed && !identity ? {} : await offline.verify({ bundle, ...(identity && { identity }), againstGithub: false })
      if (json) output.json({ ...offline.inspect(bundle), ...(configuration && { configuration }) })
      else {
        showConfiguration(output, configuration)
        output.line('The bundle is whole; nothing was changed.')
      }
      return 0
    }
    const wish = { bundle, force: options.flag('force'), ...(identity && { identity }) }
    const answer = await restore(context, { wish, offline, yes: options.flag('yes') })
    if (json) {
      output.json(answer)
      return 0
    }
    showConfiguration(output, answer.configuration)
    output.line(OUTCOMES[answer.outcome])
    output.line(answer.meaning)
    if (answer.state !== 'connected') output.line(answer.next)
    return 0
  },
}

/** By the daemon, which takes it over as it runs; else in its place. */
const restore = async (
  context: Context,
  { wish, offline, yes }: { wish: RestoreWish; offline: OfflineWork; yes: boolean },
): Promise<RestoreAnswer> => {
  const { deps, output } = context
  const client = await context.client('admin')
  const isUp = await isDaemonUp(client)
  if (wish.force) {
    // A store that cannot be opened is set aside, not destroyed.
    const name = isUp ? liveAccount(await getStatus(client)) : await offline.findAccount().catch(() => undefined)
    if (name) await confirm(context, { what: `replaces the live connection to ${name}`, name, yes })
  }
  const beganMs = deps.clock.now()
  const answer = isUp ? await restoreBy(client, wish) : await offline.restore(wish)
  for (const warning of answer.warnings) output.note(`Warning: ${warning.replaceAll(/\s+/g, ' ')}`)
  if (isUp && answer.outcome === 'restored' && answer.state === 'connected') {
    await followProof(context, { client, beganMs })
  }
  return answer
}

/** An enable that is not finished has an account and no App. */
const liveAccount = ({ account, app }: SeenStatus): string | undefined => (app ? account?.login : undefined)

const restoreBy = (client: Client, { bundle, force, identity }: RestoreWish): Promise<RestoreAnswer> => {
  const body = {
    bundle: Buffer.from(bundle).toString('base64'),
    force,
    ...(identity && { identity: identity.reveal() }),
  }
  return client.call({ method: 'POST', path: '/v1/snapshots/restore', body, answer: RestoreAnswer })
}

/** GitHub is asked at once; nobody waits for a GitHub that is away. */
const PROOF_MS = 5_000
const LOOK_MS = 200

/** Whether GitHub takes the restored key. What stands in the way is told, and is no failure of the restore. */
const followProof = async (
  { deps, output }: Context,
  { client, beganMs }: { client: Client; beganMs: number },
): Promise<void> => {
  const endMs = deps.clock.monotonic() + PROOF_MS
  let trouble = 'it did not answer yet'
  while (deps.clock.monotonic() < endMs) {
    const { tokens, last_failure: last } = await getStatus(client)
    if (tokens?.last_minted_at !== undefined && Date.parse(tokens.last_minted_at) >= beganMs) {
      return output.progress('GitHub takes the key: a fresh token was minted.')
    }
    if (last) trouble = last.detail
    if (last && Date.parse(last.at) >= beganMs) break
    await deps.clock.sleep(LOOK_MS)
  }
  const why = trouble.replaceAll(/\s+/g, ' ')
  output.note(`Warning: Whether GitHub takes the key is not known: ${why}. It is asked again by itself.`)
}

const UNOPENED =
  'The bundle is sealed: without --identity, its signature and digest are verified, and its content is not.'

const OUTCOMES: Readonly<Record<RestoreAnswer['outcome'], string>> = {
  restored: 'The credentials were restored.',
  unchanged: 'These credentials are in place already; nothing was changed.',
  'awaiting-unlock': 'The bundle is kept until its identity is given.',
}
