// `ghconnect features`: what GitHub Connect is to do for this machine, switched on and off by an administrator.

import { dirname, resolve } from 'node:path'
import { asFailure, Failure } from '../../protocol/errors.ts'
import { FEATURE_NAMES, FEATURES, type FeatureName } from '../../protocol/features.ts'
import { describePermissions } from '../../protocol/scope.ts'
import type { FeatureBody } from '../../protocol/wire.ts'
import type { FeatureSetting } from '../../service/features-file.ts'
import { type CommandSpec, type Context, JSON_OPTION } from '../command.ts'

const NAME = { name: 'feature', description: 'the feature', choices: FEATURE_NAMES }

export const features: CommandSpec = {
  name: 'features',
  summary: 'list the features of GitHub Connect, which are on, and what they wait for',
  details: 'A feature that is on is a profile of its name: `ghconnect token --profile NAME`.',
  options: JSON_OPTION,
  examples: ['ghconnect features', "ghconnect features --json | jq '.features[] | {name, state}'"],
  async run(context) {
    const { output } = context
    const answer = await context.ask('GET /v1/features')
    context.print(answer, () => {
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
    })
  },
}

export const featuresEnable: CommandSpec = {
  name: 'features enable',
  summary: 'switch a feature on',
  details: `Writes it to a file beside the configuration, which is checked as a whole before, and has the daemon read it. What is given
here takes the place of what was given before. Without --user, --group or --unit nobody but administrators gets its token.`,
  arguments: [NAME],
  options: {
    '--user NAME...': 'a user who may have its token',
    '--group NAME...': 'a group whose members may',
    '--unit UNIT...': 'a systemd unit that may',
    '--installation ACCOUNT': 'which installation, by account or id, where there are several',
    '--repo NAME...': 'these repositories alone; `*` stands for any characters',
    ...JSON_OPTION,
  },
  examples: ['ghconnect features enable actions-from-github --unit actions-sync.service'],
  async run(context) {
    const { options } = context
    const installation = options.text('installation')
    const repositories = options.list('repo')
    await change(context, {
      ...(installation !== undefined && { installation }),
      ...(repositories.length > 0 && { repositories }),
      allow: { users: options.list('user'), groups: options.list('group'), units: options.list('unit') },
    })
  },
}

export const featuresDisable: CommandSpec = {
  name: 'features disable',
  summary: 'switch a feature off',
  details: 'Its profile is gone at once. What the App holds on GitHub is left as it is: the owner edits that there.',
  arguments: [NAME],
  options: JSON_OPTION,
  examples: ['ghconnect features disable actions-from-github'],
  run: context => change(context, undefined),
}

/** Writes the setting, or removes it. Where the daemon refuses the change, what was there is put back. */
const change = async (context: Context, setting: FeatureSetting | undefined): Promise<void> => {
  const { deps, configFile } = context
  const [given = ''] = context.args
  const name = FEATURE_NAMES.find(one => one === given)
  if (!name) throw new Failure('usage', `${given}: must be one of ${FEATURE_NAMES.join(', ')}`)
  const { switchFeature } = await import('../../service/features-file.ts')
  const surroundings = await deps.surroundings()
  const switched = asWriter(configFile, () => switchFeature(name, setting, { configFile, surroundings }))
  const { file } = switched
  const isApplied = await reload(context).catch((error: unknown) => {
    switched.undo()
    throw error
  })
  const now = isApplied ? (await context.ask('GET /v1/features')).features.find(one => one.name === name) : undefined
  const answer = { name, file, ...(now && { state: now.state, next: now.next }) }
  context.print(answer, () => show(context, { name, now, file }))
}

const asWriter = <T>(configFile: string, write: () => T): T => {
  try {
    return write()
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EACCES')) throw cause
    throw new Failure('not-permitted', `${dirname(configFile)} is not yours to write`, { cause })
  }
}

/** Whether the daemon runs and took the change. */
const reload = async (context: Context): Promise<boolean> => {
  try {
    const { file } = await context.ask('POST /v1/reload')
    if (resolve(file) === resolve(context.configFile)) return true
    throw new Failure('usage', `the daemon reads ${file}, and not ${context.configFile}: name it with --config`)
  } catch (error) {
    if (asFailure(error).code === 'daemon-absent') return false
    throw asFailure(error)
  }
}

type Changed = { name: FeatureName; now: FeatureBody | undefined; file: string }

const show = ({ output }: Context, { name, now, file }: Changed): void => {
  if (!now) output.note(`${file} is written; the daemon does not run, and reads it at its next start.`)
  else if (now.state === 'off') output.line(`${name} is off.`)
  else {
    output.line(`${name}: ${now.state}. ${now.detail}`)
    if (now.state !== 'on') output.line(now.next)
    const callers = Object.values(now.allow ?? {}).flat()
    if (callers.length === 0) output.note('Nobody but administrators gets its token: see --user, --group, --unit.')
  }
}
