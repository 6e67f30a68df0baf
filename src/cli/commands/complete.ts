// `ghconnect __complete`: the values that the shells' completion offers. It asks the daemon briefly, and says nothing where it cannot.

import { describePermissions } from '../../protocol/scope.ts'
import type { z } from 'zod'
import { InstallationsAnswer, type ProfileBody, ProfilesAnswer } from '../../protocol/wire.ts'
import { type CommandSpec, COMPLETIONS, type Completion, type Context, type SocketName } from '../command.ts'

/** Whoever pressed TAB waits. */
const SILENCE_MS = 3_000

type Value = readonly [value: string, description: string]

export const complete: CommandSpec = {
  name: '__complete',
  summary: 'print the values of a kind, each with a description, for the completion of a shell',
  arguments: [{ name: 'kind', description: 'the kind of value', choices: COMPLETIONS }],
  options: [],
  examples: ['ghconnect __complete profiles'],
  async run(context, { args }) {
    const kind = COMPLETIONS.find(known => known === args[0])
    const values = kind === undefined ? [] : await find(context, kind).catch(() => [])
    for (const [value, description] of values) {
      // A shell reads it: nothing in it may be more than a word.
      if (/^[\w@.:=+/-]+$/.test(value)) context.deps.stdout.write(`${value}\t${description.replaceAll(/\s+/g, ' ')}\n`)
    }
    return 0
  },
}

const find = async (context: Context, kind: Completion): Promise<readonly Value[]> => {
  switch (kind) {
    case 'profiles':
      return (await profilesOn(context, 'admin').catch(() => profilesOn(context, 'token'))).map(valueOf)
    case 'own-profiles':
      return (await profilesOn(context, 'token')).map(valueOf)
    case 'permissions':
      return permissionValues(context)
    case 'installations':
      return (await installationsOf(context)).map(({ account, id }) => [account.login, `installation ${id}`])
    case 'sinks':
      return sinkValues(context)
    case 'keys':
      return keyValues(context)
    default:
      return kind satisfies never
  }
}

const profilesOn = async (context: Context, socket: SocketName): Promise<readonly ProfileBody[]> => {
  const client = await context.client(socket)
  const call = { method: 'GET', path: '/v1/profiles', answer: ProfilesAnswer, silenceMs: SILENCE_MS } as const
  return (await client.call(call)).profiles
}

const valueOf = ({ name, permissions, repositories }: ProfileBody): Value => [
  name,
  `${describePermissions(permissions)} on ${repositories?.join(', ') ?? 'all repositories'}`,
]

const installationsOf = async (context: Context): Promise<z.infer<typeof InstallationsAnswer>['installations']> => {
  const client = await context.client('admin')
  const call = { method: 'GET', path: '/v1/installations', answer: InstallationsAnswer, silenceMs: SILENCE_MS } as const
  return (await client.call(call)).installations
}

/** What the caller's profiles hold; for an administrator what the App was granted. `write` includes `read`. */
const permissionValues = async (context: Context): Promise<readonly Value[]> => {
  const installations = await installationsOf(context).catch(() => [])
  const granted = installations.map(({ account, permissions }) => [permissions, `granted by ${account.login}`] as const)
  const profiles = granted.length > 0 ? [] : await profilesOn(context, 'token')
  const held = profiles.map(({ name, permissions = {} }) => [permissions, `profile ${name}`] as const)
  const values = new Map<string, string>()
  for (const [permissions, description] of [...granted, ...held]) {
    for (const [name, level] of Object.entries(permissions)) {
      const levels = level === 'admin' ? ['read', 'write', 'admin'] : level === 'write' ? ['read', 'write'] : ['read']
      for (const one of levels) values.set(`${name}=${one}`, description)
    }
  }
  return [...values]
}

const sinkValues = async ({ configFile }: Context): Promise<readonly Value[]> => {
  const { loadConfig } = await import('../../service/config.ts')
  const { sinks } = loadConfig(configFile, { hostname: 'localhost', findUser: () => 0, findGroup: () => 0 })
  return sinks.map(({ name, path, profile }) => [name, `${path}, profile ${profile}`])
}

const keyValues = async (context: Context): Promise<readonly Value[]> => {
  const { KeysAnswer } = await import('../../protocol/wire.ts')
  const client = await context.client('admin')
  const call = { method: 'GET', path: '/v1/keys', answer: KeysAnswer, silenceMs: SILENCE_MS } as const
  const { keys } = await client.call(call)
  return keys.map(({ fingerprint, added_at: at, signs }) => [
    fingerprint,
    `${signs ? 'signs' : 'the fallback'}, added ${at.slice(0, 10)}`,
  ])
}
