// `ghconnect snapshot export|restore|inspect|verify`: the credentials out into a bundle and back, and what a bundle shows.

import type { Client } from '../../protocol/client.ts'
import { CATALOGUE, Failure } from '../../protocol/errors.ts'
import type { RestoreAnswer, SeenStatus } from '../../protocol/wire.ts'
import { writeDurably } from '../../service/files.ts'
import {
  type BundleProof,
  type BundleSummary,
  type CommandSpec,
  type Context,
  type Exported,
  JSON_OPTION,
  type OfflineWork,
  type RestoreOptions,
  YES_OPTION,
} from '../command.ts'
import { confirm, readBundle, readIdentity } from '../input.ts'
import { count, describeTime } from '../output.ts'
import { assertWritable } from '../token-file.ts'
import { isDaemonUp } from '../watch.ts'

/** A daemon that is busy answers within this time; one that is hung does not, and the store is read without it. */
const EXPORT_MS = 3_000

export const snapshotExport: CommandSpec = {
  name: 'snapshot export',
  summary: 'write the credentials into a bundle',
  details: `Works while the daemon runs, is stopped or hangs, without network. The bundle is encrypted to the recovery keys; where there
are none it is in clear, and leaves to root only. A machine that is not connected gives a bundle that says so.
config.toml is in the bundle only with --with-config, and refused if it has a password in it. A restore shows it and never applies it.`,
  options: {
    '--output FILE': 'write this file (0600, replaced in one step) instead of standard output',
    '--with-config': 'put the text of config.toml into the bundle, too',
  },
  examples: [
    'ghconnect snapshot export --output /backup/github-connect.tar --with-config',
    'ghconnect snapshot export | ssh backup "cat > github-connect.tar"',
  ],
  forBackups: true,
  async run(context) {
    const { deps, output, configFile, options } = context
    const file = options.text('output')
    const toFile = file !== undefined && file !== '-'
    if (toFile) assertWritable(file)
    else if (deps.stdout.isTTY) throw new Failure('usage', 'a bundle is not for a terminal; give --output FILE')
    const { bundle, warnings } = await exportBundle(context, { withConfig: options.flag('withConfig') })
    const { sealed } = (await deps.offline({ configFile })).inspect(bundle)
    for (const warning of warnings) output.note(`Warning: ${warning}`)
    if (!sealed) output.note(`Warning: ${IN_CLEAR}`)
    if (toFile) writeDurably(file, bundle, 0o600)
    else await deps.writeBytes(bundle).catch(cannotWrite)
  },
}

const IN_CLEAR = 'The bundle is not encrypted: no recovery key exists. Run `ghconnect recovery-key create`.'

const cannotWrite = (cause: unknown): never => {
  throw new Failure('io', 'standard output cannot be written: the bundle was not taken', { cause })
}

/** By the daemon; else from its store. A caller who may not ask the daemon, and could not read the store, is told so. */
const exportBundle = async (context: Context, options: { withConfig: boolean }): Promise<Exported> => {
  const { deps, output, configFile } = context
  const offline = await deps.offline({ configFile })
  try {
    const client = await context.client('admin')
    const query = { config: options.withConfig ? 'true' : undefined } as const
    const bundle = await client.fetchBytes('POST /v1/snapshots', { query, silenceMs: EXPORT_MS })
    offline.inspect(bundle)
    return { bundle, warnings: [] }
  } catch (error) {
    if (!(error instanceof Failure) || (error.code === 'not-permitted' && !offline.isRoot())) throw error
    output.progress(`${error.entry.title}: ${error.message}; reading the store without it`)
    return offline.export(options).catch((second: unknown) => {
      // Of a daemon that is locked or out of order its own words say more than those of a store that nobody can read.
      const ofDaemon = error.code !== 'daemon-absent' && second instanceof Failure && second.code === 'locked'
      throw ofDaemon ? error : second
    })
  }
}

export const snapshotRestore: CommandSpec = {
  name: 'snapshot restore',
  summary: 'put the credentials of a bundle in place of those of this machine',
  details: `Everything is verified first; then one swap. The daemon takes it over while it runs, and need not run. The same bundle twice
changes nothing. On another machine than the one it was taken from the credentials are quarantined until \`ghconnect adopt\`.
A sealed bundle without its identity is kept until \`ghconnect unlock\`.
Over a live connection --force asks for the account's name first, and without a terminal it requires --yes.`,
  options: {
    '--input FILE': 'the bundle, if not on standard input',
    '--identity FILE': 'the recovery key (an age identity file) that opens the bundle',
    '--verify-only': 'verify, and change nothing',
    '--force': 'accept an unknown signer over a live connection, or a bundle of another GitHub',
    ...YES_OPTION,
    ...JSON_OPTION,
  },
  examples: [
    'ghconnect snapshot restore --identity recovery-key.txt < github-connect.tar',
    'ghconnect snapshot restore --input github-connect.tar --verify-only',
  ],
  forBackups: true,
  async run(context) {
    const { deps, output, configFile, options } = context
    const identity = await readIdentity(options.text('identity'))
    const bundle = await readBundle(context, options.text('input'))
    const offline = await deps.offline({ configFile })
    const summary = offline.inspect(bundle)
    const given = { bundle, ...(identity && { identity }) }
    if (options.flag('verifyOnly')) {
      const isOpen = !summary.sealed || identity !== undefined
      if (!isOpen) output.note(`Warning: ${UNOPENED}`)
      const { configuration } = isOpen ? await offline.verify({ ...given, againstGithub: false }) : {}
      return context.print({ ...summary, ...(configuration && { configuration }) }, () => {
        showConfiguration(output, configuration)
        output.line('The bundle is whole; nothing was changed.')
      })
    }
    const answer = await restore(context, { ...given, force: options.flag('force') }, offline)
    context.print(answer, () => {
      showConfiguration(output, answer.configuration)
      output.line(OUTCOMES[answer.outcome])
      output.line(answer.meaning)
      if (answer.state !== 'connected') output.line(answer.next)
    })
  },
}

