// Who is at the other end of a unix socket: pid, uid, groups and systemd unit, from the kernel alone.

import type { Socket } from 'node:net'
import type { Peer } from '../domain/policy.ts'

/** A peer and the handle by which it is known to live still. One per connection. */
export type Attested = {
  readonly peer: Peer
  /** Throws `peer-gone` where the process has ended since, or its pid names another one now. */
  assertAlive(): void
  /** Gives the pidfd back; idempotent. Called when the connection closes. */
  release(): void
}

/** Throws `peer-gone` where the kernel does not tell. */
export type Attest = (socket: Socket) => Attested
