// `ghconnect enable`, `import` and `disable`: begins and ends the connection, and follows it until it stands or is gone.

import { createInterface } from 'node:readline'
import type { Client } from '../../protocol/client.ts'
import { failureOfState } from '../../protocol/connection.ts'
import { asFailure, Failure, isCode } from '../../protocol/errors.ts'
import type { EnableAnswer, SeenStatus, StateAnswer } from '../../protocol/wire.ts'
import type { CheckRow } from '../../protocol/wire-check.ts'
import { type CommandSpec, type Context, JSON_OPTION, type Options, YES_OPTION } from '../command.ts'
import { confirm, readKeyFile } from '../input.ts'
import { failureOfLastCall, followStatus, isDaemonUp, POLL_MS, POLLING } from '../watch.ts'

export const enable: CommandSpec = {
  name: 'enable',
  summary: 'connect this machine to GitHub with a new GitHub App',
  details: `Prints the page on which an owner of the account creates the App, then waits until the App is installed.
If the browser cannot come back to this machine, type the address at which it ended (or the code in it) here.
When this command is ended, the daemon goes on waiting: the page is good for one hour.
An enterprise creates its App by hand: the page is a form filled in beforehand, and \`ghconnect import\` does the rest.`,
  options: {
    '--organization ORG': 'the organization that is to own the App',
    '--user LOGIN': 'the user that is to own the App',
    '--enterprise SLUG': 'the enterprise that is to own the App',
    '--without-recovery-key': 'do not ask for a recovery key first',
    '--no-wait': 'print the page and end',
    ...JSON_OPTION,
  },
  examples: ['ghconnect enable --organization octo-org', 'ghconnect enable --enterprise octo-corp'],
  async run(context) {
    const { output, options } = context
    const account = readAccount(options)
    await context.deps.beforeEnable?.(context, { withoutRecoveryKey: options.flag('withoutRecoveryKey') })
    const client = await context.client('admin')
    await assertWayOpen(context, client)
    const answer = await client.ask('POST /v1/connection', { body: { account } })
    context.print(answer, () => showPage(context, answer, account.login))
    if (answer.how === 'import' || !options.flag('wait')) return
    const status = await waitUntilConnected(context, client)
    context.print(status, () => output.line(status.meaning))
  },
}

/** What this machine needs to reach GitHub's API, in the order in which it is met. */
const WAY = new Set<CheckRow['layer']>(['configuration', 'dns', 'proxy', 'tls', 'host'])

/** An owner who created the App on GitHub should not have to wait for a proxy to be fixed. Throws what fails first. */
const assertWayOpen = async ({ output }: Context, client: Client): Promise<void> => {
  output.progress('Checking the way to GitHub...')
  // A daemon that cannot check says why when it is asked to connect.
  const report = await client.ask('GET /v1/check', { silenceMs: CHECK_MS }).catch(() => undefined)
  const fault = report?.rows.find(({ layer, verdict }) => verdict === 'failed' && WAY.has(layer))
  if (!fault) return
  const { code = '', evidence, next } = fault
  const said = `${evidence.replace(/\.$/, '')} (nothing was begun; \`ghconnect check\` shows each layer)`
  const failure = new Failure(isCode(code) ? code : 'unreachable', said, { next })
  // Nothing is under way that the daemon would try again.
  throw failure.entry.exit === 75
    ? new Failure(failure.code, said, { next: 'Run `ghconnect enable` again later.' })
    : failure
}

/** The daemon's check ends within five seconds. */
const CHECK_MS = 15_000

type Account = { type: 'organization' | 'user' | 'enterprise'; login: string }

const readAccount = (options: Options): Account => {
  const accounts = (['organization', 'user', 'enterprise'] as const).flatMap((type): Account[] => {
    const login = options.text(type)
    return login === undefined ? [] : [{ type, login }]
  })
  const [account] = accounts
  if (account && accounts.length === 1) return account
  throw new Failure('usage', 'give one of --organization, --user and --enterprise')
}

