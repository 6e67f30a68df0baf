// `ghconnect explain`: who would get what under the policy, and why not.

import { Failure } from '../../protocol/errors.ts'
import { ExplainAnswer } from '../../protocol/wire-policy.ts'
import { forPerson } from '../advice.ts'
import { type CommandSpec, JSON_OPTION } from '../command.ts'
import type { Output } from '../output.ts'
import { readScope, SCOPE_OPTIONS } from '../scope-options.ts'

/** Of all profiles, whomever they admit. */
const SCOPE = SCOPE_OPTIONS.filter(({ flags }) => /^--(?:profile|installation|repo|permission) /.test(flags)).map(
  option => (option.complete === 'own-profiles' ? ({ ...option, complete: 'profiles' } as const) : option),
)

export const explain: CommandSpec = {
  name: 'explain',
  summary: 'show who would get what, and why not',
  details: [
    'Without a caller: whom each profile admits. With --user, --group or --unit: what such a caller would get, as far as that',
    'is enough to tell. With --pid: what a process that lives would get if it asked now. Nothing is granted, and nothing is asked',
    'of GitHub.',
  ].join('\n'),
  options: [
    { flags: '--user NAME', description: 'as if a process of this user asked (name or id)' },
    { flags: '--group NAME', description: 'as if the process were in this group' },
    { flags: '--unit UNIT', description: 'as if the process were in this systemd unit' },
    { flags: '--pid N', description: 'a process that lives' },
    ...SCOPE,
    JSON_OPTION,
  ],
  examples: [
    'ghconnect explain --profile actions',
    'ghconnect explain --profile actions --user git --unit actions-sync.service --repo web',
    'ghconnect explain --pid 4711',
  ],
  async run(context, { options }) {
    const pid = options.text('pid')
    if (pid !== undefined && !/^[1-9]\d{0,9}$/.test(pid)) throw new Failure('usage', `--pid ${pid}: must be a number`)
    const given = (['user', 'group', 'unit'] as const).flatMap(name => {
      const value = options.text(name)
      return value === undefined ? [] : [[name, value] as const]
    })
    if (pid !== undefined && given.length > 0) {
      throw new Failure('usage', 'a process has its own user, groups and unit: give --pid alone')
    }
    const client = await context.client('admin')
    const answer = await client.call({
      method: 'POST',
      path: '/v1/policy/explain',
      body: { ...readScope(options), ...Object.fromEntries(given), ...(pid !== undefined && { pid: Number(pid) }) },
      answer: ExplainAnswer,
    })
    if (options.flag('json')) context.output.json(answer)
    else {
      const { withheld } = answer
      const next = withheld && forPerson(withheld.next, { who: await context.deps.who(), isTheirs: false })
      print(answer, context.output, next)
    }
    return 0
  },
}

const print = ({ caller, decision, withheld, profiles }: ExplainAnswer, output: Output, next = ''): void => {
  const about = [
    ...(caller.pid === undefined ? [] : [`process ${caller.pid}`]),
    ...(caller.uid === undefined ? [] : [`user ${caller.user ?? 'without a name'} (${caller.uid})`]),
    ...(caller.groups ? [`groups ${caller.groups.join(', ')}`] : []),
    ...(caller.unit === undefined ? [] : [`unit ${caller.unit}`]),
  ]
  output.line(`Caller    ${about.join(', ') || 'anybody'}`)
  output.line(`Decision  ${output.paint(COLOURS[decision.outcome], decision.outcome)}: ${decision.detail}`)
  if (withheld) {
    output.line(`Now       ${output.paint('red', 'no token is served')}: ${withheld.detail}`)
    output.line(`          ${next}`)
  }
  for (const { profile, outcome, reasons } of profiles) {
    output.line()
    output.line(`${output.paint('bold', profile)}  ${output.paint(COLOURS[outcome], outcome)}`)
    output.table(reasons.map(reason => [`  ${reason.list}`, reason.outcome, reason.detail]))
  }
}

const COLOURS = {
  granted: 'green',
  depends: 'yellow',
  denied: 'red',
  'not-permitted': 'red',
  'profile-required': 'yellow',
  'repositories-required': 'yellow',
} as const
