#!/usr/bin/env node
// The daemon's entry.

import './service/quiet.ts'
import { DEFAULT_CONFIG_FILE } from './service/config.ts'
import { runDaemon } from './core/run.ts'

const USAGE = `usage: ghconnectd [--config FILE]

The credential daemon of GitHub Connect. FILE is $GHCONNECT_CONFIG, or ${DEFAULT_CONFIG_FILE}, where it is left out.
SIGHUP reads the configuration again; SIGTERM and SIGINT stop it.

Example: ghconnectd --config ./config.toml
`

const readArguments = (args: readonly string[]): { configFile: string } | undefined => {
  const fallback = process.env['GHCONNECT_CONFIG'] ?? DEFAULT_CONFIG_FILE
  if (args.length === 0) return { configFile: fallback }
  const [option, file, ...rest] = args
  const [, joined] = /^--config=(.+)$/.exec(option ?? '') ?? []
  if (joined !== undefined && file === undefined) return { configFile: joined }
  return option === '--config' && file !== undefined && rest.length === 0 ? { configFile: file } : undefined
}

const main = async (): Promise<number> => {
  const args = readArguments(process.argv.slice(2))
  if (process.argv.includes('--help')) {
    process.stdout.write(USAGE)
    return 0
  }
  if (args) return runDaemon(args)
  process.stderr.write(USAGE)
  return 64
}

void main().then(code => process.exit(code))
