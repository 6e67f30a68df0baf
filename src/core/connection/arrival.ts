// Arrival: the state in which a restored connection begins on this machine. A clone of one that goes on elsewhere must not disturb it.

import { type Connection, type Host, isLive, isOtherHost } from '../../protocol/connection.ts'

export type Arrival = {
  readonly connection: Connection
  /** Sentences for whoever reads the backup's log. */
  readonly warnings: readonly string[]
}

/** `isHome`: hosts of whose credentials this machine is no clone, as they are of the same cluster. */
export const arrive = (
  was: Connection,
  here: { host: Host; nowMs: number; isHome?: (host: Host) => boolean },
): Arrival => {
  if (was.kind === 'awaiting-app') {
    const remark = `Enabling for ${was.account.login} was under way when the snapshot was taken; it has to be started anew.`
    return { connection: { kind: 'disconnected', sinceMs: here.nowMs, remark }, warnings: [remark] }
  }
  if (!isLive(was)) return { connection: was, warnings: [] }
  const { app, account, host, enabledAtMs } = was
  const established = { sinceMs: here.nowMs, app, account, host, enabledAtMs }
  const isHome = here.isHome?.(host) ?? false
  if (isOtherHost(host, here.host) && !isHome) {
    const evidence = `enabled on ${host.hostname}, restored on ${here.host.hostname}`
    const warning = `These credentials were ${evidence}: they are quarantined until \`ghconnect adopt\`, or \`ghconnect disable --local\`.`
    return { connection: { kind: 'quarantined', evidence, ...established }, warnings: [warning] }
  }
  const moved = !isHome && (host.hostname !== here.host.hostname || host.machineId !== here.host.machineId)
  const warnings = moved
    ? [
        `The credentials were enabled on ${host.hostname}; they go on here, on a machine that has one mark in common with it.`,
      ]
    : []
  if (was.kind === 'quarantined') return { connection: { kind: 'connected', ...established }, warnings }
  if (was.kind !== 'disconnecting') return { connection: was, warnings }
  // Its time begins anew: one that ran out long ago would shred the key before GitHub was asked once.
  const deadlineMs = here.nowMs + (was.deadlineMs - was.sinceMs)
  const goesOn = 'The connection was being disabled when the snapshot was taken; that goes on.'
  return { connection: { ...was, sinceMs: here.nowMs, deadlineMs }, warnings: [...warnings, goesOn] }
}
