// `ghconnect disable`: ends the connection, and follows it until it is gone or waits for the App's owner.

import { z } from 'zod'
import { Failure } from '../../protocol/errors.ts'
import { type SeenStatus, StateAnswer } from '../../protocol/wire.ts'
import type { Client } from '../../protocol/client.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { confirm, YES_OPTION } from '../confirm.ts'
import { isDaemonUp } from '../daemon-first.ts'
import { failureOfLastCall, followStatus, getStatus, POLL_MS, POLLING } from '../watch.ts'

export const disable: CommandSpec = {
  name: 'disable',
  summary: 'disconnect this machine from GitHub',
  details: `Revokes the tokens, uninstalls the App, and names the page on which its owner deletes it, as GitHub lets no program do that.
The private key is shredded when the App is gone, or after 24 hours. Tokens are not served from the first moment on.
Asks for the account's name first; without a terminal, --yes is required.`,
  options: [
    {
      flags: '--local',
      description: 'only this machine (or this cluster): GitHub is not called, App and tokens remain there',
    },
    { flags: '--no-wait', description: "shred the key at once, without waiting for the App's deletion" },
    YES_OPTION,
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
      const offline = await deps.offline({ configFile: context.configFile })
      const account = await offline.findAccount()
      const what = account === undefined ? 'shreds the store' : `shreds the credentials of ${account}`
      await confirm(context, { what: `${what} on this machine`, name: account ?? 'this machine', yes })
      const gone = await offline.disableLocally()
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
    // Nobody should have to type a name for what will be refused: a closed store refuses this, too, and says why.
    if (before.state === 'locked') await client.call({ method: 'GET', path: '/v1/installations', answer: z.unknown() })
    const wait = options.flag('wait')
    // One that is under way has been asked for, and waits for the App's owner.
    if (before.state !== 'disconnecting' || local || !wait) await ask(context, { status: before, local, yes })
    const end = await takeDown(context, { client, local, wait })
    if (json) output.json(end)
    else if (end.state === 'disconnected') output.line(end.meaning)
    else {
      output.line(end.meaning)
      output.line(end.next)
    }
    return 0
  },
}

type Question = { status: SeenStatus; local: boolean; yes: boolean }

const ask = (context: Context, { status, local, yes }: Question): Promise<void> => {
  const name = status.account?.login ?? status.hostname ?? 'this machine'
  const what =
    status.state === 'awaiting-unlock'
      ? 'discards the sealed bundle that waits for its recovery key'
      : status.app === undefined
        ? `gives up connecting ${name}`
        : local || status.state === 'quarantined' || status.state === 'disconnecting'
          ? `shreds the credentials of ${name} on this machine`
          : `revokes all tokens and disconnects ${name}`
  return confirm(context, { what, name, yes })
}

type Wish = { client: Client; local: boolean; wait: boolean }

const takeDown = async (context: Context, { client, local, wait }: Wish): Promise<StateAnswer> => {
  const query = new URLSearchParams({ ...(local && { local: 'true' }), ...(!wait && { wait: 'false' }) }).toString()
  // The daemon takes its steps before it answers, which by way of a slow proxy is long enough to want to see them.
  const over = new AbortController()
  let polling = Promise.resolve()
  let isTold = false
  const onPolling = (): void => {
    if (!isTold) context.output.note(POLLING)
    isTold = true
  }
  const steps = client.subscribe(
    ({ event, detail }) => {
      if (event === 'step' && detail !== undefined) context.output.progress(detail)
    },
    refused => {
      if (!refused || over.signal.aborted) return
      onPolling()
      polling = showMeanings(context, { client, signal: over.signal })
    },
  )
  try {
    const path = query === '' ? '/v1/connection' : `/v1/connection?${query}`
    const answer = await client.call({ method: 'DELETE', path, answer: StateAnswer })
    over.abort()
    return answer.state === 'disconnecting' ? await waitUntilGone(context, { client, onPolling }) : answer
  } finally {
    over.abort()
    steps.close()
    await polling
  }
}

/** Where no events come, what the daemon does is seen in its status. */
const showMeanings = async (
  { output, deps }: Context,
  { client, signal }: { client: Client; signal: AbortSignal },
): Promise<void> => {
  let shown = ''
  while (!signal.aborted) {
    const status = await getStatus(client).catch(() => undefined)
    if (!signal.aborted && status?.state === 'disconnecting' && status.meaning !== shown) {
      output.progress(status.meaning)
      shown = status.meaning
    }
    await deps.clock.sleep(POLL_MS, signal)
  }
}

/** GitHub may be away for hours: the daemon goes on by itself, and there is no need to look on. */
const STUCK_MS = 30_000

const waitUntilGone = (
  { output, deps }: Context,
  { client, onPolling }: { client: Client; onPolling: () => void },
): Promise<StateAnswer> => {
  let shown = ''
  let stuckSinceMs = deps.clock.monotonic()
  const look = (status: SeenStatus): StateAnswer | undefined => {
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
  return followStatus(client, { clock: deps.clock, look, onPolling })
}

const answerOf = ({ state, meaning, next }: SeenStatus): StateAnswer => ({ state, meaning, next })

/** The last step is the owner's: `next` then bears the address of the page where the App is deleted. */
const waitsForOwner = (status: SeenStatus): boolean => /https?:\/\/\S+\/advanced\b/.test(status.next)
