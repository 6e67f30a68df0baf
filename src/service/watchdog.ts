// Feeds the service manager's watchdog, and only while what is probed answers: a daemon that hangs is to be replaced.

import type { Clock, Timer } from './clock.ts'
import type { Notifier } from './systemd.ts'

export type WatchdogDeps = {
  readonly notifier: Pick<Notifier, 'watchdog' | 'watchdogMs'>
  readonly clock: Pick<Clock, 'every'>
  /** Throws, rejects or never ends where the daemon is not well. It runs in the event loop, which is thereby probed as well. */
  readonly probe: () => Promise<void>
  /** Told each time; the manager is not, and takes the daemon for dead when that lasts. */
  readonly onFailure: (error: unknown) => void
}

/** So often within the time that the manager waits: one late turn of the loop is no death. */
const TIMES = 4

/** Does nothing where no manager waits. */
export const startWatchdog = ({ notifier, clock, probe, onFailure }: WatchdogDeps): Timer => {
  if (notifier.watchdogMs === undefined) return { cancel: () => {} }
  let probing = false
  const look = async (): Promise<void> => {
    if (probing) return
    probing = true
    try {
      await probe()
      notifier.watchdog()
    } catch (error) {
      onFailure(error)
    } finally {
      probing = false
    }
  }
  return clock.every(notifier.watchdogMs / TIMES, () => void look())
}
