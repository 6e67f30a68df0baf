// `ghconnect import`: connects with an App that exists already, by its id and private key.

import { Failure } from '../../protocol/errors.ts'
import { StateAnswer } from '../../protocol/wire.ts'
import { type CommandSpec, JSON_OPTION, type Options } from '../command.ts'
import { readKeyFile } from '../key-file.ts'

export const importApp: CommandSpec = {
  name: 'import',
  summary: 'connect this machine with an existing GitHub App',
  details: `The key is the PEM file that the App's settings page offers for download. It is tried with GitHub before it is stored;
delete the file afterwards.`,
  options: [
    { flags: '--app-id ID', description: 'the App ID (a number)' },
    { flags: '--client-id ID', description: "the App's client ID, in place of its App ID" },
    { flags: '--key FILE', description: 'the private key (PEM); - reads it from standard input' },
    { flags: '--account NAME', description: 'the account that the App has to belong to' },
    JSON_OPTION,
  ],
  examples: [
    'ghconnect import --app-id 12345 --key octo-app.2026-07-01.private-key.pem',
    'pass show octo-app | ghconnect import --client-id Iv23liAbCdEf --key -',
  ],
  async run(context, { options }) {
    const { output } = context
    const identity = readIdentity(options)
    const file = options.text('key')
    if (file === undefined) throw new Failure('usage', '--key FILE is missing')
    const account = options.text('account')
    const key = await readKeyFile(context, file)
    const client = await context.client('admin')
    const answer = await client.call({
      method: 'POST',
      path: '/v1/connection/import',
      body: { ...identity, private_key: key.reveal(), ...(account !== undefined && { account }) },
      answer: StateAnswer,
    })
    if (options.flag('json')) output.json(answer)
    else {
      output.line(answer.meaning)
      if (answer.state !== 'connected') output.line(answer.next)
    }
    return 0
  },
}

const readIdentity = (options: Options): { app_id: number } | { client_id: string } => {
  const appId = options.text('appId')
  const clientId = options.text('clientId')
  if (appId !== undefined && clientId === undefined) {
    if (/^[1-9]\d{0,14}$/.test(appId)) return { app_id: Number(appId) }
    throw new Failure('usage', `--app-id ${appId}: must be a number; a client ID goes with --client-id`)
  }
  if (clientId !== undefined && appId === undefined) return { client_id: clientId }
  throw new Failure('usage', 'give either --app-id or --client-id')
}
