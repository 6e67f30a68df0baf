// `ghconnect keys list`, `keys add`, `keys retire`: changes the App's private key without a request that fails.

import type { KeysAnswer } from '../../protocol/wire.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { confirm, YES_OPTION } from '../confirm.ts'
import { findLooseMode, readKeyFile } from '../key-file.ts'
import { describeTime } from '../output.ts'
import { getStatus } from '../watch.ts'

/** Loaded with the command: other commands need none of it. */
const shapes = () => import('../../protocol/wire.ts')

const PATH = '/v1/keys'

export const keysList: CommandSpec = {
  name: 'keys list',
  summary: "list the App's private keys by fingerprint",
  details: "The fingerprints are those that GitHub shows in the App's settings.",
  options: [JSON_OPTION],
  examples: ['ghconnect keys list'],
  async run(context, { options }) {
    const { KeysAnswer } = await shapes()
    const client = await context.client('admin')
    const answer = await client.call({ method: 'GET', path: PATH, answer: KeysAnswer })
    if (options.flag('json')) context.output.json(answer)
    else if (answer.keys.length === 0) context.output.note('No App is configured, so there is no key.')
    else show(context, answer)
    return 0
  },
}

export const keysAdd: CommandSpec = {
  name: 'keys add',
  summary: "add a second private key, generated on the App's settings page",
  details: `GitHub has to take a signature of it first. It signs from then on; the key of before is the fallback until \`keys retire\`.
A key that is held already changes nothing. - reads it from standard input.`,
  arguments: [{ name: 'file', description: 'the private key (PEM)' }],
  options: [JSON_OPTION],
  examples: ['ghconnect keys add octo-app.2026-07-01.private-key.pem', 'pass show octo-app | ghconnect keys add -'],
  async run(context, { options, args }) {
    const { output } = context
    const [file = ''] = args
    const { AddKeyAnswer } = await shapes()
    const key = await readKeyFile(context, file)
    const mode = await findLooseMode(file)
    if (mode !== undefined) output.note(`Warning: ${file} has mode ${mode}: others than you can read the private key.`)
    const client = await context.client('admin')
    const body = { private_key: key.reveal() }
    const answer = await client.call({ method: 'POST', path: PATH, body, answer: AddKeyAnswer })
    if (options.flag('json')) output.json(answer)
    else {
      output.line(answer.already_held ? `${answer.added} is held already.` : `${answer.added} signs now.`)
      show(context, answer)
      if (file !== '-') output.line(`The store has it encrypted; delete the file: shred -u ${file}`)
      if (answer.keys.length > 1) output.line('When all is well: ghconnect keys retire')
    }
    return 0
  },
}

export const keysRetire: CommandSpec = {
  name: 'keys retire',
  summary: 'drop the fallback key, once GitHub took a signature of the one that stays',
  details:
    "The last key is never dropped. Prints which key to delete on GitHub, and where: no API does that.\nAsks for the account's name first; without a terminal, --yes is required.",
  options: [
    {
      flags: '--fingerprint FINGERPRINT',
      description: 'the key to drop, in place of the fallback',
      complete: 'keys',
    },
    YES_OPTION,
    JSON_OPTION,
  ],
  examples: [
    'ghconnect keys retire',
    'ghconnect keys retire --fingerprint SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
  ],
  async run(context, { options }) {
    const { output } = context
    const { RetireKeyAnswer } = await shapes()
    const client = await context.client('admin')
    const fingerprint = options.text('fingerprint')
    const { account, keys = [] } = await getStatus(client)
    if (keys.length > 1) {
      const name = account?.login ?? 'this machine'
      const what = `drops a private key of the App of ${name}`
      await confirm(context, { what, name, yes: options.flag('yes') })
    }
    const path = fingerprint === undefined ? PATH : `${PATH}?fingerprint=${encodeURIComponent(fingerprint)}`
    const answer = await client.call({ method: 'DELETE', path, answer: RetireKeyAnswer })
    if (options.flag('json')) output.json(answer)
    else if (answer.retired.length === 0) output.line('One key is held, and it stays: there is nothing to retire.')
    else {
      for (const retired of answer.retired) output.line(`${retired} is held no more.`)
      output.line(
        `Delete it on GitHub, where the App's keys are listed by this fingerprint: ${answer.delete_on_github}`,
      )
    }
    return 0
  },
}

const show = ({ output, deps }: Context, { keys }: KeysAnswer): void => {
  const rows = keys.map(key => [
    key.fingerprint,
    key.signs ? 'signs' : 'fallback',
    key.state === 'unknown' ? 'not asked yet' : key.state,
    describeTime(key.added_at, deps.clock.now()),
  ])
  output.table(rows, ['FINGERPRINT', 'USE', 'GITHUB', 'ADDED'])
}
