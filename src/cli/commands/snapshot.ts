// `ghconnect snapshot export|inspect|verify`: the credentials out into a bundle, and what can be told of one.

import { writeDurably } from '../../service/files.ts'
import { CATALOGUE, Failure } from '../../protocol/errors.ts'
import { assertWritable, readBundle, readIdentityFile } from '../bundle-files.ts'
import { type CommandSpec, type Context, type Input, JSON_OPTION } from '../command.ts'
import type { BundleProof, BundleSummary, Exported } from '../offline.ts'
import { count, describeTime } from '../output.ts'

/** A daemon that is busy answers within this time; one that is hung does not, and the store is read without it. */
const EXPORT_MS = 3_000

export const snapshotExport: CommandSpec = {
  name: 'snapshot export',
  summary: 'write the credentials into a bundle',
  details: `Works while the daemon runs, is stopped or hangs, without network. The bundle is encrypted to the recovery keys; where there
are none it is in clear, and leaves to root only. A machine that is not connected gives a bundle that says so.
config.toml is in the bundle only with --with-config, and refused if it has a password in it. A restore shows it and never applies it.`,
  options: [
    { flags: '--output FILE', description: 'write this file (0600, replaced in one step) instead of standard output' },
    { flags: '--with-config', description: 'put the text of config.toml into the bundle, too' },
  ],
  examples: [
    'ghconnect snapshot export --output /backup/github-connect.tar --with-config',
    'ghconnect snapshot export | ssh backup "cat > github-connect.tar"',
  ],
  forBackups: true,
  async run(context, { options }) {
    const { deps, output, configFile } = context
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
    return 0
  },
}

const IN_CLEAR = 'The bundle is not encrypted: no recovery key exists. Run `ghconnect recovery-key create`.'

const cannotWrite = (cause: unknown): never => {
  throw new Failure('io', 'standard output cannot be written: the bundle was not taken', { cause })
}

/** By the daemon; else from its store. A caller who may not ask the daemon, and could not read the store, is told so. */
const exportBundle = async (context: Context, wish: { withConfig: boolean }): Promise<Exported> => {
  const { deps, output, configFile } = context
  const offline = await deps.offline({ configFile })
  try {
    const client = await context.client('admin')
    const bundle = await client.fetchBytes({
      method: 'POST',
      path: `/v1/snapshots${wish.withConfig ? '?config=true' : ''}`,
      silenceMs: EXPORT_MS,
    })
    offline.inspect(bundle)
    return { bundle, warnings: [] }
  } catch (error) {
    if (!(error instanceof Failure) || (error.code === 'not-permitted' && !offline.isRoot())) throw error
    output.progress(`${error.entry.title}: ${error.message}; reading the store without it`)
    return offline.export(wish).catch((second: unknown) => {
      // Of a daemon that is locked or out of order its own words say more than those of a store that nobody can read.
      const ofDaemon = error.code !== 'daemon-absent' && second instanceof Failure && second.code === 'locked'
      throw ofDaemon ? error : second
    })
  }
}

export const snapshotInspect: CommandSpec = {
  name: 'snapshot inspect',
  summary: 'tell what a bundle is, without any key',
  details: 'The signature and the digest of the payload are verified. A bundle in clear shows its configuration, too.',
  arguments: [{ name: 'file', description: 'the bundle; - for standard input' }],
  options: [JSON_OPTION],
  examples: ['ghconnect snapshot inspect github-connect.tar'],
  forBackups: true,
  async run(context, { options, args }) {
    const { deps, output, configFile } = context
    const offline = await deps.offline({ configFile })
    const bundle = await readBundle(deps, args[0])
    const summary = offline.inspect(bundle)
    const { configuration } = summary.sealed ? {} : await offline.verify({ bundle, againstGithub: false })
    if (options.flag('json')) {
      output.json({ ...summary, ...(configuration && { configuration }) })
      return 0
    }
    output.table(rowsOf(summary, deps.clock.now()))
    showConfiguration(output, configuration)
    return 0
  },
}

/** Each line escaped: whoever wrote the bundle wrote it. */
export const showConfiguration = ({ line }: Context['output'], texts: BundleProof['configuration'] = []): void => {
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
  options: [
    { flags: '--identity FILE', description: 'the recovery key (an age identity file) that opens the bundle' },
    { flags: '--against-github', description: 'ask GitHub, too, whether the key still signs for the App' },
    JSON_OPTION,
  ],
  examples: [
    'ghconnect snapshot verify github-connect.tar --identity recovery-key.txt',
    'ghconnect snapshot verify github-connect.tar --identity recovery-key.txt --against-github',
  ],
  forBackups: true,
  run: verify,
}

async function verify(context: Context, { options, args }: Input): Promise<number> {
  const { deps, output, configFile } = context
  const identityFile = options.text('identity')
  const identity = identityFile === undefined ? undefined : await readIdentityFile(identityFile)
  const bundle = await readBundle(deps, args[0])
  const offline = await deps.offline({ configFile })
  const againstGithub = options.flag('againstGithub')
  const proof = await offline.verify({ bundle, ...(identity && { identity }), againstGithub })
  const { github_skipped: skipped } = proof
  if (skipped !== undefined) output.note(`Warning: GitHub was not asked: ${skipped}.`)
  const code = skipped === undefined ? 0 : CATALOGUE['proxy-authentication'].exit
  if (options.flag('json')) {
    output.json(proof)
    return code
  }
  output.table([
    ...rowsOf(proof.summary, deps.clock.now()),
    ['Keys', proof.keys.join(', ') || 'none'],
    ['Installations', proof.installations.join(', ') || 'none'],
    ['Tokens', `${count(proof.live_tokens, 'token')} still live`],
  ])
  showConfiguration(output, proof.configuration)
  output.line('The bundle would restore.')
  if (proof.github !== undefined) output.line(`GitHub accepts its key for the App ${proof.github}.`)
  return code
}
