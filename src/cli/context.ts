// Finds out where the daemon listens, and hands the commands what they work with.

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../protocol/errors.ts'
import { createClient } from '../protocol/client.ts'
import type { CliDeps, CommandSpec, Context, Options, SocketName } from './command.ts'
import type { Output } from './output.ts'

/** Where nobody names another one; the same path as in service/config.ts, which is loaded only when it is needed. */
const DEFAULT_CONFIG_FILE = '/etc/ghconnectd/config.toml'

export const createContext = (
  deps: CliDeps,
  { options, output, commands }: { options: Options; output: Output; commands: readonly CommandSpec[] },
): Context => {
  const named = options.text('socket') ?? (deps.env['GHCONNECT_SOCKET'] || undefined)
  const configGiven = options.text('config') ?? (deps.env['GHCONNECT_CONFIG'] || undefined)
  const configFile = configGiven ?? DEFAULT_CONFIG_FILE
  return {
    deps,
    output,
    commands,
    configFile,
    socketGiven: named !== undefined && !isFolder(named),
    async client(socket) {
      if (named !== undefined) return createClient(isFolder(named) ? socketIn(named, socket) : named)
      return createClient(
        socketIn(await runtimeFolder(configFile, { given: configGiven !== undefined, output }), socket),
      )
    },
  }
}

const socketIn = (folder: string, socket: SocketName): string => join(folder, `${socket}.sock`)

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false

/**
 * A file that was named must be good. The default one may be closed to this user, or broken by an edit while the daemon
 * runs on: neither may take the tokens from local clients, so the default folder serves, with a word on the second.
 */
const runtimeFolder = async (file: string, context: { given: boolean; output: Output }): Promise<string> => {
  const { loadConfig, parseConfig } = await import('../service/config.ts')
  // Only paths are read here: whether users exist is for the daemon and for `config check`.
  const surroundings = { hostname: 'localhost', findUser: () => 0, findGroup: () => 0 }
  try {
    return loadConfig(file, surroundings).paths.runtime
  } catch (error) {
    if (context.given || !(error instanceof Failure)) throw error
    if (!isDenied(error.cause)) context.output.note(`ghconnect: warning: ${error.message}`)
    return parseConfig('', { file, surroundings }).paths.runtime
  }
}

const isDenied = (cause: unknown): boolean => cause instanceof Error && 'code' in cause && cause.code === 'EACCES'
