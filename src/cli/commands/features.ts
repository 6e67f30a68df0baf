// `ghconnect features`: what GitHub Connect is to do for this machine, switched on and off by an administrator.

import { dirname, resolve } from 'node:path'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { FEATURE_NAMES, FEATURES, type FeatureName } from '../../protocol/features.ts'
import { describePermissions } from '../../protocol/scope.ts'
import type { FeatureBody } from '../../protocol/wire.ts'
import type { FeatureSetting, Switched } from '../../service/features-file.ts'
import { type CommandSpec, type Context, JSON_OPTION, type Options } from '../command.ts'

const NAME = { name: 'feature', description: 'the feature', choices: FEATURE_NAMES }

export const features: CommandSpec = {
  name: 'features',
  summary: 'list the features of GitHub Connect, which are on, and what they wait for',
  details: 'A feature that is on is a profile of its name: `ghconnect token --profile NAME`.',
  options: [JSON_OPTION],
  examples: ['ghconnect features', "ghconnect features --json | jq '.features[] | {name, state}'"],
  async run(context, { options }) {
    const { output } = context
    const answer = { features: await fetchFeatures(context) }
    if (options.flag('json')) output.json(answer)
    else {
      const rows = answer.features.map(one => [
        one.name,
        one.state,
        describePermissions(FEATURES[one.name].permissions),
      ])
      output.table(rows, ['FEATURE', 'STATE', 'PERMISSIONS'])
      for (const one of answer.features) {
        if (one.state === 'off' || one.state === 'on') continue
        output.line()
        output.line(`${output.paint('bold', one.name)}: ${one.detail}`)
        output.line(`  ${one.next}`)
      }
    }
    return 0
  },
}

export const featuresEnable: CommandSpec = {
  name: 'features enable',
  summary: 'switch a feature on',
  details: [
    'Writes it to a file beside the configuration, which is checked as a whole before, and has the daemon read it. What is given',
    'here takes the place of what was given before. Without --user, --group or --unit nobody but administrators gets its token.',
  ].join('\n'),
  arguments: [NAME],
  options: [
    { flags: '--user NAME', description: 'a user who may have its token', repeatable: true },
    { flags: '--group NAME', description: 'a group whose members may', repeatable: true },
    { flags: '--unit UNIT', description: 'a systemd unit that may', repeatable: true },
    { flags: '--installation ACCOUNT', description: 'which installation, by account or id, where there are several' },
    { flags: '--repo NAME', description: 'these repositories alone; `*` stands for any characters', repeatable: true },
    JSON_OPTION,
  ],
  examples: ['ghconnect features enable actions-from-github --unit actions-sync.service'],
  async run(context, { options, args }) {
    const name = nameOf(args)
    const installation = options.text('installation')
    const repositories = options.list('repo')
    return change(context, options, {
      name,
      setting: {
        ...(installation !== undefined && { installation }),
        ...(repositories.length > 0 && { repositories }),
        allow: { users: options.list('user'), groups: options.list('group'), units: options.list('unit') },
      },
    })
  },
}

export const featuresDisable: CommandSpec = {
  name: 'features disable',
  summary: 'switch a feature off',
  details: 'Its profile is gone at once. What the App holds on GitHub is left as it is: the owner edits that there.',
  arguments: [NAME],
  options: [JSON_OPTION],
  examples: ['ghconnect features disable actions-from-github'],
  run: (context, { options, args }) => change(context, options, { name: nameOf(args), setting: undefined }),
}

const nameOf = ([given = '']: readonly string[]): FeatureName => {
  const name = FEATURE_NAMES.find(one => one === given)
  if (!name) throw new Failure('usage', `${given}: must be one of ${FEATURE_NAMES.join(', ')}`)
  return name
}

const change = async (
  context: Context,
  options: Options,
  { name, setting }: { name: FeatureName; setting: FeatureSetting | undefined },
): Promise<number> => {
  const { deps, output, configFile } = context
  const { switchFeature } = await import('../../service/features-file.ts')
  const surroundings = await deps.surroundings()
  const switched = asWriter(configFile, () => switchFeature(name, setting, { configFile, surroundings }))
  const holds = await reload(context, switched)
  const now = holds ? (await fetchFeatures(context)).find(one => one.name === name) : undefined
  if (options.flag('json')) output.json({ name, file: switched.file, ...(now && { state: now.state, next: now.next }) })
  else print({ name, now, file: switched.file, output })
  return 0
}

const asWriter = <T>(configFile: string, write: () => T): T => {
  try {
    return write()
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EACCES')) throw cause
    throw new Failure('not-permitted', `${dirname(configFile)} is not yours to write`, { cause })
  }
}

const print = (told: {
  name: FeatureName
  now: FeatureBody | undefined
  file: string
  output: Context['output']
}): void => {
  const { name, now, file, output } = told
  if (!now) output.note(`${file} is written; the daemon does not run, and reads it at its next start.`)
  else if (now.state === 'off') output.line(`${name} is off.`)
  else {
    output.line(`${name}: ${now.state}. ${now.detail}`)
    if (now.state !== 'on') output.line(now.next)
    const callers = Object.values(now.allow ?? {}).flat()
    if (callers.length === 0) output.note('Nobody but administrators gets its token: see --user, --group, --unit.')
  }
}

/** Whether the daemon runs and took the change. Where it refuses, what was there is put back. */
const reload = async (context: Context, switched: Switched): Promise<boolean> => {
  try {
    const { ReloadAnswer } = await import('../../protocol/wire.ts')
    const client = await context.client('admin')
    const { file } = await client.call({ method: 'POST', path: '/v1/reload', answer: ReloadAnswer })
    if (resolve(file) === resolve(context.configFile)) return true
    throw new Failure('usage', `the daemon reads ${file}, and not ${context.configFile}: name it with --config`)
  } catch (error) {
    const failure = asFailure(error)
    if (failure.code === 'daemon-absent') return false
    switched.undo()
    throw failure
  }
}

const fetchFeatures = async (context: Context): Promise<readonly FeatureBody[]> => {
  const { FeaturesAnswer } = await import('../../protocol/wire.ts')
  const client = await context.client('admin')
  return (await client.call({ method: 'GET', path: '/v1/features', answer: FeaturesAnswer })).features
}
