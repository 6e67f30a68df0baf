// Turns a command line into a command and its exit code. Owns commander.

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError, Option } from 'commander'
import { createClient } from '../protocol/client.ts'
import { asFailure, Failure } from '../protocol/errors.ts'
import { adviceOn } from './advice.ts'
import { type CliDeps, type CommandSpec, type Context, GLOBAL_OPTIONS, type Options, readFlags } from './command.ts'
import { COMMANDS, topicOf } from './commands.ts'
import { complete } from './completion.ts'
import { createOutput, type Output } from './output.ts'

export type Program = {
  /** `argv` without node and script. Gives the exit code; whatever goes wrong is told on standard error, never thrown. */
  run(argv: readonly string[]): Promise<number>
}

export const buildProgram = (deps: CliDeps, commands: readonly CommandSpec[] = COMMANDS): Program => {
  const output = createOutput(deps)
  return {
    async run(argv) {
      // An option's value never begins here: a program that is run once has no memory of the run before.
      let exitCode = 0
      const root = createRoot(deps)
      const act = async (spec: CommandSpec, options: Options, args: readonly string[]): Promise<void> => {
        exitCode = await runCommand(spec, createContext({ deps, output, options, args, commands }))
      }
      for (const spec of commands) addCommand(root, spec, { act })
      addCommand(root, complete, { act, hidden: true })
      try {
        const bare = argv.length === 0 ? root : argv.length === 1 ? root.commands.find(isGroup(argv[0])) : undefined
        if (bare) bare.outputHelp()
        else await root.parseAsync(argv, { from: 'user' })
        return exitCode
      } catch (error) {
        const place = placeOf(argv, commands)
        const forBackups = commands.some(spec => spec.name === place && spec.forBackups === true)
        return explainUsage(error, { output, forBackups, place })
      }
    },
  }
}

/** A group alone, which does nothing itself. */
const isGroup =
  (name: string | undefined) =>
  (command: Command): boolean =>
    command.name() === name && GROUPS.has(command.name()) && command.commands.length > 0

/** Where nobody names another one; the same path as in service/config.ts, which is loaded only when it is needed. */
const DEFAULT_CONFIG_FILE = '/etc/ghconnectd/config.toml'

