// The policy and its configuration: `config check`, `reload`, `profiles`, `installations`, `explain`.

import { existsSync } from 'node:fs'
import type { SeenOf } from '../../protocol/endpoints.ts'
import { asFailure, CATALOGUE, Failure } from '../../protocol/errors.ts'
import { allowNames, type Profile } from '../../protocol/profile.ts'
import { describePermissions } from '../../protocol/scope.ts'
import { describeFinding, type Finding } from '../../service/config-findings.ts'
import { forPerson } from '../advice.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'
import { comparePolicies, doubtProfile, type PolicyChange } from '../policy-diff.ts'
import { readScope, SCOPE_OPTIONS, SCOPE_VALUES } from './tokens.ts'

export const configCheck: CommandSpec = {
  name: 'config check',
  summary: 'check the configuration file and the files it names',
  details: `Finds everything that would stop the daemon, and more, by the daemon's own function. Each error has its file, line and key; the exit code is then 78. Run it with sudo to check as the daemon's user which files it can read.
Nothing is applied. A running daemon is asked for its installations, to find profiles that none can satisfy.`,
  options: {
    '--diff': 'compare with the running daemon: who gains and who loses what',
    ...JSON_OPTION,
  },
  examples: [
    'sudo ghconnect config check',
    'sudo ghconnect config check --diff',
    'ghconnect config check --config ./config.toml --json',
  ],
  async run(context) {
    const { deps, output, configFile } = context
    const { findings: found, profiles } = await deps.checkConfig({ configFile })
    const findings = [...found, ...(profiles ? await doubtProfiles(context, profiles) : [])]
    const changes = context.options.flag('diff') && profiles ? await diff(context, profiles) : undefined
    const isWrong = findings.some(({ level }) => level !== 'warning')
    const body = { file: configFile, ok: !isWrong, findings: findings.map(toBody), ...(changes && { changes }) }
    context.print(body, () => {
      for (const finding of findings) {
        const [level, style] = finding.level === 'warning' ? ['warning', 'yellow' as const] : ['error', 'red' as const]
        output.note(`${output.paint(style, level)}: ${describeFinding(finding)}`)
      }
      for (const change of changes ?? []) output.line(describeChange(change))
      if (changes?.length === 0) output.line('No caller gains or loses anything.')
      if (!isWrong)
        return output.line(`${configFile}: OK${existsSync(configFile) ? '' : ' (absent: the defaults apply)'}`)
      const stops = findings.some(({ level }) => level === 'error')
      output.note(
        `${configFile}: ${stops ? 'the daemon refuses this configuration' : 'the daemon starts, and what is named above does not work'}`,
      )
    })
    return isWrong ? CATALOGUE.configuration.exit : 0
  },
}

const toBody = ({ level, ...finding }: Finding) => ({
  level: level === 'warning' ? level : 'error',
  stops_daemon: level === 'error',
  ...finding,
})

const describeChange = ({ profile, effect, who, what }: PolicyChange): string =>
  `${effect === 'gains' ? '+' : '-'} profile ${profile}: ${who} ${effect} ${what}`

/** Nothing where no daemon can be asked: then nobody knows. */
const doubtProfiles = async (context: Context, profiles: readonly Profile[]): Promise<readonly Finding[]> => {
  const { installations } = await context.ask('GET /v1/installations').catch((error: unknown) => {
    if (asFailure(error).code === 'internal') throw error
    return { installations: [] }
  })
  if (installations.length === 0) return []
  return profiles.flatMap(profile => {
    const message = doubtProfile(profile, installations)
    if (message === undefined) return []
    const place = { file: context.configFile, line: undefined, key: `profiles.${profile.name}`, name: undefined }
    return [{ level: 'warning', ...place, message } as const]
  })
}

const diff = async (context: Context, profiles: readonly Profile[]): Promise<readonly PolicyChange[]> => {
  const running = await context.ask('GET /v1/profiles')
  const nobody = { users: [], groups: [], units: [] }
  return comparePolicies(
    running.profiles.map(profile => ({ ...profile, allow: profile.allow ?? nobody })),
    profiles.map(profile => ({ ...profile, allow: allowNames(profile) })),
  )
}

export const reload: CommandSpec = {
  name: 'reload',
  summary: 'apply a changed configuration file',
  details:
    'As `systemctl reload ghconnectd`. A configuration that is wrong is refused with exit code 78, and the settings before it stay.',
  examples: ['sudo ghconnect reload'],
  async run(context) {
    const { file } = await context.ask('POST /v1/reload')
    context.output.line(`${file}: applied`)
  },
}

