// Runs the daemon until a signal ends it: for both entries, `ghconnectd` and `ghconnect daemon`.

import { asFailure } from './domain/errors.ts'
import { startDaemon } from './daemon.ts'
import { describeError } from './platform/log.ts'

/** Resolves to the exit code of the process. SIGHUP reads the configuration again. */
export const runDaemon = async ({ configFile }: { configFile: string }): Promise<number> => {
  const ended = Promise.withResolvers<void>()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => ended.resolve())
  let reload = (): void => undefined
  process.on('SIGHUP', () => reload())
  try {
    const daemon = await startDaemon({ configFile, env: process.env })
    reload = () => daemon.reload()
    await ended.promise
    await daemon.stop()
    return 0
  } catch (error) {
    const failure = asFailure(error)
    process.stderr.write(`ghconnectd: ${failure.entry.title}: ${failure.message}\n  ${failure.entry.next}\n`)
    if (failure.code === 'internal') process.stderr.write(`${describeError(failure)}\n`)
    return failure.entry.exit
  }
}
