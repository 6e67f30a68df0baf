// A lease that is kept alive with whichever member answers, and that knows by the clock when it can no longer be held for certain.

import type { Clock, Timer } from '../../service/clock.ts'
import type { Log } from '../../service/log.ts'
import { endStream } from './etcd-round.ts'
import type { Lease } from './etcd-types.ts'

export type KeepAliveStream = {
  on(event: 'data', listener: (response: { readonly TTL: string }) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end', listener: () => void): unknown
  write(request: { ID: string }): void
  end(): void
  cancel(): void
}

export type LeaseDeps = {
  readonly grant: (ttlSeconds: number) => Promise<{ readonly ID: string; readonly TTL: string }>
  readonly revoke: (id: string) => Promise<unknown>
  /** A stream to the next member in turn. */
  readonly open: () => Promise<KeepAliveStream>
  readonly clock: Clock
  readonly log: Log
}

/** So many keepalives in the life of a lease: three members can be tried before it ends. */
const BEATS = 5

type Moment = { readonly wall: number; readonly monotonic: number }

/** `close` ends the keepalives and leaves it to run out; `onEnd` is called when there is no more to keep alive. */
export const openLease = async (
  deps: LeaseDeps,
  ttlSeconds: number,
  onEnd: () => void,
): Promise<Lease & { close(): void }> => {
  const { clock, log } = deps
  const now = (): Moment => ({ wall: clock.now(), monotonic: clock.monotonic() })
  let confirmed = now()
  const granted = await deps.grant(ttlSeconds)
  const id = granted.ID
  const ttlMs = Number(granted.TTL) * 1_000
  let stream: KeepAliveStream | undefined
  let sent: Moment[] = []
  let over: 'lost' | 'revoked' | undefined
  const listeners: (() => void)[] = []

  /** By both clocks: the monotonic one stands still while a machine sleeps, the wall clock may be set. */
  const inTime = (): boolean => clock.monotonic() - confirmed.monotonic < ttlMs && clock.now() - confirmed.wall < ttlMs

  const disconnect = (): void => {
    const current = stream
    stream = undefined
    sent = []
    if (current) endStream(current)
  }

  const stop = (why: 'lost' | 'revoked'): void => {
    over = why
    onEnd()
    beats.cancel()
    disconnect()
  }

  const lose = (why: string): void => {
    if (over) return
    stop('lost')
    log.warn('the lease in etcd is lost', { lease: id, why })
    for (const listener of listeners) listener()
    // Where it is lost by our clock alone, others need not wait until it ends.
    deps.revoke(id).catch(() => undefined)
  }

  const send = (to: KeepAliveStream): void => {
    sent.push(now())
    to.write({ ID: id })
  }

  const connect = async (): Promise<void> => {
    const current = await deps.open()
    current.on('error', () => stream === current && disconnect())
    current.on('end', () => stream === current && disconnect())
    current.on('data', ({ TTL }) => {
      if (stream !== current) return
      if (BigInt(TTL) <= 0n) return lose('etcd does not know it any more')
      confirmed = sent.shift() ?? confirmed
    })
    if (over) return endStream(current)
    disconnect()
    stream = current
    send(current)
  }

  const beat = (): void => {
    if (!inTime()) return lose('no keepalive was confirmed in time')
    // No answer since the last beat: another member.
    if (stream && sent.length === 0) send(stream)
    else void connect().catch(() => undefined)
  }

  const beats: Timer = clock.every(ttlMs / BEATS, beat)
  void connect().catch(() => undefined)
  return {
    id,
    isHeld: () => over === undefined && inTime(),
    onLost(callback) {
      if (over === 'lost') callback()
      else listeners.push(callback)
    },
    async revoke() {
      if (over) return
      stop('revoked')
      await deps.revoke(id).catch(() => undefined)
    },
    close() {
      if (!over) stop('revoked')
    },
  }
}
