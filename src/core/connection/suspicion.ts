// Suspicion: one 401 or 404 proves nothing; so many of GitHub's own in a row, spread over a time, do.

import type { Code } from '../../protocol/errors.ts'

export type Suspicion = {
  /** Counts one more; tells whether it is confirmed by those before it. Another code begins anew. */
  note(code: Code): boolean
  /** How long it has been said without a word to the contrary. */
  lastsMs(): number
  /** GitHub said otherwise. */
  clear(): void
}

export const CONFIRMATIONS = 3
export const CONFIRM_MS = 30_000

export const createSuspicion = (monotonic: () => number): Suspicion => {
  let held: { readonly code: Code; readonly firstAtMs: number; count: number } | undefined
  const lastsMs = (): number => (held ? monotonic() - held.firstAtMs : 0)
  return {
    note(code) {
      if (held?.code !== code) held = { code, firstAtMs: monotonic(), count: 0 }
      held.count += 1
      return held.count >= CONFIRMATIONS && lastsMs() >= CONFIRM_MS
    },
    lastsMs,
    clear() {
      held = undefined
    },
  }
}
