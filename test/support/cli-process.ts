// The command line as a process of its own, on a given appliance.

import { execFile } from 'node:child_process'
import { type Appliance, CLI } from './appliance.ts'

export type CliRun = { readonly code: number; readonly stdout: string; readonly stderr: string }

export const runCli = (
  appliance: Pick<Appliance, 'configFile'>,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CliRun> => {
  const surroundings = { ...process.env, ...env, GHCONNECT_CONFIG: appliance.configFile, NO_COLOR: '1' }
  const { promise, resolve } = Promise.withResolvers<CliRun>()
  execFile(process.execPath, [CLI, ...words], { env: surroundings }, (error, stdout, stderr) =>
    resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 255, stdout, stderr }),
  )
  return promise
}
