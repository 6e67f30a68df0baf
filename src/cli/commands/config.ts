// `ghconnect config check` and `ghconnect reload`: the file before it is applied, and its application.

import { existsSync } from 'node:fs'
import { asFailure, CATALOGUE } from '../../protocol/errors.ts'
import { allowNames, type Profile } from '../../protocol/profile.ts'
import { comparePolicies, doubtProfile, type PolicyChange } from '../policy-diff.ts'
import { InstallationsAnswer, ProfilesAnswer } from '../../protocol/wire.ts'
import { describeFinding, type Finding } from '../../service/config-findings.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'

export const configCheck: CommandSpec = {
  name: 'config check',
  summary: 'check the configuration file and the files it names',
  details: `Finds everything that would stop the daemon, and more, by the daemon's own function. Each error has its file, line and key; the exit code is then 78. Run it with sudo to check as the daemon's user which files it can read.
Nothing is applied. A running daemon is asked for its installations, to find profiles that none can satisfy.`,
  options: [
    { flags: '--diff', description: 'compare with the running daemon: who gains and who loses what' },
    JSON_OPTION,
  ],
  examples: [
    'sudo ghconnect config check',
    'sudo ghconnect config check --diff',
    'ghconnect config check --config ./config.toml --json',
  ],
  async run(context, { options }) {
    const { deps, output, configFile } = context
    const { findings: found, profiles } = await deps.checkConfig({ configFile })
    const findings = [...found, ...(profiles ? await doubtProfiles(context, profiles) : [])]
    const changes = options.flag('diff') && profiles ? await diff(context, profiles) : undefined
    const isWrong = findings.some(({ level }) => level !== 'warning')
    if (options.flag('json')) {
      output.json({ file: configFile, ok: !isWrong, findings: findings.map(toBody), ...(changes && { changes }) })
      return isWrong ? CATALOGUE.configuration.exit : 0
    }
    for (const finding of findings) {
      const level = finding.level === 'warning' ? 'warning' : 'error'
      output.note(`${output.paint(level === 'error' ? 'red' : 'yellow', level)}: ${describeFinding(finding)}`)
    }
    for (const change of changes ?? []) output.line(describeChange(change))
    if (changes?.length === 0) output.line('No caller gains or loses anything.')
    if (isWrong) {
      const stops = findings.some(({ level }) => level === 'error')
      output.note(
        `${configFile}: ${stops ? 'the daemon refuses this configuration' : 'the daemon starts, and what is named above does not work'}`,
      )
      return CATALOGUE.configuration.exit
    }
    output.line(existsSync(configFile) ? `${configFile}: OK` : `${configFile}: OK (absent: the defaults apply)`)
    return 0
  },
}

const toBody = ({ level, ...finding }: Finding) => ({
  level: level === 'warning' ? level : 'error',
  stops_daemon: level === 'error',
  ...finding,
})

const describeChange = ({ profile, effect, who, what }: PolicyChange): string =>
  `${effect === 'gains' ? '+' : '-'} profile ${profile}: ${who} ${effect} ${what}`

type Installed = Parameters<typeof doubtProfile>[1][number]

/** Nothing where no daemon can be asked: then nobody knows. */
const doubtProfiles = async (context: Context, profiles: readonly Profile[]): Promise<readonly Finding[]> => {
  const answer = await askInstallations(context)
  if (answer.length === 0) return []
  return profiles.flatMap(profile => {
    const doubt = doubtProfile(profile, answer)
    if (doubt === undefined) return []
    const place = { file: context.configFile, line: undefined, key: `profiles.${profile.name}`, name: undefined }
    return [{ level: 'warning', ...place, message: doubt } as const]
  })
}

const askInstallations = async (context: Context): Promise<readonly Installed[]> => {
  try {
    const client = await context.client('admin')
    const call = { method: 'GET', path: '/v1/installations', answer: InstallationsAnswer } as const
    return (await client.call(call)).installations
  } catch (error) {
    if (asFailure(error).code === 'internal') throw error
    return []
  }
}

const diff = async (context: Context, profiles: readonly Profile[]): Promise<readonly PolicyChange[]> => {
  const client = await context.client('admin')
  const running = await client.call({ method: 'GET', path: '/v1/profiles', answer: ProfilesAnswer })
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
  options: [],
  examples: ['sudo ghconnect reload'],
  async run(context) {
    const { ReloadAnswer } = await import('../../protocol/wire.ts')
    const client = await context.client('admin')
    const { file } = await client.call({ method: 'POST', path: '/v1/reload', answer: ReloadAnswer })
    context.output.line(`${file}: applied`)
    return 0
  },
}
