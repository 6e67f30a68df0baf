// `ghconnect revoke --all`: ends every token at once, as after a leak, and keeps the connection.

import { CATALOGUE, Failure, isCode } from '../../protocol/errors.ts'
import { failureOfState } from '../../protocol/connection.ts'
import { RevokeAnswer } from '../../protocol/wire.ts'
import { type CommandSpec, JSON_OPTION } from '../command.ts'
import { confirm, YES_OPTION } from '../confirm.ts'
import { count, describeTime } from '../output.ts'
import { getStatus } from '../watch.ts'

/** GitHub was not asked yet, or for a reason that this version does not know. */
const TRY_AGAIN = 75
/** The daemon answers after a minute. */
const SILENCE_MS = 180_000

export const revoke: CommandSpec = {
  name: 'revoke',
  summary: 'revoke all tokens at GitHub, as after a leak',
  details: `The connection and the private key stay, and whoever asks for a token gets a new one. Jobs that use an old one fail.
In a cluster the tokens of every node are revoked. The daemon tries again what GitHub did not revoke; the exit code is then that of the failure.
If the private key leaked, too: add a new one with \`ghconnect keys add\`, retire the old one, and delete it on GitHub.
Asks for the account's name first; without a terminal, --yes is required.`,
  options: [{ flags: '--all', description: 'required: every live token is revoked' }, YES_OPTION, JSON_OPTION],
  examples: ['ghconnect revoke --all', 'ghconnect revoke --all --yes --json'],
  async run(context, { options }) {
    const { output, deps } = context
    if (!options.flag('all')) throw new Failure('usage', 'give --all: single tokens cannot be revoked')
    const client = await context.client('admin')
    const status = await getStatus(client)
    const name = status.account?.login
    if (name === undefined) throw failureOfState(status) ?? new Failure('not-connected', status.meaning)
    await confirm(context, { what: `revokes every token of ${name} that is in use`, name, yes: options.flag('yes') })
    const steps = client.subscribe(({ event, detail }) => {
      if (event === 'step' && detail !== undefined) output.progress(detail)
    })
    const call = { method: 'POST', path: '/v1/revoke', body: { all: true }, silenceMs: SILENCE_MS } as const
    const answer = await client.call({ ...call, answer: RevokeAnswer }).finally(() => steps.close())
    const { revoked, remaining, remaining_end_at: end, failed } = answer
    if (options.flag('json')) output.json(answer)
    else output.line(`${count(revoked, 'token')} revoked. New tokens are minted on demand.`)
    if (remaining === 0) return 0
    const [first] = failed
    const entry = first && isCode(first.code) ? CATALOGUE[first.code] : undefined
    if (!options.flag('json')) {
      const until = end === undefined ? '' : ` until ${describeTime(end, deps.clock.now())} at most`
      output.note(
        `ghconnect: ${count(remaining, 'token')} not revoked yet: no longer served, and accepted by GitHub${until}.`,
      )
      for (const { code, detail, tokens } of failed)
        output.note(`ghconnect: ${count(tokens, 'token')}: ${code}: ${detail}`)
      output.note(
        `  What to do: ${entry ? `${entry.next} ` : ''}The daemon tries again with each refresh; see \`ghconnect status\`.`,
      )
    }
    return entry?.exit || TRY_AGAIN
  },
}