const showPage = (context: Context, { how, url }: EnableAnswer, login: string): void => {
  const { output } = context
  if (how === 'import') {
    output.line(`Open this form as an owner of ${login}, create the App, and generate a private key on its page:`)
    output.line(`  ${url}`)
    output.line('Then install the App, and run:')
    output.line(`  ghconnect import --app-id ID --key FILE --account ${login}`)
  } else {
    output.line(`Open this page as an owner of ${login}, within the hour:`)
    showLink(context, url)
  }
}

/** No browser is started with it: whoever reads its arguments in the list of processes would be the first to open the link. */
export const showLink = ({ output, deps }: Context, url: string): void => {
  output.line(`  ${url}`)
  const hint = tunnelHint(url, deps.env['SSH_CONNECTION'])
  if (!hint) return
  output.line('Is your browser on another machine? First run there:')
  output.line(`  ${hint}`)
}

/** The tunnel by which a browser at the other end of this SSH session reaches a page on loopback. */
export const tunnelHint = (url: string, sshConnection: string | undefined): string | undefined => {
  const [, , server, serverPort] = sshConnection?.split(' ') ?? []
  if (!server || !serverPort || !URL.canParse(url)) return undefined
  const { hostname, port, protocol } = new URL(url)
  if (!/^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(hostname)) return undefined
  const pagePort = port || (protocol === 'https:' ? '443' : '80')
  return `ssh ${serverPort === '22' ? '' : `-p ${serverPort} `}-L ${pagePort}:${hostname}:${pagePort} ${server}`
}

/** After the connection stands, a first token may follow at once, or only when somebody asks. */
const FIRST_TOKEN_MS = 3_000

const waitUntilConnected = async (context: Context, client: Client): Promise<SeenStatus> => {
  const { output, deps } = context
  const seen = new Set<string>()
  const once = (how: 'line' | 'note' | 'progress', text: string): void => {
    if (!seen.has(text)) output[how](text)
    seen.add(text)
  }
  let connectedAtMs: number | undefined
  const look = (status: SeenStatus): SeenStatus | undefined => {
    if (status.app) once('progress', `App created: ${status.app.name}`)
    const trouble = failureOfLastCall(status)
    if (trouble) once('note', `ghconnect: ${trouble.entry.title}: ${trouble.message}`)
    switch (status.state) {
      case 'awaiting-app':
        return undefined
      case 'awaiting-installation':
        once(context.json ? 'progress' : 'line', status.next)
        return undefined
      case 'connected':
        connectedAtMs ??= deps.clock.monotonic()
        once('progress', `Installed on ${(status.installations ?? []).map(i => i.account.login).join(', ')}`)
        if ((status.tokens?.live ?? 0) > 0) once('progress', 'First token minted')
        else if (deps.clock.monotonic() - connectedAtMs < FIRST_TOKEN_MS) return undefined
        return status
      default:
        throw failureOfState(status) ?? new Failure('not-connected', status.meaning)
    }
  }
  const stop = acceptCompletions(context, client)
  try {
    return await followStatus(client, { clock: deps.clock, look, onPolling: () => output.note(POLLING) })
  } finally {
    stop()
  }
}

/** Sends each line typed to the daemon. A wrong one is told, and another may follow. */
const acceptCompletions = (context: Context, client: Client): (() => void) => {
  const { output, deps } = context
  if (deps.stdin.isTTY)
    output.progress('Waiting. An address or code typed here is handed on. Ctrl-C ends only this wait.')
  const lines = createInterface({ input: deps.stdin })
  lines.on('line', line => {
    const redirected = line.trim()
    if (redirected === '') return
    client
      .ask('POST /v1/connection/completion', { body: { redirected } })
      .catch((error: unknown) => output.failure(asFailure(error), { json: false }))
  })
  return () => {
    lines.close()
    deps.stdin.pause()
  }
}

