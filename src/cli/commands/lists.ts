// `ghconnect installations` and `ghconnect profiles`: what there is, as tables.

import { describePermissions } from '../../protocol/scope.ts'
import { InstallationsAnswer, type ProfileBody, ProfilesAnswer } from '../../protocol/wire.ts'
import { type CommandSpec, JSON_OPTION } from '../command.ts'

export const installations: CommandSpec = {
  name: 'installations',
  summary: 'list the installations of the App',
  options: [JSON_OPTION],
  examples: ['ghconnect installations', "ghconnect installations --json | jq '.installations[].id'"],
  async run(context, { options }) {
    const { output } = context
    const client = await context.client('admin')
    const answer = await client.call({ method: 'GET', path: '/v1/installations', answer: InstallationsAnswer })
    if (options.flag('json')) output.json(answer)
    else if (answer.installations.length === 0) output.note('The App is not installed anywhere.')
    else {
      const rows = answer.installations.map(i => [
        String(i.id),
        i.account.login,
        i.account.type,
        i.repository_selection,
        i.suspended_at === undefined ? 'active' : 'suspended',
        describePermissions(i.permissions),
      ])
      output.table(rows, ['ID', 'ACCOUNT', 'TYPE', 'REPOSITORIES', 'STATE', 'PERMISSIONS'])
    }
    return 0
  },
}

export const profiles: CommandSpec = {
  name: 'profiles',
  summary: 'list the profiles that admit you',
  options: [{ flags: '--admin', description: 'ask the admin socket: all profiles, with whom they admit' }, JSON_OPTION],
  examples: ['ghconnect profiles', 'ghconnect profiles --admin'],
  async run(context, { options }) {
    const { output } = context
    const client = await context.client(options.flag('admin') ? 'admin' : 'token')
    const answer = await client.call({ method: 'GET', path: '/v1/profiles', answer: ProfilesAnswer })
    if (options.flag('json')) output.json(answer)
    else if (answer.profiles.length === 0) output.note('No profile admits you.')
    else {
      const rows = answer.profiles.map(profile => [
        profile.name,
        profile.installation === undefined ? 'the only one' : String(profile.installation),
        profile.repositories?.join(', ') ?? 'all',
        describePermissions(profile.permissions),
        describeAllow(profile.allow),
      ])
      output.table(rows, ['PROFILE', 'INSTALLATION', 'REPOSITORIES', 'PERMISSIONS', 'ALLOWS'])
    }
    return 0
  },
}

const describeAllow = (allow: ProfileBody['allow']): string => {
  if (!allow) return 'you'
  const parts = (['users', 'groups', 'units'] as const).flatMap(kind =>
    allow[kind].length > 0 ? [`${kind}: ${allow[kind].join(', ')}`] : [],
  )
  return parts.join('; ') || 'nobody'
}
