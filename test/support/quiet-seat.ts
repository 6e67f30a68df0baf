// The seat of a follower that is in touch and of which nothing is wanted: tests change what they are about.

import type { Seat } from '../../src/core/connection/seat.ts'

export const QUIET_SEAT: Seat = {
  findShut: () => undefined,
  findMute: () => undefined,
  change: task => task(),
  changed() {},
  leads: () => false,
  refreshesAhead: () => false,
  marginMs: before => before,
  mint: async () => undefined,
  minted() {},
  tokensTo: () => [],
  wantAhead() {},
  isHome: () => false,
  role: () => 'follower',
  warnings: () => [],
  signers: () => [],
}
