// `ghconnect enable`: begins the connection, says which page to open, and follows it until there is a connection.

import { createInterface } from 'node:readline'
import { asFailure, Failure, isCode } from '../../protocol/errors.ts'
import { failureOfState } from '../../protocol/connection.ts'
import { EnableAnswer, StateAnswer, type SeenStatus } from '../../protocol/wire.ts'
import type { CheckRow } from '../../protocol/wire-check.ts'
import type { Client } from '../../protocol/client.ts'
import { type CommandSpec, type Context, JSON_OPTION, type Options } from '../command.ts'
import { failureOfLastCall, followStatus, POLLING } from '../watch.ts'

export const enable: CommandSpec = {
  name: 'enable',
  summary: 'connect this machine to GitHub with a new GitHub App',
  details: `Prints the page on which an owner of the account creates the App, then waits until the App is installed.
If the browser cannot come back to this machine, type the address at which it ended (or the code in it) here.
When this command is ended, the daemon goes on waiting: the page is good for one hour.
An enterprise creates its App by hand: the page is a form filled in beforehand, and \`ghconnect import\` does the rest.`,
  options: [
    { flags: '--organization ORG', description: 'the organization that is to own the App' },
    { flags: '--user LOGIN', description: 'the user that is to own the App' },
    { flags: '--enterprise SLUG', description: 'the enterprise that is to own the App' },
    { flags: '--without-recovery-key', description: 'do not ask for a recovery key first' },
    { flags: '--no-wait', description: 'print the page and end' },
    JSON_OPTION,
  ],
  examples: ['ghconnect enable --organization octo-org', 'ghconnect enable --enterprise octo-corp'],
  async run(context, { options }) {
    const account = readAccount(options)
    await context.deps.beforeEnable?.(context, { withoutRecoveryKey: options.flag('withoutRecoveryKey') })
    const client = await context.client('admin')
    await assertWayOpen(context, client)
    const answer = await client.call({
      method: 'POST',
      path: '/v1/connection',
      body: { account },
      answer: EnableAnswer,
    })
    const json = options.flag('json')
    if (json) context.output.json(answer)
    else showPage(context, { answer, login: account.login })
    if (answer.how === 'import' || !options.flag('wait')) return 0
    const status = await waitUntilConnected(context, { client, quiet: json })
    if (json) context.output.json(status)
    else context.output.line(status.meaning)
    return 0
  },
}

/** What this machine needs to reach GitHub's API, in the order in which it is met. */
const WAY = new Set<CheckRow['layer']>(['configuration', 'dns', 'proxy', 'tls', 'host'])

/** An owner who created the App on GitHub should not have to wait for a proxy to be fixed. Throws what fails first. */
const assertWayOpen = async ({ output }: Context, client: Client): Promise<void> => {
  output.progress('Checking the way to GitHub...')
  const { CheckReport } = await import('../../protocol/wire-check.ts')
  const call = { method: 'GET', path: '/v1/check', answer: CheckReport, silenceMs: CHECK_MS } as const
  // A daemon that cannot check says why when it is asked to connect.
  const report = await client.call(call).catch(() => undefined)
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

const showPage = (context: Context, { answer, login }: { answer: EnableAnswer; login: string }): void => {
  const { output, deps } = context
  if (answer.how === 'import') {
    output.line(`Open this form as an owner of ${login}, create the App, and generate a private key on its page:`)
    output.line(`  ${answer.url}`)
    output.line('Then install the App, and run:')
    output.line(`  ghconnect import --app-id ID --key FILE --account ${login}`)
  } else {
    output.line(`Open this page as an owner of ${login}, within the hour:`)
    output.line(`  ${answer.url}`)
    const hint = tunnelHint(answer.url, deps.env['SSH_CONNECTION'])
    if (hint) {
      output.line('Is your browser on another machine? First run there:')
      output.line(`  ${hint}`)
    }
  }
  // No browser is started with it: whoever reads its arguments in the list of processes would be the first to know the state.
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

const waitUntilConnected = async (
  context: Context,
  { client, quiet }: { client: Client; quiet: boolean },
): Promise<SeenStatus> => {
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
        once(quiet ? 'progress' : 'line', status.next)
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
      .call({ method: 'POST', path: '/v1/connection/completion', body: { redirected }, answer: StateAnswer })
      .catch((error: unknown) => output.failure(asFailure(error), { json: false }))
  })
  return () => {
    lines.close()
    deps.stdin.pause()
  }
}