export const installations: CommandSpec = {
  name: 'installations',
  summary: 'list the installations of the App',
  options: JSON_OPTION,
  examples: ['ghconnect installations', "ghconnect installations --json | jq '.installations[].id'"],
  async run(context) {
    const { output } = context
    const answer = await context.ask('GET /v1/installations')
    const rows = answer.installations.map(i => [
      String(i.id),
      i.account.login,
      i.account.type,
      i.repository_selection,
      i.suspended_at === undefined ? 'active' : 'suspended',
      describePermissions(i.permissions),
    ])
    context.print(answer, () => {
      if (rows.length === 0) output.note('The App is not installed anywhere.')
      else output.table(rows, ['ID', 'ACCOUNT', 'TYPE', 'REPOSITORIES', 'STATE', 'PERMISSIONS'])
    })
  },
}

export const profiles: CommandSpec = {
  name: 'profiles',
  summary: 'list the profiles that admit you',
  options: { '--admin': 'ask the admin socket: all profiles, with whom they admit', ...JSON_OPTION },
  examples: ['ghconnect profiles', 'ghconnect profiles --admin'],
  async run(context) {
    const { output, options } = context
    const client = await context.client(options.flag('admin') ? 'admin' : 'token')
    const answer = await client.ask('GET /v1/profiles')
    const rows = answer.profiles.map(profile => [
      profile.name,
      profile.installation === undefined ? 'the only one' : String(profile.installation),
      profile.repositories?.join(', ') ?? 'all',
      describePermissions(profile.permissions),
      describeAllow(profile.allow),
    ])
    context.print(answer, () => {
      if (rows.length === 0) output.note('No profile admits you.')
      else output.table(rows, ['PROFILE', 'INSTALLATION', 'REPOSITORIES', 'PERMISSIONS', 'ALLOWS'])
    })
  },
}

const describeAllow = (allow: SeenOf<'GET /v1/profiles'>['profiles'][number]['allow']): string => {
  if (!allow) return 'you'
  const lists = Object.entries({ users: allow.users, groups: allow.groups, units: allow.units })
  const parts = lists.flatMap(([kind, names]) => (names.length > 0 ? [`${kind}: ${names.join(', ')}`] : []))
  return parts.join('; ') || 'nobody'
}

export const explain: CommandSpec = {
  name: 'explain',
  summary: 'show who would get what, and why not',
  details: `Without a caller: whom each profile admits. With --user, --group or --unit: what such a caller would get, as far as that
is enough to tell. With --pid: what a process that lives would get if it asked now. Nothing is granted, and nothing is asked
of GitHub.`,
  options: {
    '--user NAME': 'as if a process of this user asked (name or id)',
    '--group NAME': 'as if the process were in this group',
    '--unit UNIT': 'as if the process were in this systemd unit',
    '--pid N': 'a process that lives',
    ...SCOPE_OPTIONS,
    ...JSON_OPTION,
  },
  // Of all profiles, whomever they admit.
  complete: { ...SCOPE_VALUES, '--profile': 'profiles' },
  examples: [
    'ghconnect explain --profile actions',
    'ghconnect explain --profile actions --user git --unit actions-sync.service --repo web',
    'ghconnect explain --pid 4711',
  ],
  async run(context) {
    const { options } = context
    const pid = options.text('pid')
    if (pid !== undefined && !/^[1-9]\d{0,9}$/.test(pid)) throw new Failure('usage', `--pid ${pid}: must be a number`)
    const caller = { user: options.text('user'), group: options.text('group'), unit: options.text('unit') }
    if (pid !== undefined && Object.values(caller).some(value => value !== undefined)) {
      throw new Failure('usage', 'a process has its own user, groups and unit: give --pid alone')
    }
    const process = pid === undefined ? {} : { pid: Number(pid) }
    const body = { ...readScope(context), ...caller, ...process }
    const answer = await context.ask('POST /v1/policy/explain', { body })
    if (context.json) return context.output.json(answer)
    const { withheld } = answer
    const next = withheld && forPerson(withheld.next, { who: await context.deps.who(), isTheirs: false })
    show(context, answer, next)
  },
}

const show = ({ output }: Context, answer: SeenOf<'POST /v1/policy/explain'>, next = ''): void => {
  const { caller, decision, withheld } = answer
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
  for (const { profile, outcome, reasons } of answer.profiles) {
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
