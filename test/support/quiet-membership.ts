// The membership of a follower that is in touch and of which nothing is wanted: tests change what they are about.

import type { Membership } from '../../src/core/connection/membership.ts'

export const QUIET_SEAT: Membership = {
  whyNotServing: () => undefined,
  whyNotCalling: () => undefined,
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
