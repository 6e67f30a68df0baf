// `ghconnect refresh`: mints the tokens in use anew, now.

import { CATALOGUE, Failure, isCode } from '../../protocol/errors.ts'
import { RefreshAnswer } from '../../protocol/wire.ts'
import { adviceOn } from '../advice.ts'
import { type CommandSpec, JSON_OPTION } from '../command.ts'
import { count } from '../output.ts'

/** Where a failure has a code that this version does not know: another try may help. */
const TRY_AGAIN = 75

export const refresh: CommandSpec = {
  name: 'refresh',
  summary: 'refresh all tokens in use now',
  details: 'The exit code is that of the first failure, where there was one; the old token of its scope is kept.',
  options: [JSON_OPTION],
  examples: ['ghconnect refresh'],
  async run(context, { options }) {
    const { output } = context
    const client = await context.client('admin')
    const answer = await client.call({ method: 'POST', path: '/v1/refresh', answer: RefreshAnswer })
    if (options.flag('json')) output.json(answer)
    else output.line(`${count(answer.refreshed, 'token')} refreshed.`)
    const [first] = answer.failed
    if (!first) return 0
    if (!options.flag('json')) {
      for (const { scope, code, detail } of answer.failed) output.note(`ghconnect: ${scope}: ${code}: ${detail}`)
      if (isCode(first.code)) {
        const asked = { command: 'refresh', who: await context.deps.who(), socketGiven: context.socketGiven }
        output.note(`  What to do: ${adviceOn(new Failure(first.code, first.detail), asked)}`)
      }
    }
    return isCode(first.code) ? CATALOGUE[first.code].exit : TRY_AGAIN
  },
}
