// `ghconnect ui`: prints a one-time link to the settings page.

import { UiLinkAnswer } from '../../protocol/wire.ts'
import { type CommandSpec, JSON_OPTION } from '../command.ts'
import { tunnelHint } from './enable.ts'

export const ui: CommandSpec = {
  name: 'ui',
  summary: 'print a one-time link to the settings page',
  details: `The link is good once and for five minutes; whoever opens it may do what you may do on admin.sock, until he signs out or does
nothing for 15 minutes. There is no password.`,
  options: [JSON_OPTION],
  examples: ['ghconnect ui'],
  async run(context, { options }) {
    const { output, deps } = context
    const client = await context.client('admin')
    const answer = await client.call({ method: 'POST', path: '/v1/ui-links', answer: UiLinkAnswer })
    if (options.flag('json')) output.json(answer)
    else {
      output.line('Open this link in a browser, within five minutes. It works once:')
      output.line(`  ${answer.url}`)
      const hint = tunnelHint(answer.url, deps.env['SSH_CONNECTION'])
      if (hint) {
        output.line('Is your browser on another machine? First run there:')
        output.line(`  ${hint}`)
      }
    }
    // No browser is started with it: whoever reads its arguments in the list of processes would be first to open the link.
    return 0
  },
}
