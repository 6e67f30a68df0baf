// `ghconnect disable`: ends the connection, and follows it until it is gone or waits for the App's owner.

import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Failure } from '../../domain/errors.ts'
import { StateAnswer, type Status } from '../../domain/wire.ts'
import type { Client } from '../client.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { isDaemonUp } from '../daemon-first.ts'
import { failureOfLastCall, followStatus, getStatus } from '../watch.ts'

export const disable: CommandSpec = {
  name: 'disable',
  summary: 'disconnect this machine from GitHub',
  details: `Revokes the tokens, uninstalls the App, and names the page on which its owner deletes it, as GitHub lets no program do that.
The private key is shredded when the App is gone, or after 24 hours. Tokens are not served from the first moment on.`,
  options: [
    {
      flags: '--local',
      description: 'only this machine (or this cluster): GitHub is not called, App and tokens remain there',
    },
    { flags: '--yes', description: "do not ask, and do not wait for the App's deletion" },
    JSON_OPTION,
  ],
  examples: ['ghconnect disable', 'ghconnect disable --local'],
  async run(context, { options }) {
    const { output, deps } = context
    const json = options.flag('json')
    const local = options.flag('local')
    const yes = options.flag('yes')
    const client = await context.client('admin')
    if (local && !(await isDaemonUp(client))) {
      const gone = await (await deps.offline({ configFile: context.configFile })).disableLocally()
      if (json) output.json(gone)
      else output.line(gone.meaning)
      return 0
    }
    const before = await getStatus(client)
    if (before.state === 'disconnected') {
      if (json) output.json(answerOf(before))
      else output.line('This machine is not connected: there is nothing to disable.')
      return 0
    }
    if (deps.stdin.isTTY && deps.stderr.isTTY && !yes && !local) await confirm(context, before)
    const end = await takeDown(context, { client, local, yes })
    if (json) output.json(end)
    else if (end.state === 'disconnected') output.line(end.meaning)
    else {
      output.line(end.meaning)
      output.line(end.next)
    }
    return 0
  },
}

type Wish = { client: Client; local: boolean; yes: boolean }

const takeDown = async (context: Context, { client, local, yes }: Wish): Promise<StateAnswer> => {
  const query = new URLSearchParams({ ...(local && { local: 'true' }), ...(yes && { yes: 'true' }) }).toString()
  // The daemon takes its steps before it answers, which by way of a slow proxy is long enough to want to see them.
  const steps = client.subscribe(({ event, detail }) => {
    if (event === 'step' && detail !== undefined) context.output.progress(detail)
  })
  try {
    const path = query === '' ? '/v1/connection' : `/v1/connection?${query}`
    const answer = await client.call({ method: 'DELETE', path, answer: StateAnswer })
    return answer.state === 'disconnecting' ? await waitUntilGone(context, client) : answer
  } finally {
    steps.close()
  }
}

const confirm = async ({ output, deps }: Context, status: Status): Promise<void> => {
  const name = status.account?.login ?? deps.env['HOSTNAME'] ?? status.hostname
  output.prompt(`This revokes all tokens and disconnects ${name}. Type ${name} to go on: `)
  const lines = createInterface({ input: deps.stdin })
  const ended = once(lines, 'close').then(() => [''])
  const [typed] = await Promise.race([once(lines, 'line'), ended])
  lines.close()
  deps.stdin.pause()
  if (String(typed).trim().toLowerCase() !== name.toLowerCase()) {
    throw new Failure('usage', `that is not ${name}; nothing was changed`)
  }
}

/** GitHub may be away for hours: the daemon goes on by itself, and there is no need to look on. */
const STUCK_MS = 30_000

const waitUntilGone = ({ output, deps }: Context, client: Client): Promise<StateAnswer> => {
  let shown = ''
  let stuckSinceMs = deps.clock.monotonic()
  const look = (status: Status): StateAnswer | undefined => {
    if (status.meaning !== shown) {
      output.progress(status.meaning)
      shown = status.meaning
      stuckSinceMs = deps.clock.monotonic()
    }
    if (status.state !== 'disconnecting' || waitsForOwner(status)) return answerOf(status)
    if (deps.clock.monotonic() - stuckSinceMs < STUCK_MS) return undefined
    const trouble = failureOfLastCall(status)
    throw new Failure(trouble?.code ?? 'timeout', `${trouble?.message ?? status.meaning}; the daemon goes on by itself`)
  }
  return followStatus(client, { clock: deps.clock, look })
}

const answerOf = ({ state, meaning, next }: Status): StateAnswer => ({ state, meaning, next })

/** The last step is the owner's: `next` then bears the address of the page where the App is deleted. */
const waitsForOwner = (status: Status): boolean => /https?:\/\/\S+\/advanced\b/.test(status.next)
