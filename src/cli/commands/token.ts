// `ghconnect token`: prints an installation access token, and nothing else.

import { type CommandSpec, JSON_OPTION } from '../command.ts'
import { requestToken, SCOPE_OPTIONS } from '../scope-options.ts'

export const token: CommandSpec = {
  name: 'token',
  summary: 'print an installation access token',
  details:
    'Which scopes you get is decided by the policy of the daemon. What you leave out is taken from your profile.',
  options: [...SCOPE_OPTIONS, JSON_OPTION],
  examples: [
    'ghconnect token --repo web --permission contents=read',
    'ghconnect token --min-ttl 30m | gh auth login --with-token',
  ],
  async run(context, { options }) {
    const answer = await requestToken(context, options)
    if (options.flag('json')) context.output.json(answer)
    else context.output.line(answer.token)
    return 0
  },
}
