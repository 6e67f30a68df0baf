// Quarantine: a restored clone must not compete with its original, so it is recognised before anything is served or goes out.

import { type Host, isLive, isOtherHost } from '../../protocol/connection.ts'
import type { Clock } from '../../service/clock.ts'
import type { ConnectionState } from './connection-state.ts'

/** Called when the store is opened, and at each beat: the machine's name may change under a running daemon. */
export const quarantineIfMoved = ({
  connectionState,
  clock,
  host,
  isHome = () => false,
}: {
  connectionState: ConnectionState
  clock: Clock
  host: () => Host
  /** Another machine of the same cluster is none that this one could disturb. */
  isHome?: (host: Host) => boolean
}): void => {
  const { connection } = connectionState.read()
  const here = host()
  if (!isLive(connection) || connection.kind === 'quarantined' || !isOtherHost(connection.host, here)) return
  if (isHome(connection.host)) return
  const { app, account, host: home, enabledAtMs } = connection
  const evidence = `enabled on ${home.hostname}, this is ${here.hostname}`
  connectionState.transition({
    kind: 'quarantined',
    sinceMs: clock.now(),
    evidence,
    app,
    account,
    host: home,
    enabledAtMs,
  })
}
