// `ghconnect debug bundle`: one file for whoever helps, without a secret; with the daemon, or without it.

import { writeDurably } from '../../service/files.ts'
import { asFailure, Failure, toProblem } from '../../protocol/errors.ts'
import { assertWritable } from '../bundle-files.ts'
import type { CommandSpec, Context } from '../command.ts'
import { getStatus } from '../watch.ts'
import { askDoctor } from './check.ts'

export const debugBundleCommand: CommandSpec = {
  name: 'debug bundle',
  summary: 'write versions, configuration, status, check and journal into one file, without secrets',
  details: `Works without the daemon and with a configuration that it refuses; what cannot be read says why. Run it with sudo for all of it.
Passwords, tokens, keys and links to the settings page are left out. Names of accounts, repositories, hosts, users and services are in it: read it before you send it.`,
  options: [
    { flags: '--output FILE', description: 'write this file (0600) instead of ghconnect-debug-TIME.tar.gz here' },
  ],
  examples: ['sudo ghconnect debug bundle', 'sudo ghconnect debug bundle --output /tmp/ghconnect-debug.tar.gz'],
  async run(context, { options }) {
    const { deps, output, configFile } = context
    const time = new Date(deps.clock.now()).toISOString().replaceAll(/[-:]|\.\d+/g, '')
    const file = options.text('output') ?? `ghconnect-debug-${time}.tar.gz`
    if (file === '-') throw new Failure('usage', '--output -: give a file')
    assertWritable(file)
    output.progress('Asking the daemon, or the machine in its place.')
    const [status, check, findings] = await Promise.all([
      attempt(async () => getStatus(await context.client('admin'))),
      attempt(() => askDoctor(withoutSocket(context))),
      attempt(async () => (await deps.checkConfig({ configFile })).findings),
    ])
    const bytes = await deps.debugBundle({ configFile, answers: { status, check, 'config-check': findings } })
    writeDurably(file, bytes, 0o600)
    output.line(file)
    output.note(
      'It has no passwords, tokens or keys, but names of accounts, repositories and hosts: read it before you send it.',
    )
    return 0
  },
}

/** Where the daemon that was named is away, the machine is looked at all the same. */
const withoutSocket = (context: Context): Context => ({ ...context, socketGiven: false })

const attempt = async (ask: () => Promise<unknown>): Promise<unknown> => {
  try {
    return await ask()
  } catch (error) {
    return toProblem(asFailure(error))
  }
}
