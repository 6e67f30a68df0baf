// Commands that ask no daemon: `daemon`, `sandbox`, `completion`.

import { Failure } from '../../protocol/errors.ts'
import type { CommandSpec } from '../command.ts'
import { completionScript, SHELLS } from '../completion.ts'

export const daemon: CommandSpec = {
  name: 'daemon',
  summary: 'run the daemon in the foreground',
  examples: ['ghconnect daemon --config ./config.toml'],
  run: ({ deps, configFile }) => deps.runDaemon({ configFile }),
}

export const sandbox: CommandSpec = {
  name: 'sandbox',
  summary: 'run a stand-in for GitHub on loopback, for development and tests',
  options: {
    '--listen ADDRESS': 'address and port, on loopback (127.0.0.1:0 takes any free port)',
    '--seed N': 'makes ids and tokens the same in each run',
    '--tls-cert FILE': 'serve https with this certificate (PEM)',
    '--tls-key FILE': "the certificate's key (PEM)",
  },
  examples: ['ghconnect sandbox --listen 127.0.0.1:8471'],
  async run({ deps, options }) {
    const listen = options.text('listen') ?? '127.0.0.1:8471'
    const [seed, tlsCert, tlsKey] = [options.text('seed'), options.text('tlsCert'), options.text('tlsKey')]
    if (!/^.+:\d{1,5}$/.test(listen)) throw new Failure('usage', `--listen ${listen}: must be ADDRESS:PORT`)
    if (seed !== undefined && !/^\d{1,9}$/.test(seed)) throw new Failure('usage', `--seed ${seed}: must be a number`)
    if ((tlsCert === undefined) !== (tlsKey === undefined)) {
      throw new Failure('usage', 'give both of --tls-cert and --tls-key, or neither')
    }
    try {
      await deps.runSandbox({
        listen,
        ...(seed !== undefined && { seed }),
        ...(tlsCert !== undefined && tlsKey !== undefined && { tlsCert, tlsKey }),
      })
    } catch (error) {
      // The sandbox knows nothing of our catalogue: an address in use, a host that is not loopback, a file it cannot read.
      throw error instanceof Error ? new Failure('io', error.message, { cause: error }) : error
    }
  },
}

export const completion: CommandSpec = {
  name: 'completion',
  summary: 'print the completion script of a shell',
  arguments: [{ name: 'shell', description: 'the shell', choices: SHELLS }],
  examples: ['ghconnect completion bash > /etc/bash_completion.d/ghconnect', 'source <(ghconnect completion zsh)'],
  async run({ deps, commands, args: [given = ''] }) {
    const shell = SHELLS.find(known => known === given)
    if (!shell) throw new Failure('usage', `${given}: must be one of ${SHELLS.join(', ')}`)
    deps.stdout.write(completionScript(shell, commands))
  },
}