/** By the daemon, which takes it over as it runs; else in its place. */
const restore = async (context: Context, given: RestoreOptions, offline: OfflineWork): Promise<RestoreAnswer> => {
  const { deps, output } = context
  const { bundle, force, identity } = given
  const client = await context.client('admin')
  const isUp = await isDaemonUp(client)
  if (force) {
    // A store that cannot be opened is set aside, not destroyed.
    const name = isUp
      ? liveAccount(await client.ask('GET /v1/status'))
      : await offline.findAccount().catch(() => undefined)
    if (name) await confirm(context, `replaces the live connection to ${name}`, name)
  }
  const beganMs = deps.clock.now()
  const body = { bundle: Buffer.from(bundle).toString('base64'), force, identity: identity?.reveal() }
  const answer = isUp ? await client.ask('POST /v1/snapshots/restore', { body }) : await offline.restore(given)
  for (const warning of answer.warnings) output.note(`Warning: ${warning.replaceAll(/\s+/g, ' ')}`)
  if (isUp && answer.outcome === 'restored' && answer.state === 'connected') {
    await followProof(context, { client, beganMs })
  }
  return answer
}

/** An enable that is not finished has an account and no App. */
const liveAccount = ({ account, app }: SeenStatus): string | undefined => (app ? account?.login : undefined)

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
    const { tokens, last_failure: last } = await client.ask('GET /v1/status')
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

export const snapshotInspect: CommandSpec = {
  name: 'snapshot inspect',
  summary: 'tell what a bundle is, without any key',
  details: 'The signature and the digest of the payload are verified. A bundle in clear shows its configuration, too.',
  arguments: [{ name: 'file', description: 'the bundle; - for standard input' }],
  options: JSON_OPTION,
  examples: ['ghconnect snapshot inspect github-connect.tar'],
  forBackups: true,
  async run(context) {
    const { deps, output, configFile } = context
    const offline = await deps.offline({ configFile })
    const bundle = await readBundle(context, context.args[0])
    const summary = offline.inspect(bundle)
    const { configuration } = summary.sealed ? {} : await offline.verify({ bundle, againstGithub: false })
    context.print({ ...summary, ...(configuration && { configuration }) }, () => {
      output.table(rowsOf(summary, deps.clock.now()))
      showConfiguration(output, configuration)
    })
  },
}

/** Each line escaped: whoever wrote the bundle wrote it. */
const showConfiguration = ({ line }: Context['output'], texts: BundleProof['configuration'] = []): void => {
  for (const { path, text } of texts) {
    line(`Configuration in the bundle, not applied: ${path}`)
    for (const one of text.trimEnd().split('\n')) line(`  ${one}`)
  }
}

const rowsOf = (summary: BundleSummary, nowMs: number): string[][] => [
  ['Created', `${describeTime(summary.created, nowMs)} on ${summary.hostname}`],
  ['State', `${summary.state}, generation ${summary.generation}`],
  ...(summary.account ? [['Account', `${summary.account.login} (${summary.account.type})`]] : []),
  ...(summary.app_id === undefined ? [] : [['App ID', String(summary.app_id)]]),
  ['Encrypted', summary.sealed ? `to ${summary.recipients.join(', ')}` : 'no'],
  ['Signer', summary.signer],
  ['Size', `${summary.size} bytes, format ${summary.format}`],
]

export const snapshotVerify: CommandSpec = {
  name: 'snapshot verify',
  summary: 'prove that a bundle would restore',
  details:
    'A restore drill: nothing is changed here, and the daemon is not asked. A bundle in clear needs no identity.',
  arguments: [{ name: 'file', description: 'the bundle; - for standard input' }],
  options: {
    '--identity FILE': 'the recovery key (an age identity file) that opens the bundle',
    '--against-github': 'ask GitHub, too, whether the key still signs for the App',
    ...JSON_OPTION,
  },
  examples: [
    'ghconnect snapshot verify github-connect.tar --identity recovery-key.txt',
    'ghconnect snapshot verify github-connect.tar --identity recovery-key.txt --against-github',
  ],
  forBackups: true,
  async run(context) {
    const { deps, output, configFile, options } = context
    const identity = await readIdentity(options.text('identity'))
    const bundle = await readBundle(context, context.args[0])
    const offline = await deps.offline({ configFile })
    const againstGithub = options.flag('againstGithub')
    const proof = await offline.verify({ bundle, ...(identity && { identity }), againstGithub })
    const { github_skipped: skipped } = proof
    if (skipped !== undefined) output.note(`Warning: GitHub was not asked: ${skipped}.`)
    context.print(proof, () => {
      output.table([
        ...rowsOf(proof.summary, deps.clock.now()),
        ['Keys', proof.keys.join(', ') || 'none'],
        ['Installations', proof.installations.join(', ') || 'none'],
        ['Tokens', `${count(proof.live_tokens, 'token')} still live`],
      ])
      showConfiguration(output, proof.configuration)
      output.line('The bundle would restore.')
      if (proof.github !== undefined) output.line(`GitHub accepts its key for the App ${proof.github}.`)
    })
    return skipped === undefined ? 0 : CATALOGUE['proxy-authentication'].exit
  },
}
