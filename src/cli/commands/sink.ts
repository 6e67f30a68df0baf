// `ghconnect sink`: keeps the file of one [[sinks]] of the configuration, as the user who is to own it.

import { Failure } from '../../protocol/errors.ts'
import { writeToken } from '../../protocol/token-texts.ts'
import type { CommandSpec } from '../command.ts'
import { keepFile } from '../keep-file.ts'
import { createTokenFile } from '../token-file.ts'

export const sink: CommandSpec = {
  name: 'sink',
  summary: 'keep a file with a token, as a sink of the configuration says',
  details: `An ordinary client of the daemon, for ghconnect-sink@NAME.service: it runs as the owner of the file, whom the profile admits.
The file is written whole at each new token, stays where writing fails, and is removed when tokens are no longer served.
A path that is a link, a folder, a mount of its own or another user's is refused, as is a folder where it cannot be replaced, with exit code 78.`,
  arguments: [{ name: 'name', description: 'the name of the sink', complete: 'sinks' }],
  options: [],
  examples: ['ghconnect sink actions'],
  async run(context, { args }) {
    const { deps, configFile } = context
    const [name = ''] = args
    const { loadConfig } = await import('../../service/config.ts')
    const { createNotifier } = await import('../../service/systemd.ts')
    // Whether the users of profiles exist is for the daemon to say.
    const config = loadConfig(configFile, { hostname: 'localhost', findUser: () => 0, findGroup: () => 0 })
    const found = config.sinks.find(known => known.name === name)
    if (!found) throw new Failure('configuration', `${configFile}: sinks: there is none of the name ${name}`)
    const file = createTokenFile(found.path, found.mode)
    file.check()
    const notifier = createNotifier(deps.env)
    await keepFile(context, {
      request: { profile: found.profile },
      file,
      socket: 'token',
      signal: deps.stopSignal(),
      write: answer => writeToken(found.format, answer, config.github),
      // Whoever is started after this finds the file, or the reason in the status why there is none.
      onNews: news => notifier.ready(`${found.path}: ${news}`),
    })
    return 0
  },
}
