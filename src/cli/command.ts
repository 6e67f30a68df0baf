// What a command is: its options, its examples, and a function of the context it runs in. Knows nothing of the parser.

import type { Readable } from 'node:stream'
import type { CheckReport } from '../protocol/wire-check.ts'
import type { Clock } from '../service/clock.ts'
import type { Profile } from '../protocol/profile.ts'
import type { Surroundings } from '../service/config.ts'
import type { Who } from './advice.ts'
import type { Finding } from '../service/config-findings.ts'
import type { ChildOutcome, ChildRequest } from './child.ts'
import type { Client } from '../protocol/client.ts'
import type { OfflineWork } from './offline.ts'
import type { Output, Sink } from './output.ts'

/** `flags` as commander reads them: `--name`, `--name VALUE` (required value), `--no-name`. */
export type OptionSpec = {
  readonly flags: string
  readonly description: string
  /** May be given more than once; all values count. */
  readonly repeatable?: boolean
  readonly complete?: Completion
}

/** Kinds of values that the daemon or the configuration knows, for the completion of the shells. */
export const COMPLETIONS = ['profiles', 'own-profiles', 'permissions', 'installations', 'sinks', 'keys'] as const
export type Completion = (typeof COMPLETIONS)[number]

export type ArgumentSpec = {
  readonly name: string
  readonly description: string
  readonly choices?: readonly string[]
  readonly variadic?: boolean
  readonly complete?: Completion
}

export type CommandSpec = {
  /** One word, or two where the command stands in a group: `config check`. */
  readonly name: string
  readonly summary: string
  readonly details?: string
  readonly arguments?: readonly ArgumentSpec[]
  readonly options: readonly OptionSpec[]
  /** Command lines, at least one, as they are typed. */
  readonly examples: readonly [string, ...string[]]
  /** Options after the first argument belong to that argument: a command line in the command line. */
  readonly passThrough?: boolean
  /** Run by backup programs, which count lines that begin with `Fatal: ` or `Warning: ` and take some exit codes for a soft failure. */
  readonly forBackups?: boolean
  /** Gives the exit code. Throws Failures. */
  run(context: Context, input: Input): Promise<number>
}

/** Values by the option's attribute name: `--min-ttl` is `minTtl`, `--no-wait` is `wait`. */
export type Options = {
  text(name: string): string | undefined
  /** Also of an empty value. */
  has(name: string): boolean
  flag(name: string): boolean
  list(name: string): readonly string[]
}

export type Input = { readonly options: Options; readonly args: readonly string[] }

export type SandboxOptions = {
  readonly listen: string
  readonly seed?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
}

export type CheckedConfig = {
  readonly findings: readonly Finding[]
  /** Undefined where the file cannot be read as far as that. */
  readonly profiles: readonly Profile[] | undefined
}

/** Everything outside of this room. Tests give their own, so that no process is needed. */
export type CliDeps = {
  readonly version: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Sink
  readonly stderr: Sink
  readonly clock: Clock
  surroundings(): Promise<Surroundings>
  runChild(child: ChildRequest): Promise<ChildOutcome>
  /** Puts the program in this one's place, under the same process id. Returns where that cannot be done. */
  replaceProcess?(child: ChildRequest): Promise<void>
  /** Aborted when this process is told to end. */
  stopSignal(): AbortSignal
  runDaemon(options: { configFile: string }): Promise<number>
  /** Resolves when it was told to end. */
  runSandbox(options: SandboxOptions): Promise<void>
  /** Bytes to standard output; resolves when they are written, and throws where they cannot be. */
  writeBytes(bytes: Uint8Array): Promise<void>
  /** Who runs this command; asked only where something failed. */
  who(): Promise<Who>
  /** Names of this machine's users, where they have one. */
  userNames(): Promise<(uid: number) => string | undefined>
  /** What works without the daemon. */
  offline(options: { configFile: string }): Promise<OfflineWork>
  /** The doctor without the daemon. */
  checkOffline(options: { configFile: string }): Promise<CheckReport>
  /** The tar.gz of `debug bundle`; `answers` by the name of their file. */
  debugBundle(wish: { configFile: string; answers: Readonly<Record<string, unknown>> }): Promise<Uint8Array>
  /** Everything that is wrong with the configuration, as the daemon's user sees it where that can be. */
  checkConfig(options: { configFile: string }): Promise<CheckedConfig>
  /** What has to be had before an account is connected, such as a recovery key; throws to stop the enable. */
  readonly beforeEnable?: (context: Context, options: { withoutRecoveryKey: boolean }) => Promise<void>
}

export type Context = {
  readonly deps: CliDeps
  readonly output: Output
  readonly configFile: string
  /** Every command of the program, for what is made from the program itself. */
  readonly commands: readonly CommandSpec[]
  /** `socketGiven`: the caller named the socket, so there is no other to fall back to. */
  readonly socketGiven: boolean
  client(socket: SocketName): Promise<Client>
}

export type SocketName = 'admin' | 'token'

export const JSON_OPTION: OptionSpec = { flags: '--json', description: 'print JSON; failures too, on standard error' }

export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { flags: '--socket PATH', description: "the daemon's socket, or the folder of its sockets (also GHCONNECT_SOCKET)" },
  { flags: '--config FILE', description: 'the configuration file (also GHCONNECT_CONFIG)' },
]
