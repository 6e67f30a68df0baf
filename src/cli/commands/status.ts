// `ghconnect status`: the state of the connection, why, and what to do next; `ghconnect ui`: the link to the page that shows the same.

import { asFailure } from '../../protocol/errors.ts'
import type { SeenStatus, Status } from '../../protocol/wire.ts'
import { forPerson } from '../advice.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { alignColumns, count, describeTime, type Output, relativeTime, type Style } from '../output.ts'
import { showLink } from './connect.ts'

export const status: CommandSpec = {
  name: 'status',
  summary: 'show the state of the connection and what to do next',
  details: `Whoever may not open the admin socket sees state, meaning and next step alone.
The exit code is 0 whenever the daemon answers, in every state; scripts read \`state\` with --json.`,
  options: JSON_OPTION,
  examples: ['ghconnect status', 'ghconnect status --json | jq -r .state'],
  async run(context) {
    const answer = await ask(context)
    if (context.json) return context.output.json(answer)
    const next = forPerson(answer.next, { who: await context.deps.who(), isTheirs: false })
    show(context, { ...answer, next })
  },
}

const ask = (context: Context): Promise<SeenStatus> =>
  context.ask('GET /v1/status').catch(async (error: unknown) => {
    const failure = asFailure(error)
    // The socket that was named is the one that counts.
    if (failure.code !== 'not-permitted' || context.socketGiven) throw failure
    return (await context.client('token')).ask('GET /v1/status')
  })

/** Where the store is closed, the daemon has no more to say than on token.sock. */
const isFull = (answer: SeenStatus): answer is Status => 'generation' in answer

const show = ({ output, deps }: Context, answer: SeenStatus): void => {
  const now = deps.clock.now()
  const state = output.paint(styleOf(answer.state), answer.state)
  const rows: Row[] = [
    ['State', `${state} since ${describeTime(answer.since, now)}`, answer.meaning],
    ['Next step', answer.next],
    ...(isFull(answer) ? fullRows(answer, { now, output }) : []),
    ['Version', answer.version],
  ]
  output.fields(rows)
}

type Row = readonly [label: string, ...lines: string[]]

const styleOf = (state: string): Style => {
  if (state === 'connected') return 'green'
  return /^(disconnected|awaiting-|disconnecting)/.test(state) ? 'yellow' : 'red'
}

const fullRows = (full: Status, { now, output }: { now: number; output: Output }): Row[] => {
  const rows: Row[] = []
  const { account, app, last_failure: failure } = full
  if (account) rows.push(['Account', `${account.login} (${account.type})`])
  if (app) rows.push(['App', `${app.name} (id ${app.id}, client ${app.client_id})`, app.html_url])
  for (const [at, key] of full.keys.entries()) {
    const use = full.keys.length === 1 ? '' : at === 0 ? 'signs, ' : 'the fallback, '
    rows.push(['Key', `${key.fingerprint}, ${use}added ${describeTime(key.added_at, now)}`])
  }
  if (full.installations.length > 0) {
    const lines = full.installations.map(i => [
      `${i.id}`,
      i.account.login,
      `${i.repository_selection} repositories`,
      i.suspended_at ? output.paint('red', 'suspended') : '',
    ])
    rows.push(['Installed', ...alignColumns(lines)])
  }
  rows.push(['Tokens', describeTokens(full.tokens, now)])
  rows.push(['Proxy', full.proxy ?? 'none'])
  rows.push(['Clock', describeClock(full)])
  rows.push(['Machine', `${full.hostname} (${full.role}, generation ${full.generation})`])
  for (const { code, detail, next } of full.warnings)
    rows.push([output.paint('yellow', 'Warning'), `${code}: ${detail}`, next])
  if (failure) {
    rows.push([
      output.paint('red', 'Last failure'),
      `${failure.code}, ${relativeTime(Date.parse(failure.at), now)}: ${failure.detail}`,
      failure.next,
    ])
  }
  return rows
}

const describeTokens = (tokens: Status['tokens'], now: number): string => {
  const at = (label: string, iso: string | undefined): string[] =>
    iso === undefined ? [] : [`${label} ${relativeTime(Date.parse(iso), now)}`]
  return [
    `${tokens.live} live`,
    ...at('the oldest expires', tokens.oldest_expires_at),
    ...at('last minted', tokens.last_minted_at),
    ...at('next refresh', tokens.next_refresh_at),
  ].join(', ')
}

const describeClock = ({ clock_known: known, clock_offset_seconds: seconds }: Status): string => {
  // A daemon of 0.1.0 does not say whether it asked.
  if (known === false) return "not compared with GitHub's yet"
  if (Math.abs(seconds) < 2) return "agrees with GitHub's"
  const apart = count(Math.round(Math.abs(seconds)), 'second')
  return seconds > 0 ? `${apart} behind GitHub's` : `${apart} ahead of GitHub's`
}

export const ui: CommandSpec = {
  name: 'ui',
  summary: 'print a one-time link to the settings page',
  details: `The link is good once and for five minutes; whoever opens it may do what you may do on admin.sock, until he signs out or does
nothing for 15 minutes. There is no password.`,
  options: JSON_OPTION,
  examples: ['ghconnect ui'],
  async run(context) {
    const answer = await context.ask('POST /v1/ui-links')
    context.print(answer, () => {
      context.output.line('Open this link in a browser, within five minutes. It works once:')
      showLink(context, answer.url)
    })
  },
}
