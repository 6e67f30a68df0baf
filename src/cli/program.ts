// Turns a command line into a command and its exit code. Owns commander.

import { Command, CommanderError, Option } from 'commander'
import { asFailure, Failure } from '../domain/errors.ts'
import { type CliDeps, type CommandSpec, GLOBAL_OPTIONS, type Options, type OptionSpec } from './command.ts'
import { COMMANDS } from './commands.ts'
import { createContext } from './context.ts'
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
      for (const spec of commands) {
        addCommand(root, {
          spec,
          act: async (options, args) => {
            exitCode = await runCommand(spec, { deps, output, options, args, commands })
          },
        })
      }
      try {
        await root.parseAsync(argv, { from: 'user' })
        return exitCode
      } catch (error) {
        return explainUsage(error, { output, forBackups: isForBackups(argv, commands) })
      }
    },
  }
}

type Running = {
  deps: CliDeps
  output: Output
  options: Options
  args: readonly string[]
  commands: readonly CommandSpec[]
}

const runCommand = async (spec: CommandSpec, running: Running): Promise<number> => {
  const { deps, output, options, args, commands } = running
  try {
    return await spec.run(createContext(deps, { options, output, commands }), { options, args })
  } catch (error) {
    const failure = asFailure(error)
    const next = failure.code === 'usage' ? withHelp(failure, spec) : failure
    const { forBackups = false } = spec
    output.failure(next, { json: options.flag('json'), forBackups })
    if (failure.code === 'internal' && failure.cause instanceof Error) {
      const { describeError, redact } = await import('../platform/log.ts')
      const cause = redact(describeError(failure.cause))
      output.note(forBackups ? `Fatal: Cause: ${cause.replaceAll(/\s+/g, ' ')}` : `  Cause: ${cause}`)
    }
    return forBackups ? exitForBackups(failure) : failure.entry.exit
  }
}

/** 75 is a soft skip to borgmatic, 74 no code of the contract with Backup Utilities: both mean that the store cannot be had. */
const exitForBackups = ({ entry: { exit } }: Failure): number => (exit === 74 || exit === 75 ? 69 : exit)

/** Where the parser gives up it does not say at which command. */
const isForBackups = (argv: readonly string[], commands: readonly CommandSpec[]): boolean =>
  commands.some(({ name, forBackups }) => {
    const words = name.split(' ')
    const at = argv.indexOf(words[0] ?? '')
    return forBackups === true && at >= 0 && words.every((word, more) => argv[at + more] === word)
  })

const withHelp = (failure: Failure, spec: CommandSpec): Failure =>
  new Failure('usage', `${failure.message} (ghconnect ${spec.name} --help)`, { cause: failure })

const createRoot = (deps: CliDeps): Command => {
  const root = configure(new Command('ghconnect'), deps)
    .description('Connects this machine to GitHub, and hands its tokens to local processes.')
    .version(`ghconnect ${deps.version}`, '-V, --version', 'show the version')
    .enablePositionalOptions()
    .addHelpText('after', examples(['ghconnect enable --organization octo-org', 'ghconnect status']))
  for (const option of GLOBAL_OPTIONS) root.addOption(toOption(option))
  return root
}

const configure = (command: Command, deps: CliDeps): Command =>
  command
    .exitOverride()
    .helpOption('-h, --help', 'show help')
    .configureOutput({
      writeOut: text => deps.stdout.write(text),
      // What was wrong with the command line is told once, in the form of all failures.
      writeErr: () => {},
      getOutHasColors: () => false,
    })

type Act = (options: Options, args: readonly string[]) => Promise<void>

const addCommand = (root: Command, { spec, act }: { spec: CommandSpec; act: Act }): void => {
  const words = spec.name.split(' ')
  const parent = words.length > 1 ? groupOf(root, words[0] ?? '') : root
  const command = parent.createCommand(words.at(-1)).copyInheritedSettings(parent)
  command
    .summary(spec.summary)
    .description([sentence(spec.summary), spec.details].filter(Boolean).join('\n\n'))
    .addHelpText('after', examples(spec.examples))
    .allowExcessArguments(false)
  for (const argument of spec.arguments ?? []) {
    const optional = argument.variadic === true
    command.argument(optional ? `[${argument.name}...]` : `<${argument.name}>`, argument.description)
  }
  for (const option of [...spec.options, ...GLOBAL_OPTIONS]) command.addOption(toOption(option))
  if (spec.passThrough) command.passThroughOptions()
  command.action(() => act(readOptions(command), command.args))
  parent.addCommand(command)
}

const groupOf = (root: Command, name: string): Command => {
  const known = root.commands.find(command => command.name() === name)
  if (known) return known
  const group = root
    .createCommand(name)
    .copyInheritedSettings(root)
    .description(GROUPS.get(name) ?? name)
  group.addHelpText('after', () => examples(group.commands.map(command => `ghconnect ${name} ${command.name()}`)))
  root.addCommand(group)
  return group
}

const GROUPS = new Map([
  ['config', 'the configuration file'],
  ['keys', "the App's private keys"],
  ['snapshot', 'backups of the credentials'],
  ['recovery-key', 'the second way to snapshots and store'],
])

const toOption = (spec: OptionSpec): Option => {
  const option = new Option(spec.flags.replace(/ (\S+)$/, ' <$1>'), spec.description)
  if (!spec.repeatable) return option
  return option.argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value])
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

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`

const examples = (lines: readonly string[]): string =>
  `\n${lines.length === 1 ? 'Example' : 'Examples'}:\n${lines.map(line => `  ${line}`).join('\n')}`

const explainUsage = (error: unknown, { output, forBackups }: { output: Output; forBackups: boolean }): number => {
  if (!(error instanceof CommanderError)) {
    const failure = asFailure(error)
    output.failure(failure, { json: false, forBackups })
    return failure.entry.exit
  }
  if (error.exitCode === 0) return 0
  const message = error.code === 'commander.help' ? 'a command is missing' : error.message.replace(/^error: /, '')
  const failure = new Failure('usage', message.replaceAll('\n', ' '), { cause: error })
  output.failure(failure, { json: false, forBackups })
  return failure.entry.exit
}
