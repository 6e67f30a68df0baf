// What a command is: its options, its examples, and a function of the context it runs in. Knows nothing of the parser.

import type { Readable } from 'node:stream'
import type { Client, Given } from '../protocol/client.ts'
import type { EndpointName, SeenOf, SocketName } from '../protocol/endpoints.ts'
import type { Profile } from '../protocol/profile.ts'
import type { Secret } from '../protocol/secret.ts'
import type { RestoreAnswer, StateAnswer } from '../protocol/wire.ts'
import type { CheckReport } from '../protocol/wire-check.ts'
import type { Clock } from '../service/clock.ts'
import type { Config, Surroundings } from '../service/config.ts'
import type { Finding } from '../service/config-findings.ts'
import type { Who } from './advice.ts'
import type { ChildOutcome, ChildRequest } from './child.ts'
import type { Output, Sink } from './output.ts'

/** Kinds of values that the daemon or the configuration knows, for the completion of the shells. */
export const COMPLETIONS = ['profiles', 'own-profiles', 'permissions', 'installations', 'sinks', 'keys'] as const
export type Completion = (typeof COMPLETIONS)[number]

/** Descriptions by flags: `--name`, `--name VALUE` (required value), `--name VALUE...` (may be given again), `--no-name`. */
export type OptionTable = Readonly<Record<string, string>>

export type ArgumentSpec = {
  readonly name: string
  readonly description: string
  readonly choices?: readonly string[]
  readonly variadic?: boolean
}

export type CommandSpec = {
  /** One word, or two where the command stands in a group: `config check`. */
  readonly name: string
  readonly summary: string
  readonly details?: string
  readonly arguments?: readonly ArgumentSpec[]
  readonly options?: OptionTable
  /** What the shells complete, by option (`--profile`) or argument (`name`). */
  readonly complete?: Readonly<Record<string, Completion>>
  /** Command lines, at least one, as they are typed. */
  readonly examples: readonly [string, ...string[]]
  /** Options after the first argument belong to that argument: a command line in the command line. */
  readonly passThrough?: boolean
  /** Run by backup programs, which count lines that begin with `Fatal: ` or `Warning: ` and take some exit codes for a soft failure. */
  readonly forBackups?: boolean
  /** Gives the exit code, if it is not 0. Throws Failures. */
  run(context: Context): Promise<number | void>
}

export const JSON_OPTION = { '--json': 'print JSON; failures too, on standard error' }
export const YES_OPTION = { '--yes': 'do not ask' }
export const GLOBAL_OPTIONS = {
  '--socket PATH': "the daemon's socket, or the folder of its sockets (also GHCONNECT_SOCKET)",
  '--config FILE': 'the configuration file (also GHCONNECT_CONFIG)',
}

/** `--repo NAME...` in its parts. */
export const readFlags = (flags: string): { long: string; value: string | undefined; repeatable: boolean } => {
  const [long = '', value] = flags.replace(/\.\.\.$/, '').split(' ')
  return { long, value, repeatable: flags.endsWith('...') }
}

/** Values by the option's attribute name: `--min-ttl` is `minTtl`, `--no-wait` is `wait`. */
export type Options = {
  /** Throws `usage` for an empty value. */
  text(name: string): string | undefined
  flag(name: string): boolean
  list(name: string): readonly string[]
}

export type Context = {
  readonly deps: CliDeps
  readonly output: Output
  readonly options: Options
  readonly args: readonly string[]
  readonly configFile: string
  /** Every command of the program, for what is made from the program itself. */
  readonly commands: readonly CommandSpec[]
  /** The caller named the socket, so there is no other to fall back to. */
  readonly socketGiven: boolean
  readonly json: boolean
  /** The configuration, read for its paths and names: whether its users exist is for the daemon and for `config check`. */
  config(): Promise<Config>
  client(socket: SocketName): Promise<Client>
  /** An endpoint on admin.sock. */
  ask<N extends EndpointName>(name: N, given?: Given<N>): Promise<SeenOf<N>>
  /** The answer as JSON, where that is asked for; else what `show` prints. */
  print(answer: unknown, show: () => void): void
}

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