const createContext = (given: Pick<Context, 'deps' | 'output' | 'options' | 'args' | 'commands'>): Context => {
  const { deps, output, options } = given
  const named = options.text('socket') ?? (deps.env['GHCONNECT_SOCKET'] || undefined)
  const configGiven = options.text('config') ?? (deps.env['GHCONNECT_CONFIG'] || undefined)
  const configFile = configGiven ?? DEFAULT_CONFIG_FILE
  const json = options.flag('json')
  let folder: Promise<string> | undefined
  const client: Context['client'] = async socket => {
    if (named !== undefined) return createClient(isFolder(named) ? join(named, `${socket}.sock`) : named)
    // Once: a command may ask often, and its configuration may be worth a warning.
    folder ??= runtimeFolder(configFile, { given: configGiven !== undefined, output })
    return createClient(join(await folder, `${socket}.sock`))
  }
  return {
    ...given,
    configFile,
    socketGiven: named !== undefined && !isFolder(named),
    json,
    config: async () => (await import('../service/config.ts')).loadConfig(configFile, SURROUNDINGS),
    client,
    ask: async (name, asked) => (await client('admin')).ask(name, asked),
    print(answer, show) {
      if (json) output.json(answer)
      else show()
    },
  }
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false

/** Only paths are read here: whether users exist is for the daemon and for `config check`. */
const SURROUNDINGS = { hostname: 'localhost', findUser: () => 0, findGroup: () => 0 }

/**
 * A file that was named must be good. The default one may be closed to this user, or broken by an edit while the daemon
 * runs on: neither may take the tokens from local clients, so the default folder serves, with a word on the second.
 */
const runtimeFolder = async (file: string, { given, output }: { given: boolean; output: Output }): Promise<string> => {
  const { loadConfig, parseConfig } = await import('../service/config.ts')
  try {
    return loadConfig(file, SURROUNDINGS).paths.runtime
  } catch (error) {
    if (given || !(error instanceof Failure)) throw error
    if (!isDenied(error.cause)) output.note(`ghconnect: warning: ${error.message}`)
    return parseConfig('', { file, surroundings: SURROUNDINGS }).paths.runtime
  }
}

const isDenied = (cause: unknown): boolean => cause instanceof Error && 'code' in cause && cause.code === 'EACCES'

const runCommand = async (spec: CommandSpec, context: Context): Promise<number> => {
  const { deps, output, configFile } = context
  try {
    return (await spec.run(context)) ?? 0
  } catch (error) {
    const thrown = asFailure(error)
    const isAbsent = thrown.code === 'daemon-absent' && !context.socketGiven
    const failure = isAbsent ? await withStartError(thrown, configFile) : thrown
    const { forBackups = false } = spec
    const socketGiven = context.options.text('socket') !== undefined || Boolean(deps.env['GHCONNECT_SOCKET'])
    const advice = adviceOn(failure, { command: spec.name, who: await deps.who(), socketGiven })
    output.failure(failure, { json: context.json, forBackups, advice })
    if (failure.code === 'internal' && failure.cause instanceof Error) {
      const { describeError, redact } = await import('../service/log.ts')
      const cause = redact(describeError(failure.cause))
      output.note(forBackups ? `Fatal: Cause: ${cause.replaceAll(/\s+/g, ' ')}` : `  Cause: ${cause}`)
    }
    return forBackups ? exitForBackups(failure) : failure.entry.exit
  }
}

/** The same problem with the reason of the daemon's last start, where it failed: to start it again as it is would fail as well. */
const withStartError = async (absent: Failure, configFile: string): Promise<Failure> => {
  const { examineTexts } = await import('../service/config.ts')
  const { findStartError } = await import('../service/start-error.ts')
  const { config } = examineTexts(configFile, SURROUNDINGS)
  const runtime = config?.paths.runtime ?? '/run/ghconnectd'
  const found = findStartError(runtime, { isService: configFile === DEFAULT_CONFIG_FILE })
  if (!found) return absent
  const detail = `${absent.message}; its last start failed with exit code ${found.exit}: ${found.detail}`
  const next =
    found.exit === 78
      ? 'Correct the configuration (`ghconnect config check` shows all that is wrong), then start it: `systemctl start ghconnectd`.'
      : 'See why the last start failed, then start it: `systemctl start ghconnectd`.'
  return new Failure('daemon-absent', detail, { cause: absent.cause, next })
}

/** 75 is a soft skip to borgmatic, 74 no code of the contract with Backup Utilities: both mean that the store cannot be had. */
const exitForBackups = ({ entry: { exit } }: Failure): number => (exit === 74 || exit === 75 ? 69 : exit)

/** Where the parser gives up it does not say at which command: the longest name, or group, that was typed. */
const placeOf = (argv: readonly string[], commands: readonly CommandSpec[]): string => {
  const names = new Set(commands.flatMap(({ name }) => [name, name.split(' ')[0] ?? '']))
  let place = ''
  for (const word of argv) {
    const longer = place === '' ? word : `${place} ${word}`
    if (names.has(longer)) place = longer
    else if (place !== '') break
  }
  return place
}

const createRoot = (deps: CliDeps): Command => {
  const root = configure(new Command('ghconnect'), deps)
    .description('Connects this machine to GitHub, and hands its tokens to local processes.')
    .version(`ghconnect ${deps.version}`, '-V, --version', 'show the version')
    .enablePositionalOptions()
    .addHelpText('after', examples(['ghconnect enable --organization octo-org', 'ghconnect status']))
  addOptions(root, GLOBAL_OPTIONS)
  return root
}

const configure = (command: Command, deps: CliDeps): Command =>
  command
    .exitOverride()
    .helpOption('-h, --help', 'show help')
    .configureHelp({
      subcommandTerm: each => [each.name(), each.usage().replace(/\[options\] ?|\[command\]/g, '')].join(' ').trim(),
    })
    .configureOutput({
      writeOut: text => deps.stdout.write(text),
      // What was wrong with the command line is told once, in the form of all failures.
      writeErr: () => {},
      getOutHasColors: () => false,
    })

type Addition = {
  act: (spec: CommandSpec, options: Options, args: readonly string[]) => Promise<void>
  hidden?: boolean
}

const addCommand = (root: Command, spec: CommandSpec, { act, hidden = false }: Addition): void => {
  const words = spec.name.split(' ')
  const parent = words.length > 1 ? groupOf(root, words[0] ?? '', topicOf(spec)) : root
  const command = parent.createCommand(words.at(-1)).copyInheritedSettings(parent)
  if (parent === root) command.helpGroup(`${topicOf(spec) ?? 'Commands'}:`)
  command
    .summary(spec.summary)
    .description([sentence(spec.summary), spec.details && unwrapped(spec.details)].filter(Boolean).join('\n\n'))
    .addHelpText('after', examples(spec.examples))
    .allowExcessArguments(false)
  for (const argument of spec.arguments ?? []) {
    const optional = argument.variadic === true
    command.argument(optional ? `[${argument.name}...]` : `<${argument.name}>`, argument.description)
  }
  addOptions(command, { ...spec.options, ...GLOBAL_OPTIONS })
  if (spec.passThrough) command.passThroughOptions()
  command.action(() => act(spec, readOptions(command), command.args))
  parent.addCommand(command, { hidden })
}

const groupOf = (root: Command, name: string, topic = 'Commands'): Command => {
  const known = root.commands.find(command => command.name() === name)
  if (known) return known
  const group = root
    .createCommand(name)
    .copyInheritedSettings(root)
    .helpGroup(`${topic}:`)
    .description(GROUPS.get(name) ?? name)
  group.addHelpText('after', () => examples(group.commands.map(command => `ghconnect ${name} ${command.name()}`)))
  root.addCommand(group)
  return group
}

const GROUPS = new Map([
  ['cluster', 'share the credentials among several nodes'],
  ['config', 'check the configuration file'],
  ['debug', 'gather what helps somebody else to see what is wrong'],
  ['keys', "list, add and retire the App's private keys"],
  ['snapshot', 'back up, restore and verify the credentials'],
  ['recovery-key', 'manage recovery keys'],
])

const addOptions = (command: Command, options: Readonly<Record<string, string>>): void => {
  for (const [flags, description] of Object.entries(options)) {
    const { long, value, repeatable } = readFlags(flags)
    const option = new Option(value === undefined ? long : `${long} <${value}>`, description)
    if (repeatable) option.argParser((one: string, before: readonly string[] | undefined) => [...(before ?? []), one])
    command.addOption(option)
  }
}

/** The command's own options, then those that stood before the command's name. */
const readOptions = (command: Command): Options => {
  const values = new Map<string, unknown>()
  for (let at: Command | null = command; at; at = at.parent) {
    for (const [name, value] of Object.entries(at.opts())) if (!values.has(name)) values.set(name, value)
  }
  return {
    text(name) {
      const value = values.get(name)
      if (value === '') throw new Failure('usage', `the value of --${dashed(name)} is empty`)
      return typeof value === 'string' ? value : undefined
    },
    flag: name => values.get(name) === true,
    list(name) {
      const value = values.get(name)
      return Array.isArray(value) ? value.map(String) : []
    },
  }
}

const dashed = (name: string): string => name.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)

/** The help is wrapped once, at the terminal's width. */
const unwrapped = (text: string): string => text.replaceAll('\n', ' ')

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`

const examples = (lines: readonly string[]): string =>
  `\n${lines.length === 1 ? 'Example' : 'Examples'}:\n${lines.map(line => `  ${line}`).join('\n')}`

type Place = { output: Output; forBackups: boolean; place: string }

const explainUsage = (error: unknown, { output, forBackups, place }: Place): number => {
  if (!(error instanceof CommanderError)) {
    const failure = asFailure(error)
    output.failure(failure, { json: false, forBackups })
    return failure.entry.exit
  }
  if (error.exitCode === 0) return 0
  const message = error.message.replace(/^error: /, '')
  const next = `See \`${['ghconnect', place].filter(Boolean).join(' ')} --help\`.`
  const failure = new Failure('usage', message.replaceAll('\n', ' '), { cause: error, next })
  output.failure(failure, { json: false, forBackups })
  return failure.entry.exit
}