export const importApp: CommandSpec = {
  name: 'import',
  summary: 'connect this machine with an existing GitHub App',
  details: `The key is the PEM file that the App's settings page offers for download. It is tried with GitHub before it is stored;
delete the file afterwards.`,
  options: {
    '--app-id ID': 'the App ID (a number)',
    '--client-id ID': "the App's client ID, in place of its App ID",
    '--key FILE': 'the private key (PEM); - reads it from standard input',
    '--account NAME': 'the account that the App has to belong to',
    ...JSON_OPTION,
  },
  examples: [
    'ghconnect import --app-id 12345 --key octo-app.2026-07-01.private-key.pem',
    'pass show octo-app | ghconnect import --client-id Iv23liAbCdEf --key -',
  ],
  async run(context) {
    const { options } = context
    const identity = readIdentity(options)
    const file = options.text('key')
    if (file === undefined) throw new Failure('usage', '--key FILE is missing')
    const account = options.text('account')
    const key = await readKeyFile(context, file)
    const body = { ...identity, private_key: key.reveal(), account }
    showState(context, await context.ask('POST /v1/connection/import', { body }))
  },
}

/** What a state means and, where something is left to do, that. */
export const showState = (context: Context, answer: StateAnswer): void =>
  context.print(answer, () => {
    context.output.line(answer.meaning)
    if (answer.state !== 'connected') context.output.line(answer.next)
  })

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

export const disable: CommandSpec = {
  name: 'disable',
  summary: 'disconnect this machine from GitHub',
  details: `Revokes the tokens, uninstalls the App, and names the page on which its owner deletes it, as GitHub lets no program do that.
The private key is shredded when the App is gone, or after 24 hours. Tokens are not served from the first moment on.
Asks for the account's name first; without a terminal, --yes is required.`,
  options: {
    '--local': 'only this machine (or this cluster): GitHub is not called, App and tokens remain there',
    '--no-wait': "shred the key at once, without waiting for the App's deletion",
    ...YES_OPTION,
    ...JSON_OPTION,
  },
  examples: ['ghconnect disable', 'ghconnect disable --local'],
  async run(context) {
    const { output, deps, options } = context
    const [local, wait] = [options.flag('local'), options.flag('wait')]
    const client = await context.client('admin')
    if (local && !(await isDaemonUp(client))) {
      const offline = await deps.offline({ configFile: context.configFile })
      const account = await offline.findAccount()
      const what = account === undefined ? 'shreds the store' : `shreds the credentials of ${account}`
      await confirm(context, `${what} on this machine`, account ?? 'this machine')
      const gone = await offline.disableLocally()
      return context.print(gone, () => output.line(gone.meaning))
    }
    const before = await client.ask('GET /v1/status')
    if (before.state === 'disconnected') {
      return context.print(answerOf(before), () =>
        output.line('This machine is not connected: there is nothing to disable.'),
      )
    }
    // Nobody should have to type a name for what will be refused: a closed store refuses this, too, and says why.
    if (before.state === 'locked') await client.ask('GET /v1/installations')
    // One that is under way has been asked for, and waits for the App's owner.
    if (before.state !== 'disconnecting' || local || !wait) await askToDisable(context, before, local)
    const end = await takeDown(context, { client, local, wait })
    context.print(end, () => {
      output.line(end.meaning)
      if (end.state !== 'disconnected') output.line(end.next)
    })
  },
}

const askToDisable = (context: Context, status: SeenStatus, local: boolean): Promise<void> => {
  const name = status.account?.login ?? status.hostname ?? 'this machine'
  const what =
    status.state === 'awaiting-unlock'
      ? 'discards the sealed bundle that waits for its recovery key'
      : status.app === undefined
        ? `gives up connecting ${name}`
        : local || status.state === 'quarantined' || status.state === 'disconnecting'
          ? `shreds the credentials of ${name} on this machine`
          : `revokes all tokens and disconnects ${name}`
  return confirm(context, what, name)
}

type TakingDown = { client: Client; local: boolean; wait: boolean }

const takeDown = async (context: Context, { client, local, wait }: TakingDown): Promise<StateAnswer> => {
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
    const query = { local: local ? 'true' : undefined, wait: wait ? undefined : 'false' } as const
    const answer = await client.ask('DELETE /v1/connection', { query })
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
    const status = await client.ask('GET /v1/status').catch(() => undefined)
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
