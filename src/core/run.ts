// Runs the daemon until a signal ends it: for both entries, `ghconnectd` and `ghconnect daemon`.

import { asFailure } from '../protocol/errors.ts'
import { startDaemon } from './main.ts'
import { DEFAULT_CONFIG_FILE, examineTexts } from '../service/config.ts'
import { settleHeap } from '../service/process.ts'
import { describeError } from '../service/log.ts'
import { clearStartError, noteStartError, START_FAILED } from '../service/start-error.ts'
import { createNotifier } from '../service/systemd.ts'

/** Resolves to the exit code of the process. SIGHUP reads the configuration again. */
export const runDaemon = async ({ configFile }: { configFile: string }): Promise<number> => {
  const ended = Promise.withResolvers<void>()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => ended.resolve())
  let reload = (): void => undefined
  process.on('SIGHUP', () => reload())
  try {
    const daemon = await startDaemon({ configFile, env: process.env })
    reload = () => daemon.reload()
    settleHeap()
    const runtime = runtimeOf(configFile)
    if (runtime !== undefined) clearStartError(runtime)
    await ended.promise
    await daemon.stop()
    return 0
  } catch (error) {
    const failure = asFailure(error)
    process.stderr.write(`ghconnectd: ${failure.entry.title}: ${failure.message}\n  ${failure.entry.next}\n`)
    if (failure.code === 'internal') process.stderr.write(`${describeError(failure)}\n`)
    // Where another daemon runs, the start of this one is of no interest to anyone who asks later.
    const runtime = IN_USE.has(failure.code) ? undefined : runtimeOf(configFile)
    if (runtime !== undefined) noteStartError(runtime, { exit: failure.entry.exit, detail: failure.message })
    createNotifier(process.env).status(`${START_FAILED}${failure.message}`)
    return failure.entry.exit
  }
}

const IN_USE: ReadonlySet<string> = new Set(['state-in-use', 'socket-in-use'])

/** Undefined where the configuration does not say it. */
const runtimeOf = (configFile: string): string | undefined => {
  const surroundings = { hostname: 'localhost', findUser: () => 0, findGroup: () => 0 }
  const { config } = examineTexts(configFile, surroundings)
  return config?.paths.runtime ?? (configFile === DEFAULT_CONFIG_FILE ? '/run/ghconnectd' : undefined)
}