type OfConfig = { readonly configFile: string }

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
  runDaemon(options: OfConfig): Promise<number>
  /** Resolves when it was told to end. */
  runSandbox(options: SandboxOptions): Promise<void>
  /** Bytes to standard output; resolves when they are written, and throws where they cannot be. */
  writeBytes(bytes: Uint8Array): Promise<void>
  /** Who runs this command; asked only where advice is printed, since it loads libc. */
  who(): Promise<Who>
  /** Names of this machine's users, where they have one. */
  userNames(): Promise<(uid: number) => string | undefined>
  /** What works without the daemon. */
  offline(options: OfConfig): Promise<OfflineWork>
  /** The doctor without the daemon. */
  checkOffline(options: OfConfig): Promise<CheckReport>
  /** The tar.gz of `debug bundle`; `answers` by the name of their file. */
  debugBundle(options: OfConfig & { answers: Readonly<Record<string, unknown>> }): Promise<Uint8Array>
  /** Everything that is wrong with the configuration, as the daemon's user sees it where that is possible. */
  checkConfig(options: OfConfig): Promise<CheckedConfig>
  /** What must exist before an account is connected, such as a recovery key; throws to stop the enable. */
  readonly beforeEnable?: (context: Context, options: { withoutRecoveryKey: boolean }) => Promise<void>
}

/** What can be read of a bundle without a key: its header, and its size. */
export type BundleSummary = {
  readonly format: number
  readonly created: string
  readonly state: string
  readonly generation: number
  readonly hostname: string
  readonly signer: string
  readonly recipients: readonly string[]
  readonly sealed: boolean
  readonly size: number
  readonly sha256: string
  readonly account?: { readonly type: string; readonly login: string }
  readonly app_id?: number
}

export type BundleProof = {
  readonly summary: BundleSummary
  /** Fingerprints of the private keys, each computed from its key. */
  readonly keys: readonly string[]
  /** Tokens in the bundle that have not ended yet. */
  readonly live_tokens: number
  readonly installations: readonly string[]
  readonly configuration?: RestoreAnswer['configuration']
  /** What GitHub said, where it was asked: the name of the App. */
  readonly github?: string
  /** Why GitHub was not asked, though that was wanted. */
  readonly github_skipped?: string
}

export type RestoreOptions = { readonly bundle: Uint8Array; readonly identity?: Secret; readonly force: boolean }

export type Exported = { readonly bundle: Uint8Array; readonly warnings: readonly string[] }

/** What works where no daemon answers, in the rooms that this one may not import. All methods throw Failures. */
export type OfflineWork = {
  /** Reads the store as it stands, changes nothing, calls nobody. */
  export(options: { readonly withConfig: boolean }): Promise<Exported>
  /** Throws `state-in-use`, naming the process, while a daemon holds the store. So do the three that follow. */
  restore(options: RestoreOptions): Promise<RestoreAnswer>
  unlock(identity: Secret): Promise<StateAnswer>
  adopt(): Promise<StateAnswer>
  disableLocally(): Promise<StateAnswer>
  /** The account that the store is connected to, if any. Throws where the store cannot be opened. */
  findAccount(): Promise<string | undefined>
  /**
   * Makes a store key where there is none that opens; says what it made, if anything. Never replaces one. Throws where the identity
   * is not a recovery key of this store.
   */
  ensureStoreKey(identity: Secret): Promise<string | undefined>
  /** Whether this process can open the sealed store key that systemd passes to the daemon with its next start. */
  hasSealedKey(): boolean
  /** The database key in hexadecimal. */
  storeKey(): Promise<string>
  /** A new store key in place of the one that is there; gives its file. Throws `configuration` with what to type where it cannot be put there. */
  rotateStoreKey(options: { readonly sealWith?: string }): Promise<string>
  inspect(bundle: Uint8Array): BundleSummary
  verify(options: Omit<RestoreOptions, 'force'> & { readonly againstGithub: boolean }): Promise<BundleProof>
  createRecoveryKey(): Promise<{ readonly identity: Secret; readonly recipient: string }>
  isRoot(): boolean
}
