// `ghconnect keys list`, `keys add`, `keys retire`: changes the App's private key without a request that fails.

import type { KeysAnswer } from '../../protocol/wire.ts'
import { type CommandSpec, type Context, JSON_OPTION, YES_OPTION } from '../command.ts'
import { confirm, findLooseMode, readKeyFile } from '../input.ts'
import { describeTime } from '../output.ts'

export const keysList: CommandSpec = {
  name: 'keys list',
  summary: "list the App's private keys by fingerprint",
  details: "The fingerprints are those that GitHub shows in the App's settings.",
  options: JSON_OPTION,
  examples: ['ghconnect keys list'],
  async run(context) {
    const answer = await context.ask('GET /v1/keys')
    context.print(answer, () => {
      if (answer.keys.length === 0) context.output.note('No App is configured, so there is no key.')
      else show(context, answer)
    })
  },
}

export const keysAdd: CommandSpec = {
  name: 'keys add',
  summary: "add a second private key, generated on the App's settings page",
  details: `GitHub has to take a signature of it first. It signs from then on; the key of before is the fallback until \`keys retire\`.
A key that is held already changes nothing. - reads it from standard input.`,
  arguments: [{ name: 'file', description: 'the private key (PEM)' }],
  options: JSON_OPTION,
  examples: ['ghconnect keys add octo-app.2026-07-01.private-key.pem', 'pass show octo-app | ghconnect keys add -'],
  async run(context) {
    const { output } = context
    const [file = ''] = context.args
    const key = await readKeyFile(context, file)
    const mode = await findLooseMode(file)
    if (mode !== undefined) output.note(`Warning: ${file} has mode ${mode}: others than you can read the private key.`)
    const answer = await context.ask('POST /v1/keys', { body: { private_key: key.reveal() } })
    context.print(answer, () => {
      output.line(answer.already_held ? `${answer.added} is held already.` : `${answer.added} signs now.`)
      show(context, answer)
      if (file !== '-') output.line(`The store has it encrypted; delete the file: shred -u ${file}`)
      if (answer.keys.length > 1) output.line('When all is well: ghconnect keys retire')
    })
  },
}

export const keysRetire: CommandSpec = {
  name: 'keys retire',
  summary: 'drop the fallback key, once GitHub took a signature of the one that stays',
  details:
    "The last key is never dropped. Prints which key to delete on GitHub, and where: no API does that.\nAsks for the account's name first; without a terminal, --yes is required.",
  options: {
    '--fingerprint FINGERPRINT': 'the key to drop, in place of the fallback',
    ...YES_OPTION,
    ...JSON_OPTION,
  },
  complete: { '--fingerprint': 'keys' },
  examples: [
    'ghconnect keys retire',
    'ghconnect keys retire --fingerprint SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
  ],
  async run(context) {
    const { output } = context
    const fingerprint = context.options.text('fingerprint')
    const { account, keys = [] } = await context.ask('GET /v1/status')
    if (keys.length > 1) {
      const name = account?.login ?? 'this machine'
      await confirm(context, `drops a private key of the App of ${name}`, name)
    }
    const answer = await context.ask('DELETE /v1/keys', { query: { fingerprint } })
    context.print(answer, () => {
      if (answer.retired.length === 0) return output.line('One key is held, and it stays: there is nothing to retire.')
      for (const retired of answer.retired) output.line(`${retired} is held no more.`)
      output.line(
        `Delete it on GitHub, where the App's keys are listed by this fingerprint: ${answer.delete_on_github}`,
      )
    })
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
