// What GitHub last said of each private key, so that the one that works is tried first.

import type { AppKey } from './app-jwt.ts'

export type KeyState = 'works' | 'rejected' | 'unknown'

export type KeyVerdicts = {
  /** The keys in the order in which to try them: as given, but a key that was rejected a moment ago comes last. */
  inOrder(keys: readonly AppKey[]): readonly AppKey[]
  note(key: AppKey, state: 'works' | 'rejected'): void
  find(fingerprint: string): KeyState
}

/** GitHub answers many wrong signatures by refusing the right ones, too: a rejected key is not tried with each call. */
const REST_MS = 60_000
/** An App has at most 25 keys at a time; more entries are leftovers of rotations. */
const MOST = 64

export const createKeyVerdicts = (monotonic: () => number): KeyVerdicts => {
  const verdicts = new Map<string, { state: 'works' | 'rejected'; atMs: number }>()
  const rests = ({ fingerprint }: AppKey): boolean => {
    const verdict = verdicts.get(fingerprint)
    return verdict?.state === 'rejected' && monotonic() - verdict.atMs < REST_MS
  }
  return {
    inOrder: keys => (keys.some(rests) ? [...keys.filter(key => !rests(key)), ...keys.filter(rests)] : keys),
    note({ fingerprint }, state) {
      if (verdicts.size >= MOST && !verdicts.has(fingerprint)) verdicts.clear()
      verdicts.set(fingerprint, { state, atMs: monotonic() })
    },
    find: fingerprint => verdicts.get(fingerprint)?.state ?? 'unknown',
  }
}
